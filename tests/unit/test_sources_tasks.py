"""ImgEdit's task files as input: every kind that its instruction stage writes, for the workflow of that task only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.tasks import task_named
from driver.errors import RunError
from driver.inputs.source import Source
from driver.samples import Aim, Planned, Plans
from tests.unit.source_making import ids, mask_rle, picture, reasons, samples


def thing(name: str, left: int = 0, top: int = 4, right: int | None = None) -> dict[str, Any]:
    """A region as ImgEdit's drivers demand it: counts alone, and a score that may be a list of one."""
    box = (left, top, right or left + 8, top + 10)
    return {
        "class_name": name, "bbox": list(box), "mask": mask_rle(box)["counts"],
        "score": [0.93], "clip_score": 0.91, "aes_score": 5.1,
    }  # fmt: skip


BASE = {"original_path": "cup.jpg", "resolution": {"height": 30, "width": 40}}
REPLACE = {**BASE, "edit_type": "replace", "edit_obj": thing("cup"), "edit_prompt": "replace cup with a jug",
           "edit_result": "a jug"}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "cup.jpg").write_bytes(picture())
    return tmp_path / "root"


def plan(root: Path, item: object, task: str) -> list[Planned]:
    path = root.parent / "task.json"
    path.write_text(json.dumps(item))
    return list(Source(path, root).plan([Aim(task_named(task))], "all", 0))


@pytest.mark.parametrize(
    ("task", "fields", "names", "instruction"),
    [
        ("add", {"edit_type": "add", "edit_obj": None, "edit_prompt": "'Add a cup on the left.'",
                 "edit_result": thing("cup")}, ["cup"], "Add a cup on the left."),
        ("remove", {"edit_type": "remove", "edit_obj": thing("cup"), "edit_result": None,
                    "edit_prompt": "Prompt: 'Remove the artist's cup.'"}, ["cup"], "Remove the artist's cup."),
        ("alter", {"edit_type": "adjust", "edit_obj": thing("cup"), "edit_prompt": "turn cup\nred",
                   "edit_result": "red cup"}, ["cup"], "turn cup red"),
        ("background", {"edit_type": "background", "edit_obj": thing("sky", 0, 4, 40) | {"bbox": [0, 4, 40, 22]} |
                        {"mask": None}, "edit_prompt": "change the sky", "edit_result": "night"}, ["sky"], "change the sky"),
        ("hybrid", {"edit_type": ["add", "adjust"], "edit_obj1": thing("cup"), "edit_obj2": thing("jug", 28),
                    "edit_prompt": "add a cup and turn the jug red", "edit_result1": "None", "edit_result2": "red jug"},
         ["cup", "jug"], "add a cup and turn the jug red"),
        ("content_memory", {"edit_type": ["replace", "replace"], "edit_obj1": thing("cup"), "edit_obj2": thing("jug", 28),
                            "round1_prompt": "replace the cup", "round2_prompt": "replace the jug", "premise": "all glass.",
                            "edit_result1": "a", "edit_result2": "b"},
         ["cup", "jug"], "all glass. replace the cup\nreplace the jug"),
        ("content_understanding", {"edit_type": ["add", "adjust", "remove"], "edit_obj": thing("cup"),
                                   "round1_prompt": "add a cup", "round2_prompt": "turn it red",
                                   "round3_prompt": "remove it"}, ["cup"], "add a cup\nturn it red\nremove it"),
        ("version_backtracking", {"edit_type": ["add", "replace", "adjust"], "edit_obj": thing("cup"),
                                  "round1_prompt": "add a cup", "round2_prompt": "make it a jug",
                                  "round3_prompt": "undo that, turn it red"},
         ["cup"], "add a cup\nmake it a jug\nundo that, turn it red"),
    ],
)  # fmt: skip
def test_every_kind_of_task_file(
    task: str, fields: dict[str, Any], names: list[str], instruction: str, root: Path
) -> None:
    planned = plan(root, BASE | fields, task)
    assert reasons(planned) == {}
    (sample,) = samples(planned)
    assert [region.class_name for region in sample.annotation.regions] == names
    assert sample.instruction == instruction
    assert (sample.file, sample.annotation.path) == ("cup.jpg", "cup.jpg")
    assert sample.annotation.regions[0].score == 0.93
    if task != "background":
        assert sample.annotation.regions[0].mask is not None


DIALOGUE = BASE | {
    "edit_type": ["add", "replace", "adjust"], "edit_obj": thing("cup"), "round1_prompt": "Add a cup.",
    "round2_prompt": "Replace it with a jug.", "edit_result2": "a jug", "round3_prompt": "Undo that, turn it red.",
    "edit_result3": "a red cup",
}  # fmt: skip


def turns(root: Path, item: object, task: str) -> list[Planned]:
    path = root.parent / "task.json"
    path.write_text(json.dumps(item))
    return list(Source(path, root).plan([Aim(task_named(task), plans=Plans())], "all", 0))


def test_a_task_file_of_several_turns_is_a_plan(root: Path) -> None:
    planned = turns(root, DIALOGUE, "version_backtracking")
    assert reasons(planned) == {}
    found = samples(planned)
    assert [(one.turn.op, one.turn.base) for one in found if one.turn] == [("add", 0), ("replace", 1), ("alter", 1)]
    assert [one.instruction for one in found] == ["Add a cup.", "Replace it with a jug.", "Undo that, turn it red."]
    memory = BASE | {
        "edit_type": ["replace", "adjust"], "edit_obj1": thing("cup"), "edit_obj2": thing("jug", 28), "premise": "All in blue.",
        "round1_prompt": "Replace the cup with a bowl.", "edit_result1": "a blue bowl", "round2_prompt": "Recolour the jug.",
        "edit_result2": "a blue jug",
    }  # fmt: skip
    planned = turns(root, memory, "content_memory")
    assert reasons(planned) == {}
    assert {one.turn.premise for one in samples(planned) if one.turn} == {"All in blue."}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"round3_prompt": None}, "is not one operation for each roundN_prompt"),
        ({"edit_result3": None}, "turn 3: nothing says what is to be seen after it"),
        ({"round2_prompt": "Replace with a jug."}, "turn 2: it has no pronoun"),
        ({"round2_prompt": 5}, "holds no instruction"),
    ],
)
def test_a_task_file_of_turns_that_do_not_follow(change: dict[str, Any], why: str, root: Path) -> None:
    (message,) = reasons(turns(root, DIALOGUE | change, "version_backtracking")).values()
    assert why in message


def test_the_task_has_to_be_the_workflows(root: Path) -> None:
    planned = plan(root, [REPLACE, {**REPLACE, "edit_type": "remove"}], "remove")
    assert ids(planned) == ["cup.jpg"]
    why = "its task file is for replace, and the workflow makes remove; run a workflow for replace"
    assert reasons(planned) == {"cup.jpg": why}


def test_the_authors_pair_is_taken_as_it_is(root: Path) -> None:
    """Were it chosen here, the two would have to lie further apart."""
    fields = {"edit_type": ["replace", "adjust"], "edit_prompt": "both", "edit_obj1": thing("cup")}
    (sample,) = samples(plan(root, BASE | fields | {"edit_obj2": thing("lid", 9)}, "hybrid"))
    assert [region.class_name for region in sample.annotation.regions] == ["cup", "lid"]


def test_both_regions_of_a_pair_are_needed(root: Path) -> None:
    fields = {"edit_type": ["add", "adjust"], "edit_prompt": "both", "edit_obj1": thing("cup")}
    whole = {**thing("wall"), "bbox": [0, 0, 40, 30], "mask": None}
    assert (
        "region 1 (wall): covers 100 %"
        in reasons(plan(root, BASE | fields | {"edit_obj2": whole}, "hybrid"))["cup.jpg"]
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"edit_type": "repaint"}, "edit_type 'repaint' is no task of ImgEdit; known are add, remove"),
        ({"edit_type": None}, "edit_type None is no task"), ({"edit_type": {}}, "edit_type {} is no task"),
        ({"edit_prompt": None}, "its task file holds no instruction"), ({"edit_prompt": 5}, "holds no instruction"),
        ({"original_path": 5}, "the annotation has no path"), ({"edit_obj": "cup"}, "a region is a JSON object"),
        ({"edit_obj": None}, "the photo has no region"), ({"original_path": "../cup.jpg"}, "leaves the image root"),
        ({"original_path": "gone.jpg"}, "gone.jpg: cannot be read (No such file"), ({"resolution": 5}, "resolution is not"),
    ],
)  # fmt: skip
def test_broken_task_files_say_what_is_wrong(change: dict[str, Any], why: str, root: Path) -> None:
    (message,) = reasons(plan(root, REPLACE | change, "replace")).values()
    assert why in message


class TestFolder:
    """What the stage leaves: `<photo>/<task>.json`."""

    @pytest.fixture
    def folder(self, tmp_path: Path, root: Path) -> Path:
        for name in ("b", "a"):
            place = tmp_path / "tasks" / name
            place.mkdir(parents=True)
            (root / f"{name}.jpg").write_bytes(picture())
            for task in ("replace", "adjust", "compose"):
                item = {**REPLACE, "original_path": f"{name}.jpg", "edit_type": task}
                (place / f"{task}.json").write_text(json.dumps(item))
        return tmp_path / "tasks"

    def test_only_the_workflows_files_are_read(self, folder: Path, root: Path) -> None:
        (folder / "b" / "adjust.json").write_text("broken, and not looked at")
        planned = list(Source(folder, root).plan([Aim(task_named("replace"))], "all", 0))
        assert (ids(planned), reasons(planned)) == (["a.jpg", "b.jpg"], {})
        planned = list(Source(folder, root).plan([Aim(task_named("alter"))], "all", 0))
        assert ids(planned) == ["a.jpg"]
        assert reasons(planned)["b/adjust.json"].startswith("b/adjust.json: not JSON")

    def test_a_workflow_without_files_stops_the_run(self, folder: Path, root: Path) -> None:
        with pytest.raises(RunError, match="holds task files for alter, hybrid, replace, none for remove"):
            list(Source(folder, root).plan([Aim(task_named("remove"))], "all", 0))
        assert list(Source(folder, root).unmarked()) == []

    def test_a_name_that_lies_about_its_task(self, folder: Path, root: Path) -> None:
        (folder / "a" / "remove.json").write_text(json.dumps({**REPLACE, "original_path": "a.jpg"}))
        planned = list(Source(folder, root).plan([Aim(task_named("remove"))], "all", 0))
        assert reasons(planned)["a.jpg"].startswith("its task file is for replace")

    def test_photos_in_the_same_folder_need_the_image_root(self, folder: Path) -> None:
        (folder / "a.jpg").write_bytes(picture())
        assert len(list(Source(folder, folder).plan([Aim(task_named("replace"))], "all", 0))) == 2
        assert reasons(list(Source(folder).plan([Aim(task_named("replace"))], "all", 0)))["a.jpg"].startswith(
            "the photo has no"
        )
