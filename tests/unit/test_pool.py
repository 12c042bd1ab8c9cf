"""Who gets which sample, and what each kind of trouble costs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.instructions.instructions import InstructionRecord
from comfy_nodes.core.records import LONGEST_REASON, AnnotationRecord, SampleFailure
from driver.comfyui.client import Job
from driver.dataset.spool import Spool
from driver.engine.harvest import EditHarvester, Harvest, RecordHarvester
from driver.engine.pool import SAME_FAILURES, Pool
from driver.engine.portion import OnePortion, Portion
from driver.engine.prompts import Flight, Posted
from driver.engine.queue import CHUNK, Item
from driver.engine.troubles import MAX_DEATHS, MAX_FAULTS, Trouble, node_error
from driver.engine.work import Work
from driver.errors import RunError
from driver.journal import Journal
from driver.samples import JournalRow, Sample
from driver.stopping import StopRequest

A, B = "http://a", "http://b"
NOBODY: Any = None
Make = Callable[..., Sample]


class Told:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def planned(self, samples: int, ended: int) -> None: ...

    def finished(self, server: str, sample: Sample, verdicts: list[str], seconds: float | None) -> None:
        self.events.append(("finished", sample.key, *verdicts))

    def failed(self, sample: Sample, failure: SampleFailure) -> None:
        self.events.append(("failed", sample.key, failure.error_type))

    def retried(self, server: str, samples: int, error_class: str, why: str) -> None:
        self.events.append(("retried", str(samples), error_class))

    def server(self, view: Any) -> None: ...

    def say(self, line: str) -> None:
        self.events.append(("say", line))

    def close(self) -> None: ...


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def pool_of(journal: Journal, sample_of: Make, told: Told) -> Callable[..., Pool]:
    """A function that makes a pool of so many samples."""

    def make(count: int = 4, attempts: int = 1, room: Callable[[], str] = lambda: "") -> Pool:
        journal.enrol([sample_of(f"k{number:04d}") for number in range(count)], None)
        pool = Pool(OnePortion(Portion(journal, NOBODY)), "edit", told, StopRequest(), 2, attempts, room)
        for server in (A, B):
            pool.working(server, True)
        return pool

    return make


def take(pool: Pool, count: int, server: str = A) -> list[Item]:
    return pool.take(server, lambda _first: count)


def keys(items: list[Item]) -> list[str]:
    return [item.sample.key[-1] for item in items]


def fly(pool: Pool, items: list[Item], server: str = A, attempt: int = 0) -> Flight:
    posted = [Posted(item, f"out/{item.sample.key}", attempt) for item in items]
    flight = Flight(f"prompt-{items[0].sample.key}-{server}", posted, dict(enumerate(posted)))
    pool.submitting(flight, server)
    pool.took_off(server, flight)
    return flight


def lands(pool: Pool, flight: Flight) -> list[Posted]:
    pool.landed(flight)
    left = list(flight.open.values())
    flight.open.clear()
    return left


def row(key: str, verdict: str = "keep") -> Harvest:
    return Harvest([JournalRow(key, verdict, "{}")])


def test_each_sample_goes_to_one_server_in_the_inputs_order(pool_of: Callable[..., Pool]) -> None:
    pool = pool_of(1200)
    taken = [key for server in (A, B) * 300 for key in [item.sample.key for item in take(pool, 2, server)]]
    assert taken == [f"k{number:04d}" for number in range(1200)]
    assert take(pool, 2) == []


def test_samples_at_one_place_are_all_given_out(
    pool_of: Callable[..., Pool], journal: Journal, sample_of: Make
) -> None:
    """As a retried sample and a new one may stand after a change of the input, here where one page of them ends."""
    pool = pool_of(CHUNK + 3)
    last, place = f"k{CHUNK:04d}", CHUNK - 1
    journal._db.execute("UPDATE samples SET position = ? WHERE key = ?", (place, last))
    taken = [item.sample.key for _ in range(CHUNK + 3) for item in take(pool, 1)]
    assert taken == [f"k{number:04d}" for number in range(CHUNK + 3)]


def test_what_had_trouble_of_its_own_goes_last_and_elsewhere(pool_of: Callable[..., Pool]) -> None:
    pool = pool_of(4)
    (first,) = lands(pool, fly(pool, take(pool, 1)))
    pool.returned([first.item.later(A)])
    assert keys(take(pool, 2, B)) == ["1", "2"]
    assert keys(take(pool, 9, A)) == ["3"]
    assert take(pool, 9, A) == []
    assert keys(take(pool, 9, B)) == ["0"]


def test_what_comes_back_goes_first_and_alone_where_it_must(pool_of: Callable[..., Pool]) -> None:
    pool = pool_of()
    first = fly(pool, take(pool, 2))
    left = lands(pool, first)
    pool.disturbed(A, left[:1], Trouble.DEATH, "gone")
    pool.disturbed(A, left[1:], Trouble.FAULT, "gone")
    assert [keys(take(pool, 2)) for _ in range(3)] == [["0"], ["1", "2"], ["3"]]


def test_a_server_leaves_what_it_is_to_avoid_to_others_while_there_are_some(pool_of: Callable[..., Pool]) -> None:
    pool = pool_of(1)
    item = take(pool, 1)[0].elsewhere(A)
    pool.returned([item])
    assert take(pool, 1, A) == []
    pool.working(B, False)
    assert keys(take(pool, 1, A)) == ["0"]


@pytest.mark.parametrize(("trouble", "most"), [(Trouble.FAULT, MAX_FAULTS), (Trouble.DEATH, MAX_DEATHS)])
def test_a_sample_that_sees_too_much_trouble_is_set_aside(
    trouble: Trouble, most: int, pool_of: Callable[..., Pool], journal: Journal, told: Told
) -> None:
    pool = pool_of(1)
    for _ in range(most):
        pool.disturbed(A, lands(pool, fly(pool, take(pool, 1))), trouble, "gone")
    assert told.events[-1] == ("failed", "k0000", trouble.value)
    assert (take(pool, 1), pool.over()) == ([], True)
    assert next(journal.failures())["attempts"] == 1


def test_memory_is_tried_here_alone_then_elsewhere_then_given_up(
    pool_of: Callable[..., Pool], journal: Journal, told: Told
) -> None:
    pool = pool_of(1)
    failure = SampleFailure("edit", "OutOfMemory", "Allocation on device")
    for server in (A, A, B):
        (posted,) = lands(pool, fly(pool, take(pool, 1, server), server))
        pool.out_of_memory(server, posted, failure)
        if server == A:
            assert journal.tries("k0000").attempts == 0
    assert told.events[-1] == ("failed", "k0000", "OutOfMemory")


def test_attempts_have_new_seeds_and_keep_rejected_tries(
    pool_of: Callable[..., Pool], journal: Journal, told: Told
) -> None:
    pool = pool_of(1, attempts=3)
    for attempt, verdict in enumerate(("reject", "reject", "reject")):
        assert journal.tries("k0000").attempts == attempt
        flight = fly(pool, take(pool, 1), attempt=attempt)
        (posted,) = flight.posted
        name = pool.renamed(posted)("k0000", True)
        lands(pool, flight)
        pool.harvested(A, posted, row(name, verdict), 0.0, None)
    assert pool.over()
    verdicts = journal._db.execute("SELECT key, verdict, attempt FROM records ORDER BY key").fetchall()
    assert verdicts == [("k0000", "reject", 3), ("k0000~try0", "reject", 1), ("k0000~try1", "reject", 2)]
    assert told.events[-1] == ("finished", "k0000", "reject")


def test_an_unscored_edit_is_not_tried_again(pool_of: Callable[..., Pool]) -> None:
    pool = pool_of(1, attempts=3)
    (posted,) = lands(pool, fly(pool, take(pool, 1)))
    pool.harvested(A, posted, row("k0000", "unscored"), 0.0, None)
    assert pool.over()


def test_a_reason_that_travelled_as_data_fails_the_sample(pool_of: Callable[..., Pool], told: Told) -> None:
    pool = pool_of(1)
    (posted,) = lands(pool, fly(pool, take(pool, 1)))
    pool.harvested(A, posted, Harvest(failure=SampleFailure("write", "VlmRefusal", "no")), 0.0, None)
    assert told.events[-1] == ("failed", "k0000", "VlmRefusal")


class TestStragglers:
    def late(self, pool: Pool) -> Flight:
        flight = fly(pool, take(pool, 2))
        flight.begun = time.monotonic() - 1000
        return flight

    def test_an_idle_server_takes_what_another_has_had_for_too_long(self, pool_of: Callable[..., Pool]) -> None:
        pool = pool_of(2)
        flight = self.late(pool)
        assert pool.stragglers(A, 0.1) == []
        copies = pool.stragglers(B, 0.1)
        assert keys(copies) == ["0", "1"]
        assert pool.stragglers(B, 0.1) == [], "copied once"
        second = fly(pool, copies, B)
        assert (flight.prompt_id, second.prompt_id) == tuple(pool.flights)

    def test_nothing_is_copied_while_samples_wait_or_it_is_not_late(self, pool_of: Callable[..., Pool]) -> None:
        pool = pool_of(3)
        self.late(pool)
        assert pool.stragglers(B, 0.1) == []
        take(pool, 1, B)
        assert pool.stragglers(B, 1000.0) == []
        assert pool.stragglers(B, 0.1) != []

    def test_whoever_is_first_counts_and_the_other_changes_nothing(
        self, pool_of: Callable[..., Pool], journal: Journal, told: Told
    ) -> None:
        pool = pool_of(2)
        first = self.late(pool)
        second = fly(pool, pool.stragglers(B, 0.1), B)
        for posted in lands(pool, second):
            pool.harvested(B, posted, row(posted.key), 0.0, None)
        assert pool.over()
        for posted in lands(pool, first):
            pool.harvested(A, posted, row(posted.key, "reject"), 0.0, None)
        assert journal.counts() == {"done": 2, "keep": 2}
        assert [event[0] for event in told.events] == ["finished", "finished"]

    def test_an_attempt_that_both_bring_counts_once(self, pool_of: Callable[..., Pool], journal: Journal) -> None:
        """Both were rejected: one other seed is left, and one server tries it."""
        pool = pool_of(2, attempts=2)
        first = self.late(pool)
        second = fly(pool, pool.stragglers(B, 0.1), B)
        for flight in (first, second):
            for slot, posted in list(flight.open.items()):
                del flight.open[slot]
                pool.harvested(A, posted, row(f"{posted.key}~try0", "reject"), 0.0, None)
        assert [journal.tries(key).attempts for key in ("k0000", "k0001")] == [1, 1]
        assert keys(take(pool, 9)) == ["0", "1"]

    def test_a_copy_of_a_decided_attempt_is_dropped_and_the_next_begins(self, pool_of: Callable[..., Pool]) -> None:
        pool = pool_of(2, attempts=2)
        first = self.late(pool)
        second = fly(pool, pool.stragglers(B, 0.1), B)
        posted = first.open.pop(0)
        pool.sample_failed(A, posted, SampleFailure("edit", "ValueError", "no"))
        assert take(pool, 9) == [], "the other server has it"
        pool.drop_decided(second)
        assert list(second.open) == [1]
        assert keys(take(pool, 9)) == ["0"]

    @pytest.mark.parametrize("first_lost", ["original", "copy"])
    def test_a_lost_one_leaves_the_sample_to_the_other(self, first_lost: str, pool_of: Callable[..., Pool]) -> None:
        pool = pool_of(2)
        original = self.late(pool)
        copy = fly(pool, pool.stragglers(B, 0.1), B)
        order = [original, copy] if first_lost == "original" else [copy, original]
        pool.disturbed(A, lands(pool, order[0]), Trouble.FAULT, "gone")
        assert pool.queue.empty(), "the other server still has them"
        pool.disturbed(B, lands(pool, order[1]), Trouble.FAULT, "gone")
        assert keys(take(pool, 2)) == ["0", "1"]
        assert take(pool, 2) == []


def test_a_run_that_fails_the_same_way_from_the_start_breaks_off(pool_of: Callable[..., Pool]) -> None:
    pool = pool_of(SAME_FAILURES + 5)
    for number in range(SAME_FAILURES):
        assert not pool.over(), number
        pool.fail(take(pool, 1)[0], SampleFailure("edit", "ValueError", "no such model", "Loader #4"))
    assert pool.over()
    assert "--retry-failed" in str(pool.broken)
    assert "ValueError at Loader #4 (no such model)" in str(pool.broken)


def test_a_run_whose_samples_are_all_skipped_goes_on(pool_of: Callable[..., Pool], journal: Journal) -> None:
    pool = pool_of(SAME_FAILURES + 5)
    for _ in range(SAME_FAILURES + 1):
        pool.fail(take(pool, 1)[0], SampleFailure("edit", "NoColour", "it has it already", skipped=True))
    assert not pool.over()
    assert journal.counts() == {"skipped": SAME_FAILURES + 1, "pending": 4}


@pytest.mark.parametrize("other", ["done", "other failure"])
def test_a_run_in_which_something_else_happened_goes_on(other: str, pool_of: Callable[..., Pool]) -> None:
    pool = pool_of(SAME_FAILURES + 5)
    (posted,) = lands(pool, fly(pool, take(pool, 1)))
    if other == "done":
        pool.harvested(A, posted, row(posted.key), 0.0, None)
    else:
        pool.fail(posted.item, SampleFailure("edit", "KeyError", "x"))
    for _ in range(SAME_FAILURES):
        pool.fail(take(pool, 1)[0], SampleFailure("edit", "ValueError", "no such model"))
    assert not pool.over()


def test_a_full_disk_pauses_and_says_so_once(pool_of: Callable[..., Pool], told: Told) -> None:
    why = ["the disk of out/ has 1 GB left"]
    pool = pool_of(2, room=lambda: why[0])
    assert take(pool, 1) + take(pool, 1) == []
    why[0] = ""
    assert keys(take(pool, 1)) == ["0"]
    assert [event[1] for event in told.events] == [
        "paused: the disk of out/ has 1 GB left",
        "going on: there is room again",
    ]


def test_a_stop_gives_nothing_out(pool_of: Callable[..., Pool]) -> None:
    pool = pool_of()
    pool.stop.request()
    assert take(pool, 1) == []
    assert not pool.stop.overdue(60)
    assert pool.stop.overdue(0)


def test_prompts_of_an_earlier_run_are_adopted_and_not_given_out(
    pool_of: Callable[..., Pool], journal: Journal
) -> None:
    journal.set("run_id", "r")
    pool_of(600)
    journal.submitting(["k0003", "k0550"], "left", A)
    journal.done("k0003", [JournalRow("k0003", "keep", "{}")], 0.0)
    pool = pool_of(600)
    (flight,) = pool.adopted_by(A)
    assert (flight.prompt_id, list(flight.open), flight.adopted) == ("left", [1], True)
    assert pool.adopted_by(A) == [], "each is told once"
    assert flight.open[1].folder == "editpairs/r/k0550-0"
    taken = [item.sample.key for _ in range(700) for item in take(pool, 1)]
    assert len(taken) == 598
    assert "k0550" not in taken
    pool.returned([flight.open[1].item])
    assert [item.sample.key for item in take(pool, 1)] == ["k0550"]


class Two:
    """A supply of two portions, of which the second is only there when it is planned."""

    def __init__(self, *portions: Portion):
        self.portions = list(portions)
        self.ready = 1
        self.broken: RunError | None = None

    @property
    def ended(self) -> bool:
        return not self.portions

    @property
    def waiting(self) -> int:
        return sum(one.left for one in self.portions[: self.ready])

    def next(self) -> Portion | None:
        if not self.ready or not self.portions:
            return None
        self.ready -= 1
        return self.portions.pop(0)

    def check(self) -> None:
        if self.broken:
            raise self.broken


class TestPortions:
    @pytest.fixture
    def ended(self) -> list[str]:
        return []

    @pytest.fixture
    def supply(self, sample_of: Make, ended: list[str], tmp_path: Path) -> Iterator[Two]:
        """Two portions, a of k0 to k2 and b of k0 and k3, whose journals are of one run."""
        journals = {name: Journal(tmp_path / f"{name}.sqlite") for name in "ab"}
        for name, keys in {"a": "012", "b": "03"}.items():
            journals[name].set("run_id", "r")
            journals[name].enrol([sample_of(f"k{key}") for key in keys], None)
        yield Two(*(Portion(one, NOBODY, ended=partial(ended.append, name)) for name, one in journals.items()))
        for one in journals.values():
            one.close()

    @pytest.fixture
    def pool(self, supply: Two, told: Told) -> Pool:
        pool = Pool(supply, "edit", told, StopRequest(), 1, 1, lambda: "")
        pool.working(A, True)
        return pool

    def test_a_prompt_takes_samples_of_the_next_one_where_it_is_there(self, pool: Pool, supply: Two) -> None:
        assert (pool.queue.left, len(take(pool, 2))) == (3, 2)
        supply.ready = 1
        assert pool.queue.left == 5, "what is planned counts for the size of packs"
        assert keys(take(pool, 9)) == ["2", "0", "3"]

    def test_the_run_is_not_over_while_one_may_come(self, pool: Pool, supply: Two, ended: list[str]) -> None:
        for posted in lands(pool, fly(pool, take(pool, 9))):
            pool.harvested(A, posted, row(posted.key), 0.0, None)
        assert (ended, pool.over(), take(pool, 1)) == (["a"], False, [])
        supply.ready = 1
        for posted in lands(pool, fly(pool, take(pool, 9))):
            pool.harvested(A, posted, row(posted.key), 0.0, None)
        assert (ended, pool.over()) == (["a", "b"], True)

    def test_samples_of_one_key_are_each_their_portions(self, pool: Pool, supply: Two) -> None:
        supply.ready = 1
        first, *_, again, last = take(pool, 9)
        assert (first.sample.key, again.sample.key) == ("k0", "k0")
        pool.fail(last, SampleFailure("edit", "ValueError", "no"))
        pool.returned([first])
        pool.returned([again])
        assert [item.identity for item in take(pool, 9)] == [first.identity, again.identity]
        assert [one.portion.journal.counts()["failed"] for one in (first, again)] == [0, 1]

    def test_a_prompt_of_two_comes_home_to_both(self, pool: Pool, supply: Two, told: Told) -> None:
        supply.ready = 1
        portions = dict.fromkeys(posted.item.portion for posted in fly(pool, take(pool, 9)).posted)
        again = Two(*(Portion(one.journal, NOBODY) for one in portions))
        again.ready = 2
        later = Pool(again, "edit", told, StopRequest(), 1, 1, lambda: "")
        assert take(later, 9) == [], "a server has all of them"
        first, second = later.adopted_by(A)
        first.joined(second)
        assert {slot: posted.key for slot, posted in first.open.items()} == dict(
            enumerate(["k0", "k1", "k2", "k0", "k3"])
        )
        assert len(first) == 5

    def test_what_broke_behind_it_ends_the_run(self, pool: Pool, supply: Two) -> None:
        supply.broken = RunError("the disk is full", 1)
        pool.look_after([A])
        assert (pool.over(), pool.broken) == (True, supply.broken)


@pytest.mark.parametrize(
    ("kind", "roles", "stage"),
    [
        (None, (), "edit"),
        (None, ("edited",), "verify"),
        (AnnotationRecord, (), "annotate"),
        (InstructionRecord, (), "write"),
    ],
)
def test_failures_name_the_stage(
    kind: Any, roles: tuple[str, ...], stage: str, journal: Journal, sample_of: Make, told: Told, tmp_path: Path
) -> None:
    journal.enrol([sample_of("a")], None)
    harvester: Any = RecordHarvester(kind) if kind else EditHarvester(Spool(tmp_path / "spool"))
    work = Work(NOBODY, {}, NOBODY, frozenset(roles), 0, 1, 1, NOBODY)
    pool = Pool(OnePortion(Portion(journal, harvester)), work.stage(harvester), told, StopRequest(), 1, 1, lambda: "")
    for _ in range(MAX_FAULTS):
        pool.disturbed(A, lands(pool, fly(pool, take(pool, 1))), Trouble.FAULT, "gone")
    assert next(journal.failures())["stage"] == stage
    assert node_error(Job("failed"), pool.stage).failure.stage == stage


def test_words_that_no_file_can_hold_are_made_so() -> None:
    failure = SampleFailure("edit", "ValueError", "half \ud83d of it " + "and more " * 10_000)
    assert failure.message.startswith("half ? of it and more")
    assert len(failure.message) == LONGEST_REASON


@pytest.mark.parametrize(
    ("exception_type", "message", "trouble", "error_type"),
    [
        ("OSError", "[Errno 28] No space left on device: 'x.png'", Trouble.DISK, "DiskFull"),
        ("sqlite3.OperationalError", "database or disk is full", Trouble.DISK, "DiskFull"),
        ("torch.OutOfMemoryError", "Allocation on device 0 would exceed allowed memory", Trouble.MEMORY, "OutOfMemory"),
        ("RuntimeError", "CUDA out of memory. Tried to allocate 2 GiB", Trouble.MEMORY, "OutOfMemory"),
        ("ValueError", "the mask is empty\nline two", Trouble.SAMPLE, "ValueError"),
        ("", "", Trouble.SAMPLE, ""),
    ],
)
def test_errors_of_nodes_are_read(exception_type: str, message: str, trouble: Trouble, error_type: str) -> None:
    job = Job("failed", error={"exception_type": exception_type, "exception_message": message,
                               "node_id": "s3/12", "node_type": "KSampler"})  # fmt: skip
    found = node_error(job, "edit")
    assert (found.trouble, found.failure.error_type, found.failure.node) == (trouble, error_type, "KSampler #12")
    assert "\n" not in found.failure.message
