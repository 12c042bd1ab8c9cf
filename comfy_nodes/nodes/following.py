"""Follow Region: a thing's mask in the picture that earlier turns of a dialogue left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from comfy_api.latest import io

from ..core.regions.annotation import region_of_mask
from ..core.regions.following import is_the_same
from ..wires.sockets import EditSample, Sample
from ..wires.tensors import item, marked, masks_of, to_mask


class FollowRegion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsFollowRegion",
            display_name="Follow Region",
            category="editpairs",
            description="Gives the mask of what a turn is about: the known one, or, where earlier turns changed the thing, what a segmenter finds of it in the picture as they left it.",
            search_aliases=["re-ground", "track mask", "multi-turn mask", "carried mask", "mask after edit"],
            inputs=[
                Sample.Input("sample", tooltip="Take Turn's sample."),
                io.Mask.Input(
                    "mask", tooltip="Take Turn's mask: as the photo has it, with what earlier turns changed."
                ),
                io.Mask.Input(
                    "found",
                    optional=True,
                    lazy=True,
                    tooltip="What a segmenter such as Segment Boxes (SAM2) finds in Take Turn's image at its boxes. Its nodes run only where mask is empty, or earlier turns changed the thing.",
                ),
            ],
            outputs=[
                Sample.Output("sample", tooltip="The sample with that mask as its region's, and where it is from."),
                io.Mask.Output("mask", tooltip="Where the thing is; all zero where neither mask marks anything."),
            ],
        )

    @classmethod
    def check_lazy_status(cls, sample: EditSample, mask: torch.Tensor, **inputs: object) -> list[str]:
        """ComfyUI leaves out an input that nothing is wired to, and gives None for one that it has not computed yet."""
        wanted = not sample.failure and (_was_changed(sample) or not bool(mask.any()))
        return ["found"] if wanted and inputs.get("found", mask) is None else []

    @classmethod
    def execute(cls, sample: EditSample, mask: torch.Tensor, found: torch.Tensor | None = None) -> io.NodeOutput:
        width, height = sample.size
        known = marked(item(masks_of(mask), 0), height, width)
        if found is None or sample.failure or sample.region is None or not (_was_changed(sample) or not known.any()):
            return io.NodeOutput(sample, mask)
        seen = marked(item(masks_of(found), 0), height, width)
        if not seen.any() or (known.any() and not is_the_same(known, seen)):
            return io.NodeOutput(sample, mask)
        return io.NodeOutput(_at(sample, seen), to_mask(seen))


def _was_changed(sample: EditSample) -> bool:
    """Whether earlier turns left the thing otherwise than the photo shows it."""
    return sample.turn is not None and sample.turn.mask_from == "carried"


def _at(sample: EditSample, seen: np.ndarray) -> EditSample:
    """The sample with its thing where it was seen."""
    assert sample.region is not None
    place = region_of_mask(seen)
    region = sample.region.model_copy(update={"bbox": place.bbox, "mask": place.mask})
    turn = sample.turn
    if turn is not None and _was_changed(sample):
        turn = replace(turn, mask_from="regrounded")
    return replace(sample, region=region, turn=turn)
