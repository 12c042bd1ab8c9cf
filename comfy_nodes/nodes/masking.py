"""Masks from boxes without weights."""

from __future__ import annotations

from typing import Any

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io

from .. import boxes as wire
from .. import classical
from ..tensors import batch_size, item, marked, masks_of, to_bytes, to_mask
from .sample import MAX_SEED


class SegmentBoxGrabCut(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsSegmentBoxGrabCut",
            display_name="Segment Box (GrabCut)",
            category="editpairs",
            description="Cuts out what a box holds by its colours, without a model. Good on objects that differ from what is behind them.",
            search_aliases=["grabcut", "box to mask", "segment", "cut out"],
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of them."),
                io.BoundingBox.Input(
                    "boxes",
                    force_input=True,
                    tooltip="Boxes to segment, a list per image. Several boxes of an image give one united mask.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="A mask that you have already. Where it marks anything it is passed on as it is, and the box is not segmented.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    optional=True,
                    tooltip="Seeds the colour clustering; the same seed gives the same mask.",
                ),
                io.Int.Input(
                    "iterations",
                    default=5,
                    min=1,
                    max=50,
                    optional=True,
                    advanced=True,
                    tooltip="Rounds of refinement. More than 5 rarely changes anything.",
                ),
            ],
            outputs=[io.Mask.Output("mask", tooltip="1 on the object. All zero where nothing stands out in the box.")],
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, boxes: Any, mask: torch.Tensor | None = None, seed: int = 0, iterations: int = 5
    ) -> io.NodeOutput:
        frames = wire.per_image(boxes) or [[]]
        known = masks_of(mask) if mask is not None else torch.zeros((1, 1, 1))
        count = batch_size(image=image.shape[0], boxes=len(frames), mask=known.shape[0])
        results = []
        for index in range(count):
            throw_exception_if_processing_interrupted()
            pixels = to_bytes(item(image, index))
            found = marked(item(known, index), *pixels.shape[:2])
            if not found.any():
                for box in frames[index if len(frames) > 1 else 0]:
                    found |= classical.segment_box(pixels, box, seed, iterations)
            results.append(to_mask(found))
        return io.NodeOutput(torch.cat(results))
