"""Boxes (x1, y1, x2, y2) in a picture's pixels, x2 and y2 exclusive: how large they are and what two of them share."""

from __future__ import annotations

import numpy as np

Box = tuple[float, float, float, float]


def area(box: Box) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def shared(one: Box, other: Box) -> float:
    """How many pixels lie in both boxes."""
    return area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    inside = shared(one, other)
    union = area(one) + area(other) - inside
    return inside / union if union > 0 else 0.0


def box_of(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """The box tight around what a mask [H, W] marks; None where that is nothing."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1) if rows.size else None
