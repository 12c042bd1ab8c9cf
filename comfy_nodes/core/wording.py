"""Words for where a region lies and how large it is, and the template writer's sentences.

Location and size come from the box by arithmetic, never from a model, always in x before y and width
before height; mixing these orders is what misplaces objects in the reference's instructions.
"""

from __future__ import annotations

from .annotation import Region

SMALL_SHARE = 0.02
"""Boxes under this share of the photo are called small. Ours."""

LARGE_SHARE = 0.25
"""Boxes over this share of the photo are called large. Ours."""

_LOCATIONS = (
    ("in the upper-left of the image", "at the top of the image", "in the upper-right of the image"),
    ("on the left of the image", "in the center of the image", "on the right of the image"),
    ("in the lower-left of the image", "at the bottom of the image", "in the lower-right of the image"),
)

_REMOVALS = (
    "Remove {noun} {place}.",
    "Erase {noun} {place}.",
    "Take away {noun} {place}.",
    "Delete {noun} {place}.",
)

WRITABLE_TASKS = ("remove",)


def location(bbox: tuple[float, float, float, float], width: int, height: int) -> str:
    """Where the box's middle lies on a grid of thirds, such as `in the lower-left of the image`.

    Args:
        bbox: (x1, y1, x2, y2) in pixels.
        width, height: the photo's size in pixels.
    """
    column = min(2, int((bbox[0] + bbox[2]) / 2 / width * 3))
    row = min(2, int((bbox[1] + bbox[3]) / 2 / height * 3))
    return _LOCATIONS[row][column]


def size_word(share: float) -> str:
    """`small`, `large` or nothing, for a box that covers `share` (0 to 1) of the photo."""
    if share < SMALL_SHARE:
        return "small"
    return "large" if share > LARGE_SHARE else ""


def instruction(task: str, region: Region, width: int, height: int, seed: int) -> str:
    """An edit instruction from a template that the seed picks.

    Args:
        task: a task of `WRITABLE_TASKS`.
        region: what the edit is about; a region without a class is called an object.
        width, height: the photo's size in pixels.
        seed: picks the sentence; same seed, same sentence.

    Raises:
        ValueError: templates cannot write this task's instruction.
    """
    if task not in WRITABLE_TASKS:
        raise ValueError(
            f"templates write instructions for {', '.join(WRITABLE_TASKS)}, not for {task}: "
            "type the instruction into Load Edit Sample or put it into <photo>.txt"
        )
    words = ("the", size_word(region.area_share(width, height)), region.class_name or "object")
    noun = " ".join(word for word in words if word)
    return _REMOVALS[seed % len(_REMOVALS)].format(noun=noun, place=location(region.bbox, width, height))
