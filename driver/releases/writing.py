"""The second look through the runs: rows with their pictures, as they are, into the parquet files of their splits, dialogues
into files of their own.

Rows are in the order of the runs; a file is closed by the rows that make it as large as the layout `hf` has its shards. No
picture is decoded, and none is held longer than its row group.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from comfy_nodes.core.whole_files import move_whole

from ..dataset.dataset import dataset_digest
from ..dataset.groups import grouped_table, schema_of
from ..dataset.layouts.hf import HfLayout, parquet_writer
from ..dataset.rows import IMAGE_COLUMNS, PLAIN, SCHEMA, Pair, Row
from ..dataset.store import name_by_hash
from ..disk import make_durable
from ..errors import RunError
from ..report.figures import RowStatistics
from ..report.scores import RowPlace
from .index import Index, Note, over_rows, pictures_in
from .manifest import SPLITS, ReleasedFile

DATA = "data"
"""The folder of a release's rows."""

_FIGURES = (
    "key", "task", "subtask", "verdict", "reject_reason", "vouched_by", "scores", "models", "judge", "source_licence",
    "workflow",
)  # fmt: skip
"""Columns that figures are made of."""


@dataclass
class Figures:
    """What the rows of a release are, counted while they are written."""

    rows: RowStatistics = field(default_factory=RowStatistics)
    splits: Counter[str] = field(default_factory=Counter)
    turns: Counter[str] = field(default_factory=Counter)
    """Of each split the rows that are turns of dialogues."""
    kinds: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    judges: Counter[str] = field(default_factory=Counter)
    workflows: Counter[str] = field(default_factory=Counter)

    def add(self, rows: pa.Table, split: str) -> None:
        first = self.splits[split]
        for number, row in enumerate(rows.select(_FIGURES).to_pylist(), first):
            self.rows.add(RowPlace(split, number), row)
            self.tasks[row["task"]] += 1
            self.kinds[row["subtask"] or row["task"]] += 1
            self.judges[(row["judge"] or {}).get("model") or ""] += 1
            self.workflows[row["workflow"] or ""] += 1
        self.splits[split] += len(rows)


def write_rows(index: Index, splits: Sequence[str], folder: Path) -> tuple[Figures, list[ReleasedFile]]:
    """
    Args:
        splits: of each row of the index; empty for those that are left out.
        folder: the release's.

    Returns:
        Figures of the rows, and the files that hold them.

    Raises:
        RunError: a run was changed since it was looked through, or is damaged.
        OSError: the disk is full.
    """
    (folder / DATA).mkdir()
    figures = Figures()
    pairs = {split: _Files(folder, split, SCHEMA) for split in SPLITS}
    dialogues = {split: _Dialogues(_Files(folder, f"dialogues-{split}", schema_of("dialogues"))) for split in SPLITS}
    codes = np.array([SPLITS.index(split) if split else -1 for split in splits], np.int8)
    place = 0
    for run, dataset in zip(index.runs, index.datasets, strict=True):
        for rows in over_rows(run, lambda table: table):
            mine, notes = codes[place : place + len(rows)], index.notes[place : place + len(rows)]
            turns = np.array([bool(note.dialogue) for note in notes], bool)
            for code in np.unique(mine[mine >= 0]):
                split, chosen = SPLITS[code], mine == code
                figures.add(rows.filter(pa.array(chosen)), split)
                figures.turns[split] += int(np.count_nonzero(chosen & turns))
                pairs[split].add(rows.filter(pa.array(chosen & ~turns)))
                said = [note for note, one in zip(notes, chosen & turns, strict=True) if one]
                dialogues[split].add(rows.filter(pa.array(chosen & turns)), said)
            place += len(rows)
        if dataset_digest(run) != dataset:
            raise RunError(f"{run}: its rows changed meanwhile; run the same command again when its run is done", 1)
    files = [
        *(file for one in pairs.values() for file in one.close()),
        *(file for one in dialogues.values() for file in one.close()),
    ]
    return figures, files


class _Dialogues:
    """The dialogues of a split, each as one record with each of its pictures once."""

    def __init__(self, files: _Files):
        self._files = files
        self._held: list[Pair] = []

    def add(self, rows: pa.Table, notes: Sequence[Note]) -> None:
        """
        Args:
            rows: turns, with what was noted of each; those of a dialogue behind one another.
        """
        columns = rows.select(PLAIN.names).to_pylist()
        images = [pictures_in(rows[name], [note.key for note in notes]) for name in IMAGE_COLUMNS]
        for row, note, before, after in zip(columns, notes, *images, strict=True):
            if self._held and self._held[-1].row.group != note.dialogue:
                self._flush()
            hashes = [tuple(one.hex() for one in some) for some in (note.inputs, note.outputs)]
            stored = replace(Row.stored(row), inputs=hashes[0], outputs=hashes[1], group=note.dialogue)
            self._held.append(Pair(stored, before, after))

    def _flush(self) -> None:
        if self._held:
            self._files.add(grouped_table(self._held, "dialogues"))
            self._held = []

    def close(self) -> list[ReleasedFile]:
        self._flush()
        return self._files.close()


class _Files:
    """The files of a split."""

    def __init__(self, folder: Path, split: str, schema: pa.Schema):
        self._folder, self._split, self._schema, self._layout = folder, split, schema, HfLayout()
        self._written: list[Path] = []
        self._held: list[pa.Table] = []
        self._size = 0
        self._writer: pq.ParquetWriter | None = None

    def add(self, rows: pa.Table) -> None:
        if not len(rows):
            return
        self._held.append(rows)
        size, number = sum(one.nbytes for one in self._held), sum(map(len, self._held))
        if size >= self._layout.group_size or number >= self._layout.group_rows:
            self._flush(size)
            if self._size >= self._layout.shard_size:
                self._end()

    def _flush(self, size: int) -> None:
        if self._writer is None:
            self._written.append(self._folder / DATA / f".{self._split}-{len(self._written):05d}.part")
            self._writer = parquet_writer(self._written[-1], self._schema)
        self._writer.write_table(pa.concat_tables(self._held))
        self._held = []
        self._size += size

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            make_durable(self._written[-1])
            self._writer, self._size = None, 0

    def close(self) -> list[ReleasedFile]:
        """Ends the last file; returns all of them under their names."""
        if self._held:
            self._flush(sum(one.nbytes for one in self._held))
        self._end()
        return [
            named_file(path, self._folder, f"{DATA}/{self._split}-{number:05d}-of-{len(self._written):05d}.parquet")
            for number, path in enumerate(self._written)
        ]


def named_file(path: Path, folder: Path, name: str) -> ReleasedFile:
    """Gives a file of a release its name, which ends in the first digits of its hash.

    Args:
        folder: the release's.
        name: its path there, without these.
    """
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    place = name_by_hash(PurePosixPath(name), sha256)
    move_whole(path, folder / place)
    return ReleasedFile(path=place, size=(folder / place).stat().st_size, sha256=sha256)
