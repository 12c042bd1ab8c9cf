"""Writing instructions through an endpoint, in one packed prompt of a real ComfyUI: `python benchmarks/write.py --json`.

The endpoint takes a second for each reply, however many it is asked for. `COMFYUI_PATH` names the ComfyUI. Shares the
machine with nobody, or the numbers mean little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.driver_servers import ServerProcess, comfyui
from comfy_nodes.vlm.asking import Answer, Question
from comfy_nodes.vlm.endpoint import client
from driver.comfyui.own import find_comfyui
from tests.vlm.endpoint import Endpoint, Say

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLES = 64
CALL_SECONDS = 1.0
EDITS, EDIT_SECONDS = 20, 2.0
EVENTS = "questions.jsonl"
"""Where `write_nodes` notes them, in the output folder."""

PHOTO = "editpairs-samples/rocket.jpg"

REPLY = {
    "object": "rocket",
    "object_en": "rocket",
    "instruction": "Remove [OBJECT].",
    "command": "Remove [OBJECT].",
    "target": "empty sky over the launch pad",
}
"""The edit that the endpoint thinks of: an instruction that passes all checks, so that each sample takes one question."""

Graph = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Asked:
    """The questions of one prompt, as the nodes saw them."""

    seconds: list[float]
    """What each took."""
    total: float
    """From the first question to the last answer."""
    cpu: float
    """Processor seconds of the server meanwhile."""
    requests: int
    """How many reached the endpoint."""


class Bench:
    """A server, an endpoint, and prompts between them."""

    def __init__(self, server: ServerProcess, endpoint: Endpoint) -> None:
        self._server, self._endpoint = server, endpoint
        self._events = server.folder / "output" / EVENTS

    def run(self, graph: Graph) -> Asked:
        """Runs a prompt to its end.

        Raises:
            SystemExit: it failed, or not every question was answered.
        """
        self._events.unlink(missing_ok=True)
        before = len(self._endpoint.requests)
        prompt_id = str(uuid.uuid4())
        posted = self._server.post("/prompt", {"prompt": graph, "prompt_id": prompt_id})
        if posted.get("node_errors"):
            raise SystemExit(f"the prompt was refused: {posted['node_errors']}")
        while (job := self._server.get(f"/api/jobs/{prompt_id}"))["status"] in ("pending", "in_progress"):
            time.sleep(0.2)
        if job["status"] != "completed":
            raise SystemExit(f"the prompt ended as {job['status']}: {json.dumps(job)[:2000]}")
        if not self._events.exists():
            raise SystemExit(f"no question was asked: {json.dumps(job.get('outputs'))[:2000]}")
        events = [json.loads(line) for line in self._events.read_text(encoding="utf-8").splitlines()]
        if any(kind != "Answer" for event in events for kind in event["kinds"]):
            raise SystemExit(f"not every question was answered: {json.dumps(job.get('outputs'))[:2000]}")
        return Asked(
            seconds=[event["ended"] - event["begun"] for event in events],
            total=max(event["ended"] for event in events) - min(event["begun"] for event in events),
            cpu=max(event["cpu_ended"] for event in events) - min(event["cpu_begun"] for event in events),
            requests=len(self._endpoint.requests) - before,
        )


def writers(profile: str, count: int, seed: int, run: str = "", edit_seconds: float = 0.0) -> Graph:
    """One prompt in which `count` samples are written about; each after an edit of its own that blocks, if wanted.

    Args:
        run: another one makes ComfyUI execute the nodes again, though the questions stay the same.
    """
    graph: Graph = {
        "load": _node("EditPairsLoadVlmEndpoint", profile=profile, run=run),
        "vlm": _node("BenchTimeVlm", vlm=["load", 0]),
    }
    for number in range(count):
        inputs = {"region_index": 0, "seed": seed + number, "class_name": "", "instruction": "", "annotation": ""}
        graph[f"{number}/source"] = _node("EditPairsLoadSample", image=PHOTO, task="remove", **inputs)
        asked = {"vlm": ["vlm", 0], "sample": [f"{number}/source", 0], "kind": "from the sample"}
        if edit_seconds:
            pixels = {"image": [f"{number}/source", 1], "mask": [f"{number}/source", 2]}
            graph[f"{number}/edit"] = _node("BenchBlockingEdit", seconds=edit_seconds, **pixels)
            asked["reference"] = [f"{number}/edit", 0]
        graph[f"{number}/write"] = _node("EditPairsWriteInstruction", language="en", count=1, **asked)
        graph[f"{number}/save"] = _node("EditPairsSaveInstructions", sample=[f"{number}/write", 0])
    return graph


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def ask_alone() -> float:
    """Seconds for as many questions with photos, asked at once by this process: the client without ComfyUI."""
    vlm = client.connect("wide")
    questions = [
        Question("bench", "1", "", f"{number}", (np.full((427, 640, 3), number, np.uint8),))
        for number in range(SAMPLES)
    ]
    asyncio.run(vlm.ask(questions[:1]))
    begun = time.monotonic()
    answers = asyncio.run(vlm.ask([replace(one, seed=1) for one in questions]))
    if not all(isinstance(one, Answer) for one in answers):
        raise SystemExit(f"not every question was answered: {answers}")
    return time.monotonic() - begun


def measure(bench: Bench) -> dict[str, float]:
    bench.run(writers("wide", 1, seed=1))  # imports and the connection's certificates, once per server
    narrow = bench.run(writers("narrow", SAMPLES, seed=1000))
    # The same samples for another model: ComfyUI still has their photos, so what is left is writing.
    wide = bench.run(writers("wide", SAMPLES, seed=1000))
    again = bench.run(writers("wide", SAMPLES, seed=1000, run="again"))
    fresh = bench.run(writers("wide", SAMPLES, seed=2000))
    beside = bench.run(writers("wide", EDITS, seed=3000, edit_seconds=EDIT_SECONDS))
    counts = [one.requests for one in (narrow, wide, fresh, beside)]
    if counts != [SAMPLES, SAMPLES, SAMPLES, EDITS]:
        raise SystemExit(f"there were {counts} requests: not one a sample")
    return {
        "ask_64_s": ask_alone(),
        "write_64_s": wide.total,
        "write_64_cpu_s": wide.cpu,
        "write_64_with_photos_s": fresh.total,
        "write_64_by_8_vs_ideal": narrow.total / (SAMPLES / 8 * CALL_SECONDS),
        "calls_second_run": float(again.requests),
        "mean_call_beside_edits_s": sum(beside.seconds) / len(beside.seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how long writing through an endpoint takes.")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="editpairs-benchmark-"))
    try:
        reply = Say(json.dumps({"edits": [REPLY]}), after_s=CALL_SECONDS)
        with Endpoint(default=reply) as endpoint:
            profiles = [
                f'[profiles.{name}]\nbase_url = "{endpoint.url}"\nmodel = "{name}"\nconcurrency = {slots}\n'
                for name, slots in (("wide", SAMPLES), ("narrow", 8))
            ]
            (folder / "vlm.toml").write_text("".join(profiles), encoding="utf-8")
            os.environ.update(EDITPAIRS_CONFIG=str(folder / "vlm.toml"), EDITPAIRS_CACHE=str(folder / "cache"))
            packs = folder / "server" / "custom_nodes"
            packs.mkdir(parents=True)
            (packs / "editpairs-timing").symlink_to(REPOSITORY / "benchmarks" / "write_nodes", target_is_directory=True)
            with comfyui(find_comfyui(), folder / "server") as server:
                found = measure(Bench(server, endpoint))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = {name: round(value, 3) for name, value in found.items()}
    print(json.dumps(found) if options.json else "\n".join(f"{name:28} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
