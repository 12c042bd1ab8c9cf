"""The one place that knows ComfyUI's HTTP API (0.30). HTTP is the truth; `comfy_socket.py` gives hints.

Called by workers and the preflight. Knows nothing of samples, journals or datasets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from pydantic import ValidationError

from comfy_nodes.core.ingredients import ROUTE, Ingredients

from .failures import PromptRefused, RunError, ServerFault, ServerGone

TIMEOUT = urllib3.Timeout(connect=5, read=15)
"""A server that is not stopped answers most questions at once."""

PATIENT = urllib3.Timeout(connect=5, read=60)
"""For what makes it work: checking a prompt, listing its nodes and models."""

_RETRIES = urllib3.Retry(
    total=3, connect=1, read=1, backoff_factor=0.2, status_forcelist=(502, 503, 504), raise_on_status=False
)
_FINAL = {"completed", "failed", "cancelled"}


@dataclass(frozen=True)
class Job:
    """A prompt as `/api/jobs/{id}` shows it."""

    status: str
    """pending, in_progress, completed, failed or cancelled."""
    ran: frozenset[str] = frozenset()
    """Of a completed job: nodes that saved or showed something."""
    error: dict[str, Any] = field(default_factory=dict)
    """Of a failed job: exception_type, exception_message, node_id, node_type."""
    seconds: float | None = None
    """Execution time on the server."""

    @property
    def finished(self) -> bool:
        return self.status in _FINAL


class ComfyServer:
    """A running ComfyUI at an HTTP address."""

    def __init__(self, url: str):
        """
        Raises:
            RunError: `url` is not an http(s) address.
        """
        parts = urlsplit(url if "//" in url else f"http://{url}")
        try:
            host = urllib3.util.parse_url(parts.geturl()).host
        except urllib3.exceptions.LocationParseError:
            host = None
        if parts.scheme not in ("http", "https") or not host:
            raise RunError(f"--server {url}: not an address such as http://127.0.0.1:8188")
        if "@" in parts.netloc:
            raise RunError("--server: leave user name and password out of the address, it is written into the dataset")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._pool = urllib3.PoolManager(maxsize=8, timeout=TIMEOUT, retries=_RETRIES)

    def system_stats(self) -> dict[str, Any]:
        """Version and devices.

        Raises:
            ServerGone: nothing answers.
            ServerFault: what answers is not a ComfyUI.
        """
        try:
            stats = self._json("GET", "/system_stats")
            stats["system"]["comfyui_version"]
        except ServerGone:
            raise
        except (ServerFault, PromptRefused, KeyError, TypeError):
            raise ServerFault(f"{self.url} answers, but it is not a ComfyUI (no /system_stats)") from None
        return dict(stats)

    def object_info(self) -> dict[str, Any]:
        """Schemas of all nodes that the server has, by class."""
        return dict(self._json("GET", "/object_info", timeout=PATIENT))

    def ingredients(self, graph: dict[str, Any]) -> Ingredients:
        """What stands there behind a graph: the pack's code, prompts, weights, VLM profiles. Waits while weights are read.

        Raises:
            ServerFault: it does not say, as its EditPairs is too old, or cannot read a file of weights.
        """
        body = json.dumps(graph).encode()
        while (response := self._request("POST", ROUTE, body=body)).status == 202:
            pass
        if response.status in (404, 405):
            raise ServerFault(
                f"{self.url} has an EditPairs that does not say what it runs: use one version on all sides"
            )
        try:
            return Ingredients.model_validate(self._decoded(response))
        except ValidationError:
            raise ServerFault(f"{self.url} has another version of EditPairs: use one version on all sides") from None

    def upload(self, data: bytes, filename: str, subfolder: str, place: Literal["temp", "input"] = "temp") -> str:
        """Puts a file into a folder of the server's: temp, which ComfyUI empties when it starts, or input.

        Returns:
            The name under which an image widget finds it.
        """
        fields = {
            "image": (filename, data, "application/octet-stream"),
            "type": place,
            "subfolder": subfolder,
            "overwrite": "true",
        }
        answer = self._json("POST", "/upload/image", fields=fields)
        return f"{answer['subfolder']}/{answer['name']} [{place}]"

    def submit(self, prompt: dict[str, Any], prompt_id: str, client_id: str) -> None:
        """Queues a graph under an id of ours. Never repeated blindly: ComfyUI runs a repeated id twice.

        Raises:
            PromptRefused: the graph is not valid there.
            ServerFault: no clear answer; `job` tells whether the prompt arrived all the same.
        """
        body = json.dumps({"prompt": prompt, "prompt_id": prompt_id, "client_id": client_id}).encode()
        answer = self._json("POST", "/prompt", body=body, timeout=PATIENT)
        if answer.get("node_errors"):
            # It runs what is valid all the same, without the output that we need.
            self.cancel([prompt_id])
            raise _refusal(answer)

    def job(self, prompt_id: str) -> Job | None:
        """The prompt's state; None where the server does not know it."""
        response = self._request("GET", f"/api/jobs/{prompt_id}")
        if response.status == 404:
            return None
        item = self._decoded(response)
        start, end = item.get("execution_start_time"), item.get("execution_end_time")
        return Job(
            status=item["status"],
            ran=frozenset(item.get("outputs") or {}),
            error=item.get("execution_error") or {},
            seconds=(end - start) / 1000 if start and end else None,
        )

    def fetch(self, filename: str, subfolder: str, kind: str = "output") -> bytes:
        """A saved file's bytes.

        Args:
            kind: which of ComfyUI's folders: output, temp or input.

        Raises:
            FileNotFoundError: the server does not have it.
        """
        query = urlencode({"filename": filename, "subfolder": subfolder, "type": kind})
        response = self._request("GET", f"/view?{query}")
        if response.status == 404:
            raise FileNotFoundError(f"{self.url} no longer has {subfolder}/{filename}")
        if response.status != 200:
            raise ServerFault(f"{self.url} answered {response.status} for {filename}")
        return response.data

    def free(self) -> None:
        """Unloads models and forgets cached results, once the running prompt ends."""
        self._request("POST", "/free", body=json.dumps({"unload_models": True, "free_memory": True}).encode())

    def model_sizes(self) -> dict[str, int]:
        """Bytes of all model files, by the name that loaders use; empty where this ComfyUI does not tell."""
        response = self._request("GET", "/experiment/models", timeout=PATIENT)
        if response.status != 200:
            return {}
        folders = [str(one["name"]) for one in self._decoded(response)]
        found = [
            item
            for folder in folders
            for item in self._json("GET", f"/experiment/models/{quote(folder)}", timeout=PATIENT)
        ]
        return {str(item["name"]): int(item["size"]) for item in found}

    def forget(self, prompt_id: str) -> None:
        """Deletes the prompt from the server's history, whose memory it holds."""
        self._request("POST", "/history", body=json.dumps({"delete": [prompt_id]}).encode())

    def cancel(self, prompt_ids: list[str]) -> None:
        """Cancels prompts of ours, queued or running; nobody else's."""
        self._request("POST", "/api/jobs/cancel", body=json.dumps({"job_ids": prompt_ids}).encode())

    def _json(self, method: str, path: str, **request: Any) -> Any:
        return self._decoded(self._request(method, path, **request))

    def _request(self, method: str, path: str, **request: Any) -> urllib3.BaseHTTPResponse:
        headers = {"Content-Type": "application/json"} if "body" in request else {}
        try:
            # urllib3 repeats only what may be repeated: GETs, and connections that were never made.
            return self._pool.request(method, self.url + quote(path, safe="/?&=%+"), headers=headers, **request)
        except (urllib3.exceptions.MaxRetryError, urllib3.exceptions.HTTPError) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
                raise ServerFault(f"{self.url} did not answer {path} in time") from None
            raise ServerGone(f"no ComfyUI answers at {self.url} ({type(reason).__name__})") from None

    def _decoded(self, response: urllib3.BaseHTTPResponse) -> Any:
        if response.status == 400:
            try:
                raise _refusal(response.json())
            except (ValueError, AttributeError, KeyError):
                pass
        if response.status == 413:
            raise PromptRefused(f"larger than {self.url} takes; start that ComfyUI with a higher --max-upload-size")
        if response.status != 200:
            raise ServerFault(f"{self.url} answered {response.status}: {response.data[:200].decode(errors='replace')}")
        try:
            return response.json()
        except ValueError:
            raise ServerFault(f"{self.url} answered with something that is not JSON") from None


def _refusal(answer: dict[str, Any]) -> PromptRefused:
    """ComfyUI's validation errors as one line, with the nodes that they are about."""
    errors = answer.get("node_errors") or {}
    found = [
        f"{node['class_type']} #{node_id}: {error['message']}"
        + (f" ({error['details']})" if error.get("details") else "")
        for node_id, node in errors.items()
        for error in node["errors"]
    ]
    if not found:
        error = answer["error"]
        found = [error if isinstance(error, str) else f"{error['message']} {error.get('details', '')}".strip()]
    return PromptRefused("; ".join(found), tuple(errors))
