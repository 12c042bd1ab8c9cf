"""Prefer Known Mask: the sample's own mask, or one that the graph segments where only a box is known."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..tensors import batch_size, item, masks_of

_NOT_WIRED = object()
"""ComfyUI leaves out an input that nothing is wired to, and gives None for one that it has not computed yet."""


class PreferKnownMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsPreferKnownMask",
            display_name="Prefer Known Mask",
            category="editpairs",
            description="Passes on the mask that is known. Where it marks nothing it passes the other one, which is not even computed before.",
            search_aliases=["mask fallback", "first mask", "mask or box", "lazy mask"],
            inputs=[
                io.Mask.Input("mask", tooltip="The mask that is known, such as Load Edit Sample's."),
                io.Mask.Input(
                    "otherwise",
                    optional=True,
                    lazy=True,
                    tooltip="What is taken where that one marks nothing, such as SAM 2's. Its nodes run in that case only.",
                ),
            ],
            outputs=[io.Mask.Output("mask", tooltip="One of the two; all zero where neither marks anything.")],
        )

    @classmethod
    def check_lazy_status(cls, mask: torch.Tensor, otherwise: object = _NOT_WIRED) -> list[str]:
        return ["otherwise"] if otherwise is None and not _all_mark(mask) else []

    @classmethod
    def execute(cls, mask: torch.Tensor, otherwise: torch.Tensor | None = None) -> io.NodeOutput:
        if otherwise is None or _all_mark(mask):
            return io.NodeOutput(mask)
        known, other = masks_of(mask), masks_of(otherwise)
        count = batch_size(mask=known.shape[0], otherwise=other.shape[0])
        chosen = [
            item(known, index) if item(known, index).any() else item(other, index).to(known) for index in range(count)
        ]
        return io.NodeOutput(torch.stack(chosen))


def _all_mark(mask: torch.Tensor) -> bool:
    """Whether every mask of a batch marks something."""
    return all(bool(one.any()) for one in masks_of(mask))
