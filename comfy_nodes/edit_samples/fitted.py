"""Samples brought to a model's size: photo, regions and further pictures in the pixels of one crop.

`Fit Photo to Size` calls this. A sample that would lose too much, or the region that its edit is about, gets a failure
with a reason, as UnicEdit leaves such photos out; nothing here raises over what a photo looks like.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..core.boxes import Box
from ..core.records import SampleFailure
from ..imaging import crops
from ..imaging.crops import Crop
from ..wires.sockets import EditSample
from ..wires.tensors import pictures
from .sizes import fit_region, lost_share


def fit_sample(sample: EditSample, crop: Crop, max_lost: float) -> EditSample:
    """A sample in the pixels of its crop: photo, regions, the second frame and an edit that was made already.

    Args:
        crop: of the sample's photo.
        max_lost: at most this share of the photo may be left out, 0 to 1. UnicEdit's limit is 0.2.

    Returns:
        The sample; with a failure, and otherwise as it was, where too much would be lost.
    """
    if sample.failure:
        return sample
    lost = lost_share(sample.size, crop)
    if lost > max_lost:
        width, height = sample.size
        why = (
            f"would lose {lost:.1%} of {width} x {height} to {crop.size[0]} x {crop.size[1]}; at most {max_lost:.1%}: "
            "leave the photo out or crop it by hand"
        )
        return replace(sample, failure=SampleFailure("edit", "CroppedTooMuch", why, skipped=True))
    fitted = [fit_region(region, crop, sample.size) for region in sample.regions]
    if not all(fitted):
        name = sample.regions[fitted.index(None)].class_name or "the region"
        why = f"{name} lies outside of the part of the photo that is used: leave the region out"
        return replace(sample, failure=SampleFailure("edit", "RegionCroppedAway", why, skipped=True))
    regions = [region for region in fitted if region]
    planned = [[fit_region(region, crop, sample.size) for region in one.regions] for one in sample.writings]
    if not all(region for one in planned for region in one):
        why = "a later turn's thing lies outside of the part of the photo that is used: leave the photo out"
        return replace(sample, failure=SampleFailure("edit", "RegionCroppedAway", why, skipped=True))
    others = [fit_region(region, crop, sample.size) for region in sample.others]
    return replace(
        sample,
        source=fit_image(sample.source, crop),
        region=regions[0] if regions else None,
        also=tuple(regions[1:]),
        others=tuple(region for region in others if region),
        writings=tuple(
            replace(one, regions=tuple(region for region in own if region))
            for one, own in zip(sample.writings, planned, strict=True)
        ),
        crop=_used(sample, crop),
        images={
            role: image if role == "reference" else fit_image(image, crop) for role, image in sample.images.items()
        },
    )


def _used(sample: EditSample, crop: Crop) -> Box | None:
    """The part of the photo that is left, in the pixels of the photo itself; None where nothing was cut off or scaled.

    The sample's own photo may be such a part already.
    """
    width, height = sample.size
    left, top, right, bottom = crop.inside(sample.size)
    if (right - left, bottom - top) == sample.size and crop.size == (crop.width, crop.height):
        return sample.crop
    x1, y1, x2, y2 = sample.crop or (0.0, 0.0, float(width), float(height))
    across, down = (x2 - x1) / width, (y2 - y1) / height
    return x1 + left * across, y1 + top * down, x1 + right * across, y1 + bottom * down


def fit_image(image: torch.Tensor, crop: Crop) -> torch.Tensor:
    """IMAGE [B, h, w, 3] that a crop of IMAGE [B, H, W, C] shows."""
    return torch.from_numpy(np.stack([crops.cut(one, crop) for one in pictures(image)]))


MAX_STRETCH = 1.02
"""Two pictures whose ratios of width to height differ by no more than this factor have one shape, as editors round
sizes to their model's grid. Ours."""


def same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (width, height) differ by scale alone, up to `MAX_STRETCH`."""
    ratio = size[0] * other[1] / (size[1] * other[0])
    return 1 / MAX_STRETCH <= ratio <= MAX_STRETCH
