"""A vector that stands for a photo or for words, as a line of JSON holds it: half precision, 2 bytes a number, in base64.

`Save Annotation` writes it, `pool.py` reads it.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np

FIELD = "embedding"
"""The key of an annotation under which it stands."""

STORED = np.dtype("<f2")
"""Of unit vectors, cosines come out within 0.001 of what single precision gives. Ours."""


def encode(vector: np.ndarray) -> str:
    """
    Args:
        vector: floats [D].
    """
    return base64.b64encode(vector.astype(STORED).tobytes()).decode()


def decode(text: Any) -> np.ndarray:
    """float16 [D].

    Raises:
        ValueError: it is none, or holds what is no number.
    """
    try:
        vector = np.frombuffer(base64.b64decode(text, validate=True), STORED)
    except (TypeError, binascii.Error):
        raise ValueError("not a vector in base64") from None
    if not vector.size or not np.isfinite(vector).all():
        raise ValueError("an empty vector, or one with numbers that are none")
    return vector
