"""From bare photos to annotation to edits, with tiny random checkpoints under the names that annotate.json wants."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.regions.annotation import parse_annotation
from tests.e2e import helpers
from tests.e2e.helpers import Driver
from tests.vlm.endpoint import Endpoint, Say, Status

FOLDERS = ("yolo_world", "sam2", "text_encoders")

pytest.importorskip("ultralytics", reason="needs ultralytics: run install.py")


@pytest.fixture(scope="module")
def models(comfy: Any) -> Iterator[Path]:
    """The checkpoints that annotate.json names, in the session's ComfyUI; other tests have none."""
    from tests.models import tiny, tiny_sam2, tiny_scorers

    folder: Path = comfy.models
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    # ultralytics reads a model's scale out of its file's name, and knows no x among the tiny ones.
    tiny.yolo_world(folder / "yolo_world" / "tiny-worldv2.pt").rename(folder / "yolo_world" / "yolov8x-worldv2.pt")
    tiny.clip_text(folder / "text_encoders" / "clip-vit-base-patch32")
    tiny_sam2.hub(folder / "sam2" / "sam2.1-hiera-large")
    tiny_scorers.clip(folder / "text_encoders" / "clip-vit-large-patch14")
    yield folder
    # The folders stay: ComfyUI's own loaders leave /object_info where one that they have listed is gone.
    for name in FOLDERS:
        for path in (folder / name).rglob("*"):
            if path.is_file():
                path.unlink()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder of three photos without masks."""
    folder = tmp_path / "bare"
    helpers.make_photos(folder, 3)
    for mask in folder.glob("*.mask.png"):
        mask.unlink()
    return folder


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_photos_get_their_regions_and_edits_read_them(driver: Driver, models: Path, bare: Path, tmp_path: Path) -> None:
    annotated, edited = tmp_path / "annotated", tmp_path / "edited"
    driver.run("--input", bare, "--output", annotated, "--profile", "full", workflow="annotate", quick=False)

    items = _lines(annotated / "annotation.jsonl")
    assert [item["path"] for item in items] == sorted(path.name for path in bare.glob("*.png"))
    assert {"path", "cap", "resolution", "tags", "segmentation", "bg_count", "obj_count"} <= set(items[0])
    regions = [region for item in items for region in parse_annotation(item).regions]
    assert regions, "the tiny detector finds something everywhere"
    assert all(region.mask and region.score is not None and region.sam_iou is not None for region in regions)
    assert all(region.clip_score is not None and region.eligibility for region in regions)
    counted = {name for item in items for name in item["obj_count"]}
    assert counted == {region.class_name for region in regions if region.kind == "object"}
    assert "annotated photos" in (annotated / "report.html").read_text(encoding="utf-8")

    # Of a random detector's regions few are eligible; those that are not say why, each photo has an end.
    status = driver.run(
        "--input", annotated / "annotation.jsonl", "--image-root", bare, "--output", edited, expect=None
    ).status
    summary = json.loads((edited / "summary.json").read_text())
    assert status == (1 if summary["failed"] else 0)
    refused = {row["source_id"] for name in ("failed", "skipped") for row in helpers.table(edited, name)}
    assert refused | {row["source_id"] for row in helpers.rows(edited)} == {item["path"] for item in items}


@pytest.mark.parametrize("size", [1000, 2])
def test_bare_photos_are_annotated_first_and_once(
    size: int, driver: Driver, models: Path, bare: Path, tmp_path: Path
) -> None:
    """By the graph of the profile that the run is told, though the one that edits is classical."""
    output, told = tmp_path / "out", ("--shard-size", size, "--profile", "full")
    first = driver.run("--input", bare, "--output", output, *told, expect=None)
    assert "finding regions first for photos that have none (annotate.json)" in first.stderr
    written = (output / "annotation.jsonl").read_text()
    assert [json.loads(line)["path"] for line in written.splitlines()] == [f"photo00{n}.png" for n in range(3)]
    again = driver.run("--input", bare, "--output", output, *told, expect=None)
    assert "annotate: 3/3" not in again.stderr, "nothing is annotated twice"
    assert (output / "annotation.jsonl").read_text() == written


def test_never_leaves_them_alone(driver: Driver, models: Path, bare: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    ended = driver.run("--input", bare, "--output", output, "--annotate", "never")
    assert "finding regions" not in ended.stderr
    assert helpers.table(output, "failed") == []
    skipped = helpers.table(output, "skipped")
    assert len(skipped) == 3
    assert all("mask.png beside it" in row["message"] for row in skipped)
    assert "0 failed, 3 skipped" in ended.stdout and "3 NoRegion" in ended.stdout


NOUNS = ["disc", "red disc"]
CAPTIONED = "A red disc lies on a patterned ground under a plain wall."
WRITTEN = {
    "name": "watercolour", "instruction": "Turn the photo into a watercolour.", "command": "Make it a watercolour.",
    "target": "a loose watercolour painting",
}  # fmt: skip
SAID: dict[str, Any] = {
    "Describe the photo twice": {"dense": CAPTIONED, "short": "A red disc."},
    "a detector's vocabulary": {"objects": [*NOUNS, "unicorn"], "backgrounds": ["patterned ground"]},
    "Decide for each": {
        "decisions": [{"task": "style", "suitable": True, "reason": "The shapes are clear."}]
    },
    "Change the style": {"edits": [WRITTEN]},
}  # fmt: skip
"""What the service says, by what it is asked."""


@pytest.fixture
def service(comfy: Any) -> Iterator[Endpoint]:
    """The profile that the graph's group asks, on the session's ComfyUI."""
    with Endpoint({asked: [Say(json.dumps(reply))] for asked, reply in SAID.items()}, Status(400, "what?")) as running:
        comfy.profiles.write_text(f'[profiles.default]\nbase_url = "{running.url}"\nmodel = "tiny"\n')
        try:
            yield running
        finally:
            comfy.profiles.unlink()


@pytest.fixture
def by_own_words(tmp_path: Path) -> Path:
    """annotate.json with the group of its language model on, as Ctrl+B leaves it."""
    graph = json.loads((helpers.REPOSITORY / "workflows" / "annotate.json").read_text(encoding="utf-8"))
    for node in graph["nodes"]:
        node["mode"] = 0
    path = tmp_path / "annotate.json"
    path.write_text(json.dumps(graph), encoding="utf-8")
    return path


def test_a_photos_own_words_lead_from_the_filter_to_the_writer(
    driver: Driver, models: Path, bare: Path, by_own_words: Path, service: Endpoint, tmp_path: Path
) -> None:
    annotated, written, removed = tmp_path / "annotated", tmp_path / "written", tmp_path / "removed"
    for name, size in (("small", (64, 64)), ("wide", (400, 100))):
        helpers.make_photo(bare / f"{name}.png", size=size)
        (bare / f"{name}.mask.png").unlink()
    for words in bare.glob("*.txt"):
        words.unlink()
    filtered = ("--set", "EditPairsFilterPhoto.above_short_side=90")
    driver.run("--input", bare, "--output", annotated, *filtered, workflow=by_own_words, quick=False)

    refused = {row["source_id"]: row["message"] for row in helpers.table(annotated, "skipped")}
    assert refused["small.png"] == "the photo has a shorter side of 64 px; more than 90 px is needed"
    assert "would lose 41.7% of 400 x 100" in refused["wide.png"]
    items = _lines(annotated / "annotation.jsonl")
    assert [item["path"] for item in items] == ["photo000.png", "photo001.png", "photo002.png"]
    assert len(service.requests) == 3 * len(items), "of a photo that is left out nothing is asked"
    for item in items:
        assert item["cap"] == [CAPTIONED]
        named = {region.class_name for region in parse_annotation(item).regions}
        assert named and named <= {*NOUNS, "patterned ground"}, "the detector looked for the tags"
        assert item["routes"]["accepted"] == {"style": "The shapes are clear."}
        assert "SAM expects" in item["routes"]["rejected"]["remove"] and item["routes"]["model"] == "tiny-2026-01-01"

    given = ("--input", annotated / "annotation.jsonl", "--image-root", bare)
    driver.run(*given, "--output", written, "--set", "EditPairsLoadSample.task=style", workflow="write", quick=False)
    lines = _lines(written / "instructions.jsonl")
    assert [line["instruction"] for line in lines] == [WRITTEN["instruction"]] * len(items)
    asked = [str(got.body["messages"]) for got in service.requests[-len(items) :]]
    assert all(f"Caption: {CAPTIONED}" in text and "Also in the photo: disc" in text for text in asked)
    driver.run(*given, "--output", removed, quick=False)
    skipped = [(row["error_type"], row["message"]) for row in helpers.table(removed, "skipped")]
    assert skipped == [("NotRouted", "its router did not accept remove; the annotation's routes say why")] * len(items)


QUESTION = {
    "makes this data set": [
        Say(json.dumps({"seen": "A disc.", "answer": "no"})),
        Say(json.dumps({"seen": "A face on the left.", "answer": "yes"})),
        Say("I'm sorry, I can't identify people in images."),
        Say(json.dumps({"seen": "A disc.", "answer": "no"})),
    ],
}  # fmt: skip


@pytest.fixture
def asked(comfy: Any) -> Iterator[Endpoint]:
    """A service that is asked a question about photos, and to describe them."""
    said = {word: [Say(json.dumps(reply))] for word, reply in SAID.items()}
    with Endpoint(QUESTION | said, Status(400, "what?")) as running:
        comfy.profiles.write_text(f'[profiles.default]\nbase_url = "{running.url}"\nmodel = "tiny"\n')
        try:
            yield running
        finally:
            comfy.profiles.unlink()


def test_stages_hand_on_what_they_found(
    driver: Driver, models: Path, bare: Path, asked: Endpoint, tmp_path: Path
) -> None:
    """filter with a question of the user's own, caption, annotate: each takes the lines of the one before."""
    for words in bare.glob("*.txt"):
        words.unlink()
    helpers.make_photo(bare / "photo003.png", 3)
    helpers.make_photo(bare / "small.png", size=(64, 64))
    for mask in bare.glob("*.mask.png"):
        mask.unlink()
    graph = json.loads((helpers.REPOSITORY / "workflows" / "filter.json").read_text(encoding="utf-8"))
    for node in graph["nodes"]:
        node["mode"] = 0
    mine = tmp_path / "filter.json"
    mine.write_text(json.dumps(graph), encoding="utf-8")
    out = {name: tmp_path / name for name in ("filter", "caption", "annotate")}
    limits = ("--set", "EditPairsFilterPhoto.above_short_side=90", "--set", "EditPairsAskPhoto.reason=A face")
    ended = driver.run("--input", bare, "--output", out["filter"], *limits, workflow=mine, quick=False)
    assert "AESTHETICS ARE NOT JUDGED" in ended.stderr
    assert "1 A face, 1 PhotoTooSmall, 1 Unanswered" in ended.stdout, "each reason is counted"
    reasons = {row["error_type"]: row["message"] for row in helpers.table(out["filter"], "skipped")}
    assert "A face on the left." in reasons["A face"] and "VlmRefusal" in reasons["Unanswered"]
    assert len(asked.requests) == 4, "of a photo that is too small nothing is asked"

    for stage, before in (("caption", "filter"), ("annotate", "caption")):
        given = ("--input", out[before] / "annotation.jsonl", "--image-root", bare, "--profile", "full")
        driver.run(*given, "--output", out[stage], workflow=stage, quick=False)
    kept, described, found = (_lines(folder / "annotation.jsonl") for folder in out.values())
    assert len(kept) == 2 and [one["path"] for one in kept] == [one["path"] for one in found]
    tags = {"object": NOUNS, "background": ["patterned ground"]}
    for line in (*described, *found):
        assert (line["cap"], line["short_cap"], line["tags"]) == ([CAPTIONED], "A red disc.", tags)
    for line in found:
        regions = parse_annotation(line).regions
        assert {region.class_name for region in regions if region.kind == "object"} <= set(NOUNS)
        assert {region.class_name for region in regions if region.kind == "background"} <= {"patterned ground"}
        assert regions, "the detector looked for the photo's own tags"
    assert len({one["upstream_sha256"] for line in (kept, described, found) for one in line}) == 6
