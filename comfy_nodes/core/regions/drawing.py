"""Boxes, names, scores and masks drawn over a photo so that people can read them.

Used by the node `Draw Regions` and wherever a picture of regions is wanted; knows numpy and Pillow only.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..boxes import Box, area, shared

Rgb = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]

MASK_OPACITY = 0.45
"""How much of a mask's pixels is its colour: enough to see it, little enough to see the object."""

GOLDEN = 0.618034
"""Turns of the colour wheel from one name to the next: neighbours differ most, and none repeats."""


@dataclass(frozen=True)
class DrawnRegion:
    """What is drawn of one region."""

    box: Box | None
    """(x1, y1, x2, y2) in the photo's pixels; what lies outside the photo is not drawn. None: the mask alone."""
    name: str = ""
    score: float | None = None
    mask: np.ndarray | None = None
    """bool [H, W] of the photo's size."""

    @property
    def caption(self) -> str:
        """Name and score, as they stand in the picture."""
        return " ".join(part for part in (self.name, "" if self.score is None else f"{self.score:.2f}") if part)


def draw(photo: np.ndarray, regions: Sequence[DrawnRegion], opacity: float = MASK_OPACITY) -> np.ndarray:
    """The photo with its regions over it; regions of one name share a colour.

    Larger boxes are drawn first, so that small ones stay visible. A caption stands on a plate above its box, or inside
    where there is no room, and moves down where another one stands already.

    Args:
        photo: uint8 [H, W, 3].
        opacity: of masks, 0 (outline only) to 1.

    Returns:
        uint8 [H, W, 3], a copy.
    """
    colours = _colours([region.name for region in regions])
    drawn = photo.copy()
    for region in regions:
        if region.mask is not None:
            _tint(drawn, region.mask, colours[region.name], opacity)
    picture = Image.fromarray(drawn)
    pen = ImageDraw.Draw(picture)
    width = max(2, round(min(picture.size) / 250))
    visible = [(region, region.box) for region in regions if region.box and _is_visible(region.box, picture.size)]
    boxed = sorted(visible, key=lambda pair: area(pair[1]))
    for region, box in reversed(boxed):
        _outline(pen, box, colours[region.name], width, picture.size)
    font = ImageFont.load_default(max(11, round(min(picture.size) / 36)))
    taken: list[Rectangle] = []
    for region, box in boxed:
        if region.caption:
            taken.append(_caption(pen, region.caption, box, colours[region.name], font, picture.size, taken))
    return np.asarray(picture)


def _colours(names: Sequence[str]) -> dict[str, Rgb]:
    """A colour for each name, in the order of their first appearance."""
    colours: dict[str, Rgb] = {}
    for name in names:
        if name not in colours:
            red, green, blue = colorsys.hsv_to_rgb((len(colours) * GOLDEN) % 1, 0.85, 1.0)
            colours[name] = round(red * 255), round(green * 255), round(blue * 255)
    return colours


def _tint(picture: np.ndarray, mask: np.ndarray, colour: Rgb, opacity: float) -> None:
    """Colours a mask's pixels in place, its inner edge fully."""
    mixed = picture[mask] * (1 - opacity) + np.array(colour) * opacity
    picture[mask] = mixed.round().astype(np.uint8)
    framed = np.pad(mask, 1)
    inner = framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    picture[mask & ~inner] = colour


def _outline(pen: ImageDraw.ImageDraw, box: Box, colour: Rgb, width: int, size: tuple[int, int]) -> None:
    """The box's frame inside the photo, with a dark line around it that shows on bright ground."""
    left, top, right, bottom = _clipped(box, size)
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=(0, 0, 0), width=1)
    pen.rectangle((left, top, right, bottom), outline=colour, width=width)


def _caption(
    pen: ImageDraw.ImageDraw,
    caption: str,
    around: Box,
    colour: Rgb,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    size: tuple[int, int],
    taken: Sequence[Rectangle],
) -> Rectangle:
    """Writes the caption and returns the plate that it takes up."""
    left, top, right, bottom = pen.textbbox((0, 0), caption, font=font)
    gap = max(2, round((bottom - top) / 5))
    wide, high = round(right - left) + 2 * gap, round(bottom - top) + 2 * gap
    box = _clipped(around, size)
    x = max(min(box[0], size[0] - wide), 0)
    y = box[1] - high if box[1] >= high else box[1]
    while y + high <= size[1] and any(shared((x, y, x + wide, y + high), other) for other in taken):
        y += max(high // 2, 1)
    y = max(min(y, size[1] - high), 0)
    pen.rectangle((x, y, x + wide, y + high), fill=colour)
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140  # ITU-R BT.601 luma
    pen.text((x + gap - left, y + gap - top), caption, fill=(0, 0, 0) if bright else (255, 255, 255), font=font)
    return x, y, x + wide, y + high


def _clipped(box: Box, size: tuple[int, int]) -> Rectangle:
    """The box's outermost pixels inside the photo, all four inclusive."""
    width, height = size
    x1, y1 = max(round(box[0]), 0), max(round(box[1]), 0)
    return x1, y1, max(min(round(box[2]), width) - 1, x1), max(min(round(box[3]), height) - 1, y1)


def _is_visible(box: Box, size: tuple[int, int]) -> bool:
    return box[0] < size[0] and box[1] < size[1] and box[2] > 0 and box[3] > 0
