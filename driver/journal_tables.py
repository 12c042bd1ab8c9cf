"""The tables of a journal, and its file: opened where it is one of this version, made where there is none."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from .errors import RunError

_FORM = 1
"""That of the tables below. Raised whenever they change; journals before the first counted none."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS samples (
    key TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    enrolment INTEGER NOT NULL,
    source_id TEXT NOT NULL,
    sample TEXT,
    pictures TEXT NOT NULL DEFAULT '[]', stamp TEXT NOT NULL DEFAULT '', digest TEXT,
    state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'failed', 'skipped', 'retired')),
    attempts INTEGER NOT NULL DEFAULT 0,
    faults INTEGER NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    submissions INTEGER NOT NULL DEFAULT 0,
    prompt_id TEXT, slot INTEGER, server TEXT,
    stage TEXT, node TEXT, error_type TEXT, message TEXT,
    queued_at REAL, finished_at REAL, execution_s REAL, transfer_s REAL
);
CREATE INDEX IF NOT EXISTS samples_waiting ON samples (position) WHERE state = 'pending' AND prompt_id IS NULL;
CREATE INDEX IF NOT EXISTS samples_posted ON samples (position) WHERE state = 'pending' AND prompt_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS samples_by_state ON samples (state);
CREATE INDEX IF NOT EXISTS samples_by_position ON samples (position);
CREATE TABLE IF NOT EXISTS records (
    key TEXT PRIMARY KEY,
    sample TEXT NOT NULL REFERENCES samples (key),
    verdict TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_verdict ON records (verdict);
CREATE INDEX IF NOT EXISTS records_by_sample ON records (sample);
CREATE TABLE IF NOT EXISTS retired (
    key TEXT NOT NULL,
    verdict TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    record TEXT NOT NULL,
    sample TEXT NOT NULL,
    why TEXT NOT NULL,
    retired_at REAL NOT NULL
);
"""

_VERDICTS = "TABLE {} dialogue_verdicts (record TEXT PRIMARY KEY, verdict TEXT NOT NULL, why TEXT NOT NULL)"
"""Records that count otherwise than they say themselves, as their dialogue came to nothing. Journals of earlier versions,
which knew no dialogues, have none."""

_JUDGED = """
CREATE TEMP VIEW judged AS
SELECT records.key AS key, sample, coalesce(told.verdict, records.verdict) AS verdict, attempt, CASE
    WHEN told.verdict IS NULL THEN records.record
    ELSE json_set(records.record, '$.verdict', told.verdict, '$.reject_reason', told.why, '$.vouched_by', json('[]')) END AS record
FROM records LEFT JOIN dialogue_verdicts AS told ON told.record = records.key
"""
"""Records as rows are made of them."""

_DISK_ERRORS = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN")
"""What a sound journal may meet too."""


_KINDS = """
WITH told AS (
    SELECT records.sample AS sample, verdict, execution_s, COUNT(*) OVER (PARTITION BY records.sample) AS siblings,
        coalesce(nullif(json_extract(record, '$.made_as_subtask'), ''), nullif(json_extract(record, '$.made_as'), ''),
            nullif(json_extract(record, '$.subtask'), ''), json_extract(record, '$.task'), '') AS kind
    FROM {records} AS records JOIN samples ON samples.key = records.sample
)
SELECT kind, verdict, COUNT(*), SUM(1.0 / siblings), SUM(coalesce(execution_s, 0) / siblings) FROM told GROUP BY kind, verdict
UNION ALL
SELECT coalesce(json_extract(sample, '$.subtask'), json_extract(sample, '$.own_task'), json_extract(sample, '$.task'), ''),
    '', 0, COUNT(*), SUM(coalesce(execution_s, 0))
FROM samples
WHERE sample IS NOT NULL AND state IN ('failed', 'skipped') AND key NOT IN (SELECT sample FROM records) GROUP BY 1
"""


class KindRow(NamedTuple):
    """What came of the samples of one kind of edit, by what was said of their records."""

    kind: str
    """A name of the taxonomy, or a task; a stage's where its samples have no kind."""
    verdict: str
    """keep, reject or unscored; empty of samples that went through the graph and gave no record."""
    records: int
    samples: float
    """A sample with records of several verdicts or kinds counts in parts."""
    seconds: float
    """How long servers worked on them."""


def kind_rows(db: sqlite3.Connection, records: str) -> Iterator[KindRow]:
    """Samples of a journal that have an end, by kind and verdict.

    Args:
        records: the table or view that these are read from.
    """
    return map(KindRow._make, db.execute(_KINDS.format(records=records)))


def take_out(db: sqlite3.Connection, which: str, values: Sequence[str], why: str) -> None:
    """Takes samples' records out of the dataset, into a table that keeps them.

    Args:
        which: a condition on samples.
        values: for it.
    """
    samples = f"SELECT key FROM samples WHERE {which}"
    db.execute(
        "INSERT INTO retired SELECT records.key, verdict, attempt, record, samples.sample, ?, ? FROM records "
        f"JOIN samples ON samples.key = records.sample WHERE records.sample IN ({samples})",
        (why, time.time(), *values),
    )
    db.execute(f"DELETE FROM records WHERE sample IN ({samples})", values)
    db.execute(f"UPDATE samples SET state = 'retired' WHERE {which}", values)


def opened(path: Path, read_only: bool = False) -> sqlite3.Connection:
    """A journal's file, which threads may share that take turns.

    Args:
        read_only: only looks at it, also while another process writes there.

    Raises:
        RunError: the file is not a journal, or another version's.
        sqlite3.OperationalError: the disk is full, or may not be written to; read-only, the file is not there.
    """
    place = f"file:{quote(str(path.resolve()))}?{_how(path)}" if read_only else path
    db = sqlite3.connect(place, isolation_level=None, check_same_thread=False, uri=read_only)
    try:
        if not read_only:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
        (form,) = db.execute("PRAGMA user_version").fetchone()
        if form != _FORM:
            if read_only:
                raise RunError(f"{path}: not a journal of EditPairs yet, or that of another version")
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'samples'").fetchone():
                db.close()
                raise RunError(f"{path}: not a journal of EditPairs, or that of another version; use another --output")
            # All or nothing: whoever is killed meanwhile leaves an empty file.
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_FORM}; COMMIT")
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'dialogue_verdicts'").fetchone():
            db.execute(f"CREATE {'TEMP ' if read_only else ''}{_VERDICTS.format('IF NOT EXISTS')}")
        db.execute(_JUDGED)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorname.startswith(_DISK_ERRORS):
            raise
        raise RunError(f"{path}: not a journal of EditPairs ({error}); use another --output") from None
    return db


def _how(path: Path) -> str:
    """How a journal is opened that is only looked at. Where nobody writes to it SQLite makes no files beside it, which it
    could not take away again."""
    return "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
