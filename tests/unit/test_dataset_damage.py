"""What lies on disk and is not what its record says: found when shards are written, and that sample alone made again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driver.dataset.dataset import Written, chosen_rows, read_facts, stored_row, stored_rows, write_dataset
from driver.dataset.layouts.hf import HfLayout
from driver.dataset.parts import FACTS, Part
from driver.dataset.rows import IMAGE_COLUMNS, PLAIN, RunFacts
from driver.errors import RunError
from driver.pipeline.folder import OutputFolder

RUN_FACTS = RunFacts("remove", "a" * 64, "b" * 64, "classical")
LAYOUTS = pytest.mark.parametrize("layout", ["hf", "imgedit", "wds"])
KEYS = ["a", "b", "c", "d"]


def finish(run: Any, layout: str) -> Written:
    return write_dataset(run.journal, run.spool, Part(run.output), RUN_FACTS, layout)


def waiting(run: Any) -> list[str]:
    return [key for (key,) in run.journal._db.execute("SELECT key FROM samples WHERE state = 'pending' ORDER BY key")]


def held(run: Any, config: str = "data") -> dict[str, bool]:
    """Keys of a config's rows, and whether their pictures are theirs."""
    return {
        row.columns["key"]: (row.inputs, row.outputs)
        == ((run.png(row.columns["key"], "input"),), (run.png(row.columns["key"], "output"),))
        for row in stored_rows(run.output, config)
    }


def do_again(run: Any, *keys: str) -> None:
    """Edits samples that wait, as a run does."""
    for key in keys:
        for role in ("input", "output"):
            run.spool.put(key, role, 0, run.png(key, role))
        assert run.journal.done(key, [run.filed(key)], 0.1)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def swap(path: Path) -> None:
    """With the picture of another sample."""
    other = path.with_name(path.name.replace("b.", "c."))
    data = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)


DAMAGES = pytest.mark.parametrize(
    ("damage", "lost"), [(flip, ["b"]), (cut, ["b"]), (Path.unlink, ["b"]), (swap, ["b", "c"])],
    ids=["flipped", "cut", "missing", "swapped"],
)  # fmt: skip


@LAYOUTS
@DAMAGES
@pytest.mark.parametrize("role", ["input", "output"])
def test_a_damaged_spool(role: str, damage: Callable[[Path], None], lost: list[str], layout: str, run: Any) -> None:
    run.add(*KEYS)
    damage(run.spool.folder / f"b.{role}0.png")
    assert finish(run, layout).lost == tuple(lost)
    assert waiting(run) == lost
    assert held(run) == {key: True for key in KEYS if key not in lost}
    assert run.spool.empty
    do_again(run, *lost)
    assert finish(run, layout) == Written()
    assert held(run) == dict.fromkeys(KEYS, True)


def test_all_of_a_samples_rows_go_with_one(run: Any) -> None:
    """A dialogue with a hole in it is none."""
    run.add("a")
    run.journal.enrol([run.sample_of("m")], None)
    rows = []
    for number in range(3):
        for role in ("input", "output"):
            run.spool.put(f"m~{number}", role, 0, run.png(f"m~{number}", role))
        rows.append(run.filed(f"m~{number}", "reject" if number == 2 else "keep"))
    run.journal.done("m", rows, 0.1)
    flip(run.spool.folder / "m~1.output0.png")
    assert finish(run, "hf").lost == ("m",)
    assert (list(held(run)), list(held(run, "rejected"))) == (["a"], [])


@LAYOUTS
@pytest.mark.parametrize("damage", [cut, Path.unlink], ids=["cut", "missing"])
def test_a_damaged_shard(damage: Callable[[Path], None], layout: str, run: Any) -> None:
    run.add(*KEYS)
    finish(run, layout)
    for path in [path for path in (run.output / "data").rglob("*") if path.is_file()]:
        damage(path)
    run.add("e")
    written = finish(run, layout)
    assert set(waiting(run)) == set(written.lost)
    assert held(run) == {key: True for key in [*KEYS, "e"] if key not in written.lost}
    do_again(run, *written.lost)
    assert finish(run, layout) == Written()
    assert held(run) == dict.fromkeys([*KEYS, "e"], True)


def flip_a_picture(run: Any, key: str, role: str, unnoticed: bool) -> None:
    """Changes a byte of a picture in a shard; `unnoticed` as a disk does, which leaves the file's time as it was."""
    picture = run.png(key, role)
    (path,) = (path for path in (run.output / "data").rglob("*") if path.is_file() and picture in path.read_bytes())
    data, stat = bytearray(path.read_bytes()), path.stat()
    data[data.index(picture) + len(picture) // 2] ^= 1
    path.write_bytes(data)
    later = (run.output / FACTS).stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, stat.st_mtime_ns if unnoticed else later))


@LAYOUTS
@pytest.mark.parametrize("role", ["input", "output"])
def test_a_byte_of_a_shard_that_somebody_changed_is_found_when_it_would_stay(role: str, layout: str, run: Any) -> None:
    run.add(*KEYS)
    finish(run, layout)
    flip_a_picture(run, "b", role, unnoticed=False)
    assert finish(run, layout).lost == ("b",)
    do_again(run, "b")
    assert finish(run, layout) == Written()
    assert held(run) == dict.fromkeys(KEYS, True)


@LAYOUTS
def test_a_damaged_picture_that_somebody_reads_is_named_and_then_made_again(layout: str, run: Any) -> None:
    """By an export, the report, open.py."""
    run.add(*KEYS)
    finish(run, layout)
    flip_a_picture(run, "b", "output", unnoticed=True)
    with pytest.raises(
        RunError, match=r"a picture of row b is no whole PNG.*run the command that made it again"
    ) as error:
        list(stored_rows(run.output, "data"))
    assert error.value.status == 1
    assert finish(run, layout).lost == ("b",)


@LAYOUTS
def test_a_row_is_found_by_its_key_whatever_the_pictures_of_others_are(layout: str, run: Any) -> None:
    run.add(*KEYS)
    run.add("r", verdict="reject")
    finish(run, layout)
    rows = {row.columns["key"]: row for config in ("data", "rejected") for row in stored_rows(run.output, config)}
    assert {key: stored_row(Part(run.output), key) for key in (*KEYS, "r", "nobody")} == {**rows, "nobody": None}
    for key in ("a", "c", "d"):
        flip_a_picture(run, key, "input", unnoticed=True)
        flip_a_picture(run, key, "output", unnoticed=True)
    assert stored_row(Part(run.output), "b") == rows["b"]
    assert stored_row(Part(run.output), "r") == rows["r"]
    assert dict(chosen_rows(Part(run.output), "data", {1})) == {1: rows["b"]}
    with pytest.raises(RunError, match="a picture of row c is no whole PNG"):
        stored_row(Part(run.output), "c")


def test_a_key_is_looked_for_in_the_one_column_and_its_row_group_alone_is_read(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HfLayout, "group_rows", 1)
    run.add(*KEYS)
    finish(run, "hf")
    real, read = pq.ParquetFile.read_row_group, []

    def counted(file: pq.ParquetFile, group: int, columns: list[str]) -> pa.Table:
        read.append((group, set(columns)))
        return real(file, group, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    monkeypatch.setattr(pq.ParquetFile, "read", None)
    assert stored_row(Part(run.output), "c") is not None
    assert read == [(0, {"key"}), (1, {"key"}), (2, {"key"}), (2, {*PLAIN.names}), (2, {*IMAGE_COLUMNS})]


def test_the_report_of_a_damaged_dataset_has_it_mended(tmp_path: Path, run: Any) -> None:
    run.add(*KEYS)
    folder = OutputFolder(tmp_path / "out")
    run.journal, run.spool, run.output = folder.journal, folder.spool, folder.path
    run.add(*KEYS)
    folder.finish(RUN_FACTS, "remove", {}, "hf")
    assert folder.found == Written()
    flip_a_picture(run, "b", "output", unnoticed=True)
    summary = folder.finish(RUN_FACTS, "remove", {}, "hf")
    assert (folder.found.lost, summary.kept, summary.pending) == (("b",), 3, 1)
    folder.close()


@LAYOUTS
def test_a_byte_changed_anywhere_is_one_line_at_most(layout: str, run: Any) -> None:
    """Never a traceback, wherever it is, and the next finish has the sample again or makes it anew."""
    run.add("a", "b")
    finish(run, layout)
    rng = np.random.default_rng(3)
    for path in [path for path in (run.output / "data").rglob("*") if path.is_file()]:
        whole, stat = path.read_bytes(), path.stat()
        for at in rng.integers(0, len(whole), 25):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
            with contextlib.suppress(RunError):
                list(stored_rows(run.output, "data"))
            with contextlib.suppress(RunError):
                list(chosen_rows(Part(run.output), "data", {0, 1}))
            with contextlib.suppress(RunError):
                stored_row(Part(run.output), "b")
        path.write_bytes(whole)
        os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert finish(run, layout) == Written()


def edited(facts: dict[str, Any]) -> dict[str, Any]:
    facts["configs"]["data"]["shards"][0]["rows"] = 2
    return facts


def without_a_shard(facts: dict[str, Any]) -> dict[str, Any]:
    facts["configs"]["data"]["shards"] = []
    return facts


def outside(facts: dict[str, Any]) -> dict[str, Any]:
    facts.pop("seal")
    facts["configs"]["data"]["shards"][0]["files"] = ["../../../../etc/passwd"]
    return facts


LISTS: dict[str, Callable[[dict[str, Any]], Any] | None] = {
    "deleted": None,
    "emptied": lambda facts: {},
    "edited": edited,
    "without-a-shard": without_a_shard,
    "outside": outside,
    "without-a-config": lambda facts: {**facts, "configs": {}, "seal": ""},
    "of-another-layout": lambda facts: {**facts, "layout": "zip"},
}


@LAYOUTS
@pytest.mark.parametrize("how", LISTS)
def test_a_damaged_list_beside_whole_shards_is_made_anew(how: str, layout: str, run: Any) -> None:
    run.add(*KEYS)
    run.add("r", verdict="reject")
    finish(run, layout)
    path = run.output / FACTS
    before = path.read_bytes()
    change = LISTS[how]
    path.unlink() if change is None else path.write_text(json.dumps(change(json.loads(before))))
    with pytest.raises(RunError, match="run the command that makes it again") as error:
        list(stored_rows(run.output, "data"))
    assert "delete" not in str(error.value)
    assert finish(run, layout) == Written(rebuilt=True)
    assert path.read_bytes() == before
    assert held(run) == dict.fromkeys(KEYS, True)
    assert waiting(run) == []


def test_a_list_of_a_version_without_seals_is_read(run: Any) -> None:
    run.add("a")
    finish(run, "hf")
    facts = json.loads((run.output / FACTS).read_bytes())
    facts.pop("seal")
    for config in facts["configs"].values():
        for shard in config["shards"]:
            shard.pop("lengths")
    (run.output / FACTS).write_text(json.dumps(facts))
    assert read_facts(Part(run.output)) is not None
    inode = run.shards()[0].stat().st_ino
    assert finish(run, "hf") == Written()
    assert run.shards()[0].stat().st_ino == inode, "the shard was written anew"


def test_shards_that_were_taken_away_cost_their_samples_another_go(run: Any) -> None:
    run.add("a")
    finish(run, "hf")
    shutil.rmtree(run.output / "data")
    run.add("b")
    assert finish(run, "hf").lost == ("a",)
    assert held(run) == {"b": True}


HOSTILE = "../../../../escaped"


@LAYOUTS
def test_a_record_in_the_journal_whose_key_names_a_file_elsewhere_is_one_line(layout: str, run: Any) -> None:
    run.add("a")
    run.journal._db.execute('UPDATE records SET record = replace(record, \'"key":"a"\', ?)', (f'"key":"{HOSTILE}"',))
    with pytest.raises(RunError, match=r"the run's journal: .*key: .*not a key"):
        finish(run, layout)
    assert not (run.output / "data").exists()


def test_a_shard_with_a_key_that_names_a_file_elsewhere_is_not_read(run: Any) -> None:
    """Exports and opened rows name their files by it."""
    run.add("a")
    finish(run, "hf")
    (shard,) = run.shards()
    table = pq.read_table(shard)
    pq.write_table(table.set_column(0, "key", pa.array([HOSTILE])), shard)
    with pytest.raises(RunError, match="not a key"):
        list(stored_rows(run.output, "data"))
