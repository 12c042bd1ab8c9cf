"""What the client's tests ask, and how."""

from __future__ import annotations

import asyncio
import base64
import io
from typing import Any, Protocol

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

from comfy_nodes.vlm.asking import Answer, Failure, Question
from comfy_nodes.vlm.endpoint import client

KEY = "sk-sentinel-0123456789abcdef"
"""Must turn up nowhere."""


class Score(BaseModel):
    score: int = Field(ge=0, le=10)
    reason: str


class WriteProfile(Protocol):
    def __call__(self, name: str, url: str, **fields: Any) -> None: ...


def question(word: str = "hello", more: str = "there", **fields: Any) -> Question:
    """A question whose first word tells the endpoint what to do."""
    asked: dict[str, Any] = {"system": "You judge.", "user": f"{word} {more}", "reply": Score, **fields}
    return Question(prompt_id="test", prompt_version="1", **asked)


def picture(width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ask(
    *questions: Question, profile: str = "default", run: str = "", budget_usd: float = 0.0
) -> list[Answer | Failure]:
    """Asks from an event loop of its own, as a prompt does."""
    return asyncio.run(client.connect(profile, run, budget_usd).ask(questions))


def kinds(results: list[Answer | Failure]) -> list[str]:
    return [result.kind if isinstance(result, Failure) else "answer" for result in results]


def size_of(url: str) -> tuple[int, int]:
    """(width, height) of the picture in a data URL."""
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size
