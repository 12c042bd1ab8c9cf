"""Journals of long runs, made out of one that the driver began: by SQL, whatever its tables look like.

A finished sample of that run is the template. Its columns are copied, its key is replaced wherever it stands.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

SAMPLES = "samples"
LOOKED_AT = 1000
"""Waiting samples by which columns are told apart. Ours."""


def finish_most(journal: Path, left: int) -> int:
    """Marks all samples as finished but the last `left` ones, as if the driver had run them.

    Args:
        journal: of a run that has at least one finished sample.

    Returns:
        How many samples are finished now.
    """
    with _opened(journal) as db:
        template = _template(db)
        waiting = _rows(db, "SELECT * FROM samples WHERE state != 'done' LIMIT ?", LOOKED_AT)
        # What is the same in all waiting samples says how far they are; what differs says which they are.
        states = [
            name
            for name, value in template.items()
            if len({one[name] for one in waiting}) == 1 and waiting[0][name] != value
        ]
        assert "state" in states, "the samples have no state that tells finished ones apart"
        chosen = "state != 'done' AND key NOT IN (SELECT key FROM samples ORDER BY position DESC LIMIT ?)"
        db.execute("CREATE TEMP TABLE chosen AS SELECT key FROM samples WHERE " + chosen, (left,))
        settings = ", ".join(f"{name} = ?" for name in (*states, "prompt_id"))
        values = [template[name] for name in states] + [None]
        db.execute(f"UPDATE samples SET {settings} WHERE key IN (SELECT key FROM chosen)", values)
        for table in _belonging(db, template["key"]):
            _copy(db, table, template["key"], "SELECT key FROM chosen")
        return int(db.execute("SELECT COUNT(*) FROM samples WHERE state = 'done'").fetchone()[0])


def add_finished(journal: Path, count: int) -> None:
    """Adds `count` finished samples before all others, with keys of their own."""
    with _opened(journal) as db:
        key = _template(db)["key"]
        first = int(db.execute("SELECT COUNT(*) FROM samples").fetchone()[0])
        keys = (
            f"WITH RECURSIVE numbers (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers "
            f"WHERE n < {first + int(count) - 1}) "
            "SELECT printf('added%015x', n) AS key FROM numbers"
        )
        for table in (SAMPLES, *_belonging(db, key)):
            _copy(db, table, key, keys)
        db.execute("UPDATE samples SET position = -rowid WHERE key GLOB 'added*'")


@contextmanager
def _opened(journal: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(journal, isolation_level=None)) as db:
        db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY")
        db.execute("BEGIN")
        yield db
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _template(db: sqlite3.Connection) -> dict[str, Any]:
    """A finished sample."""
    rows = _rows(db, "SELECT * FROM samples WHERE state = 'done' LIMIT ?", 1)
    if not rows:
        raise RuntimeError("the journal has no finished sample to take as a template")
    return rows[0]


def _belonging(db: sqlite3.Connection, key: str) -> list[str]:
    """Tables, other than that of the samples, with rows that name a sample."""
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [
        table
        for table in tables
        if table != SAMPLES and not table.startswith("sqlite_")
        for (names_it,) in [
            db.execute(f"SELECT COUNT(*) FROM {table} WHERE {_names(db, table)}", {"key": key}).fetchone()
        ]
        if names_it
    ]


def _copy(db: sqlite3.Connection, table: str, key: str, keys: str) -> None:
    """Copies the template's rows of a table for every key that `keys` selects."""
    columns = _columns(db, table)
    found = db.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE {_names(db, table)}", {"key": key})
    for row in found.fetchall():
        taken = ["replace(?, ?, k.key)" if isinstance(value, str) else "?" for value in row]
        values = [given for value in row for given in ((value, key) if isinstance(value, str) else (value,))]
        copied = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(taken)} FROM ({keys}) AS k"
        db.execute(copied, values)


def _names(db: sqlite3.Connection, table: str) -> str:
    """The condition that a row of a table has the template's key in one of its columns."""
    return " OR ".join(f"{name} = :key" for name in _columns(db, table)) or "0"


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    """A table's columns, without an integer key that SQLite numbers by itself."""
    described = db.execute(f"PRAGMA table_info({table})").fetchall()
    return [name for _, name, kind, _, _, key in described if not (key and kind.upper() == "INTEGER")]


def _rows(db: sqlite3.Connection, query: str, limit: int) -> list[dict[str, Any]]:
    found = db.execute(query, (limit,))
    names = [one[0] for one in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]
