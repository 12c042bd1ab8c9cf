"""DINOv2 (Oquab et al. 2023, arXiv 2304.07193) through transformers: pictures as vectors whose cosine says how alike they are.

It was trained on all kinds of photos without names, so it is no face recogniser: it sees a spoilt, blurred or swapped face,
and cannot tell an older portrait of somebody from one of a sibling.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import Dinov2Model, Dinov2WithRegistersModel

from ..wires.batches import each
from .checkpoints import CheckpointError, load_pretrained, model_type
from .managed import ManagedModule

SIDE = 224
"""Pixels: what DINOv2's own preprocessing cuts its pictures to."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue, 0 to 1, in ImageNet, as DINOv2 is fed."""

GROUND = (124, 116, 104)
"""MEAN in levels of 0 to 255: the colour that is nothing to the model."""

PICTURES_AT_ONCE = 16
"""Ours."""


class ImageEmbedder:
    """A DINOv2 in ComfyUI's memory manager."""

    def __init__(self, folder: Path) -> None:
        """Loads a hub-format folder.

        Raises:
            CheckpointError: the folder is broken, or holds something else.
        """
        kinds = {"dinov2": Dinov2Model, "dinov2_with_registers": Dinov2WithRegistersModel}
        found = model_type(folder)
        if found not in kinds:
            raise CheckpointError(
                f"{folder.name}: is a {found or 'folder of no known type'}, not one of {', '.join(kinds)}"
            )
        self.name = folder.name
        self._managed = ManagedModule(load_pretrained(kinds[found], folder), f"DINOv2 {folder.name}")
        self.patcher = self._managed.patcher
        """What ComfyUI's memory manager and output cache know the model by."""

    def embed(self, pictures: Sequence[np.ndarray]) -> torch.Tensor:
        """float32 [N, D] on the CPU, each row of length 1: the state of the class token.

        Args:
            pictures: uint8 [SIDE, SIDE, 3] each.
        """
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        rows = []
        with self._managed.on_device() as model:
            for start in each(range(0, len(pictures), PICTURES_AT_ONCE)):
                batch = torch.from_numpy(np.stack(pictures[start : start + PICTURES_AT_ONCE])).movedim(-1, -3)
                pixels = (batch.float().div(255) - mean) / deviation
                states = model(pixel_values=pixels.to(self._managed.device, self._managed.dtype)).last_hidden_state
                rows.append(functional.normalize(states[:, 0].float(), dim=-1).cpu())
        return torch.cat(rows)
