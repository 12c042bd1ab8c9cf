"""Files that are whole or absent: written beside their name and renamed, and never through a link that somebody planted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write to, which takes the name `path` when the block ends without an error.

    Args:
        durable: whether it is on disk by then, also where the power fails.

    Raises:
        OSError: the disk is full, or may not be written to. What was there before stays.
    """
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:  # whoever puts a link there in between makes this fail
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: str | bytes, durable: bool = True) -> None:
    """Puts a file in the place of another, as `replacing` does; text as UTF-8."""
    with replacing(path, durable) as file:
        file.write(data.encode() if isinstance(data, str) else data)
