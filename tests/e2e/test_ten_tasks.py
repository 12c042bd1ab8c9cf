"""All ten tasks in one run over bundled photos: one dataset, each row by its own graph, and nothing done twice."""

from __future__ import annotations

import colorsys
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.core.instructions.instructions import Step, Writing, annotation_line
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Annotation, Provenance, parse_annotation
from driver.dataset.dataset import stored_rows
from driver.derive import main as derive
from driver.exports.forms import FORMS, export
from driver.graph.file import WORKFLOWS, WorkflowFile
from tests.e2e import helpers
from tests.e2e.helpers import REPOSITORY, Driver
from tests.unit.derive_making import read
from tests.unit.test_classical_colour import HUES

SAMPLES = REPOSITORY / "samples"
SUITED = {
    "add": 3, "remove": 3, "replace": 3, "alter": 3, "background": 1, "motion": 1, "style": 3, "extract": 3,
    "visual": 3, "hybrid": 1,
}  # fmt: skip
"""How many of the photos suit each task: one has a background, one a second object, one a second frame."""

PHOTOS = ("rocket.jpg", "coffee.png", "rabbit-crouching.jpg")
WHOLE = ("motion", "style", "extract")
MOTION = "Make the rabbit "


def lines() -> list[dict[str, Any]]:
    """The bundled annotations of `PHOTOS`."""
    found = (json.loads(line) for line in (SAMPLES / "annotation.jsonl").read_text("utf-8").splitlines())
    return [line for line in found if Path(line["path"]).name in PHOTOS]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ten")
    (folder / "photos.jsonl").write_text("\n".join(map(json.dumps, lines())), "utf-8")
    return folder


@pytest.fixture(scope="module")
def command(comfy: Any, place: Path) -> Iterator[Driver]:
    (place / "logs").mkdir()
    running = Driver(comfy.url, place / "logs")
    yield running
    running.close()


@pytest.fixture(scope="module")
def output(command: Driver, place: Path) -> Path:
    run(command, place)
    return place / "run"


def run(command: Driver, place: Path, *options: str) -> helpers.Ended:
    files = ("--input", place / "photos.jsonl", "--image-root", SAMPLES, "--output", place / "run")
    return command.run(*files, "--regions", "one", "--profile", "classical", *options, workflow=",".join(SUITED))


def test_a_dry_run_counts_them_and_leaves_nothing(command: Driver, place: Path) -> None:
    ended = command.run(
        "--input", place / "photos.jsonl", "--image-root", SAMPLES, "--output", place / "dry", "--dry-run",
        "--regions", "one", "--profile", "classical", workflow=",".join(SUITED),
    )  # fmt: skip
    assert f"{sum(SUITED.values())} to edit, 0 skipped, 0 unusable" in ended.stdout
    for task in SUITED:
        assert f"{task}-classical.json (profile classical, task {task})" in ended.stdout
    assert not (place / "dry").exists()


def test_one_dataset_has_all_ten_tasks(output: Path) -> None:
    datasets = pytest.importorskip("datasets")
    opened = datasets.load_dataset(str(output), split="train", cache_dir=str(output.parent / "cache"))
    refused = Counter(row["task"] for row in helpers.table(output, "skipped"))
    assert Counter(opened["task"]) + refused == SUITED
    assert set(opened["task"]) == set(SUITED), "what a classical editor cannot do well leaves each task something"
    assert opened[0]["output_images"][0].size == (opened[0]["width"], opened[0]["height"])
    assert helpers.rows(output, "rejected") == []


def test_a_photo_that_a_task_does_not_suit_is_no_failure(output: Path) -> None:
    assert helpers.table(output, "failed") == []
    summary = json.loads((output / "summary.json").read_text("utf-8"))
    assert {task: one["kept"] for task, one in summary["tasks"].items()} == Counter(
        row["task"] for row in helpers.rows(output)
    )


def test_each_pair_keeps_to_its_mask(output: Path) -> None:
    for row in helpers.rows(output):
        before, after = (helpers.pixels_of(row[side][0]) for side in ("input_images", "output_images"))
        assert (before != after).any(), row["task"]
        if row["task"] in WHOLE:
            assert row["edit_mask"] is None
        else:
            mask = helpers.edit_mask(row)
            assert 0 < mask.sum() < mask.size
            assert np.array_equal(before[~mask], after[~mask]), row["task"]
        assert len(row["input_images"]) == (2 if row["task"] == "visual" else 1)


def test_each_row_says_which_graph_made_it(output: Path) -> None:
    for row in helpers.rows(output):
        file = WorkflowFile.read(WORKFLOWS / f"{row['task']}-classical.json")
        assert (row["workflow"], row["workflow_sha256"]) == (f"{row['task']}-classical", file.sha256)
        assert row["profile"] == "classical"
    assert {path.name for path in output.glob("workflow-*.json")} == {f"workflow-{task}.json" for task in SUITED}


def test_words_for_one_task_are_no_other_tasks(output: Path) -> None:
    """The annotation of a frame says what moves; of the same frame's stone that says nothing."""
    assert {row["task"] for row in helpers.rows(output) if row["prompt"].startswith(MOTION)} == {"motion"}


def test_the_same_command_again_edits_nothing(command: Driver, place: Path, output: Path) -> None:
    before, prompts = helpers.comparable(output), helpers.prompts_so_far(command.url)
    ended = run(command, place)
    assert f"{len(helpers.rows(output))} kept, 0 rejected, 0 unscored, 0 failed" in ended.stdout
    assert helpers.prompts_so_far(command.url) == prompts + 1
    assert helpers.comparable(output) == before


@pytest.fixture(scope="module")
def more(output: Path) -> Path:
    """What is derived from the run."""
    folder = output.parent / "more"
    assert derive([str(output), "--output", str(folder), "--with-originals"]) == 0
    return folder


def test_every_edit_gives_more_rows_and_each_picture_lies_there_once(output: Path, more: Path) -> None:
    edits = {row["key"]: row for row in helpers.rows(output)}
    rows = list(stored_rows(more, "data"))
    derived = [row for row in rows if row.columns["derived_kind"]]
    assert len(rows) == len(edits) + len(derived) and helpers.rows(more, "rejected") == []
    parents = Counter(key for row in derived for key in row.columns["derived_from"])
    assert parents.keys() == edits.keys() and min(parents.values()) >= 2 and len(derived) > 3 * len(edits)
    records = helpers.rows(more)
    for record in records:
        states = {one["path"]: one["bytes"] for one in record["states"]}
        named = {name for row in record["data"] for name in (*row["input_images"], *row["output_images"])}
        assert named == states.keys() and len(set(states.values())) == len(states)
    assert len(records) == len({row["source_id"] for row in edits.values()})
    for row in derived:
        before, after = (np.asarray(Image.open(io.BytesIO(one[0]))) for one in (row.inputs, row.outputs))
        outside = ~helpers.edit_mask(row.columns) if row.columns["edit_mask"] else np.zeros(before.shape[:2], bool)
        assert (before != after).any() and np.array_equal(before[outside], after[outside])


def test_every_inverse_is_read_right_by_whoever_did_not_write_it(output: Path, more: Path) -> None:
    edits = {row["key"]: row for row in helpers.rows(output)}
    back = {"remove": "add", "add": "remove", "visual": "replace"}
    turned: set[str] = set()
    for row in stored_rows(more, "data"):
        if row.columns["derived_kind"] != "inverse":
            continue
        (key,) = row.columns["derived_from"]
        edit, found = edits[key], read(row.columns["prompt"])
        assert row.outputs[0] == edit["input_images"][0]["bytes"] and row.inputs[0] == edit["output_images"][0]["bytes"]
        turned.add(edit["task"])
        regions = edit["regions"] or [{"op": edit["task"]}]
        assert [one.op for one in found] == [back.get(region["op"], region["op"]) for region in regions]
        photo = np.asarray(Image.open(io.BytesIO(row.outputs[0])))
        for region, one in zip(regions, found, strict=True):
            assert region.get("class_name") is None or region["class_name"] in f"{one.thing} {one.new}"
            assert not one.place or one.place in edit["prompt"]
            if one.op == "alter":
                assert called(one.new, photo[rle.decode(rle.Rle.model_validate(region["mask"]))])
    assert {"replace", "style", "background"} <= turned


def called(colour: str, pixels: np.ndarray) -> bool:
    """Whether most of uint8 [N, 3] bears a colour's name, told by the middle of its channels alone."""
    red, green, blue = np.median(pixels, axis=0) / 255
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    if colour in ("black", "grey", "white"):
        return bool(
            saturation < 0.2
            and (value < 0.25, 0.15 < value < 0.85, value > 0.75)[("black", "grey", "white").index(colour)]
        )
    low, high = HUES.get(colour, (15, 65))
    return saturation > 0.15 and (low <= hue * 360 <= high or low <= hue * 360 - 360 <= high)


def test_others_read_derived_rows(more: Path) -> None:
    datasets = pytest.importorskip("datasets")
    opened = datasets.load_dataset(str(more), split="train", cache_dir=str(more.parent / "cache"))
    count = sum(map(len, opened["rows"]))
    assert count == sum(1 for _ in stored_rows(more, "data", images=False))
    made = {form: export(more, form, more.parent / form, "hard") for form in FORMS}
    assert all(done.rows + done.left_out.total() == count for form, done in made.items() if form != "preference")
    assert made["pairs"].rows == count


def test_auto_runs_the_tasks_that_were_written_for(command: Driver, place: Path) -> None:
    written = [line_for(task, number) for number, task in ((0, "remove"), (2, "extract"))]
    (place / "instructions.jsonl").write_text("\n".join(map(json.dumps, written)), "utf-8")
    command.run(
        "--input", place / "instructions.jsonl", "--image-root", SAMPLES, "--output", place / "auto", "--profile",
        "classical", workflow="auto",
    )  # fmt: skip
    rows = helpers.rows(place / "auto")
    assert [(row["task"], row["source_path"], row["prompt"], row["workflow"]) for row in rows] == [
        (line["task"], line["path"], line["instruction"], f"{line['task']}-classical") for line in written
    ]
    assert [row["models"][0]["name"] for row in rows] == ["tiny", "tiny"]


def line_for(task: str, number: int) -> dict[str, Any]:
    """What the write stage leaves of the first object in a photo."""
    known: Annotation = parse_annotation(lines()[number])
    region = next(one for one in known.regions if one.kind == "object")
    words = f"Do {task} the {region.class_name}, please."
    writing = Writing(
        words, "en", regions=(region,), model="tiny", editor_prompt=words,
        steps=(Step(task, region.class_name or "", 0, words, "what lies behind it"),),
    )  # fmt: skip
    assert known.size is not None
    origin = Provenance(key=f"{number}", source_id=known.path, source_path=known.path, source_sha256="0" * 64)
    return annotation_line(writing, task, "", "", known.size, origin)
