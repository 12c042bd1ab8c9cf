"""The disks that are written to: whether they have room, what survives a loss of power, and their errors in one line.

Below the watermark a run begins nothing new, until there is room again; all workers ask before every prompt.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from comfy_nodes.core.whole_files import replacing, write_whole

from .errors import RunError

CHECK_SECONDS = 1.0
"""How often the disks are looked at, at most. Ours."""

MARGIN = 1.1
"""Times the watermark that must be free before a paused run goes on, so that it does not flutter. Ours."""


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that a folder lies on, or will lie on when it is made.

    Raises:
        RunError: the disk does not answer.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise RunError(
            f"{folder}: its disk does not answer ({error.strerror}); see to it and run this again", 1
        ) from None


class Watermark:
    """Says why a run must pause for want of room, if it must. Called from the threads of all servers."""

    def __init__(
        self,
        folders: Sequence[Path],
        low_bytes: int,
        free: Callable[[Path], int] = free_bytes,
        clock: Callable[[], float] = time.monotonic,
    ):
        """
        Args:
            folders: what the run writes to; each on a disk of its own, or not.
            low_bytes: less than this free on one of them, and the run pauses; 0 for never.
            free: tells a folder's free bytes.
            clock: tells seconds.
        """
        self._folders = folders
        self._low = low_bytes
        self._free = free
        self._clock = clock
        self._looked: float | None = None
        self._why = ""
        self._lock = threading.Lock()

    def __call__(self) -> str:
        """Why nothing new may be begun, in the same words while it lasts; empty where something may.

        Raises:
            RunError: a disk does not answer.
        """
        with self._lock:
            now = self._clock()
            if self._looked is None or now - self._looked >= CHECK_SECONDS:
                self._looked = now
                self._why = self._look()
            return self._why

    def _look(self) -> str:
        wanted = self._low * MARGIN if self._why else self._low
        for folder in self._folders:
            if self._free(folder) < wanted:
                return self._why or (
                    f"less than {self._low / 1e9:.3g} GB are free on the disk of {folder} (--min-free-gb); "
                    "it goes on when there is room"
                )
        return ""


def disk_error(error: OSError, folder: Path) -> RunError:
    """An error of the output disk as a line that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"the disk of {folder} is full: make room and run the same command again; it goes on", status=1)
    return RunError(f"{folder}: cannot be written ({error.strerror}); check its permissions", status=1)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """
    Raises:
        RunError: in the place of any `OSError` in the block; `disk_error` says what it says.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(error, folder) from None


def make_durable(path: Path) -> None:
    """Sees that a file, or a folder's names, survive a loss of power."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Replaces a file in one step.

    Raises:
        RunError: the disk is full, or may not be written to.
    """
    with disk_errors(path.parent):
        write_whole(path, text)


def write_lines(path: Path, items: Iterable[dict[str, Any]]) -> None:
    """The same for a file of JSON lines."""
    with disk_errors(path.parent), replacing(path) as file:
        for item in items:
            file.write((json.dumps(item, ensure_ascii=False) + "\n").encode())
