"""The journal: an SQLite file that knows of every sample how far it came. The truth while a run lasts.

Written before each prompt is posted and after its results lie on disk, so that a run that was killed
at any moment goes on without doing or losing anything twice.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from comfy_nodes.core.annotation import parse_annotation, to_json
from comfy_nodes.core.records import SampleFailure

from .failures import RunError
from .harvest import Row
from .sources import Planned, Sample, Unusable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS samples (
    key TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    enrolment INTEGER NOT NULL,
    source_id TEXT NOT NULL,
    sample TEXT,
    state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    faults INTEGER NOT NULL DEFAULT 0,
    submissions INTEGER NOT NULL DEFAULT 0,
    prompt_id TEXT, server TEXT,
    stage TEXT, node TEXT, error_type TEXT, message TEXT,
    queued_at REAL, finished_at REAL, execution_s REAL, transfer_s REAL
);
CREATE INDEX IF NOT EXISTS samples_waiting ON samples (position) WHERE state = 'pending' AND prompt_id IS NULL;
CREATE TABLE IF NOT EXISTS records (
    key TEXT PRIMARY KEY,
    sample TEXT NOT NULL REFERENCES samples (key),
    verdict TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    record TEXT NOT NULL
);
"""


_DISK_ERRORS = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN")
"""What a sound journal may meet too."""


@dataclass(frozen=True)
class Tries:
    """Attempts that ended with a word on the sample, and prompts that were posted, for whatever end."""

    attempts: int
    submissions: int


@dataclass(frozen=True)
class Submission:
    """A prompt that was posted, or was about to be, when the journal was last written."""

    sample: Sample
    prompt_id: str
    server: str


class Journal:
    """The journal of one output folder. Used by one thread."""

    def __init__(self, path: Path):
        """
        Raises:
            RunError: the file is not a journal, or the disk is full.
        """
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorname.startswith(_DISK_ERRORS):
                raise
            raise RunError(f"{path}: not a journal of EditPairs ({error}); use another --output") from None

    def close(self) -> None:
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    def get(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def add_edit_seconds(self, seconds: float) -> None:
        """Adds the time that a run spent editing."""
        self.set("edit_seconds", str(self.edit_seconds() + seconds))

    def edit_seconds(self) -> float:
        """Time spent editing, over all runs."""
        return float(self.get("edit_seconds") or 0)

    def enrol(self, planned: Iterable[Planned], limit: int | None) -> None:
        """Takes down the run's samples. Known ones keep their state, new ones wait, unusable ones have failed.

        Args:
            limit: enrol at most so many usable samples.
        """
        enrolment = int(self.get("enrolment") or 0) + 1
        usable = 0
        with self._transaction():
            for position, one in enumerate(planned):
                if isinstance(one, Unusable):
                    self._enrol_unusable(one, position, enrolment)
                elif limit is not None and usable >= limit:
                    break
                else:
                    usable += 1
                    self._enrol_sample(one, position, enrolment)
            else:
                # An input that was refused before and is mended, or gone, has a sample of its own now.
                stale = "DELETE FROM samples WHERE state = 'failed' AND stage = 'input' AND enrolment < ?"
                self._db.execute(stale, (enrolment,))
            # What waits and is not in the plan any more must not run: its region, or its photo, is gone.
            left = "DELETE FROM samples WHERE state = 'pending' AND prompt_id IS NULL AND enrolment < ?"
            self._db.execute(left, (enrolment,))
            self.set("enrolment", str(enrolment))

    def retry_failed(self, error_class: str | None) -> int:
        """Lets failed samples wait again, all or those of one error type; returns how many."""
        chosen = "" if error_class is None else " AND error_type = ?"
        values = () if error_class is None else (error_class,)
        cursor = self._db.execute(
            "UPDATE samples SET state = 'pending', faults = 0, stage = NULL, node = NULL, error_type = NULL, "
            f"message = NULL WHERE state = 'failed' AND sample IS NOT NULL{chosen}",
            values,
        )
        return cursor.rowcount

    def next_waiting(self, held: Collection[str]) -> Sample | None:
        """The first sample in the input's order that waits and is in no queue.

        Args:
            held: keys of samples that the caller has taken already.
        """
        rows = self._db.execute(
            "SELECT key FROM samples WHERE state = 'pending' AND prompt_id IS NULL ORDER BY position LIMIT ?",
            (len(held) + 1,),
        )
        key = next((key for (key,) in rows if key not in held), None)
        if key is None:
            return None
        (text,) = self._db.execute("SELECT sample FROM samples WHERE key = ?", (key,)).fetchone()
        return _sample(key, text)

    def submissions(self) -> list[Submission]:
        """Prompts without a known end: what an earlier run left in the queue of a server."""
        rows = self._db.execute(
            "SELECT key, sample, prompt_id, server FROM samples WHERE state = 'pending' AND prompt_id IS NOT NULL "
            "ORDER BY position"
        ).fetchall()
        return [Submission(_sample(key, text), prompt_id, server) for key, text, prompt_id, server in rows]

    def tries(self, key: str) -> Tries:
        """How often a sample was tried so far."""
        row = self._db.execute("SELECT attempts, submissions FROM samples WHERE key = ?", (key,)).fetchone()
        return Tries(*row)

    def submitting(self, key: str, prompt_id: str, server: str) -> None:
        """To be called before the prompt is posted."""
        self._db.execute(
            "UPDATE samples SET prompt_id = ?, server = ?, submissions = submissions + 1, queued_at = ? WHERE key = ?",
            (prompt_id, server, time.time(), key),
        )

    def fault(self, key: str) -> int:
        """The server or the network failed the sample: it waits again. Returns how often that happened."""
        self._db.execute("UPDATE samples SET prompt_id = NULL, faults = faults + 1 WHERE key = ?", (key,))
        return int(self._db.execute("SELECT faults FROM samples WHERE key = ?", (key,)).fetchone()[0])

    def release(self, key: str) -> None:
        """The prompt was never run, through nobody's fault: the sample waits again."""
        self._db.execute("UPDATE samples SET prompt_id = NULL WHERE key = ?", (key,))

    def done(self, key: str, rows: list[Row], execution_s: float | None, transfer_s: float) -> None:
        """The sample's files lie on disk."""
        with self._transaction():
            self._db.execute("DELETE FROM records WHERE sample = ?", (key,))
            self._db.execute(
                "UPDATE samples SET state = 'done', prompt_id = NULL, attempts = attempts + 1, finished_at = ?, "
                "execution_s = ?, transfer_s = ? WHERE key = ?",
                (time.time(), execution_s, transfer_s, key),
            )
            self._db.executemany(
                "INSERT INTO records SELECT ?, key, ?, attempts, ? FROM samples WHERE key = ?",
                [(row.key, row.verdict, row.record, key) for row in rows],
            )

    def failed(self, key: str, failure: SampleFailure) -> None:
        """The sample has no row, for a reason that lies with it."""
        self._db.execute(
            "UPDATE samples SET state = 'failed', prompt_id = NULL, attempts = attempts + 1, finished_at = ?, "
            "stage = ?, node = ?, error_type = ?, message = ? WHERE key = ?",
            (time.time(), failure.stage, failure.node, failure.error_type, failure.message, key),
        )

    def counts(self) -> Counter[str]:
        """Samples by state (pending, done, failed) and records by verdict (keep, reject, unscored)."""
        states = self._db.execute("SELECT state, COUNT(*) FROM samples GROUP BY state")
        verdicts = self._db.execute("SELECT verdict, COUNT(*) FROM records GROUP BY verdict")
        return Counter({name: number for rows in (states, verdicts) for name, number in rows})

    def records(self, kept: bool) -> Iterator[tuple[str, int]]:
        """Records as JSON with their attempt, in the input's order: those to keep, or all others."""
        rows = self._db.execute(
            "SELECT record, attempt FROM records JOIN samples ON samples.key = records.sample "
            f"WHERE verdict {'=' if kept else '!='} 'keep' ORDER BY position, records.key"
        )
        yield from rows

    def reject_reasons(self) -> list[str]:
        """Why each rejected record is rejected."""
        rows = self._db.execute("SELECT json_extract(record, '$.reject_reason') FROM records WHERE verdict = 'reject'")
        return [reason for (reason,) in rows]

    def failures(self) -> list[dict[str, object]]:
        """Failed samples in the input's order, as rows of `failed.parquet`."""
        names = ("key", "source_id", "stage", "node", "error_type", "message", "attempts")
        rows = self._db.execute(f"SELECT {', '.join(names)} FROM samples WHERE state = 'failed' ORDER BY position, key")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def telemetry(self) -> list[dict[str, object]]:
        """How each finished sample went, as rows of `telemetry.parquet`."""
        names = ("key", "state", "server", "attempts", "submissions", "faults", "queued_at", "finished_at",
                 "execution_s", "transfer_s")  # fmt: skip
        rows = self._db.execute(
            f"SELECT {', '.join(names)} FROM samples WHERE state != 'pending' ORDER BY position, key"
        )
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _enrol_unusable(self, one: Unusable, position: int, enrolment: int) -> None:
        failure = one.failure
        self._db.execute(
            "INSERT INTO samples (key, position, enrolment, source_id, state, stage, node, error_type, message) "
            "VALUES (?, ?, ?, ?, 'failed', ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET position = excluded.position, "
            "enrolment = excluded.enrolment, error_type = excluded.error_type, message = excluded.message",
            (
                one.key,
                position,
                enrolment,
                one.source_id,
                failure.stage,
                failure.node,
                failure.error_type,
                failure.message,
            ),
        )

    def _enrol_sample(self, one: Sample, position: int, enrolment: int) -> None:
        self._db.execute(
            "INSERT INTO samples (key, position, enrolment, source_id, sample, state) VALUES (?, ?, ?, ?, ?, 'pending') "
            "ON CONFLICT (key) DO UPDATE SET position = excluded.position, enrolment = excluded.enrolment, "
            "sample = excluded.sample, "
            # A photo that could not be read is looked at again.
            "state = CASE WHEN samples.stage = 'input' AND samples.state = 'failed' THEN 'pending' ELSE samples.state END",
            (one.key, position, enrolment, one.annotation.path, _text(one)),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _text(sample: Sample) -> str:
    annotation = to_json(sample.annotation)
    return json.dumps({"file": sample.file, "annotation": annotation, "instruction": sample.instruction})


def _sample(key: str, text: str) -> Sample:
    item = json.loads(text)
    return Sample(key, item["file"], parse_annotation(item["annotation"]), item["instruction"])
