"""What a dialogue as a whole says of its turns' records: one that comes to nothing takes others with it.

Called before rows are written, of a whole journal. Records stay as they came home, as what is to be made next follows from
those; beside them stands what counts as row, and the view `judged` has both together: every row and every figure is of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from comfy_nodes.core.instructions.turns import kept_turns
from comfy_nodes.core.verdicts.verdicts import Verdict

from .journal_file import JournalFile, in_turn

DIALOGUES = "dialogues"
"""In a journal: what its dialogues came to."""

ENDED = "its dialogue ended"
"""Why a turn that was kept is no row to keep, before what ended it."""

ANOTHER = "its dialogue goes on from another picture of this turn"
"""The same of one of several edits."""

_MADE = """
SELECT samples.key, substr(samples.key, 1, instr(samples.key, '~') - 1), position, state, error_type, message, records.key,
    verdict, json_extract(record, '$.reject_reason'), json_extract(record, '$.task'), json_extract(record, '$.turn.number'),
    json_extract(record, '$.turn.base'), json_extract(record, '$.turn.of'), json_extract(record, '$.input_images[0].sha256'),
    json_extract(record, '$.output_images[0].sha256')
FROM samples LEFT JOIN records ON records.sample = samples.key
WHERE samples.key GLOB '*~*' AND state != 'retired' ORDER BY samples.key, attempt, records.key
"""


class _Made(NamedTuple):
    """A turn's sample with one of its records, if it has any."""

    sample: str
    dialogue: str
    position: int
    state: str
    error_type: str | None
    message: str | None
    key: str | None
    """What follows is a record's: nothing where there is none."""
    verdict: Verdict
    why: str | None
    task: str
    number: int
    base: int
    of: int
    before: str
    """SHA-256 of the picture that it begins with."""
    after: str

    @property
    def turn(self) -> int:
        """Its number, also where it has no record."""
        return self.number if self.key else int(self.sample.split("~")[1]) + 1

    def how(self) -> str:
        """How it ended the dialogue."""
        if self.key is not None:
            how = "is unscored" if self.verdict == "unscored" else "was rejected"
            return f"turn {self.turn} {how}{': ' if self.why else ''}{self.why or ''}"
        if self.state == "pending":
            return f"turn {self.turn} is not made yet"
        how = "failed" if self.state == "failed" else "was skipped"
        return f"turn {self.turn} {how} ({self.error_type}): {self.message}"


class JournalDialogues(JournalFile):
    """What a journal knows of dialogues as a whole."""

    @in_turn
    def judge_dialogues(self) -> None:
        """Says of each turn's record whether it is one of a dialogue that may be kept, and lets turns of one stand together."""
        found: Counter[str] = Counter()
        with self._transaction():
            self._db.execute("DELETE FROM dialogue_verdicts")
            for _, rows in groupby(map(_Made._make, self._db.execute(_MADE).fetchall()), lambda one: one.dialogue):
                self._judge(list(rows), found)
            self.set(DIALOGUES, json.dumps(+found))

    @in_turn
    def dialogues(self) -> Counter[str]:
        """How many dialogues were `planned`, also where no turn was made, and were kept, and of these were kept `shorter` than they were planned, when
        they were last looked at; nothing where there are none."""
        return Counter(json.loads(self.get(DIALOGUES) or "{}"))

    def records_as_made(self) -> Iterator[str]:
        """All records as they came home, JSON, whatever became of their dialogues."""
        rows = self._db.execute(
            "SELECT record FROM records JOIN samples ON samples.key = records.sample ORDER BY position, records.key"
        )
        yield from (record for (record,) in rows)

    def _judge(self, made: Sequence[_Made], found: Counter[str]) -> None:
        turns = _turns(made)
        first = next((one for one in made if one.number), None)
        if first is None:
            found["planned"] += 1
            return
        kept = kept_turns(first.task, [one.verdict for one in turns], [one.base for one in turns])
        found.update(planned=1, kept=int(kept > 0), shorter=int(0 < kept < first.of))
        stay = {one.key for one in turns[:kept]}
        verdict, why = _end(made, turns)
        others = [one for one in made if one.verdict == "keep" and one.number and one.key not in stay]
        self._db.executemany(
            "INSERT INTO dialogue_verdicts VALUES (?, ?, ?)",
            [(one.key, "reject", ANOTHER) if one.number <= kept else (one.key, verdict, why) for one in others],
        )
        if len({one.position for one in made}) > 1:
            place = min(one.position for one in made)
            self._db.executemany("UPDATE samples SET position = ? WHERE key = ?", [(place, one.sample) for one in made])


def _turns(made: Sequence[_Made]) -> list[_Made]:
    """The records to keep that go on from one another, from the first turn on: each begins with the very picture of the state
    that it names. Of several edits of a turn it is the one that another turn goes on from, or else the first."""
    gone_on_from = {one.before for one in made}
    states: dict[int, str] = {}
    found: list[_Made] = []
    while kept := [one for one in _tries(made, len(found) + 1) if one.verdict == "keep" and _begins(one, states)]:
        found.append(min(kept, key=lambda one: one.after not in gone_on_from))
        states |= {0: found[0].before, len(found): found[-1].after}
    return found


def _tries(made: Sequence[_Made], number: int) -> list[_Made]:
    return [one for one in made if one.number == number]


def _begins(one: _Made, states: dict[int, str]) -> bool:
    """Whether a turn's picture is that of the state which it begins with."""
    return one.number == 1 or states.get(one.base) == one.before


def _end(made: Sequence[_Made], turns: Sequence[_Made]) -> tuple[Verdict, str]:
    """What its end says of a dialogue's turns that are none of a kept one: a verdict, and why."""
    number = len(turns) + 1
    states = {0: turns[0].before if turns else "", **{one.number: one.after for one in turns}}
    tries = _tries(made, number)
    begun = [one for one in tries if _begins(one, states)]
    if tries and not begun:
        return "reject", f"{ENDED}: turn {number} does not begin with state {tries[-1].base}"
    ending = begun[-1] if begun else next((one for one in made if one.turn == number), None)
    if ending is None:
        return "reject", f"{ENDED}: turn {number - 1} was its last" if turns else f"{ENDED}: turn 1 is not there"
    return "unscored" if ending.verdict == "unscored" else "reject", f"{ENDED}: {ending.how()}"
