"""What a dialogue as a whole says of its turns' records: one that comes to nothing takes others with it.

Called before rows are written, of a whole journal. Records stay as they came home, as what is to be made next follows from
those; beside them stands what counts as row, and the view `judged` has both together: every row and every figure is of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count, groupby, takewhile
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
    json_extract(record, '$.turn.base'), json_extract(record, '$.turn.of')
FROM samples LEFT JOIN records ON records.sample = samples.key
WHERE samples.key GLOB '*~*' AND state != 'retired' ORDER BY samples.key, records.key
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

    @property
    def turn(self) -> int:
        """Its number, also where it has no record."""
        return int(self.sample.rpartition("~")[2]) + 1

    def how(self) -> str:
        """How it ended the dialogue."""
        turn = f"turn {self.turn}"
        if self.key is not None:
            how = "is unscored" if self.verdict == "unscored" else "was rejected"
            return f"{turn} {how}{': ' if self.why else ''}{self.why or ''}"
        if self.state == "pending":
            return f"{turn} is not made yet"
        return f"{turn} {'failed' if self.state == 'failed' else 'was skipped'} ({self.error_type}): {self.message}"


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
        """How many dialogues there are (`made`), were kept, and of these were kept `shorter` than they were planned, when
        they were last looked at; nothing where there are none."""
        return Counter(json.loads(self.get(DIALOGUES) or "{}"))

    def _judge(self, made: Sequence[_Made], found: Counter[str]) -> None:
        leading = _leading(made)
        if not leading:
            return
        turns = [leading[number] for number in takewhile(leading.__contains__, count(1))]
        first = next(iter(leading.values()))
        kept = kept_turns(first.task, [one.verdict for one in turns], [one.base for one in turns])
        found.update(made=1, kept=int(kept > 0), shorter=int(0 < kept < first.of))
        stay = {one.key for one in turns[:kept]}
        verdict, why = _end(made, leading)
        others = [one for one in made if one.verdict == "keep" and one.key not in stay]
        self._db.executemany(
            "INSERT INTO dialogue_verdicts VALUES (?, ?, ?)",
            [(one.key, "reject", ANOTHER) if one.number <= kept else (one.key, verdict, why) for one in others],
        )
        if len({one.position for one in made}) > 1:
            place = min(one.position for one in made)
            self._db.executemany("UPDATE samples SET position = ? WHERE key = ?", [(place, one.sample) for one in made])


def _leading(made: Sequence[_Made]) -> dict[int, _Made]:
    """Of each turn the record that the next one goes on from, or that ended it: the first to keep, else the last try."""
    found: dict[int, _Made] = {}
    for one in made:
        if one.number and (one.number not in found or found[one.number].verdict != "keep"):
            found[one.number] = one
    return found


def _end(made: Sequence[_Made], leading: Mapping[int, _Made]) -> tuple[Verdict, str]:
    """What its end says of a dialogue's turns that are none of a kept one: a verdict, and why."""
    number = next(number for number in count(1) if number not in leading or leading[number].verdict != "keep")
    ending = leading.get(number) or next((one for one in made if one.turn == number), None)
    if ending is None:
        return "reject", f"{ENDED}: turn {number - 1} was its last" if number > 1 else f"{ENDED}: turn 1 is not there"
    return "unscored" if ending.verdict == "unscored" else "reject", f"{ENDED}: {ending.how()}"
