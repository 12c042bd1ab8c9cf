"""What an edit changed, counted in pixels of the stored 8-bit images, and whether that is the edit asked for.

Pure array code, called by Verify Pixels and, for what lies outside a mask, by Save Edit Pair. It runs before any judge
that costs money: an edit that changed nothing, or something that it must not touch, needs no second opinion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import pixel_changes
from .pixel_changes import Change
from .verdicts import SAYS, Scores, Verdict

CHANGED_LEVELS = 8
"""A pixel counts as changed when a channel differs by more than this many of 255 levels. Ours:
above JPEG and VAE noise on flat areas, below any visible repainting."""

MIN_CHANGED = 0.05
"""Least share of the mask that has to change for an edit to have happened. Ours."""

MIN_COVERED = 0.6
"""Least share of the region that a finished edit changes. Ours."""

MAX_EXTRA = 0.002
"""Largest share of the picture that may change beyond the region and its margin: a square with a side of 4.5 % of a
square picture's. Ours."""


@dataclass(frozen=True)
class PixelChange:
    """How two images of equal size differ. Differences are in levels of 0 to 255, largest over channels."""

    inside_changed: float
    """Share of the mask's pixels that changed, 0 to 1 (of the whole image without a mask)."""
    inside_mean: float
    outside_max: int
    """Largest difference outside the mask; 0 without a mask."""
    outside_mean: float


def measure(
    source: np.ndarray, edited: np.ndarray, mask: np.ndarray | None, levels: int = CHANGED_LEVELS
) -> PixelChange:
    """Compares two images.

    Args:
        source, edited: uint8 [H, W, 3].
        mask: bool [H, W], where the edit was allowed; None means everywhere.
        levels: a pixel counts as changed above this difference.

    Raises:
        ValueError: sizes differ.
    """
    if source.shape != edited.shape or (mask is not None and mask.shape != source.shape[:2]):
        raise ValueError(
            f"sizes differ: source {source.shape[:2]}, edited {edited.shape[:2]}"
            + (f", mask {mask.shape}" if mask is not None else "")
        )
    difference = pixel_changes.difference(source, edited)
    inside = difference if mask is None else difference[mask]
    outside = difference[:0] if mask is None else difference[~mask]
    return PixelChange(
        inside_changed=float((inside > levels).mean()) if inside.size else 0.0,
        inside_mean=float(inside.mean()) if inside.size else 0.0,
        outside_max=int(outside.max()) if outside.size else 0,
        outside_mean=float(outside.mean()) if outside.size else 0.0,
    )


@dataclass(frozen=True)
class Limits:
    """What an edit has to keep to. Shares are 0 to 1."""

    min_changed: float = MIN_CHANGED
    """Least share of the region, or else of the edit mask, that has to change; 0 asks for no change at all."""
    max_outside: int = 0
    """Largest difference outside the edit mask, 0 to 255 levels."""
    levels: int = CHANGED_LEVELS
    """A pixel counts as changed above this difference, 0 to 254 levels."""
    min_covered: float = MIN_COVERED
    """Least share of the region that has to change for the edit to be finished."""
    max_extra: float = MAX_EXTRA
    """Largest share of the picture that may change beyond the region and its margin."""
    min_total: float = 0.0
    """Least share of the whole picture that has to change, as for another style."""


@dataclass(frozen=True)
class Place:
    """Where a change lies against the region that was meant; shares are 0 to 1, and 0 where there is nothing to share."""

    covered: float
    """Share of the region that changed."""
    within: float
    """Share of the change that lies in the region."""
    overlap: float
    """Intersection over union of change and region."""


def place(changed: np.ndarray, region: np.ndarray) -> Place:
    """Compares the change with the region, both bool [H, W]."""
    both = float(np.count_nonzero(changed & region))
    meant, found = float(np.count_nonzero(region)), float(np.count_nonzero(changed))
    return Place(
        covered=both / meant if meant else 0.0,
        within=both / found if found else 0.0,
        overlap=both / (meant + found - both) if both else 0.0,
    )


def verify(
    source: np.ndarray,
    edited: np.ndarray,
    edit_mask: np.ndarray | None = None,
    region: np.ndarray | None = None,
    limits: Limits | None = None,
) -> tuple[Scores, np.ndarray]:
    """Whether the edit was made, where it was meant, and nothing else.

    Args:
        source, edited: uint8 [H, W, 3].
        edit_mask: bool [H, W], where pixels may differ at all; None promises nothing.
        region: bool [H, W], where the edit was meant; None: the edit mask, or anywhere.
        limits: `Limits()` where nothing is given.

    Returns:
        The scores, and the changed region as bool [H, W].

    Raises:
        ValueError: sizes differ.
    """
    limits = limits or Limits()
    meant = edit_mask if region is None else region
    counted = measure(source, edited, meant if edit_mask is None else edit_mask, limits.levels)
    if region is not None and region.shape != source.shape[:2]:
        raise ValueError(f"sizes differ: source {source.shape[:2]}, region {region.shape}")
    put_back = edit_mask is not None and counted.outside_max == 0
    change = pixel_changes.find(
        source, edited, edit_mask if put_back else meant, put_back=put_back, levels=limits.levels
    )
    where = None if meant is None else place(change.mask, meant)
    promised = counted.outside_max if edit_mask is not None else 0
    reason = _fault(change, where, promised, region is not None, limits)
    verdict: Verdict = "reject" if reason else "keep"
    return Scores(_values(counted, change, where, verdict), verdict, reason), change.mask


def _fault(change: Change, where: Place | None, outside: int, has_region: bool, limits: Limits) -> str:
    """Why the edit is rejected; empty when it is kept."""
    least = limits.min_changed
    if where is None and not change.cells and least > 0:
        return f"no edit: nothing but {_flicker(change)}"
    if where is not None and where.covered < least:
        name = "region" if has_region else "mask"
        share = f"{where.covered:.1%} of the {name} changed, under {least:.1%}"
        elsewhere = change.share * (1 - where.within)
        if change.extra and has_region:
            return f"edited in the wrong place: {share}, but {elsewhere:.1%} of the picture outside it"
        return f"no edit: {share}"
    if change.share < limits.min_total:
        return f"too little: {change.share:.1%} of the picture changed, under {limits.min_total:.1%}"
    if outside > limits.max_outside:
        return f"changed outside the mask: by up to {outside} of 255 levels, {limits.max_outside} allowed"
    if where is None or not has_region:
        return ""
    if where.covered < limits.min_covered:
        return f"half done: {where.covered:.1%} of the region changed, under {limits.min_covered:.1%}"
    if change.extra > limits.max_extra:
        return f"changed outside the region: {change.extra:.2%} of the picture, {limits.max_extra:.2%} allowed"
    return ""


def _flicker(change: Change) -> str:
    """What the pictures differ by, in words."""
    found = ["re-encoding"]
    if change.shift != (0.0, 0.0):
        found.append(f"a shift by {change.shift[0]:.1f}, {change.shift[1]:.1f} pixels")
    if change.drift.levels >= 0.5:
        found.append(f"a colour drift of {change.drift.levels:.1f} levels")
    return " and ".join(found)


def _values(counted: PixelChange, change: Change, where: Place | None, verdict: Verdict) -> dict[str, float]:
    values = {
        "pixel.inside_changed": counted.inside_changed,
        "pixel.inside_mean": counted.inside_mean,
        "pixel.outside_max": float(counted.outside_max),
        "pixel.outside_mean": counted.outside_mean,
        "pixel.changed": change.share,
    }
    if where is not None:
        values |= {
            "pixel.covered": where.covered,
            "pixel.within": where.within,
            "pixel.overlap": where.overlap,
            "pixel.extra": change.extra,
        }
    return values | {
        "pixel.shift_x": change.shift[0],
        "pixel.shift_y": change.shift[1],
        "pixel.drift": change.drift.levels,
        "pixel.noise": change.noise,
        "pixel.keep": SAYS[verdict],
    }
