"""Where crops came from: what travels from a node that crops to the one that stitches back, and to and from its arrays.

Floats stay floats on this way: what an edit leaves alone keeps its number, not only its 8-bit level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from comfy_api.latest import io

from .crops import Crop

CropPlace = io.Custom("EDITPAIRS_CROP")
"""Carries a list of `Placement`, one for each crop of a batch."""


@dataclass(frozen=True)
class Placement:
    """One crop's photo, and what may change in it."""

    photo: np.ndarray
    """float32 [H, W, 3], 0 to 1."""
    crop: Crop
    edit_mask: np.ndarray
    """bool [H, W]: where pixels may differ."""
    blend: int
    """Width of the soft edge inside of the edit mask, in pixels of the photo."""


def picture(image: torch.Tensor) -> np.ndarray:
    """float32 [H, W, 3] of one image [H, W, C]."""
    return np.ascontiguousarray(image[..., :3].float().cpu().numpy())


def pictures(images: torch.Tensor) -> list[np.ndarray]:
    """float32 [H, W, 3] of each image of a batch."""
    return [picture(one) for one in images]


def per_cent(shares: float, height: int, width: int) -> int:
    """Pixels of so many per cent of a photo's shorter side."""
    return round(min(height, width) * shares / 100)
