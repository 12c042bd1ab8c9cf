"""Masks from words through SAM 3."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from ..core.regions.annotation import RegionKind
from ..edit_samples.tagged import names_for
from ..models.detections import BoxRules
from ..models.queries import checked
from ..models.sam3 import Sam3
from ..wires import box_formats
from ..wires.inputs import most_boxes_input, per_name_input, share_input, tags_inputs, vocabulary_input
from ..wires.sockets import EditSample

SCORE = 0.5
"""Least score of a box: that of core's blueprint `Image Segmentation (SAM3)` and of the makers' own processor."""


class SegmentWordsSam3(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsSegmentWordsSam3",
            display_name="Segment Words (SAM3)",
            category="editpairs",
            description="Finds what the vocabulary names and cuts it out: a box with name and score, and a mask for each. An image without a find gets an empty mask.",
            search_aliases=["segment anything", "sam3", "text to mask", "open vocabulary", "grounding", "concept"],
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of them."),
                io.Model.Input("model", tooltip="From core's Load Checkpoint with sam3.1_multiplex_fp16.safetensors."),
                io.Clip.Input("clip", tooltip="From the same Load Checkpoint: it reads the words."),
                vocabulary_input("; short noun phrases, up to 32 tokens each"),
                share_input(
                    "score_threshold",
                    SCORE,
                    "Least score of a box: its own times that of its name being in the photo at all. 0.5 in core's blueprint and in the makers' processor.",
                ),
                share_input(
                    "nms_threshold",
                    BoxRules.overlap,
                    "Of two boxes that overlap by more than this (intersection over union) the weaker goes; 1 keeps all. Ours: the model seldom gives one thing two boxes of a name.",
                    step=0.05,
                    optional=True,
                ),
                per_name_input(BoxRules.per_class),
                most_boxes_input(BoxRules.limit, "The model gives at most 200 for a name."),
                *tags_inputs(),
            ],
            outputs=[
                io.Mask.Output("masks", tooltip="A mask per box, in the boxes' order over the batch: 1 on the object."),
                io.BoundingBox.Output("boxes", tooltip="A list per image of boxes in pixels, with label and score."),
            ],
        )

    @classmethod
    def validate_inputs(cls, vocabulary: str | None) -> bool | str:
        return checked(vocabulary)

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        model: Any,
        clip: Any,
        vocabulary: str,
        score_threshold: float,
        nms_threshold: float = BoxRules.overlap,
        nms_per_class: bool = BoxRules.per_class,
        max_boxes: int = BoxRules.limit,
        sample: EditSample | None = None,
        tags: RegionKind = "object",
    ) -> io.NodeOutput:
        nothing = torch.zeros((1, *image.shape[1:3]))
        names = names_for(sample, tags, vocabulary)
        if not names:
            return io.NodeOutput(nothing, [[] for _ in image])
        rules = BoxRules(score_threshold, nms_threshold, nms_per_class, max_boxes)
        found = list(Sam3(model, clip).find(image, names, rules))
        masks = [torch.from_numpy(one.masks.astype(np.float32)) for one in found if one.detections]
        boxes = box_formats.to_wire([one.detections for one in found])
        return io.NodeOutput(torch.cat(masks) if masks else nothing, boxes)
