"""Crops that an editor sees and their way back, and edits of the whole picture kept to their mask."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io

from ..imaging import blending, crops, opencv
from ..wires.batches import each
from ..wires.inputs import share_input, side_share_input
from ..wires.sockets import CropPlace, Placement
from ..wires.tensors import batch_size, item, marked, masks_of, per_cent, picture, to_mask

CONTEXT = 1.2
"""The crop's sides over those of the mask's box: what ImgEdit's graphs use (context factor 1.2)."""

GROW = 2.0
"""Per cent of the shorter side: 20 pixels at 1024, less than ImgEdit's 32, as our soft edge lies inside. Ours."""

BLEND = 1.0
"""Per cent of the shorter side: no more than half of `GROW`, so that the object itself is replaced whole. Ours."""


def grow_input(default: float) -> io.Float.Input:
    return side_share_input(
        "grow",
        default,
        "Grows the mask first, in per cent of the photo's shorter side. The grown mask is the edit mask.",
    )


def blend_input() -> io.Float.Input:
    return side_share_input(
        "blend",
        BLEND,
        "Width of the soft edge inside the edit mask, in per cent of the photo's shorter side. More than grow lets the object's rim shine through.",
    )


SOURCE, SOURCE_IF_MARKED, EDIT = "the source", "the source, where a region is marked", "the edit"
"""What Blend Edit leaves outside of the mask."""


class CropAroundMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsCropAroundMask",
            display_name="Crop Around Mask",
            category="editpairs",
            description="Cuts out what an editor needs to see around a mask, at the size its model works at. Stitch Crop Back puts it back.",
            search_aliases=["inpaint crop", "crop and stitch", "masked area only", "crop to mask"],
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of them."),
                io.Mask.Input("mask", tooltip="What is to be edited; every value above 0 counts."),
                io.Int.Input(
                    "size",
                    default=1024,
                    min=0,
                    max=8192,
                    step=8,
                    tooltip="The crop has about size x size pixels, in the proportions that the mask needs. 0: the photo's own pixels, never scaled.",
                ),
                io.Float.Input(
                    "context",
                    default=CONTEXT,
                    min=1.0,
                    max=10.0,
                    step=0.1,
                    tooltip="The crop's sides over those of the mask's box. More shows the editor more of the photo and leaves fewer pixels to the edit. 1.2 in ImgEdit's graphs.",
                ),
                grow_input(GROW),
                blend_input(),
                io.Combo.Input(
                    "multiple",
                    options=[str(one) for one in crops.MULTIPLES],
                    default="16",
                    tooltip="The crop's sides are multiples of it: 8 for SDXL, 16 for FLUX, 32 for Qwen-Image-Edit.",
                ),
            ],
            outputs=[
                io.Image.Output("crop", tooltip="What the editor gets."),
                io.Mask.Output(
                    "mask",
                    tooltip="The edit mask in the crop, with the soft edge that it is put back with: for Differential Diffusion.",
                ),
                CropPlace.Output("place", tooltip="For Stitch Crop Back."),
                io.Mask.Output("edit_mask", tooltip="The edit mask in the photo."),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        mask: torch.Tensor,
        size: int,
        context: float,
        grow: float,
        blend: float,
        multiple: str,
    ) -> io.NodeOutput:
        masks = masks_of(mask)
        height, width = image.shape[1:3]
        count = batch_size(image=image, mask=masks)
        edit_masks = [_edit_mask(item(masks, index), grow, height, width) for index in range(count)]
        found = crops.around(edit_masks, size, context, int(multiple))
        pixels = per_cent(blend, height, width)
        places = [
            Placement(picture(item(image, index)), crop, edit_masks[index], pixels)
            for index, crop in enumerate(each(found))
        ]
        return io.NodeOutput(
            torch.from_numpy(np.stack([crops.cut(place.photo, place.crop) for place in places])),
            torch.from_numpy(np.stack([_seen(place) for place in places])),
            places,
            torch.cat([to_mask(one) for one in edit_masks]),
        )


class StitchCrop(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsStitchCrop",
            display_name="Stitch Crop Back",
            category="editpairs",
            description="Puts an edited crop back into its photo. Every pixel outside edit_mask stays exactly as it was.",
            search_aliases=["inpaint stitch", "uncrop", "paste crop", "paste back"],
            inputs=[
                io.Image.Input(
                    "edited", tooltip="The crop after the edit; a batch of variants is put back one by one."
                ),
                CropPlace.Input("place", tooltip="From Crop Around Mask, or from Fit Photo to Size."),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The photo with the edit in it."),
                io.Mask.Output("edit_mask", tooltip="Where pixels may differ from the photo. For Save Edit Pair."),
            ],
        )

    @classmethod
    def execute(cls, edited: torch.Tensor, place: list[Placement]) -> io.NodeOutput:
        images, edit_masks = [], []
        for index in each(range(batch_size(edited=edited, place=place))):
            one = item(place, index)
            images.append(_stitched(picture(item(edited, index)), one))
            edit_masks.append(to_mask(one.edit_mask))
        return io.NodeOutput(torch.from_numpy(np.stack(images)), torch.cat(edit_masks))


class BlendEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsBlendEdit",
            display_name="Blend Edit",
            category="editpairs",
            description="Keeps an edit to its mask: for editors that change the whole picture a little when they change one place. Outside edit_mask the source stays exactly as it was.",
            search_aliases=["composite masked", "keep background", "restore unmasked", "image blend by mask"],
            inputs=[
                io.Image.Input("edited", tooltip="What the editor made of the source, of its size."),
                io.Image.Input("source", tooltip="The photo before the edit."),
                io.Mask.Input("mask", tooltip="What was to be edited; every value above 0 counts."),
                grow_input(0.0),
                blend_input(),
                io.Combo.Input(
                    "outside",
                    options=[SOURCE, SOURCE_IF_MARKED, EDIT],
                    default=SOURCE,
                    optional=True,
                    tooltip="What stays outside of the mask. The source, where a region is marked: an empty mask lets the whole edit pass. The edit: nothing is blended, and edit_mask is the whole picture.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The source with the edit inside the mask."),
                io.Mask.Output("edit_mask", tooltip="Where pixels may differ from the source. For Save Edit Pair."),
            ],
        )

    @classmethod
    def execute(
        cls,
        edited: torch.Tensor,
        source: torch.Tensor,
        mask: torch.Tensor,
        grow: float,
        blend: float,
        outside: str = SOURCE,
    ) -> io.NodeOutput:
        _check_sizes(edited, source)
        masks = masks_of(mask)
        height, width = source.shape[1:3]
        images, edit_masks = [], []
        count = batch_size(edited=edited, source=source, mask=masks)
        for index in each(range(count)):
            edit_mask = _edit_mask(item(masks, index), grow, height, width)
            if outside == EDIT or (outside == SOURCE_IF_MARKED and not edit_mask.any()):
                images.append(picture(item(edited, index)))
                edit_masks.append(to_mask(np.ones_like(edit_mask)))
                continue
            before, after = picture(item(source, index)), picture(item(edited, index))
            images.append(blending.composite(before, after, edit_mask, per_cent(blend, height, width)))
            edit_masks.append(to_mask(edit_mask))
        return io.NodeOutput(torch.from_numpy(np.stack(images)), torch.cat(edit_masks))


class MatchColour(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsMatchColour",
            display_name="Match Colour",
            category="editpairs",
            description="Brings an edited picture's colours back to its source's, measured outside the mask. Takes out the shift that a VAE or an editor leaves.",
            search_aliases=["color match", "colour transfer", "vae colour drift", "color correction"],
            inputs=[
                io.Image.Input("edited", tooltip="What the editor made of the source, of its size."),
                io.Image.Input("source", tooltip="The picture that the editor got."),
                share_input("strength", 1.0, "How much of the correction is made.", step=0.05),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="The edit mask: colours are compared outside it. Without one, over the whole picture.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "image", tooltip="The edited picture, corrected everywhere. For Stitch Crop Back or Blend Edit."
                )
            ],
        )

    @classmethod
    def execute(
        cls, edited: torch.Tensor, source: torch.Tensor, strength: float, mask: torch.Tensor | None = None
    ) -> io.NodeOutput:
        _check_sizes(edited, source)
        height, width = source.shape[1:3]
        masks = torch.zeros((1, height, width)) if mask is None else masks_of(mask)
        count = batch_size(edited=edited, source=source, mask=masks)
        images = [
            blending.match_colour(
                picture(item(edited, index)),
                picture(item(source, index)),
                marked(item(masks, index), height, width),
                strength,
            )
            for index in each(range(count))
        ]
        return io.NodeOutput(torch.from_numpy(np.stack(images)))


def _edit_mask(mask: torch.Tensor, grow: float, height: int, width: int) -> np.ndarray:
    return opencv.grow(marked(mask, height, width), per_cent(grow, height, width))


def _seen(place: Placement) -> np.ndarray:
    """The edit mask as its crop shows it, float32 [h, w], soft at its border where the edit is blended in."""
    if not place.blend:
        return crops.cut_mask(place.edit_mask, place.crop).astype(np.float32)
    return crops.cut_weights(blending.soft_edge(place.edit_mask, place.blend), place.edit_mask, place.crop)


def _stitched(edited: np.ndarray, place: Placement) -> np.ndarray:
    height, width = place.edit_mask.shape
    left, top, right, bottom = place.crop.inside((width, height))
    whole = place.photo.copy()
    whole[top:bottom, left:right] = crops.uncut(edited, place.crop, (width, height))
    return blending.composite(place.photo, whole, place.edit_mask, place.blend)


def _check_sizes(edited: torch.Tensor, source: torch.Tensor) -> None:
    if edited.shape[1:3] != source.shape[1:3]:
        raise ValueError(
            f"edited is {edited.shape[2]} x {edited.shape[1]}, source {source.shape[2]} x {source.shape[1]}: "
            "bring the photo to the editor's size with Fit Photo to Size, and wire that photo to both"
        )
