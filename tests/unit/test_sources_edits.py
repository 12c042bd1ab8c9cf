"""Rows of finished datasets as samples: which edit belongs to which photo, what is kept of what they say."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from comfy_nodes.core.records import EditRecord, Score
from comfy_nodes.core.regions.annotation import to_json
from comfy_nodes.core.tasks import INSTRUCT, VERIFY, task_named
from driver.inputs.quotas import Quotas, wanted_kinds
from driver.inputs.records import read_record
from driver.inputs.source import Source
from driver.samples import Aim, Planned
from tests.unit.source_making import ids, reasons, samples

JUDGE = Aim(VERIFY, frozenset({"edited"}))


def picture(colour: str, size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def judged(path: Path | str) -> list[Planned]:
    return list(Source(path).plan([JUDGE], "all", 0))


def test_a_row_of_ours_is_about_all_of_its_regions(tmp_path: Path) -> None:
    about = [{"op": op, "class_name": name, "bbox": [x, 4.0, x + 8, 24.0], "mask": None} for op, name, x in
             (("alter", "cup", 2.0), ("add", "jug", 20.0))]  # fmt: skip
    columns = {
        "key": ["0" * 20, "1" * 20], "task": ["hybrid", "remove"], "subtask": ["", ""], "prompt": ["Do both.", "Do it."],
        "input_images": [[{"bytes": picture("red"), "path": None}]] * 2,
        "output_images": [[{"bytes": picture("blue"), "path": None}]] * 2,
        "class_name": ["cup", "cup"], "bbox": [about[0]["bbox"]] * 2, "regions": [about, about[:1]],
        "stage_sha256": ["a" * 64] * 2,
    }  # fmt: skip
    (tmp_path / "out").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "out" / "rows.parquet")
    both, one = samples(judged(tmp_path / "out"))
    assert [region.class_name for region in both.annotation.regions] == ["cup", "jug"]
    assert [region.class_name for region in one.annotation.regions] == ["cup"]


def test_rows_of_scaleedit_keep_task_kind_and_scores(tmp_path: Path) -> None:
    path = tmp_path / "2.2_object_removal_0000.parquet"
    kinds = ["2.2_object_removal", "1.3_viewpoint_transformation"]
    columns = {
        "id": [7, 7], "edit_task": kinds, "edit_instruction": ["Remove it.", "From above."],
        "source_image": [picture("red"), picture("red")], "edited_image": [picture("blue"), picture("green")],
        "instruction_following_score": [3, 2], "editing_consistency_score": [3, 3], "generation_quality_score": [2, 1],
    }  # fmt: skip
    pq.write_table(pa.table(columns), path)
    first, second = samples(planned := judged(path))
    assert first.key != second.key, "two edits of one photo are two samples, though they have one id"
    assert (first.own_task, first.subtask) == ("remove", "scaleedit/2.2_object_removal")
    assert second.own_task == INSTRUCT.name, "a kind that no task of ours makes is still judged"
    assert first.instruction == "Remove it."
    assert Source(path).read(first.edited) == picture("blue")
    assert Source(path).read(second.edited) == picture("green")
    carried = first.annotation.carried
    assert carried == {
        "scores": [
            {"name": "given.instruction_following", "value": 3.0},
            {"name": "given.editing_consistency", "value": 3.0},
            {"name": "given.generation_quality", "value": 2.0},
        ]
    }
    assert ids(planned) == ["7", "7"]


def test_rows_of_unicedit_are_read(tmp_path: Path) -> None:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    row = {"bytes": picture("red"), "path": None}
    columns = {
        "key": pa.array(["k"]), "edit_task": pa.array(["Object Editing"]), "edit_subtask": pa.array(["Subject Removal"]),
        "src_image": pa.array([row], struct), "edit_image": pa.array([row], struct),
        "prompt_cn": pa.array(["移除它"]), "prompt_en": pa.array(["Remove it."]),
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "part.parquet")
    (sample,) = samples(judged(tmp_path / "part.parquet"))
    assert (sample.own_task, sample.subtask, sample.instruction) == ("remove", "unicedit/Subject Removal", "Remove it.")


def test_a_shard_of_imgedit_says_its_task_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    for name in ("o", "e"):
        (tmp_path / "r" / f"{name}.png").write_bytes(picture("red"))
    columns = {"input_images": [["r/o.png"]], "output_images": [["r/e.png"]], "prompt": ["Paint it."]}
    pq.write_table(pa.table(columns), tmp_path / "adjust_canny_part3.parquet")
    (sample,) = samples(judged(tmp_path / "adjust_canny_part3.parquet"))
    assert (sample.own_task, sample.edited, sample.file) == ("alter", "r/e.png", "r/o.png")


@pytest.mark.parametrize(
    "points", [["It is gone.", "The jug stays."], "It is gone.\n\nThe jug stays.\n"], ids=["list", "text"]
)
def test_reasoning_points_of_a_row_go_along(tmp_path: Path, points: Any) -> None:
    columns = {
        "image": [picture("red")],
        "edited": [picture("blue")],
        "prompt": ["Tidy up."],
        "reasoning_points": [points],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    (sample,) = samples(judged(tmp_path / "a.parquet"))
    assert sample.annotation.points == ("It is gone.", "The jug stays.")
    assert to_json(sample.annotation)["reasoning_points"] == ["It is gone.", "The jug stays."]
    pq.write_table(pa.table({**columns, "reasoning_points": [7]}), tmp_path / "a.parquet")
    assert "reasoning_points is a number, not a list of texts" in str(reasons(judged(tmp_path / "a.parquet")))


def test_without_an_edit_there_is_nothing_to_judge(tmp_path: Path) -> None:
    (tmp_path / "cup.png").write_bytes(picture("red"))
    (tmp_path / "jug.png").write_bytes(picture("red"))
    (tmp_path / "jug.edited.png").write_bytes(picture("blue"))
    planned = judged(tmp_path)
    assert ids(planned) == ["jug.png"]
    assert reasons(planned)["cup.png"].startswith("the photo has no picture after the edit")


def test_a_motion_needs_its_second_frame(tmp_path: Path) -> None:
    (tmp_path / "cup.png").write_bytes(picture("red"))
    (tmp_path / "cup.frame2.png").write_bytes(picture("red"))
    (tmp_path / "jug.png").write_bytes(picture("red"))
    planned = list(Source(tmp_path).plan([Aim(task_named("motion"), frozenset({"frame2"}))], "all", 0))
    assert [one.frame2 for one in samples(planned)] == ["cup.frame2.png"]
    assert "no second frame" in reasons(planned)["jug.png"]


def test_kinds_made_with_a_second_picture_are_for_photos_that_bring_it(tmp_path: Path) -> None:
    for name in ("cup.png", "cup.frame2.png", "jug.png", "jug.ref.png"):
        (tmp_path / name).write_bytes(picture("red"))
    wanted = Quotas(wanted_kinds("motion,unicedit/Color Alteration"), 1)
    planned = list(Source(tmp_path).plan_kinds(wanted, 0))
    (cup,) = samples(planned)
    assert (cup.task, cup.frame2, cup.pictures) == ("motion", "cup.frame2.png", ("cup.png", "cup.frame2.png"))
    assert "no second frame" in reasons(planned)["jug.png"]
    before = list(Source(tmp_path).plan([Aim(task_named("annotate"))], "all", 0))
    assert [one.frame2 for one in samples(before)] == ["cup.frame2.png", ""], "a later stage may take it"
    assert [one.pictures for one in samples(before)] == [("cup.png",), ("jug.png",)], "and this one does not load it"


def test_of_several_tasks_only_a_photo_that_suits_none_has_failed(tmp_path: Path) -> None:
    line = {"path": "cup.png", "segmentation": {"object": [{"class_name": "cup", "bbox": [5, 5, 25, 25]}]}}
    for name in ("cup", "jug"):
        (tmp_path / f"{name}.png").write_bytes(picture("red"))
    (tmp_path / "a.jsonl").write_text(json.dumps(line) + "\n" + json.dumps({"path": "jug.png"}) + "\n")
    tasks = ("remove", "background", "style")
    planned = list(Source(tmp_path / "a.jsonl").plan([Aim(task_named(name)) for name in tasks], "all", 0))
    assert [(one.annotation.path, one.task) for one in samples(planned)] == [
        ("cup.png", "remove"),
        ("cup.png", "style"),
        ("jug.png", "style"),
    ]
    assert not reasons(planned)
    only = list(Source(tmp_path / "a.jsonl").plan([Aim(task_named(name)) for name in tasks[:2]], "all", 0))
    assert list(reasons(only)) == ["jug.png"]


def test_the_second_picture_before_the_edit_is_its_reference(tmp_path: Path) -> None:
    columns = {"input_images": [[picture("red"), picture("blue", (9, 9))]], "prompt": ["As in the second."]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    source = Source(tmp_path / "a.parquet")
    (sample,) = samples(source.plan([Aim(task_named("style"))], "all", 0))
    assert source.read(sample.reference) == picture("blue", (9, 9))
    assert source.read(sample.file) == picture("red")


def made_elsewhere(restated: str = "") -> EditRecord:
    """A record of an edit that was made elsewhere."""
    return EditRecord(
        key="k", task="alter", input_images=(), output_images=(), prompt=restated or "Paint the cup.",
        initial_prompt="Paint the cup.", restated_prompt=restated or None, verdict="keep",
        scores=(Score(name="pixel.keep", value=1.0),), source_id="row", source_path="row", source_sha256="0", seed=5,
        width=4, height=4,
    )  # fmt: skip


@pytest.mark.parametrize("restated", ["", "Paint the cup blue."])
def test_a_record_keeps_what_was_known_of_its_edit(restated: str) -> None:
    fresh = made_elsewhere(restated)
    carried = {
        "initial_prompt": "Make it blue.", "seed": 9, "source_id": "cup.jpg", "models": [{"role": "editor", "name": "m"}],
        "scores": [{"name": "pixel.keep", "value": 0.0}, {"name": "given.quality", "value": 2.0}], "verdict": "reject",
    }  # fmt: skip
    kept = fresh.with_carried(carried)
    assert (kept.initial_prompt, kept.seed, kept.source_id, kept.verdict) == ("Make it blue.", 9, "cup.jpg", "keep")
    assert kept.restated_prompt == (restated or "Paint the cup."), "what it was restated to before is not lost"
    assert {one.name: one.value for one in kept.scores} == {"pixel.keep": 1.0, "given.quality": 2.0}
    assert kept.models[0].name == "m"


@pytest.mark.parametrize(
    "carried",
    [{"seed": 10**30}, {"crop": [0, 0, float("nan"), 1]}, {"scores": [{"name": "a", "value": float("inf")}]}],
    ids=["seed", "crop", "scores"],
)
def test_what_no_row_can_hold_is_not_carried_on(carried: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"cannot be kept .{next(iter(carried))}") as refused:
        made_elsewhere().with_carried(carried)
    assert "\n" not in str(refused.value)


BOTH = {"prompt_en": "Paint the cup blue.", "prompt_cn": "把杯子涂成蓝色。"}


@pytest.mark.parametrize(
    ("row", "both"),
    [
        ({**BOTH, "prompt": "Paint the cup blue.", "stage_sha256": "s", "seed": 9}, BOTH),
        ({**BOTH, "edit_subtask": "Color Alteration"}, BOTH),
        ({"prompt_en": "Paint the cup blue.", "prompt_cn": None, "edit_subtask": "Color Alteration"}, {}),
        ({"prompt_en": "Paint the cup blue.", "prompt_cn": " ", "stage_sha256": "s"}, {}),
    ],
)
def test_both_languages_of_a_row_travel_with_its_edit(row: dict[str, Any], both: dict[str, str]) -> None:
    """Of ours and of UnicEdit's own; a record of another verdict does not take them over, as they may be restated."""
    read = read_record({"path": "a.png", "edited": "b.png", **row})
    carried = read.annotation.carried or {}
    assert {name: carried[name] for name in BOTH if name in carried} == both
    assert read.instruction == "Paint the cup blue."
    assert made_elsewhere().with_carried(carried).prompt_cn is None
