"""Faces and subjects cut out of pictures, so that two of them can be compared by an embedder.

The node Check Consistency calls this. Arrays in, arrays out, scaling through OpenCV.
"""

from __future__ import annotations

import math

import numpy as np

from ..core.boxes import box_of
from .opencv import load_opencv

FACE = np.array([[0.34, 0.42], [0.66, 0.42], [0.39, 0.74], [0.61, 0.74]])
"""Where the eyes' middles and the mouth's corners lie in an aligned face, as shares of its side. Ours: the proportions of
ArcFace's template (Deng et al. 2019, arXiv 1801.07698), with brows and chin in the picture."""

MARGIN = 0.05
"""Share of a subject's longer side that is left around it. Ours."""


def aligned(
    picture: np.ndarray, points: np.ndarray, landmarks: np.ndarray, side: int, ground: tuple[int, int, int]
) -> np.ndarray:
    """A face turned upright and brought to one size, uint8 [side, side, 3], without what is around it: a background may
    change and the face be the same.

    Args:
        picture: uint8 [H, W, 3].
        points: [4, 2] in pixels, as `FACE` has them.
        landmarks: [N, 2] in pixels; their hull is the face.
        ground: the colour around it.
    """
    cv2 = load_opencv()
    turn, shift = _similarity(FACE * side, points)
    # Sampled finely and then averaged: plain sampling of a large face would see single pixels.
    finer = max(1, math.ceil(float(np.hypot(*turn[:, 0])) - 0.01))
    first = shift + turn @ np.full(2, 0.5 / finer - 0.5)  # the middle of the first of the fine pixels
    matrix = np.column_stack([turn / finer, first])
    cut = cv2.warpAffine(
        picture,
        matrix,
        (side * finer, side * finer),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    small = cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA)
    outline = cv2.convexHull(np.rint((landmarks - shift) @ np.linalg.inv(turn).T).astype(np.int32))
    inside = cv2.fillConvexPoly(np.zeros((side, side), np.uint8), outline, 1)
    return np.where(inside[..., None] > 0, small, np.array(ground, np.uint8))


def cut_out(picture: np.ndarray, mask: np.ndarray, side: int, ground: tuple[int, int, int]) -> np.ndarray:
    """What a mask marks, in the middle of a plain square, uint8 [side, side, 3].

    Args:
        picture: uint8 [H, W, 3].
        mask: bool [H, W]; it marks something.
        ground: the colour around it.
    """
    box = box_of(mask)
    assert box
    x1, y1, x2, y2 = box
    shown = np.where(mask[y1:y2, x1:x2, None], picture[y1:y2, x1:x2], np.array(ground, np.uint8))
    inside = side * (1 - 2 * MARGIN) / max(x2 - x1, y2 - y1)
    width, height = (max(1, round(length * inside)) for length in (x2 - x1, y2 - y1))
    cv2 = load_opencv()
    scaled = cv2.resize(shown, (width, height), interpolation=cv2.INTER_AREA if inside < 1 else cv2.INTER_CUBIC)
    square = np.full((side, side, 3), ground, np.uint8)
    left, top = (side - width) // 2, (side - height) // 2
    square[top : top + height, left : left + width] = scaled
    return square


def _similarity(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn and scale [2, 2] and shift [2] that bring points [N, 2] as near as can be to others, in least squares."""
    rows = np.zeros((2 * len(start), 4))
    rows[0::2] = np.column_stack([start[:, 0], -start[:, 1], np.ones(len(start)), np.zeros(len(start))])
    rows[1::2] = np.column_stack([start[:, 1], start[:, 0], np.zeros(len(start)), np.ones(len(start))])
    a, b, across, down = np.linalg.lstsq(rows, end.reshape(-1), rcond=None)[0]
    return np.array([[a, -b], [b, a]]), np.array([across, down])
