"""Masks from boxes and points through SAM 2, and their repair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from ..imaging import masks as mask_ops
from ..models import sam2_models
from ..models.queries import MaskPrompt, Point, of_boxes, parse_points
from ..wires import boxes as wire
from ..wires.batches import each
from ..wires.inputs import side_share_input
from ..wires.sockets import Sam2
from ..wires.tensors import batch_size, item, marked, masks_of, to_bytes

INDIVIDUAL, UNITED = "individual", "united"


class LoadSam2(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsLoadSam2",
            display_name="Load SAM2",
            category="editpairs",
            description="Loads a SAM 2 or 2.1 model, which cuts out what a box or a point shows. Hub-format folders need no further package, original checkpoints need sam2.",
            search_aliases=["segment anything", "sam2 loader", "sam 2.1", "mask model"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=sam2_models.choices(),
                    tooltip="A hub-format folder (with config.json) or an original .pt or .safetensors checkpoint in models/sam2 or models/sams. ImgEdit uses SAM 2.1 hiera-large.",
                )
            ],
            outputs=[Sam2.Output("sam2", tooltip="For Segment Boxes (SAM2).")],
        )

    @classmethod
    def execute(cls, model: str) -> io.NodeOutput:
        return io.NodeOutput(sam2_models.load(model))


class SegmentBoxesSam2(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsSegmentBoxesSam2",
            display_name="Segment Boxes (SAM2)",
            category="editpairs",
            description="Cuts out what each box shows. All boxes of an image go through SAM in one call; an image without boxes gets an empty mask.",
            search_aliases=["segment anything", "box to mask", "sam2", "detection to mask", "cut out"],
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of them."),
                Sam2.Input("sam2", tooltip="From Load SAM2."),
                io.BoundingBox.Input(
                    "boxes",
                    force_input=True,
                    optional=True,
                    tooltip="A list of boxes per image, in pixels. Without any, the points mark one object.",
                ),
                io.Combo.Input(
                    "masks",
                    options=[INDIVIDUAL, UNITED],
                    default=INDIVIDUAL,
                    tooltip="individual: a mask per box, in the boxes' order over the batch. united: one mask per image.",
                ),
                io.Boolean.Input(
                    "multimask",
                    default=False,
                    tooltip="SAM drafts three masks and the one with the highest predicted IoU is taken: better for points and loose boxes. Off in ImgEdit's repository.",
                ),
                io.String.Input(
                    "positive_points",
                    force_input=True,
                    optional=True,
                    tooltip='Points on the object, as JSON [{"x": 10, "y": 20}] in pixels. Each box takes those that lie in it.',
                ),
                io.String.Input(
                    "negative_points",
                    force_input=True,
                    optional=True,
                    tooltip="Points beside the object, in the same form.",
                ),
            ],
            outputs=[
                io.Mask.Output("masks", tooltip="1 on the object. All zero where there is no box."),
                io.BoundingBox.Output(
                    "boxes",
                    tooltip="The boxes with SAM's predicted IoU in metadata.sam_iou, which is not a detector's score.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        sam2: sam2_models.Segmenter,
        masks: str,
        multimask: bool,
        boxes: Any = None,
        positive_points: str | None = None,
        negative_points: str | None = None,
    ) -> io.NodeOutput:
        frames = wire.frames([[]] if boxes is None else boxes) or [[]]
        points = parse_points(positive_points, True) + parse_points(negative_points, False)
        found, passed = [], []
        for index in each(range(batch_size(image=image, boxes=frames))):
            pixels = to_bytes(item(image, index))
            cut, kept = _segment(sam2, pixels, item(frames, index), points, multimask)
            found.append(cut if masks == INDIVIDUAL else cut.any(axis=0, keepdims=True))
            passed.append(kept)
        result = np.concatenate(found) if found else np.zeros((0, *image.shape[1:3]), dtype=bool)
        if not len(result):
            result = np.zeros((1, *image.shape[1:3]), dtype=bool)
        return io.NodeOutput(torch.from_numpy(result.astype(np.float32)), passed)


class RefineMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsRefineMask",
            display_name="Refine Mask",
            category="editpairs",
            description="Repairs a mask: fills holes, drops islands, widens it to its hull or box, grows or shrinks it, softens its edge, in this order. At the photo's border the mask stays closed.",
            search_aliases=[
                "grow mask",
                "shrink mask",
                "feather mask",
                "fill holes",
                "despeckle",
                "mask cleanup",
                "convex hull",
                "bounding box mask",
            ],
            inputs=[
                io.Mask.Input("mask", tooltip="The masks; every value above 0 counts."),
                io.Float.Input(
                    "fill_holes",
                    default=5.0,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    tooltip="Fills holes up to this many per cent of the mask's area. Larger ones, such as a handle's, belong to the shape. Ours.",
                ),
                io.Float.Input(
                    "drop_islands",
                    default=1.0,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    tooltip="Drops separate parts under this many per cent of the mask's area; the largest stays. Ours.",
                ),
                io.Float.Input(
                    "grow",
                    default=0.0,
                    min=-20.0,
                    max=20.0,
                    step=0.1,
                    tooltip="Grows the mask, in per cent of the photo's shorter side; a negative number shrinks it.",
                ),
                side_share_input(
                    "feather",
                    0.0,
                    "Softens the edge over this many per cent of the shorter side, inwards and outwards. Our other nodes count every value above 0, so it grows the mask for them.",
                ),
                io.Combo.Input(
                    "shape",
                    options=list(mask_ops.SHAPES),
                    default="as it is",
                    optional=True,
                    tooltip="hull: the outline's dents are filled; box: all of its box. Before it grows. What is painted into a tight silhouette takes on the old thing's outline.",
                ),
            ],
            outputs=[io.Mask.Output("mask", tooltip="The repaired masks, as many as came.")],
        )

    @classmethod
    def execute(
        cls,
        mask: torch.Tensor,
        fill_holes: float,
        drop_islands: float,
        grow: float,
        feather: float,
        shape: mask_ops.Shape = "as it is",
    ) -> io.NodeOutput:
        results = []
        for one in each(list(masks_of(mask))):
            height, width = one.shape
            per_cent = min(height, width) / 100
            found = mask_ops.fill_holes(marked(one, height, width), fill_holes / 100)
            found = mask_ops.drop_islands(found, drop_islands / 100)
            found = mask_ops.widened(found, shape)
            found = mask_ops.resize(found, round(grow * per_cent))
            results.append(torch.from_numpy(mask_ops.feather(found, round(feather * per_cent))))
        return io.NodeOutput(torch.stack(results) if results else masks_of(mask))


def _segment(
    sam2: sam2_models.Segmenter,
    pixels: np.ndarray,
    boxes: Sequence[dict[str, Any]],
    points: tuple[Point, ...],
    multimask: bool,
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The masks of one image, bool [N, H, W], and its N boxes with SAM's score."""
    height, width = pixels.shape[:2]
    if not boxes:
        return _by_points(sam2, pixels, points, multimask)
    prompts = of_boxes([wire.corners(box) for box in boxes], points, width, height)
    asked = [number for number, prompt in enumerate(prompts) if prompt is not None]
    cutouts = sam2.segment(pixels, [prompt for prompt in prompts if prompt is not None], multimask)
    masks = np.zeros((len(boxes), height, width), dtype=bool)
    masks[asked] = cutouts.masks
    scores = dict(zip(asked, cutouts.sam_iou.tolist(), strict=True))
    return masks, [wire.with_metadata(box, sam_iou=scores.get(number)) for number, box in enumerate(boxes)]


def _by_points(
    sam2: sam2_models.Segmenter, pixels: np.ndarray, points: tuple[Point, ...], multimask: bool
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The one object that points mark, and its box; nothing where no point lies on an object."""
    if not any(on_object for _, _, on_object in points):
        return np.zeros((0, *pixels.shape[:2]), dtype=bool), []
    cutouts = sam2.segment(pixels, [MaskPrompt(points=points)], multimask)
    if not cutouts.masks.any():
        return np.zeros((0, *pixels.shape[:2]), dtype=bool), []
    return cutouts.masks, [wire.with_metadata(wire.of_mask(cutouts.masks[0]), sam_iou=float(cutouts.sam_iou[0]))]
