"""A picture of regions that people can read."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io, ui

from ..core.regions.annotation import EXISTS, is_thing
from ..core.regions.drawing import MASK_OPACITY, DrawnRegion, draw
from ..wires.batches import photos_with_regions
from ..wires.inputs import share_input
from ..wires.tensors import to_image


class DrawRegions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsDrawRegions",
            display_name="Draw Regions",
            category="editpairs",
            description="Draws boxes with names and scores, and masks, over the photo, and shows it on the node.",
            search_aliases=["draw boxes", "visualize detections", "mask overlay", "preview bbox", "annotate image"],
            has_intermediate_output=True,
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of them."),
                io.BoundingBox.Input("boxes", force_input=True, tooltip="Boxes to draw, a list per image."),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="A mask for each box, in the same order, over all images; or one for each image.",
                ),
                share_input(
                    "mask_opacity",
                    MASK_OPACITY,
                    "How strongly masks are coloured. 0 leaves their outlines.",
                    step=0.05,
                    optional=True,
                ),
                share_input(
                    "exists",
                    EXISTS,
                    "Boxes with a lower detector's score, which are probably no things, are not drawn unless their CLIP score proves their name. 0: all are.",
                    step=0.005,
                    optional=True,
                ),
            ],
            outputs=[io.Image.Output("image", tooltip="The photos with the regions drawn over them.")],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        boxes: Any,
        masks: torch.Tensor | None = None,
        mask_opacity: float = MASK_OPACITY,
        exists: float = EXISTS,
    ) -> io.NodeOutput:
        drawn = []
        for photo in photos_with_regions(image, boxes, masks):
            own = photo.masks or (None,) * len(photo.found)
            regions = [
                DrawnRegion(found.box, found.label, found.score, mask)
                for found, mask in zip(photo.found, own, strict=True)
                if is_thing(found.score, found.clip_score, least=exists)
            ]
            if photo.united is not None:
                regions.append(DrawnRegion(None, mask=photo.united))
            drawn.append(to_image(draw(photo.pixels, regions, mask_opacity)))
        pictures = torch.cat(drawn)
        return io.NodeOutput(pictures, ui=ui.PreviewImage(pictures, cls=cls))
