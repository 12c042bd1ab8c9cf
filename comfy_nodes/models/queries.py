"""What SAM 2 is asked: a box, points or both for each mask, in the image's pixels. No torch, no ComfyUI."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.boxes import Box

Point = tuple[float, float, bool]
"""x, y, and whether the point lies on the object."""


@dataclass(frozen=True)
class MaskPrompt:
    """What one mask is asked for with."""

    box: Box | None = None
    """(x1, y1, x2, y2)."""
    points: tuple[Point, ...] = ()


def of_boxes(boxes: Sequence[Box], points: Sequence[Point], width: int, height: int) -> list[MaskPrompt | None]:
    """A prompt for each box of a width x height image.

    Boxes are clipped to the image; each takes the points that lie in it.

    Returns:
        None for a box that has no area inside the image.
    """
    prompts: list[MaskPrompt | None] = []
    for x1, y1, x2, y2 in boxes:
        box = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
        inside = tuple(point for point in points if box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3])
        prompts.append(MaskPrompt(box, inside) if box[2] > box[0] and box[3] > box[1] else None)
    return prompts


def parse_points(text: str | None, on_object: bool) -> tuple[Point, ...]:
    """Points from JSON such as `[{"x": 10, "y": 20}]`, the form of core's SAM3 node; none from an empty text.

    Raises:
        ValueError: something else came.
    """
    if not text or not text.strip():
        return ()
    try:
        points = tuple((float(point["x"]), float(point["y"]), on_object) for point in json.loads(text))
    except (ValueError, TypeError, KeyError):
        points = None
    if points is None or not all(math.isfinite(x) and math.isfinite(y) for x, y, _ in points):
        raise ValueError(f'points are not JSON such as [{{"x": 10, "y": 20}}] in pixels: {text.strip()[:80]}')
    return points


def parse(text: str) -> list[str]:
    """The names in a text, in order, each once.

    A name that holds a comma stands in double quotes: `"pot, black", spoon`. Case is kept, but `Cat` and `cat` are one
    name, since every detector here lowers case before it reads.

    Raises:
        ValueError: there is no name in it.
    """
    names: dict[str, str] = {}
    for line in text.splitlines():
        for field in next(csv.reader([line], skipinitialspace=True), []):
            name = " ".join(field.split())
            if name:
                names.setdefault(name.casefold(), name)
    if not names:
        raise ValueError("the vocabulary is empty: write the names to look for, one to a line or with commas between")
    return list(names.values())


def checked(vocabulary: str | None) -> bool | str:
    """For a node's `validate_inputs`: a person who clears the text is told so. What another node says, such as Tag Image,
    may be nothing: ComfyUI passes None for it."""
    try:
        return bool(vocabulary is None or parse(vocabulary))
    except ValueError as error:
        return str(error)
