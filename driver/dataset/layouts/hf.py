"""The layout `hf`: parquet with the images inside, as the hub's viewer and `datasets` 2 to 5 read it.

Image columns are neither compressed nor dictionary-encoded; data pages end where the content says, so that a store that
deduplicates finds what it has.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..groups import STREAMS, grouped_table, pictures_of, schema_of
from ..rows import IMAGE_COLUMNS, IMAGES, PLAIN, SCHEMA, Pair, Row, as_rows, features, table
from .layout import CardPart, Layout, Shard, ShardFile, StoredRow


def _leaves(name: str, kind: pa.DataType) -> list[str]:
    """Parquet's names of the leaf columns below a field."""
    if pa.types.is_list(kind):
        return _leaves(f"{name}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{name}.{field.name}", field.type)]
    return [name]


_WRITING: dict[str, Any] = {"write_page_index": True}
if "use_content_defined_chunking" in inspect.signature(pq.ParquetWriter.__init__).parameters or (
    "use_content_defined_chunking" in (pq.ParquetWriter.__doc__ or "")
):
    _WRITING["use_content_defined_chunking"] = True


def _metadata(schema: pa.Schema) -> dict[str, str]:
    return {"huggingface": json.dumps({"info": {"features": features(schema)}})}


def _columns_written(schema: pa.Schema) -> dict[str, Any]:
    """How each column is written: PNGs don't get smaller, and dictionaries of them only cost memory."""
    leaves = {
        leaf: field.type == IMAGES and leaf.endswith(".bytes")
        for field in schema
        for leaf in _leaves(field.name, field.type)
    }
    return {
        "compression": {leaf: "NONE" if pictures else "SNAPPY" for leaf, pictures in leaves.items()},
        "use_dictionary": [leaf for leaf, pictures in leaves.items() if not pictures],
    }


def parquet_writer(path: Path, schema: pa.Schema = SCHEMA) -> pq.ParquetWriter:
    """A writer of shards of this layout, for tables of `schema`."""
    return pq.ParquetWriter(path, schema.with_metadata(_metadata(schema)), **_columns_written(schema), **_WRITING)


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


def _grouped_places(file: pq.ParquetFile, within: str) -> Iterator[tuple[str, int]]:
    """The same of rows that are within records: row group, record in it, and row in that.

    Args:
        within: the column that holds them.
    """
    for group in range(file.num_row_groups):
        records = file.read_row_group(group, columns=[f"{within}.list.element.key"])[within].to_pylist()
        for record, rows in enumerate(records):
            yield from ((row["key"], group << 32 | record << 16 | number) for number, row in enumerate(rows))


def _record_and_row(row: int) -> tuple[int, int]:
    return row >> 16, row & 0xFFFF


class HfLayout(Layout):
    name = "hf"
    shard_size = 400_000_000
    """The hub's viewer wants less than 500 MB; the row that fills a shard may have the rest. Ours."""
    group_size = 32_000_000
    """A row group; the hub's viewer wants less than 100 MB. Ours: a third of it, as it is what memory holds."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[tuple[str, int], pa.Table]] = {}

    def settings(self) -> list[Any]:
        schemas = [SCHEMA, *map(schema_of, STREAMS)]
        return [*((str(one), _metadata(one)["huggingface"]) for one in schemas), sorted(map(str, _WRITING.items()))]

    def stream(self, row: Row) -> str:
        return row.grouped_as or "train"

    def open(self, folder: Path, stream: str, number: int) -> ShardFile:
        return _HfFile(folder, stream, f"{stream}-{number:05d}.parquet")

    def final_name(self, file: str, shards: int) -> str:
        return file.replace(".parquet", f"-of-{shards:05d}.parquet")

    def written_name(self, file: str) -> str:
        return re.sub(r"-of-\d{5}\.parquet$", ".parquet", file)

    def found(self, folder: Path) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        for path in sorted(folder.glob("*.parquet")):
            if name := re.fullmatch(self.names(), path.name):
                yield name[1], int(name[2]), (path.name,)

    def names(self) -> str:
        return rf"({'|'.join(('train', *STREAMS))})-(\d{{5}})-of-\d{{5}}\.parquet"

    def index(self, folder: Path, shard: Shard) -> Iterator[tuple[str, int]]:
        within = STREAMS.get(shard.stream)
        with pq.ParquetFile(folder / shard.files[0]) as file:
            yield from _grouped_places(file, within) if within else key_places(file)

    def images(self, folder: Path, shard: Shard, place: int) -> tuple[list[bytes], list[bytes]]:
        group, row = _group_and_row(place)
        if shard.stream in STREAMS:
            number, row = _record_and_row(row)
            record = self._row_group(folder, shard, group, ["states", "data"]).slice(number, 1).to_pylist()[0]
            return pictures_of(record["data"][row], _by_name(record))
        held = self._row_group(folder, shard, group, IMAGE_COLUMNS)
        before, after = ([image["bytes"] for image in held[name][row].as_py()] for name in IMAGE_COLUMNS)
        return before, after

    def _row_group(self, folder: Path, shard: Shard, group: int, columns: Sequence[str]) -> pa.Table:
        """Images with what belongs to them. One row group of each config is remembered, as rows mostly come in order."""
        known = self._read.get(folder)
        if known is None or known[0] != (shard.files[0], group):
            with pq.ParquetFile(folder / shard.files[0]) as file:
                known = (shard.files[0], group), file.read_row_group(group, columns=list(columns))
            self._read[folder] = known
        return known[1]

    def columns(self, folder: Path, shard: Shard, place: int) -> dict[str, Any]:
        with pq.ParquetFile(folder / shard.files[0]) as file:
            if within := STREAMS.get(shard.stream):
                group, row = _group_and_row(place)
                record, row = _record_and_row(row)
                (rows,) = file.read_row_group(group, columns=[within])[within].slice(record, 1).to_pylist()
                return dict(rows[row])
            return columns_at(file, place)

    def rows(self, folder: Path, shard: Shard, images: bool) -> Iterator[StoredRow]:
        if within := STREAMS.get(shard.stream):
            yield from self._grouped_rows(folder / shard.files[0], within, images)
            return
        columns = SCHEMA.names if images else PLAIN.names
        with pq.ParquetFile(folder / shard.files[0]) as file:
            for group in range(file.num_row_groups):
                for batch in file.read_row_group(group, columns=columns).to_batches(max_chunksize=64):
                    for row in batch.to_pylist():
                        held = [[one["bytes"] for one in row.pop(name)] for name in IMAGE_COLUMNS] if images else []
                        yield StoredRow.of(row, *held)

    @staticmethod
    def _grouped_rows(path: Path, within: str, images: bool) -> Iterator[StoredRow]:
        columns = [within, "data", "states"] if images else [within]
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                for batch in file.read_row_group(group, columns=columns).to_batches(max_chunksize=16):
                    for record in batch.to_pylist():
                        states = _by_name(record) if images else {}
                        for number, row in enumerate(record[within]):
                            yield StoredRow.of(row, *(pictures_of(record["data"][number], states) if images else ()))

    def tables(self, folder: Path, shard: Shard) -> Iterator[pa.Table]:
        if shard.stream in STREAMS:
            yield from super().tables(folder, shard)
            return
        path = folder / shard.files[0]
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield as_rows(file.read_row_group(group), path)

    def card(self, folder: str, streams: Sequence[str]) -> list[CardPart]:
        if not set(STREAMS) & set(streams):
            return [CardPart("", (f"{folder}/*.parquet",), tuple(streams))]
        ordered = sorted(streams, key=lambda one: one in STREAMS)
        found = [CardPart(stream, (f"{folder}/{stream}-*.parquet",), (stream,)) for stream in ordered]
        # The first goes by the config's name too: dialogues alone are what is opened unasked.
        return [replace(found[0], name=""), *(one for one in found if one.name in STREAMS)]


def _by_name(record: dict[str, Any]) -> dict[str, bytes]:
    """A record's pictures."""
    return {one["path"]: one["bytes"] for one in record["states"]}


class _HfFile(ShardFile):
    def __init__(self, folder: Path, stream: str, name: str):
        self._stream, self._name = stream, name
        self._writer = parquet_writer(folder / name, schema_of(stream) if stream in STREAMS else SCHEMA)

    def prepare(self, pairs: Sequence[Pair]) -> pa.Table:
        return grouped_table(pairs, self._stream) if self._stream in STREAMS else table(pairs)

    def write(self, prepared: pa.Table) -> None:
        self._writer.write_table(prepared)

    def close(self) -> tuple[str, ...]:
        self._writer.close()
        return (self._name,)
