"""The journal: an SQLite file that knows of every sample how far it came. The truth while a run lasts.

Written before each prompt is posted and after its results lie on disk, so that a run that was killed
at any moment goes on without doing or losing anything twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from comfy_nodes.core.records import SampleFailure

from . import places
from .enrolling import Enrolled, Enrolment, sample_of, state_of
from .journal_dialogues import JournalDialogues
from .journal_figures import JournalFigures
from .journal_file import in_turn, of_tasks
from .journal_turns import JournalTurns
from .places import Locator
from .samples import JournalRow, Planned, Sample


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


class Journal(JournalFigures, JournalTurns, JournalDialogues):
    """The journal of one output folder."""

    @in_turn
    def add_edit_seconds(self, seconds: float) -> None:
        """Adds the time that a run spent editing."""
        self.set("edit_seconds", str(self.edit_seconds() + seconds))

    @in_turn
    def edit_seconds(self) -> float:
        """Time spent editing, over all runs."""
        return float(self.get("edit_seconds") or 0)

    @in_turn
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
            limit: enrol at most so many usable samples; a dialogue is one.
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

    @in_turn
    def moved(self, stamp: Callable[[Sequence[Locator]], str]) -> bool:
        """Whether a picture of a sample in the plan is another one, by its stamp, than when it was taken down."""
        found = self._db.execute(
            "SELECT DISTINCT pictures, stamp FROM samples WHERE state != 'retired' AND stamp != ''"
        )
        return any(stamp([places.from_json(one) for one in json.loads(pictures)]) != known for pictures, known in found)

    @in_turn
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

    @in_turn
    def waiting(self, after: Position, limit: int, tasks: Collection[str] | None = None) -> list[WaitingSample]:
        """Samples that wait for nothing but a server, and are in no queue of one, in the input's order.

        Args:
            after: only those behind this place in the input.
            tasks: only samples of these tasks; None for all.
        """
        which, names = of_tasks(tasks)
        rows = self._db.execute(
            "SELECT position, key, sample FROM samples WHERE state = 'pending' AND prompt_id IS NULL "
            f"AND json_extract(sample, '$.after') IS NULL AND position >= ? AND (position, key) > (?, ?){which} ORDER BY position, key LIMIT ?",
            (after[0], *after, *names, limit),
        )
        return [WaitingSample(position, sample_of(key, text)) for position, key, text in rows]

    @in_turn
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

    @in_turn
    def sample(self, key: str) -> Sample | None:
        """The sample of this key; None where there is none, or only an input that gave none."""
        row = self._db.execute("SELECT sample FROM samples WHERE key = ?", (key,)).fetchone()
        return sample_of(key, row[0]) if row and row[0] else None

    @in_turn
    def tries(self, key: str) -> Tries:
        """How often a sample was tried so far."""
        row = self._db.execute("SELECT attempts, submissions FROM samples WHERE key = ?", (key,)).fetchone()
        return Tries(*row)

    @in_turn
    def ended(self, key: str) -> bool:
        """Whether a sample is done, has failed, was skipped or has left the plan."""
        row = self._db.execute("SELECT state FROM samples WHERE key = ?", (key,)).fetchone()
        return row is not None and row[0] != "pending"

    @in_turn
    def undecided(self, key: str, attempt: int) -> bool:
        """Whether nothing was said yet of this attempt at a sample, counted from 0."""
        row = self._db.execute("SELECT state, attempts FROM samples WHERE key = ?", (key,)).fetchone()
        return bool(row == ("pending", attempt))

    @in_turn
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

    @in_turn
    def fault(self, key: str) -> int:
        """The server or the network failed the sample: it waits again. Returns how often that happened."""
        return self._count("faults", key)

    @in_turn
    def death(self, key: str) -> int:
        """A server died while it ran the sample, which waits again. Returns how often that happened."""
        return self._count("deaths", key)

    def _count(self, column: str, key: str) -> int:
        self._db.execute(
            f"UPDATE samples SET prompt_id = NULL, {column} = {column} + 1 WHERE key = ? AND state = 'pending'", (key,)
        )
        return int(self._db.execute(f"SELECT {column} FROM samples WHERE key = ?", (key,)).fetchone()[0])

    @in_turn
    def release(self, key: str) -> None:
        """The prompt was never run, through nobody's fault: the sample waits again."""
        self._db.execute("UPDATE samples SET prompt_id = NULL WHERE key = ? AND state = 'pending'", (key,))

    @in_turn
    def tried(self, key: str, rows: Sequence[JournalRow] = ()) -> None:
        """An attempt came to nothing and another one follows: the sample waits again. `rows` are what it gave."""
        with self._transaction():
            cursor = self._db.execute(
                "UPDATE samples SET prompt_id = NULL, attempts = attempts + 1 WHERE key = ? AND state = 'pending'",
                (key,),
            )
            if cursor.rowcount:
                self._insert(key, rows)

    @in_turn
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

    @in_turn
    def lost(self, keys: Iterable[str]) -> list[str]:
        """The pictures of these records are gone: their samples wait again, as if nobody had tried them, and what began from
        these pictures does too. Returns these samples."""
        with self._transaction():
            chosen = [self._db.execute("SELECT sample FROM records WHERE key = ?", (key,)).fetchone() for key in keys]
            samples = sorted({row[0] for row in chosen if row})
            for sample in samples:
                self._db.execute("DELETE FROM records WHERE sample = ?", (sample,))
                self._db.execute(
                    "UPDATE samples SET state = 'pending', prompt_id = NULL, attempts = 0 WHERE key = ?", (sample,)
                )
        if any("~" in sample for sample in samples):
            self.settle_turns()
        return samples

    def _insert(self, key: str, rows: Sequence[JournalRow]) -> None:
        # The same try may come home twice; another sample's record must never be replaced.
        self._db.executemany("DELETE FROM records WHERE key = ? AND sample = ?", [(row.key, key) for row in rows])
        self._db.executemany(
            "INSERT INTO records SELECT ?, key, ?, attempts, ? FROM samples WHERE key = ?",
            [(row.key, row.verdict, row.record, key) for row in rows],
        )

    @in_turn
    def timed(self, keys: Sequence[str], execution_s: float) -> None:
        """How long the server worked on each of these samples."""
        with self._transaction():
            self._db.executemany(
                "UPDATE samples SET execution_s = ? WHERE key = ?", [(execution_s, key) for key in keys]
            )

    @in_turn
    def failed(self, key: str, failure: SampleFailure) -> bool:
        """The sample has no row, as it failed or is skipped. Returns False where it was finished before, and changes
        nothing then."""
        cursor = self._db.execute(
            "UPDATE samples SET state = ?, prompt_id = NULL, attempts = attempts + 1, finished_at = ?, "
            "stage = ?, node = ?, error_type = ?, message = ? WHERE key = ? AND state = 'pending'",
            (state_of(failure), time.time(), failure.stage, failure.node, failure.error_type, failure.message, key),
        )
        return bool(cursor.rowcount)

    @in_turn
    def withdraw(self, key: str, why: SampleFailure) -> None:
        """A sample that has an end is skipped after all, and what was made of it goes."""
        with self._transaction():
            self._db.execute("DELETE FROM records WHERE sample = ?", (key,))
            self._db.execute(
                "UPDATE samples SET state = 'skipped', stage = ?, node = ?, error_type = ?, message = ? WHERE key = ?",
                (why.stage, why.node, why.error_type, why.message, key),
            )

    def records(self, kept: bool) -> Iterator[tuple[str, int]]:
        """Records as JSON with their attempt, in the input's order: those to keep, or all others."""
        rows = self._db.execute(
            f"SELECT record, attempt FROM {self._judged} AS records JOIN samples ON samples.key = records.sample "
            f"WHERE verdict {'=' if kept else '!='} 'keep' ORDER BY position, records.key"
        )
        yield from rows

    def kept_with_samples(self) -> Iterator[tuple[str, Sample]]:
        """Records to keep as JSON, each with its sample, in the input's order."""
        rows = self._db.execute(
            f"SELECT record, samples.key, samples.sample FROM {self._judged} AS records JOIN samples "
            "ON samples.key = records.sample WHERE verdict = 'keep' ORDER BY position, records.key"
        )
        yield from ((record, sample_of(key, text)) for record, key, text in rows)

    @in_turn
    def record(self, key: str) -> str | None:
        """A record as JSON; None where there is none of that key."""
        row = self._db.execute("SELECT record FROM records WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    @in_turn
    def reason(self, key: str) -> str:
        """Why a sample failed; empty where it has not."""
        row = self._db.execute("SELECT message FROM samples WHERE key = ? AND state = 'failed'", (key,)).fetchone()
        return row[0] if row else ""
