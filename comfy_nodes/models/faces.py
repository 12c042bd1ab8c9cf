"""Faces in pictures, by core's MediaPipe face landmarker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..core.verdicts.consistency import Face

EYES_AND_MOUTH = ((33, 133), (362, 263), (61,), (291,))
"""Numbers of MediaPipe's face mesh: the corners of the eye that is left in the picture, of the other eye, the corners of
the mouth."""

VARIANTS = ("short", "full")
"""Core's detectors for near faces and for small ones. As core's own choice "both" does it, the one that sees more faces in
a picture counts, of equals the first."""

PRESENT = 0.0
"""The landmarker's logit from which it holds what it sees for a face: MediaPipe's own bound, a probability of 0.5."""


def find_faces(landmarker: Any, pictures: Sequence[np.ndarray], min_confidence: float) -> list[list[Face]]:
    """The faces in each picture.

    Args:
        landmarker: core's FACE_DETECTION_MODEL.
        pictures: uint8 [H, W, 3] each.
        min_confidence: of the detector, 0 to 1.
    """
    with torch.no_grad():
        short, full = (
            landmarker.detect_batch(list(pictures), num_faces=0, score_thresh=min_confidence, variant=variant)
            for variant in VARIANTS
        )
    return [
        [_face(one) for one in (near if len(near) >= len(far) else far) if one["presence"] >= PRESENT]
        for near, far in zip(short, full, strict=True)
    ]


def _face(found: dict[str, Any]) -> Face:
    marks = np.asarray(found["landmarks_xy"], np.float64)
    x1, y1, x2, y2 = (float(one) for one in found["bbox_xyxy"])
    return Face((x1, y1, x2, y2), np.stack([marks[list(part)].mean(axis=0) for part in EYES_AND_MOUTH]), marks)
