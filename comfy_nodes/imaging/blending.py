"""Compositing: an edited picture into its source inside of an edit mask, and the source's colours onto the edited one.

The crop and compositing nodes call this. The edit mask says where pixels may differ, the soft edge lies inside of it:
outside, the result has the very numbers of the source. Arrays in, arrays out; nothing here knows of torch or ComfyUI.
"""

from __future__ import annotations

import numpy as np

from ..core.boxes import box_of
from .opencv import load_opencv

LEAST_OUTSIDE = 0.01
"""Share of the picture, 0 to 1, that must lie outside of the mask for its colours to be compared. Ours."""

TRUSTED = 0.8
"""Share of the compared pixels, 0 to 1, that the second fit keeps: those nearest to the first. Ours: an editor that
was told to edit one place may have changed another, which says nothing about its colours."""

MAX_GAIN = 2.0
"""A channel's contrast is changed by up to this factor, either way. Ours: more is no drift of a VAE."""

FADE = 1.5
"""Pixels inside a mask over which what is put there fades in. Ours."""

FLAT = 1e-3
"""Standard deviation, of 0 to 1, under which a channel has no contrast that could be compared. Ours."""


def faded(mask: np.ndarray) -> np.ndarray:
    """How much of what is put in the mask's place is seen, [H, W]: from 0 outside to 1 `FADE` pixels within. The picture's
    border is no edge.

    Args:
        mask: bool [H, W].
    """
    cv2 = load_opencv()
    inside = cv2.distanceTransform(np.pad(mask, 1, mode="edge").astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.clip(inside / FADE, 0, 1)


def soft_edge(edit_mask: np.ndarray, pixels: int) -> np.ndarray:
    """How much of the edit is seen at each pixel.

    Args:
        edit_mask: bool [H, W].
        pixels: width of the soft edge, counted inwards from the edit mask's border. The picture's border is no edge.

    Returns:
        float32 [H, W]: 0 outside of the edit mask, above 0 everywhere inside, 1 farther in than `pixels`.
    """
    weights = edit_mask.astype(np.float32)
    if pixels < 1 or not edit_mask.any() or edit_mask.all():
        return weights
    cv2 = load_opencv()
    distance = cv2.distanceTransform(edit_mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.minimum(distance / (pixels + 1), 1).astype(np.float32)


def composite(source: np.ndarray, edited: np.ndarray, edit_mask: np.ndarray, pixels: int) -> np.ndarray:
    """The source with the edited picture inside of the edit mask.

    Args:
        source, edited: float32 [H, W, 3], 0 to 1.
        edit_mask: bool [H, W].
        pixels: width of the soft edge inside of it.

    Returns:
        float32 [H, W, 3]. Outside of the edit mask the source's own numbers.
    """
    result = source.copy()
    box = box_of(edit_mask)
    if box is None:
        return result
    # With a pixel around it, where the picture has one: the soft edge begins there.
    part = slice(max(0, box[1] - 1), box[3] + 1), slice(max(0, box[0] - 1), box[2] + 1)
    inside = edit_mask[part]
    weights = soft_edge(inside, pixels)[..., None]
    np.copyto(result[part], source[part] * (1 - weights) + edited[part] * weights, where=inside[..., None])
    return result


def match_colour(edited: np.ndarray, source: np.ndarray, edit_mask: np.ndarray, strength: float) -> np.ndarray:
    """The edited picture with the gain and offset of each channel that bring it to the source outside of the mask.

    Fitted by least squares twice, the second time without the pixels that fit worst.

    Args:
        edited, source: float32 [H, W, 3], 0 to 1.
        edit_mask: bool [H, W]: what was meant to change and says nothing about the colours.
        strength: how much of the correction is made, 0 to 1.

    Returns:
        float32 [H, W, 3], 0 to 1, corrected everywhere. Unchanged where less than `LEAST_OUTSIDE` lies outside.
    """
    outside = ~edit_mask
    if np.count_nonzero(outside) < LEAST_OUTSIDE * outside.size:
        return edited
    result = np.empty_like(edited)
    for channel in range(3):
        have, wanted = edited[..., channel][outside], source[..., channel][outside]
        gain, offset = _fit(have, wanted)
        error = np.abs(have * gain + offset - wanted)
        near = error <= np.quantile(error, TRUSTED)
        gain, offset = _fit(have[near], wanted[near])
        corrected = edited[..., channel] * gain + offset
        result[..., channel] = edited[..., channel] * (1 - strength) + corrected * strength
    return result.clip(0, 1)


def _fit(have: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """The (gain, offset) that bring `have` nearest to `wanted`; an offset alone where there is no contrast."""
    mean, target = float(have.mean(dtype=np.float64)), float(wanted.mean(dtype=np.float64))
    spread = float(have.std(dtype=np.float64))
    if spread < FLAT:
        return 1.0, target - mean
    shared = float(((have - mean) * (wanted - target)).mean(dtype=np.float64))
    gain = min(MAX_GAIN, max(1 / MAX_GAIN, shared / spread**2))
    return gain, target - gain * mean
