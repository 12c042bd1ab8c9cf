"""Boxes to and from the types of other node packs."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import torch
from comfy_api.latest import io

from ..wires import box_formats
from ..wires.batches import photos_with_regions
from ..wires.box_formats import Detection, Layout

LAYOUTS = list(get_args(Layout))
LAYOUT_TOOLTIP = "What a box's four numbers mean. xyxy: two corners (kijai's nodes, LayerStyle). xywh: a corner and the size (KJNodes)."
PER_IMAGE, FLAT = "a list per image", "one flat list"


class BoxesToBBox(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsBoxesToBBox",
            display_name="Convert Boxes to BBOX",
            category="editpairs",
            description="Turns core's boxes into BBOX, which older node packs take. Names and scores have no place in a BBOX.",
            search_aliases=["bounding box to bbox", "bbox converter", "xyxy", "xywh"],
            inputs=[
                io.BoundingBox.Input("boxes", force_input=True, tooltip="Core's boxes, a list per image."),
                io.Combo.Input("layout", options=LAYOUTS, default="xyxy", tooltip=LAYOUT_TOOLTIP),
                io.Combo.Input(
                    "nesting",
                    options=[PER_IMAGE, FLAT],
                    default=PER_IMAGE,
                    tooltip="a list per image: SAM2 and LayerStyle nodes. one flat list: nodes that know a single image.",
                ),
            ],
            outputs=[io.BBOX.Output("bbox", tooltip="Boxes of four numbers in pixels.")],
        )

    @classmethod
    def execute(cls, boxes: Any, layout: Layout, nesting: str) -> io.NodeOutput:
        frames = box_formats.to_bbox(box_formats.from_wire(boxes), layout)
        if nesting == PER_IMAGE:
            return io.NodeOutput(frames)
        if len(frames) > 1:
            raise ValueError(f"one flat list can't tell {len(frames)} images apart: take '{PER_IMAGE}'")
        return io.NodeOutput(frames[0] if frames else [])


class BBoxToBoxes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsBBoxToBoxes",
            display_name="Convert BBOX to Boxes",
            category="editpairs",
            description="Turns another pack's BBOX into core's boxes, which every node here takes.",
            search_aliases=["bbox to bounding box", "bbox converter", "xyxy", "xywh", "florence2"],
            inputs=[
                io.BBOX.Input("bbox", tooltip="Four numbers, a list of such boxes (one image), or a list per image."),
                io.Combo.Input("layout", options=LAYOUTS, default="xyxy", tooltip=LAYOUT_TOOLTIP),
                io.String.Input("label", default="", optional=True, tooltip="A name for all of them; a BBOX has none."),
            ],
            outputs=[io.BoundingBox.Output("boxes", tooltip="Core's boxes, a list per image.")],
        )

    @classmethod
    def execute(cls, bbox: Any, layout: Layout, label: str = "") -> io.NodeOutput:
        frames = box_formats.from_bbox(bbox, layout)
        named = [[Detection(found.box, label.strip()) for found in frame] for frame in frames]
        return io.NodeOutput(box_formats.to_wire(named))


class BoxesToSegs(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsBoxesToSegs",
            display_name="Convert Boxes to SEGS",
            category="editpairs",
            description="Turns boxes, and masks if there are any, into the Impact Pack's SEGS. A SEGS is one image's, so a batch gives a list.",
            search_aliases=["impact pack", "segs", "detailer", "bounding box to segs"],
            inputs=[
                io.BoundingBox.Input("boxes", force_input=True, tooltip="Core's boxes, a list per image."),
                io.Image.Input("image", tooltip="The photos that the boxes are of; their sizes are needed."),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="A mask for each box, in the same order, over all images. Without them the whole box is marked.",
                ),
                io.Float.Input(
                    "crop_factor",
                    default=3.0,
                    min=1.0,
                    max=100.0,
                    step=0.1,
                    optional=True,
                    tooltip="How much larger than its box each region's crop is. 3 is the Impact Pack's own default.",
                ),
            ],
            outputs=[io.SEGS.Output("segs", is_output_list=True, tooltip="A SEGS for each image.")],
        )

    @classmethod
    def execute(
        cls, boxes: Any, image: torch.Tensor, masks: torch.Tensor | None = None, crop_factor: float = 3.0
    ) -> io.NodeOutput:
        segs = []
        for photo in photos_with_regions(image, boxes, masks):
            if photo.united is not None:
                raise ValueError("a SEGS has a mask for each box: send the masks of these boxes, not united ones")
            height, width = photo.pixels.shape[:2]
            segs.append(box_formats.to_segs(photo.found, photo.masks, width, height, crop_factor))
        return io.NodeOutput(segs)


class SegsToBoxes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsSegsToBoxes",
            display_name="Convert SEGS to Boxes",
            category="editpairs",
            description="Turns the Impact Pack's SEGS into core's boxes and masks.",
            search_aliases=["impact pack", "segs", "segs to bounding box", "segs to mask"],
            inputs=[io.SEGS.Input("segs", tooltip="One image's regions, from an Impact Pack detector.")],
            outputs=[
                io.BoundingBox.Output("boxes", tooltip="The image's boxes in pixels, with label and score."),
                io.Mask.Output(
                    "masks",
                    tooltip="A mask for each box, in the same order; a single empty one where there is no region.",
                ),
            ],
        )

    @classmethod
    def execute(cls, segs: Any) -> io.NodeOutput:
        found, masks, (width, height) = box_formats.from_segs(segs)
        stacked = np.stack(masks) if masks else np.zeros((1, height, width), dtype=bool)
        return io.NodeOutput(box_formats.to_wire([found]), torch.from_numpy(stacked.astype(np.float32)))
