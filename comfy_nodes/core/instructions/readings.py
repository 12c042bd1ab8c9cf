"""Which regions an English phrase fits, read as a person reads it: the check on what `wording` says.

It starts from the words alone and shares no rule with how they were made. It must not know which region was meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..boxes import area
from ..regions.annotation import Region

_PLACES: dict[str, tuple[int | None, int | None]] = {
    "in the upper-left": (0, 0), "at the top": (None, 0), "in the upper-right": (2, 0),
    "on the left": (0, None), "in the center": (1, 1), "on the right": (2, None),
    "in the lower-left": (0, 2), "at the bottom": (None, 2), "in the lower-right": (2, 2),
}  # fmt: skip
"""Third of the width and of the height; None is any: what is in the upper left is on the left as well."""

_ENDS = {"leftmost": (0, 0), "rightmost": (0, -1), "topmost": (1, 0), "bottommost": (1, -1)}
"""Axis, and place in its order."""

_ORDER = ("first", "second", "third", "fourth", "fifth", "sixth")
_SIZES = {"larger": -1, "largest": -1, "smaller": 0, "smallest": 0}


def fitting(phrase: str, noun: str, regions: Sequence[Region], width: int, height: int) -> list[Region]:
    """The regions that a phrase such as `the small cup on the left of the image` may mean.

    Args:
        noun: the name in it; `object` fits regions without a name, too.
        regions: all that a width x height photo has; those of another name do not fit.
    """
    before, _, after = phrase.removeprefix("the").partition(noun)
    fit = [one for one in regions if (one.class_name or "object").strip().casefold() == noun.strip().casefold()]
    for word in before.split():
        if word in _ENDS:
            axis, place = _ENDS[word]
            fit = _ordered(fit, axis)[place:][:1]
        elif word in _SIZES:
            fit = sorted(fit, key=lambda one: area(one.bbox))[_SIZES[word] :][:1]
        elif word in _ORDER and (side := re.search(r"from the (left|top)", after)):
            at = _ORDER.index(word)
            fit = _ordered(fit, 0 if side[1] == "left" else 1)[at : at + 1]
    for words, (column, row) in _PLACES.items():
        if f"{words} of the image" in after:
            fit = [one for one in fit if _third(one, 0, width) in (column, *_any(column))]
            fit = [one for one in fit if _third(one, 1, height) in (row, *_any(row))]
    return fit


def _any(third: int | None) -> tuple[int, ...]:
    return (0, 1, 2) if third is None else ()


def _third(region: Region, axis: int, length: int) -> int:
    return min(2, int(3 * _middle(region, axis) / length))


def _middle(region: Region, axis: int) -> float:
    return (region.bbox[axis] + region.bbox[axis + 2]) / 2


def _ordered(regions: Sequence[Region], axis: int) -> list[Region]:
    return sorted(regions, key=lambda one: _middle(one, axis))
