"""Which workflow makes which kind of edit: records reach a graph that can make them, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.tasks import INSTRUCT, task_named
from driver.dataset.rows import Row, RunFacts
from driver.inputs.source import Source
from driver.samples import Aim, Sample
from tests.unit.source_making import picture, reasons, samples

TEXT, TONE, SIZE = "unicedit/Text Modification", "scaleedit/1.2_tone_adjustment", "unicedit/Shape-Size Alteration"
KINDS = {"colour": ("alter", "unicedit/Color Alteration"), "text": ("alter", TEXT), "tone": ("style", TONE),
         "size": ("alter", SIZE), "plain": ("remove", "")}  # fmt: skip


def written(folder: Path, kinds: Mapping[str, tuple[str, str]] = KINDS, chinese: tuple[str, ...] = ()) -> Source:
    """An input as the write stage leaves it, a photo for each kind."""
    region = {"class_name": "cup", "bbox": [4, 4, 24, 24], "score": 0.9}
    lines = []
    for name, (task, subtask) in kinds.items():
        (folder / f"{name}.jpg").write_bytes(picture())
        found = [region] if task_named(task).regions else []
        lines.append({
            "path": f"{name}.jpg", "resolution": {"height": 30, "width": 40}, "task": task, "subtask": subtask,
            "instruction": "Do it.", "writing": {"instruction": "Do it.", "lang": "zh" if name in chinese else "en"}, "segmentation": {"object": found, "background": []},
        })  # fmt: skip
    (folder / "instructions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return Source(folder / "instructions.jsonl", folder)


def aims(*tasks: str) -> list[Aim]:
    return [Aim(task_named(task), ours=True) for task in tasks]


def test_auto_takes_the_workflows_that_can(tmp_path: Path) -> None:
    assert written(tmp_path).graphs() == ["remove", "alter", "instruct-qwen"]
    assert written(tmp_path, {"tone": ("style", TONE)}).graphs() == ["instruct-qwen"]


def test_chinese_words_on_things_go_to_the_editor_for_chinese(tmp_path: Path) -> None:
    """One editor makes all that a run has for any: the other one where something else is among it."""
    assert written(tmp_path, {"text": ("alter", TEXT)}, ("text",)).graphs() == ["instruct-longcat"]
    beside = {"text": ("alter", TEXT), "plain": ("remove", "")}
    assert written(tmp_path, beside, ("text", "plain")).graphs() == ["remove", "instruct-longcat"]
    for other in ("text", "tone"):
        kinds = {"chinese": ("alter", TEXT), other: KINDS[other]}
        assert written(tmp_path, kinds, ("chinese", "tone")).graphs() == ["instruct-qwen"], other


def test_each_record_goes_to_one_workflow(tmp_path: Path) -> None:
    found = samples(written(tmp_path).plan(aims("remove", "alter", "instruct"), "all", 0))
    assert {one.annotation.path: one.task for one in found} == {
        "colour.jpg": "alter", "text.jpg": "instruct", "tone.jpg": "instruct", "size.jpg": "instruct", "plain.jpg": "remove",
    }  # fmt: skip
    assert {one.own_task for one in found if one.task == "instruct"} == {"alter", "style"}


@pytest.mark.parametrize(
    ("name", "task", "why"),
    [
        ("text", "alter", "SDXL paints no words that can be read"),
        ("tone", "style", "does not keep what is on it"),
        ("size", "alter", "led by the object's edges"),
    ],
)
def test_a_graph_of_ours_refuses_what_it_cannot_make(tmp_path: Path, name: str, task: str, why: str) -> None:
    source = written(tmp_path, {name: KINDS[name]})
    (reason,) = reasons(source.plan(aims(task), "all", 0)).values()
    assert why in reason and "run --workflow instruct-qwen, or auto" in reason
    assert samples(source.plan([Aim(task_named(task))], "all", 0)), "somebody's own graph may be able to"


@pytest.mark.parametrize(("task", "why"), [("content_memory", "several turns"), ("visual", "does not see")])
def test_an_editor_refuses_what_one_picture_cannot_show(tmp_path: Path, task: str, why: str) -> None:
    (reason,) = reasons(written(tmp_path, {"x": (task, "")}).plan([Aim(INSTRUCT, ours=True)], "all", 0)).values()
    assert why in reason


def test_of_several_regions_an_instruction_without_a_task_is_about_none(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    regions = [{"class_name": name, "bbox": [x, 4, x + 8, 24], "score": 0.9} for name, x in (("cup", 2), ("jug", 20))]
    for found, count in ((regions, 0), (regions[:1], 1)):
        item = {
            "path": "a.jpg",
            "resolution": {"height": 30, "width": 40},
            "segmentation": {"object": found, "background": []},
        }
        (tmp_path / "a.json").write_text(json.dumps(item))
        (sample,) = samples(Source(tmp_path / "a.json", tmp_path).plan([Aim(INSTRUCT)], "all", 0))
        assert isinstance(sample, Sample) and len(sample.annotation.regions) == count


def test_a_row_says_which_workflow_made_it() -> None:
    facts = {name: RunFacts(name, "", "", "full") for name in ("alter", "remove", "instruct")}
    run = RunFacts("all", "", "", "full", others=facts)
    assert [run.of(*kind).workflow for kind in (("alter", ""), ("alter", TEXT), ("style", TONE), ("remove", ""))] == [
        "alter", "instruct", "instruct", "remove",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("made_as", "kind", "workflow"), [("alter", TEXT, "instruct"), ("alter", "", "alter"), ("", "", "remove")]
)
def test_a_relabelled_row_says_which_workflow_made_it(
    filed: Callable[..., Any], made_as: str, kind: str, workflow: str
) -> None:
    """It has the task that it was restated to, and no kind of edit any more."""
    facts = {name: RunFacts(name, "", "", "full") for name in ("alter", "remove", "instruct")}
    run = RunFacts("all", "", "", "full", others=facts)
    record = filed("k", task="remove", made_as=made_as, made_as_subtask=kind)
    columns = json.loads(Row.of(record.record, 1, run).line)
    assert (columns["workflow"], columns["task"], columns["subtask"]) == (workflow, "remove", "")
    assert "made_as_subtask" not in columns
