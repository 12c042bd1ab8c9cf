"""Words for where a region lies, how large it is and which of its namesakes it is, and the template writer's sentences.

All of them come from boxes by arithmetic, never from a model, always in x before y and width before height; mixing
these orders is what misplaces objects in the reference's instructions. Writers with a model put these words into the
model's sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ..boxes import Box, area, iou
from ..regions.annotation import Region
from ..regions.earlier import SAME_OVERLAP
from . import readings
from .english import article

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

SMALL_SHARE = 0.02
"""Boxes under this share of the photo are called small. Ours."""

LARGE_SHARE = 0.25
"""Boxes over this share of the photo are called large. Ours."""

CLEAR_GAP = 0.05
"""How far the middles of two namesakes have to lie apart, as a share of the photo's side, before one is called left of
or above the other. Ours."""

CLEAR_RATIO = 1.5
"""How many times larger a box has to be than its namesake's before it is called the larger one. Ours."""

_LOCATIONS: dict[Language, tuple[tuple[str, str, str], ...]] = {
    "en": (
        ("in the upper-left of the image", "at the top of the image", "in the upper-right of the image"),
        ("on the left of the image", "in the center of the image", "on the right of the image"),
        ("in the lower-left of the image", "at the bottom of the image", "in the lower-right of the image"),
    ),
    "zh": (
        ("图像左上方", "图像顶部", "图像右上方"),
        ("图像左侧", "图像中央", "图像右侧"),
        ("图像左下方", "图像底部", "图像右下方"),
    ),
}
_SIZES: dict[Language, tuple[str, str]] = {"en": ("small", "large"), "zh": ("小", "大")}

_ORDINALS = ("", "", "second", "third", "fourth", "fifth", "sixth")
_NUMERALS = "零一二三四五六"
MAX_NAMESAKES = len(_ORDINALS) - 1
"""More things of one name than this are not counted off in a sentence. Ours."""

_SENTENCES: dict[str, tuple[str, ...]] = {
    "remove": ("Remove {the}.", "Erase {the}.", "Take away {the}.", "Delete {the}."),
    "add": ("Add {a} {place}.", "Put {a} {place}.", "Insert {a} {place}."),
    "extract": (
        "Extract {the} onto a plain white background.",
        "Cut out {the} and show it alone on a plain white background.",
    ),
}
WRITABLE_TASKS = tuple(_SENTENCES)
"""Tasks whose instruction is true by how the pair is made: it invents nothing that the photo or the editor has to keep."""

NAMELESS = (
    "the region has no name, so no sentence can say what is edited: type it into class_name of Load Edit Sample, name it "
    "in the annotation, or write the instruction yourself"
)

TEMPLATE_VERSION = "1"
"""Version of the sentences; it goes into every record. Changed sentences get a new one."""


@dataclass(frozen=True)
class Reference:
    """What tells a region apart from everything else in the photo."""

    before: str = ""
    """English: between `the` and the name, such as `leftmost` or `small`. Chinese: before the name, such as `最左边的`."""
    after: str = ""
    """English: after the name, such as `in the lower-left of the image` or `from the left`. Chinese: nothing."""

    def phrase(self, noun: str, language: Language) -> str:
        """The whole of it: `the small cup in the lower-left of the image`, `图像左下方的小杯子`."""
        if language == "zh":
            return f"{self.before.removesuffix(extra_size(self.before[-1:], noun))}{noun}"
        return " ".join(word for word in ("the", self.before, noun, self.after) if word)


def location(bbox: Box, width: int, height: int, language: Language = "en") -> str:
    """Where the box's middle lies on a grid of thirds, such as `in the lower-left of the image`.

    Args:
        bbox: (x1, y1, x2, y2) in pixels.
        width, height: the photo's size in pixels.
    """
    column, row = _cell(bbox, width, height)
    return _LOCATIONS[language][row][column]


def at(bbox: Box, width: int, height: int, language: Language) -> Reference:
    """A thing by its place alone."""
    place = location(bbox, width, height, language)
    return Reference(before=f"{place}的") if language == "zh" else Reference(after=place)


def size_word(share: float, language: Language = "en") -> str:
    """`small`, `large` or nothing, for a box that covers `share` (0 to 1) of the photo."""
    small, large = _SIZES[language]
    if share < SMALL_SHARE:
        return small
    return large if share > LARGE_SHARE else ""


def extra_size(size: str, noun: str) -> str:
    """A Chinese size word where the name behind it begins with one itself, so that it is not said; else empty.

    `大大丽花` is no name of a large dahlia (大丽花), and `大小提琴` says `size`.
    """
    return size if size in _SIZES["zh"] and noun.startswith(_SIZES["zh"]) else ""


def mention(noun: str) -> re.Pattern[str]:
    """Every way in which `Reference.phrase` may name a thing in English."""
    sides = ("leftmost", "rightmost", "topmost", "bottommost")
    ranks = (*_SIZES["en"], *sides, *filter(None, _ORDINALS), "larger", "largest", "smaller", "smallest")
    places = (*(place for row in _LOCATIONS["en"] for place in row), "from the left", "from the top")
    before, after = "|".join(ranks), "|".join(places)
    return re.compile(rf"\bthe (?:(?:{before}) )?{re.escape(noun)}\b(?: (?:{after}))?", re.IGNORECASE)


def reference(
    region: Region, others: Sequence[Region], width: int, height: int, language: Language = "en"
) -> Reference | None:
    """How to name a region of a width x height photo so that only it can be meant; None where words don't tell.

    A region without namesakes, or alone in its place, is named by size and place. Others are counted off from the left,
    else from the top, else called the larger or smaller one. What is said is read again against all of them, and what
    fits another one is not said.

    Args:
        others: the photo's regions; itself among them does no harm, other names are passed over.
    """
    namesakes = [
        one for one in others if one.plain_name == region.plain_name and iou(one.bbox, region.bbox) < SAME_OVERLAP
    ]
    noun = region.plain_name or "object"
    for pair in _candidates(region, [one.bbox for one in namesakes], width, height):
        read = readings.fitting(pair["en"].phrase(noun, "en"), noun, [region, *namesakes], width, height)
        if read == [region]:
            return pair[language]
    return None


def _candidates(
    region: Region, namesakes: Sequence[Box], width: int, height: int
) -> Iterator[dict[Language, Reference]]:
    """What may be said of a region, in both languages: the most natural first."""
    size = region.area_share(width, height)
    places = {language: location(region.bbox, width, height, language) for language in LANGUAGES}
    yield {
        "en": Reference(size_word(size), places["en"]),
        "zh": Reference(f"{places['zh']}的{size_word(size, 'zh')}", ""),
    }
    if len(namesakes) >= MAX_NAMESAKES:
        return
    sides: tuple[tuple[int, Callable[[Box], float]], ...] = (
        (0, lambda box: (box[0] + box[2]) / 2 / width),
        (1, lambda box: (box[1] + box[3]) / 2 / height),
    )
    for side, middle in sides:
        rank = _rank(middle(region.bbox), [middle(box) for box in namesakes])
        if rank is not None:
            yield {language: _counted(rank, len(namesakes) + 1, side, language) for language in LANGUAGES}
    by_size = {
        language: _by_size(area(region.bbox), [area(box) for box in namesakes], language) for language in LANGUAGES
    }
    if by_size["en"] and by_size["zh"]:
        yield {"en": by_size["en"], "zh": by_size["zh"]}


def instruction(task: str, region: Region, width: int, height: int, seed: int, others: Sequence[Region] = ()) -> str:
    """An English edit instruction from a template that the seed picks.

    Args:
        task: a task of `WRITABLE_TASKS`.
        region: what the edit is about; a region without a class is called an object.
        width, height: the photo's size in pixels.
        seed: picks the sentence; same seed, same sentence.
        others: the photo's other regions, which must not be meant.

    Raises:
        ValueError: templates cannot write this task's instruction, or no words tell the region apart.
    """
    if task not in WRITABLE_TASKS:
        raise ValueError(
            f"templates write instructions for {', '.join(WRITABLE_TASKS)}, not for {task}: "
            "type the instruction into Load Edit Sample or put it into <photo>.txt"
        )
    name = region.class_name or "object"
    noun = " ".join(word for word in (size_word(region.area_share(width, height)), name) if word)
    found = reference(region, others, width, height) if task != "add" else Reference()
    if found is None:
        raise ValueError(f"neither place nor size tells this {name} apart from the others")
    sentences = _SENTENCES[task]
    return sentences[seed % len(sentences)].format(
        the=found.phrase(name, "en"),
        a=f"{article(noun)} {noun}".strip(),
        place=location(region.bbox, width, height),
    )


def _cell(bbox: Box, width: int, height: int) -> tuple[int, int]:
    """(column, row) of the box's middle on a grid of thirds, each 0 to 2."""
    return min(2, int((bbox[0] + bbox[2]) / 2 / width * 3)), min(2, int((bbox[1] + bbox[3]) / 2 / height * 3))


def _rank(own: float, others: Sequence[float]) -> int | None:
    """The place of `own` counted from the smallest, from 1; None where another lies too close to count."""
    if any(abs(own - other) < CLEAR_GAP for other in others):
        return None
    return 1 + sum(other < own for other in others)


def _counted(rank: int, count: int, side: int, language: Language) -> Reference:
    """The `rank`th of `count`, from the left (side 0) or from the top (side 1)."""
    if language == "zh":
        first, last, start = (("最左边的", "最右边的", "左起"), ("最上面的", "最下面的", "上起"))[side]
        return Reference(first if rank == 1 else last if rank == count else f"{start}第{_NUMERALS[rank]}个")
    first, last, start = (("leftmost", "rightmost", "left"), ("topmost", "bottommost", "top"))[side]
    if rank in (1, count):
        return Reference(first if rank == 1 else last)
    return Reference(_ORDINALS[rank], f"from the {start}")


def _by_size(own: float, others: Sequence[float], language: Language) -> Reference | None:
    words = {"en": (("larger", "largest"), ("smaller", "smallest")), "zh": (("较大的", "最大的"), ("较小的", "最小的"))}
    many = len(others) > 1
    if all(own >= CLEAR_RATIO * other for other in others):
        return Reference(words[language][0][many])
    if all(other >= CLEAR_RATIO * own for other in others):
        return Reference(words[language][1][many])
    return None
