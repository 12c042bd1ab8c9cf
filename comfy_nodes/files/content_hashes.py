"""SHA-256 of files, each read once: known by path, size and times; of weights also in a file beside replies and accounts.

Knows no ComfyUI. Servers of a machine share that file; one of them reads weights while the others wait for their hash.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from contextlib import ExitStack, closing, suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from filelock import FileLock

from ..core.services import places

FILE, LOCK = "weights.sqlite", "weights.lock"

BUSY_S = 5.0
"""Seconds that a writer waits for another process's write, which takes milliseconds. Ours."""

LARGE = 1 << 26
"""Bytes from which a file's hash is kept on disk: reading fewer takes no 0.1 s. Ours."""

_TABLE = """
CREATE TABLE IF NOT EXISTS weights (
  path TEXT PRIMARY KEY, size INTEGER NOT NULL, written INTEGER NOT NULL, changed INTEGER NOT NULL, sha256 TEXT NOT NULL
)
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Stamp:
    """By which a file is known again; `changed` shows files that were put in its place with its time of writing."""

    path: str
    size: int
    written: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> _Stamp:
        real = path.resolve()
        found = real.stat()
        return cls(str(real), found.st_size, found.st_mtime_ns, found.st_ctime_ns)


_known: dict[_Stamp, str] = {}
_turn = threading.Lock()


def of_file(path: Path) -> str:
    """A file's SHA-256.

    Raises:
        OSError: it cannot be read.
    """
    stamp = _Stamp.of(path)
    if stamp not in _known:
        with _turn:
            if stamp not in _known:
                _known[stamp] = _kept_or_read(stamp) if stamp.size >= LARGE else _read(stamp)
    return _known[stamp]


def of_folder(folder: Path) -> str:
    """A hash over the names and contents of a folder's files, in order; hidden files and pages to read do not count.

    Raises:
        OSError: one cannot be read.
    """
    hashed = hashlib.sha256()
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(names):
        if name.endswith(".md") or any(part.startswith(".") for part in name.split("/")):
            continue
        hashed.update(f"{name}\0{of_file(names[name])}\n".encode())
    return hashed.hexdigest()


def _kept_or_read(stamp: _Stamp) -> str:
    folder = places.cache_folder()
    with ExitStack() as opened:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            opened.enter_context(FileLock(folder / LOCK))
            db = opened.enter_context(closing(places.open_database(folder / FILE, BUSY_S)))
            db.execute(_TABLE)
            same = "SELECT sha256 FROM weights WHERE path = ? AND size = ? AND written = ? AND changed = ?"
            row = db.execute(same, astuple(stamp)).fetchone()
        except (sqlite3.Error, OSError) as error:
            _log.warning("EditPairs: %s cannot be used (%s): every start reads all weights", folder / FILE, error)
            return _read(stamp)
        if row is not None:
            return str(row[0])
        found = _read(stamp)
        with suppress(sqlite3.Error):  # a full disk; it is read again another time
            db.execute("REPLACE INTO weights VALUES (?, ?, ?, ?, ?)", (*astuple(stamp), found))
        return found


def _read(stamp: _Stamp) -> str:
    if stamp.size >= LARGE:
        _log.info("EditPairs: hashing %s (%.1f GB), once", Path(stamp.path).name, stamp.size / 1e9)
    with Path(stamp.path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
