"""Which photos are dropped, with which reason, and how copies are found."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.core import photos
from comfy_nodes.core.photo_filter import (
    KONTEXT_BUCKETS,
    HashIndex,
    PhotoFilter,
    PhotoRules,
    crop_share,
    nearest_bucket,
    perceptual_hash,
)

PHOTOS = sorted((Path(__file__).resolve().parents[2] / "samples" / "photos").iterdir())
SHAPE_ONLY = PhotoRules(above_short_side=0, max_distance=None)
COPIES_ONLY = PhotoRules(above_short_side=0, max_crop=None)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth random picture, no two seeds alike."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(("short", "passes"), [(1280, False), (1281, True), (1279, False)])
def test_the_shorter_side_exceeds_1280(short: int, passes: bool) -> None:
    drop = PhotoFilter().judge(picture(short + 300, short), "a")
    assert (drop is None) == passes
    if drop:
        assert drop.reason == "small"
        assert drop.message == f"has a shorter side of {short} px; more than 1280 px is needed"


@pytest.mark.parametrize(("score", "passes"), [(4.75, False), (4.76, True), (None, True), (0.0, False)])
def test_the_aesthetic_score_exceeds_4_75_where_it_is_known(score: float | None, passes: bool) -> None:
    drop = PhotoFilter().judge(picture(1400, 1400), "a", score)
    assert (drop is None) == passes
    assert drop is None or drop.reason == "aesthetic"


@pytest.mark.parametrize(
    ("size", "lost"), [((1000, 1000), 0.0), ((1568, 672), 0.0), ((6720, 15680), 0.0), ((4000, 1000), 0.4167)]
)
def test_what_a_crop_to_the_nearest_bucket_loses(size: tuple[int, int], lost: float) -> None:
    assert crop_share(size, nearest_bucket(size, KONTEXT_BUCKETS)) == pytest.approx(lost, abs=1e-4)


def test_at_most_a_fifth_is_cropped() -> None:
    """The widest bucket is 1568 x 672: 20 % more than its shape still passes."""
    widest = 1568 / 672
    assert PhotoFilter(SHAPE_ONLY).judge(picture(int(1000 * widest / 0.801), 1000), "a") is None
    drop = PhotoFilter(SHAPE_ONLY).judge(picture(int(1000 * widest / 0.799), 1000), "a")
    assert drop is not None and drop.reason == "crop" and "1568 x 672; at most 20.0%" in drop.message


def test_the_loss_is_what_scaling_and_cutting_loses() -> None:
    rng = random.Random(2)
    for _ in range(300):
        width, height, bucket = rng.randrange(50, 4000), rng.randrange(50, 4000), rng.choice(KONTEXT_BUCKETS)
        scale = max(bucket[0] / width, bucket[1] / height)
        kept = bucket[0] * bucket[1] / (width * scale * height * scale)
        assert crop_share((width, height), bucket) == pytest.approx(1 - kept)


def test_the_buckets_are_comfyuis() -> None:
    source = Path(os.environ.get("COMFYUI_PATH", "")) / "comfy_extras" / "nodes_flux.py"
    if not source.is_file():
        pytest.skip("needs ComfyUI's source: set COMFYUI_PATH")
    text = source.read_text(encoding="utf-8")
    table = text.split("PREFERRED_KONTEXT_RESOLUTIONS = [")[1].split("]")[0]
    assert [f"({width}, {height})" for width, height in KONTEXT_BUCKETS] == [
        line.strip(" ,") for line in table.strip().splitlines()
    ]
    assert len(KONTEXT_BUCKETS) == 17


def test_copies_are_found_and_other_photos_are_not(encode: Callable[..., bytes]) -> None:
    judge = PhotoFilter(COPIES_ONLY)
    for path in PHOTOS:
        assert judge.judge(photos.open_photo(path.read_bytes(), path.name), path.name) is None
    for path in PHOTOS:
        image = Image.open(path).convert("RGB")
        copies = [
            encode(image, "JPEG", quality=40),
            encode(image.resize((image.width // 3, image.height // 3), Image.Resampling.LANCZOS)),
            path.read_bytes(),
        ]
        for copy in copies:
            drop = judge.judge(photos.open_photo(copy, "copy"), "copy")
            assert drop is not None and drop.reason == "duplicate" and path.name in drop.message
    assert judge.passed == len(PHOTOS)
    assert judge.dropped == {"duplicate": 3 * len(PHOTOS)}


def test_a_dropped_photo_is_no_first_copy() -> None:
    judge = PhotoFilter()
    assert judge.judge(picture(700, 700), "small").reason == "small"
    assert judge.judge(picture(1400, 1400), "large") is None


def test_every_drop_is_counted_with_its_reason() -> None:
    judge = PhotoFilter()
    good = picture(1400, 1400)
    drops = [
        judge.judge(picture(700, 700), "small.png"),
        judge.judge(picture(5000, 1300, 1), "wide.png"),
        judge.judge(picture(1400, 1400, 2), "dull.png", 3.0),
        judge.judge(good, "good.png"),
        judge.judge(good, "again.png"),
    ]
    assert [drop.reason if drop else None for drop in drops] == ["small", "crop", "aesthetic", None, "duplicate"]
    assert judge.dropped == {"small": 1, "crop": 1, "aesthetic": 1, "duplicate": 1}
    assert judge.passed == 1
    assert "good.png" in drops[4].message


def test_everything_can_be_switched_off() -> None:
    off = PhotoRules(above_aesthetic=0, above_short_side=0, max_crop=None, max_distance=None)
    judge = PhotoFilter(off)
    assert [judge.judge(picture(900, 20), "a", 0.1) for _ in range(2)] == [None, None]


def test_the_hash_is_imagehashs() -> None:
    """imagehash.phash restated: scipy's DCT of the 32 x 32 grey picture, its 8 x 8 corner against its median."""
    fft = pytest.importorskip("scipy.fft")
    for seed in range(60):
        image = picture(40 + seed, 90 - seed, seed)
        grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=float)
        corner = fft.dct(fft.dct(grey, axis=0), axis=1)[:8, :8]
        bits = "".join("1" if value else "0" for value in (corner > np.median(corner)).ravel())
        assert perceptual_hash(image) == int(bits, 2)


def test_even_pictures_hash_alike() -> None:
    assert perceptual_hash(Image.new("RGB", (64, 40), (9, 9, 9))) == perceptual_hash(
        Image.new("RGB", (300, 300), "red")
    )


@pytest.mark.parametrize("distance", [0, 1, 4, 10])
def test_the_index_finds_what_a_search_of_all_finds(distance: int) -> None:
    rng = random.Random(distance)
    index, known = HashIndex(distance), []
    for number in range(400):
        bits = rng.getrandbits(64)
        if known and rng.random() < 0.7:
            bits = rng.choice(known)
            for bit in rng.sample(range(64), rng.randrange(0, 2 * distance + 2)):
                bits ^= 1 << bit
        nearest = min(((bits ^ other).bit_count(), place) for place, other in enumerate(known)) if known else None
        found = index.find(bits)
        if nearest is None or nearest[0] > distance:
            assert found is None
        else:
            assert found is not None and (found.distance, found.name) == (nearest[0], str(nearest[1]))
        index.add(bits, str(number))
        known.append(bits)
