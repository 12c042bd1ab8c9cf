"""An edit as a model is shown it: before, after, and what may come along. Verifier and judges ask about these.

No torch, no ComfyUI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.instructions.wording import Language
from ...core.verdicts.verdicts import Judge
from ..asking import Answer, Failure, Question

DIFFERENCE_GAIN = 4
"""How many times brighter than it is the difference is drawn, so that a change of 8 levels can be seen. Ours."""


@dataclass(frozen=True)
class EditedPair:
    """One edit that was made, and what it was to be."""

    source: np.ndarray
    """uint8 [H, W, 3]."""
    edited: np.ndarray
    """uint8 [H, W, 3]."""
    instruction: str
    language: Language
    seed: int = 0
    reference: np.ndarray | None = None
    """uint8 [h, w, 3]: what the edit was to show, where a picture says so."""
    difference: np.ndarray | None = None
    """uint8 [H, W, 3], made by `difference_picture`."""
    other: str = ""
    """The same instruction in the other language; empty where it is known in one."""

    @property
    def images(self) -> tuple[np.ndarray, ...]:
        further = (self.reference, self.difference)
        return (self.source, self.edited, *(one for one in further if one is not None))

    @property
    def told(self) -> str:
        """What the pictures are, in their order."""
        words = ["The first picture is the photo before the edit, the second one the photo after it."]
        if self.reference is not None:
            words.append("The third picture is the reference that the edit was to follow.")
        if self.difference is not None:
            which = "last" if self.reference is not None else "third"
            words.append(
                f"The {which} picture is computed from the first two: the brighter a pixel, the more it differs. "
                "Black is what is equal. It shows where to look, not what is there."
            )
        return " ".join(words)


def difference_picture(source: np.ndarray, edited: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3], grey: the largest difference over the colour channels, `DIFFERENCE_GAIN` times as bright.

    It is our stand-in for the differential context of UnicEdit-10M's verifier, which is not published.

    Raises:
        ValueError: the pictures have different sizes.
    """
    if source.shape != edited.shape:
        raise ValueError(
            f"source is {source.shape[1]} x {source.shape[0]}, edited {edited.shape[1]} x {edited.shape[0]}: "
            "scale one of them, or switch difference off"
        )
    apart = np.abs(source.astype(np.int16) - edited).max(axis=2) * DIFFERENCE_GAIN
    return np.repeat(apart.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def spoke(model: str, question: Question, result: Answer | Failure) -> Judge:
    """Who was asked what, and said what, whether it could be read or not."""
    name = result.model if isinstance(result, Answer) else model
    return Judge(model=name, prompt_version=f"{question.prompt_id} {question.prompt_version}", reply=result.text)


def unanswered(failure: Failure) -> str:
    """The reason of an edit that is unscored because nobody answered."""
    return f"{failure.kind}: {failure.message}"
