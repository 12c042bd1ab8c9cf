"""What is asked of a vision-language model and what comes back, whoever answers: the contract of the `EDITPAIRS_VLM` socket.

Nodes build questions and read answers; the runtimes behind the socket (endpoint, local weights, core's text encoders)
turn one into the other. No torch, no ComfyUI, no HTTP here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from pydantic import BaseModel

FailureKind = Literal[
    "VlmEmptyReply",
    "VlmRefusal",
    "VlmNotJson",
    "VlmWrongShape",
    "VlmCutOff",
    "VlmWrongLanguage",
    "VlmRepeatedKey",
    "VlmBadRequest",
    "VlmUnauthorised",
    "VlmNoModel",
    "VlmRateLimited",
    "VlmServerError",
    "VlmTimeout",
    "VlmConnection",
    "VlmImageTooLarge",
    "VlmBudget",
    "VlmNotConfigured",
]
"""Why a question has no answer; the error type of the sample's line in `failed.parquet`."""


@dataclass(frozen=True)
class Question:
    """One call: words and pictures in, text or a JSON object out."""

    prompt_id: str
    """Name of the prompt file."""
    prompt_version: str
    """Version of that file; it goes into every record and into the cache's key."""
    system: str
    user: str
    images: tuple[np.ndarray, ...] = ()
    """uint8 [H, W, 3] each, in the order in which the text speaks of them."""
    reply: type[BaseModel] | None = None
    """The shape that the reply must have; None for plain text."""
    max_tokens: int = 1024
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Usage:
    """What one answer cost. Zero where it came from the cache."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.usd + other.usd,
        )


@dataclass(frozen=True)
class Answer:
    """A reply that has the shape that was asked for."""

    text: str
    """The model's raw words."""
    value: BaseModel | None
    """The reply as `Question.reply`; None where plain text was asked for."""
    model: str
    prompt_version: str
    cached: bool = False
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class Failure:
    """A question without an answer. Travels as data, so that one sample's bad reply ends neither prompt nor run."""

    kind: FailureKind
    message: str
    """One line: what happened and what to do. Never holds a key."""
    text: str = ""
    """The model's raw words, where there were any."""


class Vlm(Protocol):
    """Who answers."""

    model: str
    """As it stands in records."""

    async def ask(self, questions: Sequence[Question]) -> list[Answer | Failure]:
        """An answer or a failure for each question, in order.

        Endpoints answer concurrently, local weights in batches.

        Raises:
            comfy.model_management.InterruptProcessingException: the user pressed stop.
        """
        ...
