"""The one place that knows ComfyUI's HTTP API (0.30). HTTP is the truth; `events.py` gives hints.

Called by workers and the preflight. Knows nothing of samples, journals or datasets.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from pydantic import TypeAdapter, ValidationError

from comfy_nodes.core import run_files
from comfy_nodes.core.ingredients import ROUTE, Ingredients
from comfy_nodes.core.records import SavedFile
from comfy_nodes.core.services import redaction

from ..errors import PromptRefused, RunError, ServerFault, ServerLocked
from ..terminal import plain
from .logins import Login, locked_by
from .shapes import Folder, JobItem, ModelFile, Node, NodeErrors, Queued, Refusal, Stats, Uploaded
from .transport import Answer, Bounds, Transport

_JSON_BYTES = 64 << 20
"""Ours: the node list of a ComfyUI with many packs has 10 MB, and so has a job with a pack's annotations in its error."""

_FILE_BYTES = 512 << 20
"""Ours: a PNG of 100 megapixels in 16 bits fits."""

QUICK = Bounds(silence=15, seconds=20, size=_JSON_BYTES)
"""A server that is not stopped answers most questions at once."""

PATIENT = Bounds(silence=60, seconds=120, size=_JSON_BYTES)
"""For what makes it work: checking a prompt, listing its nodes and models."""

_FILE_RATE = 64 << 10
"""Bytes a second of the slowest network that counts as one. Ours."""

FILES = Bounds(silence=15, seconds=20, size=_FILE_BYTES, rate=_FILE_RATE)
"""For pictures."""

_FINAL = {"completed", "failed", "cancelled"}


_Shape = TypeVar("_Shape")


@dataclass(frozen=True)
class Job:
    """A prompt as `/api/jobs/{id}` shows it."""

    status: str
    """pending, in_progress, completed, failed or cancelled."""
    ran: frozenset[str] = frozenset()
    """Of a completed job: nodes that saved or showed something."""
    error: dict[str, str] = field(default_factory=dict)
    """Of a failed job: exception_type, exception_message, node_id, node_type, a short line each."""
    seconds: float | None = None
    """Execution time on the server."""

    @property
    def finished(self) -> bool:
        return self.status in _FINAL


class ComfyServer:
    """A running ComfyUI at an HTTP address."""

    def __init__(self, url: str, login: Login | None = None):
        """
        Args:
            login: what a server needs that lets not everybody in.

        Raises:
            RunError: `url` is not an http(s) address, or the login's certificate cannot be read.
        """
        parts = urlsplit(url if "//" in url else f"http://{url}")
        try:
            host = urllib3.util.parse_url(parts.geturl()).host
        except urllib3.exceptions.LocationParseError:
            host = None
        if parts.scheme not in ("http", "https") or not host:
            raise RunError(f"--server {url}: not an address such as http://127.0.0.1:8188")
        if "@" in parts.netloc:
            raise RunError(
                "--server: leave user name and password out of the address, it is written into the dataset; a login goes "
                "into servers.toml (docs/operators.md)"
            )
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._login = login
        self.transport = Transport(self.url, login)
        self._fetches_ahead = True
        self._asked_for: frozenset[run_files.SinkFolder] = frozenset()
        self._fetched: dict[str, bytes] = {}
        """By path below the output folder."""

    def system_stats(self) -> dict[str, Any]:
        """Version and devices.

        Raises:
            ServerGone: nothing answers.
            ServerFault: what answers is not a ComfyUI.
        """
        answer = self._request("GET", "/system_stats")
        try:
            stats = self._typed(Stats, answer, "/system_stats")
        except ServerLocked:
            raise
        except (ServerFault, PromptRefused):
            raise ServerFault(f"{self.url} answers, but it is not a ComfyUI (no /system_stats)") from None
        return stats.model_dump(exclude_unset=True)

    def object_info(self) -> dict[str, Any]:
        """Schemas of all nodes that the server has, by class; nodes of another shape are left out."""
        found = {}
        for name, node in self._get(dict[str, Any], "/object_info", PATIENT).items():
            try:
                Node.model_validate(node)
            except ValidationError:
                continue
            found[name] = node
        return found

    def ingredients(self, graph: dict[str, Any]) -> Ingredients:
        """What stands there behind a graph: the pack's code, prompts, weights, VLM profiles. Waits while weights are read.

        Raises:
            ServerFault: it does not say, as its EditPairs is too old, or cannot read a file of weights.
        """
        while (answer := self._post(ROUTE, graph)).status == 202:
            pass
        if answer.status in (404, 405):
            raise ServerFault(
                f"{self.url} has an EditPairs that does not say what it runs: use one version on all sides"
            )
        return self._typed(Ingredients, answer, ROUTE)

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
        bounds = replace(QUICK, seconds=QUICK.seconds + len(data) / _FILE_RATE)
        answer = self._typed(Uploaded, self._request("POST", "/upload/image", bounds, fields=fields), "/upload/image")
        return f"{answer.subfolder}/{answer.name} [{place}]"

    def submit(
        self, prompt: dict[str, Any], prompt_id: str, client_id: str, extra: Mapping[str, str] | None = None
    ) -> None:
        """Queues a graph under an id of ours. Never repeated blindly: ComfyUI runs a repeated id twice.

        Args:
            extra: what the graph's nodes may know and nobody else: ComfyUI keeps it out of its history.

        Raises:
            PromptRefused: the graph is not valid there.
            ServerFault: no clear answer; `job` tells whether the prompt arrived all the same.
        """
        asked = {"prompt": prompt, "prompt_id": prompt_id, "client_id": client_id, "extra_data": dict(extra or {})}
        answer = self._typed(Queued, self._post("/prompt", asked, PATIENT), "/prompt")
        if answer.node_errors:
            # It runs what is valid all the same, without the output that we need.
            self.cancel([prompt_id])
            raise _refusal(answer.node_errors, "")

    def job(self, prompt_id: str) -> Job | None:
        """The prompt's state; None where the server does not know it."""
        path = f"/api/jobs/{prompt_id}"
        answer = self._request("GET", path)
        if answer.status == 404:
            return None
        item = self._typed(JobItem, answer, path)
        start, end = item.execution_start_time, item.execution_end_time
        return Job(
            status=item.status,
            ran=frozenset(item.outputs),
            error=item.execution_error.model_dump() if item.status == "failed" else {},
            seconds=(end - start) / 1000 if start and end else None,
        )

    def fetch(self, filename: str, subfolder: str, kind: str = "output") -> bytes:
        """A saved file's bytes.

        Args:
            kind: which of ComfyUI's folders: output, temp or input.

        Raises:
            FileNotFoundError: the server does not have it.
        """
        if kind == "output" and (fetched := self._fetched.pop(f"{subfolder}/{filename}", None)) is not None:
            return fetched
        query = urlencode({"filename": filename, "subfolder": subfolder, "type": kind})
        answer = self._request("GET", f"/view?{query}", FILES)
        if answer.status == 404:
            raise FileNotFoundError(f"{self.url} no longer has {subfolder}/{filename}")
        if answer.status != 200:
            raise ServerFault(f"{self.url} answered {answer.status} for {filename}")
        return answer.data

    def fetch_ahead(self, run_id: str, samples: Sequence[run_files.SinkFolder]) -> None:
        """Gets what sinks saved of samples in one answer, for `fetch` to give it out once; as much of it as the server
        gives, which is nothing where its EditPairs is too old to do it.

        Args:
            samples: at most `run_files.MOST_SAMPLES`. Where the first is one of those that were asked for last, nothing
                is asked for.

        Raises:
            ServerFault: it answers something else.
        """
        if not self._fetches_ahead or samples[0] in self._asked_for:
            return
        self._fetched = {}
        asked = run_files.Wanted(run_id=run_id, samples=tuple(samples))
        answer = self._post(run_files.FETCH_ROUTE, asked.model_dump(), FILES)
        if answer.status in (404, 405):
            self._fetches_ahead = False
        elif answer.status != 200:
            raise ServerFault(f"{self.url} answered {answer.status} for {len(samples)} samples' files")
        else:
            base, self._asked_for = f"{run_files.FOLDER}/{run_id}", frozenset(samples)
            self._fetched = {f"{base}/{name}": data for name, data in self._members(answer.data).items()}

    def _members(self, data: bytes) -> dict[str, bytes]:
        """A zip's members, which may not be packed: they take no more room than they came with."""
        try:
            with zipfile.ZipFile(BytesIO(data)) as opened:
                members = opened.infolist()
                if any(one.compress_type != zipfile.ZIP_STORED for one in members):
                    raise zipfile.BadZipFile("packed members")
                if sum(one.file_size for one in members) > len(data):
                    raise zipfile.BadZipFile("members within each other")
                return {one.filename: opened.read(one) for one in members}
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
            raise ServerFault(f"{self.url}: what it sent of samples' files is damaged ({plain(str(error))})") from None

    def picture(self, image: SavedFile) -> bytes | Path:
        """A picture that a sink saved: its bytes, or where it lies on a disk of ours.

        Raises:
            FileNotFoundError: the server does not have it.
        """
        return self.fetch(image.filename, image.subfolder, image.type)

    def discard(self, files: run_files.RunFiles) -> int | None:
        """Has the server delete files of a run's that are home.

        Returns:
            How many of those that are meant stay; None where its EditPairs is too old to do it.
        """
        answer = self._post(run_files.ROUTE, files.model_dump())
        if answer.status in (404, 405):
            return None
        return self._typed(run_files.Left, answer, run_files.ROUTE).left

    def free(self) -> None:
        """Unloads models and forgets cached results, once the running prompt ends."""
        self._post("/free", {"unload_models": True, "free_memory": True})

    def model_sizes(self) -> dict[str, int]:
        """Bytes of all model files, by the name that loaders use; empty where this ComfyUI does not tell."""
        answer = self._request("GET", "/experiment/models", PATIENT)
        if answer.status != 200:
            return {}
        folders = self._typed(list[Folder], answer, "/experiment/models")
        found = [
            item
            for folder in folders
            for item in self._get(list[ModelFile], f"/experiment/models/{quote(folder.name)}", PATIENT)
        ]
        return {item.name: item.size for item in found}

    def forget(self, *prompt_ids: str) -> None:
        """Deletes prompts from the server's history, whose memory they hold."""
        self._post("/history", {"delete": prompt_ids})

    def cancel(self, prompt_ids: list[str]) -> None:
        """Cancels prompts of ours, queued or running; nobody else's."""
        self._post("/api/jobs/cancel", {"job_ids": prompt_ids})

    def _get(self, shape: type[_Shape], path: str, bounds: Bounds) -> _Shape:
        return self._typed(shape, self._request("GET", path, bounds), path)

    def _post(self, path: str, body: Any, bounds: Bounds = QUICK) -> Answer:
        headers = {"Content-Type": "application/json"}
        return self._request("POST", path, bounds, headers, body=json.dumps(body).encode())

    def _request(
        self, method: str, path: str, bounds: Bounds = QUICK, headers: dict[str, str] | None = None, **content: Any
    ) -> Answer:
        return self.transport.request(method, path, bounds, headers, **content)

    def _typed(self, shape: type[_Shape], answer: Answer, path: str) -> _Shape:
        """An answer's JSON, once it is what it has to be.

        Raises:
            PromptRefused: the server did not take what was sent.
            ServerFault: anything else is wrong with it.
        """
        if answer.status == 413:
            raise PromptRefused(f"larger than {self.url} takes; start that ComfyUI with a higher --max-upload-size")
        if answer.status == 403:
            raise ServerLocked(locked_by(self.url, 403, None, self._login))
        if answer.status not in (200, 400):
            words = redaction.clean(plain(answer.data[:200].decode(errors="replace")))
            raise ServerFault(f"{self.url} answered {answer.status}: {words}")
        try:
            content = json.loads(answer.data)
        except (ValueError, RecursionError):
            if answer.status == 200:
                raise ServerFault(
                    f"{self.url} answered {path} with something that is not JSON, or nested too deep"
                ) from None
            raise ServerFault(f"{self.url} answered 400") from None
        if answer.status == 400:
            try:
                refusal = Refusal.model_validate(content)
            except ValidationError:
                raise ServerFault(f"{self.url} answered 400") from None
            error = refusal.error
            raise _refusal(refusal.node_errors, error if isinstance(error, str) else f"{error.message} {error.details}")
        try:
            return TypeAdapter(shape).validate_python(content)
        except (ValidationError, RecursionError) as error:
            place = ".".join(map(str, error.errors()[0]["loc"])) if isinstance(error, ValidationError) else ""
            raise ServerFault(
                f"{self.url} answered {path} in another shape than ComfyUI's ({plain(place)[:80]})"
            ) from None


def _refusal(nodes: Mapping[str, NodeErrors], otherwise: str) -> PromptRefused:
    """ComfyUI's validation errors as one line, with the nodes that they are about."""
    found = [
        f"{node.class_type} #{node_id}: {error.message}" + (f" ({error.details})" if error.details else "")
        for node_id, node in nodes.items()
        for error in node.errors
    ]
    return PromptRefused("; ".join(found) or otherwise.strip(), tuple(nodes))
