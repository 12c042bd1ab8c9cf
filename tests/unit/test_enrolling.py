"""What enrolling again makes of rows whose input is not what it was: photo, words, mask, region and further pictures."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from comfy_nodes.core.records import SampleFailure
from comfy_nodes.core.tasks import task_named
from driver.enrolling import FEW_GONE, Enrolled
from driver.errors import RunError
from driver.inputs.source import Source, digest
from driver.inputs.storage import LocalStorage
from driver.journal import BEFORE_ALL, Journal
from driver.pipeline.stage import outdated
from driver.samples import Aim, Sample, Spare, Unusable
from tests.unit.source_making import mask_picture, picture

Make = Callable[..., Sample]
VISUAL = Aim(task_named("replace"), frozenset({"reference"}))
PLAN = "as before"


class Folder:
    """A folder of photos as a run sees it again and again."""

    def __init__(self, path: Path, journal: Journal, filed: Callable[..., Any]):
        self.path = path
        self.journal = journal
        self._filed = filed
        self.read: list[str] = []
        for name in ("cup", "jug"):
            self.put(f"{name}.jpg", picture())
            self.put(f"{name}.mask.png", mask_picture())
            self.put(f"{name}.ref.png", picture("red", "PNG"))

    def put(self, name: str, data: bytes) -> None:
        (self.path / name).write_bytes(data)
        now = time.time_ns() + 1_000_000_000 * len(self.read)
        os.utime(self.path / name, ns=(now, now))

    def enrol(self, keep_stale: bool = False, limit: int | None = None) -> Enrolled:
        source = Source(self.path)

        def same(pictures: Any, before: str) -> bool:
            self.read.extend(pictures)
            return source.same(pictures, before)

        return self.journal.enrol(source.plan([VISUAL], "all", 0), limit, same, keep_stale, whole=True)

    def waiting(self) -> list[str]:
        return [one.sample.file for one in self.journal.waiting(BEFORE_ALL, 99)]

    def make(self) -> None:
        """Makes what waits."""
        source = Source(self.path)
        for one in self.journal.waiting(BEFORE_ALL, 99):
            pictures = [one.sample.file, one.sample.reference]
            held = digest(map(source.read, pictures))
            self.journal.submitting([one.sample.key], "prompt", "http://127.0.0.1:1", digests=[held])
            self.journal.done(one.sample.key, [self._filed(one.sample.key)], 0.1)

    def kept(self) -> int:
        return sum(1 for _ in self.journal.records(kept=True))


@pytest.fixture
def folder(tmp_path: Path, journal: Journal, filed: Callable[..., Any]) -> Folder:
    """Two photos with rows."""
    (tmp_path / "photos").mkdir()
    made = Folder(tmp_path / "photos", journal, filed)
    made.enrol()
    made.make()
    assert (made.kept(), made.waiting()) == (2, [])
    return made


CHANGES = {
    "cup.jpg": picture("blue"),
    "cup.txt": b"Take the cup away.",
    "cup.ref.png": picture("green", "PNG"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_waits_again(name: str, folder: Folder) -> None:
    folder.put(name, CHANGES[name])
    found = folder.enrol()
    assert found == Enrolled(changed=1)
    assert found.line().startswith("1 finished sample has another input now: made again, and the old rows")
    assert folder.waiting() == ["cup.jpg"]
    assert (folder.kept(), folder.journal.retired()) == (1, 1)
    folder.make()
    assert folder.kept() == 2
    assert folder.enrol() == Enrolled()


@pytest.mark.parametrize("name", CHANGES)
def test_a_stale_row_stays_on_demand_with_what_it_was_made_from(name: str, folder: Folder) -> None:
    before = list(folder.journal.records(kept=True))
    (key,) = [one.key for one in Source(folder.path).plan([VISUAL], "all", 0) if getattr(one, "file", "") == "cup.jpg"]
    known = folder.journal.sample(key)
    folder.put(name, CHANGES[name])
    for _ in range(2):
        assert folder.enrol(keep_stale=True) == Enrolled(changed=1, kept=True)
        assert folder.waiting() == []
        assert list(folder.journal.records(kept=True)) == before
        assert folder.journal.sample(key) == known
    assert folder.enrol() == Enrolled(changed=1)


def test_another_mask_is_another_region(folder: Folder) -> None:
    folder.put("cup.mask.png", mask_picture((1, 1, 9, 9)))
    assert folder.enrol() == Enrolled(gone=1)
    assert folder.waiting() == ["cup.jpg"]
    assert folder.kept() == 1


def test_a_photo_that_is_gone_takes_its_row_along_and_brings_it_back_to_be_made(folder: Folder) -> None:
    (folder.path / "cup.jpg").rename(folder.path.parent / "cup.jpg")
    (folder.path / "cup.mask.png").rename(folder.path.parent / "cup.mask.png")
    (folder.path / "cup.ref.png").unlink()
    found = folder.enrol()
    assert found == Enrolled(gone=1)
    assert found.line() == (
        "1 finished sample whose photo or region is gone: the rows leave the dataset (the journal keeps their records)"
    )
    assert folder.journal.counts() == {"done": 1, "retired": 1, "keep": 1}
    for name in ("cup.jpg", "cup.mask.png"):
        (folder.path.parent / name).rename(folder.path / name)
    folder.put("cup.ref.png", picture("red", "PNG"))
    folder.enrol()
    (back,) = folder.journal.waiting(BEFORE_ALL, 9)
    # What a server still has of it lies in another folder.
    assert folder.journal.tries(back.sample.key).submissions == 1


def test_bytes_are_read_only_where_size_or_time_changed(folder: Folder) -> None:
    folder.enrol()
    assert folder.read == []
    os.utime(folder.path / "jug.jpg", (1, 1))
    assert folder.enrol() == Enrolled()
    assert folder.read == ["jug.jpg", "jug.ref.png"]
    folder.enrol()
    assert len(folder.read) == 2, "it was looked at, and its new time noted"


SPOILT = {
    "header": picture("blue")[:100],
    "pixels": picture("blue", "BMP")[:-80],
    "noise": bytes(range(7, 200)),
    "empty": b"",
}


@pytest.mark.parametrize("words", [b"", b"Take it away."])
@pytest.mark.parametrize("name", SPOILT)
def test_a_photo_that_cannot_be_read_keeps_its_row(name: str, words: bytes, folder: Folder) -> None:
    if words:
        folder.put("cup.txt", words)
    folder.put("cup.jpg", SPOILT[name])
    for keep_stale in (False, False, True):
        found = folder.enrol(keep_stale)
        assert found == Enrolled(spared=1, kept=keep_stale)
        assert found.line().startswith("1 finished sample whose photo cannot be looked at now")
        assert folder.journal.counts() == {"done": 2, "failed": 1, "keep": 2}
    (failure,) = folder.journal.failures()
    assert (failure["stage"], failure["source_id"]) == ("input", "cup.jpg")
    folder.put("cup.jpg", picture())
    folder.put("cup.txt", b"")
    assert folder.enrol() == Enrolled()
    assert folder.journal.counts() == {"done": 2, "keep": 2}


BESIDE = {
    "cup.txt": "Enlève la tasse.".encode("cp1252"),
    "cup.mask.png": picture("red", "PNG"),
    "cup.ref.png": b"no picture",
}


@pytest.mark.parametrize("other_photo", [False, True])
@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_a_photo_and_cannot_be_used_keeps_no_row(name: str, other_photo: bool, folder: Folder) -> None:
    before = (folder.path / name).read_bytes() if (folder.path / name).exists() else b"Take it away."
    if other_photo:
        folder.put("cup.jpg", picture("blue"))
    folder.put(name, BESIDE[name])
    assert folder.enrol(keep_stale=True) == Enrolled(unfit=1, kept=True)
    assert folder.kept() == 2
    found = folder.enrol()
    assert found == Enrolled(unfit=1)
    assert found.line() == (
        "1 finished sample whose mask, words or other input cannot be used now (failed.parquet says why): the rows "
        "leave the dataset (the journal keeps their records)"
    )
    assert (folder.kept(), folder.journal.retired(), folder.waiting()) == (1, 1, [])
    folder.put(name, before)
    folder.enrol()
    assert folder.waiting() == ["cup.jpg"]


@pytest.mark.parametrize("name", ["cup.txt", "cup.mask.png"])
def test_what_cannot_be_opened_beside_a_photo_says_nothing_of_its_row(
    name: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = LocalStorage.open

    def failing(self: LocalStorage, file: str) -> BinaryIO:
        if file == name:
            raise OSError(errno.EIO, "Input/output error")
        return opens(self, file)

    folder.put("cup.txt", b"Take it away.")
    monkeypatch.setattr(LocalStorage, "open", failing)
    assert folder.enrol() == Enrolled(spared=1)
    assert folder.kept() == 2


def test_nothing_is_gone_where_part_of_the_input_cannot_be_read(
    journal: Journal, sample_of: Make, filed: Callable[..., Any]
) -> None:
    journal.enrol([sample_of("a"), sample_of("b")], None)
    for key in "ab":
        journal.done(key, [filed(key)], 0.1)
    broken = Unusable("c", "rows 5 to 9", SampleFailure("input", "AnnotationError", "cut off"), unread="rest")
    found = journal.enrol([sample_of("a"), broken], None, whole=True)
    assert found == Enrolled(gone=1, unread=True)
    assert "stay, as not all of --input could be read" in found.line()
    assert journal.counts()["keep"] == 2


def test_most_rows_never_go_at_once(journal: Journal, sample_of: Make, filed: Callable[..., Any]) -> None:
    """A disk that is not mounted is no wish to lose a dataset."""
    many = [sample_of(f"k{number}") for number in range(2 * FEW_GONE + 4)]
    journal.enrol(many, None)
    for one in many:
        journal.done(one.key, [filed(one.key)], 0.1)
    before = journal.counts()
    with pytest.raises(RunError, match="are of photos that are not in --input any more"):
        journal.enrol(many[: FEW_GONE - 1], None, whole=True)
    assert journal.counts() == before
    assert journal.enrol(many[: FEW_GONE - 1], None, None, True, whole=True).kept
    assert journal.counts() == before
    assert journal.enrol(many[: FEW_GONE + 3], None, whole=True).gone == FEW_GONE + 1


def test_a_limit_says_nothing_about_what_lies_behind_it(folder: Folder) -> None:
    assert folder.enrol(limit=1) == Enrolled()
    assert folder.kept() == 2


def test_what_nobody_asks_for_any_more_stays(journal: Journal, sample_of: Make, filed: Callable[..., Any]) -> None:
    """Another choice of regions or kinds is no change of the input."""
    journal.enrol([sample_of("a"), sample_of("b")], None)
    for key in "ab":
        journal.done(key, [filed(key)], 0.1)
    assert journal.enrol([sample_of("a"), Spare("b"), Spare("c")], None, whole=True) == Enrolled()
    assert journal.counts() == {"done": 2, "keep": 2}


def test_retrying_leaves_out_what_is_not_in_the_plan(journal: Journal, sample_of: Make) -> None:
    journal.enrol([sample_of("a"), sample_of("b")], None)
    for key in "ab":
        journal.failed(key, SampleFailure("edit", "ValueError", "it broke"))
    journal.enrol([sample_of("a"), sample_of("c")], 1, whole=True)
    assert journal.retry_failed(None) == 1
    assert [one.sample.key for one in journal.waiting(BEFORE_ALL, 9)] == ["a"]
    journal.enrol([sample_of("a")], None, whole=True)
    assert journal.counts() == {"pending": 1, "retired": 1}


def test_a_failed_sample_is_tried_again_where_its_photo_changed(folder: Folder) -> None:
    folder.put("cup.jpg", picture("blue"))
    folder.enrol()
    (one,) = folder.journal.waiting(BEFORE_ALL, 9)
    pictures = [one.sample.file, one.sample.reference]
    held = digest(map(Source(folder.path).read, pictures))
    folder.journal.submitting([one.sample.key], "prompt", "http://127.0.0.1:1", digests=[held])
    folder.journal.failed(one.sample.key, SampleFailure("edit", "ValueError", "it broke"))
    folder.enrol()
    assert folder.waiting() == []
    folder.put("cup.jpg", picture("white"))
    folder.enrol()
    assert folder.waiting() == ["cup.jpg"]


def test_a_prompt_for_a_photo_that_changed_since_is_not_waited_for(folder: Folder) -> None:
    folder.put("cup.jpg", picture("blue"))
    folder.enrol()
    (one,) = folder.journal.waiting(BEFORE_ALL, 9)
    folder.journal.submitting([one.sample.key], "prompt", "http://127.0.0.1:1")
    folder.enrol()
    assert len(folder.journal.submissions()) == 1
    folder.put("cup.jpg", picture("white"))
    folder.enrol()
    assert folder.journal.submissions() == []
    assert folder.waiting() == ["cup.jpg"]


def test_a_skipped_sample_is_no_failure(journal: Journal, sample_of: Make) -> None:
    journal.enrol([sample_of("a"), sample_of("b"), sample_of("c")], None)
    journal.failed("a", SampleFailure("edit", "NoColour", "it has this colour already", "Alter #2", skipped=True))
    journal.failed("b", SampleFailure("edit", "ValueError", "it broke"))
    assert journal.counts() == {"pending": 1, "failed": 1, "skipped": 1}
    assert [row["key"] for row in journal.failures()] == ["b"]
    assert [(row["key"], row["message"]) for row in journal.failures(skipped=True)] == [
        ("a", "it has this colour already")
    ]
    assert (journal.failure_types(), journal.failure_types(skipped=True)) == ({"ValueError": 1}, {"NoColour": 1})
    assert [row["state"] for row in journal.telemetry()] == ["skipped", "failed"]
    assert journal.ended("a")
    assert journal.retry_failed(None) == 1
    assert journal.retry_failed("NoColour") == 1


def test_a_photo_that_a_file_names_is_seen_to_change(tmp_path: Path, journal: Journal) -> None:
    (tmp_path / "cup.jpg").write_bytes(picture())
    lines = '{"path": "cup.jpg", "bbox": [4, 5, 20, 15], "class_name": "cup"}\n'
    (tmp_path / "a.jsonl").write_text(lines, "utf-8")
    source = Source(tmp_path / "a.jsonl")
    journal.enrol(source.plan([Aim(task_named("remove"))], "all", 0), None, source.same, whole=True)
    journal.set("plan", PLAN)
    assert not outdated(journal, source, PLAN)
    (tmp_path / "cup.jpg").write_bytes(picture("blue", size=(41, 30)))
    assert outdated(journal, source, PLAN)
    (tmp_path / "cup.jpg").unlink()
    assert outdated(journal, source, PLAN)


@pytest.mark.parametrize("aims", [[Aim(task_named("remove"))], [Aim(task_named("remove")), VISUAL]])
def test_a_broken_reference_is_only_the_fault_of_tasks_that_take_one(aims: list[Aim], folder: Folder) -> None:
    folder.put("cup.ref.png", b"no picture")
    planned = list(Source(folder.path).plan(aims, "all", 0))
    assert [one.task for one in planned if isinstance(one, Sample) and one.file == "cup.jpg"] == ["remove"]
    refused = [one.failure for one in planned if isinstance(one, Unusable)]
    assert [(one.error_type, one.skipped) for one in refused] == [("PhotoError", False)] * (len(aims) - 1)


def test_keys_of_regions_and_spares_agree(tmp_path: Path) -> None:
    """One picked region and its spares are the samples of all regions."""
    (tmp_path / "cup.jpg").write_bytes(picture())
    regions = [{"class_name": f"cup {left}", "bbox": [left, 5, left + 10, 15]} for left in (1, 9, 20)]

    (tmp_path / "a.json").write_text(json.dumps([{"path": "cup.jpg", "segmentation": {"object": regions}}]))
    source = Source(tmp_path / "a.json")
    every = [one.key for one in source.plan([Aim(task_named("remove"))], "all", 0)]
    picked = list(source.plan([Aim(task_named("remove"))], "one", 0))
    assert [one.key for one in picked] == every
    assert sum(isinstance(one, Sample) for one in picked) == 1


def test_of_a_known_input_most_of_a_shard_may_go(journal: Journal, sample_of: Make) -> None:
    names = [f"{number:020}" for number in range(FEW_GONE + 5)]
    assert journal.enrol(map(sample_of, names), None).usable == len(names)
    for name in names:
        journal.done(name, [], 0.0)
    with pytest.raises(RunError, match="is it this run's input"):
        journal.enrol([], None, whole=True)
    assert journal.enrol([], None, whole=True, known_input=True).gone == len(names)


def test_a_sample_that_a_plan_names_twice_is_compared_with_its_first_mention(
    journal: Journal, sample_of: Make, filed: Callable[..., Any]
) -> None:
    """Other words retire its row, even where the second mention has those that the row was made from."""
    journal.enrol([sample_of("a")], None)
    journal.done("a", [filed("a")], 0.1)
    assert journal.enrol([sample_of("a", "Other words."), sample_of("a")], None, whole=True).changed == 1
    assert journal.counts() == {"pending": 1}
