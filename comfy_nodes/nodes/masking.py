"""Masks from boxes without weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io

from ..core.records import SampleFailure
from ..core.regions import rle
from ..core.regions.annotation import Region
from ..imaging import fill, opencv
from ..wires import boxes as wire
from ..wires.inputs import seed_input, side_share_input
from ..wires.sockets import EditSample, Sample
from ..wires.tensors import batch_size, item, marked, masks_of, per_cent, to_bytes, to_mask


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
                seed_input("Seeds the colour clustering; the same seed gives the same mask.", optional=True),
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
        frames = wire.frames(boxes) or [[]]
        known = masks_of(mask) if mask is not None else torch.zeros((1, 1, 1))
        count = batch_size(image=image, boxes=frames, mask=known)
        results = []
        for index in range(count):
            throw_exception_if_processing_interrupted()
            pixels = to_bytes(item(image, index))
            found = marked(item(known, index), *pixels.shape[:2])
            if not found.any():
                for box in item(frames, index):
                    found |= fill.segment_box(pixels, wire.corners(box), seed, iterations)
            results.append(to_mask(found))
        return io.NodeOutput(torch.cat(results))


_NOT_WIRED = object()
"""ComfyUI leaves out an input that nothing is wired to, and gives None for one that it has not computed yet."""


class PreferKnownMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsPreferKnownMask",
            display_name="Prefer Known Mask",
            category="editpairs",
            description="Passes on the mask that is known. Where it marks nothing it passes the other one, which is not even computed before.",
            search_aliases=["mask fallback", "first mask", "mask or box", "lazy mask"],
            inputs=[
                io.Mask.Input("mask", tooltip="The mask that is known, such as Load Edit Sample's."),
                io.Mask.Input(
                    "otherwise",
                    optional=True,
                    lazy=True,
                    tooltip="What is taken where that one marks nothing, such as SAM 2's. Its nodes run in that case only.",
                ),
            ],
            outputs=[io.Mask.Output("mask", tooltip="One of the two; all zero where neither marks anything.")],
        )

    @classmethod
    def check_lazy_status(cls, mask: torch.Tensor, otherwise: object = _NOT_WIRED) -> list[str]:
        return ["otherwise"] if otherwise is None and not _all_mark(mask) else []

    @classmethod
    def execute(cls, mask: torch.Tensor, otherwise: torch.Tensor | None = None) -> io.NodeOutput:
        if otherwise is None or _all_mark(mask):
            return io.NodeOutput(mask)
        known, other = masks_of(mask), masks_of(otherwise)
        count = batch_size(mask=known, otherwise=other)
        chosen = [
            item(known, index) if item(known, index).any() else item(other, index).to(known) for index in range(count)
        ]
        return io.NodeOutput(torch.stack(chosen))


def _all_mark(mask: torch.Tensor) -> bool:
    """Whether every mask of a batch marks something."""
    return all(bool(one.any()) for one in masks_of(mask))


GROW = 1.0
"""Per cent of the shorter side: masks of hair and fur end a little inside of them. Ours."""


class ProtectSubjects(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsProtectSubjects",
            display_name="Protect Subjects",
            category="editpairs",
            description="Takes the photo's objects out of a background's mask, so that they are not repainted with it. Fills no hole: a subject that its background encloses stays out.",
            search_aliases=["background mask", "subtract subjects", "mask difference", "keep foreground"],
            inputs=[
                Sample.Input("sample", tooltip="Its other regions are known from the annotation."),
                io.Mask.Input("mask", tooltip="The background's mask; every value above 0 counts."),
                side_share_input("grow", GROW, "Grows the subjects first, in per cent of the photo's shorter side."),
                io.Mask.Input(
                    "subjects",
                    optional=True,
                    tooltip="Masks of further subjects, any number, such as what a segmenting node found.",
                ),
            ],
            outputs=[
                io.Mask.Output("mask", tooltip="The background without its subjects."),
                Sample.Output(
                    "sample", tooltip="The sample; it fails as data where nothing of the background is left."
                ),
                io.Mask.Output("subjects", tooltip="What is protected."),
            ],
        )

    @classmethod
    def execute(
        cls, sample: EditSample, mask: torch.Tensor, grow: float, subjects: torch.Tensor | None = None
    ) -> io.NodeOutput:
        width, height = sample.size
        background = np.any([marked(one, height, width) for one in masks_of(mask)], axis=0)
        kept = np.zeros((height, width), dtype=bool)
        for region in sample.others:
            if region.kind == "object":
                kept |= covered(region, height, width)
        for one in [] if subjects is None else masks_of(subjects):
            kept |= marked(one, height, width)
        kept = opencv.grow(kept, per_cent(grow, height, width))
        left = background & ~kept
        if not left.any() and not sample.failure:
            why = "its subjects cover the whole background: leave the photo out, or set grow lower"
            sample = replace(sample, failure=SampleFailure("edit", "NoBackground", why, skipped=True))
        return io.NodeOutput(to_mask(left), sample, to_mask(kept))


def covered(region: Region, height: int, width: int) -> np.ndarray:
    """bool [H, W]: what a region shows; its box where nobody segmented it."""
    if region.mask is not None:
        return rle.decode(region.mask)
    x1, y1, x2, y2 = region.bbox
    found = np.zeros((height, width), dtype=bool)
    found[max(0, int(y1)) : int(np.ceil(y2)), max(0, int(x1)) : int(np.ceil(x2))] = True
    return found
