"""Verifiers: was the edit made, and nothing else?"""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io

from ..core.instructions.checks import language_of
from ..core.instructions.operations import operation_of
from ..core.tasks import TASKS
from ..core.taxonomy import TAXONOMY
from ..core.verdicts import pixel_limits, pixels
from ..wires import boxes
from ..wires.inputs import share_input
from ..wires.sockets import EditSample, Sample, Scores
from ..wires.tensors import batch_size, item, marked, masks_of, to_bytes, to_mask


class VerifyPixels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsVerifyPixels",
            display_name="Verify Pixels",
            category="editpairs",
            description="Finds what an edit changed, re-encoding, small shifts and colour drift apart. Rejects edits that changed nothing, and edits that changed something else.",
            search_aliases=[
                "filter",
                "no-op detector",
                "quality check",
                "compare images",
                "difference",
                "shift",
                "colour drift",
            ],
            has_intermediate_output=True,
            inputs=[
                io.Image.Input("source", tooltip="The photo before the edit."),
                io.Image.Input("edited", tooltip="The photo after it, of the same size."),
                io.Mask.Input(
                    "edit_mask",
                    optional=True,
                    tooltip="Where pixels may differ at all, for editors that put the rest back. Without it, everywhere.",
                ),
                share_input(
                    "min_changed",
                    pixel_limits.MIN_CHANGED,
                    "Least share of the region (or else of the mask) that has to change; below it the edit counts as not made.",
                ),
                io.Int.Input(
                    "max_outside",
                    default=0,
                    min=0,
                    max=255,
                    tooltip="Largest difference outside the mask that is let pass, in levels of 0 to 255. Only with a mask.",
                ),
                io.Int.Input(
                    "changed_levels",
                    default=pixel_limits.CHANGED_LEVELS,
                    min=0,
                    max=254,
                    optional=True,
                    advanced=True,
                    tooltip="A pixel counts as changed when a colour channel differs by more than this many of 255 levels.",
                ),
                io.Mask.Input(
                    "region_mask",
                    optional=True,
                    tooltip="Where the edit was meant, for editors that redraw the whole picture: it has to be there, whole, and nowhere else. All zero, as from a sample without a region, says nothing.",
                ),
                share_input(
                    "min_covered",
                    pixel_limits.MIN_COVERED,
                    "Least share of region_mask that a finished edit changes; below it the edit counts as half done.",
                    optional=True,
                    advanced=True,
                ),
                share_input(
                    "max_extra",
                    pixel_limits.MAX_EXTRA,
                    "Largest share of the picture that may change beyond region_mask and its margin.",
                    step=0.001,
                    optional=True,
                    advanced=True,
                ),
                share_input(
                    "min_total",
                    0.0,
                    "Least share of the whole picture that has to change. Raise it where all of it should, as for another style.",
                    optional=True,
                    advanced=True,
                ),
                share_input(
                    "max_shadow",
                    pixel_limits.MAX_SHADOW,
                    "Largest share of the picture that a shadow or a reflection may take along, where it joins the edit beside or below the lower half of region_mask.",
                    step=0.001,
                    optional=True,
                    advanced=True,
                ),
                Sample.Input(
                    "sample",
                    optional=True,
                    tooltip="The sample with its instruction: its kind of edit decides how much of region_mask has to change, whether a shadow may, and whether the whole picture's colours may.",
                ),
            ],
            outputs=[
                Scores.Output("scores", tooltip="Numbers, verdict and reason, for Save Edit Pair."),
                io.Mask.Output("changed_mask", tooltip="What changed, flicker apart."),
                io.BoundingBox.Output("changed_box", tooltip="The box around it; no box where nothing changed."),
            ],
        )

    @classmethod
    def execute(
        cls,
        source: torch.Tensor,
        edited: torch.Tensor,
        min_changed: float,
        max_outside: int,
        edit_mask: torch.Tensor | None = None,
        changed_levels: int = pixel_limits.CHANGED_LEVELS,
        region_mask: torch.Tensor | None = None,
        min_covered: float = pixel_limits.MIN_COVERED,
        max_extra: float = pixel_limits.MAX_EXTRA,
        min_total: float = 0.0,
        max_shadow: float = pixel_limits.MAX_SHADOW,
        sample: EditSample | None = None,
    ) -> io.NodeOutput:
        limits = pixel_limits.Limits(
            min_changed, max_outside, changed_levels, min_covered, max_extra, min_total, max_shadow
        )
        if sample is not None:
            limits = pixel_limits.for_kind(limits, *_kind(sample))
        edit_masks = None if edit_mask is None else masks_of(edit_mask)
        regions = None if region_mask is None else masks_of(region_mask)
        count = batch_size(source=source, edited=edited, edit_mask=edit_masks, region_mask=regions)
        results, found = [], []
        for index in range(count):
            before, after = to_bytes(item(source, index)), to_bytes(item(edited, index))
            size = before.shape[:2]
            scores, changed = pixels.verify(
                before,
                after,
                None if edit_masks is None else marked(item(edit_masks, index), *size),
                None if regions is None else _said(marked(item(regions, index), *size)),
                limits,
            )
            results.append(scores)
            found.append(changed)
        lines = [
            "\n".join(
                [f"{one.verdict}{': ' if one.reason else ''}{one.reason}"]
                + [f"{name.removeprefix('pixel.')} {value:.4g}" for name, value in one.values.items()]
            )
            for one in results
        ]
        return io.NodeOutput(
            results,
            torch.cat([to_mask(one) for one in found]),
            [[boxes.of_mask(one)] if one.any() else [] for one in found],
            ui={"text": lines},
        )


def _kind(sample: EditSample) -> tuple[str, str]:
    """Task and subtask of a sample. Where an instruction alone says what is asked for, its words say the task."""
    if sample.task in TASKS or sample.provenance.subtask in TAXONOMY:
        return sample.task, sample.provenance.subtask
    return operation_of(sample.instruction, language_of(sample.instruction)), ""


def _said(region: np.ndarray) -> np.ndarray | None:
    """A region's mask; None where it marks nothing, as that of a sample without a region."""
    return region if region.any() else None
