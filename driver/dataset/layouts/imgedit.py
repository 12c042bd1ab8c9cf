"""The layout `imgedit`: ImgEdit's parquet schema, folder and task names, with the images in tars of the same paths.

A shard is a part: `Singleturn/<archive>_partN.tar` and, for each task in it, `Parquet/<task>_partN.parquet` with ImgEdit's
columns and nothing else. All other columns are in `Columns/<task>_partN.parquet`, row beside row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comfy_nodes.core.imgedit import NAMES

from ...errors import RunError
from ..rows import PLAIN, Pair, Row, lists, plain_table, strings
from .hf import columns_at, key_places
from .layout import Layout, Shard, ShardFile, StoredRow
from .tars import TarMember, TarReader, TarWriter

_PATHS = pa.list_(pa.string())
_PAIR = [("input_images", _PATHS), ("output_images", _PATHS), ("prompt", pa.string())]
SINGLE = pa.schema(_PAIR)
MULTI = pa.schema([("data", pa.list_(pa.struct(_PAIR)))])
"""ImgEdit's two schemas, from its README."""

_Paths = tuple[list[str], list[str]]
"""A row's images, before and after the edit, as paths in the tar."""


class ImgEditLayout(Layout):
    name = "imgedit"
    shard_size = 1_000_000_000
    """A tar. ImgEdit cuts larger ones with `split`. Ours."""
    group_size = 32_000_000
    empty_stream = "empty"

    def settings(self) -> list[Any]:
        return [str(PLAIN), NAMES]

    def stream(self, row: Row) -> str:
        """
        Raises:
            RunError: ImgEdit has no such task.
        """
        if row.task not in NAMES:
            raise RunError(f"--layout imgedit: has no name for the task {row.task} (row {row.key}); use hf or wds", 1)
        return NAMES[row.task].archive

    def open(self, folder: Path, stream: str, number: int) -> ShardFile:
        return _NoRows(folder) if stream == self.empty_stream else _Part(folder, stream, number)

    def found(self, folder: Path) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        for path in sorted(folder.glob("*turn/*.tar")):
            if name := re.fullmatch(r"(results_.+)_part(\d+)\.tar", path.name):
                yield name[1], int(name[2]), (path.relative_to(folder).as_posix(),)

    def names(self) -> str:
        tables = "|".join([*(names.parquet for names in NAMES.values()), self.empty_stream])
        return rf"(Single|Multi)turn/results_.+_part\d+\.tar|(Parquet|Columns)/({tables})_part\d+\.parquet"

    def index(self, folder: Path, shard: Shard) -> Iterator[tuple[str, int]]:
        with TarReader(folder / shard.files[0]) as tar:
            yield from tar.index(_key_of)

    def images(self, folder: Path, shard: Shard, place: int) -> tuple[list[bytes], list[bytes]]:
        with TarReader(folder / shard.files[0]) as tar:
            return _images(tar, next(tar.groups(_key_of, place))[1])

    def columns(self, folder: Path, shard: Shard, place: int) -> dict[str, Any]:
        with TarReader(folder / shard.files[0]) as tar:
            key = _key_of(next(tar.members(place)).name)
        for name in _columns_of(shard):
            with pq.ParquetFile(folder / name) as file:
                found = next((at for one, at in key_places(file) if one == key), None)
                if found is not None:
                    return columns_at(file, found)
        raise ValueError(f"{key} stands in no table")

    def rows(self, folder: Path, shard: Shard, images: bool) -> Iterator[StoredRow]:
        with ExitStack() as opened:
            tar = opened.enter_context(TarReader(folder / shard.files[0]))
            columns = {}
            for name in _columns_of(shard):
                file = opened.enter_context(pq.ParquetFile(folder / name))
                columns[name] = (row for batch in file.iter_batches(256) for row in batch.to_pylist())
            heads: dict[str, dict[str, Any]] = {name: next(rows, {}) for name, rows in columns.items()}
            for key, members in tar.groups(_key_of):
                name = next((name for name, head in heads.items() if head.get("key") == key), "")
                if not name:
                    raise ValueError(f"{key} stands in no table in its order")
                yield StoredRow.of(heads[name], *(_images(tar, members) if images else ()))
                heads[name] = next(columns[name], {})

    def card(self, config: str, streams: Sequence[str]) -> list[tuple[str, str]]:
        chosen = [names for names in NAMES.values() if names.archive in streams]
        kinds = {names.turns for names in chosen}
        if len(kinds) == 1:
            return [("", f"{config}/Parquet/*.parquet")]
        # One schema a config: dialogues are none of the pairs' rows.
        return [("", f"{config}/Parquet/*.parquet")] if not kinds else [
            ("-turns" if names.turns else f"-{names.parquet}", f"{config}/Parquet/{names.parquet}_part*.parquet")
            for names in chosen
        ]  # fmt: skip


class _NoRows(ShardFile):
    """What stands for a config without rows: the columns."""

    def __init__(self, folder: Path):
        self._folder = folder

    def write(self, prepared: Any) -> None:
        raise AssertionError("there are no rows")

    def close(self) -> tuple[str, ...]:
        names = "Parquet/empty_part0.parquet", "Columns/empty_part0.parquet"
        for name, schema in zip(names, (SINGLE, PLAIN), strict=True):
            pq.ParquetWriter(_in_folder(self._folder, name), schema).close()
        return names


class _Part(ShardFile):
    def __init__(self, folder: Path, archive: str, number: int):
        self._folder = folder
        self._number = number
        turns = any(names.turns for names in NAMES.values() if names.archive == archive)
        self._tar_name = f"{'Multiturn' if turns else 'Singleturn'}/{archive}_part{number}.tar"
        self._tar = TarWriter(_in_folder(folder, self._tar_name))
        self._tables: dict[str, tuple[pq.ParquetWriter, pq.ParquetWriter]] = {}
        self._names: list[str] = []

    def write(self, prepared: Sequence[Pair]) -> None:
        paths = _paths(prepared, self._number)
        for pair, (before, after) in zip(prepared, paths, strict=True):
            for path, data in zip((*before, *after), (*pair.inputs, *pair.outputs), strict=True):
                self._tar.add(path, data)
        for task in sorted({pair.row.task for pair in prepared}):
            chosen = [one for one in zip(prepared, paths, strict=True) if one[0].row.task == task]
            self._write_task(task, [pair for pair, _ in chosen], [named for _, named in chosen])

    def _write_task(self, task: str, pairs: list[Pair], paths: list[_Paths]) -> None:
        theirs, ours = self._tables.get(task) or self._open(task)
        columns = [
            *(lists(strings([path for row in paths for path in row[end]]), [len(row[end]) for row in paths]) for end in (0, 1)),
            strings([pair.row.prompt for pair in pairs]),
        ]  # fmt: skip
        if NAMES[task].turns:
            rounds = [len(list(rows)) for _, rows in groupby(pairs, lambda pair: pair.row.sample)]
            dialogues = lists(pa.StructArray.from_arrays(columns, fields=list(SINGLE)), rounds)
            theirs.write_table(pa.Table.from_arrays([dialogues], schema=MULTI))
        else:
            theirs.write_table(pa.Table.from_arrays(columns, schema=SINGLE))
        ours.write_table(plain_table([pair.row.line for pair in pairs]))

    def _open(self, task: str) -> tuple[pq.ParquetWriter, pq.ParquetWriter]:
        names = NAMES[task]
        files = [f"{folder}/{names.parquet}_part{self._number}.parquet" for folder in ("Parquet", "Columns")]
        schemas = MULTI if names.turns else SINGLE, PLAIN
        theirs, ours = (
            pq.ParquetWriter(_in_folder(self._folder, file), schema, write_page_index=True)
            for file, schema in zip(files, schemas, strict=True)
        )
        self._names += files
        self._tables[task] = theirs, ours
        return theirs, ours

    def close(self) -> tuple[str, ...]:
        """
        Raises:
            RunError: rows and tar do not agree.
        """
        self._tar.close()
        for writers in self._tables.values():
            for writer in writers:
                writer.close()
        check_part(self._folder, self._tar_name, [name for name in self._names if name.startswith("Parquet/")])
        return (self._tar_name, *sorted(self._names))


def check_part(folder: Path, tar_name: str, parquets: Sequence[str]) -> None:
    """Compares the paths that rows name with those that the tar holds, as they lie on disk.

    Raises:
        RunError: one has what the other lacks; the message says which.
    """
    named: list[str] = []
    for parquet in parquets:
        with pq.ParquetFile(folder / parquet) as file:
            for batch in file.iter_batches():
                rows = batch.to_pylist()
                turns = [turn for row in rows for turn in row["data"]] if "data" in batch.schema.names else rows
                named += [path for turn in turns for path in turn["input_images"] + turn["output_images"]]
    with TarReader(folder / tar_name) as tar:
        held = [member.name for member in tar.members()]
    wrong = set(named) ^ set(held)
    if wrong or len(held) != len(set(held)) or len(named) != len(held):
        one = min(wrong) if wrong else "a path"
        where = "twice" if not wrong else f"only in {tar_name if one in held else ', '.join(parquets)}"
        raise RunError(f"{folder / tar_name}: {one} is {where}; run the same command again", 1)


def _in_folder(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    return path


def _paths(pairs: Sequence[Pair], part: int) -> list[_Paths]:
    """Every row's images in ImgEdit's names. A second picture before the edit is the reference."""
    found = []
    for _, rows in groupby(pairs, lambda pair: (pair.row.task, pair.row.sample)):
        for turn, pair in enumerate(rows):
            names = NAMES[pair.row.task]
            first, last = (f"origin_{turn}", f"result_{turn}") if names.turns else ("original", "result")
            before = [first, *(f"reference{number or ''}" for number in range(len(pair.inputs) - 1))]
            after = [last, *(f"{last}_{number}" for number in range(1, len(pair.outputs)))]
            place = f"{names.folder}_part{part}/{pair.row.key}"
            found.append(([f"{place}/{name}.png" for name in before], [f"{place}/{name}.png" for name in after]))
    return found


def _columns_of(shard: Shard) -> list[str]:
    return [name for name in shard.files if name.startswith("Columns/")]


def _key_of(path: str) -> str:
    return path.split("/")[1]


def _images(tar: TarReader, members: Sequence[TarMember]) -> tuple[list[bytes], list[bytes]]:
    after = [member for member in members if member.name.rpartition("/")[2].startswith("result")]
    before = [member for member in members if member not in after]
    return [tar.read(member) for member in before], [tar.read(member) for member in after]
