"""Recolouring in OKLab (Björn Ottosson 2020): hue and chroma move, lightness stays, so shading and texture stay.

A colour is offered only where the result, measured in the picture, bears its name and the object did not before.
Classical Recolour and Classical Hybrid call it. Knows no sentences and no samples.
"""

from __future__ import annotations

import random

import numpy as np

from ..core.colours import CALLED_SHARE, COLOURS, TO_LAB, TO_LMS, share_called, to_oklab, turned
from ..imaging.blending import faded

PRESENT_SHARE = 0.2
"""A colour whose name more than this share of the object bears already is no change. Ours."""


class NoColour(ValueError):
    """An object that cannot be given a colour that is both new and truly named."""


def _to_linear(lab: np.ndarray) -> np.ndarray:
    """Linear sRGB of OKLab; outside 0 to 1 where the screen cannot show the colour."""
    return (lab @ np.linalg.inv(TO_LAB).T) ** 3 @ np.linalg.inv(TO_LMS).T


def to_srgb(lab: np.ndarray) -> np.ndarray:
    """uint8 sRGB [..., 3] of OKLab; chroma is lowered where the screen cannot show it, lightness and hue stay."""
    low, high = np.zeros(lab.shape[:-1]), np.ones(lab.shape[:-1])
    for _ in range(10):
        middle = (low + high) / 2
        linear = _to_linear(np.concatenate((lab[..., :1], lab[..., 1:] * middle[..., None]), axis=-1))
        shown = ((linear > -0.0005) & (linear < 1.0005)).all(axis=-1)
        low, high = np.where(shown, middle, low), np.where(shown, high, middle)
    whole = _to_linear(lab)
    low = np.where(((whole > -0.0005) & (whole < 1.0005)).all(axis=-1), 1.0, low)
    linear = _to_linear(np.concatenate((lab[..., :1], lab[..., 1:] * low[..., None]), axis=-1)).clip(0, 1)
    value = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (value * 255).round().clip(0, 255).astype(np.uint8)


def recolour(image: np.ndarray, mask: np.ndarray, name: str) -> np.ndarray:
    """The image with the masked pixels in another hue; all others as they came.

    Colourful objects keep how strongly each pixel is coloured, so that highlights stay white; grey ones get an even chroma.

    Args:
        image: uint8 [H, W, 3].
        mask: bool [H, W].
        name: a key of `COLOURS`.
    """
    if not mask.any():
        return image.copy()
    colour = COLOURS[name]
    lab = to_oklab(image[mask])
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    typical = float(np.median(chroma))
    colourful = float(np.clip((typical - 0.03) / 0.05, 0, 1))
    strength = (1 - colourful) + colourful * np.clip(chroma / max(typical, 1e-6), 0, 1.4) ** 0.6
    middle = np.degrees(np.arctan2(lab[:, 2].mean(), lab[:, 1].mean()))
    own = np.degrees(np.arctan2(lab[:, 2], lab[:, 1]))
    hue = np.radians(
        colour.hue + colourful * np.clip(0.25 * turned(own - middle), -0.6 * colour.reach, 0.6 * colour.reach)
    )
    new = np.stack((lab[:, 0], colour.chroma * strength * np.cos(hue), colour.chroma * strength * np.sin(hue)), axis=-1)
    share = faded(mask)[mask][:, None]
    result = image.copy()
    mixed = image[mask] * (1 - share) + to_srgb(new) * share
    result[mask] = mixed.round().clip(0, 255).astype(np.uint8)
    return result


def choose(image: np.ndarray, mask: np.ndarray, seed: int, wanted: str = "") -> tuple[str, np.ndarray]:
    """A colour that the object can truly be given, and the image with it.

    Args:
        image: uint8 [H, W, 3].
        mask: bool [H, W].
        seed: picks the colour where none is wanted; same seed, same colour.
        wanted: a key of `COLOURS`, or empty.

    Raises:
        NoColour: the object has the colour already, or is too dark or too light for it.
    """
    names = [wanted] if wanted else list(COLOURS)
    if not wanted:
        random.Random(f"editpairs/colour/{seed}").shuffle(names)
    for name in names:
        if share_called(image[mask], name) > PRESENT_SHARE:
            continue
        result = recolour(image, mask, name)
        if share_called(result[mask], name) >= CALLED_SHARE:
            return name, result
    what = f"{wanted}: it takes another colour" if wanted else "any other colour: leave the region out"
    raise NoColour(f"the object has this colour already, or is too dark or too light to become {what}")
