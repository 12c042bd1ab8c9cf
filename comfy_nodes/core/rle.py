"""COCO's compressed run-length encoding of masks, as pycocotools writes it.

The format is COCO's (maskApi.c): runs in column-major order, starting with a run of zeros, each
count from the third on stored as the difference to the count two before, in 5-bit groups with a
continuation bit, offset by 48 into printable ASCII. 1 is the object; a mask is never inverted.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

MAX_AREA = 2**31 - 1
"""Largest mask in pixels; far above any photo, and what keeps a hostile size from being allocated."""


class Rle(BaseModel):
    """A mask as COCO RLE: `size` is (height, width) in pixels."""

    model_config = ConfigDict(frozen=True)

    size: tuple[int, int]
    counts: str

    @field_validator("size")
    @classmethod
    def _has_area(cls, size: tuple[int, int]) -> tuple[int, int]:
        if size[0] < 1 or size[1] < 1:
            raise ValueError(f"mask size {list(size)} has no area")
        if size[0] * size[1] > MAX_AREA:
            raise ValueError(f"mask size {list(size)} is larger than any photo")
        return size


def encode(mask: np.ndarray) -> Rle:
    """RLE of a mask of shape [H, W]; every non-zero value counts as object."""
    height, width = mask.shape
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate(([0], edges, [flat.size]))
    runs = np.diff(bounds)
    if flat[0]:
        runs = np.concatenate(([0], runs))
    deltas = runs.copy()
    deltas[3:] -= runs[1:-2]
    return Rle(size=(height, width), counts=_pack(deltas.tolist()))


def decode(rle: Rle) -> np.ndarray:
    """Mask of shape [H, W], dtype bool.

    Raises:
        ValueError: the counts are not COCO's encoding or don't add up to the size.
    """
    height, width = rle.size
    runs = _unpack(rle.counts)
    for i in range(3, len(runs)):
        runs[i] += runs[i - 2]
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise ValueError(f"broken mask RLE: its runs cover {sum(runs)} pixels, its size is {width}x{height}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape((height, width), order="F")


def _pack(deltas: list[int]) -> str:
    out: list[int] = []
    for value in deltas:
        while True:
            group = value & 0x1F
            value >>= 5
            last = value == (-1 if group & 0x10 else 0)
            out.append((group if last else group | 0x20) + 48)
            if last:
                break
    return bytes(out).decode("ascii")


def _unpack(counts: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for char in counts:
        group = ord(char) - 48
        if not 0 <= group < 64:
            raise ValueError(f"broken mask RLE: character {char!r} is not part of the encoding")
        value |= (group & 0x1F) << shift
        shift += 5
        if shift > 70:
            raise ValueError("broken mask RLE: a run is longer than any image")
        if not group & 0x20:
            if group & 0x10:
                value -= 1 << shift
            runs.append(value)
            value = shift = 0
    if shift:
        raise ValueError("broken mask RLE: it ends in the middle of a run")
    return runs
