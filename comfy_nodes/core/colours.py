"""Colours by their names, measured in pictures: what a colour name means in OKLab (Björn Ottosson 2020).

Classical Recolour gives things a colour by this table, and who tells what a thing looked like names its colour by it. Knows
no sentences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
"""The two matrices of OKLab, from its author's post."""


@dataclass(frozen=True)
class Colour:
    """What a colour name means in OKLCh."""

    hue: float
    """Degrees, in the middle of what bears the name."""
    reach: float
    """Degrees on either side of the hue that still bear the name."""
    chroma: float
    """What is aimed at; the most saturated that sRGB has at the pixel's lightness where that is less."""
    darkest: float
    lightest: float
    """Lightness, 0 to 1, between which the name holds."""


COLOURS: dict[str, Colour] = {
    "red": Colour(27, 14, 0.20, 0.28, 0.68),
    "orange": Colour(60, 15, 0.16, 0.55, 0.85),
    "yellow": Colour(102, 14, 0.17, 0.76, 0.99),
    "green": Colour(143, 20, 0.17, 0.30, 0.92),
    "turquoise": Colour(192, 20, 0.12, 0.45, 0.95),
    "blue": Colour(260, 20, 0.17, 0.20, 0.80),
    "purple": Colour(305, 18, 0.18, 0.22, 0.70),
    "pink": Colour(355, 16, 0.16, 0.62, 0.92),
}
"""Ours, set by eye on patches of sRGB."""

MIN_CHROMA = 0.045
"""A pixel with less chroma bears no colour's name. Ours."""

CALLED_SHARE = 0.55
"""A thing is called by a colour that at least this share of it bears. Ours."""

WHITE, BLACK = 0.86, 0.32
"""Lightness, 0 to 1, from which on a pixel without a colour is white, and up to which it is black. Ours."""

BROWN = Colour(68, 34, 0.09, 0.30, 0.55)
"""Dark orange and dark yellow. Ours, by eye like `COLOURS`, with which it shares no lightness of theirs."""

_MEASURED = 20_000
"""Pixels of a thing that its colour is measured on, evenly spread, where it has more. Ours."""


def to_oklab(pixels: np.ndarray) -> np.ndarray:
    """float64 [..., 3], L 0 to 1, of uint8 sRGB [..., 3]."""
    value = pixels.astype(np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    lab: np.ndarray = np.cbrt(linear @ TO_LMS.T) @ TO_LAB.T
    return lab


def share_called(pixels: np.ndarray, name: str) -> float:
    """Share, 0 to 1, of uint8 pixels [N, 3] that bear a colour's name."""
    return _share(to_oklab(pixels), COLOURS[name])


def colour_of(pixels: np.ndarray) -> str:
    """The colour that things are called by whose uint8 sRGB pixels [N, 3] these are: a key of `COLOURS`, `brown`, `black`,
    `white` or `grey`; empty where most of it bears no one name."""
    if not len(pixels):
        return ""
    lab = to_oklab(pixels[:: max(1, len(pixels) // _MEASURED)])
    grey = np.hypot(lab[:, 1], lab[:, 2]) < MIN_CHROMA
    shares = {name: _share(lab, colour) for name, colour in {**COLOURS, "brown": BROWN}.items()} | {
        "white": float((grey & (lab[:, 0] >= WHITE)).mean()),
        "black": float((grey & (lab[:, 0] <= BLACK)).mean()),
        "grey": float((grey & (lab[:, 0] < WHITE) & (lab[:, 0] > BLACK)).mean()),
    }
    name = max(shares, key=lambda one: shares[one])
    return name if shares[name] >= CALLED_SHARE else ""


def is_black_and_white(image: np.ndarray) -> bool:
    """Whether no more than a hundredth of a uint8 picture [H, W, 3] bears a colour. The share is ours."""
    flat = image.reshape(-1, 3)
    lab = to_oklab(flat[:: max(1, len(flat) // _MEASURED)])
    return float((np.hypot(lab[:, 1], lab[:, 2]) >= MIN_CHROMA).mean()) <= 0.01


def _share(lab: np.ndarray, colour: Colour) -> float:
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    apart = np.abs(turned(np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) - colour.hue))
    light = (lab[:, 0] >= colour.darkest) & (lab[:, 0] <= colour.lightest)
    return float(((apart <= colour.reach) & (chroma >= MIN_CHROMA) & light).mean())


def turned(degrees: np.ndarray) -> np.ndarray:
    """Angles brought to -180 to 180."""
    return (degrees + 180) % 360 - 180
