"""Take Edit Step: one operation of an edit that has several, for the graph that carries it out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from comfy_api.latest import io

from .. import boxes
from ..core import rle
from ..core.annotation import Region
from ..core.instructions import Step
from ..sockets import EditSample, Sample
from ..tensors import to_mask


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
                io.String.Output("op", tooltip="add, remove, replace, alter, … An added thing is erased from the photo."),
                io.Mask.Output("mask", tooltip="The step's region; all zero where only a box is known, or the whole photo is edited."),
                io.BoundingBox.Output("boxes", tooltip="The region's box; an empty list where the whole photo is edited."),
                io.String.Output("class_name", tooltip="What the region shows."),
                io.String.Output("prompt", tooltip="The operation as a plain command, for an editor that follows instructions."),
                io.String.Output("target", tooltip="What is to be seen there afterwards, for an editor that fills a region."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, sample: EditSample, step: int) -> io.NodeOutput:
        taken, region = step_of(sample, step)
        mask = np.zeros(sample.size[::-1], dtype=bool)
        if region is not None and region.mask is not None:
            mask = rle.decode(region.mask)
        words = (taken.object, taken.editor_prompt, taken.target)
        return io.NodeOutput(taken.op, to_mask(mask), boxes.of_region(region), *words)


def step_of(sample: EditSample, number: int) -> tuple[Step, Region | None]:
    """An operation, counted from 1, and its region; None where it is about the whole photo.

    Number 0 is the whole edit as one operation of the sample's task, and so is an instruction that nobody took apart.
    Where nobody described what is to be seen afterwards, the command stands for it.

    Raises:
        ValueError: the edit has no such step.
    """
    writing = sample.writing
    steps = writing.steps if writing else ()
    if not steps or not number:
        name = (sample.region.class_name or "") if sample.region else ""
        op = steps[0].op if len(steps) == 1 else sample.task
        command = (writing.editor_prompt if writing else "") or sample.instruction
        target = (writing.target if writing else "") or command
        steps, number = (Step(op, name, 0 if sample.region else None, command, target),), max(1, number)
    if number > len(steps):
        raise ValueError(
            f"the edit has {len(steps)} step{'s' if len(steps) > 1 else ''}, and step {number} is asked for: "
            "have Write Instruction (VLM) write one for this task"
        )
    step = steps[number - 1]
    step = replace(step, target=step.target or step.editor_prompt)
    return step, sample.regions[step.region] if step.region is not None else None
