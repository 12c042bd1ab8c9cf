"""The stage that makes photos: what its folder and its lines hold, and what is done where a picture is gone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from comfy_nodes.core.models import Model
from comfy_nodes.core.records import Basis, PhotoRecord, SavedFile
from comfy_nodes.core.regions.annotation import UPSTREAM, UPSTREAM_MODELS, Annotation, to_json
from driver.dataset.binding import Damaged, Unfit, whole_photo
from driver.dataset.parts import PHOTOS, Part
from driver.graph.api import PHOTO_SINK
from driver.inputs.source import Source
from driver.options import RunOptions
from driver.pipeline import merging
from driver.pipeline.folder import OutputFolder
from driver.pipeline.photos import PhotoStage
from driver.pipeline.stage import Run
from driver.samples import JournalRow
from driver.stopping import StopRequest
from tests.unit.source_making import SIZE, picture
from tests.unit.test_stages import served

WEIGHTS = Model(role="diffusion model", name="z.safetensors", licence="Apache-2.0")
PNG = picture(kind="PNG")


def file_of(data: bytes) -> SavedFile:
    return SavedFile(filename="a.png", subfolder="run", type="output", sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[PhotoStage]:
    """A stage whose two captions are painted."""
    (tmp_path / "captions.txt").write_text("A red cup.\nA dog.\n")
    folder = OutputFolder(tmp_path / "out")
    run = Run(RunOptions("synthesize", folder.path), Source(tmp_path / "captions.txt"), folder, StopRequest())
    workflow = served(PHOTO_SINK, "synthesize")
    workflow.agreement.stats = {"system": {"comfyui_version": "0.30.0"}, "devices": []}  # type: ignore[misc]
    found = PhotoStage(run, [workflow])
    found.facts = replace(found.facts, models=(WEIGHTS,))  # what its graph names
    found.plan()
    for waiting in found.journal.waiting((-1, ""), 9):
        sample = waiting.sample
        line = {**to_json(Annotation(path=sample.annotation.path, size=SIZE, regions=())), "source_sha256": "c" * 64}
        line["synthetic"] = {"prompt": sample.instruction, "seed": 3}
        captioner = Model(role="captioner", name="vlm", licence="MIT")
        record = PhotoRecord(key=sample.key, annotation=line, file=file_of(PNG), basis=Basis(models=(captioner,)))
        found.harvester._spool.stage(record.key, "output", 0, PNG).keep()
        found.journal.done(record.key, [JournalRow(record.key, "keep", record.model_dump_json())], 0.1)
    yield found
    folder.close()


def lines(stage: PhotoStage) -> list[dict[str, object]]:
    return [json.loads(line) for line in (stage.run.folder.path / "photos.jsonl").read_text().splitlines()]


def test_each_line_says_what_the_photo_was_made_of(stage: PhotoStage) -> None:
    summary = stage.finish()
    assert (summary.gives, summary.kept, summary.task) == ("photos", 2, "synthesize")
    cup, _dog = lines(stage)
    data = (stage.run.folder.path / str(cup["path"])).read_bytes()
    assert data == PNG and cup["source_sha256"] == hashlib.sha256(PNG).hexdigest()
    assert str(cup["path"]).startswith("photos/") and cup["source_licence"] == "synthetic (Apache-2.0)"
    (caption, *_) = Source(stage.run.folder.path.parent / "captions.txt").plan([stage.workflows[0].aim], "all", 0)
    assert cup["synthetic"] == {"prompt": "A red cup.", "seed": 3, "caption_of": caption.annotation.path}  # type: ignore[union-attr]
    assert [one["name"] for one in cup[UPSTREAM_MODELS]] == ["vlm", "z.safetensors"] and len(str(cup[UPSTREAM])) == 64  # type: ignore[attr-defined]
    assert "cup" in (stage.run.folder.path / "report.html").read_text()


def test_what_is_no_photo_of_it_goes_and_what_is_gone_waits(stage: PhotoStage) -> None:
    folder = stage.run.folder.path / "photos"
    first, second = sorted(folder.iterdir())
    (folder / f"{first.name}.0123.part").write_bytes(b"half")
    (folder / "elsewhere.png").write_bytes(PNG)
    stage.write_shard()
    assert sorted(folder.iterdir()) == [first, second] and not stage.journal.pending()
    second.unlink()
    stage.write_shard()
    assert [one.sample.key for one in stage.journal.waiting((-1, ""), 9)] == [second.stem]
    stage.run.stop.level = 1
    assert stage.finish().kept == 1 and len(lines(stage)) == 1, "nothing is painted after a stop"


def test_a_picture_that_is_not_the_records_is_none(tmp_path: Path) -> None:
    annotation = to_json(Annotation(path="caption", size=SIZE, regions=()))
    record = PhotoRecord(key="a", annotation=annotation, file=file_of(PNG))
    (tmp_path / "a.png").write_bytes(PNG)
    assert whole_photo(record, PNG) == PNG and whole_photo(record, tmp_path / "a.png") == tmp_path / "a.png"
    with pytest.raises(Damaged, match="its hash is another"):
        whole_photo(record, PNG + b"x")
    other = picture(kind="PNG", size=(41, 30))
    with pytest.raises(Unfit, match="is 41 x 30"):
        whole_photo(record.model_copy(update={"file": file_of(other)}), other)


def test_a_shards_photos_go_where_its_commit_goes(tmp_path: Path) -> None:
    there, here = Part(tmp_path / "share", "000001"), Part(tmp_path / "whole", "000001")
    for path in (there.config(PHOTOS) / "a.png", there.commit):
        path.parent.mkdir(parents=True)
        path.write_bytes(PNG)
    merging._bring(there, here)
    assert (here.config(PHOTOS) / "a.png").read_bytes() == PNG and here.commit.exists()
