"""The small tables beside the dataset, `failed.parquet`, `skipped.parquet` and `telemetry.parquet`, written as their rows come,
and those of each shard, which make up the run's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from comfy_nodes.core.whole_files import replacing

from ..disk import disk_errors
from ..journal import Journal

FAILED_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("key", "source_id", "task", "stage", "node", "error_type", "message")]
    + [("attempts", pa.int32())]
)

TELEMETRY_SCHEMA = pa.schema(
    [("key", pa.string()), ("state", pa.string()), ("server", pa.string())]
    + [(name, pa.int32()) for name in ("attempts", "submissions", "faults", "deaths")]
    + [(name, pa.float64()) for name in ("queued_at", "finished_at", "execution_s", "transfer_s")]
)

TABLES = {"failed": FAILED_SCHEMA, "skipped": FAILED_SCHEMA, "telemetry": TELEMETRY_SCHEMA}
"""Their columns, by their names."""

_BATCH = 20_000
"""Rows that are held at once. Ours."""


def write_table(path: Path, rows: Iterable[Mapping[str, object]], schema: pa.Schema) -> None:
    """Replaces a table in one step.

    Args:
        rows: dicts with the schema's columns; further entries are passed over.

    Raises:
        RunError: the disk is full.
    """
    _write(path, _tables_of(rows, schema), schema)


def join_tables(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Replaces a table in one step by several, one behind the other: the same bytes as of all their rows.

    Args:
        tables: of this schema.

    Raises:
        RunError: the disk is full.
    """
    _write(path, _gathered(tables), schema)


def _write(path: Path, groups: Iterable[pa.Table], schema: pa.Schema) -> None:
    with disk_errors(path.parent), replacing(path) as file, pq.ParquetWriter(file, schema) as writer:
        for group in groups:
            writer.write_table(group)


def _tables_of(rows: Iterable[Mapping[str, object]], schema: pa.Schema) -> Iterator[pa.Table]:
    remaining = iter(rows)
    while batch := list(islice(remaining, _BATCH)):
        text = "\n".join(json.dumps(dict(row)) for row in batch).encode()
        table = pyarrow.json.read_json(
            pa.BufferReader(text),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
        yield table.select(schema.names)


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of tables, as many in one as are held at once."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= _BATCH:
            joined = pa.concat_tables(held).combine_chunks()
            while len(joined) >= _BATCH:
                yield joined.slice(0, _BATCH)
                joined = joined.slice(_BATCH)
            held = [joined]
    if any(map(len, held)):
        yield pa.concat_tables(held).combine_chunks()


def journal_rows(journal: Journal, table: str) -> Iterator[dict[str, object]]:
    """The rows of a table, by the samples of a journal."""
    return journal.telemetry() if table == "telemetry" else journal.failures(skipped=table == "skipped")


def read_table(path: Path) -> pa.Table:
    """A table of a shard.

    Raises:
        OSError, ValueError: it is missing, or damaged.
    """
    with pq.ParquetFile(path) as file:
        return file.read(use_threads=False)


def table_rows(path: Path) -> Iterator[dict[str, object]]:
    """The rows of a table of a run, however long."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            yield from batch.to_pylist()
