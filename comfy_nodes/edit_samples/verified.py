"""Edits on their way through verifiers: what was said of them before."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..core.verdicts.verdicts import Scores
from ..wires.sockets import EditSample
from ..wires.tensors import batch_size, item


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
