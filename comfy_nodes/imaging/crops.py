"""Crops around masks: which part of a photo an editor sees, at which size, and how it comes back.

The crop and compositing nodes call this. Arrays in, arrays out, scaling through OpenCV; nothing here knows of torch,
samples or ComfyUI. A crop is counted in whole pixels of its photo, so that a crop of its own size moves no pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.boxes import box_of
from .opencv import load_opencv

MULTIPLES = (8, 16, 32, 64)
"""Pixels that a model's sides are multiples of: 8 for a VAE, 16 for FLUX's patches of it, 32 for Qwen-Image-Edit's in
diffusers, 64 for the oldest UNets."""

MAX_RATIO = 2.0
"""Longest to shortest side of a crop, as far as the photo has room. Ours: inside of what Kontext was trained at (2.33)."""

MAX_MAGNIFICATION = 4.0
"""A crop's side is at least the model's over this, as far as the photo has room, so that a small mask is not blown up
to a blur. Ours."""

MAX_STRETCH = 1.1
"""A crop that its photo leaves no room for is scaled by up to this factor more along one side than along the other;
beyond it, it reaches over the photo's right or bottom border. Ours: scaling back undoes it."""

MAX_STRETCH_BACK = 1.2
"""An edited crop is enlarged by no more than this factor on its way back. Beyond it the edit is visibly softer than what
is around it, and tells a model that trains on the pair where the edit is."""

Size = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True)
class Crop:
    """A part of a photo, in its pixels, and the size at which a model sees it.

    It may reach over the photo's right and bottom border: what lies there repeats the border's pixels.
    """

    left: int
    top: int
    width: int
    height: int
    size: Size

    def inside(self, size: Size) -> tuple[int, int, int, int]:
        """(x1, y1, x2, y2), x2 and y2 exclusive: the part that lies in a photo of `size`."""
        right, bottom = min(self.left + self.width, size[0]), min(self.top + self.height, size[1])
        return self.left, self.top, right, bottom


def around(masks: Sequence[np.ndarray], side: int, context: float, multiple: int) -> list[Crop]:
    """A crop around each mask. All have the same size, so that they make one batch.

    Args:
        masks: bool [H, W] each, all of one size. Around an empty one the crop is the whole photo.
        side: the crops get about `side` x `side` pixels, in the proportions that they need. 0: the photo's own pixels,
            never scaled.
        context: the crop's sides over those of the mask's box, at least 1.
        multiple: the size's sides are multiples of it.

    Returns:
        Crops that hold their mask whole.
    """
    height, width = masks[0].shape
    boxes = [box_of(mask) or (0, 0, width, height) for mask in masks]
    frames = [_frame(box, (width, height), side / MAX_MAGNIFICATION, context) for box in boxes]
    if side:
        ratio = math.exp(sum(math.log(across / down) for across, down in frames) / len(frames))
        size = of_area(ratio, side * side, multiple)
    else:
        size = (
            up_to_multiple(max(across for across, _ in frames), multiple),
            up_to_multiple(max(down for _, down in frames), multiple),
        )
    return [_placed(box, frame, size, (width, height), bool(side)) for box, frame in zip(boxes, frames, strict=True)]


def of_area(ratio: float, area: float, multiple: int) -> Size:
    """The size of about `area` pixels and of about the proportions width / height = `ratio` on the grid of `multiple`."""
    width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
    return (
        max(multiple, round(width / multiple) * multiple),
        max(multiple, round(height / multiple) * multiple),
    )


def up_to_multiple(length: float, multiple: int) -> int:
    """The smallest multiple that is not below `length`."""
    return max(1, math.ceil(length / multiple)) * multiple


def cut(image: np.ndarray, crop: Crop) -> np.ndarray:
    """What a crop shows at its size: float32 [h, w, C] of float32 [H, W, C]."""
    height, width = image.shape[:2]
    left, top, right, bottom = crop.inside((width, height))
    part = image[top:bottom, left:right]
    below, beside = crop.height - (bottom - top), crop.width - (right - left)
    if below or beside:
        part = np.pad(part, ((0, below), (0, beside), (0, 0)), mode="edge")
    return _scaled(part, crop.size)


def cut_mask(mask: np.ndarray, crop: Crop) -> np.ndarray:
    """The mask, bool [H, W], as a crop shows it: every pixel that holds any of it is marked. bool [h, w]."""
    padded = np.zeros((crop.height, crop.width), dtype=bool)
    left, top, right, bottom = crop.inside((mask.shape[1], mask.shape[0]))
    padded[: bottom - top, : right - left] = mask[top:bottom, left:right]
    width, height = crop.size
    return _touched(_touched(padded, height).T, width).T


def cut_weights(weights: np.ndarray, mask: np.ndarray, crop: Crop) -> np.ndarray:
    """How much of an edit is seen at each pixel of a crop: float32 [h, w], above 0 nowhere outside of `cut_mask`.

    Args:
        weights: float32 [H, W], 0 to 1: the soft edge inside of the mask.
        mask: bool [H, W].
    """
    seen = cut_mask(mask, crop)
    return np.where(seen, cut(weights[..., None], crop).reshape(seen.shape), 0).astype(np.float32)


def uncut(edited: np.ndarray, crop: Crop, size: Size) -> np.ndarray:
    """The edited crop in its photo's pixels: what belongs to `crop.inside(size)`, float32 [h, w, C].

    Args:
        edited: float32 [h, w, C], of the crop's size or the same multiple of both its sides.
        size: (width, height) of the photo.

    Raises:
        ValueError: another shape, so its pixels are not where the crop's were; or fewer pixels than `MAX_STRETCH_BACK`
            allows.
    """
    height, width = edited.shape[:2]
    if width * crop.size[1] != height * crop.size[0]:
        raise ValueError(
            f"the edited crop is {width} x {height}, but it was {crop.size[0]} x {crop.size[1]}: its pixels have moved; "
            "crop with the multiple that the editor needs"
        )
    stretch = math.sqrt(crop.width * crop.height / (width * height))
    if stretch > MAX_STRETCH_BACK:
        raise ValueError(
            f"the edited crop would be stretched {stretch:.1f} times to fit its photo of {size[0]} x {size[1]}, and be softer than "
            f"what is around it; at most {MAX_STRETCH_BACK:g}: put Fit Photo to Size (room for one crop) at the graph's start, "
            "or enlarge the edit with an upscaler"
        )
    left, top, right, bottom = crop.inside(size)
    return _scaled(edited, (crop.width, crop.height))[: bottom - top, : right - left]


def _frame(box: tuple[int, int, int, int], size: Size, least: float, context: float) -> tuple[float, float]:
    """(width, height) of the photo that an editor should see around a box."""
    width = max((box[2] - box[0]) * context, least)
    height = max((box[3] - box[1]) * context, least)
    width, height = max(width, height / MAX_RATIO), max(height, width / MAX_RATIO)
    return min(width, size[0]), min(height, size[1])


def _placed(box: tuple[int, int, int, int], frame: tuple[float, float], size: Size, photo: Size, scaled: bool) -> Crop:
    """A crop of `size` with the box in its middle, as far as the photo has room."""
    width, height = size
    if scaled:
        ratio = size[0] / size[1]
        width = max(1, round(max(frame[0], frame[1] * ratio)))
        height = max(1, round(max(frame[1], frame[0] / ratio)))
        width, height = _without_excess(width, photo[0]), _without_excess(height, photo[1])
    left = _start((box[0] + box[2]) / 2, width, photo[0])
    top = _start((box[1] + box[3]) / 2, height, photo[1])
    return Crop(left, top, width, height, size)


def _without_excess(length: int, room: int) -> int:
    """The photo's own length, where a crop that reaches over its border would do so by little."""
    return room if room < length <= room * MAX_STRETCH else length


def _start(middle: float, length: int, room: int) -> int:
    """Where a crop of `length` begins so that it has `middle` in its middle, or is as near as the photo has room."""
    return max(0, min(round(middle - length / 2), room - length))


def _touched(mask: np.ndarray, length: int) -> np.ndarray:
    """A mask, bool [N, M], with its N rows brought to `length`: marked is whatever overlaps a marked row."""
    rows = mask.shape[0]
    if rows == length:
        return mask
    marks = np.concatenate((np.zeros((1, mask.shape[1]), dtype=np.int32), np.cumsum(mask, axis=0, dtype=np.int32)))
    number = np.arange(length)
    # In whole numbers: a row that ends exactly where another begins does not overlap it.
    first, last = number * rows // length, -(-(number + 1) * rows // length)
    return marks[last] > marks[first]


def _scaled(image: np.ndarray, size: Size) -> np.ndarray:
    """float32 [h, w, C] of another size, 0 to 1; the same pixels where it has that size."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    cv2 = load_opencv()
    shrinks = size[0] * size[1] < width * height
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return scaled.clip(0, 1)
