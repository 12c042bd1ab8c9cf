"""A question, and once more where its answer breaks a rule: what everything that asks a model has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from ..core.instruction_checks import Unfit, WrongLanguage
from .asking import Answer, Failure, Question, Vlm

_Result = TypeVar("_Result")

MAX_REPEATED = 300
"""Most characters of a complaint that goes back to the model; it quotes the model's own words. Ours."""


async def ask_checked(vlm: Vlm, question: Question, read: Callable[[Answer], _Result]) -> _Result | Failure:
    """What `read` makes of an answer.

    Args:
        read: raises `Unfit` where the answer breaks a rule; the model is then asked once more and told why.

    Returns:
        The runtime's failure, or `unfit` where the second answer breaks a rule, too.
    """
    (answer,) = await vlm.ask([question])
    if isinstance(answer, Failure):
        return answer
    try:
        return read(answer)
    except Unfit as problem:
        (answer,) = await vlm.ask([again(question, [problem])])
    if isinstance(answer, Failure):
        return answer
    try:
        return read(answer)
    except Unfit as problem:
        return unfit([problem], answer)


def again(question: Question, problems: Sequence[Unfit]) -> Question:
    """The question once more, with what was wrong with the first answer. Another seed, or it would come again."""
    told = "\n".join(f"- {line(text)[:MAX_REPEATED]}" for text in dict.fromkeys(map(str, problems)))
    return replace(
        question,
        user=f"{question.user}\n\nAn answer before could not be used. Answer anew and avoid this:\n{told}",
        seed=question.seed + 1,
    )


def unfit(problems: Sequence[Unfit], answer: Answer) -> Failure:
    """The failure of two answers that broke rules: `VlmWrongLanguage` where that was all, else `VlmWrongShape`."""
    language = all(isinstance(one, WrongLanguage) for one in problems)
    return Failure(
        kind="VlmWrongLanguage" if language else "VlmWrongShape",
        message=f"two replies broke a rule, the second one so: {line(str(problems[0]))[:MAX_REPEATED]}",
        text=answer.text,
    )


def line(text: str) -> str:
    """A text that somebody else wrote, as one line: it cannot look like a part of the prompt of its own."""
    return " ".join(text.split())
