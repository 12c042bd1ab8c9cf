"""Choose Edit by Operation: of a graph with a branch for each operation, the one that a turn asks for. No other is run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io

from ..core.branches import BRANCHES, CHOOSER, inputs_for
from ..core.records import SampleFailure
from ..edit_samples.written import node_name
from ..wires.sockets import EditSample, Sample

WAYS = {"erased": "the thing is gone", "replaced": "another thing is in its place", "altered": "it looks otherwise"}
"""The branches, and what each one's picture shows."""


class ChooseOperation(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsChooseOperation",
            display_name="Choose Edit by Operation",
            category="editpairs",
            description="Gives the edit of the branch that the sample's operation needs, with the pictures before and after in their order. No other branch is run.",
            search_aliases=["switch by task", "lazy switch", "multi-turn", "branch per operation", "route edit"],
            inputs=[
                Sample.Input("sample", tooltip="A sample of one operation, such as Take Turn's: add, remove, replace or alter."),
                io.Image.Input("image", tooltip="The picture that the branches begin with."),
                *(one for way, shown in WAYS.items() for one in _branch(way, shown)),
            ],
            outputs=[
                Sample.Output("sample", tooltip="The branch's sample, or with the reason why there is no edit. For Save Edit Pair."),
                io.Image.Output("source", tooltip="The picture before: image, or for add the one without the thing. Wire it to Save Edit Pair's source."),
                io.Image.Output("edited", tooltip="The picture after."),
                io.Mask.Output("edit_mask", tooltip="Where they may differ."),
            ],
            hidden=[io.Hidden.unique_id],
        )  # fmt: skip

    @classmethod
    def check_lazy_status(cls, sample: EditSample, image: object = None, **inputs: Any) -> list[str]:
        """The inputs of the chosen branch that are still to be computed: its sample first, and of one that failed nothing
        else. ComfyUI leaves out an input that nothing is wired to, and gives None for one that is not computed yet."""
        names = inputs_for(sample.task)
        if sample.failure or not names or any(name not in inputs for name in names[1:]):
            return []
        of_branch = inputs.get(names[0], sample)
        if of_branch is None:
            return [names[0]]
        return [] if of_branch.failure else [name for name in names[1:] if inputs[name] is None]

    @classmethod
    def execute(cls, sample: EditSample, image: torch.Tensor, **inputs: Any) -> io.NodeOutput:
        names = inputs_for(sample.task)
        made, mask = (inputs.get(name) for name in names[1:] or ("", ""))
        chosen: EditSample = (inputs.get(names[0]) if names else None) or sample
        if not chosen.failure and (made is None or mask is None):
            why = (
                f"this graph has no branch for {sample.task!r}: wire {names[1]} and {names[2]}"
                if names
                else f"no branch makes {sample.task!r}; the operations are {', '.join(BRANCHES)}"
            )
            failure = SampleFailure("edit", "NoBranch", why, node_name(CHOOSER, cls))
            chosen = replace(chosen, failure=failure)
        if chosen.failure:
            return io.NodeOutput(chosen, image, image, torch.zeros(image.shape[:3]))
        before, after = (made, image) if sample.task == "add" else (image, made)
        return io.NodeOutput(chosen, before, after, mask)


def _branch(way: str, shown: str) -> list[io.Input]:
    return [
        Sample.Input(
            f"{way}_sample",
            optional=True,
            lazy=True,
            tooltip=f"The sample behind that branch's last node which gives one out, where {shown}. Without it, sample.",
        ),
        io.Image.Input(way, optional=True, lazy=True, tooltip=f"The branch's picture: {shown}."),
        io.Mask.Input(f"{way}_mask", optional=True, lazy=True, tooltip="Where it may differ from image."),
    ]
