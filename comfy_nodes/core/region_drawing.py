"""Regions drawn over their photo, for people: boxes, masks, names and scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from . import rle
from .annotation import Region

COLOURS = ((255, 149, 0), (48, 176, 199), (175, 82, 222), (52, 199, 89), (255, 55, 95), (255, 214, 10), (0, 122, 255))
"""Of boxes, masks and labels in turn: told apart from each other and from most photos."""

MASK_OPACITY = 0.4


def draw_regions(photo: Image.Image, regions: Sequence[Region]) -> Image.Image:
    """The photo with each region's box, mask, name and scores; larger regions are drawn first."""
    pixels = np.asarray(photo.convert("RGB")).astype(np.float32)
    colour = {id(region): COLOURS[number % len(COLOURS)] for number, region in enumerate(regions)}
    ordered = sorted(regions, key=lambda region: -region.area_share(*photo.size))
    for region in ordered:
        if region.mask is not None:
            inside = rle.decode(region.mask)
            pixels[inside] = pixels[inside] * (1 - MASK_OPACITY) + np.array(colour[id(region)]) * MASK_OPACITY
    drawn = Image.fromarray(pixels.round().astype(np.uint8))
    draw = ImageDraw.Draw(drawn)
    line = max(2, round(min(photo.size) / 250))
    font = ImageFont.load_default(size=max(11, round(min(photo.size) / 32)))
    for region in ordered:
        x1, y1, x2, y2 = region.bbox
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour[id(region)], width=line)
    for region in ordered:
        _label(draw, region, colour[id(region)], font, photo.size)
    return drawn


def _label(
    draw: ImageDraw.ImageDraw,
    region: Region,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Name and detector's score on the box's upper edge, inside the photo."""
    text = region.class_name or region.kind
    if region.score is not None:
        text += f" {region.score:.2f}"
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 8, bottom - top + 6
    x = min(max(0, region.bbox[0]), max(0, size[0] - width))
    y = max(0, region.bbox[1] - height)
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    draw.text((x + 4 - left, y + 3 - top), text, fill=(0, 0, 0), font=font)
