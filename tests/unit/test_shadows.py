"""What a removed thing takes along: its shadow or reflection is let go, a change elsewhere is not.

Pairs made by other means than the benchmark's: drawn scenes and bundled photos, things with outlines of their own, cast and
contact shadows and reflections, regions that are silhouettes or boxes.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from comfy_nodes.core.verdicts import pixels
from comfy_nodes.core.verdicts.pixel_limits import Limits, for_kind

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "photos"
SIZE = (480, 360)
REMOVE = for_kind(Limits(), "remove")

Case = tuple[np.ndarray, np.ndarray, np.ndarray]


@cache
def photos() -> list[np.ndarray]:
    found = []
    for path in sorted(SAMPLES.iterdir()):
        with Image.open(path) as image:
            found.append((np.asarray(image.convert("RGB").resize(SIZE)) * 0.65 + 80).astype(np.uint8))
    return found


def ground(rng: np.random.Generator) -> np.ndarray:
    """A bundled photo, light enough to show a shadow, or a drawn floor before a drawn wall."""
    if rng.integers(2):
        return photos()[rng.integers(len(photos()))]
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    wall, floor = rng.uniform(60, 220, 3), rng.uniform(60, 220, 3)
    scene = np.where((y < rng.uniform(0.2, 0.5) * height)[..., None], wall, floor) + 25 * np.sin(x / 9)[..., None]
    return np.clip(scene + rng.normal(0, 5, scene.shape), 0, 255).astype(np.uint8)


def thing(rng: np.random.Generator) -> np.ndarray:
    """bool [H, W]: a bottle, a ball or a box that stands in the picture's middle."""
    width, height = SIZE
    shape = np.zeros((height, width), np.uint8)
    x, y, a = int(rng.uniform(0.3, 0.7) * width), int(rng.uniform(0.35, 0.55) * height), int(rng.uniform(18, 40))
    what = rng.integers(3)
    if what == 0:
        cv2.rectangle(shape, (x - a // 2, y - a // 2), (x + a // 2, y + a), 1, -1)
        cv2.rectangle(shape, (x - a // 5, y - a), (x + a // 5, y), 1, -1)
    elif what == 1:
        cv2.circle(shape, (x, y), a, 1, -1)
    else:
        cv2.rectangle(shape, (x - a, y - a // 2), (x + a, y + a // 2), 1, -1)
    return shape.astype(bool)


def painted(picture: np.ndarray, where: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean = picture[where].mean(axis=0)
    colour = np.where(mean < 128, mean + rng.uniform(60, 110, 3), mean - rng.uniform(60, 110, 3))
    new = np.clip(colour + rng.normal(0, 6, picture.shape), 0, 255)
    return np.where(where[..., None], new, picture).astype(np.uint8)


def shadow(shape: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """float [H, W]: how dark it gets, 0.2 to 1.5 % of the picture."""
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    foot, left, right = int(rows[-1]), int(columns[0]), int(columns[-1])
    area, dark = rng.uniform(0.002, 0.015) * shape.size, np.zeros(shape.shape, np.float32)
    area = min(area, 1.5 * float(shape.sum()))
    if kind == "contact":
        a = (right - left) * 0.7
        cv2.ellipse(dark, ((left + right) // 2, foot), (int(a), max(3, int(area / (1.6 * a)))), 0, 0, 360, 1, -1)
    elif kind == "cast":
        away = rng.choice([-1, 1]) * area / 14
        corners = [(left, foot - 2), (right, foot - 2), (right + away, foot + 14), (left + away, foot + 14)]
        cv2.fillPoly(dark, [np.array(corners, np.int32)], 1)
    else:
        tall = min(int(area / (right - left)), rows[-1] - rows[0])
        dark[foot - 1 : foot + tall, left:right] = 1
    return cv2.GaussianBlur(dark, (0, 0), rng.uniform(0.8, 2.5))[..., None] * rng.uniform(0.3, 0.6)


def encoded(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=int(rng.integers(80, 96)))
    return np.asarray(Image.open(file))


def boxed(shape: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    box = np.zeros_like(shape)
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box


def removed(kind: str, seed: int) -> Case:
    rng = np.random.default_rng((1, seed))
    clean, shape = ground(rng), thing(rng)
    shaded = np.clip(clean * (1 - shadow(shape, kind, rng)), 0, 255).astype(np.uint8)
    return painted(shaded, shape, rng), encoded(clean, rng), shape


def elsewhere(seed: int) -> Case:
    """The thing is removed, and a patch somewhere else, above, beside or below it, is darkened or painted."""
    rng = np.random.default_rng((2, seed))
    clean, shape = ground(rng), thing(rng)
    kept = cv2.dilate(shape.astype(np.uint8), np.ones((41, 41), np.uint8)).astype(bool)
    while True:
        x, y = rng.integers(20, SIZE[0] - 20), rng.integers(20, SIZE[1] - 20)
        patch = np.zeros(shape.shape, np.uint8)
        axes = (int(rng.uniform(12, 26)), int(rng.uniform(12, 18)))
        cv2.ellipse(patch, (int(x), int(y)), axes, 0, 0, 360, 1, -1)
        if not (kept & patch.astype(bool)).any() and clean[patch.astype(bool)].mean() > 50:
            break
    spoilt = clean * 0.5 if rng.integers(2) else painted(clean, patch.astype(bool), rng)
    after = np.where(patch.astype(bool)[..., None], spoilt, clean).astype(np.uint8)
    return painted(clean, shape, rng), encoded(after, rng), shape


def verdict(case: Case, box: bool, limits: Limits) -> tuple[str, str]:
    source, edited, shape = case
    scores, _ = pixels.verify(source, edited, region=boxed(shape) if box else shape, limits=limits)
    return scores.verdict, scores.reason


@pytest.mark.parametrize("kind", ["contact", "cast", "reflection"])
def test_a_removed_things_shadow_goes_along(kind: str) -> None:
    """Every other region is the thing's box."""
    found = [verdict(removed(kind, seed), bool(seed % 2), REMOVE) for seed in range(20)]
    assert [one for one in found if one[0] != "keep"] == []


def test_a_change_elsewhere_is_rejected() -> None:
    found = [verdict(elsewhere(seed), bool(seed % 2), REMOVE) for seed in range(60)]
    assert {one[1].split(":")[0] for one in found} == {"changed outside the region"}


def test_a_shadow_is_small_and_on_the_ground() -> None:
    rng = np.random.default_rng(3)
    clean = np.full((360, 480, 3), 170, np.uint8)
    shape = np.zeros(clean.shape[:2], bool)
    shape[120:200, 200:260] = True
    above, below, large = (np.zeros_like(shape) for _ in range(3))
    above[70:122, 210:250] = below[198:236, 205:255] = large[198:330, 140:320] = True
    for extra, reason in ((below, ""), (above, "changed outside"), (large, "changed beside")):
        case = (painted(np.where(extra[..., None], clean // 2, clean), shape, rng), clean, shape)
        assert verdict(case, False, REMOVE)[1].split(" the ")[0] == reason
        assert verdict(case, False, for_kind(Limits(), "alter", "unicedit/Text Modification"))[0] == "reject"
