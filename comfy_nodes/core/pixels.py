"""What an edit changed, counted in pixels of the stored 8-bit images.

Pure array code. It runs before any judge that costs money: an edit that changed nothing, or
something that it must not touch, needs no second opinion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .verdicts import Scores

CHANGED_LEVELS = 8
"""A pixel counts as changed when a channel differs by more than this many of 255 levels. Ours:
above JPEG and VAE noise on flat areas, below any visible repainting."""

MIN_CHANGED = 0.05
"""Least share of the mask that has to change for an edit to have happened. Ours."""


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
    difference = (np.maximum(source, edited) - np.minimum(source, edited)).max(axis=2)
    inside = difference if mask is None else difference[mask]
    outside = difference[:0] if mask is None else difference[~mask]
    return PixelChange(
        inside_changed=float((inside > levels).mean()) if inside.size else 0.0,
        inside_mean=float(inside.mean()) if inside.size else 0.0,
        outside_max=int(outside.max()) if outside.size else 0,
        outside_mean=float(outside.mean()) if outside.size else 0.0,
    )


def judge(change: PixelChange, min_changed: float = MIN_CHANGED, max_outside: int = 0) -> Scores:
    """Scores and verdict: rejected when nothing was edited, or something outside the mask was.

    Args:
        min_changed: least share of the mask that has to change, 0 to 1.
        max_outside: largest difference outside the mask that is let pass, 0 to 255 levels.
    """
    reason = ""
    if change.inside_changed < min_changed:
        reason = f"no edit: {change.inside_changed:.1%} of the mask changed, under {min_changed:.1%}"
    elif change.outside_max > max_outside:
        reason = f"changed outside the mask: by up to {change.outside_max} of 255 levels, {max_outside} allowed"
    return Scores(
        values={
            "pixel.inside_changed": change.inside_changed,
            "pixel.inside_mean": change.inside_mean,
            "pixel.outside_max": float(change.outside_max),
            "pixel.outside_mean": change.outside_mean,
        },
        verdict="reject" if reason else "keep",
        reason=reason,
    )
