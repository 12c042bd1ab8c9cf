"""Where a thing is after earlier turns of a dialogue changed it: what a segmenter found of it, or what those turns left."""

from __future__ import annotations

import numpy as np

LEAST_OVERLAP = 0.3
"""Least intersection over union of what was found with what earlier turns left, or something else was found. Ours."""


def is_the_same(carried: np.ndarray, found: np.ndarray) -> bool:
    """Whether a mask that was found shows the thing of another one; both bool [H, W]. An empty one shows nothing."""
    both, union = int(np.count_nonzero(carried & found)), int(np.count_nonzero(carried | found))
    return both > 0 and both >= LEAST_OVERLAP * union
