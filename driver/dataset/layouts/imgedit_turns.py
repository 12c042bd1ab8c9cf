"""ImgEdit's dialogues: a row of its parquet is one, and its turns name the pictures in the tar, each of which lies there once.

A picture is called after the turn that shows it first: a turn's input may be an earlier one's `result_N.png`. `imgedit.py`
calls this for the parts of `Multiturn/`, which are of one task each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..groups import EDIT, Group
from ..rows import Encoded, Pair, lists, strings
from .layout import Shard, StoredRow
from .tars import TarMember, TarReader

MULTI = pa.schema([("data", pa.list_(EDIT))])
"""ImgEdit's schema of dialogues, from its README."""

Paths = tuple[list[str], list[str]]
"""A row's images, before and after the edit, as paths in the tar."""


def paths_of(group: Group, place: str) -> tuple[list[Paths], dict[str, Encoded]]:
    """The paths of each turn's pictures, and what is to lie under each: every picture once.

    Args:
        place: the dialogue's folder in the tar.
    """
    names: dict[int, str] = {}
    for turn, (before, after) in enumerate(group.numbers()):
        called = [f"origin_{turn}", *(f"reference_{turn}_{number}" for number in range(1, len(before)))]
        called += [f"result_{turn}", *(f"result_{turn}_{number}" for number in range(1, len(after)))]
        for number, name in zip((*before, *after), called, strict=True):
            names.setdefault(number, f"{place}/{name}.png")
    paths = [([names[one] for one in before], [names[one] for one in after]) for before, after in group.numbers()]
    return paths, {names[number]: data for number, data in enumerate(group.states())}


def dialogues_table(paths: Sequence[Sequence[Paths]], pairs: Sequence[Pair]) -> pa.Table:
    """
    Args:
        paths: of each dialogue those of its turns.
        pairs: the turns of all.
    """
    ends = [[turn[end] for turns in paths for turn in turns] for end in (0, 1)]
    named = [lists(strings([path for row in rows for path in row]), [len(row) for row in rows]) for rows in ends]
    columns = [*named, strings([pair.row.prompt for pair in pairs])]
    data = lists(pa.StructArray.from_arrays(columns, fields=list(EDIT)), [len(turns) for turns in paths])
    return pa.Table.from_arrays([data], schema=MULTI)


@dataclass(frozen=True)
class TurnsPart:
    """A part of dialogues that is read. A row's place is its number among the turns of the part."""

    tar: Path
    columns: Path
    paths: tuple[Paths, ...]
    """Of each turn."""
    members: Mapping[str, TarMember]

    @classmethod
    def of(cls, folder: Path, shard: Shard) -> TurnsPart:
        tar, columns, parquet = (
            folder / next(name for name in shard.files if name.startswith(begin))
            for begin in ("Multiturn/", "Columns/", "Parquet/")
        )
        with pq.ParquetFile(parquet) as file:
            turns = [turn for batch in file.iter_batches() for row in batch["data"].to_pylist() for turn in row]
        with TarReader(tar) as opened:
            members = {member.name: member for member in opened.members()}
        return cls(tar, columns, tuple((turn["input_images"], turn["output_images"]) for turn in turns), members)

    def index(self) -> Iterator[tuple[str, int]]:
        """Every turn's key, and its place."""
        with pq.ParquetFile(self.columns) as file:
            keys = [key for batch in file.iter_batches(columns=["key"]) for key in batch["key"].to_pylist()]
        if len(keys) != len(self.paths):
            raise ValueError(f"{self.columns.name} has {len(keys)} turns, the table of dialogues {len(self.paths)}")
        yield from zip(keys, range(len(keys)), strict=True)

    def images(self, place: int) -> tuple[list[bytes], list[bytes]]:
        """A turn's images, before and after.

        Raises:
            KeyError: the tar lacks one.
        """
        with TarReader(self.tar) as opened:
            before, after = ([opened.read(self.members[path]) for path in paths] for paths in self.paths[place])
        return before, after

    def columns_at(self, place: int) -> dict[str, Any]:
        """A turn's columns but for its images."""
        with pq.ParquetFile(self.columns) as file:
            for group in range(file.num_row_groups):
                held = file.metadata.row_group(group).num_rows
                if place < held:
                    (row,) = file.read_row_group(group).slice(place, 1).to_pylist()
                    return dict(row)
                place -= held
        raise ValueError(f"{self.columns.name} has no turn {place}")

    def rows(self, images: bool) -> Iterator[StoredRow]:
        """All turns in their order."""
        place = 0
        with pq.ParquetFile(self.columns) as file:
            for batch in file.iter_batches(256):
                for row in batch.to_pylist():
                    yield StoredRow.of(row, *(self.images(place) if images else ()))
                    place += 1
