"""A journal's file: opened, shared by threads that take turns, and what a run notes there under names.

`journal.py` stands on it with all that a journal knows of samples.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from .journal_tables import opened

_Method = TypeVar("_Method", bound=Callable[..., Any])


def in_turn(method: _Method) -> _Method:
    """Lets one thread at a time into a journal."""

    @wraps(method)
    def held(self: JournalFile, *args: Any, **named: Any) -> Any:
        with self._lock:
            return method(self, *args, **named)

    return cast(_Method, held)


class JournalFile:
    """An SQLite file. May be used by several threads; they take turns."""

    def __init__(self, path: Path, read_only: bool = False):
        """
        Args:
            read_only: only looks at it, also while another process writes there.

        Raises:
            RunError: the file is not a journal, or the disk is full.
        """
        self._lock = threading.RLock()
        self._path, self._read_only = path, read_only
        self._opened: sqlite3.Connection | None = opened(path, read_only)

    @property
    def _db(self) -> sqlite3.Connection:
        """Its file, opened again where somebody still has a question after it was closed: the copy of a sample that
        another server was quicker with."""
        with self._lock:
            if self._opened is None:
                self._opened = opened(self._path, self._read_only)
            return self._opened

    @property
    def _judged(self) -> str:
        """Where records are read as rows are made of them; where no dialogue has another word on one, that is their table
        itself, which has indices."""
        return "judged" if self._db.execute("SELECT 1 FROM dialogue_verdicts LIMIT 1").fetchone() else "records"

    @in_turn
    def close(self) -> None:
        """Lets go of its file."""
        if self._opened is not None:
            if not self._read_only:
                self._opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._opened.close()
            self._opened = None

    @in_turn
    def get(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    @in_turn
    def set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @in_turn
    def unset(self, name: str) -> None:
        self._db.execute("DELETE FROM meta WHERE name = ?", (name,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def of_tasks(tasks: Collection[str] | None) -> tuple[str, tuple[str, ...]]:
    """A condition on samples, and the values for it.

    Args:
        tasks: only samples of these tasks; None for all.
    """
    if tasks is None:
        return "", ()
    return f" AND json_extract(sample, '$.task') IN ({', '.join('?' * len(tasks))})", tuple(tasks)
