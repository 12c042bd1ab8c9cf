"""Files and folders that are whole or absent: written beside their name and renamed, and never through a planted link.

All renaming of driver and pack is done here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def new_file(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write to, where none is; gone again when the block ends with an error.

    Args:
        durable: whether it is on disk when the block ends, also where the power fails.

    Raises:
        OSError: something has that name, or the disk is full, or may not be written to.
    """
    opened = path.open("xb")  # whoever puts a link there makes this fail
    with _removed_on_error(path), opened as file:
        yield file
        if durable:
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """The same, for a file that takes the name `path` at the end; until then, and after an error, what was there stays."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with new_file(part, durable) as file:
        yield file
    with _removed_on_error(part):
        move_whole(part, path)


def write_whole(path: Path, data: str | bytes, durable: bool = True) -> None:
    """Puts a file in the place of another, as `replacing` does; text as UTF-8."""
    with replacing(path, durable) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def move_whole(path: Path, place: Path) -> None:
    """Gives a file another path on its disk, in one step; a file that was there goes.

    Raises:
        OSError: it may not be moved; it stays where it is.
    """
    path.replace(place)


def replace_folder(fresh: Path, place: Path, old: Path) -> None:
    """Puts a folder in the place of another, in two steps: whoever is killed between them finds both beside an empty place.

    Args:
        old: where the other one goes, if there is one; nothing, or an empty folder.

    Raises:
        OSError: one of them may not be moved.
    """
    if place.exists():
        place.rename(old)
    fresh.rename(place)


@contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise
