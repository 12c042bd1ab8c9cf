"""Whether faces and subjects that an edit leaves alone look the same after it, by the cosine of their embeddings.

The node Check Consistency finds faces, cuts them out and embeds them; this knows which are compared with which, and what
the cosines come to. No pictures and no models here.

UnicEdit-10M (arXiv 2512.02790) gives face consistency as a figure of whole datasets, 0.89 beside the 0.3025 of
GPT-Image-Edit, without an embedder that we know of: its figures and ours are on different scales.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from ..boxes import Box, iou
from ..regions.people import about_people
from .verdicts import SAYS, Scores, Verdict

MIN_OVERLAP = 0.3
"""Least IoU of two boxes of one face before and after. Ours."""

MIN_SIDE = 32
"""Pixels that a face's box has at least on its shorter side; of a smaller one no embedder tells whose it is. Ours."""

COVERED = 0.5
"""From this share of its box on a face counts as lying in what is edited. Ours."""

EVERYWHERE = 0.9
"""A mask of a larger share of the picture says nothing of where the edit is. Ours."""

TAKING_AWAY = frozenset({"remove", "replace", "visual"})
"""Operations after which what stood in their place is no longer there."""

MOVING = frozenset({"motion", "extract"})
"""Operations after which a face may be anywhere."""


@dataclass(frozen=True)
class Face:
    """A face that a landmarker found."""

    box: Box
    """Around all landmarks, in the picture's pixels."""
    points: np.ndarray
    """float [4, 2], x and y in pixels: the eyes' middles, left in the picture first, then the mouth's corners likewise."""
    landmarks: np.ndarray
    """float [N, 2], all that was found of it; their hull is the face from forehead to chin, without hair."""


@dataclass(frozen=True)
class Limits:
    """Least cosines that an edit is let pass with; 0 measures and lets everything pass."""

    face: float
    subject: float


@dataclass(frozen=True)
class Measured:
    """What was measured of one edit; None where there was nothing to measure."""

    faces: tuple[float, ...] = ()
    """The cosine, -1 to 1, of each face that was compared."""
    subject: float | None = None

    @property
    def face(self) -> float | None:
        """The least: one spoilt face spoils the picture."""
        return min(self.faces, default=None)


def large(faces: Sequence[Face]) -> list[Face]:
    """The faces that are large enough to be compared."""
    return [one for one in faces if min(one.box[2] - one.box[0], one.box[3] - one.box[1]) >= MIN_SIDE]


def untouched(faces: Sequence[Face], ops: Set[str], words: Sequence[str], place: np.ndarray | None) -> list[Face]:
    """The faces that an edit has no business to change: without those that it is about, and of an extraction without
    those around what is extracted.

    Args:
        ops: the edit's operations, by their tasks' names.
        words: the names of what is edited, or the instruction where nobody named it.
        place: bool [H, W], where the edit is; None where nobody said, so that all faces are to stay.
    """
    if place is None or place.mean() > EVERYWHERE:
        return list(faces)
    if "extract" in ops:
        return [one for one in faces if _covered(one.box, place) >= COVERED]
    if not (ops & TAKING_AWAY or about_people(words)):
        return list(faces)
    return [one for one in faces if _covered(one.box, place) < COVERED]


def at_their_places(
    before: Sequence[Face], after: Sequence[Face], ops: Set[str], placed: bool
) -> list[tuple[Face, Face]]:
    """Each face before with the one that is at its place after.

    A face that is no longer found is compared with what is now at its old place, so that a spoilt face counts as such.
    Where faces move, or where one is taken away and nobody said which, it is left out.

    Args:
        ops: the edit's operations, by their tasks' names.
        placed: whether it is known where the edit is.
    """
    overlaps = sorted(
        ((iou(one.box, other.box), i, j) for i, one in enumerate(before) for j, other in enumerate(after)), reverse=True
    )
    found: dict[int, int] = {}
    for overlap, i, j in overlaps:
        if overlap >= MIN_OVERLAP and i not in found and j not in found.values():
            found[i] = j
    lost_counts = not ops & MOVING and (placed or not ops & TAKING_AWAY)
    return [(one, after[found[i]] if i in found else one) for i, one in enumerate(before) if i in found or lost_counts]


def weigh(measured: Measured, limits: Limits, earlier: Scores | None) -> Scores:
    """What the cosines come to, beside what was found before.

    Without a face and a subject there is nothing to say: what was found before is passed on, and alone the edit stays
    unscored. Where nothing that was measured has a limit, it is measured and nothing else. It vouches for no edit: that
    people are the same says nothing of whether the edit was made.
    """
    named = {"face": measured.face, "subject": measured.subject}
    values = {f"consistency.{name}": value for name, value in named.items() if value is not None}
    if measured.faces:
        values["consistency.faces"] = float(len(measured.faces))
    asked = {name: limit for name, limit in (("face", limits.face), ("subject", limits.subject)) if limit > 0}
    told = {name: value for name, value in named.items() if value is not None and name in asked}
    wrong = [
        f"the {name} is not the same ({value:.2f}, at least {asked[name]:.2f})"
        for name, value in told.items()
        if value < asked[name]
    ]
    if not told:
        return _silent(values, earlier)
    verdict: Verdict = "reject" if wrong else "keep"
    reason = f"consistency: {'; '.join(wrong)}" if wrong else ""
    return Scores({**values, "consistency.keep": SAYS[verdict]}, verdict, reason)


def _silent(values: dict[str, float], earlier: Scores | None) -> Scores:
    if earlier is not None:
        return Scores(values, earlier.verdict, earlier.reason, voices=earlier.voices)
    if values:
        return Scores(values, "keep")
    return Scores(
        {},
        "unscored",
        "consistency: there is no face and no subject to compare; wire what was found before to scores",
    )


def _covered(box: Box, place: np.ndarray) -> float:
    """The share of a box, 0 to 1, that is marked."""
    height, width = place.shape
    x1, y1 = (min(max(int(low), 0), most - 1) for low, most in zip(box[:2], (width, height), strict=True))
    x2, y2 = (max(round(high), low + 1) for high, low in zip(box[2:], (x1, y1), strict=True))
    return float(place[y1:y2, x1:x2].mean())
