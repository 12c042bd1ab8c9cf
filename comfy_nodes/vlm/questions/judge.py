"""Asks a model to score edits by a rubric: one reply with all scores, one for each where the rubric's protocol asks them
apart, or, of local weights, the expected value of each.

Judge Edit calls these with all pairs of a batch. Whatever a model fails to say leaves the edit unscored, with its words
kept. No torch, no ComfyUI.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, runtime_checkable

from ...core.instructions.shapes import Reply, judgement
from ...core.verdicts.rubrics import Read, Rubric, judged
from ...core.verdicts.score_replies import Unreadable, read_scores
from ...core.verdicts.verdicts import Judge, Scores
from ..asking import Answer, Failure, Question, Vlm
from ..replies import spoken
from .asking_again import line
from .edited_pair import EditedPair, spoke, unanswered
from .prompt_files import prompt
from .writer import NOTHING

MAX_TOKENS = 2048
"""UnicBench's and ImgEdit's judges are allowed as much."""

LEAST_DIGITS = 0.5
"""How likely the digits of a score have to be together: below it the model was about to say something else. Ours."""

_LEGIBLE = ("VlmNotJson", "VlmWrongShape")
"""Failures of replies that are whole, only not in the form that was asked for."""


class NoLogits(ValueError):
    """Expected scores were asked of a model or for a rubric that cannot give them."""


@runtime_checkable
class Weighing(Protocol):
    """Who can say how likely it opens its reply with each of some words: models with weights on this machine."""

    model: str

    async def score(self, question: Question, choices: Sequence[str]) -> list[float]:
        """Probabilities, 0 to 1, in order.

        Raises:
            ValueError: a choice is not a single token, or the prompt cannot be read.
        """
        ...


@dataclass(frozen=True)
class Case:
    """One edit and what it is scored by."""

    pair: EditedPair
    rubric: Rubric
    points: tuple[str, ...] = ()
    """What a right edit shows, of edits that have to be reasoned about. Stands behind the score for reasoning alone."""


async def judge(vlm: Vlm, cases: Sequence[Case]) -> list[Scores]:
    """The verdict on each case, in order. All are asked together."""
    asked = [questions(case) for case in cases]
    flat = [one for own in asked for one in own]
    heard = iter(await vlm.ask(flat) if flat else [])
    return [_verdict(vlm, case, own, list(islice(heard, len(own)))) for case, own in zip(cases, asked, strict=True)]


async def judge_expected(vlm: Vlm, cases: Sequence[Case]) -> list[Scores]:
    """The same from the probabilities of the digits that each score could be, without drawing one.

    Raises:
        NoLogits: the model gives no probabilities, or a score of the rubric is no single digit.
    """
    if not isinstance(vlm, Weighing):
        raise NoLogits(
            f"expected scores need a model's probabilities, and {vlm.model} gives none: switch expected off, or wire "
            "Load VLM (local weights)"
        )
    for case in cases:
        if case.rubric.high > 9:
            raise NoLogits(
                f"expected scores need scores of one digit, and rubric {case.rubric.name} goes up to "
                f"{case.rubric.high}: switch expected off"
            )
    return [await _expected(vlm, case) for case in cases]


def questions(case: Case) -> list[Question]:
    """What is asked for all scores: one question, or one for each criterion."""
    rubric = case.rubric
    return [_asking(case, one) for one in _parts(rubric)]


def _parts(rubric: Rubric) -> list[Rubric]:
    """The rubric as it is asked: whole, or criterion by criterion."""
    return [replace(rubric, criteria=(one,)) for one in rubric.criteria] if rubric.apart else [rubric]


def _asking(case: Case, rubric: Rubric) -> Question:
    names, flags = tuple(one.name for one in rubric.criteria), tuple(one.name for one in rubric.flags)
    members = ", ".join(['"reason": "..."', *(f'"{name}": ...' for name in (*names, *flags))])
    asked = _question(case, "judge-answer", {"members": f"{{{members}}}"})
    others = {one.name for one in case.rubric.criteria} - {*names}
    kept = [row for row in asked.user.splitlines() if not row.startswith(tuple(f"- `{name}`" for name in others))]
    return replace(asked, user="\n".join(kept), reply=judgement(names, flags, rubric.low, rubric.high))


def _question(case: Case, ending: str, values: Mapping[str, object]) -> Question:
    """The rubric's question with one of two endings, whose version it bears, too; for plain text."""
    rubric, end = prompt(case.rubric.prompt), prompt(ending)
    asked = replace(rubric, version=f"{rubric.version}.{end.version}").question(
        {
            "pictures": case.pair.told,
            "instruction": line(case.pair.instruction),
            "points": "; ".join(line(one) for one in case.points if one.strip()) or NOTHING,
            "answer": string.Template(end.user).substitute(values),
        },
        reply=Reply,
        images=case.pair.images,
        max_tokens=MAX_TOKENS,
        seed=case.pair.seed,
    )
    return replace(asked, reply=None)


def _verdict(vlm: Vlm, case: Case, asked: Sequence[Question], heard: Sequence[Answer | Failure]) -> Scores:
    """One verdict of all replies; without one of them there is none."""
    who = spoke(vlm.model, asked[0], heard[0])
    if len(heard) > 1:
        who = who.model_copy(update={"reply": "\n".join(result.text for result in heard)})
    rubric = case.rubric
    scores: dict[str, float] = {}
    flags: dict[str, bool] = {}
    for part, result in zip(_parts(rubric), heard, strict=True):
        if isinstance(result, Failure) and not (result.kind in _LEGIBLE and result.text):
            return Scores({}, "unscored", unanswered(result), judge=who)
        try:
            read = read_scores(spoken(result.text), part.criteria, part.low, part.high, part.flags)
        except Unreadable as problem:
            return Scores({}, "unscored", f"the judge's reply cannot be read: {problem}", judge=who)
        scores |= read.scores
        flags |= read.flags
    return replace(judged(rubric, Read(scores, flags)), judge=who)


async def _expected(vlm: Weighing, case: Case) -> Scores:
    """Each score as the mean of its digits, weighted by how likely they are; what falls to other words is left out."""
    rubric = case.rubric
    digits = [str(number) for number in range(rubric.low, rubric.high + 1)]
    scores: dict[str, float] = {}
    flags: dict[str, bool] = {}
    said: dict[str, dict[str, float]] = {}
    asked = None
    for one in (*rubric.criteria, *rubric.flags):
        flag = one in rubric.flags
        choices = ["0", "1"] if flag else digits
        asked = _question(case, "judge-answer-digit", {"name": one.name, "low": choices[0], "high": choices[-1]})
        try:
            likely = await vlm.score(asked, choices)
        except ValueError as error:
            if type(error) is ValueError:  # a digit is several tokens: so it is for every edit
                raise NoLogits(f"expected scores: {error}") from None
            return Scores({}, "unscored", f"VlmBadRequest: {line(str(error))}", judge=_weighed(vlm, asked, said))
        said[one.name] = {choice: round(share, 6) for choice, share in zip(choices, likely, strict=True)}
        total = sum(likely)
        if total < LEAST_DIGITS:
            reason = f"{one.name.replace('_', ' ')}: the digits from {choices[0]} to {choices[-1]} are only {total:.0%} likely"
            return Scores({}, "unscored", reason, judge=_weighed(vlm, asked, said))
        mean = sum(int(choice) * share for choice, share in zip(choices, likely, strict=True)) / total
        if flag:
            flags[one.name] = mean >= 0.5
        else:
            scores[one.name] = round(mean, 4)
    assert asked is not None
    return replace(judged(rubric, Read(scores, flags)), judge=_weighed(vlm, asked, said))


def _weighed(vlm: Weighing, asked: Question, said: Mapping[str, Mapping[str, float]]) -> Judge:
    """Who was asked, with the probabilities in place of words."""
    return Judge(
        model=vlm.model, prompt_version=f"{asked.prompt_id} {asked.prompt_version}", reply=json.dumps({"likely": said})
    )
