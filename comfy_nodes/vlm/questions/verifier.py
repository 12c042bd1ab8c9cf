"""Asks a model what changed in an edit, and puts the instruction right: the chain of Qwen-Verify, in words of our own.

Verify Edit calls `verify` with all pairs of a batch. A reply that contradicts itself is asked for once more with the
reason; plain words that leave no doubt are read; what is still of no use leaves the edit unscored, never rejected. No torch, no ComfyUI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...core.instructions.checks import MAX_CHARACTERS, MAX_WORDS, Unfit
from ...core.instructions.shapes import BothVerification, Verification
from ...core.instructions.wording import Language
from ...core.verdicts.claims import Verified, settle
from ...core.verdicts.plain_verdicts import verdict_of
from ...core.verdicts.verdicts import Scores
from ..asking import Answer, Failure, Question, Vlm
from ..replies import spoken
from .asking_again import again, line, unfit
from .edited_pair import EditedPair, spoke, unanswered
from .prompt_files import prompt
from .writer import LANGUAGE_NAMES

MAX_TOKENS = 2048
"""Two captions, the differences and the claims; UnicBench allows its judges as much."""

_LONGEST: dict[Language, str] = {"en": f"{MAX_WORDS} words", "zh": f"{MAX_CHARACTERS} characters"}


async def verify(vlm: Vlm, pairs: Sequence[EditedPair]) -> list[Verified]:
    """The verdict on each pair, in order. All are asked together; those with a reply that breaks a rule once more."""
    questions = [question(pair) for pair in pairs]
    heard = dict(enumerate(await vlm.ask(questions))) if questions else {}
    found: dict[int, Verified] = {}
    problems = _settle(heard, pairs, questions, found)
    if problems:
        told = {number: again(questions[number], [problem]) for number, problem in problems.items()}
        second = dict(zip(told, await vlm.ask(list(told.values())), strict=True))
        for number, problem in _settle(second, pairs, questions, found).items():
            answer = second[number]
            assert isinstance(answer, Answer)
            found[number] = _unscored(vlm, questions[number], unfit([problem], answer, "two"))
        heard |= second
    for number, result in heard.items():
        if isinstance(result, Failure):
            found[number] = _plain(vlm, pairs[number], questions[number], result)
    return [found[number] for number in range(len(pairs))]


def question(pair: EditedPair) -> Question:
    """What is asked about a pair."""
    values = {
        "pictures": pair.told,
        "instruction": line(pair.instruction),
        "language": LANGUAGE_NAMES[pair.language],
        "words": _LONGEST[pair.language],
    }
    if pair.other:
        other: Language = "en" if pair.language == "zh" else "zh"
        values |= {"other": line(pair.other), "other_language": LANGUAGE_NAMES[other], "other_words": _LONGEST[other]}
    return prompt("verify-edit-both" if pair.other else "verify-edit").question(
        values,
        reply=BothVerification if pair.other else Verification,
        images=pair.images,
        max_tokens=MAX_TOKENS,
        seed=pair.seed,
    )


def _settle(
    heard: dict[int, Answer | Failure],
    pairs: Sequence[EditedPair],
    questions: Sequence[Question],
    found: dict[int, Verified],
) -> dict[int, Unfit]:
    """Puts what can be used into `found`, and gives what is wrong with the other answers. Failures are left out."""
    problems = {}
    for number, answer in heard.items():
        if isinstance(answer, Failure):
            continue
        assert isinstance(answer.value, Verification)
        try:
            pair = pairs[number]
            settled = settle(answer.value, line(pair.instruction), pair.language, line(pair.other))
        except Unfit as problem:
            problems[number] = problem
            continue
        scores = replace(settled.scores, judge=spoke(answer.model, questions[number], answer))
        found[number] = replace(settled, scores=scores)
    return problems


def _plain(vlm: Vlm, pair: EditedPair, asked: Question, failure: Failure) -> Verified:
    """The verdict of a reply that is whole and no JSON, where its words leave no doubt."""
    words = spoken(failure.text) if failure.kind == "VlmNotJson" else ""
    found = verdict_of(words, line(pair.instruction), pair.language) if words else None
    if found is None:
        return _unscored(vlm, asked, failure)
    return replace(found, scores=replace(found.scores, judge=spoke(vlm.model, asked, failure)))


def _unscored(vlm: Vlm, asked: Question, failure: Failure) -> Verified:
    scores = Scores({}, "unscored", unanswered(failure), judge=spoke(vlm.model, asked, failure))
    return Verified(scores, "", "")
