"""Cutting things out of pictures on plain ground, and putting them in a region's place.

The region is filled first, and the fill's level is brought to its surroundings by Poisson's equation
(`fill.inpaint`); the thing itself keeps its colours, as cloning its gradients would dye it with the ground behind it,
and then it were no longer what the instruction says. Knows no files and no sentences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.boxes import Box, box_of
from ..core.instructions.classical import LEAST_SHARE, LEAST_SIDE, LIKE_SHAPE, MAX_ENLARGED
from ..imaging import fill
from ..imaging.blending import faded
from ..imaging.opencv import load_opencv

TOLERANCE = 10
"""Levels by which a plain ground may vary, per channel, from pixel to pixel: JPEG's noise. Ours."""

PLAIN_SHARE = 0.6
"""At least this share of a reference picture's border has to be of one colour. Ours."""

OVERHANG = 1.35
"""How far a thing may be larger than the region's box, so that it need not shrink in a slim one. Ours."""

MOSTLY_COVERED = 0.7
"""A hole of which the thing covers this share is filled by spreading its border inwards. Ours."""


class Unpasteable(ValueError):
    """A thing that cannot be cut out, or does not fit; the message says why."""


@dataclass(frozen=True)
class CutOut:
    """A thing without its ground: uint8 [H, W, 3] and what of it is the thing, bool [H, W]; the box is tight."""

    pixels: np.ndarray
    mask: np.ndarray


def cut_out(picture: np.ndarray) -> CutOut:
    """The thing in a picture on plain ground.

    Args:
        picture: uint8 [H, W, 3].

    Raises:
        Unpasteable: the ground is not plain, or there is nothing on it.
    """
    cv2 = load_opencv()
    height, width = picture.shape[:2]
    border = np.concatenate((picture[0], picture[-1], picture[:, 0], picture[:, -1]))
    ground = np.median(border, axis=0)
    near = (np.abs(picture.astype(int) - ground) <= TOLERANCE).all(axis=2)
    rim = np.concatenate((near[0], near[-1], near[:, 0], near[:, -1]))
    if rim.mean() < PLAIN_SHARE:
        raise Unpasteable(
            "the reference picture has no plain ground to cut its object from: give one on white, such as extract makes"
        )
    _, labels = cv2.connectedComponents(np.pad(near, 1, constant_values=True).astype(np.uint8), connectivity=4)
    mask = labels[1:-1, 1:-1] != labels[0, 0]
    # Specks of noise are no object.
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        raise Unpasteable("the reference picture shows nothing but its ground")
    areas = statistics[:, cv2.CC_STAT_AREA]
    mask = mask & (areas >= 0.01 * areas[1:].max())[parts]
    if mask.sum() < 0.001 * height * width:
        raise Unpasteable("the reference picture shows nothing but its ground")
    box = box_of(mask)
    assert box
    place = slice(box[1], box[3]), slice(box[0], box[2])
    return CutOut(picture[place].copy(), mask[place].copy())


def on_white(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The masked part of uint8 [H, W, 3] on white, of the same size, with an edge of a pixel."""
    share = faded(mask)[..., None]
    return (image * share + 255 * (1 - share)).round().astype(np.uint8)


def _scale(image: np.ndarray, box: Box, thing: CutOut) -> float:
    """By how much a thing is enlarged to stand in a region's place.

    Raises:
        Unpasteable: it would not look as if it stood there.
    """
    height, width = image.shape[:2]
    tall, wide = thing.mask.shape
    across, down = box[2] - box[0], box[3] - box[1]
    fitting = min(across / wide, down / tall)
    scale = min(
        OVERHANG * fitting,
        max(fitting, (across * down / (wide * tall)) ** 0.5),
        0.9 * width / wide,
        0.9 * height / tall,
    )
    shown = scale**2 * np.count_nonzero(thing.mask) / (height * width)
    if scale * max(tall, wide) < LEAST_SIDE or shown < LEAST_SHARE:
        raise Unpasteable(f"the region is too small to show anything in: {across:.0f} x {down:.0f} pixels")
    if scale > MAX_ENLARGED:
        raise Unpasteable(f"the new object would have to be enlarged {scale:.1f} times: take a larger picture of it")
    slimmer = (across / down) / (wide / tall)
    if max(slimmer, 1 / slimmer) > LIKE_SHAPE:
        raise Unpasteable(
            f"the region is {across:.0f} x {down:.0f} pixels and the new object {wide} x {tall}: it would not fill the "
            "old one's place, so take one of its shape"
        )
    if min(box[0], box[1], width - box[2], height - box[3]) < 1:
        raise Unpasteable("the picture's edge cuts the old object off, and a whole one would hang at the edge")
    if fill.is_grey(image) and not fill.is_grey(thing.pixels[thing.mask]):
        raise Unpasteable("the photo is black and white, and the new object is not")
    return scale


def put_in_place(image: np.ndarray, hole: np.ndarray, box: Box, thing: CutOut) -> tuple[np.ndarray, np.ndarray]:
    """Fills the hole and puts a thing there, standing where the old one stood.

    Args:
        image: uint8 [H, W, 3].
        hole: bool [H, W], the region, grown a little.
        box: the region's box, (x1, y1, x2, y2).

    Returns:
        The image, and bool [H, W] where it may differ.

    Raises:
        Unpasteable: the thing would be too small, too blurred, of another shape, cut off or the photo's only colour.
    """
    cv2 = load_opencv()
    height, width = hole.shape
    tall, wide = thing.mask.shape
    scale = _scale(image, box, thing)
    size = max(1, round(wide * scale)), max(1, round(tall * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    soft = cv2.GaussianBlur(np.pad(thing.mask, 1).astype(np.float32), (3, 3), 0.6)[1:-1, 1:-1] * thing.mask
    share = cv2.resize(soft, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)[..., None]
    # Scaled premultiplied, or the ground would bleed into the edge.
    weighted = cv2.resize(thing.pixels * soft[..., None], size, interpolation=how)
    left = round(min(max((box[0] + box[2] - size[0]) / 2, 0), width - size[0]))
    top = round(min(max(box[3] - size[1], 0), height - size[1]))
    place = slice(top, top + size[1]), slice(left, left + size[0])
    covered = int(np.count_nonzero(hole[place] & (share[..., 0] > 0.5))) / max(int(np.count_nonzero(hole)), 1)
    # Little of it is seen then, and copying patches into a large hole takes most of a minute.
    filled = fill.inpaint(image, hole, "telea" if covered >= MOSTLY_COVERED else "shift-map")
    mixed = weighted + filled[place] * (1 - share)
    share = share[..., 0] > 0.004
    result, changed = filled, hole.copy()
    result[place][share] = mixed.round().clip(0, 255).astype(np.uint8)[share]
    changed[place] |= share
    return result, changed
