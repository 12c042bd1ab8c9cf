"""The small tables beside the dataset."""

from __future__ import annotations

import errno
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from driver.dataset import tables
from driver.dataset.tables import FAILED_SCHEMA, TELEMETRY_SCHEMA, join_tables, write_table
from driver.errors import RunError


def test_rows_come_in_batches_and_keep_their_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BATCH", 3)
    path = tmp_path / "telemetry.parquet"
    rows = [{"key": f"k{n}", "attempts": n, "queued_at": n + 0.5, "finished_at": None, "more": 1} for n in range(7)]
    write_table(path, iter(rows), TELEMETRY_SCHEMA)
    found = pq.read_table(path)
    assert found.schema.equals(TELEMETRY_SCHEMA)
    assert [row["key"] for row in found.to_pylist()] == [row["key"] for row in rows]
    assert found.to_pylist()[2]["queued_at"] == 2.5
    assert found.to_pylist()[2]["server"] is None
    assert pq.read_metadata(path).num_row_groups == 3


@pytest.mark.parametrize("sizes", [(2, 0, 2, 2), (1, 8), (3, 3), (9,), ()])
def test_tables_are_joined_to_the_bytes_of_all_their_rows(
    sizes: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_BATCH", 3)
    rows = [{"key": f"k{n}", "server": "a" if n % 2 else None, "queued_at": n / 3} for n in range(sum(sizes))]
    write_table(tmp_path / "at_once.parquet", rows, TELEMETRY_SCHEMA)
    whole, starts = pq.read_table(tmp_path / "at_once.parquet"), [sum(sizes[:n]) for n in range(len(sizes))]
    several = (whole.slice(start, size) for start, size in zip(starts, sizes, strict=True))
    join_tables(tmp_path / "joined.parquet", several, TELEMETRY_SCHEMA)
    assert (tmp_path / "joined.parquet").read_bytes() == (tmp_path / "at_once.parquet").read_bytes()


def test_any_text_comes_back_as_it_was(tmp_path: Path) -> None:
    message = 'a "quoted"\nline, ü, \u2028, 🙂 and {"json": 1}'
    write_table(tmp_path / "failed.parquet", [{"key": "a", "message": message}], FAILED_SCHEMA)
    (row,) = pq.read_table(tmp_path / "failed.parquet").to_pylist()
    assert row["message"] == message


def test_no_rows_are_a_table_with_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "failed.parquet", [], FAILED_SCHEMA)
    assert pq.read_table(tmp_path / "failed.parquet").schema.equals(FAILED_SCHEMA)


def test_a_full_disk_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "failed.parquet"
    write_table(path, [{"key": "a"}], FAILED_SCHEMA)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(RunError, match="is full"):
        write_table(path, [{"key": "b"}], FAILED_SCHEMA)
    assert pq.read_table(path)["key"].to_pylist() == ["a"]
