"""What an editor that follows commands is told where it sees a crop around its region, and not the photo.

A cup in the lower-left of the photo is in the middle of its crop, and may be the only one there. So a command names its
thing anew by arithmetic on boxes, as `wording` does, and says in a few words how the edit is to sit in the photo.
"""

from __future__ import annotations

import re

from ..boxes import Box, iou
from ..regions.annotation import Region
from ..regions.earlier import SAME_OVERLAP
from . import wording
from .checks import Unfit, language_of
from .composing import ENDINGS
from .instructions import Step
from .scenes import Scene

ERASING = ("add", "remove")
"""Operations whose picture is made by taking the thing away; an added thing is in the photo."""

MANNERS: dict[str, str] = {
    "replace": "The new thing stands in the same place, is no larger, and has the photo's light and perspective.",
    "alter": "Keep its shape, its position and the light on it.",
    "background": "Keep everything in front of it exactly as it is. The new background has the photo's direction of light, camera height and perspective.",
}
"""What a command leaves unsaid and a pair needs. Ours."""

NOTHING_NEW = "Let what lies around it go on in its place, with nothing new there."
"""What is to be seen where a thing is taken away and nobody described the ground behind it. Ours."""

_PLACE = re.compile(
    r"\b(?:left|right|top|bottom|upper|lower|middle|cent(?:er|re)|corner|foreground|(?:left|right|top|bottom)most"
    r"|first|second|third|fourth|fifth|sixth|larger|largest|smaller|smallest)\b"
    r"|[左右]|最[上下]|[上下]方|[上下]起|中[间央]|角落",
    re.IGNORECASE,
)
"""Words that say where, or which of several, in the whole photo."""


def command(step: Step, region: Region, scene: Scene, crop: Box) -> str:
    """A step as a plain command about what a crop of the photo shows.

    Args:
        step: with its command about the whole photo, as a writer or a person put it.
        region: what the step is about.
        scene: the photo; its other regions are what the region is told apart from in the crop.
        crop: (x1, y1, x2, y2) in pixels of the photo; it holds the region, and may reach over the photo's border.

    Raises:
        Unfit: no words tell the thing apart in the crop, or the command's own ones hold in the photo alone.
    """
    noun = step.object or "object"
    others = [one for one in (*scene.regions, *scene.others) if one is not region]
    the = _named(region, noun, _seen(others, crop), crop)
    if step.op in ERASING:
        return _removal(step, the)
    return f"{_said(step, noun, the)} {MANNERS.get(step.op, '')}".strip()


def _removal(step: Step, the: str) -> str:
    if step.target:
        return f"Remove {the} and reveal what is behind it: {step.target}."
    words = step.editor_prompt.strip()
    if step.op == "remove" and words and not step.object and not _PLACE.search(words):
        return f"{_sentence(words)} {NOTHING_NEW}"  # they may name what the region does not
    return f"Remove {the}. {NOTHING_NEW}"


def _seen(regions: list[Region], crop: Box) -> list[Region]:
    """The regions that a crop shows any of, in its pixels."""
    moved = [_moved(one, crop) for one in regions]
    return [one for one in moved if one.bbox[0] < one.bbox[2] and one.bbox[1] < one.bbox[3]]


def _moved(region: Region, crop: Box) -> Region:
    """A region's box in a crop's pixels, cut off at its sides."""
    left, top, right, bottom = crop
    x1, y1, x2, y2 = region.bbox
    box = (max(x1, left) - left, max(y1, top) - top, min(x2, right) - left, min(y2, bottom) - top)
    return region.model_copy(update={"bbox": box, "mask": None})


def _named(region: Region, noun: str, others: list[Region], crop: Box) -> str:
    """The region in words that hold in the crop: by its place, or else by its rank among its namesakes there."""
    if region.kind == "background":
        return f"the {noun}"
    width, height = round(crop[2] - crop[0]), round(crop[3] - crop[1])
    own = _moved(region, crop)
    place = wording.location(own.bbox, width, height)
    alike = [one for one in others if one.plain_name == own.plain_name and iou(one.bbox, own.bbox) < SAME_OVERLAP]
    if all(wording.location(one.bbox, width, height) != place for one in alike):
        return f"the {noun} {place}"
    found = wording.reference(own, others, width, height)
    if found is None:
        raise Unfit(f"several things in the crop are called {noun}, and neither place nor size tells this one apart")
    return found.phrase(noun, "en")


def _said(step: Step, noun: str, the: str) -> str:
    """The command with the thing named anew, or as it stands where it says no place, or made from its target."""
    words = step.editor_prompt.strip()
    renamed = wording.mention(noun).sub(lambda _: the, words, count=1)
    if not _PLACE.search(renamed.replace(the, "")):
        return _sentence(renamed)
    if step.target and step.op in ("replace", "background"):
        return f"Replace {the} with {step.target}."
    if step.target:
        return f"Change {the}, so that this is seen: {step.target}."
    raise Unfit(
        f"{words!r} says where in the whole photo, and this editor sees a crop: say it without the place, such as "
        f"'Replace the {noun} with a vase.', or have the write stage write it"
    )


def _sentence(words: str) -> str:
    """The words with a mark at their end."""
    return words if words[-1:] in ENDINGS else words + ("。" if language_of(words) == "zh" else ".")
