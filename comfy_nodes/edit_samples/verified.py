"""Edits on their way through verifiers: what was said of them before, and where their sample's regions lie in them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..core.boxes import Box
from ..core.records import PROMPTS
from ..core.regions.annotation import Region
from ..core.verdicts.verdicts import Scores
from ..wires.sockets import EditSample
from ..wires.tensors import batch_size, item
from .fitted import same_shape


def said_before(source: torch.Tensor, edited: torch.Tensor, scores: Sequence[Scores] | None) -> list[Scores | None]:
    """What earlier verifiers found of each edit; None of each where nothing came.

    Args:
        source, edited: IMAGE [B, H, W, C].

    Raises:
        ValueError: batches of different sizes.
    """
    count = batch_size(source=source, edited=edited, scores=scores or None)
    return [item(scores, number) if scores else None for number in range(count)]


def without_edit(sample: EditSample) -> Scores:
    """What a verifier says of a sample that failed before there was an edit."""
    assert sample.failure
    return Scores({}, "unscored", f"there is no edit: {sample.failure.message}")


def in_other_language(sample: EditSample) -> str:
    """The sample's instruction in the other one of English and Chinese; empty where nobody wrote it in both."""
    if sample.writing is not None:
        return sample.writing.other if sample.writing.instruction == sample.instruction else ""
    english, chinese = ((sample.carried or {}).get(name) for name in PROMPTS.values())
    said = {english: chinese, chinese: english}
    return str(said.get(sample.instruction) or "")


def one_frame(sample: EditSample, source: torch.Tensor, edited: torch.Tensor) -> tuple[int, int]:
    """(width, height) in pixels of both pictures, which show what the sample's photo shows.

    Args:
        source, edited: IMAGE [B, H, W, C].

    Raises:
        ValueError: their sizes differ, or their shape is not the photo's.
    """
    height, width = edited.shape[1:3]
    if source.shape[1:3] != edited.shape[1:3] or not same_shape(sample.size, (width, height)):
        raise ValueError(
            f"the sample's photo is {sample.size[0]} x {sample.size[1]}, source {source.shape[2]} x {source.shape[1]}, "
            f"edited {width} x {height}: the region says nothing of another frame; wire both in one size and the photo's shape"
        )
    return width, height


def placed(region: Region, sample: EditSample, width: int, height: int) -> Box:
    """The region's box in pictures of width x height pixels."""
    across, down = width / sample.size[0], height / sample.size[1]
    x1, y1, x2, y2 = region.bbox
    return (x1 * across, y1 * down, x2 * across, y2 * down)
