"""Dialogues as they are stored: one record each in all layouts, pictures once, and a verdict over all of a dialogue's turns."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from comfy_nodes.core.records import Score, TurnRecord
from comfy_nodes.core.verdicts.verdicts import Judge
from driver.command import conclude
from driver.dataset.commits import Totals
from driver.dataset.configs import kept_configs
from driver.dataset.dataset import chosen_rows, stored_row, stored_rows, write_dataset
from driver.dataset.dialogues import leading, rows_of
from driver.dataset.groups import schema_of
from driver.dataset.layouts.hf import HfLayout
from driver.dataset.layouts.imgedit import ImgEditLayout
from driver.dataset.layouts.layout import LAYOUTS, layout_named
from driver.dataset.layouts.wds import WdsLayout
from driver.dataset.rows import PLAIN, Row
from driver.journal import Journal
from driver.report.figures import RowStatistics
from driver.report.page import write_card
from tests.unit.dialogue_making import ENVIRONMENT, RUN_FACTS, SIDE, SUMMARY, converse, finish, state
from tests.unit.turn_making import Said, add_dialogue
from tests.unit.turn_making import state as left_by


def records(run: Any, config: str = "data") -> list[dict[str, Any]]:
    """The stored records of dialogues."""
    paths = sorted(run.part.config(config).glob("dialogues-*.parquet"))
    return [record for path in paths for record in pq.read_table(path).to_pylist()]


def verdicts(run: Any, config: str) -> dict[str, tuple[str, str]]:
    return {
        row.columns["key"]: (row.columns["verdict"], row.columns["reject_reason"])
        for row in stored_rows(run.output, config)
    }


@pytest.fixture
def opened(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A function that opens the run's folder with `datasets`, by its card."""
    datasets = pytest.importorskip("datasets", reason="datasets, the reader of what a run leaves, is not installed")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    cache = str(tmp_path_factory.mktemp("cache"))
    return lambda *what: datasets.load_dataset(str(run.output), *what, split="train", cache_dir=cache)


class TestParquet:
    def test_a_dialogue_is_one_record_with_each_state_once(self, run: Any) -> None:
        converse(run, "d")
        converse(run, "e", bases=(0, 1, 0), task="version_backtracking")
        finish(run)
        assert [path.name for path in run.shards()] == ["dialogues-00000-of-00001.parquet"]
        first, second = records(run)
        assert (first["key"], first["task"], first["lang"], first["premise"]) == (
            "d",
            "content_memory",
            "en",
            "Keep it red.",
        )
        for record, bases in ((first, (0, 1, 2)), (second, (0, 1, 0))):
            states = {one["path"]: one["bytes"] for one in record["states"]}
            assert list(states.values()) == [state(run, record["key"], number) for number in range(4)]
            for turn, (edit, base) in enumerate(zip(record["data"], bases, strict=True), 1):
                assert [states[name] for name in edit["input_images"]] == [state(run, record["key"], base)]
                assert [states[name] for name in edit["output_images"]] == [state(run, record["key"], turn)]
                assert edit["prompt"] == f"Turn {turn}."
            assert [row["key"] for row in record["turns"]] == [f"{record['key']}~{turn}" for turn in range(3)]
            assert [row["turn"]["base"] for row in record["turns"]] == list(bases)

    def test_data_is_imgedits_schema(self, run: Any) -> None:
        converse(run, "d")
        finish(run)
        paths = "list<element: string>"
        edit = f"struct<input_images: {paths}, output_images: {paths}, prompt: string>"
        schema = pq.read_schema(run.shards()[0])
        assert str(schema.field("data").type) == f"list<element: {edit}>"
        assert schema.names == ["key", "task", "lang", "premise", "data", "states", "turns"]
        assert [field.name for field in schema.field("turns").type.value_type] == PLAIN.names

    def test_datasets_opens_dialogues_alone(self, run: Any, opened: Callable[..., Any]) -> None:
        converse(run, "d")
        converse(run, "e", ("keep", "reject"))
        finish(run)
        (dialogue,) = opened()
        np.testing.assert_array_equal(np.asarray(dialogue["states"][3]), run.pixels("d", "state3", SIDE))
        assert [turn["prompt"] for turn in dialogue["data"]] == ["Turn 1.", "Turn 2.", "Turn 3."]
        assert dialogue["turns"][2]["turn"]["number"] == 3
        assert opened("dialogues")[0]["key"] == "d"
        assert [row["verdict"] for row in opened("rejected")[0]["turns"]] == ["reject", "reject"]

    def test_datasets_opens_pairs_and_dialogues_beside_each_other(self, run: Any, opened: Callable[..., Any]) -> None:
        run.add("a")
        converse(run, "d")
        run.add("r", verdict="reject")
        converse(run, "e", ("keep", "reject"))
        finish(run)
        assert opened()["key"][:] == ["a"]
        assert opened("dialogues")["key"][:] == ["d"]
        assert opened("rejected")["key"][:] == ["r"]
        assert opened("rejected-dialogues")["key"][:] == ["e"]

    def test_a_dialogue_is_in_one_shard_and_one_row_group(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("shard_size", "group_size", "group_rows"):
            monkeypatch.setattr(HfLayout, name, 1)
        converse(run, "d")
        converse(run, "e")
        finish(run)
        assert [[row["key"] for row in pq.read_table(path).to_pylist()] for path in run.shards()] == [["d"], ["e"]]

    def test_a_shard_that_is_the_same_stays_as_it_is(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(HfLayout, "shard_size", 1)
        converse(run, "d")
        finish(run)
        before = run.shards()[0].stat()
        converse(run, "e")
        finish(run)
        first, _ = run.shards()
        assert first.stat().st_ino == before.st_ino
        assert [record["key"] for record in records(run)] == ["d", "e"]


@pytest.mark.parametrize("layout", LAYOUTS)
class TestLayouts:
    def test_turns_come_back_as_they_went_in(self, layout: str, run: Any) -> None:
        scored = {"scores": (Score(name="x", value=0.5),), "judge": Judge(model="m", prompt_version="1", reply="A\nB")}
        converse(run, "d", **scored)
        run.add("a")
        converse(run, "e", bases=(0, 1, 0), task="version_backtracking")
        converse(run, "f", ("keep", "reject"))
        finish(run, layout)
        found = list(stored_rows(run.output, "data"))
        assert sorted(row.columns["key"] for row in found) == [
            "a",
            *(f"{one}~{turn}" for one in "de" for turn in range(3)),
        ]
        for row in found:
            turn = row.columns["turn"]
            if turn is None:
                continue
            assert row.inputs == (state(run, turn["dialogue"], turn["base"]),)
            assert row.outputs == (state(run, turn["dialogue"], turn["number"]),)
            assert set(row.columns) == set(PLAIN.names)
        assert [row.columns["key"] for row in stored_rows(run.output, "rejected")] == ["f~0", "f~1"]

    def test_a_turn_is_found_by_its_key_and_by_its_place(self, layout: str, run: Any) -> None:
        for dialogue in "de":
            converse(run, dialogue, bases=(0, 1, 0), task="version_backtracking")
        finish(run, layout)
        row = stored_row(run.part, "e~2")
        assert row and row.columns["prompt"] == "Turn 3."
        assert (row.inputs, row.outputs) == ((state(run, "e", 0),), (state(run, "e", 3),))
        at = {number: row.columns["key"] for number, row in chosen_rows(run.part, "data", {1, 5})}
        assert at == {1: "d~1", 5: "e~2"}

    def test_a_finish_with_nothing_new_finds_its_pictures_in_the_shards(self, layout: str, run: Any) -> None:
        converse(run, "d")
        finish(run, layout)
        for number in (0, 2):
            write_dataset(run.journal, run.spool, run.part, replace(RUN_FACTS, profile=f"p{number}"), layout)
            found = list(stored_rows(run.output, "data"))
            assert [row.outputs[0] for row in found] == [state(run, "d", turn) for turn in (1, 2, 3)]

    def test_a_dialogue_that_moves_into_another_layout_keeps_its_pictures(self, layout: str, run: Any) -> None:
        converse(run, "d")
        finish(run, "wds" if layout == "hf" else "hf")
        finish(run, layout)
        assert [row.inputs[0] for row in stored_rows(run.output, "data")] == [
            state(run, "d", turn) for turn in range(3)
        ]

    def test_each_picture_is_stored_once(self, layout: str, run: Any) -> None:
        converse(run, "d", bases=(0, 1, 0, 3), verdicts=("keep",) * 4, task="version_backtracking")
        finish(run, layout)
        held = b"".join(path.read_bytes() for path in sorted((run.output / "data").rglob("*")) if path.is_file())
        assert [held.count(state(run, "d", number)) for number in range(5)] == [1] * 5

    def test_datasets_opens_it_by_its_card(self, layout: str, run: Any, opened: Callable[..., Any]) -> None:
        converse(run, "d")
        converse(run, "e", ("keep", "keep", "reject"))
        run.add("a")
        finish(run, layout)
        assert opened().num_rows == 1
        assert opened("dialogues").num_rows == 2
        card = (run.output / "README.md").read_text(encoding="utf-8")
        assert "| kept (`data/`) | " in card
        assert "| of these, what `load_dataset` opens without a config | 1 |" in card
        assert "| of these, turns of dialogues: config `dialogues` | 5 |" in card
        told = [(one.call("out"), one.rows, one.told("data")) for one in kept_configs(run.output)]
        assert told == [
            ("load_dataset('out')", 1, "rows"),
            ("load_dataset('out', 'dialogues')", 5, "turns of dialogues"),
        ]

    def test_a_state_that_comes_back_has_one_name(self, layout: str, run: Any, opened: Callable[..., Any]) -> None:
        converse(run, "d", picture=lambda number: state(run, "d", number % 3))
        finish(run, layout)
        (dialogue,) = opened()
        turns = dialogue["json"]["data"] if layout == "wds" else dialogue["data"]
        shown = [name for turn in turns for end in ("input_images", "output_images") for name in turn[end]]
        assert shown[0] == shown[-1] and len(set(shown)) == 3
        if layout == "hf":
            assert shown[:2] == ["d-state0.png", "d-state1.png"] and len(dialogue["states"]) == 3

    def test_dialogues_of_several_lengths_are_opened_unasked(
        self, layout: str, run: Any, opened: Callable[..., Any]
    ) -> None:
        converse(run, "e", ("keep", "keep", "reject"))
        converse(run, "d")
        finish(run, layout)
        assert (opened().num_rows, opened("dialogues").num_rows) == (2, 2)
        assert "| kept (`data/`, what `load_dataset` opens) | " in (run.output / "README.md").read_text(
            encoding="utf-8"
        )
        if layout == "wds":
            found = {row["__key__"]: row for row in opened()}
            assert found["e"]["state3.png"] is None
            np.testing.assert_array_equal(np.asarray(found["d"]["state3.png"]), run.pixels("d", "state3", SIDE))
            assert found["e"]["json"]["data"][1]["output_images"] == ["state2.png"]


def test_the_last_line_of_a_run_names_what_else_there_is(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    converse(run, "d")
    options = SimpleNamespace(output=run.output, publish_to=None, max_failed="0")

    def last_line() -> str:
        finish(run)
        conclude(options, SUMMARY, stopped=False)
        return capsys.readouterr().out.splitlines()[-1]

    opens = f"look at {run.output / 'report.html'}; load_dataset({str(run.output)!r}"
    assert last_line() == f"{opens}) opens the kept ones"
    run.add("a")
    assert (
        last_line()
        == f"{opens}) opens 1 of the kept rows, load_dataset({str(run.output)!r}, 'dialogues') 3 turns of dialogues"
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dialogues_of_many_shards_open_where_one_has_none(
    layout: str, shard: Callable[..., Any], opened: Callable[..., Any], run: Any
) -> None:
    run.output = shard(0).output
    converse(shard(0), "d")
    converse(shard(1), "e", ("keep", "reject"))
    for index in (0, 1):
        shard(index).commit(layout)
    write_card(run.output, SUMMARY, ENVIRONMENT, RowStatistics.of_dataset(run.output))
    assert (opened().num_rows, opened("rejected").num_rows) == (1, 1)


class TestWebdataset:
    def test_a_dialogue_is_one_basename_whose_data_names_its_members(self, run: Any) -> None:
        converse(run, "d", bases=(0, 1, 0), task="version_backtracking")
        finish(run, "wds")
        (path,) = run.shards()
        assert path.name == "dialogues-4-00000.tar"
        with tarfile.open(path) as tar:
            assert tar.getnames() == [*(f"d.state{number}.png" for number in range(4)), "d.json"]
            file = tar.extractfile("d.json")
            assert file
            told = json.loads(file.read())
        assert told["data"][2] == {"input_images": ["state0.png"], "output_images": ["state3.png"], "prompt": "Turn 3."}
        assert [row["key"] for row in json.loads(told["turns"])] == ["d~0", "d~1", "d~2"]

    def test_dialogues_of_a_tar_have_as_many_pictures_each(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(WdsLayout, "shard_size", 1)
        converse(run, "d")
        converse(run, "e", ("keep", "keep", "reject"))
        converse(run, "f")
        finish(run, "wds")
        names = ["dialogues-3-00000.tar", "dialogues-4-00000.tar", "dialogues-4-00001.tar"]
        assert [path.name for path in run.shards()] == names


class TestImgEdit:
    def test_a_turn_names_the_picture_of_the_turn_that_it_begins_from(self, run: Any) -> None:
        converse(run, "d", bases=(0, 1, 0), task="version_backtracking")
        finish(run, "imgedit")
        (row,) = pq.read_table(run.output / "data/Parquet/version_backtracking_part0.parquet").to_pylist()
        place = "results_version_backtracking_part0/d"
        ends = [(turn["input_images"], turn["output_images"]) for turn in row["data"]]
        assert ends == [
            ([f"{place}/origin_0.png"], [f"{place}/result_0.png"]),
            ([f"{place}/result_0.png"], [f"{place}/result_1.png"]),
            ([f"{place}/origin_0.png"], [f"{place}/result_2.png"]),
        ]
        with tarfile.open(run.output / "data/Multiturn/results_version_backtracking_part0.tar") as tar:
            assert len(tar.getnames()) == 4

    def test_shards_are_found_without_their_list(self, run: Any) -> None:
        converse(run, "d")
        finish(run, "imgedit")
        (run.output / "shards.json").unlink()
        finish(run, "imgedit")
        assert [row.inputs[0] for row in stored_rows(run.output, "data")] == [
            state(run, "d", turn) for turn in range(3)
        ]
        assert (run.output / "data" / "Multiturn").is_dir() and ImgEditLayout.name == "imgedit"


class TestVerdict:
    def test_a_turn_that_comes_to_nothing_ends_the_dialogue_and_what_was_before_is_kept(self, run: Any) -> None:
        converse(run, "d", ("keep", "keep", "reject"))
        finish(run)
        assert list(verdicts(run, "data")) == ["d~0", "d~1"]
        assert verdicts(run, "rejected") == {"d~2": ("reject", "too dark: 3")}

    def test_one_turn_makes_no_dialogue(self, run: Any) -> None:
        converse(run, "d", ("keep", "reject"))
        converse(run, "e", ("keep",))
        finish(run)
        assert verdicts(run, "data") == {}
        assert verdicts(run, "rejected") == {
            "d~0": ("reject", "its dialogue ended: turn 2 was rejected: too dark: 3"),
            "d~1": ("reject", "too dark: 3"),
            "e~0": ("reject", "its dialogue ended: turn 2 failed (Oops): no memory"),
        }
        (row, *_) = records(run, "rejected")[0]["turns"]
        assert row["vouched_by"] == [] and row["stage_sha256"]

    def test_a_way_back_that_is_missing_leaves_no_backtracking(self, run: Any) -> None:
        converse(run, "d", ("keep", "keep", "reject"), bases=(0, 1, 0), task="version_backtracking")
        finish(run)
        assert verdicts(run, "data") == {}
        assert set(verdicts(run, "rejected")) == {"d~0", "d~1", "d~2"}

    def test_what_nobody_could_judge_leaves_the_dialogue_unscored(self, run: Any) -> None:
        converse(run, "d", ("keep", "unscored"))
        finish(run)
        assert verdicts(run, "rejected")["d~0"] == ("unscored", "its dialogue ended: turn 2 is unscored")

    def test_what_is_not_made_yet_counts_when_it_is(self, run: Any) -> None:
        converse(run, "d", ("keep",), bases=(0,))
        run.journal.enrol([run.sample_of("d~0"), run.sample_of("d~1")], None)
        finish(run)
        assert verdicts(run, "rejected") == {"d~0": ("reject", "its dialogue ended: turn 2 is not made yet")}
        run.spool.put("d~1", "input", 0, state(run, "d", 1))
        run.spool.put("d~1", "output", 0, state(run, "d", 2))
        told = TurnRecord(dialogue="d", number=2, of=2, base=1, op="alter")
        run.journal.done("d~1", [run.filed("d~1", task="content_memory", turn=told)], 0.1)
        finish(run)
        assert list(verdicts(run, "data")) == ["d~0", "d~1"] and not verdicts(run, "rejected")

    def test_figures_agree_with_the_rows(self, run: Any) -> None:
        run.add("a")
        converse(run, "d")
        converse(run, "e", ("keep", "keep", "reject"))
        converse(run, "f", ("keep", "reject"))
        converse(run, "g", ("keep",))
        finish(run)
        totals = Totals.of_journal(run.journal)
        rows = RowStatistics.of_dataset(run.output)
        assert (totals.counts["keep"], totals.counts["reject"]) == (6, 4)
        assert totals.reasons == {"its dialogue ended": 2, "too dark": 2}
        assert rows.reasons["reject"] == totals.reasons
        assert len(list(stored_rows(run.output, "data"))) == 6
        assert totals.dialogues == {"planned": 4, "kept": 2, "shorter": 1}
        assert (totals + totals).dialogues == {"planned": 8, "kept": 4, "shorter": 2}
        assert run.journal.record("f~0") and '"keep"' in run.journal.record("f~0"), "the record stays as it came home"

    def test_a_journal_of_a_version_without_dialogues_is_read(self, run: Any) -> None:
        run.add("a")
        run.journal.close()
        path = run.output / "run.sqlite"
        with closing(sqlite3.connect(path)) as db:
            db.execute("DROP TABLE dialogue_verdicts")
        for read_only in (True, False):
            with closing(Journal(path, read_only)) as journal:
                assert journal.counts() == {"done": 1, "keep": 1}
                assert len(list(journal.records(kept=True))) == 1

    def test_turns_that_stand_apart_are_one_dialogue(self, run: Any) -> None:
        """As a verdict over rows of `data/` and then of `rejected/` gives them."""
        converse(run, "d", bases=(0, 1), verdicts=("keep", "keep"))
        run.add("a")
        converse(run, "d", bases=(0, 1, 2))
        run.journal.enrol([run.sample_of(key) for key in ("d~0", "a", "d~1", "d~2")], None)
        finish(run)
        assert [len(record["turns"]) for record in records(run)] == [3]


def test_rows_of_a_photo_are_one_record_too(run: Any, filed: Callable[..., Any]) -> None:
    """As derived datasets have them: their rows share pictures with one another."""
    record = filed("k~inverse", derived_kind="inverse", derived_from=("k",))
    row = Row.of(record.record, 1, RUN_FACTS, photo="p")
    assert (row.group, row.grouped_as, row.sample) == ("p", "photos", "p")
    assert json.loads(row.line)["derived_from"] == ["k"]
    again = [Row.of(filed(key, derived_kind="inverse", source_id="a.jpg").record, 1, RUN_FACTS) for key in ("x", "y")]
    assert again[0].group == again[1].group != "" and again[0].grouped_as == "photos", "as when they are judged again"
    names = schema_of("photos").names
    assert "rows" in names and "premise" not in names
    assert {layout_named(name).stream(replace(row, states=2)) for name in ("hf", "wds")} == {"photos", "photos-2"}


def test_pictures_that_are_equal_are_one_state(run: Any) -> None:
    """A picture is known by its hash, however many rows show it."""
    converse(run, "d")
    finish(run)
    (record,) = records(run)
    hashes = [hashlib.sha256(io.BytesIO(one["bytes"]).read()).hexdigest() for one in record["states"]]
    assert len(set(hashes)) == len(hashes) == 4
    assert Path(record["states"][0]["path"]).suffix == ".png"


@pytest.mark.parametrize("layout", ["hf", "imgedit", "wds"])
def test_all_rows_of_a_dialogue_are_found_wherever_they_lie(layout: str, run: Any) -> None:
    add_dialogue(
        run, "v", "version_backtracking", Said("One."), Said("Two.", attempt=0, verdict="reject"), Said("Two."),
        Said("Back.", base=1), Said("Four.", verdict="reject"), of=5,
    )  # fmt: skip
    add_dialogue(run, "u", "content_understanding", Said("One."), Said("Two."), Said("Three."))
    run.add("p")
    run.finish(layout)
    ((name, rows),) = rows_of(run.part, {"v", "p"})
    assert (name, [row.columns["key"] for row in rows]) == ("v", ["v~0", "v~1~try0", "v~1", "v~2", "v~3"])
    assert [row.columns["verdict"] for row in rows] == ["keep", "reject", "keep", "keep", "reject"]
    assert [[one.columns["key"] for one in others] for _, others in leading(rows)] == [[], ["v~1~try0"], [], []]
    for row, before, after in zip(rows, (0, 1, 1, 1, 3), ("v:1", "v:2/0", "v:2", "v:3", "v:4"), strict=True):
        assert row.inputs == (run.png(left_by("v", before), "state"),)
        assert row.outputs == (run.png(after, "state"),)
