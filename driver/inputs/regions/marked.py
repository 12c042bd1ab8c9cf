"""What all formats of regions come to: a picture's name, its size, and regions as ImgEdit's annotation has them.

A format's module tells it what its file says; what cannot be used becomes a reason, and costs only itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pycocotools import mask as coco  # type: ignore[import-untyped]
from pydantic import ValidationError

from comfy_nodes.core import photos
from comfy_nodes.core.photos import MAX_PIXELS
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import AnnotationError
from comfy_nodes.core.validation import first_fault

from ..photo import Photo

Size = tuple[int, int]
"""(width, height) in pixels."""

_NOTHING = "it marks no pixel of the picture"

ROUND = 64
"""Corners of the polygon that an ellipse is drawn as. Ours: of a circle of 1000 pixels it leaves out 1 pixel at most."""

FARTHEST = 2.0
"""How far beyond a picture a polygon may reach, in the picture's sides. Ours: its outline is drawn before it is clipped."""

OUTLINE = 4_000_000
"""The longest outline of a region in pixels. Ours: drawing it takes 60 bytes for each; of real things it has some thousand."""


LONGEST = 500
"""Characters of a reason, at most. Ours."""

BEYOND = 2.0
"""From here on a number is no share of a photo, however far a box reaches beyond it. Ours."""


@dataclass
class Marked:
    """One picture of a file of annotations, with its regions."""

    written: str
    """The picture's path as its author wrote it."""
    size: Size | None
    """That regions are in pixels of; None where nobody says it, then it is the upright photo's."""
    regions: list[dict[str, Any]] = field(default_factory=list)
    """As `segmentation.object` of an annotation lists them."""
    faults: list[str] = field(default_factory=list)
    """Why a region cannot be used, a line each."""
    left_out: list[str] = field(default_factory=list)
    """What is sound and no region of one thing, a line each."""
    more: dict[str, Any] = field(default_factory=dict)
    """Further members of the annotation: `cap`, `source_licence`, `source_url`."""

    def add(self, label: str, name: str | None, shape: Callable[[], dict[str, Any]], **scores: Any) -> None:
        """Takes down a region.

        Args:
            label: what to call it in a reason.
            name: of the thing.
            shape: gives `bbox` and `mask`; raises AnnotationError.
            scores: as an annotation's region has them.
        """
        try:
            self.regions.append({"class_name": name, **shape(), **scores})
        except AnnotationError as error:
            self.faults.append(f"{label}: {error}")

    def pixels(self) -> Size:
        """The size that a mask needs."""
        if self.size is None:
            raise AnnotationError("a polygon needs the picture's size, and neither its file nor the photo tells it")
        return self.size


def with_reasons(photo: Photo, marked: Marked) -> Photo:
    """A photo with why regions of it cannot be used, and what is none."""
    if photo.annotation is None:
        return photo
    refusals = (*photo.annotation.refusals, *map(_line, marked.faults))
    left_out = tuple(map(_line, marked.left_out))
    return replace(photo, annotation=replace(photo.annotation, refusals=refusals), left_out=left_out)


def _line(reason: str) -> str:
    """A reason that holds an author's names, as a message may have it."""
    return photos.readable(reason)[:LONGEST]


def box(x1: Any, y1: Any, x2: Any, y2: Any) -> dict[str, Any]:
    """A region's shape of two corners in pixels, in whichever order they are."""
    x1, y1, x2, y2 = (number(one) for one in (x1, y1, x2, y2))
    return {"bbox": [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)], "mask": None}


def polygons(rings: Sequence[Any], size: Size) -> dict[str, Any]:
    """A region's shape of the outlines of its parts.

    Args:
        rings: of each part x, y, x, y … in pixels.
        size: the picture's.
    """
    width, height = size
    parts = [flat for ring in rings if (flat := _ring(ring))]
    outline = 0.0
    for flat in parts:
        corners = np.asarray(flat).reshape(-1, 2)
        if (np.abs(corners) > np.multiply(size, FARTHEST)).any():
            raise AnnotationError(f"its polygon leaves the picture of {width} x {height} by far")
        outline += np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum()
    if outline > OUTLINE:
        raise AnnotationError(f"its polygon's outline has more than {OUTLINE:,} pixels")
    if not parts:
        raise AnnotationError("its polygon has fewer than three points, which mark nothing")
    return _masked(coco.merge(coco.frPyObjects(parts, height, width)))


def _ring(ring: Any) -> list[float]:
    """The coordinates of a part; none where it has fewer than three points, which mark nothing."""
    flat = [number(one) for one in ring] if isinstance(ring, list | tuple) else []
    return flat if len(flat) >= 6 and len(flat) % 2 == 0 else []


def runs(found: Any) -> dict[str, Any]:
    """A region's shape of COCO's run lengths, compressed or not."""
    if not isinstance(found, dict) or "counts" not in found or "size" not in found:
        raise AnnotationError("its mask is no object of size [height, width] and counts")
    try:
        height, width = (int(one) for one in found["size"])
        counts = found["counts"]
        if height < 1 or width < 1 or height * width > MAX_PIXELS:
            raise ValueError
        if isinstance(counts, list):
            numbers = np.asarray(counts, dtype=np.int64)
            if numbers.ndim != 1 or (numbers < 0).any() or numbers.sum() != height * width:
                raise ValueError
            packed = coco.frPyObjects({"size": [height, width], "counts": numbers.tolist()}, height, width)
            return _masked(packed)
    except (TypeError, ValueError, OverflowError):
        raise AnnotationError("its mask's counts do not add up to its size") from None
    try:
        known = rle.Rle(size=(height, width), counts=counts)
        if not known.area:  # checked by this before other code takes it apart
            raise AnnotationError(_NOTHING)
    except ValidationError as error:
        raise AnnotationError(first_fault(error, "mask")) from None
    except AnnotationError:
        raise
    except ValueError as error:
        raise AnnotationError(str(error)) from None
    return _masked({"size": [height, width], "counts": known.counts.encode("ascii")})


def number(value: Any) -> float:
    """A coordinate, also one that was written as a text."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise AnnotationError(f"{str(value)[:40]!r} is no coordinate")
    return found


def points(found: Any) -> list[float]:
    """x, y, x, y … of a list of pairs."""
    if not isinstance(found, list) or not all(isinstance(one, list | tuple) and len(one) == 2 for one in found):
        raise AnnotationError("its points are no list of pairs")
    return [number(one) for pair in found for one in pair]


def check_shares(shares: Sequence[float]) -> None:
    """
    Raises:
        AnnotationError: one is no share of a photo.
    """
    if max(map(abs, shares), default=0.0) > BEYOND:
        raise AnnotationError("its numbers are no shares of the photo")


def scaled(shares: Sequence[float], size: Size) -> list[float]:
    """Pixels of x, y, x, y … in shares of a photo."""
    return [share * size[place % 2] for place, share in enumerate(shares)]


def whole_size(width: Any, height: Any) -> Size | None:
    """A size that a file tells; None where it is left out or 0, as some exporters leave it."""
    try:
        found = int(number(width)), int(number(height))
    except AnnotationError:
        return None
    return found if min(found) > 0 and found[0] * found[1] <= MAX_PIXELS else None


def name_of_class(value: Any) -> str | None:
    """A thing's name as a sentence has it: `traffic_light` is `traffic light`."""
    name = str(value).replace("_", " ").strip() if value is not None else ""
    return name or None


def turned(cx: float, cy: float, width: float, height: float, degrees: float) -> list[float]:
    """The corners of a box that was turned clockwise about its middle, as x, y, x, y …"""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    corners = ((-width, -height), (width, -height), (width, height), (-width, height))
    return [place for x, y in corners for place in (cx + (x * cosine - y * sine) / 2, cy + (x * sine + y * cosine) / 2)]


def ellipse(drawn: Sequence[float], degrees: float = 0) -> list[float]:
    """Corners of an ellipse that was turned clockwise about its middle, as x, y, x, y …

    Args:
        drawn: x and y of its middle, and its two radii, in pixels.
    """
    cx, cy, rx, ry = drawn
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    angles = [2 * math.pi * place / ROUND for place in range(ROUND)]
    ring = [(rx * math.cos(angle), ry * math.sin(angle)) for angle in angles]
    return [place for x, y in ring for place in (cx + x * cosine - y * sine, cy + x * sine + y * cosine)]


def _masked(mask: Any) -> dict[str, Any]:
    if not coco.area(mask):
        raise AnnotationError(_NOTHING)
    x, y, width, height = (float(one) for one in coco.toBbox(mask))
    counts = {"size": [int(one) for one in mask["size"]], "counts": mask["counts"].decode("ascii")}
    return {"bbox": [x, y, x + width, y + height], "mask": counts}
