"""Regions from masks of nodes that know neither boxes nor names, such as core's Remove Background."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from ..wires import boxes as wire
from ..wires.inputs import share_input
from ..wires.tensors import batch_size, item, masks_of

SURE = 0.5
"""A soft mask's value from which on a pixel more likely belongs to it than not."""


class AddMaskRegion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsAddMaskRegion",
            display_name="Add Mask as Region",
            category="editpairs",
            description="Makes a named region of a mask, with box and score, and puts it behind those that were found before. An image whose mask marks nothing gets none.",
            search_aliases=["mask to box", "mask to bounding box", "join boxes", "background region", "name a mask"],
            inputs=[
                io.String.Input("name", default="background", tooltip="What the region is called."),
                share_input("above", SURE, "Values above this belong to the region. 0.5: what its maker takes to be more likely in it than not."),
                # Before `mask`, so that a bypassed node passes on these.
                io.BoundingBox.Input("boxes", force_input=True, optional=True, tooltip="Regions that were found before, a list per image."),
                io.Mask.Input("masks", optional=True, tooltip="Their masks, one for each box, in the same order over the batch."),
                io.Mask.Input("mask", optional=True, tooltip="One mask per image, soft or hard, such as Invert Mask behind core's Remove Background. Without it the others are passed on."),
            ],
            outputs=[
                io.BoundingBox.Output("boxes", tooltip="Those and the new one, whose score is its mask's mean value: how sure its maker is of it."),
                io.Mask.Output("masks", tooltip="A mask for each of these boxes, in the same order. One empty mask where there are none."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        name: str,
        above: float,
        boxes: Any = None,
        masks: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        frames = wire.frames([[]] if boxes is None else boxes) or [[]]
        if mask is None:
            return io.NodeOutput(frames, torch.zeros((1, 64, 64)) if masks is None else masks)  # as LoadImage's none
        soft = masks_of(mask)
        count = batch_size(mask=soft, boxes=frames)
        frames = frames * count if len(frames) == 1 else frames
        known = _masks_of_boxes(masks, frames, soft)
        found, cut = [], []
        for index, frame in enumerate(frames):
            own, known = known[: len(frame)], known[len(frame) :]
            new = _region(item(soft, index), name.strip(), above)
            found.append([*frame, *(box for box, _ in new)])
            cut += [*own, *(marked for _, marked in new)]
        return io.NodeOutput(found, torch.stack(cut) if cut else torch.zeros_like(soft[:1]))


def _masks_of_boxes(
    masks: torch.Tensor | None, frames: list[list[dict[str, Any]]], soft: torch.Tensor
) -> list[torch.Tensor]:
    """One mask for each box over all images.

    Raises:
        ValueError: another number of them, or another size.
    """
    total = sum(map(len, frames))
    given = [] if masks is None or not total else list(masks_of(masks))
    if len(given) != total:
        raise ValueError(f"{total} boxes, but {len(given)} masks: send the masks of these boxes, not united")
    if given and given[0].shape != soft.shape[1:]:
        raise ValueError("mask and masks are of different sizes: take both of the same photo")
    return [one.to(soft) for one in given]


def _region(soft: torch.Tensor, name: str, above: float) -> list[tuple[dict[str, Any], torch.Tensor]]:
    """The box, and the mask as 0 and 1 [H, W], of what lies above; nothing where nothing does."""
    marked = soft > above
    if not marked.any():
        return []
    box = wire.of_mask(np.asarray(marked.cpu()))
    score = float(soft[marked].float().clamp(0, 1).mean())
    return [({**box, "label": name, "score": score}, marked.to(soft))]
