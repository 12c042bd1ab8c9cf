"""Shards: the same rows give the same bytes, and what did not change is not written again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comfy_nodes.core.records import EditRecord
from driver.dataset.dataset import read_facts, write_dataset
from driver.dataset.layouts import hf as layout_hf
from driver.dataset.layouts.hf import HfLayout
from driver.dataset.layouts.imgedit import ImgEditLayout
from driver.dataset.layouts.wds import WdsLayout
from driver.dataset.parts import FACTS, Part
from driver.dataset.rows import NO_COLUMNS, SCHEMA, RunFacts, table
from driver.dataset.spool import Spool
from driver.journal import Journal

RUN_FACTS = RunFacts("remove", "a" * 64, "b" * 64, "classical")
LAYOUTS = {"hf": HfLayout, "imgedit": ImgEditLayout, "wds": WdsLayout}
KEYS = [f"k{number}" for number in range(7)]


def finish(run: Any, layout: str = "hf") -> None:
    write_dataset(run.journal, run.spool, Part(run.output), RUN_FACTS, layout)


def again(run: Any, *keys: str) -> None:
    """Lets finished samples wait again, as if they had never been edited."""
    for key in keys:
        run.journal._db.execute("DELETE FROM records WHERE sample = ?", (key,))
        run.journal._db.execute("UPDATE samples SET state = 'pending', attempts = 0 WHERE key = ?", (key,))


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def dataset_of(run: Any) -> dict[str, bytes]:
    """All that a finish puts in place, byte for byte."""
    found = {
        name: data for name, data in files_below(run.output).items() if not name.startswith((".work", "run.sqlite"))
    }
    assert FACTS in found
    return found


def inodes(run: Any, config: str = "data") -> list[int]:
    """Which files on disk the shards are, in their order; the last digits of their names change."""
    return [path.stat().st_ino for path in sorted((run.output / config).rglob("*.*")) if path.is_file()]


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory, run: Any) -> Iterator[Any]:
    """A second run in a folder of its own."""
    folder = tmp_path_factory.mktemp("other")
    journal = Journal(folder / "run.sqlite")
    yield type(run)(folder, journal, Spool(folder / ".work" / "spool"), run.sample_of, run.filed)
    journal.close()


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each layout, with shards of two rows in groups of one."""
    for kind in LAYOUTS.values():
        monkeypatch.setattr(kind, "group_size", 1)
        monkeypatch.setattr(kind, "shard_size", 2500)
    return str(request.param)


class TestTheSameBytes:
    def test_a_second_run_gives_the_same_files(self, run: Any, other: Any, layout: str) -> None:
        saved = {"filename": "z.png", "subfolder": "another", "type": "temp", "sha256": "0" * 64}
        run.add(*KEYS)
        run.add("r", verdict="reject")
        finish(run, layout)
        # In several goes, in another order of work, and with files of other names on the server.
        other.journal.enrol([other.sample_of(key) for key in (*KEYS, "r")], None)
        order = [*KEYS[4:], "r", *KEYS[:4]]
        for number, key in enumerate(order):
            for role in ("input", "output"):
                other.spool.put(key, role, 0, other.png(key, role))
            names = {f"{role}_images": [saved] for role in ("input", "output")}
            verdict = "reject" if key == "r" else "keep"
            rows = [other.filed(key, verdict, **names)]
            other.journal.done(key, rows, 0.1)
            if number % 3 == 2:
                finish(other, layout)
        finish(other, layout)
        assert dataset_of(other) == dataset_of(run)
        assert len(inodes(run)) > 3, "the shards were to be several"

    @pytest.mark.parametrize("before", LAYOUTS)
    def test_another_layout_takes_over(self, before: str, run: Any, other: Any, layout: str) -> None:
        for one in (run, other):
            one.add(*KEYS[:4])
            one.add("r", verdict="reject")
        finish(run, layout)
        finish(other, before)
        finish(other, layout)
        assert dataset_of(other) == dataset_of(run)


class TestWhatDidNotChange:
    def test_nothing_new_writes_nothing(self, run: Any, layout: str) -> None:
        run.add(*KEYS)
        run.add("r", verdict="reject")
        finish(run, layout)
        before = inodes(run), inodes(run, "rejected"), dataset_of(run)
        finish(run, layout)
        assert (inodes(run), inodes(run, "rejected"), dataset_of(run)) == before

    def test_more_rows_leave_all_but_the_last_shard(self, run: Any, layout: str) -> None:
        run.journal.enrol([run.sample_of(key) for key in [*KEYS, "k7", "k8"]], None)
        self.do(run, *KEYS)
        finish(run, layout)
        before = inodes(run)
        self.do(run, "k7", "k8")
        finish(run, layout)
        each = {"hf": 1, "wds": 1, "imgedit": 3}[layout]
        assert len(set(before) - set(inodes(run))) == each, "only the unfinished last shard was to go"

    def test_a_changed_row_costs_its_shard_only(self, run: Any, layout: str) -> None:
        run.add(*KEYS)
        finish(run, layout)
        before = inodes(run)
        again(run, "k2")
        self.do(run, "k2", prompt="Now another.")
        finish(run, layout)
        each = {"hf": 1, "wds": 1, "imgedit": 3}[layout]
        assert len(set(before) - set(inodes(run))) == each

    def test_changed_images_alone_are_a_change(self, run: Any, layout: str) -> None:
        run.add(*KEYS)
        finish(run, layout)
        before = dataset_of(run)
        again(run, "k0")
        image = {"filename": "a.png", "subfolder": "", "type": "output", "sha256": "1" * 64}
        self.do(run, "k0", side=13, output_images=[image])
        finish(run, layout)
        assert dataset_of(run) != before

    def test_a_missing_row_moves_those_behind_it(self, run: Any, other: Any, layout: str) -> None:
        run.add(*KEYS)
        finish(run, layout)
        again(run, "k1")
        finish(run, layout)
        other.add(*[key for key in KEYS if key != "k1"])
        finish(other, layout)
        assert files_below(run.output / "data") == files_below(other.output / "data")

    def test_other_settings_write_all_anew(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        run.add(*KEYS)
        finish(run)
        before = inodes(run)
        monkeypatch.setattr(HfLayout, "group_size", 1)
        finish(run)
        assert not set(before) & set(inodes(run))
        (shard,) = run.shards()
        assert pq.read_metadata(shard).num_row_groups == len(KEYS)

    def test_a_disk_without_links_takes_copies(self, run: Any, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
        run.add(*KEYS)
        finish(run, layout)
        before = dataset_of(run)

        def refuse(*_: Any) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
        finish(run, layout)
        assert dataset_of(run) == before

    def do(self, run: Any, *keys: str, side: int = 12, **fields: Any) -> None:
        """Edits samples that are enrolled, which leaves them their places."""
        for key in keys:
            for role in ("input", "output"):
                run.spool.put(key, role, 0, run.png(key, role, side))
            run.journal.done(key, [run.filed(key, **fields)], 0.1)


class TestTheList:
    def test_it_says_what_lies_there(self, run: Any, layout: str) -> None:
        run.add(*KEYS)
        run.add("r", verdict="reject")
        finish(run, layout)
        facts = read_facts(Part(run.output))
        assert facts is not None
        assert facts.layout == layout
        for config, held in facts.configs.items():
            listed = {name for shard in held.shards for name in shard.files}
            assert listed == set(files_below(run.output / config))
        assert facts.configs["data"].rows == sum(shard.rows for shard in facts.configs["data"].shards) == 7
        assert facts.configs["data"].tasks == {"remove": 7}
        assert facts.configs["rejected"].rows == 1


class TestParquet:
    def test_images_are_neither_compressed_nor_in_dictionaries(self, run: Any) -> None:
        run.add(*KEYS)
        finish(run)
        group = pq.read_metadata(run.shards()[0]).row_group(0)
        columns = {group.column(number).path_in_schema: group.column(number) for number in range(group.num_columns)}
        for name in ("input_images", "output_images"):
            column = columns[f"{name}.list.element.bytes"]
            assert column.compression == "UNCOMPRESSED"
            assert not any("DICTIONARY" in encoding for encoding in column.encodings)
        assert columns["prompt"].compression == "SNAPPY"
        assert all(column.has_offset_index for column in columns.values())

    @pytest.mark.skipif(
        "use_content_defined_chunking" not in (pq.ParquetWriter.__doc__ or ""), reason="pyarrow before 21"
    )
    def test_pages_end_where_the_content_says(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        run.add(*KEYS, side=400)
        finish(run)
        chunked = run.shards()[0].read_bytes()
        monkeypatch.setitem(layout_hf._WRITING, "use_content_defined_chunking", False)
        finish(run)
        assert run.shards()[0].read_bytes() != chunked

    def test_every_field_of_a_record_has_a_column(self) -> None:
        """Otherwise the finish of a run would stop at the first row."""
        assert set(EditRecord.model_fields) - NO_COLUMNS <= set(SCHEMA.names)

    def test_tables_are_what_from_pylist_makes(self, run: Any) -> None:
        run.add("a", "b")
        finish(run)
        found = pq.read_table(run.shards()[0])
        assert found.equals(pa.Table.from_pylist(found.to_pylist(), schema=SCHEMA))
        assert table([]).schema == SCHEMA

    def test_pandas_stays_out(self, tmp_path: Path, run: Any) -> None:
        """It costs half a second and 40 MB at the end of every run."""
        run.add("a", "b")
        code = """
import sys
from pathlib import Path
from driver.dataset.rows import RunFacts
from driver.dataset.dataset import write_dataset
from driver.dataset.parts import Part
from driver.journal import Journal
from driver.dataset.spool import Spool
from driver.dataset.tables import FAILED_SCHEMA, write_table
here = Path(sys.argv[1])
journal = Journal(here / "run.sqlite")
for layout in ("hf", "imgedit", "wds", "hf"):
    write_dataset(journal, Spool(here / ".work" / "spool"), Part(here), RunFacts("w", "a", "b", "c"), layout)
write_table(here / "failed.parquet", iter([{"key": "a", "attempts": 1}]), FAILED_SCHEMA)
assert "pandas" not in sys.modules
"""
        done = subprocess.run(
            [sys.executable, "-c", code, str(run.output)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
