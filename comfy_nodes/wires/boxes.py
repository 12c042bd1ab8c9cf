"""Core's BOUNDING_BOX wire type: a list per image of dicts with x, y, width and height in pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..core.boxes import Box
from ..core.regions import rle
from ..core.regions.annotation import Region, RegionKind, region_of_mask
from .tensors import marked, masks_of

EXTRA_SCORES = ("clip_score", "aes_score", "sam_iou")
"""Scores that travel in a box's `metadata`; the detector's is the box's own `score`."""


def of_region(region: Region | None) -> list[list[dict[str, Any]]]:
    """One image's boxes: the region's, or none."""
    if region is None:
        return [[]]
    return [[of_corners(region.bbox, region.class_name or "", region.score)]]


def of_corners(corners: Box, label: str = "", score: float | None = None) -> dict[str, Any]:
    """One box of the wire type from (x1, y1, x2, y2) in pixels; `score` is left out where it is not known."""
    x1, y1, x2, y2 = corners
    box: dict[str, Any] = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "label": label}
    return box if score is None else {**box, "score": score}


def regions(boxes: Any, masks: torch.Tensor | None, kind: RegionKind, width: int, height: int) -> list[Region]:
    """One photo's boxes as regions.

    Args:
        boxes: BOUNDING_BOX of one width x height photo; scores beside the detector's stand in each box's `metadata`.
        masks: MASK [N, H, W], one for each box in the same order, or None.

    Raises:
        ValueError: boxes of several photos, or another number of masks.
    """
    photos = frames(boxes)
    if len(photos) > 1:
        raise ValueError(f"boxes of {len(photos)} photos, but a sample is one photo")
    found = photos[0] if photos else []
    if masks is not None and found and len(masks_of(masks)) != len(found):
        raise ValueError(
            f"{len(found)} boxes, but {len(masks_of(masks))} masks: send the masks of these boxes, not united"
        )
    return [
        Region(
            class_name=str(box.get("label") or "") or None,
            kind=kind,
            bbox=corners(box),
            mask=None if masks is None else rle.encode(marked(masks_of(masks)[number], height, width)),
            score=box.get("score"),
            **{name: value for name, value in (box.get("metadata") or {}).items() if name in EXTRA_SCORES},
        )
        for number, box in enumerate(found)
    ]


def frames(boxes: Any) -> list[list[dict[str, Any]]]:
    """The boxes' dicts as they came, a list for each image.

    Core's nodes send one dict, a list of dicts (one image) or a list of lists (a batch).

    Raises:
        ValueError: something else came, or a number that is not finite.
    """
    if isinstance(boxes, dict):
        boxes = [[boxes]]
    elif isinstance(boxes, list) and all(isinstance(box, dict) for box in boxes) and boxes:
        boxes = [boxes]
    try:
        if not all(math.isfinite(number) for image in boxes for box in image for number in corners(box)):
            raise ValueError("a number is not finite")
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"not a BOUNDING_BOX (dicts with x, y, width, height): {error}") from None
    return [list(image) for image in boxes]


def of_mask(mask: np.ndarray) -> dict[str, Any]:
    """The tight box around a mask, bool [H, W], that marks something; without a label."""
    return of_corners(region_of_mask(mask).bbox)


def with_metadata(box: dict[str, Any], **values: float | None) -> dict[str, Any]:
    """A copy of the box with `values` in its metadata; None removes one."""
    metadata = {**(box.get("metadata") or {}), **values}
    return {**box, "metadata": {name: value for name, value in metadata.items() if value is not None}}


def corners(box: dict[str, Any]) -> Box:
    """(x1, y1, x2, y2) of one box, in pixels."""
    x, y = float(box["x"]), float(box["y"])
    return x, y, x + float(box["width"]), y + float(box["height"])
