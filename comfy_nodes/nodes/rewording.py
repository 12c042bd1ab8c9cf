"""Reword for Crop: what an editor that follows commands is told where it sees a crop."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ..core.instructions import cropped
from ..core.instructions.checks import Unfit
from ..core.instructions.instructions import Step
from ..core.instructions.scenes import Scene
from ..core.records import SampleFailure
from ..edit_samples.written import by_the_user, node_name, step_of, written
from ..wires.sockets import CropPlace, EditSample, Placement, Sample

APART = (
    "nobody took the instruction apart into what is done to each thing, and this graph edits one after the other: have the "
    "write stage write it, or take a graph whose editor sees the whole photo, such as instruct"
)


class RewordForCrop(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsRewordForCrop",
            display_name="Reword for Crop",
            category="editpairs",
            description="Says a command anew for an editor that follows instructions and sees a crop: where its thing is in the crop, and how the edit is to sit in the photo.",
            search_aliases=["crop prompt", "edit instruction", "rewrite prompt", "klein", "kontext"],
            inputs=[
                Sample.Input("sample", tooltip="From Take Edit Step."),
                CropPlace.Input("place", tooltip="From Crop Around Mask: what the editor sees."),
                io.Int.Input("step", default=1, min=1, max=3, tooltip="Which operation, counted from 1."),
            ],
            outputs=[
                io.String.Output("prompt", tooltip="The command, for the text encoder. add: the thing's removal."),
                Sample.Output("sample", tooltip="The sample with what the editor is told, or with the reason why nothing can be said. For Save Edit Pair."),
            ],
            hidden=[io.Hidden.unique_id],
        )  # fmt: skip

    @classmethod
    def execute(cls, sample: EditSample, place: list[Placement], step: int) -> io.NodeOutput:
        if sample.failure:
            return io.NodeOutput("", sample)
        taken, region = step_of(sample, step)
        name = node_name("EditPairsRewordForCrop", cls)
        if taken.op == "hybrid":
            return io.NodeOutput("", _failed(sample, "NotTakenApart", APART, name))
        if region is None:
            raise ValueError(f"{taken.op} edits the whole photo, and a crop is made around a region")
        crop = place[0].crop
        seen = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
        scene = Scene(*sample.size, sample.regions, sample.others)
        try:
            told = cropped.command(taken, region, scene, seen)
        except Unfit as why:
            return io.NodeOutput("", _failed(sample, "NoCommand", str(why), name))
        return io.NodeOutput(told, _told(sample, step, replace(taken, editor_prompt=told)))


def _failed(sample: EditSample, kind: str, why: str, name: str) -> EditSample:
    return replace(sample, failure=SampleFailure("edit", kind, why, name, skipped=kind == "NotTakenApart"))


def _told(sample: EditSample, number: int, taken: Step) -> EditSample:
    """The sample whose record says what the editor was told."""
    sample = by_the_user(sample)
    writing = sample.writing
    assert writing is not None
    steps = [*writing.steps[: number - 1], taken, *writing.steps[number:]]
    told = " ".join(one.editor_prompt for one in steps)
    return written(sample, [replace(writing, steps=tuple(steps), editor_prompt=told), *sample.writings[1:]])
