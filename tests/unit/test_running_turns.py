"""Turns of a dialogue as samples that wait for one another: who may begin, what ends a dialogue, and kills at every step of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from comfy_nodes.core.instructions.turns import LEAST_TURNS, MOST_TURNS, turn_of
from comfy_nodes.core.keys import turn_key
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import EditRecord, SampleFailure
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Annotation, Region
from driver.dataset.dataset import stored_rows
from driver.engine.harvest import Harvest
from driver.engine.pool import Pool
from driver.engine.portion import OnePortion, Portion
from driver.engine.prompts import Flight, Posted
from driver.engine.queue import Item
from driver.inputs.dialogues import turns_of
from driver.journal import Journal
from driver.journal_turns import DIALOGUE_ENDED
from driver.options import DEPTHS
from driver.pipeline.turns import Turns
from driver.places import State
from driver.samples import JournalRow, Plans, Sample
from driver.stopping import StopRequest
from tests.unit.conftest import Run
from tests.unit.test_pool import A, B, Told

SIZE = 12
D, E, A_THIRD = "d" * 20, "e" * 20, "f" * 20
UNDERSTANDING = "content_understanding"


def square(name: str, left: int, top: int, side: int = 3) -> Region:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[top : top + side, left : left + side] = True
    return Region(class_name=name, bbox=(left, top, left + side, top + side), mask=rle.encode(mask))


CUP, JUG = square("cup", 1, 1), square("jug", 8, 8)


def dialogue(key: str = D, task: str = UNDERSTANDING, turns: int = 3, seed: int = 0) -> list[Sample]:
    """The samples of a dialogue's turns."""
    edit = (CUP, JUG) if task == "content_memory" else (CUP,)
    annotation = Annotation(path=f"{key}.png", size=(SIZE, SIZE), regions=edit)
    whole = Sample(key, f"{key}.png", annotation, task=task, pictures=(f"{key}.png",), stamp="1")
    return turns_of(whole, edit, (JUG,), Plans(turns), seed)


class Servers:
    """A run whose servers make what they take, in this process."""

    def __init__(self, run: Run, *dialogues: list[Sample], attempts: int = 1):
        self.run = run
        self._attempts = attempts
        if run.journal.get("run_id") is None:
            run.journal.set("run_id", "0" * 32)
        self.samples = [one for turns in dialogues for one in turns]
        run.journal.enrol(self.samples, None, whole=True)
        self.begin()

    def begin(self) -> None:
        """Begins, or goes on after a kill: all that is known is in the journal and on the disk."""
        self.told = Told()
        self.turns = Turns(self.run.journal, self.run.spool, self.run.part)
        self.portion = Portion(self.run.journal, None, dialogues=self.turns)  # type: ignore[arg-type]
        supply = OnePortion(self.portion)
        self.pool = Pool(supply, "edit", self.told, StopRequest(), 2, self._attempts, lambda: "")
        for server in (A, B):
            self.pool.working(server, True)

    def take(self, count: int = 9, server: str = A) -> list[str]:
        self.items = self.pool.take(server, lambda _first: count)
        return [f"{one.sample.key[0]}{one.sample.key[-1]}" for one in self.items]

    def post(self, items: list[Item] | None = None, server: str = A) -> Flight:
        tries = self.run.journal.tries
        posted = [Posted(one, f"out/{one.sample.key}", tries(one.sample.key).attempts) for one in items or self.items]
        flight = Flight(f"{posted[0].key}-{server}-{posted[0].attempt}", posted, dict(enumerate(posted)))
        self.pool.submitting(flight, server)
        self.pool.took_off(server, flight)
        return flight

    def land(self, flight: Flight, verdict: str = "keep") -> None:
        """All that is in a prompt comes home."""
        self.pool.landed(flight)
        for slot in list(flight.open):
            posted = flight.open.pop(slot)
            self.pool.harvested(A, posted, self.made(posted, verdict), 0.0, 1.0)

    def made(self, posted: Posted, verdict: str = "keep") -> Harvest:
        """What a server makes of a turn: from the picture that it names, another one."""
        sample = self.turns.completed(posted.item.sample)
        key = self.pool.renamed(posted)(sample.key, verdict == "reject")
        before = (
            self.turns.picture(sample.file) if isinstance(sample.file, State) else self.run.png(sample.key, "input")
        )
        after = self.run.png(f"{key}{hashlib.sha256(before).hexdigest()}", "output")
        self.run.spool.put(key, "input", 0, before)
        self.run.spool.put(key, "output", 0, after)
        turn = turn_of(sample.annotation.further["turn"])
        told = {
            name: getattr(turn, name) for name in ("dialogue", "number", "of", "base", "op", "premise", "mask_from")
        }
        edit_mask = sample.annotation.regions[0].mask
        record = self.run.filed(
            key, verdict, task=turn.task, turn=told, prompt=sample.instruction, edit_mask=edit_mask, width=SIZE,
            height=SIZE, reject_reason="it is not seen" if verdict == "reject" else "",
        )  # fmt: skip
        return Harvest([JournalRow(key, verdict, record.model_dump_json())])

    def go_on(self) -> list[str]:
        """Makes all that can be made; in which order."""
        order = []
        while taken := self.take(1):
            order += taken
            self.land(self.post())
        return order


@pytest.fixture
def servers(run: Run) -> Callable[..., Servers]:
    return lambda *dialogues, **how: Servers(run, *dialogues, **how)


def records(run: Run) -> dict[str, EditRecord]:
    found = run.journal._db.execute("SELECT key, record FROM records ORDER BY key")
    return {key: EditRecord.model_validate_json(text) for key, text in found}


def states(run: Run) -> dict[str, str]:
    rows = run.journal._db.execute("SELECT key, state, message FROM samples ORDER BY key")
    return {f"{key[0]}{key[-1]}": state if state != "skipped" else f"skipped: {why}" for key, state, why in rows}


def test_a_turn_begins_when_the_one_before_is_kept(servers: Callable[..., Servers]) -> None:
    made = servers(dialogue(D), dialogue(E))
    assert made.pool.queue.waiting == 2, "what waits for a turn could be had by nobody"
    assert made.take() == ["d0", "e0"]
    flight = made.post()
    assert (made.take(), made.pool.queue.empty(), made.pool.over()) == ([], True, False)
    made.land(flight)
    assert made.take() == ["d1", "e1"]
    made.land(made.post())
    assert made.take() == ["d2", "e2"]
    made.land(made.post())
    assert (made.take(), made.pool.over(), made.portion.left) == ([], True, 0)


@pytest.mark.parametrize(
    ("verdict", "why"),
    [("reject", "turn 2 was rejected: it is not seen"), ("unscored", "turn 2 is unscored")],
)
def test_a_turn_that_is_not_kept_ends_its_dialogue(verdict: str, why: str, servers: Callable[..., Servers]) -> None:
    made = servers(dialogue(D, turns=4), dialogue(E, turns=2))
    made.take()
    made.land(made.post())
    made.take(1)
    made.land(made.post(), verdict)
    assert made.go_on() == ["e1"]
    assert states(made.run) == {
        "d0": "done", "d1": "done", "d2": f"skipped: {why}", "d3": f"skipped: {why}", "e0": "done", "e1": "done"
    }  # fmt: skip
    assert made.pool.over()
    assert [one for one in made.told.events if one[0] == "failed"] == [
        ("failed", f"{D}~{one}", DIALOGUE_ENDED) for one in (2, 3)
    ]


def test_a_turn_that_fails_ends_its_dialogue_until_it_is_tried_again(servers: Callable[..., Servers]) -> None:
    made = servers(dialogue(D))
    made.take()
    made.pool.fail(made.items[0], SampleFailure("edit", "ValueError", "no colour"))
    assert states(made.run)["d2"] == "skipped: turn 1 failed (ValueError): no colour"
    assert made.pool.over()
    assert made.run.journal.retry_failed(None) == 1
    made.begin()
    assert made.go_on() == ["d0", "d1", "d2"]
    assert set(states(made.run).values()) == {"done"}


def test_a_rejected_turn_is_tried_with_another_seed_before_the_dialogue_ends(servers: Callable[..., Servers]) -> None:
    made = servers(dialogue(D, turns=2), attempts=2)
    made.take()
    made.land(made.post(), "reject")
    assert made.take() == ["d0"]
    made.land(made.post())
    assert made.go_on() == ["d1"]
    assert sorted(records(made.run)) == [f"{D}~0", f"{D}~0~try0", f"{D}~1"]


def test_what_a_turn_s_plan_rules_out_is_not_tried_again(servers: Callable[..., Servers]) -> None:
    """Its colour and its thing stand in the plan, whatever the seed; an error of the server's may be another time's luck."""
    made = servers(dialogue(D), dialogue(E), attempts=3)
    made.take()
    first, second = made.post().posted
    made.pool.harvested(A, first, Harvest([], SampleFailure("edit", "NoColour", "it is grey", skipped=True)), 0.0, None)
    made.pool.harvested(A, second, Harvest([], SampleFailure("edit", "ValueError", "it broke")), 0.0, None)
    assert [made.run.journal.tries(one.key).attempts for one in (first, second)] == [1, 1]
    assert (states(made.run)["d1"], states(made.run)["e0"]) == (
        "skipped: turn 1 was skipped (NoColour): it is grey",
        "pending",
    )


def test_a_dialogue_without_any_row_was_planned_all_the_same(servers: Callable[..., Servers]) -> None:
    made = servers(dialogue(D), dialogue(E))
    made.take()
    made.pool.fail(made.items[0], SampleFailure("edit", "NoColour", "it is grey", skipped=True))
    made.land(made.post(made.items[1:]))
    made.go_on()
    made.run.finish()
    assert made.run.journal.dialogues() == {"planned": 2, "kept": 1}


def test_several_pictures_of_one_turn_are_none_to_go_on_from(servers: Callable[..., Servers]) -> None:
    made = servers(dialogue(D))
    made.take()
    posted = made.post().posted[0]
    made.pool.harvested(A, posted, Harvest([JournalRow(f"{D}~0~{one}", "keep", "{}") for one in (0, 1)]), 0.0, None)
    assert ("failed", f"{D}~0", "SeveralPictures") in made.told.events


def test_what_two_servers_bring_goes_on_once(servers: Callable[..., Servers]) -> None:
    made = servers(dialogue(D))
    made.take()
    flight = made.post()
    flight.begun -= 1000
    copy = made.post(made.pool.stragglers(B, 0.1), B)
    made.land(copy)
    made.land(flight)
    assert made.take() == ["d1"]
    assert made.take() == []


def test_dialogues_that_were_begun_go_on_before_all_are(
    servers: Callable[..., Servers], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the pictures of all would wait on the disk; and not at once, so that the last ones do not begin when all else is
    done."""
    monkeypatch.setattr("driver.engine.queue.TURNS_HELD", 4)
    made = servers(*(dialogue(f"{number:020x}", turns=2) for number in range(9)))
    for _ in range(4):
        assert made.take(1)[0].endswith("0")
        made.land(made.post())
    assert made.take(1)[0].endswith("1")


class TestStates:
    @pytest.mark.parametrize("task", [UNDERSTANDING, "version_backtracking", "content_memory"])
    @pytest.mark.parametrize("finished_between", [False, True])
    def test_every_turn_begins_with_the_picture_that_it_names(
        self, task: str, finished_between: bool, servers: Callable[..., Servers]
    ) -> None:
        turns = 2 if task == "content_memory" else 4
        made = servers(dialogue(D, task, turns))
        while made.take(1):
            made.land(made.post())
            if finished_between:  # the user stopped the run, and it is taken up again
                made.run.finish()
                assert made.run.spool.empty
                made.begin()
        made.run.finish()
        rows = {row.columns["key"]: row for row in stored_rows(made.run.output, "data")}
        first = rows[f"{D}~0"]
        assert len(rows) == turns
        for key, row in rows.items():
            number, base = row.columns["turn"]["number"], row.columns["turn"]["base"]
            assert key == turn_key(D, number)
            before = rows[turn_key(D, base)].outputs[0] if base else first.inputs[0]
            assert row.inputs[0] == before
            assert row.columns["source_sha256"] == first.columns["source_sha256"]

    def test_a_turn_is_told_what_earlier_ones_did(self, servers: Callable[..., Servers]) -> None:
        made = servers(dialogue(D, turns=3))
        first, _, third = made.samples
        assert turn_of(made.turns.completed(first).annotation.further["turn"]).earlier == ()
        made.take()
        made.land(made.post())
        made.take()
        made.land(made.post())
        done = made.turns.completed(third)
        turn = turn_of(done.annotation.further["turn"])
        assert [(one.number, one.instruction) for one in turn.earlier] == [
            (1, made.samples[0].instruction), (2, made.samples[1].instruction)
        ]  # fmt: skip
        assert done.annotation.writing and len(done.annotation.writing["steps"]) == 1
        assert done.annotation.upstream
        assert made.turns.photo_sha256(third) == records(made.run)[f"{D}~0"].source_sha256

    def test_a_picture_that_was_changed_is_not_gone_on_from(self, servers: Callable[..., Servers]) -> None:
        made = servers(dialogue(D))
        made.take()
        made.land(made.post())
        made.run.spool.put(f"{D}~0", "output", 0, made.run.png("another", "output"))
        with pytest.raises(PhotoError, match="is gone or was changed on disk"):
            made.turns.picture(State(f"{D}~0", "output"))

    def test_what_was_made_from_a_lost_picture_is_made_again_with_it(self, servers: Callable[..., Servers]) -> None:
        made = servers(dialogue(D), dialogue(E))
        made.go_on()
        for path in made.run.spool.folder.glob(f"{D}~1.*"):
            path.unlink()
        made.run.finish()
        assert states(made.run) == {
            "d0": "done", "d1": "pending", "d2": "pending", "e0": "done", "e1": "done", "e2": "done"
        }  # fmt: skip
        made.begin()
        assert made.go_on() == ["d1", "d2"]

    def test_regions_follow_a_photo_that_the_first_turn_scaled(self, servers: Callable[..., Servers]) -> None:
        made = servers(dialogue(D, "content_memory", 2))
        made.take()
        posted = made.post().posted[0]
        harvest = made.made(posted)
        record = EditRecord.model_validate_json(harvest.rows[0].record)
        larger = record.model_copy(
            update={"width": 16, "height": 20, "crop": (4.0, 2.0, 12.0, 12.0), "edit_mask": None}
        )
        row = JournalRow(record.key, "keep", larger.model_dump_json())
        made.pool.harvested(A, posted, Harvest([row]), 0.0, None)
        done = made.turns.completed(made.samples[1]).annotation
        assert done.size == (16, 20)
        assert turn_of(done.further["turn"]).crop == (4.0, 2.0, 12.0, 12.0)
        (region,) = done.regions
        assert region.bbox == (8.0, 12.0, 14.0, 18.0)
        assert region.mask and rle.decode(region.mask).nonzero()[0].min() == 12
        row, left = made.run.journal.sample(f"{D}~1"), 4
        assert row and row.annotation.regions[0].bbox[0] == left + 4, "the plan stays as it is"


class Kill(BaseException):
    """What a kill is in one process: nothing after it runs."""


def test_a_kill_at_any_write_loses_and_doubles_no_turn(servers: Callable[..., Servers], run: Run) -> None:
    """Before each statement that the journal is given, one after the other, until there is none left; then all is as if it
    had not been killed."""
    undisturbed = {key: record.output_images for key, record in _all_of(servers(dialogue(D)))}
    assert len(undisturbed) == 3
    run.journal._db.execute("DELETE FROM records")
    run.journal._db.execute("DELETE FROM samples")
    kills = 0
    while True:
        run.journal._db.execute("DELETE FROM records")
        run.journal._db.execute("DELETE FROM samples")
        run.spool.clear()
        made = servers(dialogue(D))
        finished = _killed_after(made, kills)
        if finished:
            break
        again = Servers(run, dialogue(D))
        for flight in again.pool.adopted_by(A):  # the server made what it was given
            again.pool.took_off(A, flight)
            again.land(flight)
        again.go_on()
        assert {key: record.output_images for key, record in records(run).items()} == undisturbed, kills
        assert set(states(run).values()) == {"done"}
        kills += 1
    assert kills > 20


def _all_of(made: Servers) -> Iterator[tuple[str, EditRecord]]:
    made.go_on()
    yield from records(made.run).items()


def _killed_after(made: Servers, writes: int) -> bool:
    """Goes through a run that is killed before a write; whether it came to its end before that."""
    left = writes
    connection = made.run.journal._db

    class Killing:
        def __getattr__(self, name: str) -> Any:
            return getattr(connection, name)

        def execute(self, text: str, *values: Any) -> Any:
            nonlocal left
            left -= text.startswith(("UPDATE", "INSERT", "DELETE", "COMMIT"))
            if left < 0:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise Kill
            return connection.execute(text, *values)

        def executemany(self, text: str, values: Any) -> Any:
            self.execute("UPDATE samples SET key = key WHERE key = ''")
            return connection.executemany(text, values)

    made.run.journal._opened = Killing()  # type: ignore[assignment]
    try:
        made.go_on()
    except Kill:
        return False
    finally:
        made.run.journal._opened = connection
    return True


class TestInputs:
    def test_the_same_plan_again_changes_nothing(self, servers: Callable[..., Servers]) -> None:
        made = servers(dialogue(D))
        made.go_on()
        before = records(made.run)
        again = Servers(made.run, dialogue(D))
        assert (again.go_on(), records(made.run)) == ([], before)

    def test_another_photo_takes_all_of_its_dialogue_out(self, servers: Callable[..., Servers]) -> None:
        made = servers(dialogue(D), dialogue(E))
        made.go_on()
        changed = [one if one.after else _of_another_photo(one) for one in dialogue(D)]
        again = Servers(made.run, changed, dialogue(E))
        assert states(again.run) == {
            "d0": "pending", "d1": "pending", "d2": "pending", "e0": "done", "e1": "done", "e2": "done"
        }  # fmt: skip
        assert again.run.journal.retired() == 3
        assert again.go_on() == ["d0", "d1", "d2"]

    def test_a_stale_dialogue_that_stays_goes_on_as_it_was_planned(self, run: Run) -> None:
        made = Servers(run, dialogue(D))
        made.take()
        made.land(made.post())
        planned = [run.journal.sample(turn_key(D, number)) for number in (2, 3)]
        other = [one if one.after else _of_another_photo(one) for one in dialogue(D, seed=5)]
        run.journal.enrol(other, None, keep_stale=True, whole=True)
        assert [run.journal.sample(turn_key(D, number)) for number in (2, 3)] == planned
        assert states(run) == {"d0": "done", "d1": "pending", "d2": "pending"}

    def test_words_of_a_later_turn_leave_the_earlier_ones_alone(self, servers: Callable[..., Servers]) -> None:
        made = servers(dialogue(D))
        made.go_on()
        first, second, third = dialogue(D)
        again = Servers(made.run, [first, replace(second, instruction="Paint it in stripes."), third])
        assert states(again.run) == {"d0": "done", "d1": "pending", "d2": "pending"}

    def test_fewer_turns_take_the_last_one_out(self, servers: Callable[..., Servers]) -> None:
        made = servers(dialogue(D, turns=3))
        made.go_on()
        again = Servers(made.run, dialogue(D, turns=2))
        again.go_on()
        assert sorted(records(again.run)) == [f"{D}~0", f"{D}~1"]

    @pytest.mark.parametrize("limit", [2, None])
    def test_another_depth_takes_turns_out_that_no_plan_has(self, limit: int | None, run: Run) -> None:
        """Where an input goes on behind the limit, too, and where a plan of more turns stood elsewhere in the order."""
        made = Servers(run, dialogue(D, turns=2), dialogue(E, turns=2))
        made.go_on()
        deeper = run.journal.enrol([*dialogue(E, turns=4), *dialogue(D, turns=4)], limit, whole=True)
        assert deeper.line().startswith(
            "2 dialogues have 4 turns now and had 2: another --turns, or another plan was written; 4 finished samples have "
            "another input now: made again"
        )
        made.begin()
        made.go_on()
        back = run.journal.enrol([*dialogue(E, turns=3), *dialogue(D, turns=3), *dialogue(A_THIRD)], limit, whole=True)
        assert back.line().startswith("2 dialogues have 3 turns now and had 4")
        assert "2 finished turns that the dialogues have no more: the rows leave the dataset" in back.line()
        made.begin()
        assert made.take() == (["e0", "d0"] if limit else ["e0", "d0", "f0"])
        made.pool.fail(made.items[0], SampleFailure("edit", "NoColour", "it is grey", skipped=True))
        for one in made.items[1:]:
            made.land(made.post([one]))
        made.go_on()
        ended = [
            key for key, state in states(run).items() if state == "skipped: turn 1 was skipped (NoColour): it is grey"
        ]
        assert (ended, states(run)["e3"], states(run)["d3"]) == (["e1", "e2"], "retired", "retired")
        assert made.pool.over()

    def test_a_dialogue_that_stays_keeps_its_depth(self, run: Run) -> None:
        """With `--keep-stale`, whether the new plan has more turns or fewer."""
        Servers(run, dialogue(D, turns=3), dialogue(E, turns=2)).go_on()
        before = states(run)
        run.journal.enrol([*dialogue(D, turns=2), *dialogue(E, turns=3)], None, keep_stale=True, whole=True)
        assert states(run) == before
        assert not run.journal.settle_turns().ended

    def test_a_limit_counts_dialogues(self, journal: Journal) -> None:
        found = journal.enrol([*dialogue(D), *dialogue(E)], 1)
        assert (found.usable, journal.pending()) == (1, 3)


def _of_another_photo(sample: Sample) -> Sample:
    return replace(sample, stamp="2")


def test_turns_of_other_tasks_wait_for_their_own_workflow(run: Run) -> None:
    """Of several workflows at once each goes through its own samples."""
    memory = dialogue(E, "content_memory", 2)
    made = Servers(run, dialogue(D), memory)
    own = Portion(run.journal, None, ["content_memory"], dialogues=made.turns)  # type: ignore[arg-type]
    assert (own.left, own.waiting) == (2, 1)


def test_the_depths_that_the_command_takes_are_those_of_plans() -> None:
    assert (DEPTHS[0], DEPTHS[-1]) == (LEAST_TURNS, MOST_TURNS)
