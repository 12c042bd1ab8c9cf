"""A question, asked again where its answer breaks a rule: what everything that asks a model has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, TypeVar

from ...core.instructions.checks import Unfit, WrongLanguage
from ..asking import Answer, Failure, Question, Vlm

_Result = TypeVar("_Result")

MAX_ASKED = 3
"""How often one thing is asked before its sample is given up. Ours."""

MAX_REPEATED = 300
"""Most characters of a complaint that goes back to the model; it quotes the model's own words. Ours."""


async def ask_checked(vlm: Vlm, question: Question, read: Callable[[Answer], _Result]) -> _Result | Failure:
    """What `read` makes of an answer.

    Args:
        read: raises `Unfit` where the answer breaks a rule; the model is then asked again and told why, three times in all.

    Returns:
        The runtime's failure, or `unfit` where the last answer breaks a rule, too.
    """
    asked = question
    for _ in range(MAX_ASKED):
        (answer,) = await vlm.ask([asked])
        if isinstance(answer, Failure):
            return answer
        try:
            return read(answer)
        except Unfit as problem:
            failure = unfit([problem], answer)
            # What was asked first is asked again: complaints about earlier answers do not pile up in the prompt.
            asked = replace(again(question, [problem]), seed=asked.seed + 1)
    return failure


def again(question: Question, problems: Sequence[Unfit]) -> Question:
    """The question once more, with what was wrong with the last answer. Another seed, or it would come again."""
    told = "\n".join(f"- {line(text)[:MAX_REPEATED]}" for text in dict.fromkeys(map(str, problems)))
    return replace(
        question,
        user=f"{question.user}\n\nAn answer before could not be used. Answer anew and avoid this:\n{told}",
        seed=question.seed + 1,
    )


def unfit(problems: Sequence[Unfit], answer: Answer, asked: Literal["two", "three"] = "three") -> Failure:
    """The failure of answers that broke rules, the last one these: `VlmWrongLanguage` where that was all, else `VlmWrongShape`."""
    language = all(isinstance(one, WrongLanguage) for one in problems)
    return Failure(
        kind="VlmWrongLanguage" if language else "VlmWrongShape",
        message=f"{asked} replies broke a rule, the last one so: {line(str(problems[0]))[:MAX_REPEATED]}",
        text=answer.text,
    )


def line(text: str) -> str:
    """A text that somebody else wrote, as one line: it cannot look like a part of the prompt of its own."""
    return " ".join(text.split())
