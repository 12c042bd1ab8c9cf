"""One of the inputs that a run was given, as its user names it: with how much of all photos is to come from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Boxes = Literal["xywh", "xyxy"]
"""A box as a corner with width and height, or as two corners, in pixels."""


@dataclass(frozen=True)
class InputShare:
    """An input of a run."""

    path: str
    """A path, a URL, or a pattern of files."""
    share: float | None = None
    """How much of all photos comes from it, against the others' numbers; None of all: one input after the other."""
    licence: str = ""
    """The licence of those of its photos that bring none; "" where nobody says it."""
    boxes: Boxes | None = None
    """The form of boxes in a column of objects; None where the boxes are to tell it."""
