"""Label Studio's brush strokes: a picture's RGBA values in packed runs, of which alpha is the mask.

The form of thi.ng's rle-pack, as Label Studio documents its export. Its own reader (label-studio-sdk) asks for another OpenCV,
pandas and NLTK; this one reads the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import AnnotationError

from .marked import Size, runs

HALF = 128
"""From this alpha on a pixel is marked. Ours: half of the range."""


def brush(value: dict[str, Any], size: Size) -> dict[str, Any]:
    """A region's shape of a stroke.

    Args:
        value: a result's, with `format` and `rle`.
        size: (width, height) of the picture.
    """
    if value.get("format") != "rle" or not isinstance(value.get("rle"), list):
        raise AnnotationError("its strokes are no run lengths (format rle)")
    try:
        data = bytes(value["rle"])
    except (TypeError, ValueError):
        raise AnnotationError("its rle is no list of bytes") from None
    width, height = size
    alpha = _unpacked(data, 4 * width * height).reshape(height, width, 4)[:, :, 3]
    return runs(rle.encode(alpha >= HALF).model_dump())


def _unpacked(data: bytes, number: int) -> np.ndarray:
    """The values, uint8.

    Args:
        number: how many there are to be.

    Raises:
        AnnotationError: there are others, or the data is cut off.
    """
    bits = _Bits(data)
    told, word = bits.read(32), bits.read(5) + 1
    lengths = [bits.read(4) + 1 for _ in range(4)]
    if told != number:
        raise AnnotationError(f"its rle has {told} values, and its picture {number}")
    if word > 8:
        raise AnnotationError(f"its rle has values of {word} bits")
    found, end = np.zeros(number, np.uint8), 0
    while end < number:
        same, begin = bits.read(1), end
        end += bits.read(lengths[bits.read(2)]) + 1
        if end > number:
            raise AnnotationError("its rle has more values than it says")
        found[begin:end] = bits.read(word) if same else bits.words(end - begin, word)
    return found


class _Bits:
    """Numbers of any length in bytes, the highest bit first."""

    def __init__(self, data: bytes):
        self._data, self._place = data, 0

    def _take(self, size: int) -> tuple[bytes, int]:
        """The bytes that the next bits lie in, and how many other bits stand ahead of these."""
        before = self._place % 8
        taken = self._data[self._place // 8 : (self._place + size + 7) // 8]
        self._place += size
        if self._place > 8 * len(self._data):
            raise AnnotationError("its rle is cut off")
        return taken, before

    def read(self, size: int) -> int:
        taken, before = self._take(size)
        return int.from_bytes(taken, "big") >> (8 * len(taken) - before - size) & ((1 << size) - 1)

    def words(self, number: int, size: int) -> np.ndarray:
        """Several numbers of one length, at most 8 bits; uint8."""
        taken, before = self._take(number * size)
        bits = np.unpackbits(np.frombuffer(taken, np.uint8))[before : before + number * size].reshape(number, size)
        return np.packbits(bits, axis=1)[:, 0] >> (8 - size)
