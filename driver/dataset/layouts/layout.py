"""What a layout is: how rows become files, and how they are found in them again.

`shards.py` decides which rows share a shard, a layout only writes and reads it. The layouts are in modules of their own;
`layout_named` knows them all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from comfy_nodes.core.keys import PathInside

from ..rows import UNSAID, Pair, Row, table


class Shard(BaseModel):
    """A shard as `shards.json` lists it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stream: str
    number: int
    files: tuple[PathInside, ...]
    """Their paths in the config's folder."""
    lengths: tuple[int, ...] = ()
    """Bytes of each; nothing in lists of earlier versions."""
    rows: int
    size: int
    """Sum of its rows' sizes; see `Pair.size`."""
    rows_digest: str


class StoredRow(BaseModel):
    """A row as it lies in a shard."""

    model_config = ConfigDict(frozen=True)

    columns: dict[str, Any]
    """All but the images; None where an earlier version stored the row, which did not know the column."""
    inputs: tuple[bytes, ...] = ()
    outputs: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, columns: dict[str, Any], inputs: Sequence[bytes] = (), outputs: Sequence[bytes] = ()) -> StoredRow:
        """As it was read, without another look at each value."""
        return cls.model_construct(columns={**UNSAID, **columns}, inputs=tuple(inputs), outputs=tuple(outputs))


@dataclass(frozen=True)
class CardPart:
    """What `load_dataset` opens of a config by one name."""

    name: str
    """In the config; empty of what goes by the config's name alone."""
    globs: tuple[str, ...]
    """Of its files, in the order in which they are read."""
    streams: tuple[str, ...]
    """All that it holds."""


class ShardFile(ABC):
    """A shard that is being written."""

    def prepare(self, pairs: Sequence[Pair]) -> Any:
        """What `write` is to get for the next rows; made beside the thread that writes."""
        return pairs

    @abstractmethod
    def write(self, prepared: Any) -> None: ...

    @abstractmethod
    def close(self) -> tuple[str, ...]:
        """Ends it; returns its files' paths in the config's folder."""


class Layout(ABC):
    """A way in which a dataset lies on disk."""

    name: str
    form = 1
    """To be raised when the same rows begin to give other files."""
    shard_size: int
    """A shard is closed by the row that makes it at least so large."""
    group_size: int
    """Rows of at least so many bytes are written at once. What is held in memory is three times that."""
    group_rows = 1000
    """No more rows than so many are written at once. Ours."""
    empty_stream = "train"
    """Stream that gets one empty shard where a config has no rows, so that it opens all the same."""

    @abstractmethod
    def settings(self) -> list[Any]:
        """What decides a shard's bytes beside its rows, form and sizes; an earlier finish's shards are compared by it."""

    @abstractmethod
    def stream(self, row: Row) -> str:
        """Rows of one stream go into the same sequence of shards."""

    @abstractmethod
    def open(self, folder: Path, stream: str, number: int) -> ShardFile:
        """Begins a shard in a config's folder."""

    def final_name(self, file: str, shards: int) -> str:
        """A file's name once it is known how many shards its stream has."""
        return file

    def written_name(self, file: str) -> str:
        """A file's name while its shard is written: the other way round."""
        return file

    @abstractmethod
    def found(self, folder: Path) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        """The shards that lie in a config's folder, whatever a list says: stream, number, and the files that `index` and
        `images` read."""

    @abstractmethod
    def names(self) -> str:
        """A regular expression for all paths that it gives files in a config's folder."""

    @abstractmethod
    def index(self, folder: Path, shard: Shard) -> Iterator[tuple[str, int]]:
        """Every row's key and its place, a number that `images` understands."""

    @abstractmethod
    def images(self, folder: Path, shard: Shard, place: int) -> tuple[list[bytes], list[bytes]]:
        """A row's images, before and after."""

    @abstractmethod
    def columns(self, folder: Path, shard: Shard, place: int) -> dict[str, Any]:
        """A row's columns but for its images. Of other rows no more is read than lies in one row group with it."""

    def row(self, folder: Path, shard: Shard, place: int) -> StoredRow:
        """The same with its images."""
        return StoredRow.of(self.columns(folder, shard, place), *self.images(folder, shard, place))

    @abstractmethod
    def rows(self, folder: Path, shard: Shard, images: bool) -> Iterator[StoredRow]:
        """All rows in their order.

        Args:
            images: whether to read these, too.
        """

    def tables(self, folder: Path, shard: Shard) -> Iterator[pa.Table]:
        """All rows in their order, pictures included, as tables of `SCHEMA` of about `group_size` bytes."""
        held: list[Pair] = []
        size = 0
        for row in self.rows(folder, shard, images=True):
            held.append(Pair(Row.stored(row.columns), row.inputs, row.outputs))
            size += held[-1].size
            if len(held) >= self.group_rows or size >= self.group_size:
                yield table(held)
                held, size = [], 0
        if held:
            yield table(held)

    @abstractmethod
    def card(self, folder: str, streams: Sequence[str]) -> list[CardPart]:
        """What the dataset card says of a config's parts. The first goes by the config's name alone; all of the config is in
        it where one schema holds that.

        Args:
            folder: the config's, as a glob.
        """

    def empty_features(self) -> list[dict[str, Any]] | None:
        """The columns of a config without rows, as the card's YAML has them; None where its files say them."""
        return None


LAYOUTS = {"hf": ("hf", "HfLayout"), "imgedit": ("imgedit", "ImgEditLayout"), "wds": ("wds", "WdsLayout")}  # fmt: skip
"""Module and class by the name that `--layout` takes."""


def layout_named(name: str) -> Layout:
    """
    Raises:
        KeyError: no layout of that name.
    """
    module, kind = LAYOUTS[name]
    found = getattr(import_module(f".{module}", __package__), kind)()
    assert isinstance(found, Layout)
    return found
