"""Fit Photo to Size: a photo, its mask and its sample at a size that an editing model works at."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io

from ..edit_samples import sizes
from ..edit_samples.fitted import fit_image, fit_sample
from ..imaging import crops
from ..wires import boxes
from ..wires.sockets import CropPlace, EditSample, Placement, Sample
from ..wires.tensors import batch_size, item, marked, masks_of, pictures, to_mask

MAX_CROP = 20.0
"""Per cent of a photo that may be lost: UnicEdit-10M's rule (paper)."""


class FitSize(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsFitSize",
            display_name="Fit Photo to Size",
            category="editpairs",
            description="Brings a photo, with mask and sample, to a size that an editing model works at. A sample that would lose too much fails as data, with the reason.",
            search_aliases=[
                "resize to bucket",
                "kontext resolution",
                "multiple of 16",
                "centre crop",
                "pad to multiple",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of them."),
                io.Combo.Input(
                    "size",
                    options=list(sizes.FITS),
                    default="kontext buckets",
                    tooltip="kontext buckets: the nearest of FLUX.1 Kontext's 17 sizes. one megapixel: 1024 x 1024 pixels in the photo's proportions, for Qwen-Image-Edit. Both scale the photo and use its middle. room for one crop: a large photo is shrunk, whole, so that no crop of Crop Around Mask at 1024 (or 768) comes back stretched and soft. The others scale nothing: they cut off or add pixels at the right and bottom border alone.",
                ),
                io.Combo.Input(
                    "multiple",
                    options=[str(one) for one in crops.MULTIPLES],
                    default="16",
                    tooltip="The sides are multiples of it. Buckets and room for crops ignore it. 32 for Qwen-Image-Edit in diffusers.",
                ),
                io.Float.Input(
                    "max_crop",
                    default=MAX_CROP,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    tooltip="Per cent of the photo that may be lost; above it the sample fails. 20 in UnicEdit's paper.",
                ),
                io.Mask.Input("mask", optional=True, tooltip="A mask that is brought along."),
                Sample.Input("sample", optional=True, tooltip="The photo's sample: its regions are brought along."),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The photo at the model's size."),
                io.Mask.Output("mask", tooltip="The mask at that size; all zero without one."),
                Sample.Output(
                    "sample",
                    tooltip="The sample with the fitted photo as its source. Wire it to Save Edit Pair in place of the first.",
                ),
                io.BoundingBox.Output("crop", tooltip="The part of the photo that was used, in its own pixels."),
                CropPlace.Output("place", tooltip="For Stitch Crop Back, which undoes it."),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        size: sizes.Fit,
        multiple: str,
        max_crop: float,
        mask: torch.Tensor | None = None,
        sample: EditSample | None = None,
    ) -> io.NodeOutput:
        height, width = image.shape[1:3]
        if sample is not None and sample.size != (width, height):
            raise ValueError(
                f"image is {width} x {height}, the sample's photo {sample.size[0]} x {sample.size[1]}: "
                "fit the photo before anything else scales it"
            )
        crop = sizes.fit((width, height), size, int(multiple))
        lost = sizes.lost_share((width, height), crop)
        if sample is None and lost > max_crop / 100:
            raise ValueError(
                f"the photo would lose {lost:.1%} of {width} x {height}; max_crop is {max_crop:g} %: raise it, or "
                "choose another size"
            )
        masks = torch.zeros((1, height, width)) if mask is None else masks_of(mask)
        count = batch_size(image=image, mask=masks)
        seen = [crops.cut_mask(marked(item(masks, index), height, width), crop) for index in range(count)]
        left, top, right, bottom = crop.inside((width, height))
        used = np.zeros((height, width), dtype=bool)
        used[top:bottom, left:right] = True
        return io.NodeOutput(
            fit_image(image, crop),
            torch.cat([to_mask(one) for one in seen]),
            None if sample is None else fit_sample(sample, crop, max_crop / 100),
            [[boxes.of_corners((left, top, right, bottom))]] * len(image),
            [Placement(photo, crop, used, 0) for photo in pictures(image)],
        )
