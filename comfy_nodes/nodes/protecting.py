"""Protect Subjects: a background's mask without what stands in front of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from comfy_api.latest import io

from .. import classical
from ..core import rle
from ..core.annotation import Region
from ..core.records import SampleFailure
from ..placements import per_cent
from ..sockets import EditSample, Sample
from ..tensors import marked, masks_of, to_mask

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
                io.Float.Input(
                    "grow",
                    default=GROW,
                    min=0.0,
                    max=20.0,
                    step=0.1,
                    tooltip="Grows the subjects first, in per cent of the photo's shorter side.",
                ),
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
        kept = classical.grow(kept, per_cent(grow, height, width))
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
