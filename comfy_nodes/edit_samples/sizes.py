"""Sizes that editing models work at: which part of a photo is used, and where its regions lie in it.

`Fit Photo to Size` and `fitted` call this. Knows sizes and regions; nothing of torch or ComfyUI.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from ..core.photo_filter import KONTEXT_BUCKETS, crop_share, nearest_bucket
from ..core.regions import rle
from ..core.regions.annotation import Region
from ..imaging import crops
from ..imaging.crops import Crop, Size

Fit = Literal[
    "kontext buckets",
    "one megapixel",
    "crop to multiple",
    "pad to multiple",
    "room for one crop",
    "room for one crop of 768",
]
FITS: tuple[Fit, ...] = get_args(Fit)

ROOM: dict[Fit, int] = {"room for one crop": 1024, "room for one crop of 768": 768}
"""Side of the crops that a photo is to fit, by the name of the fit."""

SPARE = 0.95
"""How much of `crops.MAX_STRETCH_BACK` a photo may need: crops' sides are rounded to multiples. Ours."""

MEGAPIXEL = 1024 * 1024
"""Pixels that Qwen-Image-Edit brings every photo to: its pipeline in diffusers, with sides in multiples of 32, and
ComfyUI's `TextEncodeQwenImageEdit`."""


def fit(size: Size, wanted: Fit, multiple: int) -> Crop:
    """The part of a photo of `size` that is used, and the size that it is brought to.

    Args:
        wanted: `kontext buckets` and `one megapixel` scale the photo to cover the nearest size and use its middle;
            those of `ROOM` shrink a large one until a crop of all of it is stitched back without getting soft, about
            1024 pixels on the shorter side as in ImgEdit's graphs, and leave others alone; the rest scale nothing, and
            cut off or repeat pixels at the right and bottom border alone.
        multiple: for sides; buckets have their own.

    Raises:
        ValueError: a photo smaller than `multiple` is to be cropped to it.
    """
    width, height = size
    if wanted == "kontext buckets":
        return _covering(size, nearest_bucket(size, KONTEXT_BUCKETS))
    if wanted == "one megapixel":
        return _covering(size, crops.of_area(width / height, MEGAPIXEL, multiple))
    if wanted in ROOM:
        # A side that was rounded up is half a pixel too long at most: what was fitted once stays as it is.
        fits = (width - 0.5) * (height - 0.5) <= (SPARE * crops.MAX_STRETCH_BACK * ROOM[wanted]) ** 2
        shrink = 1.0 if fits else SPARE * crops.MAX_STRETCH_BACK * ROOM[wanted] / math.sqrt(width * height)
        return Crop(0, 0, width, height, (max(1, round(width * shrink)), max(1, round(height * shrink))))
    if wanted == "pad to multiple":
        padded = crops.up_to_multiple(width, multiple), crops.up_to_multiple(height, multiple)
        return Crop(0, 0, *padded, padded)
    cropped = width // multiple * multiple, height // multiple * multiple
    if not all(cropped):
        raise ValueError(f"the photo is {width} x {height}, too small to be cropped to multiples of {multiple}: pad it")
    return Crop(0, 0, *cropped, cropped)


def lost_share(size: Size, crop: Crop) -> float:
    """Share of a photo, 0 to 1, that a crop leaves out."""
    left, top, right, bottom = crop.inside(size)
    return 1 - (right - left) * (bottom - top) / (size[0] * size[1])


def fit_region(region: Region, crop: Crop, size: Size) -> Region | None:
    """A region in the pixels of the crop of a photo of `size`; None where nothing of it is left."""
    left, top, right, bottom = crop.inside(size)
    across, down = crop.size[0] / crop.width, crop.size[1] / crop.height
    x1, y1, x2, y2 = region.bbox
    box = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
    if box[0] >= box[2] or box[1] >= box[3]:
        return None
    moved = ((box[0] - left) * across, (box[1] - top) * down, (box[2] - left) * across, (box[3] - top) * down)
    mask = None
    if region.mask is not None:
        seen = crops.cut_mask(rle.decode(region.mask), crop)
        if not seen.any():
            return None
        mask = rle.encode(seen)
    return region.model_copy(update={"bbox": moved, "mask": mask})


def _covering(size: Size, wanted: Size) -> Crop:
    """The middle of a photo, in the proportions of `wanted`, as large as the photo has room."""
    kept = 1 - crop_share(size, wanted)
    width, height = size
    if width * wanted[1] > height * wanted[0]:
        width = max(1, round(width * kept))
    else:
        height = max(1, round(height * kept))
    return Crop((size[0] - width) // 2, (size[1] - height) // 2, width, height, wanted)
