"""What a verifier says of an edit, and how several verifiers' words become one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

Verdict = Literal["keep", "reject", "unscored"]

SAYS: dict[Verdict, float] = {"keep": 1.0, "reject": 0.0}
"""A verifier's verdict as its score `<verifier>.keep`, by which verifiers are compared; an unscored edit has none."""


class Judge(BaseModel):
    """A language model's raw words on an edit, and who spoke them."""

    model_config = ConfigDict(frozen=True)

    model: str
    prompt_version: str
    """Id and version of what it was asked."""
    reply: str


@dataclass(frozen=True)
class Scores:
    """One verifier's numbers under namespaced names, its verdict, and the reason for a rejection or for none."""

    values: dict[str, float]
    verdict: Verdict
    reason: str = ""
    restated: str = ""
    """The instruction put right to what the picture shows; empty where the verifier does not restate."""
    task: str = ""
    """The task that `restated` asks for, where it is another one than the sample's."""
    judge: Judge | None = None
    """Who was asked, where a language model was; also where its reply could not be read."""


UNVERIFIED = Scores(values={}, verdict="unscored", reason="no verifier was wired to Save Edit Pair")


def combine(scores: Iterable[Scores]) -> Scores:
    """All scores together: one rejection rejects, one unscored leaves the edit unscored.

    An edit that nobody verified is unscored. Of several restated instructions the last counts; a rejected edit has none.
    """
    given = tuple(scores) or (UNVERIFIED,)
    values = {name: value for one in given for name, value in one.values.items()}
    judge = _judges([one.judge for one in given if one.judge])
    for verdict in ("reject", "unscored"):
        # A verifier that was spared passes on why; it is said once.
        reasons = dict.fromkeys(one.reason for one in given if one.verdict == verdict and one.reason)
        if any(one.verdict == verdict for one in given):
            restated, task = ("", "") if verdict == "reject" else _last(given)
            return Scores(values, verdict, "; ".join(reasons), restated, task, judge)
    restated, task = _last(given)
    return Scores(values, "keep", restated=restated, task=task, judge=judge)


def _last(given: tuple[Scores, ...]) -> tuple[str, str]:
    """The last restated instruction and its task."""
    return next(((one.restated, one.task) for one in reversed(given) if one.restated), ("", ""))


def _judges(found: list[Judge]) -> Judge | None:
    """Several judges' words as one: each once, with who spoke before it."""
    distinct = list(dict.fromkeys(found))
    if len(distinct) < 2:
        return distinct[0] if distinct else None
    return Judge(
        model="; ".join(dict.fromkeys(one.model for one in distinct)),
        prompt_version="; ".join(one.prompt_version for one in distinct),
        reply="\n\n".join(f"[{one.prompt_version}] {one.reply}" for one in distinct),
    )
