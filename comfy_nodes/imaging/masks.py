"""Repairs of masks: holes, islands, shape, size and edge. Arrays in, arrays out, through OpenCV.

The picture's border is not an edge of the object: where a mask touches it, the object goes on outside. So shrinking
and feathering leave the mask closed there, and what lies open to the border is no hole.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..core.boxes import box_of
from .opencv import grow, load_opencv

SIGMA_PER_RADIUS = 0.5
"""Standard deviation of the feathering blur per pixel of its radius: at two of them a Gaussian is all but over. Ours."""


Shape = Literal["as it is", "hull", "box"]
SHAPES: tuple[Shape, ...] = ("as it is", "hull", "box")


def widened(mask: np.ndarray, shape: Shape) -> np.ndarray:
    """A mask without the outline of what it shows: its convex hull, or its box. bool [H, W] of bool [H, W]."""
    box = box_of(mask)
    if shape == "as it is" or box is None:
        return mask
    wide = np.zeros(mask.shape, dtype=np.uint8)
    if shape == "box":
        wide[box[1] : box[3], box[0] : box[2]] = 1
    else:
        cv2 = load_opencv()
        cv2.fillConvexPoly(wide, cv2.convexHull(cv2.findNonZero(mask.astype(np.uint8))), 1)
    return mask | wide.astype(bool)


def fill_holes(mask: np.ndarray, max_share: float) -> np.ndarray:
    """Fills what is enclosed by the mask.

    Args:
        mask: bool [H, W].
        max_share: holes up to this share of the mask's area are filled, 0 to 1; larger ones belong to the shape.

    Returns:
        bool [H, W]. What is open to the picture's border, or touches it, stays.
    """
    if max_share <= 0 or not mask.any() or mask.all():
        return mask
    # Background that meets only at corners is two holes where the mask's pixels meet at corners.
    labels, areas = _parts(~mask, connectivity=4)
    outside = np.unique(np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1])))
    holes = areas <= max_share * np.count_nonzero(mask)
    holes[outside] = False
    holes[0] = False
    return mask | holes[labels]


def drop_islands(mask: np.ndarray, min_share: float) -> np.ndarray:
    """Drops what is small and stands apart.

    Args:
        mask: bool [H, W].
        min_share: separate parts under this share of the mask's area are dropped, 0 to 1. The largest always stays.

    Returns:
        bool [H, W].
    """
    if min_share <= 0 or not mask.any():
        return mask
    labels, areas = _parts(mask, connectivity=8)
    kept = areas >= min_share * np.count_nonzero(mask)
    kept[0] = False
    kept[1 + int(np.argmax(areas[1:]))] = True
    return kept[labels]


def resize(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Grows a mask, bool [H, W], by `pixels` in every direction, or shrinks it where they are negative."""
    return grow(mask, pixels) if pixels >= 0 else ~grow(~mask, -pixels)


def feather(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Softens a mask's edge over `pixels` on both sides of it.

    Args:
        mask: bool [H, W].

    Returns:
        float32 [H, W], 0 to 1: exactly 0 and 1 farther than `pixels` from the edge.
    """
    soft = mask.astype(np.float32)
    if pixels < 1 or not mask.any() or mask.all():
        return soft
    cv2 = load_opencv()
    size, sigma = 2 * pixels + 1, max(pixels * SIGMA_PER_RADIUS, 0.5)
    blurred = cv2.GaussianBlur(soft, (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
    # The kernel's weights sum to one only up to rounding.
    blurred[blurred > 1 - 1e-5] = 1
    blurred[blurred < 1e-5] = 0
    return blurred


def _parts(mask: np.ndarray, connectivity: int) -> tuple[np.ndarray, np.ndarray]:
    """Connected parts: labels int [H, W], 0 where the mask is not, and the area of each label in pixels."""
    cv2 = load_opencv()
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    return labels, statistics[:, cv2.CC_STAT_AREA]
