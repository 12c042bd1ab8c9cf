"""Take Edit Step: one operation of an edit that has several, for the graph that carries it out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from comfy_api.latest import io

from .. import boxes
from ..core import rle
from ..core.annotation import Region
from ..core.records import SampleFailure
from ..core.telling import Told, no_caption, told
from ..sockets import EditSample, Sample
from ..tensors import to_mask

STAYING = ("add", "remove", "replace", "alter", "background", "visual", "hybrid", "instruct")
"""Edits that keep to their region also where an editor redraws the whole photo."""


class TakeEditStep(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsTakeStep",
            display_name="Take Edit Step",
            category="editpairs",
            description="Gives out one operation of an edit: what is done to which region, and what an editor is told.",
            search_aliases=["hybrid edit", "nth operation", "edit operation", "second region"],
            inputs=[
                Sample.Input("sample", tooltip="A sample with an instruction that a writer or you wrote."),
                io.Int.Input(
                    "step",
                    default=1,
                    min=0,
                    max=3,
                    tooltip="Which operation, counted from 1. 0: all of them in one, for an editor that follows instructions.",
                ),
            ],
            outputs=[
                io.String.Output("op", tooltip="What the row shows: add, remove, replace, alter, …"),
                io.Mask.Output("mask", tooltip="The step's region, of step 0 all of them; all zero where only a box is known, or the edit may reach everywhere."),
                io.BoundingBox.Output("boxes", tooltip="The region's box; an empty list where the whole photo is edited."),
                io.String.Output("class_name", tooltip="What the region shows."),
                io.String.Output("prompt", tooltip="A plain command that makes the picture after, for an editor that follows instructions. Empty where the photo is that picture."),
                io.String.Output("target", tooltip="What is to be seen there afterwards, for a model that paints from a caption. A typed instruction's result is read from its words."),
                io.String.Output("removal", tooltip="A plain command that makes the picture before: an added thing is taken from the photo. Empty where the photo is that picture."),
                Sample.Output("sample", tooltip="For Save Edit Pair where target is used: it fails with the reason where nothing says what is to be seen afterwards."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, sample: EditSample, step: int) -> io.NodeOutput:
        taken, regions = step_of(sample, step)
        mask = np.zeros(sample.size[::-1], dtype=bool)
        if step or taken.op in STAYING:
            for known in (region.mask for region in regions if region.mask):
                mask |= rle.decode(known)
        found = boxes.of_region(regions[0] if regions else None)
        words = (taken.object, taken.command, taken.target, taken.removal)
        return io.NodeOutput(taken.op, to_mask(mask), found, *words, painted_from(sample, taken))


def step_of(sample: EditSample, number: int) -> tuple[Told, tuple[Region, ...]]:
    """An operation, counted from 1, and its region, none where it is about the whole photo. Number 0 is the whole edit
    in one, with all regions that its steps name.

    Raises:
        ValueError: the edit has no such step.
    """
    regions = sample.regions
    thing = (regions[0].class_name or "") if regions else ""
    found, about = told(sample.writing, number, sample.task, sample.instruction, thing, len(regions))
    return found, tuple(regions[one] for one in about)


def painted_from(sample: EditSample, step: Told) -> EditSample:
    """The sample for a model that paints from a caption: failed, with the reason, where there is none."""
    if sample.failure or step.target:
        return sample
    return replace(sample, failure=SampleFailure("edit", "NoCaption", no_caption(step)))
