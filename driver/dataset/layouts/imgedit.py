"""The layout `imgedit`: ImgEdit's parquet schema, folder and task names, with the images in tars of the same paths.

A shard is a part: `Singleturn/<archive>_partN.tar` and, for each task in it, `Parquet/<task>_partN.parquet` with ImgEdit's
columns and nothing else. All other columns are in `Columns/<task>_partN.parquet`, row beside row; of dialogues, whose parts
are `Multiturn/<archive>_partN.tar`, turn beside turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comfy_nodes.core.imgedit import NAMES

from ...errors import RunError
from ..groups import EDIT, groups_of
from ..rows import PLAIN, Pair, Row, lists, plain_table, strings
from .hf import columns_at, key_places
from .imgedit_turns import MULTI, Paths, TurnsPart, dialogues_table, paths_of
from .layout import CardPart, Layout, Shard, ShardFile, StoredRow
from .tars import TarMember, TarReader, TarWriter

SINGLE = pa.schema(list(EDIT))
"""ImgEdit's schema of pairs, from its README."""

_TURNS = "Multiturn/"
"""Begins the paths of tars of dialogues."""


class ImgEditLayout(Layout):
    name = "imgedit"
    shard_size = 1_000_000_000
    """A tar. ImgEdit cuts larger ones with `split`. Ours."""
    group_size = 32_000_000
    empty_stream = "empty"

    def __init__(self) -> None:
        self._turns: dict[Path, tuple[str, TurnsPart]] = {}

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
                tar = path.relative_to(folder).as_posix()
                tables = (
                    [one.parquet for one in NAMES.values() if one.archive == name[1]] if tar.startswith(_TURNS) else []
                )
                places = [
                    f"{beside}/{one}_part{name[2]}.parquet" for beside in ("Columns", "Parquet") for one in tables
                ]
                yield name[1], int(name[2]), (tar, *places)

    def names(self) -> str:
        tables = "|".join([*(names.parquet for names in NAMES.values()), self.empty_stream])
        return rf"(Single|Multi)turn/results_.+_part\d+\.tar|(Parquet|Columns)/({tables})_part\d+\.parquet"

    def _turns_of(self, folder: Path, shard: Shard) -> TurnsPart | None:
        """Of a part of dialogues what is read; None of one of pairs. One of each config is remembered."""
        tar = (
            shard.files[0]
            if shard.stream == self.empty_stream
            else next(one for one in shard.files if one.endswith(".tar"))
        )
        if not tar.startswith(_TURNS):
            return None
        known = self._turns.get(folder)
        if known is None or known[0] != tar:
            known = self._turns[folder] = tar, TurnsPart.of(folder, shard)
        return known[1]

    def index(self, folder: Path, shard: Shard) -> Iterator[tuple[str, int]]:
        if turns := self._turns_of(folder, shard):
            yield from turns.index()
            return
        with TarReader(folder / shard.files[0]) as tar:
            yield from tar.index(_key_of)

    def images(self, folder: Path, shard: Shard, place: int) -> tuple[list[bytes], list[bytes]]:
        if turns := self._turns_of(folder, shard):
            return turns.images(place)
        with TarReader(folder / shard.files[0]) as tar:
            return _images(tar, next(tar.groups(_key_of, place))[1])

    def columns(self, folder: Path, shard: Shard, place: int) -> dict[str, Any]:
        if turns := self._turns_of(folder, shard):
            return turns.columns_at(place)
        with TarReader(folder / shard.files[0]) as tar:
            key = _key_of(next(tar.members(place)).name)
        for name in _columns_of(shard):
            with pq.ParquetFile(folder / name) as file:
                found = next((at for one, at in key_places(file) if one == key), None)
                if found is not None:
                    return columns_at(file, found)
        raise ValueError(f"{key} stands in no table")

    def rows(self, folder: Path, shard: Shard, images: bool) -> Iterator[StoredRow]:
        if turns := self._turns_of(folder, shard):
            yield from turns.rows(images)
            return
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

    def card(self, folder: str, streams: Sequence[str]) -> list[CardPart]:
        def part(name: str, turns: bool) -> CardPart:
            chosen = [one for one in NAMES.values() if one.archive in streams and one.turns == turns]
            globs = tuple(f"{folder}/Parquet/{one.parquet}_part*.parquet" for one in chosen)
            return CardPart(name, globs, tuple({one.archive: None for one in chosen}))

        kinds = {names.turns for names in NAMES.values() if names.archive in streams}
        # One schema a config: dialogues are none of the pairs' rows.
        if True in kinds:
            return [part("", turns=kinds == {True}), part("dialogues", turns=True)]
        return [CardPart("", (f"{folder}/Parquet/*.parquet",), tuple(streams))]


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
        self._tar_name = f"{_TURNS if turns else 'Singleturn/'}{archive}_part{number}.tar"
        self._tar = TarWriter(_in_folder(folder, self._tar_name))
        self._tables: dict[str, tuple[pq.ParquetWriter, pq.ParquetWriter]] = {}
        self._names: list[str] = []

    def write(self, prepared: Sequence[Pair]) -> None:
        if self._tar_name.startswith(_TURNS):
            self._write_dialogues(prepared)
            return
        paths = [_paths(pair, self._number) for pair in prepared]
        for pair, (before, after) in zip(prepared, paths, strict=True):
            for path, data in zip((*before, *after), (*pair.inputs, *pair.outputs), strict=True):
                self._tar.add(path, data)
        for task in sorted({pair.row.task for pair in prepared}):
            chosen = [one for one in zip(prepared, paths, strict=True) if one[0].row.task == task]
            self._write_task(task, [pair for pair, _ in chosen], [named for _, named in chosen])

    def _write_task(self, task: str, pairs: list[Pair], paths: list[Paths]) -> None:
        theirs, ours = self._tables.get(task) or self._open(task)
        columns = [
            *(lists(strings([path for row in paths for path in row[end]]), [len(row[end]) for row in paths]) for end in (0, 1)),
            strings([pair.row.prompt for pair in pairs]),
        ]  # fmt: skip
        theirs.write_table(pa.Table.from_arrays(columns, schema=SINGLE))
        ours.write_table(plain_table([pair.row.line for pair in pairs]))

    def _write_dialogues(self, pairs: Sequence[Pair]) -> None:
        task = pairs[0].row.task
        theirs, ours = self._tables.get(task) or self._open(task)
        named = []
        for group in groups_of(pairs):
            paths, pictures = paths_of(group, f"{NAMES[task].folder}_part{self._number}/{group.key}")
            named.append(paths)
            for path, data in pictures.items():
                self._tar.add(path, data)
        theirs.write_table(dialogues_table(named, pairs))
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
                for row in batch.to_pylist():
                    turns = row.get("data", [row])
                    paths = [path for turn in turns for path in turn["input_images"] + turn["output_images"]]
                    named += dict.fromkeys(paths) if "data" in row else paths  # turns of a dialogue share pictures
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


def _paths(pair: Pair, part: int) -> Paths:
    """A row's images in ImgEdit's names. A second picture before the edit is the reference."""
    before = ["original", *(f"reference{number or ''}" for number in range(len(pair.inputs) - 1))]
    after = ["result", *(f"result_{number}" for number in range(1, len(pair.outputs)))]
    place = f"{NAMES[pair.row.task].folder}_part{part}/{pair.row.key}"
    return [f"{place}/{name}.png" for name in before], [f"{place}/{name}.png" for name in after]


def _columns_of(shard: Shard) -> list[str]:
    return [name for name in shard.files if name.startswith("Columns/")]


def _key_of(path: str) -> str:
    return path.split("/")[1]


def _images(tar: TarReader, members: Sequence[TarMember]) -> tuple[list[bytes], list[bytes]]:
    after = [member for member in members if member.name.rpartition("/")[2].startswith("result")]
    before = [member for member in members if member not in after]
    return [tar.read(member) for member in before], [tar.read(member) for member in after]
