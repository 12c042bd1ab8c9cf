"""A batch of photos with the boxes and masks that belong to each: what nodes that take all three walk through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from comfy import model_management
from comfy.utils import ProgressBar

from .box_formats import Detection, from_wire
from .tensors import batch_size, item, marked, masks_of, to_bytes


@dataclass(frozen=True)
class PhotoRegions:
    """One photo of a batch."""

    pixels: np.ndarray
    """uint8 [H, W, 3]."""
    found: list[Detection]
    masks: list[np.ndarray] | None
    """bool [H, W] for each of `found`, where masks came for each box."""
    united: np.ndarray | None
    """bool [H, W], where masks came one for each photo."""


def photos_with_regions(image: torch.Tensor, boxes: Any, masks: torch.Tensor | None) -> Iterator[PhotoRegions]:
    """The photos of a batch in order, each with its own.

    Args:
        image: IMAGE [B, H, W, C]; a single one serves lists of boxes for several, and the other way round.
        boxes: BOUNDING_BOX.
        masks: MASK [N, H, W] with one for each box over all photos in order (taken first, where both fit), or one for
            each photo. Where there is no box at all, a single empty one is what segmenting nodes send.

    Raises:
        ValueError: counts or sizes that don't fit.
    """
    frames = from_wire(boxes) or [[]]
    count = batch_size(image=image, boxes=frames)
    frames = frames * count if len(frames) == 1 else frames
    total = sum(map(len, frames))
    given = None if masks is None else masks_of(masks)
    if given is not None and len(given) not in (total, count) and (total or given.any()):
        raise ValueError(
            f"{len(given)} masks for {total} boxes in {count} images: give one for each box, or one for each image"
        )
    start = 0
    for index in each(range(count)):
        pixels = to_bytes(item(image, index))
        height, width = pixels.shape[:2]
        found, own, united = frames[index], None, None
        if given is not None and len(given) == total:
            own = [marked(mask, height, width) for mask in given[start : start + len(found)]]
        elif given is not None and total:
            united = marked(given[index], height, width)
        start += len(found)
        yield PhotoRegions(pixels, found, own, united)


Item = TypeVar("Item")


def each(items: Iterable[Item], total: int | None = None) -> Iterator[Item]:
    """The items one by one, with ComfyUI's progress bar; ends with the user's cancel before the next item.

    Args:
        total: how many there are, where `items` has no length.

    Raises:
        comfy.model_management.InterruptProcessingException: the user cancelled. Let it pass.
    """
    if total is None and isinstance(items, Sequence):
        total = len(items)
    bar = ProgressBar(total) if total else None
    for one in items:
        model_management.throw_exception_if_processing_interrupted()
        yield one
        if bar:
            bar.update(1)
