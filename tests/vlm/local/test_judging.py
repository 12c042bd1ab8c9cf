"""Expected scores from the logits of real weights."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")

from comfy_nodes.core.verdicts.rubrics import TABLE
from comfy_nodes.vlm.local.transformers_vlm import LocalVlm
from comfy_nodes.vlm.questions import judge
from comfy_nodes.vlm.questions.edited_pair import EditedPair
from tests.vlm.local.conftest import photo

CASE = judge.Case(EditedPair(photo(), photo(1), "Turn the cup blue.", "en"), TABLE["scaleedit"])


def local(folder: Path) -> LocalVlm:
    return LocalVlm(folder, "float32", 4, 784, 10_000)


def test_a_sure_model_gives_its_digit(reciter: Callable[..., Path]) -> None:
    (found,) = asyncio.run(judge.judge_expected(local(reciter("3")), [CASE]))
    assert found.verdict == "keep"
    for name in ("instruction_following", "editing_consistency", "generation_quality"):
        assert found.values[f"judge.{name}"] == pytest.approx(3, abs=0.01)


def test_a_model_that_says_letters_is_unscored(chatterer: Path) -> None:
    (found,) = asyncio.run(judge.judge_expected(local(chatterer), [CASE]))
    assert found.verdict == "unscored" and "likely" in found.reason
