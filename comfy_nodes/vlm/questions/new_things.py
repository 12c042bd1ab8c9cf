"""Asks a model whether something new stands where a thing was erased, beside the protocols of Verify Edit and Judge Edit.

A question of its own, so that no other answer colours it. What cannot be answered leaves the edit unscored. No torch, no
ComfyUI.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...core.verdicts.erasing import Erased, NewThings, nothing_new
from ...core.verdicts.verdicts import Scores
from ..asking import Answer, Failure, Question, Vlm
from .asking_again import ask_checked, line
from .edited_pair import EditedPair, spoke, unanswered
from .prompt_files import prompt

MAX_TOKENS = 512
"""A list of short names. Ours."""

_WHICH: dict[Erased, tuple[str, str]] = {"before": ("first", "second"), "after": ("second", "first")}
"""How the prompt calls the picture that a thing was erased from, and the other one."""


@dataclass(frozen=True)
class Erasure:
    """An edit by which a thing was erased from one of its pictures."""

    pair: EditedPair
    erased: Erased


async def look(vlm: Vlm, erasures: Sequence[Erasure]) -> list[Scores]:
    """What stands new in each, in order, as a verdict. All are asked together."""
    return list(await asyncio.gather(*(_look(vlm, one) for one in erasures)))


def question(erasure: Erasure) -> Question:
    """What is asked about an edit."""
    pair, (erased, other) = erasure.pair, _WHICH[erasure.erased]
    return prompt("new-things").question(
        {"pictures": pair.told, "instruction": line(pair.instruction), "erased": erased, "other": other},
        reply=NewThings,
        images=pair.images,
        max_tokens=MAX_TOKENS,
        seed=pair.seed,
    )


async def _look(vlm: Vlm, erasure: Erasure) -> Scores:
    asked = question(erasure)

    def read(answer: Answer) -> Scores:
        assert isinstance(answer.value, NewThings)
        return replace(nothing_new(answer.value), judge=spoke(answer.model, asked, answer))

    found = await ask_checked(vlm, asked, read)
    if isinstance(found, Failure):
        reason = f"whether something new stands there: {unanswered(found)}"
        return Scores({}, "unscored", reason, judge=spoke(vlm.model, asked, found))
    return found
