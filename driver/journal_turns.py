"""A journal's dialogues: which turn may begin, and which cannot any more, by what became of the turn before it.

Each turn is a sample that waits for another one. What follows from that one's end is written here and nowhere else, so that
it is the same whether the run goes on, was killed in between, or tries again what failed.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from .journal_file import JournalFile, in_turn, of_tasks
from .journal_tables import take_out

DIALOGUE_ENDED = "DialogueEnded"
"""Error type of a turn that cannot be made, as one before it came to nothing."""

AGAIN = "an earlier turn of its dialogue is made again"
"""Why a turn's record leaves the dataset."""


@dataclass(frozen=True)
class Settled:
    """What follows for turns from those before them."""

    ready: tuple[str, ...] = ()
    """Keys of those that wait for nothing but a server, and that none has, in the input's order."""
    waiting: int = 0
    """How many wait for a turn."""
    ended: tuple[tuple[str, str], ...] = ()
    """Those that were skipped just now, each with the reason."""


@dataclass(frozen=True)
class _Turn:
    """A sample that waits for another, as its row has it."""

    key: str
    state: str
    posted: bool
    error_type: str
    message: str
    after: str
    position: int


class JournalTurns(JournalFile):
    """What a journal knows of samples that wait for others."""

    @in_turn
    def settle_turns(self, tasks: Collection[str] | None = None, dialogue: str | None = None) -> Settled:
        """Brings turns into line with those before them: where one came to nothing, what follows it is skipped; where one
        is to be made again, so is what follows it.

        Args:
            tasks: only turns of these tasks; None for all.
            dialogue: only those of one dialogue, by its key.
        """
        which, names = of_tasks(tasks)
        if dialogue is not None:
            which, names = f"{which} AND key > ? AND key < ?", (*names, f"{dialogue}~", f"{dialogue}~~")
        rows = self._db.execute(
            "SELECT key, state, prompt_id IS NOT NULL, coalesce(error_type, ''), coalesce(message, ''), "
            "json_extract(sample, '$.after') AS after, position FROM samples WHERE after IS NOT NULL AND state != 'retired'"
            f"{which} ORDER BY key",  # each behind the one that it follows, wherever an earlier plan had it
            names,
        ).fetchall()
        ready, ended, waiting = [], [], 0
        with self._transaction():
            for turn in (_Turn(*row) for row in rows):
                if why := self._came_to_nothing(turn.after):
                    ended += [(turn.key, why)] if self._end(turn, why) else []
                elif why is None:
                    self._wait(turn)
                    waiting += 1
                elif self._may_begin(turn):
                    ready.append((turn.position, turn.key))
        return Settled(tuple(key for _, key in sorted(ready)), waiting, tuple(ended))

    def _came_to_nothing(self, key: str) -> str | None:
        """Why nothing can follow a turn; empty where something can, None where that is not known yet."""
        found = self._db.execute("SELECT state, error_type, message FROM samples WHERE key = ?", (key,)).fetchone()
        state, error_type, message = found or ("retired", None, None)
        number = int(key.rpartition("~")[2]) + 1
        if state == "pending":
            return None
        if state == "retired":
            return f"turn {number} is not in the input any more"
        if state != "done":
            how = "failed" if state == "failed" else "was skipped"
            return str(message) if error_type == DIALOGUE_ENDED else f"turn {number} {how} ({error_type}): {message}"
        said = self._db.execute(
            "SELECT verdict, coalesce(json_extract(record, '$.reject_reason'), '') FROM records WHERE sample = ? "
            "ORDER BY verdict = 'keep' DESC, attempt DESC LIMIT 1",
            (key,),
        ).fetchone()
        verdict, why = said or ("lost", "")
        if verdict == "keep":
            return ""
        how = {"reject": "was rejected", "unscored": "is unscored"}.get(verdict, "has no record")
        return f"turn {number} {how}{': ' if why else ''}{why}"

    def _end(self, turn: _Turn, why: str) -> bool:
        """Skips a turn; returns whether it was to be made or had been."""
        if turn.state == "done":
            take_out(self._db, "key = ?", (turn.key,), AGAIN)
        if (turn.state, turn.error_type, turn.message) != ("skipped", DIALOGUE_ENDED, why):
            self._db.execute(
                "UPDATE samples SET state = 'skipped', prompt_id = NULL, finished_at = ?, stage = 'edit', node = '', "
                "error_type = ?, message = ? WHERE key = ?",
                (time.time(), DIALOGUE_ENDED, why, turn.key),
            )
        return turn.state in ("pending", "done")

    def _wait(self, turn: _Turn) -> None:
        """Lets a turn wait for the one before it, whatever became of it by what was there before."""
        if turn.state == "done":
            take_out(self._db, "key = ?", (turn.key,), AGAIN)
        if turn.state != "pending" or turn.posted:
            self._renew(turn)

    def _may_begin(self, turn: _Turn) -> bool:
        """Whether a turn that has what it begins from is still to be given to a server."""
        if turn.error_type == DIALOGUE_ENDED:
            self._renew(turn)
            return True
        return turn.state == "pending" and not turn.posted

    def _renew(self, turn: _Turn) -> None:
        self._db.execute(
            "UPDATE samples SET state = 'pending', prompt_id = NULL, attempts = 0, faults = 0, deaths = 0, stage = NULL, "
            "node = NULL, error_type = NULL, message = NULL WHERE key = ?",
            (turn.key,),
        )

    @in_turn
    def kept_record(self, sample: str) -> str | None:
        """The record to keep of a sample, JSON; None where there is none."""
        found = self._db.execute(
            "SELECT record FROM records WHERE sample = ? AND verdict = 'keep' ORDER BY key LIMIT 1", (sample,)
        ).fetchone()
        return found[0] if found else None
