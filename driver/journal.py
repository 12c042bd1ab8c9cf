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
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from comfy_nodes.core.records import SampleFailure

from . import places
from .enrolling import Enrolled, Enrolment, sample_of, state_of
from .journal_tables import KindRow, kind_rows, opened
from .places import Locator
from .samples import DUPLICATE, JournalRow, Planned, Sample

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _in_turn(method: _Method) -> _Method:
    """Lets one thread at a time into a journal."""

    @wraps(method)
    def held(self: Journal, *args: Any, **named: Any) -> Any:
        with self._lock:
            return method(self, *args, **named)

    return cast(_Method, held)


@dataclass(frozen=True)
class Tries:
    """Attempts that ended with a word on the sample, and prompts that were posted, for whatever end."""

    attempts: int
    submissions: int


Position = tuple[int, str]
"""Where a sample stands in the input's order: its position, which two may have after a change of the input, and its key."""

BEFORE_ALL: Position = (-1, "")


@dataclass(frozen=True)
class WaitingSample:
    """A sample that waits, and its place in the input."""

    position: int
    sample: Sample

    @property
    def place(self) -> Position:
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

    @_in_turn
    def close(self) -> None:
        """Lets go of its file."""
        if self._opened is not None:
            if not self._read_only:
                self._opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._opened.close()
            self._opened = None

    @_in_turn
    def get(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    @_in_turn
    def set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @_in_turn
    def unset(self, name: str) -> None:
        self._db.execute("DELETE FROM meta WHERE name = ?", (name,))

    @_in_turn
    def add_edit_seconds(self, seconds: float) -> None:
        """Adds the time that a run spent editing."""
        self.set("edit_seconds", str(self.edit_seconds() + seconds))

    @_in_turn
    def edit_seconds(self) -> float:
        """Time spent editing, over all runs."""
        return float(self.get("edit_seconds") or 0)

    @_in_turn
    def enrol(
        self,
        planned: Iterable[Planned],
        limit: int | None,
        same: Callable[[Sequence[Locator], str], bool] | None = None,
        keep_stale: bool = False,
        whole: bool = False,
        known_input: bool = False,
    ) -> Enrolled:
        """Takes down the run's samples. Known ones keep their state, new ones wait, unusable ones have failed or are
        skipped. What a finished sample was made from is compared with what is there now, and stays as it is noted.

        Args:
            limit: enrol at most so many usable samples.
            same: whether a sample's pictures hold what they did, as `Source.same`; asked only where their stamp changed.
            keep_stale: rows whose input changed or is gone stay, and nothing is made in their place.
            whole: `planned` is all that there is: what it lacks is gone from the input.
            known_input: of a shard, that the input is the run's was seen over all of them.

        Raises:
            RunError: most of the rows are of photos that are not there; nothing is taken down then.
        """
        number = int(self.get("enrolment") or 0) + 1
        with self._transaction():
            found = Enrolment(self._db, number, same, keep_stale, known_input).take(planned, limit, whole)
            self.set("enrolment", str(number))
        return found

    @_in_turn
    def moved(self, stamp: Callable[[Sequence[Locator]], str]) -> bool:
        """Whether a picture of a sample in the plan is another one, by its stamp, than when it was taken down."""
        found = self._db.execute(
            "SELECT DISTINCT pictures, stamp FROM samples WHERE state != 'retired' AND stamp != ''"
        )
        return any(stamp([places.from_json(one) for one in json.loads(pictures)]) != known for pictures, known in found)

    @_in_turn
    def refused_inputs(self) -> bool:
        """Whether an input gave no sample."""
        refused = "SELECT 1 FROM samples WHERE sample IS NULL OR (state = 'failed' AND stage = 'input') LIMIT 1"
        return self._db.execute(refused).fetchone() is not None

    @_in_turn
    def retry_failed(self, error_class: str | None) -> int:
        """Lets failed samples of the plan wait again, all, or those of one error type, skipped ones too; returns how
        many."""
        chosen = "state = 'failed'" if error_class is None else "state IN ('failed', 'skipped') AND error_type = ?"
        values = (int(self.get("enrolment") or 0), *(() if error_class is None else (error_class,)))
        cursor = self._db.execute(
            "UPDATE samples SET state = 'pending', faults = 0, deaths = 0, stage = NULL, node = NULL, error_type = NULL, "
            f"message = NULL WHERE sample IS NOT NULL AND enrolment = ? AND {chosen}",
            values,
        )
        return cursor.rowcount

    @_in_turn
    def waiting(self, after: Position, limit: int, tasks: Collection[str] | None = None) -> list[WaitingSample]:
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
        return [WaitingSample(position, sample_of(key, text)) for position, key, text in rows]

    @_in_turn
    def planned_kinds(self) -> Counter[str]:
        """How many samples of each kind of edit are in the plan, by the row of the taxonomy or by the task."""
        kind = "coalesce(json_extract(sample, '$.subtask'), json_extract(sample, '$.task'), '')"
        return self._grouped(
            f"SELECT {kind} AS kind, COUNT(*) FROM samples WHERE sample IS NOT NULL AND state != 'retired' GROUP BY kind"
        )

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
            Submission(sample_of(key, text), prompt_id, slot, server, Tries(attempts, submissions))
            for key, text, prompt_id, slot, server, attempts, submissions in rows
        ]

    @_in_turn
    def sample(self, key: str) -> Sample | None:
        """The sample of this key; None where there is none, or only an input that gave none."""
        row = self._db.execute("SELECT sample FROM samples WHERE key = ?", (key,)).fetchone()
        return sample_of(key, row[0]) if row and row[0] else None

    @_in_turn
    def tries(self, key: str) -> Tries:
        """How often a sample was tried so far."""
        row = self._db.execute("SELECT attempts, submissions FROM samples WHERE key = ?", (key,)).fetchone()
        return Tries(*row)

    @_in_turn
    def ended(self, key: str) -> bool:
        """Whether a sample is done, has failed, was skipped or has left the plan."""
        row = self._db.execute("SELECT state FROM samples WHERE key = ?", (key,)).fetchone()
        return row is not None and row[0] != "pending"

    @_in_turn
    def undecided(self, key: str, attempt: int) -> bool:
        """Whether nothing was said yet of this attempt at a sample, counted from 0."""
        row = self._db.execute("SELECT state, attempts FROM samples WHERE key = ?", (key,)).fetchone()
        return bool(row == ("pending", attempt))

    @_in_turn
    def submitting(
        self,
        keys: Sequence[str],
        prompt_id: str,
        server: str,
        slots: Sequence[int] | None = None,
        digests: Sequence[str] = (),
    ) -> None:
        """To be called before a prompt with these samples is posted.

        Args:
            slots: their places in the prompt, where other journals' samples are in it too; None where they are all of it,
                in their order.
            digests: hashes of the pictures that each is about to be made from, where they are known.
        """
        now = time.time()
        every = zip(slots or range(len(keys)), digests or [""] * len(keys), keys, strict=True)
        with self._transaction():
            self._db.executemany(
                "UPDATE samples SET prompt_id = ?, slot = ?, server = ?, submissions = submissions + 1, queued_at = ?, "
                "digest = coalesce(nullif(?, ''), digest) WHERE key = ? AND state = 'pending'",
                [(prompt_id, slot, server, now, digest, key) for slot, digest, key in every],
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
    def tried(self, key: str, rows: Sequence[JournalRow] = ()) -> None:
        """An attempt came to nothing and another one follows: the sample waits again. `rows` are what it gave."""
        with self._transaction():
            cursor = self._db.execute(
                "UPDATE samples SET prompt_id = NULL, attempts = attempts + 1 WHERE key = ? AND state = 'pending'",
                (key,),
            )
            if cursor.rowcount:
                self._insert(key, rows)

    @_in_turn
    def done(self, key: str, rows: Sequence[JournalRow], transfer_s: float, execution_s: float | None = None) -> bool:
        """The sample's files lie on disk. Returns False where it was finished before, and changes nothing then.

        Args:
            execution_s: how long the server worked on it; None where `timed` says it later.
        """
        with self._transaction():
            cursor = self._db.execute(
                "UPDATE samples SET state = 'done', prompt_id = NULL, attempts = attempts + 1, finished_at = ?, "
                "transfer_s = ?, execution_s = coalesce(?, execution_s) WHERE key = ? AND state = 'pending'",
                (time.time(), transfer_s, execution_s, key),
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

    def _insert(self, key: str, rows: Sequence[JournalRow]) -> None:
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
        """The sample has no row, as it failed or is skipped. Returns False where it was finished before, and changes
        nothing then."""
        cursor = self._db.execute(
            "UPDATE samples SET state = ?, prompt_id = NULL, attempts = attempts + 1, finished_at = ?, "
            "stage = ?, node = ?, error_type = ?, message = ? WHERE key = ? AND state = 'pending'",
            (state_of(failure), time.time(), failure.stage, failure.node, failure.error_type, failure.message, key),
        )
        return bool(cursor.rowcount)

    @_in_turn
    def withdraw(self, key: str, why: SampleFailure) -> None:
        """A sample that has an end is skipped after all, and what was made of it goes."""
        with self._transaction():
            self._db.execute("DELETE FROM records WHERE sample = ?", (key,))
            self._db.execute(
                "UPDATE samples SET state = 'skipped', stage = ?, node = ?, error_type = ?, message = ? WHERE key = ?",
                (why.stage, why.node, why.error_type, why.message, key),
            )

    @_in_turn
    def counts(self) -> Counter[str]:
        """Samples by state (pending, done, failed, skipped, retired) and records by verdict (keep, reject, unscored)."""
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

    def kept_with_samples(self) -> Iterator[tuple[str, Sample]]:
        """Records to keep as JSON, each with its sample, in the input's order."""
        rows = self._db.execute(
            "SELECT record, samples.key, samples.sample FROM records JOIN samples ON samples.key = records.sample "
            "WHERE verdict = 'keep' ORDER BY position, records.key"
        )
        yield from ((record, sample_of(key, text)) for record, key, text in rows)

    def keys(self) -> Iterator[str]:
        """The keys of all samples but those that left the plan or stand elsewhere too, and of inputs that gave none."""
        there = f"state != 'retired' AND (state != 'skipped' OR error_type != '{DUPLICATE}')"
        yield from (key for (key,) in self._db.execute(f"SELECT key FROM samples WHERE {there} ORDER BY key"))

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
    def retired(self) -> int:
        """How many rows have left the dataset as their input is not what it was."""
        return int(self._db.execute("SELECT COUNT(*) FROM retired").fetchone()[0])

    @_in_turn
    def reject_reasons(self) -> Counter[str]:
        """How many records were rejected for each reason, by its words before the first colon."""
        return self._grouped(
            "SELECT json_extract(record, '$.reject_reason') AS why, COUNT(*) FROM records WHERE verdict = 'reject' GROUP BY why"
        )

    @_in_turn
    def failure_types(self, skipped: bool = False) -> Counter[str]:
        """How many samples failed, or were skipped, with each error type."""
        query = "SELECT error_type, COUNT(*) FROM samples WHERE state = ? GROUP BY error_type"
        return self._grouped(query, "skipped" if skipped else "failed")

    @_in_turn
    def kinds(self) -> list[KindRow]:
        """What came of samples that have an end, by kind of edit and verdict."""
        return list(kind_rows(self._db))

    @_in_turn
    def by_input(self, begins: Sequence[str]) -> list[tuple[int, str, str, int]]:
        """Of each input, by its place in `begins`: how many photos there are, samples of each state (with the error type of
        those that have one), and records of each verdict.

        Args:
            begins: what source ids of each begin with; the first's with anything else.
        """
        cases = " ".join(f"WHEN substr(source_id, 1, {len(one)}) = ? THEN {at}" for at, one in enumerate(begins) if at)
        which = f"CASE {cases} ELSE 0 END"
        there = "state != 'retired'"
        found = self._db.execute(
            f"SELECT {which}, 'photos', '', COUNT(DISTINCT source_id) FROM samples WHERE {there} GROUP BY 1 UNION ALL "
            f"SELECT {which}, state, coalesce(error_type, ''), COUNT(*) FROM samples WHERE {there} GROUP BY 1, 2, 3 UNION ALL "
            f"SELECT {which}, verdict, '', COUNT(*) FROM records JOIN samples ON samples.key = records.sample GROUP BY 1, 2",
            tuple(begins[1:]) * 3,
        )
        return found.fetchall()

    def _grouped(self, query: str, *values: str) -> Counter[str]:
        found: Counter[str] = Counter()
        for text, number in self._db.execute(query, values):
            found[str(text).partition(":")[0]] += number
        return found

    def failures(self, skipped: bool = False) -> Iterator[dict[str, object]]:
        """Failed samples, or skipped ones, in the input's order, as rows of `failed.parquet` and `skipped.parquet`."""
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
        return self._rows(names, "state = 'skipped'" if skipped else "state = 'failed'")

    def telemetry(self) -> Iterator[dict[str, object]]:
        """How each finished sample went, as rows of `telemetry.parquet`."""
        names = ("key", "state", "server", "attempts", "submissions", "faults", "deaths", "queued_at", "finished_at",
                 "execution_s", "transfer_s")  # fmt: skip
        return self._rows(names, "state NOT IN ('pending', 'retired')")

    def _rows(self, names: Sequence[str], which: str) -> Iterator[dict[str, object]]:
        rows = self._db.execute(f"SELECT {', '.join(names)} FROM samples WHERE {which} ORDER BY position, key")
        called = [column[0] for column in rows.description]
        return (dict(zip(called, row, strict=True)) for row in rows)

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
