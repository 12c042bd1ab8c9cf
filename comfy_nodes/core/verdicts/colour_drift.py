"""How the colours of an edited picture as a whole drifted against its source: an affine map that most of it agrees on.

Pure array code on cell means, called by `pixel_changes`. It must not know what the edit was meant to be, only which cells
to trust.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_DRIFT = 20.0
"""Largest colour drift that counts as flicker: mean levels of the channel that drifts most. Above it, the picture was
toned on purpose. Ours: editors and VAEs drift by a few levels, a tone that is asked for is meant to be seen."""

TONED = 10.0
"""Colour drift, in mean levels of the channel that drifts most, from which on a picture was toned. Ours: VAEs and JPEG
stay below 8; above it two pictures side by side differ in tone."""

MAX_GAIN = 0.15
"""Largest deviation of a channel's gain from 1 that counts as flicker. Ours."""

MAX_MIXING = 0.35
"""The same of any entry of a colour matrix that mixes channels, which saturation and hue do. Ours: a hue turned by 15
degrees, colours half as strong; `MAX_DRIFT` holds as well."""

UNEXPLAINED = 1.5
"""Median residual in levels from which on a gain by channel does not explain a picture, so that a matrix is tried. Ours:
an edit of less than half a picture leaves the median alone, so that a matrix is not bent to fit an edit."""

ODD = 4.0
"""Residual in levels from which on a cell is one that gains by channel do not explain. Ours: twice a codec's noise."""

MIN_ODD = 12
"""Cells that gains do not explain, from which on a matrix is tried on them. Ours: fewer are no edit either."""

MIN_BETTER = 0.6
"""A colour matrix is believed when it brings a median residual down to this share or less. Ours."""

FIT_CELLS = 8192
"""Cells that a colour fit looks at; more tell nothing new. Ours."""

TUKEY = 4.685
"""Tuning constant of Tukey's biweight: 95 % efficiency under normal noise (Holland and Welsch 1977)."""

MIN_SCALE = 0.5
"""Least scale of residuals in levels, so that pictures equal but for rounding are not split hairs over. Ours."""

NORMAL = 1.4826
"""Median absolute deviation to standard deviation under normal noise (textbook)."""

Triple = tuple[float, float, float]

_NO_MIXING = ((0.0, 0.0, 0.0),) * 3


@dataclass(frozen=True)
class Drift:
    """A colour drift in levels of 0 to 255: each edited channel is its source times `gain`, plus `offset`, plus what it
    gets of the other channels."""

    gain: Triple = (1.0, 1.0, 1.0)
    offset: Triple = (0.0, 0.0, 0.0)
    levels: float = 0.0
    """Mean absolute change of the channel that drifts most."""
    mixing: tuple[Triple, Triple, Triple] = _NO_MIXING
    """What an edited channel (row) gets of each source channel (column) beside its own; 0 on the diagonal."""
    rest: float = 0.0
    """Median over the trusted cells of what the drift leaves unexplained, in levels."""

    @property
    def is_mixed(self) -> bool:
        return self.mixing != _NO_MIXING

    @property
    def mixed(self) -> float:
        """The largest share that a channel gets of another one."""
        return max(abs(share) for row in self.mixing for share in row)

    @property
    def is_flicker(self) -> bool:
        """Small enough to be no edit."""
        most = MAX_MIXING if self.is_mixed else MAX_GAIN
        return self.levels <= MAX_DRIFT and max(self.mixed, *(abs(gain - 1) for gain in self.gain)) <= most

    @property
    def explains(self) -> bool:
        """Whether most of the trusted cells drifted like this, so that it is more than a fit through an edit."""
        return self.rest <= max(UNEXPLAINED, 0.25 * self.levels)

    @property
    def is_tone(self) -> bool:
        """Whether most of the picture has other colours, so that one sees it."""
        return self.levels > TONED and self.explains

    def applied(self, cells: np.ndarray) -> np.ndarray:
        """float32 [H, W, 3] of the cells as they would be after this drift."""
        if self.levels == 0.0:
            return cells
        drifted: np.ndarray = cells * np.array(self.gain, np.float32) + np.array(self.offset, np.float32)
        if self.is_mixed:
            drifted += cells @ np.array(self.mixing, np.float32).T
        return drifted.clip(0, 255)


def find(source: np.ndarray, edited: np.ndarray, trusted: np.ndarray) -> Drift:
    """The colour drift that most of the trusted cells agree on.

    The fit starts at equal gains and gives up cells that disagree, so that an object with a new tone is not taken for
    a gain that only bright cells show. A matrix over the channels is tried where gains leave most cells unexplained.

    Args:
        source, edited: float32 [H, W, 3], levels.
        trusted: bool [H, W], the cells that the edit was not meant for; without any there is no drift.
    """
    before, after = _cells(source, edited, trusted)
    if len(before) < 16 or np.array_equal(before, after):
        return Drift()
    fits = [_line(before[:, channel], after[:, channel]) for channel in range(3)]
    plain = np.zeros((4, 3))
    plain[:3], plain[3] = np.diag([gain for gain, _ in fits]), [offset for _, offset in fits]
    rest = _rest(before, after, plain)
    matrix = _matrix(before, after) if rest > UNEXPLAINED else _foretold(source, edited, trusted, plain)
    if matrix is None:
        return _drift(before, plain, rest)
    mixed = _rest(before, after, matrix)
    better = mixed <= (MIN_BETTER * rest if rest > UNEXPLAINED else rest)
    return _drift(before, matrix, mixed) if better else _drift(before, plain, rest)


def _cells(source: np.ndarray, edited: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some of the cells before and after, each [N, 3]."""
    chosen = np.flatnonzero(which)
    chosen = chosen[:: max(1, chosen.size // FIT_CELLS)]
    return source.reshape(-1, 3)[chosen], edited.reshape(-1, 3)[chosen]


def _foretold(source: np.ndarray, edited: np.ndarray, trusted: np.ndarray, plain: np.ndarray) -> np.ndarray | None:
    """A colour matrix for a picture most of which is too grey to show it; None where there is none.

    It is fitted to the cells that gains explain, and believed when it foretells those that they do not. An edit is not
    foretold by what lies around it.
    """
    odd = trusted & (_missed(source, edited, plain) > ODD)
    if odd.sum() < MIN_ODD:
        return None
    near = odd
    for _ in range(3):  # an edit's soft edge would tell of the edit
        wider = near.copy()
        wider[1:] |= near[:-1]
        wider[:-1] |= near[1:]
        wider[:, 1:] |= near[:, :-1]
        wider[:, :-1] |= near[:, 1:]
        near = wider
    others = _cells(source, edited, trusted & ~near)
    if len(others[0]) < 64:
        return None
    matrix, missed = _matrix(*others), _cells(source, edited, odd)
    return (
        _matrix(*_cells(source, edited, trusted))
        if _rest(*missed, matrix) <= MIN_BETTER * _rest(*missed, plain)
        else None
    )


def _drift(before: np.ndarray, map_: np.ndarray, rest: float) -> Drift:
    moved = np.abs(before @ map_[:3] + map_[3] - before).mean(axis=0)
    rows = [[0.0 if to == of else float(map_[of, to]) for of in range(3)] for to in range(3)]
    return Drift(
        gain=_triple(np.diag(map_)), offset=_triple(map_[3]), levels=float(moved.max()),
        mixing=(_triple(rows[0]), _triple(rows[1]), _triple(rows[2])), rest=rest,
    )  # fmt: skip


def _triple(values: np.ndarray | list[float]) -> Triple:
    first, second, third = (float(one) for one in values)
    return first, second, third


def _rest(before: np.ndarray, after: np.ndarray, map_: np.ndarray) -> float:
    """The median over cells of what an affine map [4, 3] misses, in levels."""
    return float(np.median(_missed(before, after, map_)))


def _missed(before: np.ndarray, after: np.ndarray, map_: np.ndarray) -> np.ndarray:
    """By how many levels an affine map [4, 3] misses each cell's worst channel."""
    apart = np.abs(after - (before @ map_[:3].astype(np.float32) + map_[3].astype(np.float32)).clip(0, 255))
    worst: np.ndarray = np.maximum(np.maximum(apart[..., 0], apart[..., 1]), apart[..., 2])
    return worst


def _usable(values: np.ndarray) -> np.ndarray:
    """Levels that were not clipped, which would bend a fit."""
    return (values > 3) & (values < 252)


def _line(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Gain and offset of one channel by reweighted least squares with Tukey's biweight."""
    usable = _usable(before) & _usable(after)
    if usable.sum() < 16:
        return 1.0, float(np.median(after - before))
    x, y = before[usable].astype(np.float64), (after - before)[usable].astype(np.float64)
    slope, level, centre = 0.0, float(np.median(y)), float(x.mean())
    for _ in range(8):
        rest = y - level - slope * (x - centre)
        weight = biweight(rest)
        total = weight.sum()
        if total < 8:
            break
        centre = float((weight * x).sum() / total)
        spread = float((weight * (x - centre) ** 2).sum())
        level = float((weight * y).sum() / total)
        # One squared level of ridge per cell: flat pictures have no gain to speak of.
        slope = float((weight * (x - centre) * y).sum() / (spread + total))
    return 1.0 + slope, level - slope * centre


def _matrix(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """An affine map [4, 3] by reweighted least squares, all channels of a cell under one weight."""
    usable = _usable(before).all(axis=1) & _usable(after).all(axis=1)
    found = np.zeros((4, 3))
    if usable.sum() >= 64:
        x = np.column_stack([before[usable], np.ones(int(usable.sum()))]).astype(np.float64)
        y = (after - before)[usable].astype(np.float64)
        weight = np.ones(len(x))
        for _ in range(8):
            weighted = x.T * weight
            total = float(weight.sum())
            # The same ridge as for one channel, on the matrix alone.
            found = np.linalg.solve(weighted @ x + np.diag([total, total, total, 1e-6]), weighted @ y)
            weight = biweight(np.abs(y - x @ found).max(axis=1))
            if weight.sum() < 32:
                break
    found[:3] += np.eye(3)
    return found


def biweight(rest: np.ndarray) -> np.ndarray:
    """Tukey's biweight of residuals."""
    scale = max(MIN_SCALE, NORMAL * float(np.median(np.abs(rest))))
    weight: np.ndarray = np.clip(1 - (rest / (TUKEY * scale)) ** 2, 0, None) ** 2
    return weight
