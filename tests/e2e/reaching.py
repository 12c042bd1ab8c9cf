"""The way of words through a graph, on a real ComfyUI and without weights: what reaches the text encoders behind each
picture of the pair, and what the row says. Shared by the tests of what editors are told."""

from __future__ import annotations

import ast
import copy
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from comfy_nodes.core.instructions.composing import finish
from comfy_nodes.core.instructions.instructions import Writing, annotation_line
from comfy_nodes.core.instructions.scenes import Scene
from comfy_nodes.core.instructions.shapes import SHAPES
from comfy_nodes.core.regions.annotation import Provenance, Region, parse_annotation, region_of_mask, to_json
from comfy_nodes.core.taxonomy import TAXONOMY
from driver.graph.api import Api
from driver.graph.file import WORKFLOWS, WorkflowFile
from tests.e2e import helpers

SIZE = (640, 480)
PHOTO = "told.png"


def marked(name: str, box: tuple[int, int, int, int], kind: str = "object") -> Region:
    mask = np.zeros(SIZE[::-1], dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return region_of_mask(mask, name).model_copy(update={"kind": kind})


CUP, LAMP = marked("cup", (40, 340, 130, 440)), marked("lamp", (420, 40, 620, 300))
SKY = marked("sky", (0, 0, 640, 200), "background")
WORDS = marked('text "CAFE"', (430, 20, 600, 60))
CAPTION = "A red cup stands on a table beside a lamp. It is morning."

WALL = "the bare wooden table"
GROUNDS = {"cup": WALL, "lamp": "the plaster wall"}
"""What is behind each thing."""
PARTS = {
    "add": ("add {}", "Add [OBJECT].", WALL), "remove": ("remove {}", "Remove [OBJECT].", WALL),
    "replace": ("replace {} with a clay pot", "Replace [OBJECT] with a clay pot.", "a round clay pot"),
    "alter": ("make {} of blue glass", "Make [OBJECT] of blue glass.", "a thing of blue glass"),
}  # fmt: skip
"""How a model answers for a step of a hybrid: its part of the sentence, command and target."""
REPLIES: dict[str, dict[str, Any]] = {
    "imgedit/add": {"article": "a", "instruction": "Put [OBJECT] [PLACE].", "target": WALL},
    "imgedit/remove": {"instruction": "Take [OBJECT] away.", "command": "Remove [OBJECT].", "target": WALL},
    "imgedit/replace": {"instruction": "Swap [OBJECT] for a glass jar.", "command": "Replace [OBJECT] with a glass jar.",
                        "target": "a tall glass jar"},
    "unicedit/Color Alteration": {"instruction": "Make [OBJECT] deep blue.", "command": "Paint [OBJECT] deep blue.",
                                  "target": "a deep blue cup"},
    "imgedit/background": {"instruction": "Turn [OBJECT] into a starry night.", "command": "Replace [OBJECT] with a starry night.",
                           "target": "a starry night sky"},
    "imgedit/style": {"name": "watercolour", "instruction": "Turn the photo into a watercolour.", "command": "Make it a watercolour.",
                      "target": "a loose watercolour painting"},
    "imgedit/extract": {"instruction": "Cut [OBJECT] out onto plain white.", "command": "Extract [OBJECT] onto plain white.",
                        "target": "a red cup on plain white"},
    "imgedit/visual": {"instruction": "Replace [OBJECT] with the one in the reference image.",
                       "command": "Replace [OBJECT] with the reference object.", "target": "a blue mug"},
    "scaleedit/4.3_object_surface_text_editing": {
        "reads": "TEA", "instruction": 'Change "TEA" on [OBJECT] to "JAM".', "command": 'Replace "TEA" on [OBJECT] with "JAM".',
        "target": 'a cup that says "JAM"'},
    "unicedit/Tone Transformation": {"name": "sunset", "instruction": "Bathe the scene in sunset light.",
                                     "command": "Relight the photo as at sunset.", "target": "the table at sunset"},
    "unicedit/Shape-Size Alteration": {"instruction": "Make [OBJECT] twice as tall.", "command": "Stretch [OBJECT] upwards.",
                                       "target": "a very tall cup"},
    "scaleedit/5.4_scientific_reasoning": {
        "reasoning": "Cold.", "instruction": "Show what an hour in the freezer does to it.", "command": "Cover [OBJECT] with white frost.",
        "target": "a cup covered with white frost"},
    "scaleedit/4.4_building_surface_text_editing": {
        "reads": "CAFE", "object": "sign", "object_en": "sign", "instruction": 'Let [OBJECT] say "BOOKS" instead of "CAFE".',
        "command": 'Change "CAFE" on [OBJECT] to "BOOKS".', "target": 'the word "BOOKS" on a sign'},
    "unicedit/Spatial Reasoning Edits": {
        "reasoning": "Nothing stands further left.", "instruction": "Replace what stands furthest from the lamp with a clay pot.",
        "command": "Replace [OBJECT] with a clay pot.", "target": "a round clay pot"},
}  # fmt: skip


OF_WORDS = ("scaleedit/4.4_building_surface_text_editing",)
"""Kinds whose region is words that were read, and no thing that bears some."""


@dataclass(frozen=True)
class Case:
    """A sample on its way to a graph."""

    workflow: str
    task: str
    who: str
    words: str = ""
    """A person's."""
    writing: Writing | None = None
    subtask: str = ""


def regions_of(task: str) -> tuple[Region, ...]:
    return {"background": (SKY,), "style": (), "motion": (), "hybrid": (CUP, LAMP)}.get(task, (CUP,))


def by_model(kind_id: str, workflow: str = "", ops: tuple[str, ...] = ()) -> Case:
    kind = TAXONOMY[kind_id]
    task, regions = kind.task, (WORDS,) if kind_id in OF_WORDS else regions_of(kind.task)
    if ops:
        text = " and ".join(PARTS[op][0].format(f"[OBJECT{number}]") for number, op in enumerate(ops, 1))
        # Each thing has a ground of its own, so that one is not taken for the other's.
        targets = [
            GROUNDS[one.class_name] if op in ("add", "remove") else PARTS[op][2]
            for op, one in zip(ops, regions, strict=True)
        ]
        parts = [
            {"object": one.class_name, "object_en": one.class_name, "command": PARTS[op][1], "target": target}
            for op, one, target in zip(ops, regions, targets, strict=True)
        ]
        reply: dict[str, Any] = {"instruction": text, "first": parts[0], "second": parts[1]}
    else:
        name = regions[0].class_name if regions else ""
        reply = {"object": name, "object_en": name, **REPLIES[kind_id]}
    assert kind.shape
    edit = SHAPES[kind.shape].model_validate(reply)
    writing = finish(kind, edit, Scene(*SIZE, regions), "en", ops or (task,), has_reference=task == "visual")
    subtask = "" if kind.scheme == "imgedit" else kind.id
    writing = replace(writing, regions=regions, model="a-model")
    return Case(
        workflow or kind.graph, task, f"model, {' then '.join(ops) or kind_id}", writing=writing, subtask=subtask
    )


def reached(url: str, cases: Sequence[Case]) -> list[Reach]:
    """The cases' ways through their graphs, run in one prompt on a real ComfyUI."""
    info = helpers.get(url, "/object_info")
    names = dict.fromkeys(case.workflow for case in cases)
    apis = {name: WorkflowFile.read(WORKFLOWS / f"{name}.json").to_api(info) for name in names}
    reaches = [Reach(apis[case.workflow], case) for case in cases]
    prompt: dict[str, Any] = {}
    for number, reach in enumerate(reaches):
        prompt |= reach.prompt(f"{number}:")
    outputs = run_prompt(url, prompt)
    for number, reach in enumerate(reaches):
        reach.found = {name: outputs[f"{number}:told {name}"]["text"][0] for name in reach.wanted}
    return reaches


def put_photo(input_folder: Path) -> None:
    """The photo of all cases, where ComfyUI looks for it."""
    input_folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (90, 110, 130)).save(input_folder / PHOTO)


class Reach:
    """A graph's text path, run for one sample."""

    def __init__(self, api: Api, case: Case):
        self.api = copy.deepcopy(api)
        self.found: dict[str, str] = {}
        """What was looked at, by name, as text."""
        by_class = {node["class_type"]: number for number, node in self.api.items()}
        self.sink = by_class["EditPairsSavePair"]
        self.api[by_class["EditPairsLoadSample"]]["inputs"] |= _widgets(case)
        for node in self.api.values():
            if node["class_type"] == "EditPairsLoadSecondImage":
                node["inputs"]["image"] = PHOTO  # of the first one's shape, as two frames are
            if node["class_type"] == "EditPairsPreferKnownMask":
                node["inputs"].pop("otherwise", None)  # as where SAM 2 is muted
            if node["class_type"] == "EditPairsProtectSubjects":
                node["inputs"].pop("subjects", None)  # and BiRefNet
        save = self.api[self.sink]["inputs"]
        sample = save["sample"]
        while self.api[sample[0]]["class_type"] == "EditPairsCutOutOnWhite":
            sample = self.api[sample[0]]["inputs"]["sample"]  # it needs SAM 2, and no words
        wanted = {"sample": sample, "row": save.get("instruction")}
        for number, node in self.api.items():
            for name in ("text", "prompt", "switch"):
                if isinstance(node["inputs"].get(name), list):
                    wanted[f"{number}.{name}"] = node["inputs"][name]
        self.wanted = {name: link for name, link in wanted.items() if isinstance(link, list)}

    def prompt(self, prefix: str) -> Api:
        """What is to be run, with the prefix before its ids: the wanted values as ComfyUI's Preview as Text shows them,
        and what they need."""
        needed: set[str] = set()
        waiting = [link[0] for link in self.wanted.values()]
        while waiting:
            number = waiting.pop()
            if number not in needed:
                needed.add(number)
                waiting += [one[0] for one in self._inputs(number).values() if isinstance(one, list)]
        nodes = {number: {**self.api[number], "inputs": self._inputs(number)} for number in needed}
        for name, link in self.wanted.items():
            nodes[f"told {name}"] = {"class_type": "PreviewAny", "inputs": {"source": link}}
        return {
            prefix + number: {
                "class_type": node["class_type"],
                "inputs": {
                    name: [prefix + value[0], value[1]] if isinstance(value, list) else value
                    for name, value in node["inputs"].items()
                },
            }
            for number, node in nodes.items()
        }

    def _inputs(self, number: str) -> dict[str, Any]:
        """A node's inputs; a crop is made of the photo, as a step's words are about places and need no edit before it."""
        node = self.api[number]
        if node["class_type"] != "EditPairsCropAroundMask":
            return dict(node["inputs"])
        [fit] = [one for one, other in self.api.items() if other["class_type"] == "EditPairsFitSize"]
        return {**node["inputs"], "image": [fit, 0]}

    @property
    def failure(self) -> str:
        """Why nothing is saved; empty where something is."""
        failed = re.search(
            r"failure=SampleFailure\(.*?error_type='(\w+)', message=(['\"].*?['\"]), node=",
            self.found["sample"],
            re.DOTALL,
        )
        return f"{failed[1]}: {ast.literal_eval(failed[2])}" if failed else ""

    @property
    def instruction(self) -> str:
        """The row's."""
        said = re.search(r", instruction=('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"), seed=", self.found["sample"])
        return self.found.get("row") or (ast.literal_eval(said[1]) if said else "")

    @property
    def operations(self) -> list[str]:
        """The row's, as its regions have them."""
        return re.findall(r"Step\(op='(\w+)'", self.found["sample"])

    @property
    def before(self) -> list[str]:
        """What was told to the editor that made the picture before; empty where no words made it."""
        link = self.api[self.sink]["inputs"].get("source")
        return list(self._texts(link)) if link else []

    @property
    def after(self) -> list[str]:
        """What was told to the editor that made the picture after; empty where no words made it."""
        return list(self._texts(self.api[self.sink]["inputs"]["edited"]))

    def origin(self, side: str) -> str:
        """Which picture the `before` or the `after` is that no words went into."""
        return self._origin(self.api[self.sink]["inputs"].get({"before": "source", "after": "edited"}[side]))

    def _texts(self, link: Any) -> Iterator[str]:
        """What the text encoders behind a picture read, switches being as they were."""
        node = self.api[link[0]]
        kind, inputs = node["class_type"], node["inputs"]
        if kind in ("EditPairsLoadSample", "EditPairsFitSize", "EditPairsTakeStep", "EditPairsLoadSecondImage"):
            return
        if kind in ("CLIPTextEncode", "TextEncodeQwenImageEdit", "TextEncodeQwenImageEditPlus"):
            name = "text" if kind == "CLIPTextEncode" else "prompt"
            if isinstance(inputs[name], list):
                yield self.found[f"{link[0]}.{name}"]
            return
        if kind == "ComfySwitchNode":
            yield from self._texts(inputs[self._branch(link[0])])
            return
        seen = dict.fromkeys(text for one in inputs.values() if isinstance(one, list) for text in self._texts(one))
        yield from seen

    def _origin(self, link: Any) -> str:
        """Which picture it is that no text went into."""
        if link is None:
            return "the photo"
        node = self.api[link[0]]
        if node["class_type"] == "ComfySwitchNode":
            return self._origin(node["inputs"][self._branch(link[0])])
        if node["class_type"] == "EditPairsBlendEdit":
            return self._origin(node["inputs"]["edited"])
        return (
            "the photo" if node["class_type"] in ("EditPairsLoadSample", "EditPairsFitSize") else "made without words"
        )

    def _branch(self, number: str) -> str:
        value = self.found.get(f"{number}.switch", str(self.api[number]["inputs"]["switch"]))
        return "on_true" if value.casefold() == "true" else "on_false"


def _widgets(case: Case) -> dict[str, Any]:
    """What the driver fills in."""
    regions = regions_of(case.task)
    origin = Provenance(
        key="told",
        source_id=PHOTO,
        source_path=PHOTO,
        source_sha256="0" * 64,
        task=case.task,
        subtask=case.subtask,
    )
    writing = case.writing or Writing("", "en", regions=regions)
    line = annotation_line(writing, case.task, case.subtask, "", SIZE, origin)
    if case.writing is None:
        del line["writing"], line["instruction"]
    annotation = parse_annotation({**line, "cap": [CAPTION]})
    words = case.writing.instruction if case.writing else case.words
    return {
        "image": PHOTO, "region_index": 0, "class_name": "", "instruction": words,
        "annotation": json.dumps(to_json(annotation, origin)),
    }  # fmt: skip


def run_prompt(url: str, prompt: Api) -> dict[str, Any]:
    """The prompt's outputs, by node."""
    job = helpers.post(url, "/prompt", {"prompt": prompt})
    assert not job.get("node_errors"), job
    done = helpers.until(lambda: helpers.get(url, f"/history/{job['prompt_id']}"), "the prompt's end", 240, 0.05)
    entry = done[job["prompt_id"]]
    failed = dict(entry["status"]["messages"]).get("execution_error")
    assert failed is None, f"{failed['node_type']}: {failed['exception_message']}"
    return dict(entry["outputs"])
