"""The layout `hf`: parquet with the images inside, as the hub's viewer and `datasets` 2 to 5 read it.

Image columns are neither compressed nor dictionary-encoded; data pages end where the content says, so that a store that
deduplicates finds what it has.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..rows import IMAGE_COLUMNS, PLAIN, SCHEMA, Pair, Row, as_rows, features, table
from .layout import Layout, Shard, ShardFile, StoredRow


def _leaves(name: str, kind: pa.DataType) -> list[str]:
    """Parquet's names of the leaf columns below a field."""
    if pa.types.is_list(kind):
        return _leaves(f"{name}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{name}.{field.name}", field.type)]
    return [name]


_METADATA = {"huggingface": json.dumps({"info": {"features": features(SCHEMA)}})}
_BYTES = [f"{name}.list.element.bytes" for name in IMAGE_COLUMNS]
_OTHERS = [leaf for field in SCHEMA for leaf in _leaves(field.name, field.type) if leaf not in _BYTES]
_WRITING: dict[str, Any] = {
    # PNGs don't get smaller, and dictionaries of them only cost memory.
    "compression": dict.fromkeys(_OTHERS, "SNAPPY") | dict.fromkeys(_BYTES, "NONE"),
    "use_dictionary": _OTHERS,
    "write_page_index": True,
}
if "use_content_defined_chunking" in inspect.signature(pq.ParquetWriter.__init__).parameters or (
    "use_content_defined_chunking" in (pq.ParquetWriter.__doc__ or "")
):
    _WRITING["use_content_defined_chunking"] = True


def parquet_writer(path: Path) -> pq.ParquetWriter:
    """A writer of shards of this layout, for tables of `SCHEMA`."""
    return pq.ParquetWriter(path, SCHEMA.with_metadata(_METADATA), **_WRITING)


def key_places(file: pq.ParquetFile) -> Iterator[tuple[str, int]]:
    """Keys with their places, row group and row in it; reads the one column."""
    for group in range(file.num_row_groups):
        keys = file.read_row_group(group, columns=["key"])["key"].to_pylist()
        yield from ((key, group << 32 | row) for row, key in enumerate(keys))


def columns_at(file: pq.ParquetFile, place: int) -> dict[str, Any]:
    """A row's columns but for its images."""
    group, row = _group_and_row(place)
    (columns,) = file.read_row_group(group, columns=PLAIN.names).slice(row, 1).to_pylist()
    return dict(columns)


def _group_and_row(place: int) -> tuple[int, int]:
    return place >> 32, place & 0xFFFFFFFF


class HfLayout(Layout):
    name = "hf"
    shard_size = 400_000_000
    """The hub's viewer wants less than 500 MB; the row that fills a shard may have the rest. Ours."""
    group_size = 32_000_000
    """A row group; the hub's viewer wants less than 100 MB. Ours: a third of it, as it is what memory holds."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[int, pa.Table]] = {}

    def settings(self) -> list[Any]:
        return [str(SCHEMA), _METADATA["huggingface"], sorted(map(str, _WRITING.items()))]

    def stream(self, row: Row) -> str:
        return "train"

    def open(self, folder: Path, stream: str, number: int) -> ShardFile:
        return _HfFile(folder, f"{stream}-{number:05d}.parquet")

    def final_name(self, file: str, shards: int) -> str:
        return file.replace(".parquet", f"-of-{shards:05d}.parquet")

    def written_name(self, file: str) -> str:
        return re.sub(r"-of-\d{5}\.parquet$", ".parquet", file)

    def found(self, folder: Path) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        for path in sorted(folder.glob("*.parquet")):
            if name := re.fullmatch(self.names(), path.name):
                yield name[1], int(name[2]), (path.name,)

    def names(self) -> str:
        return r"(train)-(\d{5})-of-\d{5}\.parquet"

    def index(self, folder: Path, shard: Shard) -> Iterator[tuple[str, int]]:
        with pq.ParquetFile(folder / shard.files[0]) as file:
            yield from key_places(file)

    def images(self, folder: Path, shard: Shard, place: int) -> tuple[list[bytes], list[bytes]]:
        group, row = _group_and_row(place)
        # One row group of each config is remembered, as rows mostly come in order.
        known = self._read.get(folder)
        if known is None or known[0] != (shard.number << 32 | group):
            with pq.ParquetFile(folder / shard.files[0]) as file:
                known = shard.number << 32 | group, file.read_row_group(group, columns=list(IMAGE_COLUMNS))
            self._read[folder] = known
        before, after = ([image["bytes"] for image in known[1][name][row].as_py()] for name in IMAGE_COLUMNS)
        return before, after

    def columns(self, folder: Path, shard: Shard, place: int) -> dict[str, Any]:
        with pq.ParquetFile(folder / shard.files[0]) as file:
            return columns_at(file, place)

    def rows(self, folder: Path, shard: Shard, images: bool) -> Iterator[StoredRow]:
        columns = SCHEMA.names if images else PLAIN.names
        with pq.ParquetFile(folder / shard.files[0]) as file:
            for group in range(file.num_row_groups):
                for batch in file.read_row_group(group, columns=columns).to_batches(max_chunksize=64):
                    for row in batch.to_pylist():
                        held = [[one["bytes"] for one in row.pop(name)] for name in IMAGE_COLUMNS] if images else []
                        yield StoredRow.of(row, *held)

    def tables(self, folder: Path, shard: Shard) -> Iterator[pa.Table]:
        path = folder / shard.files[0]
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield as_rows(file.read_row_group(group), path)

    def card(self, config: str, streams: Sequence[str]) -> list[tuple[str, str]]:
        return [("", f"{config}/*.parquet")]


class _HfFile(ShardFile):
    def __init__(self, folder: Path, name: str):
        self._name = name
        self._writer = parquet_writer(folder / name)

    def prepare(self, pairs: Sequence[Pair]) -> pa.Table:
        return table(pairs)

    def write(self, prepared: pa.Table) -> None:
        self._writer.write_table(prepared)

    def close(self) -> tuple[str, ...]:
        self._writer.close()
        return (self._name,)
