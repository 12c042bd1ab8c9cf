"""A policy of thresholds over scores, a line each, and what it makes of an edit's scores.

Filter Edit Pair calls `parse` and `decide`; Pick Best Edit ranks with `standing`. It knows no verifier: a threshold
names a score as it stands in records. A judge's score is rounded as rubrics round it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .rubrics import DIALOGUE, nearest
from .verdicts import SAYS, Scores, Verdict, Voice, combine

Compared = Literal["ok", "failed", "missing"]

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_LINE = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)\s*(>=|<=|==|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")

_JUDGES = ("judge.", f"{DIALOGUE}.")
_COMPUTED = tuple(f"{judge}{name}" for judge in _JUDGES for name in ("keep", "overall", "raw_"))
"""Scores of a judge's that are computed from its own."""

_VOICES: dict[str, Voice] = {
    "pixel": "pixels",
    "verify": "verifier",
    "judge": "judge",
    DIALOGUE: "judge",
    "witness": "detector",
    "text": "reader",
}
"""Whose scores they are, by what stands before their names' point."""

_RANKS: dict[Verdict, int] = {"keep": 2, "unscored": 1, "reject": 0}


class PolicyError(ValueError):
    """A line that is no threshold; the message names it."""


@dataclass(frozen=True)
class Threshold:
    """One line: a score, how it is compared, with what."""

    score: str
    sign: str
    bound: float

    def outcome(self, value: float | None) -> Compared:
        if value is None:
            return "missing"
        known = nearest(value) if self.is_rounded else value
        return "ok" if _OPERATORS[self.sign](known, self.bound) else "failed"

    @property
    def is_rounded(self) -> bool:
        """Whether the nearest whole number is compared: a judge's own score against a whole bound, so that an expected
        score of 2.9 meets ScaleEdit's rule of 3. Ours, as rubrics have it; means and fractions compare as they are."""
        return self.score.startswith(_JUDGES) and not self.score.startswith(_COMPUTED) and self.bound.is_integer()

    def __str__(self) -> str:
        return f"{self.score} {self.sign} {self.bound:g}"


@dataclass(frozen=True)
class Ruling:
    """What became of one threshold."""

    threshold: Threshold
    value: float | None
    outcome: Compared


def parse(text: str) -> list[Threshold]:
    """The thresholds in a text, a line each; what follows `#` is a comment.

    Raises:
        PolicyError: a line is something else.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        match = _LINE.fullmatch(words)
        if not match:
            raise PolicyError(
                f"policy, line {number}: {words!r} is no threshold; write a score's name, one of {' '.join(_OPERATORS)} "
                "and a number, such as judge.instruction_following >= 3"
            )
        found.append(Threshold(match[1], match[2], float(match[3])))
    return found


def decide(given: Sequence[Scores], policy: Sequence[Threshold], verdicts: bool) -> tuple[Scores, list[Ruling]]:
    """All scores of one edit as one, and what became of each threshold.

    One that fails rejects; one whose score is missing leaves the edit unscored, unless something rejects it.

    Args:
        verdicts: whether the verifiers' own verdicts count as well.

    Raises:
        PolicyError: neither verdicts nor thresholds decide.
    """
    if not policy and not verdicts:
        raise PolicyError("the policy is empty and verdicts are switched off, so nothing decides: write a threshold")
    if not policy and not given:
        return Scores({}, "unscored", "no verifier is wired to Filter Edit Pair"), []
    values = combine(given).values
    rows = [Ruling(one, values.get(one.score), one.outcome(values.get(one.score))) for one in policy]
    failed = [f"{row.threshold} does not hold ({row.value:.4g})" for row in rows if row.outcome == "failed"]
    missing = [f"{row.threshold}: there is no such score" for row in rows if row.outcome == "missing"]
    counted = list(given) if verdicts else [_overruled(one, rows) for one in given]
    if failed:
        counted.append(Scores({}, "reject", "; ".join(failed)))
    elif missing:
        counted.append(Scores({}, "unscored", "; ".join(missing)))
    elif policy and not counted:
        counted.append(Scores({}, "keep"))
    decided = combine(counted)
    said = {"filter.keep": SAYS[decided.verdict]} if decided.verdict in SAYS else {}
    return replace(decided, values=decided.values | said), rows


def _overruled(found: Scores, rows: Sequence[Ruling]) -> Scores:
    """Scores whose verdict does not count: who did not keep the edit vouches for it only by scores that are asked for."""
    asked = {_VOICES.get(row.threshold.score.partition(".")[0]) for row in rows}
    voices = tuple(one for one in found.voices if found.verdict == "keep" or one in asked)
    return replace(found, verdict="keep", reason="", voices=voices)


def table(rows: Sequence[Ruling]) -> str:
    """The thresholds as a Markdown table; empty where there are none."""
    if not rows:
        return ""
    lines = ["| threshold | value | result |", "| --- | --- | --- |"]
    for row in rows:
        value = "" if row.value is None else f"{row.value:.4g}"
        lines.append(f"| {row.threshold} | {value} | {row.outcome} |")
    return "\n".join(lines)


def standing(scores: Scores, by: str) -> tuple[float, ...]:
    """How good an edit is among others; the largest is the best.

    Args:
        by: name of the score that decides. Empty: the verdict, then the mean of what judges scored.
    """
    judged = _judged(scores)
    rank = (float(_RANKS[scores.verdict]), judged)
    if not by:
        return rank
    value = scores.values.get(by)
    return (float("-inf") if value is None else value, *rank)


def _judged(scores: Scores) -> float:
    """The mean of judges' own scores, without what is computed from them; below every score where there are none."""
    found = [
        value for name, value in scores.values.items() if name.startswith(_JUDGES) and not name.startswith(_COMPUTED)
    ]
    return sum(found) / len(found) if found else -1.0
