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
    remaining = iter(rows)
    with disk_errors(path.parent), replacing(path) as file, pq.ParquetWriter(file, schema) as writer:
        while batch := list(islice(remaining, _BATCH)):
            text = "\n".join(json.dumps(dict(row)) for row in batch).encode()
            table = pyarrow.json.read_json(
                pa.BufferReader(text),
                pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
                pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
            )
            writer.write_table(table.select(schema.names))


def journal_rows(journal: Journal, table: str) -> Iterator[dict[str, object]]:
    """The rows of a table, by the samples of a journal."""
    return journal.telemetry() if table == "telemetry" else journal.failures(skipped=table == "skipped")


def table_rows(path: Path) -> Iterator[dict[str, object]]:
    """The rows of a table that was written.

    Raises:
        OSError, ValueError: it is missing, or damaged.
    """
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()
