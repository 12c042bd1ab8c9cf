"""Questions to models on this machine and what becomes of their replies, whichever library runs the model.

`transformers_vlm.LocalVlm` and `core_encoder.CoreClipVlm` bring a function that lets their model speak; this turns questions into
conversations, replies into answers or failures, and asks once more where a reply is of no use. No torch, no ComfyUI.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel

from .. import replies
from ..asking import Answer, Failure, Question, Usage


@dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: str
    """`system`, `user` or `assistant`."""
    text: str
    images: tuple[np.ndarray, ...] = ()
    """uint8 [H, W, 3], shown before the text, in the order in which it speaks of them."""


@dataclass(frozen=True)
class Conversation:
    """What a model reads before it replies, and how it is to reply."""

    turns: tuple[Turn, ...]
    max_tokens: int
    temperature: float
    """0 takes the likeliest token each time."""
    seed: int

    @property
    def images(self) -> tuple[np.ndarray, ...]:
        """Of all turns, in their order."""
        return tuple(image for turn in self.turns for image in turn.images)


@dataclass(frozen=True)
class Utterance:
    """What a model said to a conversation."""

    text: str
    finished: bool
    """False where `max_tokens` ended it."""
    usage: Usage


Say = Callable[[Sequence[Conversation]], Sequence[Utterance | Failure]]
"""Lets a model speak: a reply to each conversation, or why it could not be asked."""


def conversation(question: Question) -> Conversation:
    """What a model reads for a question, with the wanted shape in words: nothing here enforces it."""
    system = (Turn("system", question.system),) if question.system else ()
    wanted = f"\n\n{replies.ask_for_json(question.reply)}" if question.reply else ""
    user = Turn("user", question.user + wanted, question.images)
    return Conversation((*system, user), question.max_tokens, question.temperature, question.seed)


def answers(questions: Sequence[Question], say: Say, model: str) -> list[Answer | Failure]:
    """An answer or a failure for each question. Replies that can be mended are asked for once more, all together.

    Args:
        model: as it is to stand in the answers.
    """
    asked = [conversation(question) for question in questions]
    heard = [_hear(question, reply) for question, reply in zip(questions, say(asked), strict=True)]
    poor = [number for number, one in enumerate(heard) if one.unusable and one.unusable.can_be_mended]
    if poor:
        second = say([_once_more(asked[number], heard[number]) for number in poor])
        for number, reply in zip(poor, second, strict=True):
            if isinstance(reply, Utterance):
                usage = heard[number].usage + reply.usage
                heard[number] = _hear(questions[number], replace(reply, usage=usage))
    return [one.result(model) for one in heard]


@dataclass(frozen=True)
class _Heard:
    """A reply, read."""

    question: Question
    text: str
    usage: Usage
    value: BaseModel | None = None
    unusable: replies.UnusableReply | None = None

    def result(self, model: str) -> Answer | Failure:
        if self.unusable:
            return Failure(self.unusable.kind, f"{model}: {self.unusable.message}", self.text)
        text = replies.spoken(self.text) if self.value is None else self.text
        return Answer(text, self.value, model, self.question.prompt_version, usage=self.usage)


def _hear(question: Question, reply: Utterance | Failure) -> _Heard:
    if isinstance(reply, Failure):
        return _Heard(question, reply.text, Usage(), unusable=replies.UnusableReply(reply.kind, reply.message))
    if not reply.finished:
        message = f"the reply was not finished after {question.max_tokens} tokens; raise max_tokens"
        return _Heard(question, reply.text, reply.usage, unusable=replies.UnusableReply("VlmCutOff", message))
    found = replies.read(reply.text, question.reply)
    if isinstance(found, replies.UnusableReply):
        return _Heard(question, reply.text, reply.usage, unusable=found)
    return _Heard(question, reply.text, reply.usage, value=found)


def _once_more(asked: Conversation, heard: _Heard) -> Conversation:
    """The conversation with the reply that was of no use, and what is wrong with it."""
    assert heard.unusable is not None and heard.question.reply is not None  # only JSON can be mended
    complaint = replies.ask_again(heard.unusable, heard.question.reply)
    return replace(asked, turns=(*asked.turns, Turn("assistant", heard.text), Turn("user", complaint)))
