"""The journal: an SQLite file that knows of every sample how far it came. The truth while a run lasts.

Written before each prompt is posted and after its results lie on disk, so that a run that was killed
at any moment goes on without doing or losing anything twice.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

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
"""


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _in_turn(method: _Method) -> _Method:
    """Lets one thread at a time into a journal."""

    @wraps(method)
    def held(self: Journal, *args: Any, **named: Any) -> Any:
        with self._lock:
            return method(self, *args, **named)

    return cast(_Method, held)


_WORDS = ("instruction", "reference", "frame2", "edited", "task", "own_task", "subtask", "slot")
"""A sample's texts, of which most are empty."""

_DISK_ERRORS = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN")
"""What a sound journal may meet too."""


@dataclass(frozen=True)
class Tries:
    """Attempts that ended with a word on the sample, and prompts that were posted, for whatever end."""

    attempts: int
    submissions: int


Place = tuple[int, str]
"""Where a sample stands in the input's order: its position, which two may have after a change of the input, and its key."""

BEFORE_ALL: Place = (-1, "")


@dataclass(frozen=True)
class Waiting:
    """A sample that waits, and its place in the input."""

    position: int
    sample: Sample

    @property
    def place(self) -> Place:
        return self.position, self.sample.key


@dataclass(frozen=True)
class Submission:
    """A sample in a prompt that was posted, or was about to be, when the journal was last written."""

    sample: Sample
    prompt_id: str
    slot: int
    """Its place in the prompt."""
    server: str
    tries: Tries


class Journal:
    """The journal of one output folder. May be used by several threads; they take turns."""

    def __init__(self, path: Path):
        """
        Raises:
            RunError: the file is not a journal, or the disk is full.
        """
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
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

    @_in_turn
    def get(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    @_in_turn
    def set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @_in_turn
    def add_edit_seconds(self, seconds: float) -> None:
        """Adds the time that a run spent editing."""
        self.set("edit_seconds", str(self.edit_seconds() + seconds))

    @_in_turn
    def edit_seconds(self) -> float:
        """Time spent editing, over all runs."""
        return float(self.get("edit_seconds") or 0)

    @_in_turn
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

    @_in_turn
    def refused_inputs(self) -> bool:
        """Whether an input gave no sample."""
        return (
            self._db.execute("SELECT 1 FROM samples WHERE state = 'failed' AND stage = 'input'").fetchone() is not None
        )

    @_in_turn
    def retry_failed(self, error_class: str | None) -> int:
        """Lets failed samples wait again, all or those of one error type; returns how many."""
        chosen = "" if error_class is None else " AND error_type = ?"
        values = () if error_class is None else (error_class,)
        cursor = self._db.execute(
            "UPDATE samples SET state = 'pending', faults = 0, deaths = 0, stage = NULL, node = NULL, error_type = NULL, "
            f"message = NULL WHERE state = 'failed' AND sample IS NOT NULL{chosen}",
            values,
        )
        return cursor.rowcount

    @_in_turn
    def waiting(self, after: Place, limit: int, tasks: Collection[str] | None = None) -> list[Waiting]:
        """Samples that wait and are in no queue of a server, in the input's order.

        Args:
            after: only those behind this place in the input.
            tasks: only samples of these tasks; None for all.
        """
        of_tasks, names = _of_tasks(tasks)
        rows = self._db.execute(
            "SELECT position, key, sample FROM samples WHERE state = 'pending' AND prompt_id IS NULL "
            f"AND position >= ? AND (position, key) > (?, ?){of_tasks} ORDER BY position, key LIMIT ?",
            (after[0], *after, *names, limit),
        )
        return [Waiting(position, _sample(key, text)) for position, key, text in rows]

    @_in_turn
    def pending(self, tasks: Collection[str] | None = None) -> int:
        """How many samples have no end yet, of these tasks or of all."""
        of_tasks, names = _of_tasks(tasks)
        count = f"SELECT COUNT(*) FROM samples WHERE state = 'pending'{of_tasks}"
        return int(self._db.execute(count, names).fetchone()[0])

    @_in_turn
    def submissions(self) -> list[Submission]:
        """Prompts without a known end: what an earlier run left in the queue of a server."""
        rows = self._db.execute(
            "SELECT key, sample, prompt_id, slot, server, attempts, submissions FROM samples "
            "WHERE state = 'pending' AND prompt_id IS NOT NULL ORDER BY position"
        ).fetchall()
        return [
            Submission(_sample(key, text), prompt_id, slot, server, Tries(attempts, submissions))
            for key, text, prompt_id, slot, server, attempts, submissions in rows
        ]

    @_in_turn
    def sample(self, key: str) -> Sample | None:
        """The sample of this key; None where there is none, or only an input that gave none."""
        row = self._db.execute("SELECT sample FROM samples WHERE key = ?", (key,)).fetchone()
        return _sample(key, row[0]) if row and row[0] else None

    @_in_turn
    def tries(self, key: str) -> Tries:
        """How often a sample was tried so far."""
        row = self._db.execute("SELECT attempts, submissions FROM samples WHERE key = ?", (key,)).fetchone()
        return Tries(*row)

    @_in_turn
    def ended(self, key: str) -> bool:
        """Whether a sample is done or has failed."""
        row = self._db.execute("SELECT state FROM samples WHERE key = ?", (key,)).fetchone()
        return row is not None and row[0] != "pending"

    @_in_turn
    def undecided(self, key: str, attempt: int) -> bool:
        """Whether nothing was said yet of this attempt at a sample, counted from 0."""
        row = self._db.execute("SELECT state, attempts FROM samples WHERE key = ?", (key,)).fetchone()
        return bool(row == ("pending", attempt))

    @_in_turn
    def submitting(self, keys: Sequence[str], prompt_id: str, server: str) -> None:
        """To be called before a prompt with these samples, in their order, is posted."""
        with self._transaction():
            self._db.executemany(
                "UPDATE samples SET prompt_id = ?, slot = ?, server = ?, submissions = submissions + 1, queued_at = ? "
                "WHERE key = ? AND state = 'pending'",
                [(prompt_id, slot, server, time.time(), key) for slot, key in enumerate(keys)],
            )

    @_in_turn
    def fault(self, key: str) -> int:
        """The server or the network failed the sample: it waits again. Returns how often that happened."""
        return self._count("faults", key)

    @_in_turn
    def death(self, key: str) -> int:
        """A server died while it ran the sample, which waits again. Returns how often that happened."""
        return self._count("deaths", key)

    def _count(self, column: str, key: str) -> int:
        self._db.execute(
            f"UPDATE samples SET prompt_id = NULL, {column} = {column} + 1 WHERE key = ? AND state = 'pending'", (key,)
        )
        return int(self._db.execute(f"SELECT {column} FROM samples WHERE key = ?", (key,)).fetchone()[0])

    @_in_turn
    def release(self, key: str) -> None:
        """The prompt was never run, through nobody's fault: the sample waits again."""
        self._db.execute("UPDATE samples SET prompt_id = NULL WHERE key = ? AND state = 'pending'", (key,))

    @_in_turn
    def tried(self, key: str, rows: Sequence[Row] = ()) -> None:
        """An attempt came to nothing and another one follows: the sample waits again. `rows` are what it gave."""
        with self._transaction():
            cursor = self._db.execute(
                "UPDATE samples SET prompt_id = NULL, attempts = attempts + 1 WHERE key = ? AND state = 'pending'",
                (key,),
            )
            if cursor.rowcount:
                self._insert(key, rows)

    @_in_turn
    def done(self, key: str, rows: Sequence[Row], transfer_s: float) -> bool:
        """The sample's files lie on disk. Returns False where it was finished before, and changes nothing then."""
        with self._transaction():
            cursor = self._db.execute(
                "UPDATE samples SET state = 'done', prompt_id = NULL, attempts = attempts + 1, finished_at = ?, "
                "transfer_s = ? WHERE key = ? AND state = 'pending'",
                (time.time(), transfer_s, key),
            )
            if cursor.rowcount:
                self._insert(key, rows)
        return bool(cursor.rowcount)

    @_in_turn
    def lost(self, keys: Iterable[str]) -> list[str]:
        """The pictures of these records are gone: their samples wait again, as if nobody had tried them. Returns these."""
        with self._transaction():
            chosen = [self._db.execute("SELECT sample FROM records WHERE key = ?", (key,)).fetchone() for key in keys]
            samples = sorted({row[0] for row in chosen if row})
            for sample in samples:
                self._db.execute("DELETE FROM records WHERE sample = ?", (sample,))
                self._db.execute(
                    "UPDATE samples SET state = 'pending', prompt_id = NULL, attempts = 0 WHERE key = ?", (sample,)
                )
        return samples

    def _insert(self, key: str, rows: Sequence[Row]) -> None:
        # The same try may come home twice; another sample's record must never be replaced.
        self._db.executemany("DELETE FROM records WHERE key = ? AND sample = ?", [(row.key, key) for row in rows])
        self._db.executemany(
            "INSERT INTO records SELECT ?, key, ?, attempts, ? FROM samples WHERE key = ?",
            [(row.key, row.verdict, row.record, key) for row in rows],
        )

    @_in_turn
    def timed(self, keys: Sequence[str], execution_s: float) -> None:
        """How long the server worked on each of these samples."""
        with self._transaction():
            self._db.executemany(
                "UPDATE samples SET execution_s = ? WHERE key = ?", [(execution_s, key) for key in keys]
            )

    @_in_turn
    def failed(self, key: str, failure: SampleFailure) -> bool:
        """The sample has no row. Returns False where it was finished before, and changes nothing then."""
        cursor = self._db.execute(
            "UPDATE samples SET state = 'failed', prompt_id = NULL, attempts = attempts + 1, finished_at = ?, "
            "stage = ?, node = ?, error_type = ?, message = ? WHERE key = ? AND state = 'pending'",
            (time.time(), failure.stage, failure.node, failure.error_type, failure.message, key),
        )
        return bool(cursor.rowcount)

    @_in_turn
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

    @_in_turn
    def record(self, key: str) -> str | None:
        """A record as JSON; None where there is none of that key."""
        row = self._db.execute("SELECT record FROM records WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    @_in_turn
    def reason(self, key: str) -> str:
        """Why a sample failed; empty where it has not."""
        row = self._db.execute("SELECT message FROM samples WHERE key = ? AND state = 'failed'", (key,)).fetchone()
        return row[0] if row else ""

    @_in_turn
    def reject_reasons(self) -> Counter[str]:
        """How many records were rejected for each reason, by its words before the first colon."""
        return self._grouped(
            "SELECT json_extract(record, '$.reject_reason') AS why, COUNT(*) FROM records WHERE verdict = 'reject' GROUP BY why"
        )

    @_in_turn
    def failure_types(self) -> Counter[str]:
        """How many samples failed with each error type."""
        return self._grouped("SELECT error_type, COUNT(*) FROM samples WHERE state = 'failed' GROUP BY error_type")

    def _grouped(self, query: str) -> Counter[str]:
        found: Counter[str] = Counter()
        for text, number in self._db.execute(query):
            found[str(text).partition(":")[0]] += number
        return found

    def failures(self) -> Iterator[dict[str, object]]:
        """Failed samples in the input's order, as rows of `failed.parquet`."""
        names = (
            "key",
            "source_id",
            "json_extract(sample, '$.task') AS task",
            "stage",
            "node",
            "error_type",
            "message",
            "attempts",
        )
        return self._rows(names, "state = 'failed'")

    def telemetry(self) -> Iterator[dict[str, object]]:
        """How each finished sample went, as rows of `telemetry.parquet`."""
        names = ("key", "state", "server", "attempts", "submissions", "faults", "deaths", "queued_at", "finished_at",
                 "execution_s", "transfer_s")  # fmt: skip
        return self._rows(names, "state != 'pending'")

    def _rows(self, names: Sequence[str], which: str) -> Iterator[dict[str, object]]:
        rows = self._db.execute(f"SELECT {', '.join(names)} FROM samples WHERE {which} ORDER BY position, key")
        called = [column[0] for column in rows.description]
        return (dict(zip(called, row, strict=True)) for row in rows)

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


def _of_tasks(tasks: Collection[str] | None) -> tuple[str, tuple[str, ...]]:
    """A condition, and the values for it."""
    if tasks is None:
        return "", ()
    return f" AND json_extract(sample, '$.task') IN ({', '.join('?' * len(tasks))})", tuple(tasks)


def _text(sample: Sample) -> str:
    words = {name: getattr(sample, name) for name in _WORDS if getattr(sample, name)}
    edited = next((one.kind for one in sample.annotation.regions), "")
    return json.dumps({"file": sample.file, "kind": edited, "annotation": to_json(sample.annotation), **words})


def _sample(key: str, text: str) -> Sample:
    item = json.loads(text)
    words = {name: item[name] for name in _WORDS if name in item}
    annotation = parse_annotation(item["annotation"])
    # The format lists objects before backgrounds; in a sample what is edited stands first.
    regions = sorted(annotation.regions, key=lambda one: one.kind != item.get("kind"))
    return Sample(key, item["file"], replace(annotation, regions=tuple(regions)), **words)
