"""What the driver is compared with: other ways to get the same graph done on the same server.

Each takes finished graphs, one per image, whose photos are uploaded already, and returns seconds.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import urllib3
import websocket
from PIL import Image

from benchmarks.driver_inputs import photos_in
from comfy_nodes.core.regions.annotation import Annotation, region_of_mask, to_json

HTTP = urllib3.PoolManager(maxsize=4)
NAP_SECONDS = 0.1
"""What ImgEdit's `dlc_*.py` sleep after every message of the socket."""

FLOOR_PACK = 8
"""Images in a prompt of the floor."""

Graph = dict[str, dict[str, Any]]


def filled(graph: Graph, photos: Path, url: str, seed: int, count: int) -> list[Graph]:
    """The graph for `count` photos of a folder, which are uploaded; every image has a seed of its own."""
    taken = photos_in(photos)[:count]
    if len(taken) < count:
        raise ValueError(f"{photos} has {len(taken)} photos, not {count}")
    return [_filled(graph, photo, url, seed * 10_000 + number) for number, photo in enumerate(taken)]


def reference_loop(graphs: list[Graph], url: str) -> float:
    """ImgEdit's way: post one, then open a socket, nap after every message until it is over, read the history, fetch.

    Returns:
        Seconds per image.
    """
    begun = time.monotonic()
    for graph in graphs:
        client = uuid.uuid4().hex
        prompt_id = ask(url, "/prompt", {"prompt": graph, "client_id": client})["prompt_id"]
        socket = websocket.create_connection(f"{url.replace('http', 'ws', 1)}/ws?clientId={client}", timeout=60)
        while True:
            message = socket.recv()
            time.sleep(NAP_SECONDS)
            if isinstance(message, str):
                event = json.loads(message)
                over = event["type"] == "executing" and event["data"]["node"] is None
                if over and event["data"]["prompt_id"] == prompt_id:
                    break
        socket.close()
        outputs = ask(url, f"/history/{prompt_id}")[prompt_id]["outputs"]
        for image in [one for node in outputs.values() for one in node.get("images", [])]:
            fetched = HTTP.request("GET", f"{url}/view", fields=image)
            assert fetched.status == 200, f"/view answered {fetched.status}"
    return (time.monotonic() - begun) / len(graphs)


def pipelined(graphs: list[Graph], url: str) -> float:
    """Posts all prompts at once, one per image, and waits until the server has done them; fetches nothing.

    Returns:
        Seconds per image.
    """
    begun = time.monotonic()
    ids = [_post(graph, url) for graph in graphs]
    for prompt_id in ids:
        _finished(prompt_id, url)
    return (time.monotonic() - begun) / len(graphs)


def floor(graphs: list[Graph], url: str) -> float:
    """Several images in a prompt, all prompts posted at once: what the server itself needs where no client can cost it
    anything. Not all in one prompt: at each of its nodes a server goes through those that it has been through.

    Returns:
        Seconds of execution per image, as the server says.
    """
    packs = [graphs[begin : begin + FLOOR_PACK] for begin in range(0, len(graphs), FLOOR_PACK)]
    jobs = [_finished(prompt_id, url) for prompt_id in [_post(_packed(pack), url) for pack in packs]]
    spent = sum(job["execution_end_time"] - job["execution_start_time"] for job in jobs)
    return float(spent) / 1000 / len(graphs)


def _packed(graphs: list[Graph]) -> Graph:
    packed = {}
    for number, graph in enumerate(graphs):
        for node_id, node in copy.deepcopy(graph).items():
            for value in node["inputs"].values():
                if isinstance(value, list):
                    value[0] = f"{number}-{value[0]}"
            packed[f"{number}-{node_id}"] = node
    return packed


def comfy_run(graphs: list[Graph], url: str, scratch: Path) -> float:
    """`comfy run --wait` for each image.

    Returns:
        Seconds per image.
    """
    parts = urllib3.util.parse_url(url)
    command = [str(Path(sys.executable).with_name("comfy")), "--skip-prompt", "run", "--wait"]
    command += ["--host", str(parts.host), "--port", str(parts.port), "--workflow"]
    environment = {**os.environ, "DO_NOT_TRACK": "1", "HOME": str(scratch)}
    begun = time.monotonic()
    for number, graph in enumerate(graphs):
        file = scratch / f"comfy-run-{number}.json"
        file.write_text(json.dumps(graph))
        done = subprocess.run([*command, str(file)], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"comfy run ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    return (time.monotonic() - begun) / len(graphs)


def prompts_so_far(url: str) -> int:
    """How many prompts were posted to a server: it numbers them. Asking posts one more, which counts."""
    graph = {
        "1": {"class_type": "PrimitiveString", "inputs": {"value": uuid.uuid4().hex}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    return int(ask(url, "/prompt", {"prompt": graph})["number"])


def ask(url: str, path: str, body: Any = None) -> Any:
    """A JSON answer, to a GET or, with a body, to a POST."""
    answer = HTTP.request("GET", url + path) if body is None else HTTP.request("POST", url + path, json=body)
    if answer.status != 200:
        raise RuntimeError(f"{url}{path} answered {answer.status}: {answer.data[:300]!r}")
    return answer.json()


def _filled(graph: Graph, photo: Path, url: str, seed: int) -> Graph:
    with Image.open(photo.with_suffix(".mask.png")) as mask:
        region = region_of_mask(np.asarray(mask), "disc")
        annotation = Annotation(path=photo.name, size=mask.size, regions=(region,))
    file = (photo.name, photo.read_bytes())
    fields = [("image", file), ("type", "temp"), ("subfolder", f"bench/{seed}")]
    uploaded = json.loads(HTTP.request("POST", f"{url}/upload/image", fields=fields).data)
    prompt = copy.deepcopy(graph)
    for node in prompt.values():
        if node["class_type"] == "EditPairsLoadSample":
            image = f"{uploaded['subfolder']}/{uploaded['name']} [temp]"
            node["inputs"].update(image=image, annotation=json.dumps(to_json(annotation)), seed=seed)
        if node["class_type"] == "EditPairsSavePair":
            node["inputs"]["folder"] = f"bench/{seed}"
    return prompt


def _post(graph: Graph, url: str) -> str:
    prompt_id = str(uuid.uuid4())
    ask(url, "/prompt", {"prompt": graph, "prompt_id": prompt_id})
    return prompt_id


def _finished(prompt_id: str, url: str) -> dict[str, Any]:
    """The job, once it is over."""
    while (job := ask(url, f"/api/jobs/{prompt_id}"))["status"] in ("pending", "in_progress"):
        time.sleep(0.02)
    if job["status"] != "completed":
        raise RuntimeError(f"a prompt of the baseline ended as {job['status']}: {job.get('execution_error')}")
    return dict(job)
