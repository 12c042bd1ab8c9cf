"""How an edited picture as a whole lies against its source: shifted, zoomed or turned by a little.

Pure array code on cell means (a cell is a small square of pixels). `pixel_changes` takes out what is found here before it
looks for the edit. It must not know what the edit was meant to be, only which cells to trust.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import atan2, degrees, hypot, radians
from math import cos as cosine
from math import sin as sine
from types import ModuleType

import numpy as np

from .colour_drift import FIT_CELLS, biweight

MAX_SHIFT = 0.03
"""Largest shift that counts as flicker, as a share of the longer side; what moved further was moved. Ours."""

MAX_ZOOM, MAX_TURN = 0.03, 2.0
"""Largest zoom, as a deviation from 1, and largest turn in degrees that count as flicker. Ours: what editors do that round a
size or paint a picture anew; one that is asked for is larger."""

MIN_ZOOMED = 0.3
"""A zoom or a turn that moves the picture's corners by less than this many cells is a shift. Ours."""

UNEXPLAINED = 1.0
"""Mean residual in levels at edges from which on a shift does not explain a picture, so that a similarity is tried. Ours."""

MIN_BETTER = 0.85
"""A shift is believed when it brings the residual down to this share or less. Ours: one pixel leaves 0.55 to 0.77 of it on
our photos, a shift that was fitted to an edit or a codec's noise 0.87 or more."""

MAX_RESIDUAL = 30.0
"""Residual in levels above which a cell says no more against a shift: there the edit is. Ours."""


@dataclass(frozen=True)
class Motion:
    """Where a picture went: zoomed and turned about its middle, then shifted."""

    dx: float = 0.0
    dy: float = 0.0
    """How far its middle moved in cells: right, down."""
    zoom: float = 1.0
    turn: float = 0.0
    """Degrees, clockwise."""

    @property
    def is_similarity(self) -> bool:
        """More than a shift."""
        return (self.zoom, self.turn) != (1.0, 0.0)

    def matrix(self, height: int, width: int, side: int = 1) -> np.ndarray:
        """float64 [2, 3] from a place (x, y) in a height x width picture to where it went.

        Args:
            side: pixels along a cell's side; 1 for a picture of cells.
        """
        angle = radians(self.turn)
        cos, sin = self.zoom * cosine(angle), self.zoom * sine(angle)
        x, y = (width - 1) / 2, (height - 1) / 2
        return np.array(
            [
                [cos, -sin, x + self.dx * side - cos * x + sin * y],
                [sin, cos, y + self.dy * side - sin * x - cos * y],
            ]
        )


def motion(source: np.ndarray, edited: np.ndarray, trusted: np.ndarray, shift_only: bool) -> Motion:
    """How the edited picture moved: a similarity where it explains much more than a shift does, else the shift.

    Args:
        source, edited: float32 [H, W, 3], levels.
        trusted: bool [H, W], the cells to compare.
        shift_only: no similarity, as where they are too few to tell.
    """
    dx, dy = shift(source, edited, trusted)
    before, after = source.mean(axis=2), edited.mean(axis=2)
    plain = Motion(dx, dy)
    if shift_only or trusted.sum() < 64 or min(before.shape) < 16:
        return plain
    steepness = np.abs(np.gradient(before)).max(axis=0) * (_inner(before.shape, dx, dy) & trusted)
    shifted_rest = _misfit(after - shifted(before, dx, dy), steepness)
    if shifted_rest <= UNEXPLAINED * float(steepness.sum()):
        return plain
    found = Motion()
    pyramid = _pyramid(before, after, trusted)
    for level in reversed(range(len(pyramid))):
        for _ in range(5 if level else 3):
            found = _closer(*pyramid[level], found, 2**level)
    corner = (
        hypot(*before.shape) / 2 * abs(found.zoom * complex(cosine(radians(found.turn)), sine(radians(found.turn))) - 1)
    )
    far = max(abs(found.dx), abs(found.dy)) > MAX_SHIFT * max(before.shape)
    if far or corner < MIN_ZOOMED or abs(found.zoom - 1) > MAX_ZOOM or abs(found.turn) > MAX_TURN:
        return plain
    inside = warped(np.ones_like(before), found) > 0.999
    both = steepness * inside
    rest = _misfit(after - warped(before, found), both)
    return found if rest <= MIN_BETTER * _misfit(after - shifted(before, dx, dy), both) else plain


def warped(cells: np.ndarray, by: Motion) -> np.ndarray:
    """The cells [H, W] where they went, between cells linearly; 0 where none came from."""
    height, width = cells.shape[:2]
    found: np.ndarray = opencv().warpAffine(cells.astype(np.float32), by.matrix(height, width), (width, height))
    return found


def undone(image: np.ndarray, by: Motion, side: int) -> tuple[np.ndarray, np.ndarray]:
    """An edited picture brought back to where its source lies, edges repeated, and what of it was in the picture.

    Args:
        image: uint8 [H, W, 3].
        side: pixels along a cell's side.

    Returns:
        uint8 [H, W, 3] and bool [H, W].
    """
    cv2 = opencv()
    height, width = image.shape[:2]
    matrix, size = by.matrix(height, width, side), (width, height)
    back = cv2.warpAffine(
        image, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    seen = cv2.warpAffine(
        np.full((height, width), 255, np.uint8), matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    return back, seen > 0


def opencv() -> ModuleType:
    """OpenCV, loaded by the first picture that needs it."""
    import cv2

    return cv2


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
    pyramid = _pyramid(before, after, trusted)
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


def _pyramid(
    before: np.ndarray, after: np.ndarray, trusted: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Both pictures' brightness and the trusted cells, halved up to twice; the finest first."""
    pyramid = [(before, after, trusted)]
    while min(pyramid[-1][0].shape) >= 48 and len(pyramid) < 3:
        x, y, good = pyramid[-1]
        pyramid.append((_halved(x), _halved(y), _halved(good.astype(np.float32)) > 0.99))
    return pyramid


def _step(before: np.ndarray, after: np.ndarray, trusted: np.ndarray, dx: float, dy: float) -> tuple[float, float]:
    """One step of the shift, in cells of this level, at most one cell long."""
    here = shifted(before, dx, dy)
    down, right = np.gradient(here)
    chosen = _inner(before.shape, dx, dy) & trusted
    if chosen.sum() < 32:
        return 0.0, 0.0
    found = _solved([-right[chosen], -down[chosen]], here[chosen], after[chosen])
    return float(np.clip(found[0], -1, 1)), float(np.clip(found[1], -1, 1))


def _closer(before: np.ndarray, after: np.ndarray, trusted: np.ndarray, known: Motion, level: int) -> Motion:
    """A similarity after one more step, each part of which moves no cell of this level by more than one.

    Args:
        level: how many cells a cell of this level has along its side.
    """
    height, width = before.shape
    here_by = replace(known, dx=known.dx / level, dy=known.dy / level)
    here = warped(before, here_by)
    inside = warped(np.ones_like(before), here_by) > 0.999
    down, right = np.gradient(here)
    inside[1:-1, 1:-1] &= inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    inside[0] = inside[-1] = inside[:, 0] = inside[:, -1] = False
    chosen = np.flatnonzero(inside & trusted)
    chosen = chosen[:: max(1, chosen.size // FIT_CELLS)]
    if chosen.size < 32:
        return known
    half = max(height, width) / 2
    y, x = np.divmod(chosen, width)
    u, v = (x - (width - 1) / 2) / half, (y - (height - 1) / 2) / half
    right, down = right.ravel()[chosen], down.ravel()[chosen]
    columns = [-right, -down, -(right * u + down * v), right * v - down * u]
    found = np.clip(_solved(columns, here.ravel()[chosen], after.ravel()[chosen])[:4], -1, 1)
    by = 1 + complex(found[2], found[3]) / half
    angle = radians(known.turn)
    scale = by * known.zoom * complex(cosine(angle), sine(angle))
    moved = by * complex(known.dx, known.dy) + complex(found[0], found[1]) * level
    return Motion(moved.real, moved.imag, abs(scale), degrees(atan2(scale.imag, scale.real)))


def _solved(columns: list[np.ndarray], here: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Factors of the columns that bring `here` closest to `after`, beside a gain and an offset, by reweighted least
    squares with Tukey's biweight."""
    rows = np.stack([*columns, here - here.mean(), np.ones(here.size)]).astype(np.float64)
    rest = (after - here).astype(np.float64)
    weight = np.ones_like(rest)
    found = np.zeros(len(rows))
    for _ in range(3):
        weighted = rows * weight
        found = np.linalg.solve(weighted @ rows.T + np.eye(len(rows)), weighted @ rest)
        weight = biweight(rest - found @ rows)
    return found


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
