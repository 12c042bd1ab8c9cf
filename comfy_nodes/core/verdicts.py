"""What a verifier says of an edit, and how several verifiers' words become one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["keep", "reject", "unscored"]


@dataclass(frozen=True)
class Scores:
    """One verifier's numbers under namespaced names, its verdict, and the reason for a rejection."""

    values: dict[str, float]
    verdict: Verdict
    reason: str = ""


UNVERIFIED = Scores(values={}, verdict="unscored", reason="no verifier was wired to Save Edit Pair")


def combine(scores: Iterable[Scores]) -> Scores:
    """All scores together: one rejection rejects, one unscored leaves the edit unscored.

    An edit that nobody verified is unscored.
    """
    given = tuple(scores) or (UNVERIFIED,)
    values = {name: value for one in given for name, value in one.values.items()}
    for verdict in ("reject", "unscored"):
        reasons = [one.reason for one in given if one.verdict == verdict]
        if reasons:
            return Scores(values=values, verdict=verdict, reason="; ".join(filter(None, reasons)))
    return Scores(values=values, verdict="keep")
