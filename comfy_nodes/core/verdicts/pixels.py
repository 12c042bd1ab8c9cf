"""What an edit changed, counted in pixels of the stored 8-bit images, and whether that is the edit asked for.

Pure array code, called by Verify Pixels and, for what lies outside a mask, by Save Edit Pair. It runs before any judge
that costs money: an edit that changed nothing, or something that it must not touch, needs no second opinion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import pixel_changes
from .colour_drift import TONED
from .pixel_changes import Change
from .pixel_limits import CHANGED_LEVELS, MARGIN, MAX_UNREST, SHADOW_RATIO, Limits
from .verdicts import SAYS, Scores, Verdict


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
class Landing:
    """Where a change lies against the region that was meant; shares are 0 to 1, and 0 where there is nothing to share."""

    covered: float
    """Share of the region that changed."""
    within: float
    """Share of the change that lies in the region."""
    overlap: float
    """Intersection over union of change and region."""


def landing(changed: np.ndarray, region: np.ndarray) -> Landing:
    """Compares the change with the region, both bool [H, W]."""
    both = float(np.count_nonzero(changed & region))
    meant, found = float(np.count_nonzero(region)), float(np.count_nonzero(changed))
    return Landing(
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
        source, edited, edit_mask if put_back else meant, put_back, limits.levels, everywhere=limits.recolours
    )
    where = None if meant is None else landing(change.mask, meant)
    promised = counted.outside_max if edit_mask is not None else 0
    size = None if region is None else float(region.mean())
    checks = list(_checks(change, where, promised, size, limits))
    reason = next((fault for margin, fault in checks if margin < 0), "")
    verdict: Verdict = "reject" if reason else "keep"
    values = {**_values(counted, change, where, verdict), MARGIN: min(margin for margin, _ in checks)}
    return Scores(values, verdict, reason, voices=("pixels",)), change.mask


def _checks(
    change: Change, where: Landing | None, outside: int, region: float | None, limits: Limits
) -> Iterator[tuple[float, str]]:
    """What an edit is held against, in this order: how far it is within a limit, and what is wrong where it is not.

    Args:
        region: share of the picture that the region takes; None where nobody says where the edit was meant.
    """
    if where is None and limits.min_changed > 0:
        yield (1.0 if change.cells else -1.0), f"no edit: nothing but {_flicker(change)}"
    if where is not None:
        yield _above(where.covered, limits.min_changed), _not_made(change, where, region, limits)
    beside = "" if change.drift.levels < 0.5 else f", {_flicker(change)} apart"
    yield (
        _above(change.share, limits.min_total),
        f"too little: {change.share:.1%} of the picture changed, under {limits.min_total:.1%}{beside}",
    )
    yield (
        _below(outside, limits.max_outside),
        f"changed outside the mask: by up to {outside} of 255 levels, {limits.max_outside} allowed",
    )
    of_one_thing = limits.max_spread < 1 if region is None else region <= 1 - pixel_changes.MIN_TRUSTED
    if of_one_thing and change.drift.is_tone and not limits.recolours:
        yield -1.0, f"toned as a whole: by {change.drift.levels:.1f} levels, {TONED:g} allowed"
    if of_one_thing:
        yield (
            _below(change.unrest, MAX_UNREST),
            f"changed all over: most of the picture differs by {change.noise:.1f} levels, {change.unrest:.0f} times what a "
            f"codec leaves, {MAX_UNREST:g} allowed",
        )
    if where is None:
        yield (
            _below(change.spread, limits.max_spread),
            f"changed all over: in {change.spread:.0%} of the picture's fields, {limits.max_spread:.0%} allowed",
        )
    elif region is not None:
        yield from _placing(change, where, region, limits)


def _not_made(change: Change, where: Landing, region: float | None, limits: Limits) -> str:
    """What to say of an edit that is not where it was meant."""
    name = "mask" if region is None else "region"
    share = f"{where.covered:.1%} of the {name} changed, under {limits.min_changed:.1%}"
    elsewhere = change.share * (1 - where.within)
    if change.extra + change.shadow and region is not None:
        return f"edited in the wrong place: {share}, but {elsewhere:.1%} of the picture outside it"
    return f"no edit: {share}"


def _placing(change: Change, where: Landing, region: float, limits: Limits) -> Iterator[tuple[float, str]]:
    """The same of where the edit lies."""
    yield (
        _above(where.covered, limits.min_covered),
        f"half done: {where.covered:.1%} of the region changed, under {limits.min_covered:.1%}",
    )
    yield (
        _below(change.extra, limits.max_extra),
        f"changed outside the region: {change.extra:.2%} of the picture, {limits.max_extra:.2%} allowed",
    )
    shadow = max(limits.max_extra, min(limits.max_shadow, SHADOW_RATIO * region))
    yield (
        _below(change.extra + change.shadow, shadow + limits.max_extra),
        f"changed beside the region: {change.shadow:.2%} of the picture, {shadow:.2%} allowed to a shadow",
    )


def _above(value: float, least: float) -> float:
    """How far a value is above its least one, in shares of that, -1 to 1."""
    return min(1.0, (value - least) / least) if least > 0 else 1.0


def _below(value: float, most: float) -> float:
    """How far a value is below its largest one, in shares of that, -1 to 1; at a limit of 0 nothing is between."""
    return max(-1.0, (most - value) / most) if most > 0 else 1.0 if value <= most else -1.0


def _flicker(change: Change) -> str:
    """What the pictures differ by, in words."""
    found, motion, drift = ["re-encoding"], change.motion, change.drift
    if motion.is_similarity:
        found.append(f"a zoom by {motion.zoom - 1:+.1%} and a turn by {motion.turn:.1f} degrees")
    if (motion.dx, motion.dy) != (0.0, 0.0):
        found.append(f"a shift by {motion.dx:.1f}, {motion.dy:.1f} pixels")
    if drift.levels >= 0.5:
        found.append(f"a colour drift of {drift.levels:.1f} levels")
    return " and ".join(found)


def _values(counted: PixelChange, change: Change, where: Landing | None, verdict: Verdict) -> dict[str, float]:
    values = {
        "pixel.inside_changed": counted.inside_changed,
        "pixel.inside_mean": counted.inside_mean,
        "pixel.outside_max": float(counted.outside_max),
        "pixel.outside_mean": counted.outside_mean,
        "pixel.changed": change.share,
        "pixel.spread": change.spread,
    }
    if where is not None:
        values |= {
            "pixel.covered": where.covered,
            "pixel.within": where.within,
            "pixel.overlap": where.overlap,
            "pixel.extra": change.extra,
            "pixel.shadow": change.shadow,
        }
    return values | {
        "pixel.shift_x": change.motion.dx,
        "pixel.shift_y": change.motion.dy,
        "pixel.zoom": change.motion.zoom,
        "pixel.turn": change.motion.turn,
        "pixel.drift": change.drift.levels,
        "pixel.mixing": change.drift.mixed,
        "pixel.noise": change.noise,
        "pixel.keep": SAYS[verdict],
    }
