"""ComfyUI's own modules in this process, on the CPU, and the tiny models that the tests ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from comfy_nodes.vlm.asking import Answer, Failure, Question, Vlm
from tests.models.conftest import nothing_loaded, weights  # noqa: F401  and with it, ComfyUI can be imported
from tests.vlm import tiny_vlm


class Score(BaseModel):
    score: int


@pytest.fixture(scope="session")
def chatterer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a Qwen2.5-VL that says letters without end."""
    return tiny_vlm.qwen25_vl(tmp_path_factory.mktemp("vlm") / "qwen2.5-vl-tiny")


@pytest.fixture(scope="session")
def reciter(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a folder of a Qwen2.5-VL that answers with the pieces that it is given."""

    def make(*pieces: str) -> Path:
        return tiny_vlm.qwen25_vl(tmp_path_factory.mktemp("vlm") / "reciter", recital=pieces)

    return make


def photo(seed: int = 0, height: int = 60, width: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def question(user: str = "What is it?", *images: np.ndarray, **fields: Any) -> Question:
    asked: dict[str, Any] = {"system": "You look.", "max_tokens": 12, **fields}
    return Question(prompt_id="test", prompt_version="3", user=user, images=images, **asked)


def ask(vlm: Vlm, *questions: Question) -> list[Answer | Failure]:
    return asyncio.run(vlm.ask(questions))


def texts(results: Sequence[Answer | Failure]) -> list[str]:
    """What was said, whether it was of use or not."""
    return [result.text for result in results]
