"""What the nodes of edits without weights take and give."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io

from ..wires import inputs
from ..wires.sockets import EditSample, Sample
from ..wires.tensors import marked, masks_of, to_image, to_mask
from . import edits
from .edits import Outcome


def sample_input() -> io.Input:
    return Sample.Input("sample", tooltip="What Load Edit Sample gave out. Its photo is edited.")


def mask_input() -> io.Input:
    return io.Mask.Input("mask", tooltip="The region's mask, of the photo's size; every value above 0 counts.")


def language_input() -> io.Input:
    return inputs.language_input("Language of the instruction. The region's name has to be in it.", optional=True)


def outputs(masked: bool = True) -> list[io.Output]:
    given: list[io.Output] = [
        Sample.Output(
            "sample", tooltip="The sample with the new instruction, or with the reason why there is no edit."
        ),
        io.Image.Output("image", tooltip="The edited photo."),
        io.Mask.Output("edit_mask", tooltip="Where pixels may differ; everywhere else the photo is as it was."),
        io.String.Output("instruction", tooltip="What was done, in words. Wire it to Save Edit Pair."),
    ]
    return [one for one in given if masked or not isinstance(one, io.Mask.Output)]


def mask_for(sample: EditSample, mask: torch.Tensor) -> np.ndarray:
    """bool [H, W] of the first mask; LoadImage's empty one means that there is none."""
    width, height = sample.size
    return edits.large_enough(marked(masks_of(mask)[0], height, width), region_name(sample))


def region_name(sample: EditSample) -> str:
    return (sample.region.class_name if sample.region else None) or "region"


def given(outcome: Outcome) -> io.NodeOutput:
    return io.NodeOutput(outcome.sample, to_image(outcome.after), to_mask(outcome.changed), outcome.instruction)
