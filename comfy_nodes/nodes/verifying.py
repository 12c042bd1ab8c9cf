"""Verifiers: was the edit made, and nothing else?"""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..core import pixels
from ..sockets import Scores
from ..tensors import batch_size, item, marked, masks_of, to_bytes


class VerifyPixels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsVerifyPixels",
            display_name="Verify Pixels",
            category="editpairs",
            description="Counts what changed inside and outside the edit mask. Rejects edits that changed nothing, and edits that changed something else.",
            search_aliases=["filter", "no-op detector", "quality check", "compare images", "difference"],
            has_intermediate_output=True,
            inputs=[
                io.Image.Input("source", tooltip="The photo before the edit."),
                io.Image.Input("edited", tooltip="The photo after it, of the same size."),
                io.Mask.Input(
                    "edit_mask", optional=True, tooltip="Where the edit was allowed. Without it, everywhere."
                ),
                io.Float.Input(
                    "min_changed",
                    default=pixels.MIN_CHANGED,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Least share of the mask that has to change; below it the edit counts as not made.",
                ),
                io.Int.Input(
                    "max_outside",
                    default=0,
                    min=0,
                    max=255,
                    tooltip="Largest difference outside the mask that is let pass, in levels of 0 to 255.",
                ),
                io.Int.Input(
                    "changed_levels",
                    default=pixels.CHANGED_LEVELS,
                    min=0,
                    max=254,
                    optional=True,
                    advanced=True,
                    tooltip="A pixel counts as changed when a colour channel differs by more than this many of 255 levels.",
                ),
            ],
            outputs=[Scores.Output("scores", tooltip="Numbers, verdict and reason, for Save Edit Pair.")],
        )

    @classmethod
    def execute(
        cls,
        source: torch.Tensor,
        edited: torch.Tensor,
        min_changed: float,
        max_outside: int,
        edit_mask: torch.Tensor | None = None,
        changed_levels: int = pixels.CHANGED_LEVELS,
    ) -> io.NodeOutput:
        masks = masks_of(edit_mask) if edit_mask is not None else None
        count = batch_size(source=source.shape[0], edited=edited.shape[0], edit_mask=1 if masks is None else len(masks))
        results = []
        for index in range(count):
            before, after = to_bytes(item(source, index)), to_bytes(item(edited, index))
            mask = None if masks is None else marked(item(masks, index), *before.shape[:2])
            change = pixels.measure(before, after, mask, changed_levels)
            results.append(pixels.judge(change, min_changed, max_outside))
        lines = [
            "\n".join(
                [f"{one.verdict}{': ' if one.reason else ''}{one.reason}"]
                + [f"{name.removeprefix('pixel.')} {value:.4g}" for name, value in one.values.items()]
            )
            for one in results
        ]
        return io.NodeOutput(results, ui={"text": lines})
