"""Asks a model a user's own question about a photo or about pairs; `core.verdicts.own_question` says what the answers mean.

The question travels as one line between marks: whatever it holds, it is asked and not obeyed. No torch, no ComfyUI.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.records import SampleFailure
from ...core.verdicts.own_question import Answered, Rule
from ...core.verdicts.verdicts import Scores
from ..asking import Answer, Failure, FailureKind, Question, Vlm
from .asking_again import line
from .edited_pair import EditedPair, spoke, unanswered
from .prompt_files import prompt

MAX_TOKENS = 512
"""A sentence and a word. Ours."""

_UNREADABLE: tuple[FailureKind, ...] = (
    "VlmEmptyReply", "VlmRefusal", "VlmNotJson", "VlmWrongShape", "VlmCutOff", "VlmWrongLanguage", "VlmRepeatedKey",
)  # fmt: skip
"""Failures of a model that was reached and gave no answer. Others, such as a service that is not there, may pass."""


async def about_photo(vlm: Vlm, rule: Rule, photo: np.ndarray, seed: int, node: str) -> SampleFailure | Failure | None:
    """Why a photo, uint8 [H, W, 3], is left out; None where it passes, and the failure of a service that cannot be asked.

    Args:
        node: class and id of the node that asks.
    """
    question = prompt("ask-photo").question(
        {"question": line(rule.question)}, reply=Answered, images=(photo,), max_tokens=MAX_TOKENS, seed=seed
    )
    (answer,) = await vlm.ask([question])
    if isinstance(answer, Failure):
        return rule.unanswered(unanswered(answer), node) if answer.kind in _UNREADABLE else answer
    assert isinstance(answer.value, Answered)
    return rule.left_out(answer.value, node)


async def about_pairs(vlm: Vlm, rule: Rule, pairs: Sequence[EditedPair]) -> list[Scores]:
    """The verdict on each pair, in order. All are asked together."""
    questions = [_question(rule, pair) for pair in pairs]
    heard = await vlm.ask(questions) if questions else []
    return [_read(vlm, rule, question, answer) for question, answer in zip(questions, heard, strict=True)]


def _read(vlm: Vlm, rule: Rule, question: Question, answer: Answer | Failure) -> Scores:
    who = spoke(vlm.model, question, answer)
    if isinstance(answer, Answer):
        assert isinstance(answer.value, Answered)
        return rule.scores(answer.value, who)
    return rule.unscored(unanswered(answer), who)


def _question(rule: Rule, pair: EditedPair) -> Question:
    values = {"pictures": pair.told, "instruction": line(pair.instruction), "question": line(rule.question)}
    return prompt("ask-edit").question(
        values, reply=Answered, images=pair.images, max_tokens=MAX_TOKENS, seed=pair.seed
    )
