"""How an edited picture as a whole lies against its source: shifted by a little, and drifted in colour.

Pure array code on cell means (a cell is a small square of pixels). `pixel_changes` takes out what is found here before it
looks for the edit. It must not know what the edit was meant to be, only which cells to trust.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_SHIFT = 0.03
"""Largest shift that counts as flicker, as a share of the longer side; what moved further was moved. Ours."""

MAX_DRIFT = 20.0
"""Largest colour drift that counts as flicker: mean levels of the channel that drifts most. Above it, the picture was
toned on purpose. Ours: editors and VAEs drift by a few levels, a tone that is asked for is meant to be seen."""

MAX_GAIN = 0.15
"""Largest deviation of a channel's gain from 1 that counts as flicker. Ours."""

MIN_BETTER = 0.85
"""A shift is believed when it brings the residual down to this share or less. Ours: one pixel leaves 0.55 to 0.77 of it on
our photos, a shift that was fitted to an edit or a codec's noise 0.87 or more."""

MAX_RESIDUAL = 30.0
"""Residual in levels above which a cell says no more against a shift: there the edit is. Ours."""

FIT_CELLS = 8192
"""Cells that a colour fit looks at; more tell nothing new. Ours."""

TUKEY = 4.685
"""Tuning constant of Tukey's biweight: 95 % efficiency under normal noise (Holland and Welsch 1977)."""

MIN_SCALE = 0.5
"""Least scale of residuals in levels, so that pictures equal but for rounding are not split hairs over. Ours."""

NORMAL = 1.4826
"""Median absolute deviation to standard deviation under normal noise (textbook)."""


@dataclass(frozen=True)
class Drift:
    """A colour drift: edited = source * gain + offset, by channel, in levels of 0 to 255."""

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    levels: float = 0.0
    """Mean absolute change of the channel that drifts most."""

    @property
    def is_flicker(self) -> bool:
        """Small enough to be no edit."""
        return self.levels <= MAX_DRIFT and max(abs(gain - 1) for gain in self.gain) <= MAX_GAIN

    def applied(self, cells: np.ndarray) -> np.ndarray:
        """float32 [H, W, 3] of the cells as they would be after this drift."""
        if self.levels == 0.0:
            return cells
        drifted: np.ndarray = cells * np.array(self.gain, np.float32) + np.array(self.offset, np.float32)
        return drifted.clip(0, 255)


def colour_drift(source: np.ndarray, edited: np.ndarray, trusted: np.ndarray) -> Drift:
    """The colour drift that most of the trusted cells agree on.

    The fit starts at equal gains and gives up cells that disagree, so that an object with a new tone is not taken for
    a gain that only bright cells show.

    Args:
        source, edited: float32 [H, W, 3], levels.
        trusted: bool [H, W], the cells that the edit was not meant for; without any there is no drift.
    """
    chosen = np.flatnonzero(trusted)
    chosen = chosen[:: max(1, chosen.size // FIT_CELLS)]
    if chosen.size < 16:
        return Drift()
    before, after = source.reshape(-1, 3)[chosen], edited.reshape(-1, 3)[chosen]
    if np.array_equal(before, after):
        return Drift()
    fits = [_line(before[:, channel], after[:, channel]) for channel in range(3)]
    moved = [
        float(np.abs(before[:, channel] * (gain - 1) + offset).mean()) for channel, (gain, offset) in enumerate(fits)
    ]
    return Drift(
        gain=(fits[0][0], fits[1][0], fits[2][0]), offset=(fits[0][1], fits[1][1], fits[2][1]), levels=max(moved)
    )


def _line(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Gain and offset of one channel by reweighted least squares with Tukey's biweight."""
    usable = (before > 3) & (before < 252) & (after > 3) & (after < 252)  # clipped cells would bend the line
    if usable.sum() < 16:
        return 1.0, float(np.median(after - before))
    x, y = before[usable].astype(np.float64), (after - before)[usable].astype(np.float64)
    slope, level, centre = 0.0, float(np.median(y)), float(x.mean())
    for _ in range(8):
        rest = y - level - slope * (x - centre)
        scale = max(MIN_SCALE, NORMAL * float(np.median(np.abs(rest))))
        weight = np.clip(1 - (rest / (TUKEY * scale)) ** 2, 0, None) ** 2
        total = weight.sum()
        if total < 8:
            break
        centre = float((weight * x).sum() / total)
        spread = float((weight * (x - centre) ** 2).sum())
        level = float((weight * y).sum() / total)
        # One squared level of ridge per cell: flat pictures have no gain to speak of.
        slope = float((weight * (x - centre) * y).sum() / (spread + total))
    return 1.0 + slope, level - slope * centre


def shift(source: np.ndarray, edited: np.ndarray, trusted: np.ndarray) -> tuple[float, float]:
    """How far the edited picture moved, in cells: (dx, dy), right and down positive; (0, 0) where no shift explains it.

    Gauss-Newton on brightness from coarse to fine (Lucas and Kanade 1981), with gain and offset as unknowns of no
    interest, and cells that disagree left out.

    Args:
        source, edited: float32 [H, W, 3], levels.
        trusted: bool [H, W], the cells to compare.
    """
    before, after = source.mean(axis=2), edited.mean(axis=2)
    if trusted.sum() < 64 or min(before.shape) < 8 or np.array_equal(before[trusted], after[trusted]):
        return 0.0, 0.0
    pyramid = [(before, after, trusted)]
    while min(pyramid[-1][0].shape) >= 48 and len(pyramid) < 3:
        x, y, good = pyramid[-1]
        pyramid.append((_halved(x), _halved(y), _halved(good.astype(np.float32)) > 0.99))
    dx = dy = 0.0
    for level in reversed(range(len(pyramid))):
        for _ in range(3 if level else 2):
            step = _step(*pyramid[level], dx / 2**level, dy / 2**level)
            dx, dy = dx + step[0] * 2**level, dy + step[1] * 2**level
    if max(abs(dx), abs(dy)) > MAX_SHIFT * max(before.shape):
        return 0.0, 0.0
    # A shift shows at edges, so they count by their steepness.
    steepness = np.abs(np.gradient(before)).max(axis=0) * (_inner(before.shape, dx, dy) & trusted)
    still = _misfit(after - before, steepness)
    moved = _misfit(after - shifted(before, dx, dy), steepness)
    return (dx, dy) if moved <= MIN_BETTER * still else (0.0, 0.0)


def shifted(cells: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """The cells [H, W, ...] moved right by dx and down by dy, between cells linearly; edges are repeated."""
    for axis, by in ((1, dx), (0, dy)):
        if by == 0:
            continue
        whole = int(np.floor(by))
        part = by - whole
        places = np.arange(cells.shape[axis]) - whole
        last = cells.shape[axis] - 1
        near = np.take(cells, np.clip(places, 0, last), axis=axis)
        if part < 1e-6:
            cells = near
            continue
        far = np.take(cells, np.clip(places - 1, 0, last), axis=axis)
        cells = near + np.float32(part) * (far - near)
    return cells


def _step(before: np.ndarray, after: np.ndarray, trusted: np.ndarray, dx: float, dy: float) -> tuple[float, float]:
    """One step of the shift, in cells of this level, at most one cell long."""
    here = shifted(before, dx, dy)
    down, right = np.gradient(here)
    chosen = _inner(before.shape, dx, dy) & trusted
    if chosen.sum() < 32:
        return 0.0, 0.0
    columns = np.stack([-right[chosen], -down[chosen], here[chosen] - here[chosen].mean(), np.ones(int(chosen.sum()))])
    rest = (after - here)[chosen].astype(np.float64)
    weight = np.ones_like(rest)
    found = np.zeros(4)
    for _ in range(3):
        weighted = columns * weight
        found = np.linalg.solve(weighted @ columns.T + np.eye(4), weighted @ rest)
        error = rest - found @ columns
        scale = max(MIN_SCALE, NORMAL * float(np.median(np.abs(error))))
        weight = np.clip(1 - (error / (TUKEY * scale)) ** 2, 0, None) ** 2
    return float(np.clip(found[0], -1, 1)), float(np.clip(found[1], -1, 1))


def _inner(shape: tuple[int, ...], dx: float, dy: float) -> np.ndarray:
    """bool [H, W]: cells whose source after the shift lies in the picture."""
    inner = np.zeros(shape, dtype=bool)
    rows, columns = int(np.ceil(abs(dy))) + 1, int(np.ceil(abs(dx))) + 1
    inner[rows:-rows, columns:-columns] = True
    return inner


def _halved(cells: np.ndarray) -> np.ndarray:
    height, width = cells.shape[0] // 2 * 2, cells.shape[1] // 2 * 2
    even = cells[:height, :width]
    halved: np.ndarray = (even[0::2, 0::2] + even[1::2, 0::2] + even[0::2, 1::2] + even[1::2, 1::2]) / 4
    return halved


def _misfit(rest: np.ndarray, weight: np.ndarray) -> float:
    """Weighted sum of residuals, a constant taken out, none above what an edit may leave."""
    rest = np.abs(rest - np.median(rest[weight > 0])) if weight.any() else rest
    return float((np.minimum(rest, MAX_RESIDUAL) * weight).sum())
