"""What a detector can weigh of an edit: whether a thing is there before and after, and whether bystanders changed.

The node Witness detects and hands boxes in; this knows which testimony an operation asks for and what it comes to. No
detector and no pictures but bystanders' pixels here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..boxes import Box, iou, shared
from .verdicts import SAYS, Scores, Verdict

MIN_OVERLAP = 0.3
"""Least IoU with the region for a find to be the region's thing; boxes of the same thing differ before and after. Ours."""

MAX_BYSTANDER_CHANGE = 24.0
"""Most mean difference of a bystander's box, in levels of 0 to 255: re-encoding and a VAE's round trip stay below 10 on
photos, another face does not. Ours."""

TESTIFYING = ("add", "remove", "replace")
"""Operations that put a thing there or take it away."""

PERSON = "person"

_ARTICLE = re.compile(r"^(?:an?|the|some|one)\s+", re.IGNORECASE)
_TAIL = re.compile(
    r"\s*(?:[,.;:]|\b(?:on|in|at|with|near|next|under|over|above|below|behind|before|beside|standing|sitting|lying|of "
    r"the same|that|which|made|where|against|facing|seen|and)\b).*$",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Inquiry:
    """What is asked of the detector about one operation."""

    op: str
    old: str
    """The thing that is added, removed or replaced, in English."""
    new: str
    """What it is replaced by; empty for the others."""
    region: Box
    """(x1, y1, x2, y2) in the pictures' pixels."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.old, self.new) if name)


@dataclass(frozen=True)
class Find:
    """One box that a detector found."""

    name: str
    box: Box
    score: float


def thing_of(target: str) -> str:
    """The thing that a target speaks of, for a detector: its words up to the first preposition, without article.

    `a green glass bottle on the table, lit from the left` gives `green glass bottle`.
    """
    words = " ".join(target.split())
    return _ARTICLE.sub("", _TAIL.sub("", words)).strip() or _ARTICLE.sub("", words)


def says_all(questions: Sequence[Inquiry], steps: int) -> bool:
    """Whether these questions are about all that an edit does, and about what is there afterwards as well.

    Args:
        steps: how many operations the edit has.
    """
    return len(questions) == steps and all(one.new or one.op != "replace" for one in questions)


def weigh(
    questions: Sequence[Inquiry], before: Sequence[Find], after: Sequence[Find], overlap: float
) -> tuple[dict[str, float], Verdict, str]:
    """What the finds of both pictures say of the operations: values, verdict, reason.

    A detector that does not see the thing where it must be, before a removal or a replacement, is no witness: the edit
    is then unscored, not rejected.

    Args:
        before, after: everything that was found above the score threshold.
        overlap: least IoU with the region.
    """
    values: dict[str, float] = {}
    wrong: list[str] = []
    blind: list[str] = []
    for number, asked in enumerate(questions, 1):
        mark = "" if number == 1 else f"{number}"
        seen = {
            (when, name): max(
                (one.score for one in finds if _same(one.name, name) and iou(one.box, asked.region) >= overlap),
                default=0.0,
            )
            for when, finds in (("before", before), ("after", after))
            for name in asked.names
        }
        old_before, old_after = seen["before", asked.old], seen["after", asked.old]
        values |= {f"witness.before{mark}": old_before, f"witness.after{mark}": old_after}
        if asked.op == "add":
            if old_before:
                wrong.append(f"{asked.old} is found before it was added ({old_before:.2f})")
            if not old_after:
                wrong.append(f"{asked.old} is not found after it was added")
            continue
        if not old_before:
            blind.append(
                f"the detector does not see {asked.old} in the photo before the edit, so it cannot miss it after"
            )
            continue
        if old_after:
            wrong.append(f"{asked.old} is still found ({old_after:.2f})")
        if asked.op == "replace" and asked.new:
            values[f"witness.new_before{mark}"] = seen["before", asked.new]
            values[f"witness.new_after{mark}"] = seen["after", asked.new]
            if not seen["after", asked.new]:
                wrong.append(f"{asked.new} is not found in place of {asked.old}")
    if wrong:
        return values, "reject", "; ".join(wrong)
    return (values, "unscored", "; ".join(blind)) if blind else (values, "keep", "")


def bystanders(finds: Sequence[Find], regions: Sequence[Box]) -> list[Box]:
    """Boxes of people before the edit that lie outside all regions."""
    return [
        one.box for one in finds if _same(one.name, PERSON) and not any(shared(one.box, region) for region in regions)
    ]


def largest_change(before: np.ndarray, after: np.ndarray, boxes: Sequence[Box]) -> float:
    """The largest of the boxes' mean differences, in levels of 0 to 255; 0 without boxes.

    Pixels in place, no face recognition: a face that was moved counts as changed, a likeness does not count as kept.

    Args:
        before, after: uint8 [H, W, 3] of equal sizes.
    """
    largest = 0.0
    for x1, y1, x2, y2 in boxes:
        rows, columns = slice(int(y1), max(int(y1) + 1, round(y2))), slice(int(x1), max(int(x1) + 1, round(x2)))
        apart = np.abs(before[rows, columns].astype(np.int16) - after[rows, columns])
        largest = max(largest, float(apart.mean())) if apart.size else largest
    return largest


def scores(values: Mapping[str, float], verdict: Verdict, reason: str, whole: bool) -> Scores:
    """The testimony as scores, with `witness.keep` where there is a verdict.

    Args:
        whole: whether it is about all of the edit, so that a detector vouches for it.
    """
    own = {"witness.keep": SAYS[verdict]} if verdict in SAYS else {}
    said = f"witness: {reason}" if reason else ""
    return Scores({**values, **own}, verdict, said, voices=("detector",) if own and whole else ())


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()
