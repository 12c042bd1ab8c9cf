"""Fetched images on their way from the server to a shard: files by record key, written whole or not at all.

An image is staged first, under a name that nobody else has, and takes its place when it is decided whose result counts.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

from comfy_nodes.core.whole_files import move_whole, new_file

from ..disk import disk_errors


@dataclass(frozen=True)
class Staged:
    """An image on disk that has not taken its place."""

    place: Path
    part: Path

    def keep(self) -> None:
        """Takes its place, whoever had it before.

        Raises:
            RunError: the disk may not be written to.
        """
        with disk_errors(self.place.parent):
            move_whole(self.part, self.place)

    def drop(self) -> None:
        """Goes, where it has not taken its place."""
        self.part.unlink(missing_ok=True)


class Spool:
    """The images of finished records that no shard holds yet."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def stage(self, key: str, role: str, number: int, image: bytes | Path) -> Staged:
        """Puts one image durably beside its place.

        Args:
            role: `input` or `output`.
            number: its place in the record's list.
            image: its bytes, or a file on this disk that becomes it, durable already.

        Raises:
            RunError: the disk is full or may not be written to.
        """
        place = self._path(key, role, number)
        staged = Staged(place, place.with_name(f"{place.name}.{uuid.uuid4().hex[:12]}.part"))
        with disk_errors(self.folder):
            # Gone where its shard is written, and a late copy comes home.
            self.folder.mkdir(parents=True, exist_ok=True)
            if isinstance(image, Path):
                move_whole(image, staged.part)
            else:
                with new_file(staged.part) as file:
                    file.write(image)
        return staged

    def put(self, key: str, role: str, number: int, data: bytes) -> None:
        """Writes one image durably; arguments and errors as of `stage`."""
        self.stage(key, role, number, data).keep()

    def get(self, key: str, role: str, number: int) -> pa.Buffer | None:
        """The image, or None where it is in a shard already.

        In memory of Arrow's, which is used again for the next ones: Python's would be fetched from the system anew for
        each, which takes as long as reading.
        """
        try:
            with pa.OSFile(str(self._path(key, role, number))) as file:
                return file.read_buffer()
        except FileNotFoundError:
            return None

    def clear(self) -> None:
        """Forgets all images; to be called when the shards that hold them are in place."""
        while some := self._some(10_000):  # there may be millions
            for path in some:
                path.unlink(missing_ok=True)

    @property
    def empty(self) -> bool:
        """Whether no image waits for a shard."""
        return not self._some(1)

    def _some(self, most: int) -> list[Path]:
        with os.scandir(self.folder) as entries:
            return [Path(entry) for entry in islice(entries, most)]

    def _path(self, key: str, role: str, number: int) -> Path:
        return self.folder / f"{key}.{role}{number}.png"


class PhotoFolder(Spool):
    """Pictures that no shard will hold: they stay where they are, each under its record's key."""

    def sweep(self, keys: Iterable[str]) -> list[str]:
        """Removes what is no picture of these records: what broke off, and what belongs to none any more.

        Returns:
            Keys of records whose picture is gone.
        """
        with os.scandir(self.folder) as entries:
            there = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
        wanted = {photo_name(key): key for key in keys}
        for name in there - wanted.keys():
            (self.folder / name).unlink(missing_ok=True)
        return [key for name, key in wanted.items() if name not in there]

    def _path(self, key: str, role: str, number: int) -> Path:
        return self.folder / photo_name(key)


def photo_name(key: str) -> str:
    """The name of a made photo's file, by its record's key."""
    return f"{key}.png"
