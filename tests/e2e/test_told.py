"""What reaches the editor of every model graph, and which picture is which, in a file that people read: tests/golden/told.md.

40 samples of all tasks, with words by a model, by a template and by a person, go through the graphs of `workflows/` on a
real ComfyUI, up to the text encoders; no weights are loaded. EDITPAIRS_RENEW=1 writes the file anew: read its diff.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comfy_nodes.core.taxonomy import EDITOR, TAXONOMY
from tests.e2e import reaching
from tests.e2e.reaching import REPLIES, Case, Reach, by_model

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "told.md"

PERSON = (
    ("add", "Add a red hat."), ("remove", "Get rid of the cup."), ("replace", "Replace the cup with a clay pot."),
    ("replace", "Something nicer, please."), ("alter", "Make the cup deep blue."), ("alter", "让杯子变蓝"),
    ("background", "Change the sky to a starry night."), ("style", "Turn the photo into a charcoal drawing."),
    ("style", "Nicer, please."), ("extract", "Cut out the cup."), ("visual", "Replace the cup with the flower in the second image."),
)  # fmt: skip
CROPPED = (
    "imgedit/add", "imgedit/remove", "imgedit/replace", "imgedit/background", "unicedit/Color Alteration",
    "unicedit/Spatial Reasoning Edits",
)  # fmt: skip
PERSON_OF_A_CROP = (
    ("add", "Add a red hat."), ("remove", "Get rid of the cup on the left."), ("replace", "Replace the left cup with a clay pot."),
    ("replace", "Something nicer, please."), ("alter", "Make the cup deep blue."), ("alter", "让杯子变蓝"),
    ("alter", "Let the one on the left shine."), ("background", "Change the sky to a starry night."),
)  # fmt: skip
CASES = [
    *(by_model(kind) for kind in REPLIES),
    *(by_model("imgedit/hybrid", ops=ops) for ops in (("remove", "replace"), ("add", "replace"), ("remove", "add"), ("alter", "add"))),
    *(by_model(f"imgedit/{task}", "instruct") for task in ("add", "remove", "replace", "background", "style", "extract")),
    *(by_model("imgedit/hybrid", "instruct", ops) for ops in (("remove", "alter"), ("add", "alter"), ("replace", "add"))),
    *(by_model(kind, f"{TAXONOMY[kind].graph}-open") for kind in CROPPED),
    *(by_model("imgedit/hybrid", "hybrid-open", ops) for ops in (("remove", "alter"), ("add", "replace"), ("alter", "add"))),
    *(Case(f"{task}-open", task, "template") for task in ("add", "remove")),
    *(Case(f"{task}-open", task, "person", words) for task, words in PERSON_OF_A_CROP),
    *(Case(task, task, "template") for task in ("add", "remove", "extract", "style")),
    *(Case(task, task, "person", words) for task, words in PERSON),
    *(Case(name, "instruct", "person", words) for name in ("instruct", EDITOR) for words in ("Add a red hat.",)),
    Case("instruct", "alter", "person", "Make the cup deep blue."), Case("instruct", "add", "person", "Add a red hat."),
    *(by_model(f"imgedit/{task}", "instruct-open") for task in ("add", "remove", "background")),
    *(by_model(f"imgedit/{task}", f"{task}-open") for task in ("style", "extract", "visual")),
    *(by_model("scaleedit/4.3_object_surface_text_editing", name) for name in ("instruct-open", "instruct-longcat")),
    Case("style-open", "style", "template"), Case("style-open", "style", "person", "Turn the photo into a charcoal drawing."),
    Case("style-open", "style", "person", "Nicer, please."),
    Case("visual-open", "visual", "person", "Replace the cup with the flower in the second image."),
    Case("instruct-longcat", "alter", "person", "把杯子上的字改成“茶”。"),
]  # fmt: skip


def told_in(reach: Reach) -> Iterator[str]:
    """The lines about one sample."""
    if reach.failure:
        yield f"- fails: {reach.failure}"
        return
    yield f"- row: {reach.instruction}"
    for side, texts in (("before", reach.before), ("after", reach.after)):
        painted = " + ".join(json.dumps(text, ensure_ascii=False) for text in texts)
        yield f"- {side}: {painted or reach.origin(side)}"


def test_what_reaches_each_editor(comfy: Any) -> None:
    reaching.put_photo(comfy.models.parent / "input")
    assert len(CASES) >= 40
    lines = ["# What editors are told", ""]
    for case, reach in zip(CASES, reaching.reached(comfy.url, CASES), strict=True):
        lines += [f"## {case.workflow}: {case.task}, by a {case.who}", "", *told_in(reach), ""]
    text = "\n".join(lines)
    if os.environ.get("EDITPAIRS_RENEW"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), "EDITPAIRS_RENEW=1 writes it anew"
