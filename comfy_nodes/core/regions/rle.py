"""COCO's compressed run-length encoding of masks, as pycocotools writes it.

The format is COCO's (maskApi.c): runs in column-major order, starting with a run of zeros, each
count from the third on stored as the difference to the count two before, in 5-bit groups with a
continuation bit, offset by 48 into printable ASCII. 1 is the object; a mask is never inverted.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

MAX_AREA = 178_956_970
"""Largest mask in pixels: that of the largest photo that is read (`photos.MAX_PIXELS`)."""

_MOST_GROUPS = 7
"""The most characters of a count: 35 bits hold any difference of two runs."""


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

    @cached_property
    def area(self) -> int:
        """How many pixels are the object's, told without decoding them.

        Raises:
            ValueError: as `decode`.
        """
        return int(_runs(self)[1::2].sum())


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
    runs = _runs(rle)
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(rle.size, order="F")


def _runs(rle: Rle) -> np.ndarray:
    """The runs of a mask, int64, of zeros and of ones in turn.

    Raises:
        ValueError: as `decode`.
    """
    height, width = rle.size
    runs = _unpack(rle.counts, height * width)
    covered = int(runs.sum(dtype=np.float64))  # of hostile counts more than an integer holds
    if covered != height * width or runs.min() < 0:
        raise ValueError(f"broken mask RLE: its runs cover {covered} pixels, its size is {width}x{height}")
    return runs


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


def _unpack(counts: str, area: int) -> np.ndarray:
    """The runs of a mask of `area` pixels, int64, not checked yet.

    Raises:
        ValueError: the counts are not COCO's encoding.
    """
    groups = np.frombuffer(counts.encode("ascii", "replace"), dtype=np.uint8) - np.uint8(48)  # what is below wraps
    if not counts.isascii() or groups.max(initial=0) > 63:
        wrong = next(char for char in counts if not 48 <= ord(char) < 112)
        raise ValueError(f"broken mask RLE: character {wrong!r} is not part of the encoding")
    last = (groups < 0x20).nonzero()[0]
    before = np.empty_like(last)
    before[:1], before[1:] = -1, last[:-1]
    lengths = last - before
    unfinished = len(groups) - 1 - (last[-1] if len(last) else -1)
    longest = int(lengths.max(initial=0))
    if len(lengths) > area + 2 or max(longest, unfinished) > _MOST_GROUPS:
        raise ValueError("broken mask RLE: a run is longer than any image, or there are more runs than pixels")
    if unfinished:
        raise ValueError("broken mask RLE: it ends in the middle of a run")
    # The last group has the sign; those before it, of which most counts have one or none, are below it.
    runs = ((groups[last] ^ 0x10).astype(np.int64)) - 0x10
    several = np.arange(len(last))
    for place in range(1, longest):
        several = several[lengths[several] > place]
        runs[several] = (runs[several] << 5) + (groups[last[several] - place] & 0x1F)
    # From the third on a count is the difference to the one two before it.
    runs[1::2].cumsum(out=runs[1::2])
    runs[2::2].cumsum(out=runs[2::2])
    return runs
