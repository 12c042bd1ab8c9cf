"""OpenCV, which only some nodes need, and what all of them do with it."""

from __future__ import annotations

from types import ModuleType

import numpy as np

INSTALL = "pip install opencv-contrib-python-headless"


class MissingLibrary(RuntimeError):
    """A library that only some nodes need is not installed; the message says how to get it."""


def grow(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Grows a mask, bool [H, W], by `pixels` in every direction."""
    if pixels < 1 or not mask.any():
        return mask
    cv2 = load_opencv()
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def load_opencv() -> ModuleType:
    try:
        import cv2
    except ImportError:
        raise MissingLibrary(f"OpenCV is not installed, which this node needs: {INSTALL}") from None
    return cv2
