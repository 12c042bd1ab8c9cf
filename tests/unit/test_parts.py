"""A dataset of many parts: each written, killed and read like the one part of a run of one shard."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from comfy_nodes.core.records import SampleFailure, Score
from comfy_nodes.core.tasks import VERIFY
from driver.dataset import commits as commits_module
from driver.dataset.commits import (
    Cut,
    Totals,
    Twice,
    commits,
    committed,
    duplicates,
    ended_tables,
    parts_with,
    read_commit,
    reopen,
    write_commit,
)
from driver.dataset.dataset import (
    ShardDamaged,
    chosen_rows,
    dataset_digest,
    finished_parts,
    part_facts,
    restore,
    stored_rows,
    unfinished,
)
from driver.dataset.parts import Part, parts
from driver.dataset.tables import FAILED_SCHEMA, TABLES, join_tables, journal_rows, write_table
from driver.errors import RunError
from driver.exports.forms import export
from driver.inputs.source import Source
from driver.labels.figures import report
from driver.labels.labels import Labels
from driver.labels.page import Review
from driver.labels.sample import draw
from driver.report.figures import RowStatistics
from driver.report.gallery import Gallery
from driver.report.page import write_card, write_report
from driver.report.summary import Summary
from driver.samples import Aim
from tests.unit.killing import killed_at
from tests.unit.source_making import samples

SUMMARY = Summary("remove", "full", "remove", 8, 6, 2, 0, 0, 0, {}, {}, 1.0, 1.0)
LAYOUTS = ["hf", "imgedit", "wds"]

Shard = Callable[..., Any]


def filled(shard: Shard, layout: str = "hf", count: int = 3) -> Path:
    """A run of so many shards, each with two kept rows, and, but the second, a rejected one."""
    for index in range(count):
        opened = shard(index)
        opened.add(f"a{index}", f"b{index}", scores=(Score(name="x", value=index / 7),))
        if index != 1:
            opened.add(f"r{index}", verdict="reject", reject_reason="too dark: 3")
        opened.commit(layout)
    return Path(opened.output)


def keys(output: Path, config: str = "data") -> list[str]:
    return [row.columns["key"] for row in stored_rows(output, config)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_of_all_parts_follow_one_another(layout: str, shard: Shard) -> None:
    output = filled(shard, layout)
    assert [part.name for part in parts(output)] == ["000000", "000001", "000002"]
    assert keys(output) == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert keys(output, "rejected") == ["r0", "r2"]
    assert sorted(path.name for path in output.iterdir()) == [".work", "data", "rejected", "shards"]
    assert sorted(path.name for path in (output / "data").iterdir()) == ["000000", "000001", "000002"]


def test_a_part_is_the_same_files_as_a_run_of_its_rows(shard: Shard, run: Any) -> None:
    one = shard(7)
    for opened in (one, run):
        opened.add("a", "b")
        opened.add("r", verdict="reject")
        opened.finish()
    for config in ("data", "rejected"):
        theirs, ours = ([(path.name, path.read_bytes()) for path in one.shards(config)] for one in (run, one))
        assert ours == theirs


def test_a_commit_says_what_its_shard_came_to(shard: Shard) -> None:
    output = filled(shard)
    found = list(commits(output))
    assert [one.index for one in found] == [0, 1, 2]
    assert found[0].totals.counts == {"done": 3, "keep": 2, "reject": 1}
    assert found[0].totals.reasons == {"too dark": 1}
    assert (found[1].cut.first, found[1].cut.items, found[1].cut.whole) == ("000001.jpg", 3, True)
    assert found[0].dataset is not None and found[0].dataset.configs["data"].rows == 2


def test_only_a_shard_with_its_commit_is_there(shard: Shard) -> None:
    output = filled(shard)
    late = shard(3)
    late.add("z")
    late.finish()
    assert "z" not in keys(output)
    assert part_facts(late.part).configs["data"].rows == 1
    late.commit()
    assert keys(output)[-1] == "z"


def test_a_folder_without_any_commit_is_no_dataset(shard: Shard) -> None:
    opened = shard(0)
    opened.add("a")
    opened.finish()
    with pytest.raises(RunError, match=r"holds no rows, as no shard of its run is made"):
        keys(opened.output)


def test_a_run_that_makes_no_rows_has_commits_and_no_dataset(shard: Shard) -> None:
    opened = shard(0)
    opened.journal.enrol([opened.sample_of("a")], None)
    commit = write_commit(opened.part, opened.journal, Cut(items=1, first="a.jpg", plan="", whole=False), None, "{}")
    assert list(commits(opened.output)) == [commit]
    with pytest.raises(RunError, match="holds no dataset, as its run makes no rows"):
        keys(opened.output)


@pytest.mark.parametrize("what", ["commit", "keys", "statistics"])
def test_a_changed_file_beside_a_shard_is_named(what: str, shard: Shard) -> None:
    output = filled(shard)
    path = getattr(Part.of_shard(output, 1), what)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match=path.name):
        RowStatistics.of_dataset(output)
        list(duplicates(parts(output)))


def test_rows_are_chosen_by_their_place_in_their_part(shard: Shard) -> None:
    output = filled(shard)
    ((number, row),) = chosen_rows(Part.of_shard(output, 2), "data", {1})
    assert (number, row.columns["key"]) == (1, "b2")


def test_a_gallery_reads_only_the_shards_that_it_shows(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    output = filled(shard)
    monkeypatch.setattr("driver.report.gallery.MAX_PAIRS", {"data": 2, "rejected": 0})
    monkeypatch.setattr("driver.report.figures.RowStatistics.ranking", lambda _: None)
    shutil.rmtree(output / "data" / "000001")
    shown = Gallery.of_dataset(output).pairs
    assert [one["key"] for one in shown["data"]] == ["a0", "b2"]


def test_a_shard_that_is_gone_is_named(shard: Shard) -> None:
    output = filled(shard)
    shutil.rmtree(output / "data" / "000001")
    with pytest.raises(ShardDamaged, match=r"data/000001/train-00000-of-00001.parquet: a shard is missing") as error:
        keys(output)
    assert error.value.part == Part.of_shard(output, 1)


def test_an_open_shard_is_written_again_as_a_run_is(shard: Shard) -> None:
    output = filled(shard)
    before, digest = (output / "data/000001/train-00000-of-00001.parquet").stat().st_ino, dataset_digest(output)
    again = shard(1)
    reopen(again.part)
    assert not committed(again.part).cut.whole
    assert keys(output) == ["a0", "b0", "a1", "b1", "a2", "b2"]
    again.add("late", verdict="reject")
    again.finish()
    assert read_commit(again.part) is None
    again.commit()
    assert keys(output, "rejected") == ["r0", "late", "r2"]
    assert (output / "data/000001/train-00000-of-00001.parquet").stat().st_ino == before, "rows that did not change"
    assert dataset_digest(output) != digest


def test_a_damaged_shard_is_looked_through_when_it_is_opened_again(shard: Shard) -> None:
    output = filled(shard)
    path = output / "data/000001/train-00000-of-00001.parquet"
    data = path.read_bytes()
    path.write_bytes(data.replace(shard(1).png("a1", "output")[40:60], b"x" * 20))
    for old in (path, Part.of_shard(output, 1).commit):
        os.utime(old, (10**9, 10**9))
    with pytest.raises(ShardDamaged):
        keys(output)
    again = shard(1)
    reopen(again.part)
    again.finish()
    assert [one.sample.key for one in again.journal.waiting((-1, ""), 9)] == ["a1"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_killed_at_any_rename_a_shard_is_the_old_one_the_new_one_or_not_there(
    layout: str, shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same steps again make it whole; of other shards nothing is touched."""
    output = filled(shard, layout)
    others = [row for row in keys(output) if not row.endswith("1")]
    opened, seen = shard(1), set()
    for step in range(100):
        opened.add(f"c{step}")
        old = {key for key in keys(output) if key not in others}
        if not killed_at(monkeypatch, lambda: opened.commit(layout), step):
            break
        commit = read_commit(opened.part)
        there = {key for key in keys(output) if key not in others}
        seen.add((commit is None, there == old))
        assert there in ({*old, f"c{step}"}, old) if commit else not there
        assert [key for key in keys(output) if key in others] == others
        restore(opened.part)
        assert not unfinished(opened.part)
        opened.commit(layout)
        assert {key for key in keys(output) if key not in others} == {*old, f"c{step}"}
        for row in stored_rows(output, "data"):
            assert row.outputs == (opened.png(row.columns["key"], "output"),)
    assert step > 8, "fewer renames than a commit has"
    assert {(False, True), (True, False)} <= seen


def test_an_export_holds_the_rows_of_all_parts(shard: Shard, tmp_path: Path) -> None:
    output = filled(shard)
    assert export(output, "diffsynth", tmp_path / "export", "hard").rows == 6
    assert len(finished_parts(output)) == 3


def test_labels_are_asked_for_of_all_parts(shard: Shard) -> None:
    output = filled(shard)
    drawn = draw(output, 8, 0, per_task=False)
    assert sorted(row.key for row in drawn) == ["a0", "a1", "a2", "b0", "b1", "b2", "r0", "r2"]
    review = Review(output, drawn, Labels(output), None)
    for row in drawn:
        assert review.image(row.key, "after", 0) == shard(int(row.key[1])).png(row.key, "output")
        review.give(row.key, "keep")
    assert report(output, 0.5)["keep_precision"]["n"] == 6
    again = shard(1)
    again.commit()
    assert review.image("a1", "after", 0), "the same rows"
    again.add("late")
    again.commit()
    with pytest.raises(RunError, match="the run went on"):
        review.image("a1", "after", 0)
    assert review.image("a2", "after", 0)


@pytest.mark.parametrize("layout", ["hf", "wds"])
def test_rows_of_all_parts_are_an_input(layout: str, shard: Shard) -> None:
    """Kept ones by the run's folder, others by their config, and the tables beside them are no part of it."""
    output = filled(shard, layout)
    write_card(output, SUMMARY, {"editpairs": "0", "comfyui": "0"}, RowStatistics.of_dataset(output))
    for name in ("failed", "telemetry"):
        write_table(output / f"{name}.parquet", [], FAILED_SCHEMA)
    aim = Aim(VERIFY, frozenset({"edited"}))
    for path, expected in ((output, keys(output)), (output / "rejected", keys(output, "rejected"))):
        assert len(samples(Source(path).plan([aim], "all", 0))) == len(expected)


def test_a_run_has_as_many_shards_as_names(tmp_path: Path) -> None:
    assert Part.of_shard(tmp_path, 999_999).name == "999999"
    with pytest.raises(RunError, match="choose a larger --shard-size"):
        Part.of_shard(tmp_path, 1_000_000)


def test_what_commits_come_to_is_what_one_journal_would(shard: Shard, run: Any) -> None:
    output = filled(shard)
    for index in range(3):
        run.add(f"a{index}", f"b{index}")
    run.add("r0", "r2", verdict="reject", reject_reason="too dark: 3")
    assert Totals.of_commits(commits(output)) == Totals.of_journal(run.journal)


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_of_a_run_are_those_of_its_shards(table: str, shard: Shard, run: Any, tmp_path: Path) -> None:
    """In the input's order, byte for byte but for times."""
    fault = SampleFailure(stage="edit", node="9", error_type="NodeError", message="it broke")
    for index in range(3):
        for opened in (run, shard(index)):
            opened.add(f"k{index}a")
            for key, failure in ((f"k{index}b", fault), (f"k{index}c", replace(fault, skipped=True))):
                opened.journal.enrol([opened.sample_of(key)], None)
                opened.journal.failed(key, failure)
            opened.journal._db.execute("UPDATE samples SET finished_at = 1.5, queued_at = 0.5, transfer_s = 0.1")
            if opened is not run:
                opened.commit()
    one, many = tmp_path / "one.parquet", tmp_path / "many.parquet"
    write_table(one, journal_rows(run.journal, table), TABLES[table])
    join_tables(many, ended_tables(parts(tmp_path / "many"), table), TABLES[table])
    assert many.read_bytes() == one.read_bytes()
    assert pq.read_metadata(one).num_rows == (9 if table == "telemetry" else 3)
    Part.of_shard(tmp_path / "many", 1).table(table).write_bytes(b"PAR1")
    with pytest.raises(RunError, match=rf"000001\.{table}\.parquet: is missing or damaged"):
        list(ended_tables(parts(tmp_path / "many"), table))


def test_report_and_figures_are_those_of_a_run_of_one_shard(shard: Shard, run: Any, tmp_path: Path) -> None:
    """Byte for byte, pictures too."""
    many = tmp_path / "of-many" / tmp_path.name
    for index in range(7):
        score = (
            Score(name="judge.overall", value=(index * 5) % 7 / 3),
            Score(name="judge.keep", value=float(index % 3 > 0)),
        )
        for opened in (run, shard(index, many)):
            opened.add(f"k{index}a", scores=score, task="add" if index % 2 else "remove")
            why = "too dark: 3" if index < 2 else "too bright: 4"
            opened.add(
                f"k{index}b", verdict=["reject", "keep", "unscored"][index % 3], reject_reason=why, scores=score[:1]
            )
            if opened is not run:
                opened.commit()
    run.finish()
    for output in (run.output, many):
        write_report(output, SUMMARY, [], [], {"editpairs": "0", "comfyui": "0"}, Gallery.of_dataset(output))
    for name in ("summary.json", "report.html"):
        assert (many / name).read_bytes() == (run.output / name).read_bytes()
    assert len(json.loads((many / "summary.json").read_bytes())["scores"]) == 2


class TestDuplicates:
    def test_a_sample_in_two_shards_is_found_with_both(self, shard: Shard) -> None:
        output = filled(shard, count=2)
        for index in (2, 3):
            opened = shard(index)
            opened.add("a0", f"n{index}", verdict="keep" if index == 2 else "reject")
            opened.commit()
        first, *_, third, fourth = parts(output)
        assert list(duplicates(parts(output))) == [Twice("a0", first, third), Twice("a0", first, fourth)]

    def test_shards_that_share_nothing_are_not_looked_into(self, shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
        output = filled(shard)
        monkeypatch.setattr(commits_module, "read_table", None)
        assert list(duplicates(parts(output))) == []

    def test_equal_hashes_of_other_keys_are_none(self, shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
        real = commits_module.hashlib.blake2b
        same = {b"b0": b"a1"}
        monkeypatch.setattr(
            commits_module.hashlib,
            "blake2b",
            lambda key, digest_size: real(same.get(key, key), digest_size=digest_size),
        )
        assert list(duplicates(parts(filled(shard)))) == []

    def test_a_key_is_looked_for_where_its_hash_is(self, shard: Shard) -> None:
        output = filled(shard)
        assert list(parts_with(output, "b1")) == [Part.of_shard(output, 1)]
        assert list(parts_with(output, "nobody")) == []
