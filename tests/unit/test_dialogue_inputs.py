"""Dialogues, and other records of several rows, as input: each row is judged again as a pair, and a record is one item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

import pyarrow.parquet as pq
import pytest

from comfy_nodes.core.records import EditRecord
from comfy_nodes.core.tasks import VERIFY, task_named
from driver.dataset.groups import grouped_table
from driver.dataset.layouts.hf import parquet_writer
from driver.dataset.rows import Pair, Row
from driver.inputs.handed_on import photos_of_rows
from driver.inputs.shares import InputShare
from driver.inputs.source import Source
from driver.samples import Aim, Sample
from tests.unit.dialogue_making import RUN_FACTS, converse, finish, state
from tests.unit.source_making import reasons, samples

JUDGE = Aim(VERIFY, frozenset({"edited"}))
STYLE = Aim(task_named("style"))


def turn_of(sample: Sample) -> dict[str, Any]:
    return dict((sample.annotation.carried or {})["turn"])


@pytest.mark.parametrize("layout", ["hf", "wds"])
class TestTurns:
    def test_each_is_judged_with_its_own_pictures(self, layout: str, run: Any) -> None:
        converse(run, "d", bases=(0, 1, 0), task="version_backtracking")
        converse(run, "e")
        run.add("a")
        finish(run, layout)
        source = Source(run.output)
        judged = samples(planned := list(source.plan([JUDGE], "all", 0)))
        assert len(judged) == 7 and not reasons(planned)
        for sample in judged:
            if "turn" not in (sample.annotation.carried or {}):
                continue
            turn, dialogue = turn_of(sample), sample.annotation.path.partition("~")[0]
            assert source.read(sample.file) == state(run, dialogue, turn["base"])
            assert source.read(sample.edited) == state(run, dialogue, turn["number"])
            assert (sample.own_task, sample.instruction) == (sample.own_task, f"Turn {turn['number']}.")

    def test_they_are_a_dialogue_here_too(self, layout: str, run: Any) -> None:
        for dialogue in "de":
            converse(run, dialogue, vouched_by=("judge",))
        finish(run, layout)
        judged = samples(Source(run.output).plan([JUDGE], "all", 0))
        keys = [sample.key for sample in judged]
        first, second = keys[0].partition("~")[0], keys[3].partition("~")[0]
        assert keys == [f"{one}~{turn}" for one in (first, second) for turn in range(3)] and first != second
        assert [turn_of(sample)["dialogue"] for sample in judged] == [first] * 3 + [second] * 3
        again = EditRecord.model_validate_json(run.journal.record("d~1")).with_carried(
            judged[1].annotation.carried or {}
        )
        assert again.turn and (again.turn.number, again.turn.dialogue, again.turn.premise) == (2, first, "Keep it red.")

    def test_those_of_two_datasets_stay_apart(self, layout: str, run: Any, shard: Callable[..., Any]) -> None:
        other = shard(0, run.output.parent / "other")
        for one in (run, other):
            converse(one, "d")
        finish(run, layout)
        other.commit(layout)
        inputs = [InputShare(str(run.output)), InputShare(str(other.part.config("data")))]
        judged = samples(Source(inputs).plan([JUDGE], "all", 0))
        assert len({sample.key for sample in judged}) == 6
        assert len({turn_of(sample)["dialogue"] for sample in judged}) == 2

    def test_a_dialogue_is_one_item_of_the_input(self, layout: str, run: Any) -> None:
        for dialogue in "def":
            converse(run, dialogue)
        finish(run, layout)
        source = Source(run.output)
        shards = list(source.shards(2, [JUDGE]))
        assert [one.items for one in shards] == [2, 1]
        cut = [samples(source.plan([JUDGE], "all", 0, shard=one)) for one in shards]
        assert [len(found) for found in cut] == [6, 3]

    def test_who_edits_gets_the_picture_that_it_began_with(self, layout: str, run: Any) -> None:
        converse(run, "d")
        finish(run, layout)
        source = Source(run.output)
        found = list(source.reader.photos("style"))
        assert [source.read(photo.file) for photo in found] == [state(run, "d", 0)]
        assert [photo.problem for photo in found] == [""]

    def test_a_damaged_record_is_a_failure_with_its_name(
        self, layout: str, run: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        converse(run, "d")
        finish(run, layout)
        monkeypatch.setattr("driver.inputs.groups.Record._photo", lambda *_: {}["gone"])
        planned = list(Source(run.output).plan([JUDGE], "all", 0))
        (why,) = reasons(planned).values()
        assert "is no whole record of ours" in why


def test_rows_of_one_photo_are_judged_apart_though_they_share_it(run: Any, filed: Callable[..., Any]) -> None:
    run.add("a")
    pairs = []
    for key in ("k0", "k1"):
        row = Row.of(filed(key, derived_kind="inverse", derived_from=("a",)).record, 1, RUN_FACTS, photo="p")
        row = replace(row, inputs=("1" * 64,), outputs=(key[1] * 65,))
        pairs.append(Pair(row, (run.png("a", "input"),), (run.png(key, "output"),)))
    path = run.output / "photos.parquet"
    table = grouped_table(pairs, "photos")
    with parquet_writer(path, table.schema) as writer:
        writer.write_table(table)
    source = Source(path)
    judged = samples(source.plan([JUDGE], "all", 0))
    assert len({sample.key for sample in judged}) == 2
    assert [source.read(sample.edited) for sample in judged] == [run.png(key, "output") for key in ("k0", "k1")]
    assert judged[0].annotation.carried and judged[0].annotation.carried["derived_from"] == ["a"]
    assert len(pq.read_table(path)["states"][0]) == 3


def test_a_stage_hands_on_turns_that_are_kept_or_unscored(shard: Callable[..., Any]) -> None:
    run = shard(0)
    converse(run, "d")
    converse(run, "e", ("keep", "unscored"))
    converse(run, "f", ("keep", "reject"))
    run.add("a")
    commit = run.commit()
    found = list(photos_of_rows(run.part, commit, "verify"))
    assert sorted(photo.row for photo in found) == sorted(chain(["a"], (f"d~{n}" for n in range(3)), ["e~0", "e~1"]))
