"""A dialogue played through a graph as the driver plays it: each turn a sample whose photo is the state that it begins with."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import websocket
from PIL import Image

from comfy_nodes.core.instructions.instructions import Step, Writing, annotation_line
from comfy_nodes.core.instructions.turns import Earlier, Turn, region_after, turn_json, turn_writing
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Provenance, Region
from driver.graph.bound import BatchGraph
from tests.e2e import helpers
from tests.e2e.full_graphs import Pair, Photo

KEY = "d1a109"
SECONDS = 240


def plan(regions: Sequence[Region], *steps: Step, premise: str = "") -> Writing:
    """A dialogue of these turns."""
    return Writing(
        "\n".join(one.instruction for one in steps), "en", steps=steps, premise=premise, regions=tuple(regions)
    )


def turn(op: str, base: int, region: int = 0, target: str = "a red ball") -> Step:
    name = "disc" if region == 0 else "box"
    return Step(op, name, region, f"{op} the {name}", target, f"{op.capitalize()} the {name}.", base)


@dataclass(frozen=True)
class Played:
    """A turn that was made."""

    pair: Pair
    ran: frozenset[str]
    """Ids of the nodes that ComfyUI ran for it."""


class Dialogue:
    """Plays turns in order; each one's pictures are what the next ones begin with."""

    def __init__(self, url: str, inputs: Path, photo: Photo, task: str, writing: Writing) -> None:
        self._url, self._inputs, self._photo, self._task, self._writing = url, inputs, photo, task, writing
        self.made: list[Played] = []

    def states(self) -> list[np.ndarray]:
        """The pictures so far, uint8 [H, W, 3], that before the first turn first; before any there is the photo alone."""
        if not self.made:
            return [self._photo.pixels]
        return [self.made[0].pair.before, *(one.pair.after for one in self.made)]

    def values(self, number: int) -> tuple[dict[str, Any], dict[str, str]]:
        """What Load Edit Sample is told for a turn, and the further pictures by role."""
        writing, step = self._writing, self._writing.steps[number - 1]
        earlier = tuple(
            Earlier(n, one.base, one.op, one.instruction, rle.encode(made.pair.mask))
            for n, (one, made) in enumerate(zip(writing.steps, self.made, strict=False), 1)
        )
        region, mask_from = region_after(writing, number, earlier)
        assert region is not None
        about = Turn(
            KEY, self._task, number, len(writing.steps), step.base, step.op, writing.premise, mask_from, earlier
        )
        name = self.picture(step.base)
        height, width = self._photo.pixels.shape[:2]
        alone = turn_writing(writing, number)
        origin = Provenance(key=f"{KEY}~{number - 1}", source_id=name, source_path=name, source_sha256="0")
        line = annotation_line(
            Writing(**{**vars(alone), "regions": (region,)}), self._task, "", "", (width, height), origin,
            further={"turn": turn_json(about)},
        )  # fmt: skip
        values = {
            "image": name, "region_index": 0, "class_name": "", "instruction": alone.instruction,
            "annotation": json.dumps({**line, "editpairs": origin.model_dump(mode="json")}),
        }  # fmt: skip
        return values, {"start": self.picture(0)} if number > 1 else {}

    def play(self, graph: BatchGraph) -> Played:
        """Makes the next turn."""
        number = len(self.made) + 1
        values, seconds = self.values(number)
        prompt = graph.prompt(values, 5, f"dialogues/{uuid.uuid4().hex}", seconds)
        outputs, ran = run(self._url, prompt)
        played = Played(Pair(self._url, outputs[graph.sink]["editpairs"][0]), ran)
        assert "failure" not in played.pair.record, played.pair.record
        self.made.append(played)
        return played

    def picture(self, state: int) -> str:
        """A state as a file in ComfyUI's input folder."""
        name = f"state-{uuid.uuid4().hex}.png"
        Image.fromarray(self.states()[state]).save(self._inputs / name)
        return name


def run(url: str, prompt: dict[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Has ComfyUI run a prompt, and hears which nodes it runs.

    Raises:
        AssertionError: ComfyUI refused it, or a node failed; with its words.
    """
    client, ran = uuid.uuid4().hex, set()
    socket = websocket.create_connection(f"{url.replace('http', 'ws', 1)}/ws?clientId={client}", timeout=SECONDS)
    try:
        job = helpers.post(url, "/prompt", {"prompt": prompt, "client_id": client})
        assert not job.get("node_errors"), job
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            message = socket.recv()
            told = json.loads(message) if isinstance(message, str) else {}
            data = told.get("data", {})
            if data.get("prompt_id") != job["prompt_id"]:
                continue
            assert told["type"] != "execution_error", f"{data['node_type']}: {data['exception_message']}"
            if told["type"] == "executing" and data["node"] is None:
                break
            if told["type"] == "executing":
                ran.add(data["node"])
    finally:
        socket.close()
    entry = helpers.until(lambda: helpers.get(url, f"/history/{job['prompt_id']}"), "the prompt's end", SECONDS, 0.1)
    return dict(entry[job["prompt_id"]]["outputs"]), frozenset(ran)
