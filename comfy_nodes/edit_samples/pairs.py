"""An edit as verifiers and judges are shown it, made of what a node gets. No question is asked here."""

from __future__ import annotations

import torch

from ..core.instructions.checks import language_of
from ..vlm.questions.edited_pair import EditedPair, difference_picture
from ..wires.sockets import EditSample
from ..wires.tensors import item, to_bytes
from .verified import in_other_language


def pair_of(
    sample: EditSample, source: torch.Tensor, edited: torch.Tensor, instruction: str, number: int, difference: bool
) -> EditedPair:
    """One edit as the model is shown it. Of several instructions, a line each, an edit gets its own.

    Raises:
        ValueError: there is no instruction.
    """
    words, language = sample.instruction, sample.writing.lang if sample.writing else None
    if instruction.strip():
        lines = instruction.split("\n")
        count = max(source.shape[0], edited.shape[0])
        own = lines[number] if count > 1 and len(lines) == count else instruction
        if own.strip():
            words, language = own, None
    if not words.strip():
        raise ValueError("the edit has no instruction to be held against: wire a writer's sample, or type one in")
    before, after = to_bytes(item(source, number)), to_bytes(item(edited, number))
    reference = sample.images.get("reference")
    return EditedPair(
        before,
        after,
        words,
        language or language_of(words),
        sample.seed + number,
        None if reference is None else to_bytes(reference[0]),
        difference_picture(before, after) if difference else None,
        other=in_other_language(sample) if words == sample.instruction else "",
    )
