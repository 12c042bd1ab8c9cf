"""Take Edit Step: one operation of an edit that has several, for the graph that carries it out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from comfy_api.latest import io

from ..core.instructions.instructions import Step
from ..core.instructions.scenes import Scene
from ..core.instructions.telling import commands, regions_about
from ..core.records import SampleFailure
from ..core.regions import rle
from ..core.regions.annotation import Region
from ..edit_samples.written import by_the_user, node_name, photo_of, step_of, written
from ..vlm import asking
from ..vlm.questions import observer
from ..wires import boxes
from ..wires.sockets import EditSample, Sample, Vlm
from ..wires.tensors import to_mask

FOLLOWS = "follows commands"
FILLS = "fills the region"
REPAINTS = "repaints the region"
"""What an editor does with a step: obeys its command; paints its target where nothing of the region is left; paints its
target over a region whose shape it is led by."""

ERASING = ("add", "remove")
"""Operations that leave the ground behind the thing to be seen: an added thing is erased from the photo."""

GROUND = "an empty place where nothing stands, the plain background simply goes on"
"""What is to be seen where a thing is erased and nobody described the ground behind it. Ours."""

STAYING = ("add", "remove", "replace", "alter", "background", "visual", "hybrid", "instruct", "verify")
"""Edits that keep to their region where an editor redraws the whole photo, too; an extracted or moved thing does not. An edit
of a kind that nobody told is taken to keep to the region that somebody marked."""


class TakeEditStep(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsTakeStep",
            display_name="Take Edit Step",
            category="editpairs",
            description="Gives out one operation of an edit: what is done to which region, and what an editor is told.",
            search_aliases=["hybrid edit", "nth operation", "edit operation", "second region", "inpaint prompt"],
            inputs=[
                Sample.Input("sample", tooltip="A sample with an instruction that a writer or you wrote."),
                io.Int.Input(
                    "step",
                    default=1,
                    min=0,
                    max=3,
                    tooltip="Which operation, counted from 1. 0: all of them in one, for an editor that follows instructions.",
                ),
                io.Combo.Input(
                    "editor",
                    options=[FOLLOWS, FILLS, REPAINTS],
                    default=FOLLOWS,
                    optional=True,
                    tooltip="Follows commands: told prompt. Fills (FLUX.1 Fill) and repaints (SDXL with edges): told target, so a sample fails where nobody knows it. One that fills cannot alter a thing, since nothing of it is left.",
                ),
                io.String.Input(
                    "ground",
                    default=GROUND,
                    multiline=True,
                    optional=True,
                    tooltip="target where a thing is erased and nobody described what is behind it.",
                ),
                Vlm.Input(
                    "vlm",
                    optional=True,
                    tooltip="Asked for the target where neither a writer nor the words of a plain command tell it, and where a sample without it would fail.",
                ),
            ],
            outputs=[
                io.String.Output("op", tooltip="What the row shows: add, remove, replace, alter, …"),
                io.Mask.Output("mask", tooltip="The step's region, of step 0 all of them; all zero where only a box is known, or the edit may reach everywhere."),
                io.BoundingBox.Output("boxes", tooltip="The region's box; an empty list where the whole photo is edited."),
                io.String.Output("class_name", tooltip="What the region shows."),
                io.String.Output("prompt", tooltip="A plain command that makes the picture after, for an editor that follows instructions. Empty where the photo is that picture."),
                io.String.Output("target", tooltip="What is to be seen there afterwards, for an editor that fills a region. Never a command; empty where nobody knows."),
                Sample.Output("sample", tooltip="The sample with what the editor is told, or with the reason why this editor cannot do it. For Save Edit Pair."),
                io.String.Output("removal", tooltip="A plain command that makes the picture before, where a writer's added thing is in the photo. Empty where the photo is the picture before."),
            ],
            hidden=[io.Hidden.unique_id],
        )  # fmt: skip

    @classmethod
    async def execute(
        cls,
        sample: EditSample,
        step: int,
        editor: str = FOLLOWS,
        ground: str = GROUND,
        vlm: asking.Vlm | None = None,
    ) -> io.NodeOutput:
        nothing = np.zeros(sample.size[::-1], dtype=bool)
        if sample.failure:
            return io.NodeOutput(sample.task, to_mask(nothing), [[]], "", "", "", sample, "")
        taken, region = step_of(sample, step)
        if taken.op in ERASING and not taken.target:
            taken = replace(taken, target=ground)
        done = sample
        if editor != FOLLOWS:
            taken, failure = await _told(cls, sample, taken, region, editor, vlm)
            done = replace(sample, failure=failure) if failure else _with(sample, step, taken)
        told = commands(sample.writing, step, sample.instruction)
        mask = _mask(sample, step) if step or taken.op in STAYING else nothing
        words = (taken.object, told.after, taken.target)
        return io.NodeOutput(taken.op, to_mask(mask), boxes.of_region(region), *words, done, told.before)


def _mask(sample: EditSample, number: int) -> np.ndarray:
    """bool [H, W]: the regions that an operation is about, as far as their masks are known. Of an edit that was made
    already, whose steps nobody knows any more, all of them."""
    regions = sample.regions
    made = sample.writing is None and sample.carried is not None
    about = range(len(regions)) if made and not number else regions_about(sample.writing, number, len(regions))
    masks = [regions[one].mask for one in about]
    nothing = np.zeros(sample.size[::-1], dtype=bool)
    united: np.ndarray = np.any([nothing, *(rle.decode(one) for one in masks if one)], axis=0)
    return united


async def _told(
    node: type[io.ComfyNode],
    sample: EditSample,
    step: Step,
    region: Region | None,
    editor: str,
    vlm: asking.Vlm | None,
) -> tuple[Step, SampleFailure | None]:
    """The step with a target for an editor that is told no command, or why there is none."""
    name = node_name("EditPairsTakeStep", node)
    if editor == FILLS and step.op == "alter":
        why = (
            f"an editor that fills the region sees nothing of {step.object or 'what is to be altered'} and would paint "
            "another one: take a graph whose editor is led by the photo, such as alter or instruct"
        )
        return step, SampleFailure("edit", "CannotAlter", why, name, skipped=True)
    if step.op == "hybrid":
        why = (
            "nobody took the instruction apart into what is done to each thing, and this editor edits one after the other: "
            "have the write stage write it, or take a graph whose editor follows instructions, such as instruct"
        )
        return step, SampleFailure("edit", "NotTakenApart", why, name, skipped=True)
    if step.target or vlm is None:
        why = (
            f"nothing says what is to be seen after {step.editor_prompt!r}, and this editor paints what it is told: say "
            "it plainly, such as 'Replace the cup with a vase.', have the write stage write it, or wire a vlm"
        )
        return step, None if step.target else SampleFailure("edit", "NoCaption", why, name)
    scene = Scene(*sample.size, (region,) if region else (), sample.others)
    gone = step.object if step.op == "replace" else ""
    found = await observer.result(vlm, photo_of(sample), scene, step.editor_prompt, gone, sample.seed)
    if isinstance(found, asking.Failure):
        return step, SampleFailure("edit", found.kind, found.message, name)
    return replace(step, target=found), None


def _with(sample: EditSample, number: int, taken: Step) -> EditSample:
    """The sample whose record says what the editor was told: targets in place of commands."""
    sample = by_the_user(sample)
    writing = sample.writing
    assert writing is not None
    steps = list(writing.steps or (taken,))
    steps[max(1, number) - 1] = taken
    told = "; ".join(one.target for one in steps if one.target)
    known = replace(writing, steps=tuple(steps), target=steps[0].target, editor_prompt=told)
    return written(sample, [known, *sample.writings[1:]])
