"""Which pixels a picture marks that is given as a mask: the white ones, or the opaque ones of a cut-out.

A mask has two values, or soft edges between the two. Class colours, class numbers and whatever else might mean
something that nobody said are refused, as a guess would edit the wrong place. Knows no files; `photos.py` opens them.
"""

from __future__ import annotations

import numpy as np

HALF = 128
"""What is white, or opaque, from here on."""

NOISE = 32
"""How far a value may be from black or white and still be meant as it, where a lossy format has blurred it. Ours."""

TINT = 16
"""How far a grey's channels may lie apart; of a lossy format it is `NOISE`. Ours."""

STEP = 8
"""How far two neighbouring values of a soft edge may lie apart where the edge is wide enough to be flat. Ours."""

ROUGH = 24
"""How far two neighbouring values lie apart where an edge is so steep that black and white are near. Ours."""

REACH = 16
"""Side of the squares of which one or the next one holds black and white, where that is so. Ours."""

CRUMBS = 0.02
"""How large a part of what is marked may be of a shade that is no soft edge. Ours."""

_BLOCK = 1 << 20
"""Pixels that are looked at together."""

REMEDY = "give white for the object and black for the rest"


class UnclearMask(ValueError):
    """What the picture marks cannot be told; the message says why, without a subject, and what to do."""


def marked(pixels: np.ndarray, lossy: bool = False) -> np.ndarray:
    """The marked pixels of a mask's picture.

    Args:
        pixels: uint8 [H, W] grey or [H, W, 4] RGBA, upright.
        lossy: whether its format changes values a little.

    Returns:
        bool [H, W].

    Raises:
        UnclearMask: colours, several shades, or transparency that may mean either side.
    """
    if pixels.ndim == 2:
        return white(pixels, lossy)
    colours, alpha = pixels[..., :3], pixels[..., 3]
    opaque = alpha >= HALF
    if opaque.all() or alpha.min() == alpha.max():
        if _coloured(colours, lossy):
            raise UnclearMask(f"has colours; {REMEDY}")
        return white(_grey(colours), lossy)
    if not opaque.any():
        raise UnclearMask(f"is see-through everywhere; {REMEDY}")
    seen = colours[opaque]
    ends = _grey(seen)
    dark, bright = ends <= NOISE, ends >= 255 - NOISE
    if dark.any() and bright.any() and (dark | bright).mean() > 0.9 and not _coloured(seen, lossy):
        raise UnclearMask(f"is divided by its colours and by its transparency; {REMEDY}, without transparency")
    border = np.concatenate([opaque[0], opaque[-1], opaque[:, 0], opaque[:, -1]])
    if border.mean() > 0.5 and not bright.all():
        # A cut-out shows the object and a picture with a hole the rest.
        raise UnclearMask(f"may be a cut-out or a picture with a hole; {REMEDY}, without transparency")
    return white(alpha, lossy)


def white(grey: np.ndarray, lossy: bool = False) -> np.ndarray:
    """The pixels of uint8 [H, W] that are white, as bool [H, W].

    Raises:
        UnclearMask: all of them are bright, or shades stand between black and white that are no soft edge.
    """
    found = grey >= HALF
    if lossy:
        grey = np.clip(grey, NOISE, 255 - NOISE)
    counts = np.bincount(grey.reshape(-1), minlength=256)
    shades = np.flatnonzero(counts)
    if not found.any() or len(shades) == 1:
        return found
    if found.all():
        raise UnclearMask(f"has no black; {REMEDY}")
    if len(shades) > 2 and _other(grey, counts) > CRUMBS * found.sum():
        raise UnclearMask(f"has several shades that are no soft edge; {REMEDY}")
    return found


def _other(grey: np.ndarray, counts: np.ndarray) -> int:
    """How many pixels are of a shade between the darkest and the brightest and belong to no soft edge.

    Where a soft edge is steep, its shades stand between darker and brighter ones; where it is wide enough to be flat,
    what lies beside a flat piece is almost as bright, on either side. A photo's rough pieces lie far from black or white.

    Args:
        counts: how many pixels each of the 256 shades has.
    """
    shades = np.arange(256)
    inner = (shades > grey.min()) & (shades < grey.max())
    clear = (shades <= NOISE) | (shades >= 255 - NOISE)
    edges = _near(grey <= NOISE) & _near(grey >= 255 - NOISE)
    textured = 0
    width = grey.shape[1] + 2
    padded = np.pad(grey, 1, mode="edge").reshape(-1)
    rows, columns = np.nonzero(inner[grey])
    places = (rows + 1) * width + columns + 1
    flat, darker, brighter, near_darker, near_brighter = np.zeros((5, 256), dtype=np.int64)
    for start in range(0, len(places), _BLOCK):
        block = places[start : start + _BLOCK]
        shade = padded[block].astype(np.int16)
        even, rough = np.ones(len(block), dtype=bool), np.zeros(len(block), dtype=bool)
        for move in (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1):
            apart = padded[block + move] - shade
            even &= apart == 0
            rough |= abs(apart) > ROUGH
            for total, chosen in (
                (darker, apart < 0),
                (brighter, apart > 0),
                (near_darker, (apart < 0) & (apart >= -STEP)),
                (near_brighter, (apart > 0) & (apart <= STEP)),
            ):
                total += np.bincount(shade[chosen], minlength=256)
        flat += np.bincount(shade[even], minlength=256)
        rough &= ~clear[shade]
        chosen = slice(start, start + _BLOCK)
        textured += int((~edges[rows[chosen] // REACH, columns[chosen] // REACH] & rough).sum())
    beside = darker + brighter
    wide = (near_darker > 0) & (near_brighter > 0) & (near_darker + near_brighter >= 0.5 * beside)
    steep = (darker >= 0.1 * beside) & (brighter >= 0.1 * beside)
    return textured + int(flat[inner & ~wide].sum() + (counts - flat)[inner & ~clear & ~steep].sum())


def _near(pixels: np.ndarray) -> np.ndarray:
    """Which squares of `REACH` pixels hold one of these pixels of bool [H, W], or lie beside one that does."""
    tall, wide = (-side % REACH for side in pixels.shape)
    padded = np.pad(pixels, ((0, tall), (0, wide)))
    held = np.pad(padded.reshape(padded.shape[0] // REACH, REACH, -1, REACH).any(axis=(1, 3)), 1)
    held = held[:-2] | held[1:-1] | held[2:]
    return held[:, :-2] | held[:, 1:-1] | held[:, 2:]


def _grey(colours: np.ndarray) -> np.ndarray:
    grey: np.ndarray = colours.sum(axis=-1, dtype=np.uint16) // 3
    return grey.astype(np.uint8)


def _coloured(colours: np.ndarray, lossy: bool) -> bool:
    return bool(np.ptp(colours, axis=-1).max(initial=0) > (NOISE if lossy else TINT))
