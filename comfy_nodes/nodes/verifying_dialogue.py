"""Verify Dialogue: do a dialogue's pictures follow from one another, pixel by pixel?"""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..core.verdicts import dialogues
from ..core.verdicts.verdicts import shown
from ..edit_samples.verified import without_edit
from ..wires.sockets import EditSample, Sample, Scores
from ..wires.tensors import batch_size, item, marked, masks_of, to_bytes


class VerifyDialogue(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsVerifyDialogue",
            display_name="Verify Dialogue",
            category="editpairs",
            description="Compares a turn's pictures with the dialogue's first one: what no turn was about has to be there bit for bit, also where a turn goes back to an earlier version.",
            search_aliases=["multi-turn check", "untouched regions", "version backtracking", "bit identical", "content preservation"],
            has_intermediate_output=True,
            inputs=[
                Sample.Input("sample", tooltip="A turn's sample, of Take Turn or behind it."),
                io.Image.Input("start", tooltip="Take Turn's start: the picture that the dialogue began with."),
                io.Image.Input("edited", tooltip="The picture after the turn. A batch is compared one by one."),
                io.Mask.Input(
                    "edit_mask",
                    optional=True,
                    tooltip="Where the turn may change pixels. Without it, everywhere.",
                ),
            ],
            outputs=[Scores.Output("scores", tooltip="Numbers, verdict and reason, for Save Edit Pair.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, sample: EditSample, start: torch.Tensor, edited: torch.Tensor, edit_mask: torch.Tensor | None = None
    ) -> io.NodeOutput:
        if sample.failure:
            results = [without_edit(sample)]
            return io.NodeOutput(results, ui={"text": shown(results)})
        if sample.turn is None:
            raise ValueError("the sample is no turn of a dialogue: wire Take Turn's sample, or a node's behind it")
        masks = None if edit_mask is None else masks_of(edit_mask)
        first, source = to_bytes(start[0]), to_bytes(sample.source[0])
        results = []
        for index in range(batch_size(edited=edited, edit_mask=masks)):
            after = to_bytes(item(edited, index))
            mask = None if masks is None else marked(item(masks, index), *after.shape[:2])
            results.append(dialogues.follows(sample.turn, first, source, after, mask))
        return io.NodeOutput(results, ui={"text": shown(results)})
