"""Fetched images on their way from the server to a shard: files by record key, written whole or not at all."""

from __future__ import annotations

import errno
import os
from itertools import islice
from pathlib import Path

from .failures import RunError


class Spool:
    """The images of finished records that no shard holds yet."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, key: str, role: str, number: int, data: bytes) -> None:
        """Writes one image durably.

        Args:
            role: `input` or `output`.
            number: its place in the record's list.

        Raises:
            RunError: the disk is full or may not be written to.
        """
        path = self._path(key, role, number)
        temporary = path.with_suffix(".part")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        except OSError as error:
            raise disk_error(error, self.folder) from None

    def get(self, key: str, role: str, number: int) -> bytes | None:
        """The image, or None where it is in a shard already."""
        try:
            return self._path(key, role, number).read_bytes()
        except FileNotFoundError:
            return None

    def clear(self) -> None:
        """Forgets all images; to be called when the shards that hold them are in place."""
        while some := self._some(10_000):  # there may be millions
            for path in some:
                path.unlink()

    @property
    def empty(self) -> bool:
        """Whether no image waits for a shard."""
        return not self._some(1)

    def _some(self, most: int) -> list[Path]:
        with os.scandir(self.folder) as entries:
            return [Path(entry) for entry in islice(entries, most)]

    def _path(self, key: str, role: str, number: int) -> Path:
        return self.folder / f"{key}.{role}{number}.png"


def disk_error(error: OSError, folder: Path) -> RunError:
    """An error of the output disk as a line that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"the disk of {folder} is full: make room and run the same command again; it goes on", status=1)
    return RunError(f"{folder}: cannot be written ({error.strerror}); check its permissions", status=1)
