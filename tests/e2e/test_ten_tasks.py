"""All ten tasks in one run over bundled photos: one dataset, each row by its own graph, and nothing done twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comfy_nodes.core.instructions.instructions import Step, Writing, annotation_line
from comfy_nodes.core.regions.annotation import Annotation, Provenance, parse_annotation
from driver.graph.file import WORKFLOWS, WorkflowFile
from tests.e2e import helpers
from tests.e2e.helpers import REPOSITORY, Driver

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
