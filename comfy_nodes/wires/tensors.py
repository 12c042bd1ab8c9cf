"""Between ComfyUI's float tensors and 8-bit arrays, without moving a single pixel's value."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import TypeVar, overload

import numpy as np
import torch

Element = TypeVar("Element")


def to_bytes(image: torch.Tensor) -> np.ndarray:
    """uint8 [H, W, 3] of one image [H, W, C], float 0 to 1. Rounds, so that 8-bit sources survive exactly."""
    return (image[..., :3].float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def to_image(pixels: np.ndarray) -> torch.Tensor:
    """IMAGE [1, H, W, 3], float 0 to 1, of uint8 [H, W, 3]."""
    # Writable, or torch warns of it; Pillow's arrays are not.
    writable = np.require(pixels, requirements=("C", "W"))
    return torch.from_numpy(writable).float().div(255).unsqueeze(0)


def to_mask(marked: np.ndarray) -> torch.Tensor:
    """MASK [1, H, W] of bool [H, W]."""
    return torch.from_numpy(np.ascontiguousarray(marked, dtype=np.float32)).unsqueeze(0)


def marked(mask: torch.Tensor, height: int, width: int) -> np.ndarray:
    """bool [H, W] of one mask [H, W]: every value above zero is marked, so a soft edge belongs to it.

    An all-zero mask of another size is LoadImage's way of saying that there is none.

    Raises:
        ValueError: the mask's size is not the image's.
    """
    if tuple(mask.shape) != (height, width):
        if not mask.any():
            return np.zeros((height, width), dtype=bool)
        raise ValueError(
            f"the mask is {mask.shape[1]} x {mask.shape[0]}, the image {width} x {height}: "
            "scale the mask with the image"
        )
    return (mask > 0).cpu().numpy()


def masks_of(mask: torch.Tensor) -> torch.Tensor:
    """MASK as [B, H, W], also where a node passed a single [H, W]."""
    return mask.unsqueeze(0) if mask.dim() == 2 else mask


def batch_size(**batches: Sized | None) -> int:
    """How many results a node gives: batches must be of one size, and a single one serves all, as None does.

    Raises:
        ValueError: two sizes other than one differ.
    """
    known = {name: 1 if batch is None else len(batch) for name, batch in batches.items()}
    sizes = set(known.values()) - {1}
    if len(sizes) > 1:
        counts = ", ".join(f"{name} {size}" for name, size in known.items())
        raise ValueError(f"batches of different sizes ({counts}): give as many of each, or one for all")
    return sizes.pop() if sizes else 1


@overload
def item(batch: torch.Tensor, index: int) -> torch.Tensor: ...
@overload
def item(batch: Sequence[Element], index: int) -> Element: ...
def item(batch: torch.Tensor | Sequence[Element], index: int) -> torch.Tensor | Element:
    """Element `index` of a batch, a tensor or a list, or its only one."""
    return batch[index if len(batch) > 1 else 0]


def picture(image: torch.Tensor) -> np.ndarray:
    """float32 [H, W, 3] of one image [H, W, C]."""
    return np.ascontiguousarray(image[..., :3].float().cpu().numpy())


def pictures(images: torch.Tensor) -> list[np.ndarray]:
    """float32 [H, W, 3] of each image of a batch."""
    return [picture(one) for one in images]


def per_cent(shares: float, height: int, width: int) -> int:
    """Pixels of so many per cent of a photo's shorter side."""
    return round(min(height, width) * shares / 100)
