"""Rows to parquet: the contract's columns, images whole, nothing lost or doubled over several finishes."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from comfy_nodes.core.models import Model
from comfy_nodes.core.records import RegionRecord, Score
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Region
from comfy_nodes.core.verdicts.verdicts import Judge
from driver.dataset.dataset import COMMIT, read_facts, restore, unfinished
from driver.dataset.layouts.hf import HfLayout
from driver.dataset.parts import Part
from driver.dataset.rows import RunFacts
from driver.errors import RunError
from tests.unit.killing import killed_at

FACTS = RunFacts("remove", "a" * 64, "b" * 64, "classical")

CONTRACT = {
    "key": "string", "task": "string", "subtask": "string", "slot": "string", "lang": "string",
    "input_images": "list<struct<bytes: binary, path: string>>", "output_images": "list<struct<bytes: binary, path: string>>",
    "prompt": "string", "initial_prompt": "string", "restated_prompt": "string", "editor_prompt": "string",
    "prompt_en": "string", "prompt_cn": "string",
    "verdict": "string", "reject_reason": "string", "vouched_by": "list<string>", "scores": "list<struct<name: string, value: double>>",
    "judge": "struct<model: string, prompt_version: string, reply: string>", "class_name": "string", "bbox": "list<float>",
    "mask": "struct<size: list<int32>, counts: string>",
    "regions": "list<struct<op: string, class_name: string, bbox: list<float>, mask: struct<size: list<int32>, counts: string>>>",
    "edit_mask": "struct<size: list<int32>, counts: string>",
    "models": "list<struct<role: string, name: string, sha256: string, revision: string, licence: string>>",
    "source_id": "string", "source_path": "string", "source_sha256": "string", "source_licence": "string",
    "source_url": "string", "crop": "list<float>", "workflow": "string", "workflow_sha256": "string",
    "stage_sha256": "string", "profile": "string", "seed": "int64", "attempt": "int32", "width": "int32",
    "height": "int32",
    "turn": "struct<dialogue: string, number: int32, of: int32, base: int32, op: string, premise: string, mask_from: string>",
    "derived_kind": "string", "derived_from": "list<string>", "schema_version": "int32",
}  # fmt: skip
"""The columns by hand, in Arrow's words without its names of list elements."""


def test_the_columns_are_the_contracts(run: Any) -> None:
    run.add("a")
    run.finish()
    found = {field.name: re.sub("(element|item): ", "", str(field.type)) for field in pq.read_schema(run.shards()[0])}
    assert list(found.items()) == list(CONTRACT.items())


def test_a_row_holds_all_that_its_record_says(run: Any) -> None:
    mask = rle.encode(run.pixels("a", "mask")[..., 0] > 99)
    region = Region(class_name="cup", bbox=(1, 2, 5, 6.5), mask=mask)
    second = Region(class_name="jug", bbox=(0, 0, 2, 2))
    run.add(
        "a",
        scores=(Score(name="pixel.outside_max", value=0.0), Score(name="judge.quality", value=4.5)),
        judge=Judge(model="m", prompt_version="1", reply="It is\nfine."),
        regions=(RegionRecord.of("remove", region), RegionRecord.of("add", second)),
        edit_mask=mask,
        models=(Model(role="editor", name="flux"),),
        crop=(0.0, 0.0, 10.0, 6.0),
        source_licence="CC0",
        seed=2**53 - 1,
    )
    run.finish()
    (row,) = run.rows()
    assert row["scores"] == [{"name": "pixel.outside_max", "value": 0.0}, {"name": "judge.quality", "value": 4.5}]
    assert row["judge"] == {"model": "m", "prompt_version": "1", "reply": "It is\nfine."}
    assert (row["class_name"], row["bbox"], row["mask"]) == (
        "cup",
        [1, 2, 5, 6.5],
        mask.model_dump() | {"size": [12, 12]},
    )
    assert [(one["op"], one["class_name"], one["mask"] is None) for one in row["regions"]] == [
        ("remove", "cup", False),
        ("add", "jug", True),
    ]
    assert row["edit_mask"]["counts"] == mask.counts
    assert row["models"] == [{"role": "editor", "name": "flux", "sha256": None, "revision": None, "licence": None}]
    assert (row["crop"], row["source_licence"], row["source_url"], row["seed"]) == (
        [0, 0, 10, 6],
        "CC0",
        None,
        2**53 - 1,
    )
    assert (row["workflow"], row["profile"], row["attempt"], row["schema_version"]) == ("remove", "classical", 1, 1)


def test_a_row_without_region_judge_or_mask_has_nulls(run: Any) -> None:
    run.add("a")
    run.finish()
    (row,) = run.rows()
    assert [row[name] for name in ("class_name", "bbox", "mask", "edit_mask", "judge", "crop")] == [None] * 6
    assert (row["regions"], row["scores"], row["models"]) == ([], [], [])


def test_images_lie_in_the_rows_byte_for_byte(run: Any) -> None:
    run.add("a", "b")
    run.finish()
    for row in run.rows():
        for role in ("input", "output"):
            (image,) = row[f"{role}_images"]
            assert image == {"bytes": run.png(row["key"], role), "path": f"{row['key']}-{role}0.png"}


def test_kept_rows_and_others_are_two_configs(run: Any) -> None:
    run.add("a", "b")
    run.add("c", verdict="reject", reject_reason="too dark")
    run.add("d", verdict="unscored")
    run.finish()
    assert (run.keys(), run.keys("rejected")) == (["a", "b"], ["c", "d"])
    assert [row["verdict"] for row in run.rows("rejected")] == ["reject", "unscored"]


def again(run: Any, *keys: str) -> None:
    """Lets finished samples wait again, as if they had never been edited."""
    for key in keys:
        run.journal._db.execute("DELETE FROM records WHERE sample = ?", (key,))
        run.journal._db.execute("UPDATE samples SET state = 'pending', attempts = 0 WHERE key = ?", (key,))


class TestFinishingAgain:
    def test_old_images_come_from_the_shards(self, run: Any) -> None:
        run.add("b", "c")
        run.add("r", verdict="reject")
        run.finish()
        assert list(run.spool.folder.iterdir()) == []
        run.add("a", "b2")
        run.finish()
        assert sorted(run.keys()) == ["a", "b", "b2", "c"]
        assert run.keys("rejected") == ["r"]
        for row in run.rows() + run.rows("rejected"):
            assert row["output_images"][0]["bytes"] == run.png(row["key"], "output")
            assert row["input_images"][0]["bytes"] == run.png(row["key"], "input")

    def test_nothing_new_writes_the_same(self, run: Any) -> None:
        run.add("a", "b")
        run.finish()
        before = [path.read_bytes() for path in run.shards()]
        run.finish()
        assert [path.read_bytes() for path in run.shards()] == before

    def test_a_row_may_change_sides(self, run: Any) -> None:
        run.add("a", "b", verdict="reject")
        run.finish()
        again(run, "a")
        run.add("a", verdict="keep", side=20)
        run.finish()
        assert (run.keys(), run.keys("rejected")) == (["a"], ["b"])
        assert run.rows()[0]["input_images"][0]["bytes"] == run.png("a", "input", 20)


class TestBeingKilled:
    @pytest.mark.parametrize("opened", [True, False], ids=["opened-again", "finished-again"])
    def test_at_any_rename_the_old_dataset_or_the_new_one_is_there(
        self, opened: bool, run: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = set()
        run.add("a", "b")
        run.add("r", verdict="reject")
        run.finish()
        for step in range(100):
            old = run.keys(), run.keys("rejected")
            again(run, "r")
            run.add("r", verdict="keep" if step % 2 else "reject")
            run.add(f"c{step}")
            if not killed_at(monkeypatch, run.finish, step):
                break
            new = unfinished(Part(run.output))
            seen.add(new)
            facts = read_facts(Part(run.output))
            if facts is not None:
                for config, held in facts.configs.items():
                    assert len(run.keys(config)) == held.rows, "the list speaks of other files than lie there"
            if opened:
                restore(Part(run.output))
                assert not unfinished(Part(run.output))
                assert read_facts(Part(run.output)) is not None
                found = run.keys(), run.keys("rejected")
                assert (found == old) is not new, "what lies there is neither the old dataset nor the new one"
            run.finish()
            everything = run.keys() + run.keys("rejected")
            assert sorted(everything) == sorted(["a", "b", "r", *(f"c{number}" for number in range(step + 1))])
            for row in run.rows() + run.rows("rejected"):
                assert row["output_images"][0]["bytes"] == run.png(row["key"], "output")
        assert step > 6, "fewer renames than a finish has"
        assert seen == {False, True}

    def test_ctrl_c_between_two_renames_ends_the_finish(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        run.add("a")
        run.finish()
        run.add("b")
        real, raised = Path.rename, []

        def rename(path: Path, target: Path) -> Path:
            if path.name == "rejected.new" and not raised:
                raised.append(path)
                raise KeyboardInterrupt
            return real(path, target)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Path, "rename", rename)
            run.finish()
        assert sorted(run.keys()) == ["a", "b"]
        assert not unfinished(Part(run.output))

    def test_a_full_disk_leaves_the_old_dataset_and_takes_no_room(
        self, run: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run.add("a")
        run.finish()
        run.add("b")

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched, pytest.raises(RunError, match="is full: make room") as error:
            patched.setattr("driver.dataset.layouts.hf._HfFile.close", full)
            run.finish()
        assert error.value.status == 1
        assert run.keys() == ["a"]
        assert not list((run.output / ".work").glob("*.new"))
        run.finish()
        assert sorted(run.keys()) == ["a", "b"]

    def test_an_error_while_the_next_rows_are_fetched_comes_up(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Groups are written beside the thread that fetches."""
        monkeypatch.setattr(HfLayout, "group_size", 1)
        run.add("a", "b", "c")

        def broken(*_: Any) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr("driver.dataset.layouts.hf._HfFile.write", broken)
        with pytest.raises(RunError, match="cannot be written"):
            run.finish()
        assert not (run.output / "data").exists()

    def test_leftovers_of_a_killed_finish_do_no_harm(self, run: Any) -> None:
        for name in ("data.new", "rejected.new", "data.old"):
            (run.output / ".work" / name).mkdir()
        (run.output / ".work" / f"{COMMIT}.part").write_text("half")
        for name in ("data.new", "rejected.new", "data.old"):
            (run.output / ".work" / name / "part-00000.parquet").write_bytes(b"half")
        run.add("a")
        (run.output / "data").mkdir()
        run.finish()
        assert (run.keys(), run.keys("rejected")) == (["a"], [])


class TestSplitting:
    @pytest.fixture
    def one(self, run: Any) -> int:
        """About the bytes that a row counts for."""
        run.add("k")
        run.finish()
        again(run, "k")
        facts = read_facts(Part(run.output))
        assert facts is not None
        return int(facts.configs["data"].size)

    @pytest.mark.parametrize(("rows_in_group", "rows_in_shard", "shards", "groups"), [
        (2, 100, 1, [[2, 2, 2, 1]]), (100, 3, 3, [[3], [3], [1]]), (2, 4, 2, [[2, 2], [2, 1]]), (1, 1, 7, [[1]] * 7),
    ])  # fmt: skip
    def test_groups_and_shards(
        self, rows_in_group: int, rows_in_shard: int, shards: int, groups: list[list[int]], one: int, run: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(HfLayout, "group_size", int(one * (rows_in_group - 0.5)))
        monkeypatch.setattr(HfLayout, "shard_size", int(one * (rows_in_shard - 0.5)))
        keys = [f"k{number}" for number in range(7)]
        run.add(*keys)
        run.finish()
        names = [f"train-{number:05d}-of-{shards:05d}.parquet" for number in range(shards)]
        assert [path.name for path in run.shards()] == names
        found = [pq.read_metadata(path) for path in run.shards()]
        assert [[meta.row_group(g).num_rows for g in range(meta.num_row_groups)] for meta in found] == groups
        assert run.keys() == keys
        run.add("k7")
        run.finish()
        assert sorted(run.keys()) == [*keys, "k7"]
        assert all(row["input_images"][0]["bytes"] == run.png(row["key"], "input") for row in run.rows())

    def test_a_row_larger_than_a_shard_is_a_shard(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(HfLayout, "group_size", 10)
        monkeypatch.setattr(HfLayout, "shard_size", 10)
        run.add("a", "b")
        run.finish()
        assert len(run.shards()) == 2
        assert run.keys() == ["a", "b"]
