"""The small tables of a release: which rows are in it, which are not and why, and in which split each photo is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from comfy_nodes.core.whole_files import replacing

from .manifest import SPLITS

INDEX = "index"
"""All rows, without what is in them."""

LEFT_OUT = "left_out"
"""All rows of the folders, and of the release before, that are not in it."""

PHOTOS = "photos"
"""The split of each photo and picture that this release or one before it has."""

SCHEMAS = {
    INDEX: pa.schema(
        [
            (name, pa.string())
            for name in ("key", "task", "subtask", "split", "source_id", "source_url", "source_sha256")
        ]
        + [("digest", pa.binary())]
    ),
    LEFT_OUT: pa.schema([(name, pa.string()) for name in ("key", "task", "subtask", "source_id", "folder", "reason")]),
    PHOTOS: pa.schema([("sha256", pa.binary(32)), ("split", pa.string())]),
}

_BATCH = 50_000
"""Rows that are written at once. Ours."""


class Released(NamedTuple):
    """A row of a release, as its index has it."""

    key: str
    task: str
    subtask: str
    split: str
    source_id: str
    source_url: str
    source_sha256: str
    digest: bytes


def write_index(path: Path, rows: Iterable[Released]) -> None:
    _write(path, INDEX, rows)


def write_left_out(path: Path, rows: Iterable[tuple[str, ...]]) -> None:
    """
    Args:
        rows: values of the table's columns.
    """
    _write(path, LEFT_OUT, rows)


def write_photos(path: Path, splits: Mapping[bytes, str]) -> None:
    """
    Args:
        splits: by SHA-256.
    """
    _write(path, PHOTOS, sorted(splits.items()))


def read_index(path: Path) -> Iterator[Released]:
    """
    Raises:
        OSError, ValueError: it is missing, or damaged.
    """
    return (Released(*values) for values in _read(path, INDEX))


def read_photos(path: Path) -> dict[bytes, str]:
    """
    Raises:
        OSError, ValueError: it is missing, or damaged.
    """
    found = {sha256: split for sha256, split in _read(path, PHOTOS)}
    if not set(found.values()) <= set(SPLITS):
        raise ValueError("it names a split that is none")
    return found


def _write(path: Path, name: str, rows: Iterable[tuple[object, ...]]) -> None:
    schema = SCHEMAS[name]
    with replacing(path) as file, pq.ParquetWriter(file, schema) as writer:
        held: list[tuple[object, ...]] = []
        for row in rows:
            held.append(row)
            if len(held) == _BATCH:
                writer.write_table(_table(held, schema))
                held = []
        writer.write_table(_table(held, schema))


def _table(rows: list[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
    return pa.Table.from_arrays(
        [pa.array(list(one), kind) for one, kind in zip(columns, schema.types, strict=True)], schema=schema
    )


def _read(path: Path, name: str) -> Iterator[tuple[Any, ...]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH, columns=SCHEMAS[name].names):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
