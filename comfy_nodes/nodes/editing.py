"""Edits by classical image processing."""

from __future__ import annotations

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io

from .. import classical
from ..tensors import batch_size, item, marked, masks_of, to_bytes, to_image, to_mask


class ClassicalInpaint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsClassicalInpaint",
            display_name="Classical Inpaint",
            category="editpairs",
            description="Fills a mask from the rest of the photo without a model. Every pixel outside edit_mask stays exactly as it was.",
            search_aliases=["inpaint", "remove object", "fill", "shift-map", "telea", "opencv"],
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of them."),
                io.Mask.Input("mask", tooltip="What to fill; every value above 0 counts."),
                io.Combo.Input(
                    "method",
                    options=list(classical.METHODS),
                    default="shift-map",
                    tooltip="shift-map copies patches from elsewhere (needs OpenCV's contrib build); telea and navier-stokes spread the border inwards, which smears large holes.",
                ),
                io.Float.Input(
                    "grow",
                    default=1.0,
                    min=0.0,
                    max=20.0,
                    step=0.1,
                    tooltip="Grows the mask first, in per cent of the photo's shorter side, so that no rim of the object stays.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The photo with the mask filled."),
                io.Mask.Output("edit_mask", tooltip="The grown mask: where pixels may differ from the input."),
            ],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, mask: torch.Tensor, method: classical.Method, grow: float) -> io.NodeOutput:
        masks = masks_of(mask)
        edited, edit_masks = [], []
        for index in range(batch_size(image=image.shape[0], mask=masks.shape[0])):
            throw_exception_if_processing_interrupted()
            pixels = to_bytes(item(image, index))
            height, width = pixels.shape[:2]
            hole = marked(item(masks, index), height, width)
            hole = classical.grow(hole, round(min(height, width) * grow / 100))
            edited.append(to_image(classical.inpaint(pixels, hole, method)))
            edit_masks.append(to_mask(hole))
        return io.NodeOutput(torch.cat(edited), torch.cat(edit_masks))
