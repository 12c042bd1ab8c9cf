"""What the fake ComfyUI does with a prompt: for each sample the same tiny pair, or the mishap that it asks for; where the
graph annotates, a region in the middle.

Knows graphs, samples and files; queue, history and HTTP are `fake_comfy.py`'s.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from comfy_nodes.core.ingredients import Ingredients
from comfy_nodes.core.records import AnnotationRecord, Basis, EditRecord, SavedFile, TurnRecord, records_name
from comfy_nodes.core.regions import rle
from driver.graph.api import ancestors

SIDE = 16
REJECTED = "reject this"
"""The instruction of a sample whose pair is rejected."""

FILES_OF = 20_000
"""Samples whose records are held, so that a long run does not fill the memory. Ours."""

SOURCE, EDIT, MISHAP = "EditPairsLoadSample", "BenchBlockingEdit", "BenchMishap"
PAIR_SINK, ANNOTATION_SINK = SINKS = ("EditPairsSavePair", "EditPairsSaveAnnotation")
INGREDIENTS = Ingredients(version="fake", code="0" * 64, prompts={})
"""What it says that it makes its pairs with, whatever the graph."""

Graph = dict[str, dict[str, Any]]


class NodeError(Exception):
    """A node failed: its id, and the exception's full name."""

    def __init__(self, node_id: str, exception_type: str, message: str):
        super().__init__(message)
        self.node_id = node_id
        self.exception_type = exception_type


class FakeEngine:
    """Runs samples and keeps the files that it pretends to have written."""

    def __init__(self, seconds: float, folder: Path):
        """
        Args:
            seconds: what a sample takes beside what its graph's edit node says.
            folder: where what sinks wrote outlives the process.
        """
        self.executed: Counter[str] = Counter()
        """How often each sample was run to its end, by task and key."""
        self.samples = 0
        """How many were, each time counted."""
        self._seconds = seconds
        self._written: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._disk = (folder / "written.jsonl").open("a+", encoding="utf-8")
        self._disk.seek(0)
        for line in self._disk:
            subfolder, name, text = json.loads(line)
            self._keep(subfolder, name, text)
        self._met: set[tuple[str, str]] = set()
        self._record, self._before, self._after = _pair()

    def file(self, subfolder: str, name: str) -> bytes | None:
        """What `/view` shows: a sink's record as it wrote it; all pictures are the same two."""
        if name.endswith(".png"):
            return self._before if name.endswith("-source.png") else self._after
        return self._written.get((subfolder, name))

    async def run(self, graph: Graph, sink: str) -> dict[str, Any]:
        """Runs one sample of a graph: what its sink returns.

        Raises:
            NodeError: the sample's instruction asks for it.
        """
        above = ancestors(graph, sink)
        inputs = next(graph[node_id]["inputs"] for node_id in above if graph[node_id]["class_type"] == SOURCE)
        origin = json.loads(inputs["annotation"])["editpairs"]
        edits = [graph[one]["inputs"]["seconds"] for one in above if graph[one]["class_type"] == EDIT]
        await asyncio.sleep(self._seconds + sum(edits))
        culprit = next((one for one in above if graph[one]["class_type"] == MISHAP), sink)
        self._mishap(inputs["instruction"], origin["key"], culprit)
        self.executed[f"{inputs['task']} {origin['key']}"] += 1
        self.samples += 1
        annotates = graph[sink]["class_type"] == ANNOTATION_SINK
        return {"editpairs": [self._save(annotates, graph[sink]["inputs"]["folder"], inputs, origin)]}

    def _mishap(self, instruction: str, key: str, node_id: str) -> None:
        """What `BenchMishap` does."""
        mishap = instruction.removeprefix("mishap: ")
        first = (key, mishap) not in self._met
        self._met.add((key, mishap))
        if mishap == "fail":
            raise NodeError(node_id, "ValueError", "this sample always fails")
        if mishap == "out of memory" or (mishap == "out of memory once" and first):
            raise NodeError(node_id, "torch.OutOfMemoryError", "Allocation on device 0 would exceed allowed memory.")
        if mishap == "disk full" or (mishap == "disk full once" and first):
            raise NodeError(node_id, "OSError", "[Errno 28] No space left on device")
        if mishap == "die":
            os._exit(9)

    def _save(self, annotates: bool, folder: str, inputs: dict[str, Any], origin: dict[str, Any]) -> dict[str, Any]:
        """Writes what the sink would; the sample's record."""
        key = origin["key"]
        record = _annotation(folder, inputs, origin) if annotates else self._pair(folder, inputs, origin)
        text = json.dumps({"editpairs": [record]})
        self._disk.write(json.dumps([folder, records_name(key), text]) + "\n")
        self._disk.flush()
        self._keep(folder, records_name(key), text)
        return record

    def _pair(self, folder: str, inputs: dict[str, Any], origin: dict[str, Any]) -> dict[str, Any]:
        key, record = origin["key"], dict[str, Any](json.loads(self._record))
        record["input_images"][0].update(filename=f"{key}-source.png", subfolder=folder)
        record["output_images"][0].update(filename=f"{key}-edited.png", subfolder=folder)
        record.update({name: origin[name] for name in origin.keys() & record.keys()})
        record.update(task=origin.get("task") or inputs["task"], seed=inputs["seed"])
        annotation = json.loads(inputs["annotation"])
        if turn := annotation.get("turn"):
            record["turn"] = {name: turn[name] for name in TurnRecord.model_fields}
            if turn["base"]:  # each edit leaves the same picture
                record["input_images"][0] = {**record["output_images"][0], "filename": f"{key}-state.png"}
        if inputs["instruction"] == REJECTED:
            record.update(verdict="reject", reject_reason="nobody would keep it")
        if inputs["instruction"]:
            record.update(prompt=inputs["instruction"], initial_prompt=inputs["instruction"])
        if carried := annotation.get("carried"):
            return EditRecord.model_validate(record).with_carried(carried).model_dump(mode="json")
        return record

    def _keep(self, subfolder: str, name: str, text: str) -> None:
        self._written[subfolder, name] = text.encode()
        if len(self._written) > FILES_OF:
            self._written.popitem(last=False)


def _annotation(folder: str, inputs: dict[str, Any], origin: dict[str, Any]) -> dict[str, Any]:
    """What `Save Annotation` would say of a photo in whose middle something was found."""
    line = {name: value for name, value in json.loads(inputs["annotation"]).items() if name != "editpairs"}
    width, height = (int(line["resolution"][side]) for side in ("width", "height"))
    found = {"class_name": "disc", "bbox": [width / 4, height / 4, width * 3 / 4, height * 3 / 4]}
    line |= {"path": origin["source_path"], "source_sha256": origin["source_sha256"]}
    line |= {"segmentation": {"object": [found], "background": []}}
    file = SavedFile(filename=f"{origin['key']}.json", subfolder=folder, type="output", sha256="0" * 64)
    basis = Basis(ingredients=INGREDIENTS.sha256)
    record = AnnotationRecord(key=origin["key"], annotation=line, file=file, basis=basis)
    return record.model_dump(mode="json")


def _pair() -> tuple[str, bytes, bytes]:
    """A record as JSON, and its two PNGs."""
    before = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[4:9, 5:11] = True
    after = np.where(mask[..., None], 255 - before, before)
    saved = []
    for pixels in (before, after):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        saved.append(buffer.getvalue())
    files = [
        SavedFile(filename="x.png", subfolder="", type="output", sha256=hashlib.sha256(one).hexdigest())
        for one in saved
    ]
    record = EditRecord(
        key="x", task="remove", input_images=(files[0],), output_images=(files[1],), prompt="Remove it.",
        initial_prompt="Remove it.", verdict="keep", edit_mask=rle.encode(mask), source_id="", source_path="",
        source_sha256="", seed=0, width=SIDE, height=SIDE, basis=Basis(ingredients=INGREDIENTS.sha256),
    )  # fmt: skip
    return record.model_dump_json(), saved[0], saved[1]
