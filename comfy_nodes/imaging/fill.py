"""Classical image processing through OpenCV: what a machine without a GPU edits with.

OpenCV is loaded by the first call, so the pack loads without it; where it is missing, or is a build
without the contrib modules, the call says what to install.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..core.boxes import Box, box_of
from .opencv import INSTALL, MissingLibrary, grow, load_opencv

Method = Literal["shift-map", "telea", "navier-stokes"]
METHODS: tuple[Method, ...] = ("shift-map", "telea", "navier-stokes")

GRABCUT_SIDE = 640
"""Longest side, in pixels, at which GrabCut works; larger crops are segmented at this size. Ours."""

CONTEXT = 1.0
"""Photo kept round the hole on each side for filling it, in hole widths and heights. Ours."""

MIN_CONTEXT = 48
"""Least context on each side in pixels. Ours."""

FILL_SIDE = 640
"""Longest side, in pixels, at which a hole is filled. Larger crops are filled at this size and scaled up, as
shift-map takes minutes above it; the filling gets softer, what lies around it does not. Ours."""

EDGE_STEP = 60
"""A step of more levels than this at the hole's border is an edge of the picture, not a seam. Ours."""

AROUND, ALIKE = 0.15, 16
"""How far around a mask counts, as a share of the side of a square with its area, and levels below which two colours there
are alike. Ours."""

GREY_LEVELS = 2
"""Mean levels between a picture's channels below which it is black and white. Ours: JPEG leaves less."""


def is_grey(picture: np.ndarray) -> bool:
    """Whether uint8 [..., 3] is without colours."""
    return bool(np.ptp(picture.astype(int), axis=-1).mean() < GREY_LEVELS)


def looks_like_around(image: np.ndarray, mask: np.ndarray) -> float:
    """Share, 0 to 1, of the masked pixels that have the colour of what lies around the mask near them.

    Args:
        image: uint8 [H, W, 3].
        mask: bool [H, W], with a pixel in it.
    """
    cv2 = load_opencv()
    reach = max(3, round(AROUND * np.count_nonzero(mask) ** 0.5))
    ring = (grow(mask, reach) & ~mask).astype(np.float32)
    weight = np.maximum(cv2.GaussianBlur(ring, (0, 0), reach), 1e-6)
    around = cv2.GaussianBlur(image.astype(np.float32) * ring[..., None], (0, 0), reach) / weight[..., None]
    return float((np.abs(image - around).max(axis=2) < ALIKE)[mask].mean())


def segment_box(image: np.ndarray, box: Box, seed: int, iterations: int) -> np.ndarray:
    """GrabCut (Rother et al. 2004) from a box.

    Args:
        image: uint8 [H, W, 3], RGB.
        box: (x1, y1, x2, y2) in pixels; clipped to the image.
        seed: for the colour clustering; same seed, same mask.
        iterations: rounds of refinement, at least 1.

    Returns:
        bool [H, W]; True on the object, never outside the box. All False where no object stands out.
    """
    cv2 = load_opencv()
    height, width = image.shape[:2]
    x1, y1 = max(0, round(box[0])), max(0, round(box[1]))
    x2, y2 = min(width, round(box[2])), min(height, round(box[3]))
    found = np.zeros((height, width), dtype=bool)
    if x2 - x1 < 2 or y2 - y1 < 2:
        return found
    left, top, right, bottom = _grown(x1, y1, x2, y2, 0.5, 8, width, height)
    crop = image[top:bottom, left:right]
    scale = min(1.0, GRABCUT_SIDE / max(crop.shape[:2]))
    small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else crop
    labels = np.full(small.shape[:2], cv2.GC_BGD, dtype=np.uint8)
    rows = slice(round((y1 - top) * scale), max(1, round((y2 - top) * scale)))
    columns = slice(round((x1 - left) * scale), max(1, round((x2 - left) * scale)))
    labels[rows, columns] = cv2.GC_PR_FGD
    if (labels == cv2.GC_PR_FGD).all() or not (labels == cv2.GC_PR_FGD).any():
        # GrabCut learns the background from outside the box; a box that is the whole image has none.
        return found
    cv2.setRNGSeed(seed & 0x7FFFFFFF)
    model = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small[..., ::-1].copy(), labels, None, *model, iterations, cv2.GC_INIT_WITH_MASK)
    inside = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
    full = cv2.resize(inside, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR) > 0.5
    found[y1:y2, x1:x2] = full[y1 - top : y2 - top, x1 - left : x2 - left]
    return found


def inpaint(image: np.ndarray, mask: np.ndarray, method: Method) -> np.ndarray:
    """Fills the masked pixels from what surrounds them; all others are returned as they came.

    `shift-map` copies patches from elsewhere in the picture (He and Sun 2012, OpenCV contrib's xphoto),
    `telea` and `navier-stokes` spread the border inwards (OpenCV).

    Args:
        image: uint8 [H, W, 3], RGB.
        mask: bool [H, W]; True is filled.

    Raises:
        ValueError: the mask leaves nothing, or too little, to fill from.
        MissingLibrary: no OpenCV, or one without xphoto for `shift-map`.
    """
    hole = box_of(mask)
    if hole is None:
        return image.copy()
    if mask.all():
        raise ValueError("the mask covers the whole image: there is nothing to fill it from")
    cv2 = load_opencv()
    height, width = mask.shape
    left, top, right, bottom = _grown(*hole, CONTEXT, MIN_CONTEXT, width, height)
    crop, crop_mask = image[top:bottom, left:right], mask[top:bottom, left:right]
    scale = min(1.0, FILL_SIDE / max(crop_mask.shape))
    work, work_mask = crop, crop_mask.astype(np.uint8)
    if scale < 1:
        work = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        # Any share of hole makes a small pixel hole, or the object would bleed into the filling.
        work_mask = cv2.resize(work_mask.astype(np.float32), work.shape[1::-1], interpolation=cv2.INTER_AREA) > 0
        if work_mask.all():
            raise ValueError("the mask leaves too little of the photo around it to fill it from")
    filled = _fill(work, work_mask.astype(np.uint8), method)
    if scale < 1:
        filled = cv2.resize(filled, crop_mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    result = image.copy()
    result[top:bottom, left:right][crop_mask] = filled[crop_mask]
    return result


def _fill(image: np.ndarray, mask: np.ndarray, method: Method) -> np.ndarray:
    """The image, uint8 [H, W, 3], with the mask's non-zero pixels filled; the others may change too."""
    cv2 = load_opencv()
    if method != "shift-map":
        return cv2.inpaint(image, mask, 3, cv2.INPAINT_TELEA if method == "telea" else cv2.INPAINT_NS)
    if not hasattr(cv2, "xphoto"):
        raise MissingLibrary(f"this OpenCV build lacks xphoto, which shift-map inpainting needs: {INSTALL}")
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)
    filled = np.zeros_like(lab)
    cv2.xphoto.inpaint(lab, np.where(mask > 0, 0, 255).astype(np.uint8), filled, cv2.xphoto.INPAINT_SHIFTMAP)
    # Where too little is left to copy from, it leaves pixels black in all channels: no colour of Lab.
    missed = (mask > 0) & ~filled.any(axis=2)
    result = np.where(mask[..., None] > 0, cv2.cvtColor(filled, cv2.COLOR_Lab2RGB), image)
    if missed.any():
        result = cv2.inpaint(result, missed.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return _without_seam(result, mask > 0)


def _without_seam(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Takes the brightness step between a copied patch and its surroundings out of the patch.

    The step is measured along the mask's border and spread inwards as a harmonic function (Laplace's
    equation, as in Poisson image editing, Perez et al. 2003), so texture stays and only its level moves.

    Args:
        image: uint8 [H, W, 3].
        mask: bool [H, W], the patch.
    """
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(rows.size)
    levels = image.astype(np.float64)
    links, neighbours = [], np.full(rows.size, 1e-6)
    steps = np.zeros((rows.size, 3))
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        y, x = rows + down, columns + right
        inside = np.flatnonzero((y >= 0) & (y < height) & (x >= 0) & (x < width))
        other = number[y[inside], x[inside]]
        within, border = inside[other >= 0], inside[other < 0]
        links.append((within, other[other >= 0]))
        step = levels[y[border], x[border]] - levels[rows[border], columns[border]]
        seam = np.abs(step).max(axis=1) <= EDGE_STEP
        steps[border[seam]] += step[seam]
        neighbours[within] += 1
        neighbours[border[seam]] += 1
    first, second = (np.concatenate(ends) for ends in zip(*links, strict=True))
    system = sparse.diags(neighbours) - sparse.coo_matrix((np.ones(first.size), (first, second)), (rows.size,) * 2)
    offset = spsolve(system.tocsc(), steps)
    levels[mask] += offset
    return levels.round().clip(0, 255).astype(np.uint8)


def _grown(
    x1: int, y1: int, x2: int, y2: int, factor: float, least: int, width: int, height: int
) -> tuple[int, int, int, int]:
    """A box grown by `factor` of its own size and by `least` pixels at the least, clipped to the image."""
    dx, dy = max(least, round((x2 - x1) * factor)), max(least, round((y2 - y1) * factor))
    return max(0, x1 - dx), max(0, y1 - dy), min(width, x2 + dx), min(height, y2 + dy)
