"""A finished run's kept rows photo by photo, however they lie: all edits of one picture together.

The first look goes over columns alone and keeps 8 bytes of each row. In the second one a photo is given out when its last
row is there; rows of one photo mostly lie together, and pictures of those that wait too long wait on disk.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from comfy_nodes.core.keys import KEY_LENGTH
from comfy_nodes.core.photos import open_photo
from comfy_nodes.core.whole_files import write_whole

from ..dataset.dataset import finished_parts, part_facts, part_rows
from ..dataset.layouts.layout import StoredRow
from ..dataset.parts import Part
from ..errors import RunError

HELD = 256_000_000
"""Bytes of pictures of photos whose rows are not all there, from which they wait on disk. Ours."""

DECODED = 256_000_000
"""Bytes of decoded pictures of one photo that are held at once. Ours."""


class Pictures:
    """A photo's pictures by the SHA-256 of their files, each once."""

    def __init__(self, folder: Path):
        """
        Args:
            folder: where they wait when memory is needed.
        """
        self._folder = folder
        self._files: dict[str, bytes] = {}
        self._decoded: OrderedDict[str, np.ndarray] = OrderedDict()
        self.size = 0
        """Bytes that are held in memory."""

    def put(self, data: bytes) -> str:
        """Takes a picture; returns its hash."""
        name = hashlib.sha256(data).hexdigest()
        if name not in self._files:
            self._files[name] = data
            self.size += len(data)
        return name

    def to_disk(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, data in self._files.items():
            write_whole(self._folder / name, data, durable=False)
        self._files, self.size = {}, 0

    def file(self, name: str) -> bytes:
        found = self._files.get(name)
        return (self._folder / name).read_bytes() if found is None else found

    def pixels(self, name: str) -> np.ndarray:
        """A picture decoded, uint8 [H, W, 3]; the last ones are remembered.

        Raises:
            PhotoError: it cannot be read.
        """
        if name not in self._decoded:
            self._decoded[name] = np.asarray(open_photo(self.file(name), "a picture"))
            while sum(one.nbytes for one in self._decoded.values()) > DECODED and len(self._decoded) > 2:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(name)
        return self._decoded[name]

    def clear(self) -> None:
        self._files.clear()
        self._decoded.clear()
        shutil.rmtree(self._folder, ignore_errors=True)


@dataclass(frozen=True)
class KeptRow:
    """A kept row of a photo, its pictures by their hashes."""

    columns: dict[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    part: Part

    @property
    def key(self) -> str:
        return str(self.columns["key"])


@dataclass
class Photo:
    """All kept rows of a photo, or of one crop of it."""

    key: str
    """20 hexadecimal digits."""
    pictures: Pictures
    rows: list[KeptRow] = field(default_factory=list)


class Photos:
    """The photos of a finished run."""

    def __init__(self, run: Path):
        """
        Raises:
            RunError: the run is not finished, has no kept rows, or is derived itself.
        """
        self._parts = finished_parts(run)
        found = array("Q")
        for part in self._parts:
            for row in part_rows(part, "data", images=False):
                if row.columns["derived_kind"]:
                    raise RunError(f"{run}: its rows are derived themselves; name the run that they were derived from")
                found.append(int(_photo_of(row)[:16], 16))
        if not found:
            raise RunError(
                f"{run}: has no kept rows, and only these are derived from; summary.json says what became of it"
            )
        self.rows = len(found)
        self._ids, self._counts = np.unique(np.frombuffer(found, np.uint64), return_counts=True)

    @property
    def photos(self) -> int:
        return len(self._ids)

    @property
    def layout(self) -> str:
        return part_facts(self._parts[0]).layout

    def read(self, scratch: Path) -> Iterator[Photo]:
        """Photos with all their rows, in the order in which they are whole.

        Args:
            scratch: a folder for pictures that wait.

        Raises:
            ShardDamaged: rows are missing or damaged.
            OSError: the disk is full.
        """
        waiting: dict[str, Photo] = {}
        for part in self._parts:
            for row in part_rows(part, "data"):
                key = _photo_of(row)
                photo = waiting.setdefault(key, Photo(key[:KEY_LENGTH], Pictures(scratch / key)))
                inputs, outputs = (tuple(map(photo.pictures.put, end)) for end in (row.inputs, row.outputs))
                photo.rows.append(KeptRow(row.columns, inputs, outputs, part))
                if len(photo.rows) == self._count(key):
                    yield waiting.pop(key)
                    photo.pictures.clear()
                elif sum(one.pictures.size for one in waiting.values()) > HELD:
                    for one in waiting.values():
                        one.pictures.to_disk()
        for photo in waiting.values():  # another photo's hash begins alike
            yield photo
            photo.pictures.clear()

    def _count(self, key: str) -> int:
        return int(self._counts[int(np.searchsorted(self._ids, np.uint64(int(key[:16], 16))))])


def _photo_of(row: StoredRow) -> str:
    """What rows of one photo share, in one crop and size: a SHA-256."""
    columns = row.columns
    crop = [round(value, 2) for value in columns["crop"]] if columns["crop"] else None
    what = [columns["source_sha256"] or columns["source_id"], crop, columns["width"], columns["height"]]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()
