"""Where an edit is in the picture, when re-encoding, a small shift and a colour drift are taken out.

Pure array code on means over small cells, which keep what a person sees as an edit and lose most of what a codec does.
`pixels` counts exactly and judges; this module only finds. It must not know any verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from . import alignment, colour_drift
from .alignment import Motion
from .colour_drift import Drift

CELLS = 256
"""Cells along the longer side of a large picture. Ours: 4 pixels a cell at 1024."""

MIN_CELL = 4
"""Least side of a cell in pixels, half a JPEG block; pictures under 32 cells get smaller ones. Ours."""

COHERENT = 0.8
"""A mean over 3 x 3 cells counts as changed at this share of the level at which a pixel does. Ours: it scatters less."""

NOISE, TEXTURE = 0.8, 0.006
"""What a good codec leaves of a mean over 3 x 3 cells: levels, and levels per level of contrast around. Ours, the
medians measured on JPEG of quality 30 to 95 and on a VAE's imitation, four bundled photos."""

MAX_NOISE = 3.0
"""A picture whose noise is this many times that is as noisy as a codec makes it; more is an edit. Ours."""

MEDIAN_OF_NORMAL = 0.6745
"""Median of a normal variable's size, in standard deviations (textbook)."""

QUIET, QUIET_OF_NORMAL = 0.35, 0.4538
"""Share of cells that an edit of one thing leaves as they were, however large it is, and that quantile of a normal variable's
size, in standard deviations. Ours (the rest of `pixel_limits.MAX_SPREAD`), textbook."""

UNKNOWN_NOISE = 1.3
"""What is taken for that factor where pixels outside the mask were put back and tell of no noise. Ours."""

SIGNIFICANT = 5.0
"""A cell counts as changed from this many times its noise on. Ours."""

NEIGHBOURS = 4
"""Changed cells of a block of 3 x 3 that make its middle one believable. Ours: a lone speck is no edit."""

MARGIN = 0.15
"""How far around the intended region an edit may reach, for shadows and soft edges, as a share of the side of a square
with the region's area. Ours."""

FIELDS, FIELD_CHANGED = 8, 0.05
"""Fields along a picture's side, and the share of one that has to change to count. Ours."""

MIN_TRUSTED = 0.2
"""Least share of cells outside the region to learn noise and drift from; with fewer, the whole picture teaches. Ours."""


@dataclass(frozen=True, eq=False)
class Change:
    """What changed in a picture, flicker apart."""

    mask: np.ndarray
    """bool [H, W]: the changed pixels, filled inside."""
    cells: int
    """How many cells changed."""
    motion: Motion
    """How the picture moved, in pixels; not at all where no motion of all of it explains anything."""
    drift: Drift
    noise: float
    """Median residual in levels where nothing was meant to change, over 3 x 3 cells."""
    unrest: float
    """How many times as much as a good codec leaves the quietest third of the picture differs by, where nothing was meant to
    change; `UNKNOWN_NOISE` where nothing tells."""
    extra: float
    """Share of the picture, 0 to 1, that changed beyond the region and its margin; 0 without a region."""
    shadow: float = 0.0
    """The same of what hangs together with the region's own change and lies beside or below its lower half, as a shadow or
    a reflection does; `extra` is without it."""

    @property
    def spread(self) -> float:
        """Share of the picture's fields, `FIELDS` along each side, in which something changed."""
        shares = alignment.opencv().resize(
            self.mask.astype(np.float32), (FIELDS, FIELDS), interpolation=alignment.opencv().INTER_AREA
        )
        return float((shares > FIELD_CHANGED).mean())

    @property
    def share(self) -> float:
        """Share of the picture that changed, 0 to 1."""
        return float(self.mask.mean())


def find(
    source: np.ndarray,
    edited: np.ndarray,
    region: np.ndarray | None,
    put_back: bool,
    levels: int,
    everywhere: bool = False,
) -> Change:
    """Finds what changed.

    Args:
        source, edited: uint8 [H, W, 3] of equal size.
        region: bool [H, W], where the edit was meant; None where nobody says.
        put_back: pixels outside the region are the source's own, so they say nothing of what the editor did.
        levels: a pixel counts as changed above this difference, 0 to 254 levels.
        everywhere: all of the picture was to change, its colours too, so that none of it tells of noise and a tone is an edit.
    """
    side = _cell_side(source.shape[0], source.shape[1])
    marks = np.zeros(source.shape[:2], dtype=bool) if region is None else region
    meant = cell_means(marks[..., None].view(np.uint8), side)[..., 0] > 0
    trusted = ~meant if (~meant).mean() >= MIN_TRUSTED else np.ones_like(meant)
    pair = _superposed(source, edited, meant, trusted, put_back, side)
    drift = Drift() if put_back else colour_drift.find(pair.before, pair.after, trusted & ~pair.gone)
    removed = Drift() if not drift.is_flicker or (everywhere and drift.is_tone) else drift
    residual = pair.after - removed.applied(pair.before)
    residual[pair.gone] = 0

    size = _largest(np.abs(_box_mean(residual)))
    expected = NOISE + TEXTURE * _contrast(pair.before)
    scale = unrest = UNKNOWN_NOISE
    if not put_back and not everywhere:
        quiet, median = np.quantile((size / expected)[trusted], (QUIET, 0.5))
        scale, unrest = float(median) / MEDIAN_OF_NORMAL, float(quiet) / QUIET_OF_NORMAL
    least = np.maximum(COHERENT * levels, SIGNIFICANT * min(MAX_NOISE, max(1.0, scale)) * expected)
    changed = size > least
    # The mean reaches a cell beyond the change: the cell itself has to have a part in it.
    changed &= _largest(np.abs(residual)) > least / 2
    changed &= _box_sum(changed.astype(np.uint8)) >= NEIGHBOURS
    mask = _pixels(changed, pair.source, pair.edited, side, removed, COHERENT * levels)
    around = _with_margin(meant)
    beyond = mask & ~_enlarged(around, side, *mask.shape)
    shadow = np.zeros_like(mask)
    if region is not None and (changed & ~around).any():
        shadow = beyond & _enlarged(_joined(changed, meant, around), side, *mask.shape)
    return Change(
        mask=mask,
        cells=int(changed.sum()),
        motion=replace(pair.motion, dx=pair.motion.dx * side, dy=pair.motion.dy * side),
        drift=drift,
        noise=float(np.median(size[trusted])),
        unrest=unrest,
        extra=float((beyond & ~shadow).mean()) if region is not None else 0.0,
        shadow=float(shadow.mean()),
    )


@dataclass(frozen=True, eq=False)
class _Superposed:
    """Two pictures after the motion between them was taken out."""

    source: np.ndarray
    edited: np.ndarray
    """uint8 [H, W, 3]."""
    before: np.ndarray
    after: np.ndarray
    """Their cells' means, float32."""
    motion: Motion
    gone: np.ndarray
    """bool, the cells that only one of the pictures has."""


def _superposed(
    source: np.ndarray, edited: np.ndarray, meant: np.ndarray, trusted: np.ndarray, put_back: bool, side: int
) -> _Superposed:
    before, after = cell_means(source, side), cell_means(edited, side)
    moved = alignment.motion(before, after, meant if put_back else trusted, shift_only=put_back)
    gone = np.zeros_like(meant)
    if moved.is_similarity:
        # The edited picture is brought back, so that the edit lies where it was meant.
        edited, seen = alignment.undone(edited, moved, side)
        after = cell_means(edited, side)
        gone = cell_means(seen[..., None].view(np.uint8), side)[..., 0] < 1
    elif moved != Motion():
        whole = (round(moved.dx * side), round(moved.dy * side))
        source = _rolled(source, *whole)
        before = alignment.shifted(cell_means(source, side), moved.dx - whole[0] / side, moved.dy - whole[1] / side)
        gone = _edge(meant.shape, moved)
        if put_back:
            gone |= ~meant
    return _Superposed(source, edited, before, after, moved, gone)


def cell_means(image: np.ndarray, side: int) -> np.ndarray:
    """float32 [H // side, W // side, C]: means over squares of `side` pixels of uint8 [H, W, C].

    What is left at the right and the bottom, less than a square, has no mean of its own.
    """
    image = image[: image.shape[0] // side * side, : image.shape[1] // side * side]
    # Sums of slices are ten times as fast as numpy's mean over two axes of length 4.
    rows = image[0::side].astype(np.uint16)
    for row in range(1, side):
        rows += image[row::side]
    sums = rows[:, 0::side].astype(np.float32)
    for column in range(1, side):
        sums += rows[:, column::side]
    return sums / np.float32(side * side)


def _cell_side(height: int, width: int) -> int:
    """Pixels along a cell's side."""
    return max(1, min(max(MIN_CELL, round(max(height, width) / CELLS)), min(height, width) // 32))


def _pixels(
    changed: np.ndarray, source: np.ndarray, edited: np.ndarray, side: int, drift: Drift, levels: float
) -> np.ndarray:
    """bool [H, W] of changed cells: all pixels of those inside, and of those at the border what differs enough from the
    source as it would be after the drift."""
    height, width = source.shape[:2]
    neighbours = _box_sum(changed.astype(np.uint8))
    inner, reached = (_enlarged(cells, side, height, width) for cells in (neighbours == 9, neighbours > 0))
    border = reached & ~inner
    if border.any():
        apart = np.abs(edited[border].astype(np.float32) - drift.applied(source[border].astype(np.float32)))
        inner[border] = _largest(apart) > levels
    return inner


def difference(source: np.ndarray, edited: np.ndarray) -> np.ndarray:
    """uint8 [H, W]: the largest difference over channels of two uint8 [H, W, 3]."""
    return _largest(np.maximum(source, edited) - np.minimum(source, edited))


def _largest(values: np.ndarray) -> np.ndarray:
    """Largest of three channels; many times as fast as numpy's `max` over an axis of length 3."""
    largest: np.ndarray = np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2])
    return largest


def _enlarged(cells: np.ndarray, side: int, height: int, width: int) -> np.ndarray:
    """[height, width]: each cell as a square of pixels; the last ones reach to the edge."""
    enlarged = cells.repeat(side, axis=0).repeat(side, axis=1)
    return np.pad(enlarged, ((0, height - enlarged.shape[0]), (0, width - enlarged.shape[1])), mode="edge")


def _rolled(image: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """The picture moved by whole pixels, edges repeated."""
    rows = np.clip(np.arange(image.shape[0]) - dy, 0, image.shape[0] - 1)
    columns = np.clip(np.arange(image.shape[1]) - dx, 0, image.shape[1] - 1)
    return image[rows][:, columns]


def _edge(shape: tuple[int, ...], moved: Motion) -> np.ndarray:
    """bool [H, W]: the cells at the edge that no source cell was shifted to."""
    edge = np.zeros(shape, dtype=bool)
    rows, columns = int(np.ceil(abs(moved.dy))), int(np.ceil(abs(moved.dx)))
    edge[:rows] = edge[shape[0] - rows :] = True
    edge[:, :columns] = edge[:, shape[1] - columns :] = True
    return edge


def _joined(changed: np.ndarray, meant: np.ndarray, around: np.ndarray) -> np.ndarray:
    """bool [H, W]: changed cells that hang together with the region's own change, from the middle of its height down.

    A gap of two cells is bridged: a soft shadow fades under what can be seen of it.
    """
    reached = _box_sum(changed.astype(np.uint8)) > 0
    _, parts = alignment.opencv().connectedComponents(reached.astype(np.uint8), connectivity=8)
    own = np.unique(parts[changed & around])
    joined = reached & np.isin(parts, own)
    rows = np.flatnonzero(meant.any(axis=1))
    joined[: (rows[0] + rows[-1] + 1) // 2 if rows.size else 0] = False
    return joined


def _box_sum(values: np.ndarray) -> np.ndarray:
    """Sums over 3 x 3 cells, [H, W, ...]; the edge is a mirror, as a cell counted twice would scatter more."""
    padded = np.pad(values, ((1, 1), (1, 1), *((0, 0),) * (values.ndim - 2)), mode="reflect")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    summed: np.ndarray = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return summed


def _box_mean(values: np.ndarray) -> np.ndarray:
    mean: np.ndarray = _box_sum(values) / np.float32(9)
    return mean


def _contrast(cells: np.ndarray) -> np.ndarray:
    """float32 [H, W]: how far brightness reaches within 3 x 3 cells, in levels."""
    cv2 = alignment.opencv()
    contrast: np.ndarray = cv2.morphologyEx(cells.mean(axis=2), cv2.MORPH_GRADIENT, np.ones((3, 3)))
    return contrast


def _with_margin(meant: np.ndarray) -> np.ndarray:
    """The region's cells and those within its margin."""
    reach = max(2, round(MARGIN * float(meant.sum()) ** 0.5))
    wide: np.ndarray = alignment.opencv().dilate(meant.astype(np.uint8), np.ones((3, 3)), iterations=reach) > 0
    return wide
