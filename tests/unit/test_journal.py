"""The journal: what a run knows of its samples, and goes on from after it was killed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.records import EditRecord, SampleFailure
from driver.errors import RunError
from driver.journal import BEFORE_ALL, Journal, Submission, Tries
from driver.journal_tables import opened
from driver.samples import Planned, Sample, Unusable

Make = Callable[..., Sample]
SERVER = "http://127.0.0.1:8188"


def unusable(key: str, why: str = "no region") -> Unusable:
    return Unusable(key, f"{key}.jpg", SampleFailure("input", "NoRegion", why))


def waiting(journal: Journal) -> list[str]:
    """Keys of all samples that wait, in order."""
    return [one.sample.key for one in journal.waiting(BEFORE_ALL, 1000)]


def records(journal: Journal, kept: bool) -> list[tuple[str, int]]:
    read = [
        (one if isinstance(one, EditRecord) else EditRecord.model_validate_json(one), attempt)
        for one, attempt in journal.records(kept)
    ]
    return [(record.key, attempt) for record, attempt in read]


def fail(journal: Journal, key: str, error_type: str = "RuntimeError") -> None:
    journal.failed(key, SampleFailure("edit", error_type, "it broke", "Paint #2"))


@pytest.fixture
def abc(journal: Journal, sample_of: Make) -> Journal:
    """A journal with three samples that wait."""
    journal.enrol([sample_of(key) for key in "abc"], None)
    return journal


def test_samples_come_back_as_they_were_enrolled(journal: Journal, sample_of: Make) -> None:
    sample = sample_of("a", "Take it\naway.")
    journal.enrol([sample], None)
    assert [one.sample for one in journal.waiting(BEFORE_ALL, 9)] == [sample]


def test_file_names_that_are_not_utf_8_come_back(journal: Journal, sample_of: Make) -> None:
    sample = Sample("a", "caf\udce9.jpg", sample_of("a").annotation)
    journal.enrol([sample], None)
    assert [one.sample for one in journal.waiting(BEFORE_ALL, 9)] == [sample]


def test_enrolling_twice_changes_nothing(abc: Journal, sample_of: Make, filed) -> None:
    abc.done("a", [filed("a")], 0.1)
    fail(abc, "b")
    abc.enrol([sample_of(key) for key in "abc"], None)
    assert waiting(abc) == ["c"]
    assert abc.counts() == {"pending": 1, "done": 1, "failed": 1, "keep": 1}


def test_new_samples_wait_in_the_inputs_new_order(abc: Journal, sample_of: Make) -> None:
    abc.enrol([sample_of(key) for key in "zcyba"], None)
    assert waiting(abc) == list("zcyba")


def test_the_limit_counts_usable_samples(journal: Journal, sample_of: Make) -> None:
    planned: list[Planned] = [unusable("x"), sample_of("a"), unusable("y"), sample_of("b"), sample_of("c")]
    journal.enrol(planned, 2)
    assert waiting(journal) == ["a", "b"]
    assert journal.counts() == {"pending": 2, "failed": 2}
    journal.enrol(planned, None)
    assert waiting(journal) == ["a", "b", "c"]


def test_a_limit_reads_no_further_than_it_must(journal: Journal, sample_of: Make) -> None:
    def endless():
        number = 0
        while True:
            yield sample_of(f"{number}")
            number += 1

    journal.enrol(endless(), 3)
    assert journal.counts() == {"pending": 3}


def test_waiting_samples_come_in_chunks(abc: Journal) -> None:
    first = abc.waiting(BEFORE_ALL, 2)
    assert [one.sample.key for one in first] == ["a", "b"]
    assert [one.sample.key for one in abc.waiting(first[-1].place, 2)] == ["c"]


def test_a_broken_plan_leaves_the_journal_as_it_was(abc: Journal, sample_of: Make) -> None:
    def broken():
        yield sample_of("d")
        raise RunError("no photos in it")

    with pytest.raises(RunError):
        abc.enrol(broken(), None)
    assert waiting(abc) == ["a", "b", "c"]


class TestFailures:
    def test_unusable_inputs_are_failures_with_their_reason(self, journal: Journal) -> None:
        journal.enrol([unusable("x", "no region: put x.mask.png beside it")], None)
        assert list(journal.failures()) == [
            {"key": "x", "source_id": "x.jpg", "task": None, "stage": "input", "node": "", "error_type": "NoRegion",
             "message": "no region: put x.mask.png beside it", "attempts": 0}
        ]  # fmt: skip

    def test_the_reason_is_the_newest(self, journal: Journal) -> None:
        for why in ("old", "new"):
            journal.enrol([unusable("x", why)], None)
        assert [row["message"] for row in journal.failures()] == ["new"]

    def test_a_mended_input_replaces_its_failure(self, journal: Journal, sample_of: Make) -> None:
        journal.enrol([unusable("x"), sample_of("a")], None)
        journal.enrol([sample_of("x-with-region"), sample_of("a")], None)
        assert list(journal.failures()) == []
        assert waiting(journal) == ["x-with-region", "a"]

    def test_failures_beyond_the_limit_stay(self, journal: Journal, sample_of: Make) -> None:
        journal.enrol([sample_of("a"), sample_of("b"), unusable("x")], None)
        journal.enrol([sample_of("a"), sample_of("b"), unusable("x")], 1)
        assert [row["key"] for row in journal.failures()] == ["x"]

    def test_edit_failures_outlive_their_input(self, abc: Journal) -> None:
        fail(abc, "a")
        abc.enrol([], None)
        assert [row["key"] for row in abc.failures()] == ["a"]

    def test_a_failure_says_where(self, abc: Journal) -> None:
        fail(abc, "b", "OutOfMemoryError")
        (row,) = abc.failures()
        assert (row["stage"], row["node"], row["error_type"]) == ("edit", "Paint #2", "OutOfMemoryError")
        assert row["attempts"] == 1

    def test_failures_stand_in_the_inputs_order(self, abc: Journal) -> None:
        for key in "cab":
            fail(abc, key)
        assert [row["key"] for row in abc.failures()] == ["a", "b", "c"]

    @pytest.mark.parametrize(("error_class", "again"), [(None, ["a", "b"]), ("KeyError", ["b"]), ("Nothing", [])])
    def test_retry_by_class(self, error_class: str | None, again: list[str], abc: Journal, sample_of: Make) -> None:
        abc.enrol([*(sample_of(key) for key in "abc"), unusable("x")], None)
        fail(abc, "a", "ValueError")
        fail(abc, "b", "KeyError")
        abc.submitting(["c"], "id", SERVER)
        assert abc.retry_failed(error_class) == len(again)
        assert waiting(abc) == again
        assert {str(row["key"]) for row in abc.failures()} == {"a", "b", "x"} - set(again)

    def test_a_retried_sample_that_works_leaves_no_trace_of_its_failure(self, abc: Journal, filed) -> None:
        fail(abc, "a")
        abc.retry_failed(None)
        abc.done("a", [filed("a")], 0.0)
        assert list(abc.failures()) == []
        assert records(abc, kept=True) == [("a", 2)]


class TestRecords:
    def test_kept_and_others_in_the_inputs_order(self, abc: Journal, filed) -> None:
        abc.done("c", [filed("c")], 0.1)
        abc.done("b", [filed("b", "reject")], 0.1)
        abc.done("a", [filed("a~1", "unscored"), filed("a~0")], 0.1)
        assert records(abc, kept=True) == [("a~0", 1), ("c", 1)]
        assert records(abc, kept=False) == [("a~1", 1), ("b", 1)]
        assert abc.counts() == {"done": 3, "keep": 2, "reject": 1, "unscored": 1}

    def test_the_first_word_on_a_sample_stands(self, abc: Journal, filed) -> None:
        assert abc.done("a", [filed("a")], 0.1)
        assert not abc.done("a", [filed("a", "reject")], 0.1)
        assert not abc.failed("a", SampleFailure("edit", "KeyError", "late"))
        assert records(abc, kept=True) == [("a", 1)]
        assert (records(abc, kept=False), list(abc.failures())) == ([], [])

    def test_rejected_tries_stay_beside_the_one_that_was_kept(self, abc: Journal, filed) -> None:
        for _ in range(2):  # it may come home twice
            abc.submitting(["a"], "one", SERVER)
            abc.tried("a", [filed("a~try0", "reject")])
        assert waiting(abc) == ["a", "b", "c"]
        abc.done("a", [filed("a")], 0.1)
        assert records(abc, kept=True) == [("a", 3)]
        assert [key for key, _ in records(abc, kept=False)] == ["a~try0"]
        assert not abc.ended("b")
        assert abc.ended("a")

    def test_reasons_are_counted_without_their_figures(self, abc: Journal, filed) -> None:
        reasons = {"a": "no edit: 1.0% of the mask", "b": "no edit: 2.0% of the mask", "c": "blurred"}
        for key, why in reasons.items():
            abc.done(key, [filed(key, "reject", reject_reason=why)], 0.1)
        assert abc.reject_reasons() == {"no edit": 2, "blurred": 1}

    def test_error_types_are_counted(self, abc: Journal) -> None:
        for key, error_type in {"a": "KeyError", "b": "OSError", "c": "KeyError"}.items():
            fail(abc, key, error_type)
        assert abc.failure_types() == {"KeyError": 2, "OSError": 1}

    def test_two_samples_may_not_claim_one_record(self, abc: Journal, filed) -> None:
        """Half of a transaction must not stay: the sample would be done and have no row."""
        abc.done("a", [filed("a")], 0.1)
        with pytest.raises(sqlite3.IntegrityError):
            abc.done("b", [filed("a")], 0.1)
        assert waiting(abc) == ["b", "c"]


class TestResuming:
    def reopened(self, journal: Journal, path: Path) -> Journal:
        """Another process's view of the file while this one never closed it, as after a kill."""
        return Journal(path / "run.sqlite")

    def test_a_posted_prompt_is_known_to_the_next_run(self, abc: Journal, sample_of: Make, tmp_path: Path) -> None:
        abc.submitting(["c", "a"], "prompt", SERVER)
        again = self.reopened(abc, tmp_path)
        assert again.submissions() == [
            Submission(sample_of("a"), "prompt", 1, SERVER, Tries(0, 1)),
            Submission(sample_of("c"), "prompt", 0, SERVER, Tries(0, 1)),
        ]
        assert waiting(again) == ["b"]
        again.close()

    def test_what_is_done_stays_done(self, abc: Journal, tmp_path: Path, filed) -> None:
        abc.submitting(["a"], "prompt-a", SERVER)
        abc.done("a", [filed("a")], 0.1)
        again = self.reopened(abc, tmp_path)
        assert (again.submissions(), waiting(again)) == ([], ["b", "c"])
        again.close()

    @pytest.mark.parametrize("end", ["fault", "death", "release", "tried"])
    def test_a_prompt_that_came_to_nothing_waits_again(self, end: str, abc: Journal) -> None:
        abc.submitting(["a"], "prompt-a", SERVER)
        getattr(abc, end)("a")
        assert waiting(abc) == ["a", "b", "c"]
        assert abc.submissions() == []

    def test_tries_count_what_each_end_means(self, abc: Journal) -> None:
        assert abc.tries("a") == Tries(attempts=0, submissions=0)
        abc.submitting(["a"], "one", SERVER)
        assert abc.fault("a") == 1
        abc.submitting(["a"], "two", SERVER)
        assert abc.fault("a") == 2
        assert abc.tries("a") == Tries(attempts=0, submissions=2)
        abc.submitting(["a"], "three", SERVER)
        fail(abc, "a")
        assert abc.tries("a") == Tries(attempts=1, submissions=3)
        abc.retry_failed(None)
        assert abc.fault("a") == 1

    def test_telemetry_tells_of_what_ended(self, abc: Journal, filed) -> None:
        abc.submitting(["a"], "one", SERVER)
        abc.done("a", [filed("a")], 0.25)
        abc.timed(["a"], 2.5)
        fail(abc, "b")
        first, second = abc.telemetry()
        assert (first["key"], first["state"], first["server"], first["attempts"]) == ("a", "done", SERVER, 1)
        assert (first["execution_s"], first["transfer_s"]) == (2.5, 0.25)
        abc.submitting(["c"], "two", SERVER)
        abc.done("c", [filed("c")], 0.25, 1.5)
        assert [row["execution_s"] for row in abc.telemetry()] == [2.5, None, 1.5]
        assert first["queued_at"] <= first["finished_at"]
        assert (second["key"], second["state"], second["execution_s"]) == ("b", "failed", None)

    def test_names_and_values(self, journal: Journal, tmp_path: Path) -> None:
        assert journal.get("seed") is None
        journal.set("seed", "1")
        journal.set("seed", "2")
        assert journal.get("seed") == "2"


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be read as one" * 40, b"SQLite format 3\0" * 9]
)
def test_a_file_that_is_no_journal_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.sqlite").write_bytes(content)
    with pytest.raises(RunError, match="not a journal of EditPairs") as error:
        Journal(tmp_path / "run.sqlite")
    assert error.value.status == 2


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "run.sqlite") as other:
        other.execute("CREATE TABLE samples (name TEXT)")
    other.close()
    with pytest.raises(RunError, match="not a journal of EditPairs"):
        Journal(tmp_path / "run.sqlite")


def test_a_kill_while_it_is_made_leaves_one_that_opens(tmp_path: Path) -> None:
    """Killed before each statement that makes it, the last of them too."""
    ended: list[int] = []
    while not ended or ended[-1]:
        path = tmp_path / f"{len(ended)}.sqlite"
        child = os.fork()
        if not child:
            _die_at(len(ended))
            opened(path)
            os._exit(0)
        ended.append(os.waitpid(child, 0)[1])
        opened(path).close()
    assert len(ended) > 5


def _die_at(statement: int) -> None:
    """Has this process end before SQLite comes to a statement of the next journal that it opens."""
    left, connect = [statement], sqlite3.connect

    def counted(*given: Any, **how: Any) -> sqlite3.Connection:
        db = connect(*given, **how)

        def traced(_statement: str) -> None:
            if not left[0]:
                os._exit(9)
            left[0] -= 1

        db.set_trace_callback(traced)
        return db

    sqlite3.connect = counted  # type: ignore[assignment]
