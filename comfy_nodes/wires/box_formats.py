"""Boxes with label and score, and the formats in which other nodes pass them.

Core sends BOUNDING_BOX: a list per image of dicts. Older packs send BBOX: bare numbers, as corners (kijai's nodes) or
as corner and size (KJNodes). Impact sends SEGS: one image's regions, each with a cropped mask.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..core.boxes import Box
from . import boxes as wire

Layout = Literal["xyxy", "xywh"]

SEG = namedtuple(
    "SEG",
    ["cropped_image", "cropped_mask", "confidence", "crop_region", "bbox", "label", "control_net_wrapper"],
    defaults=[None],
)
"""Impact Pack's record of a region, field by field; its nodes read it by attribute."""

Segs = tuple[tuple[int, int], list[Any]]


@dataclass(frozen=True)
class Detection:
    """One box in a photo."""

    box: Box
    """(x1, y1, x2, y2) in pixels, x2 and y2 exclusive. May reach over the photo's border."""
    label: str = ""
    score: float | None = None
    """The detector's confidence, 0 to 1; None where nobody measured it."""
    clip_score: float | None = None
    """How well it fits its name; on the wire in the box's `metadata`, and only read from there."""


def from_wire(boxes: Any) -> list[list[Detection]]:
    """BOUNDING_BOX, in every form that core's nodes send, as a list per image.

    Raises:
        ValueError: something else came, or a box with no finite numbers or a negative size.
    """
    return [[_of_dict(box) for box in image] for image in wire.frames(boxes)]


def to_wire(frames: Sequence[Sequence[Detection]]) -> list[list[dict[str, Any]]]:
    """Core's BOUNDING_BOX; `score` is left out where it is not known."""
    return [[wire.of_corners(found.box, found.label, found.score) for found in frame] for frame in frames]


def from_bbox(boxes: Any, layout: Layout) -> list[list[Detection]]:
    """BBOX as a list per image: four numbers, a list of such (one image), or a list per image of them.

    Raises:
        ValueError: something else came, or a box with a negative size (probably the other layout).
    """
    boxes = _plain(boxes)
    if _is_box(boxes):
        boxes = [[boxes]]
    elif isinstance(boxes, list) and boxes and all(_is_box(box) for box in boxes):
        boxes = [boxes]
    if not isinstance(boxes, list) or not all(isinstance(image, list) for image in boxes):
        raise ValueError(f"not a BBOX (four numbers, or lists of them): {_brief(boxes)}")
    frames = []
    for image in boxes:
        if not all(_is_box(box) for box in image):
            raise ValueError(f"not a BBOX (each box is four numbers): {_brief(image)}")
        frames.append([Detection(_corners(box, layout)) for box in image])
    return frames


def to_bbox(frames: Sequence[Sequence[Detection]], layout: Layout) -> list[list[list[float]]]:
    """A list per image of boxes of four numbers each; labels and scores have no place in a BBOX."""
    return [[_numbers(found.box, layout) for found in frame] for frame in frames]


def to_segs(
    found: Sequence[Detection], masks: Sequence[np.ndarray] | None, width: int, height: int, crop_factor: float
) -> Segs:
    """One image's regions as Impact's SEGS.

    Args:
        masks: a bool [height, width] for each box; without them the whole box counts as marked.
        crop_factor: how much larger than the box the crop is, at least 1; Impact's own default is 3.

    Returns:
        ((height, width), [SEG, ...]); boxes without area inside the image are left out.
    """
    segs = []
    for number, one in enumerate(found):
        x1, y1, x2, y2 = inside(one.box, width, height)
        if x1 >= x2 or y1 >= y2:
            continue
        crop = _crop_region((x1, y1, x2, y2), width, height, crop_factor)
        if masks is None:
            marked = np.zeros((height, width), dtype=bool)
            marked[y1:y2, x1:x2] = True
        else:
            marked = masks[number]
        piece = marked[crop[1] : crop[3], crop[0] : crop[2]].astype(np.float32)
        score = 1.0 if one.score is None else one.score
        segs.append(SEG(None, piece, score, list(crop), [x1, y1, x2, y2], one.label, None))
    return (height, width), segs


def from_segs(segs: Any) -> tuple[list[Detection], list[np.ndarray], tuple[int, int]]:
    """Boxes, masks (bool [height, width], one for each box) and (width, height) of Impact's SEGS.

    Raises:
        ValueError: something else came, or a region whose mask is not of its crop's size.
    """
    try:
        (height, width), regions = segs
        height, width, regions = int(height), int(width), list(regions)
    except (TypeError, ValueError):
        raise ValueError(f"not a SEGS (((height, width), regions)): {_brief(segs)}") from None
    found, masks = [], []
    for region in regions:
        x1, y1, x2, y2 = (int(value) for value in _plain(region.crop_region))
        piece = np.asarray(_plain(region.cropped_mask), dtype=np.float32) > 0
        piece = piece[0] if piece.ndim == 3 else piece  # some detectors send a batch of one
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height) or piece.shape != (y2 - y1, x2 - x1):
            raise ValueError(f"a region of the SEGS has a mask of {piece.shape} for the crop {(x1, y1, x2, y2)}")
        mask = np.zeros((height, width), dtype=bool)
        mask[y1:y2, x1:x2] = piece
        masks.append(mask)
        score = _plain(region.confidence)
        score = score[0] if isinstance(score, list) else score
        box = _corners(_plain(region.bbox), "xyxy")
        found.append(Detection(box, str(region.label or ""), None if score is None else float(score)))
    return found, masks, (width, height)


def inside(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The whole pixels of a width x height image that a box touches: (x1, y1, x2, y2), x2 and y2 exclusive."""
    x1, y1, x2, y2 = box
    return max(math.floor(x1), 0), max(math.floor(y1), 0), min(math.ceil(x2), width), min(math.ceil(y2), height)


def _of_dict(box: dict[str, Any]) -> Detection:
    score = box.get("score")
    corners = _corners(wire.corners(box), "xyxy")
    clip = (box.get("metadata") or {}).get("clip_score")
    return Detection(corners, str(box.get("label") or ""), None if score is None else float(score), clip)


def _corners(box: Sequence[float], layout: Layout) -> Box:
    a, b, c, d = box
    x1, y1, x2, y2 = (a, b, c, d) if layout == "xyxy" else (a, b, a + c, b + d)
    if not all(math.isfinite(value) for value in (x1, y1, x2, y2)):
        raise ValueError(f"a box has a number that is not finite: {tuple(box)}")
    if x2 < x1 or y2 < y1:
        raise ValueError(f"a box has a negative size: {tuple(box)} read as {layout}")
    return float(x1), float(y1), float(x2), float(y2)


def _numbers(box: Box, layout: Layout) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2, y2] if layout == "xyxy" else [x1, y1, x2 - x1, y2 - y1]


def _crop_region(box: tuple[int, int, int, int], width: int, height: int, factor: float) -> tuple[int, int, int, int]:
    """The box grown about its middle, moved inside the image."""
    starts, ends = [], []
    for low, high, limit in ((box[0], box[2], width), (box[1], box[3], height)):
        length = min(round((high - low) * factor), limit)
        start = min(max(round((low + high - length) / 2), 0), limit - length)
        starts.append(start)
        ends.append(start + length)
    return starts[0], starts[1], ends[0], ends[1]


def _plain(value: Any) -> Any:
    """Arrays and tensors as lists, tuples too, all the way down."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(isinstance(one, int | float) for one in value)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
