"""What reaches the editor of every model graph, and which picture is which, in a file that people read: tests/golden/told.md.

40 samples of all tasks, with words by a model, by a template and by a person, go through the graphs of `workflows/` on a
real ComfyUI, up to the text encoders; no weights are loaded. EDITPAIRS_RENEW=1 writes the file anew: read its diff.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from comfy_nodes.core.annotation import Provenance, Region, parse_annotation, region_of_mask, to_json
from comfy_nodes.core.composing import finish
from comfy_nodes.core.instructions import Writing, annotation_line
from comfy_nodes.core.replies import SHAPES
from comfy_nodes.core.scenes import Scene
from comfy_nodes.core.taxonomy import EDITOR, TAXONOMY
from driver.workflow import WORKFLOWS, Api, WorkflowFile
from tests.e2e import helpers

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "told.md"
SIZE = (640, 480)


def marked(name: str, box: tuple[int, int, int, int], kind: str = "object") -> Region:
    mask = np.zeros(SIZE[::-1], dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return region_of_mask(mask, name).model_copy(update={"kind": kind})


CUP, LAMP = marked("cup", (40, 340, 130, 440)), marked("lamp", (420, 40, 620, 300))
SKY = marked("sky", (0, 0, 640, 200), "background")
CAPTION = "A red cup stands on a table beside a lamp. It is morning."

WALL = "the bare wooden table"
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
}  # fmt: skip


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
    task, regions = kind.task or "", regions_of(kind.task or "")
    if ops:
        text = " and ".join(PARTS[op][0].format(f"[OBJECT{number}]") for number, op in enumerate(ops, 1))
        parts = [
            {"object": one.class_name, "object_en": one.class_name, "command": PARTS[op][1], "target": PARTS[op][2]}
            for op, one in zip(ops, regions, strict=True)
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
        workflow or kind.graph or "", task, f"model, {' then '.join(ops) or kind_id}", writing=writing, subtask=subtask
    )


PERSON = (
    ("add", "Add a red hat."), ("remove", "Get rid of the cup."), ("replace", "Replace the cup with a clay pot."),
    ("replace", "Something nicer, please."), ("alter", "Make the cup deep blue."), ("alter", "让杯子变蓝"),
    ("background", "Change the sky to a starry night."), ("style", "Turn the photo into a charcoal drawing."),
    ("style", "Nicer, please."), ("extract", "Cut out the cup."), ("visual", "Replace the cup with the flower in the second image."),
)  # fmt: skip
CASES = [
    *(by_model(kind) for kind in REPLIES),
    *(by_model("imgedit/hybrid", ops=ops) for ops in (("remove", "replace"), ("add", "replace"), ("remove", "add"), ("alter", "add"))),
    *(by_model(f"imgedit/{task}", "instruct") for task in ("add", "remove", "replace", "background", "style", "extract")),
    *(by_model("imgedit/hybrid", "instruct", ops) for ops in (("remove", "alter"), ("add", "alter"), ("replace", "add"))),
    *(Case(task, task, "template") for task in ("add", "remove", "extract", "style")),
    *(Case(task, task, "person", words) for task, words in PERSON),
    *(Case(name, "instruct", "person", words) for name in ("instruct", EDITOR) for words in ("Add a red hat.",)),
    Case("instruct", "alter", "person", "Make the cup deep blue."), Case("instruct", "add", "person", "Add a red hat."),
]  # fmt: skip


def told_in(reach: Reach) -> Iterator[str]:
    """The lines about one sample."""
    if reach.failure:
        yield f"- fails: {reach.failure}"
        return
    yield f"- row: {reach.instruction}"
    save = reach.api[reach.sink]["inputs"]
    for side, link in (("before", save.get("source")), ("after", save["edited"])):
        texts = list(reach.texts(link)) if link else []
        painted = " + ".join(json.dumps(text, ensure_ascii=False) for text in texts)
        yield f"- {side}: {painted or reach.origin(link)}"


def test_what_reaches_each_editor(comfy: Any) -> None:
    info = helpers.get(comfy.url, "/object_info")
    folder = comfy.models.parent / "input"
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (90, 110, 130)).save(folder / "told.png")
    apis = {
        name: WorkflowFile.read(WORKFLOWS / f"{name}.json").to_api(info) for name in {one.workflow for one in CASES}
    }
    assert len(CASES) >= 40
    lines = ["# What editors are told", ""]
    for case in CASES:
        lines += [
            f"## {case.workflow}: {case.task}, by a {case.who}",
            "",
            *told_in(Reach(comfy.url, apis[case.workflow], case)),
            "",
        ]
    text = "\n".join(lines)
    if os.environ.get("EDITPAIRS_RENEW"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), "EDITPAIRS_RENEW=1 writes it anew"


class Reach:
    """A graph's text path, run for one sample."""

    def __init__(self, url: str, api: Api, case: Case):
        self.api = copy.deepcopy(api)
        by_class = {node["class_type"]: number for number, node in self.api.items()}
        self.sink = by_class["EditPairsSavePair"]
        self.api[by_class["EditPairsLoadSample"]]["inputs"] |= _widgets(case)
        for node in self.api.values():
            if node["class_type"] == "EditPairsPreferKnownMask":
                node["inputs"].pop("otherwise", None)  # as where SAM 2 is muted
        save = self.api[self.sink]["inputs"]
        sample = save["sample"]
        while self.api[sample[0]]["class_type"] == "EditPairsCutOutOnWhite":
            sample = self.api[sample[0]]["inputs"]["sample"]  # it needs SAM 2, and no words
        wanted = {"sample": sample, "row": save.get("instruction")}
        for number, node in self.api.items():
            for name in ("text", "prompt", "switch"):
                if isinstance(node["inputs"].get(name), list):
                    wanted[f"{number}.{name}"] = node["inputs"][name]
        self._found = _previews(url, self.api, {name: link for name, link in wanted.items() if isinstance(link, list)})
        sample = self._found["sample"]
        failed = re.search(
            r"failure=SampleFailure\(.*?error_type='(\w+)', message=(['\"].*?['\"]), node=", sample, re.DOTALL
        )
        self.failure = f"{failed[1]}: {ast.literal_eval(failed[2])}" if failed else ""
        said = re.search(r", instruction=('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"), seed=", sample)
        self.instruction = self._found.get("row") or (ast.literal_eval(said[1]) if said else "")

    def texts(self, link: Any) -> Iterator[str]:
        """What the text encoders behind a picture read, switches being as they were."""
        node = self.api[link[0]]
        kind, inputs = node["class_type"], node["inputs"]
        if kind in ("EditPairsLoadSample", "EditPairsFitSize", "EditPairsTakeStep", "EditPairsLoadSecondImage"):
            return
        if kind in ("CLIPTextEncode", "TextEncodeQwenImageEdit"):
            name = "text" if kind == "CLIPTextEncode" else "prompt"
            if isinstance(inputs[name], list):
                yield self._found[f"{link[0]}.{name}"]
            return
        if kind == "ComfySwitchNode":
            yield from self.texts(inputs[self._branch(link[0])])
            return
        seen = dict.fromkeys(text for one in inputs.values() if isinstance(one, list) for text in self.texts(one))
        yield from seen

    def origin(self, link: Any) -> str:
        """Which picture it is that no text went into."""
        if link is None:
            return "the photo"
        node = self.api[link[0]]
        if node["class_type"] == "ComfySwitchNode":
            return self.origin(node["inputs"][self._branch(link[0])])
        if node["class_type"] == "EditPairsBlendEdit":
            return self.origin(node["inputs"]["edited"])
        return (
            "the photo" if node["class_type"] in ("EditPairsLoadSample", "EditPairsFitSize") else "made without words"
        )

    def _branch(self, number: str) -> str:
        value = self._found.get(f"{number}.switch", str(self.api[number]["inputs"]["switch"]))
        return "on_true" if value.casefold() == "true" else "on_false"


def _widgets(case: Case) -> dict[str, Any]:
    """What the driver fills in."""
    regions = regions_of(case.task)
    origin = Provenance(
        key="told",
        source_id="told.png",
        source_path="told.png",
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
        "image": "told.png", "region_index": 0, "class_name": "", "instruction": words,
        "annotation": json.dumps(to_json(annotation, origin)),
    }  # fmt: skip


def _previews(url: str, api: dict[str, Any], wanted: dict[str, Any]) -> dict[str, str]:
    """Values of links, by name, as ComfyUI's Preview as Text shows them; what they don't need is not run."""
    nodes = {f"told {name}": {"class_type": "PreviewAny", "inputs": {"source": link}} for name, link in wanted.items()}
    needed: set[str] = set()
    waiting = [link[0] for link in wanted.values()]
    while waiting:
        number = waiting.pop()
        if number not in needed:
            needed.add(number)
            waiting += [one[0] for one in api[number]["inputs"].values() if isinstance(one, list)]
    job = helpers.post(url, "/prompt", {"prompt": {**{number: api[number] for number in needed}, **nodes}})
    assert not job.get("node_errors"), job
    done = helpers.until(lambda: helpers.get(url, f"/history/{job['prompt_id']}"), "the prompt's end", 120, 0.05)
    entry = done[job["prompt_id"]]
    failed = dict(entry["status"]["messages"]).get("execution_error")
    assert failed is None, f"{failed['node_type']}: {failed['exception_message']}"
    return {name: entry["outputs"][f"told {name}"]["text"][0] for name in wanted}
