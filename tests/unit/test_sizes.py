"""Sizes that editing models work at: buckets, multiples that shift nothing, and where regions lie afterwards."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-contrib-python-headless")

from comfy_nodes.core.photo_filter import KONTEXT_BUCKETS
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Region, region_of_mask
from comfy_nodes.edit_samples import sizes
from comfy_nodes.imaging import crops


@pytest.mark.parametrize(
    ("size", "wanted", "box", "fitted"),
    [
        ((4000, 3000), "kontext buckets", (0, 13, 4000, 2973), (1184, 880)),
        ((3000, 4000), "kontext buckets", (13, 0, 2973, 4000), (880, 1184)),
        ((1024, 1024), "kontext buckets", (0, 0, 1024, 1024), (1024, 1024)),
        ((640, 427), "kontext buckets", (0, 0, 640, 427), (1248, 832)),
        ((640, 427), "one megapixel", (0, 0, 640, 427), (1248, 832)),
        ((333, 111), "crop to multiple", (0, 0, 320, 96), (320, 96)),
        ((333, 111), "pad to multiple", (0, 0, 336, 112), (336, 112)),
        ((16, 32), "pad to multiple", (0, 0, 16, 32), (16, 32)),
        ((4000, 3000), "room for one crop", (0, 0, 4000, 3000), (1348, 1011)),
        ((4000, 3000), "room for one crop of 768", (0, 0, 4000, 3000), (1011, 758)),
        ((1201, 907), "room for one crop", (0, 0, 1201, 907), (1201, 907)),
    ],
)
def test_what_is_used_of_a_photo(
    size: tuple[int, int], wanted: sizes.Fit, box: tuple[int, int, int, int], fitted: tuple[int, int]
) -> None:
    crop = sizes.fit(size, wanted, 16)
    assert (crop.left, crop.top, crop.width, crop.height) == box
    assert crop.size == fitted


@pytest.mark.parametrize("wanted", sizes.ROOM)
def test_a_photo_that_has_room_for_a_crop_stays_as_it_is(wanted: sizes.Fit) -> None:
    """Each turn of a dialogue goes through the same graph: its states have one size."""
    random = np.random.default_rng(0)
    for size in random.integers(900, 5000, (2000, 2)).tolist():
        fitted = sizes.fit(tuple(size), wanted, 16).size
        assert sizes.fit(fitted, wanted, 16).size == fitted


def test_every_photo_gets_a_size_of_the_model_and_its_middle() -> None:
    random = np.random.default_rng(2)
    for _ in range(300):
        size = tuple(int(one) for one in random.integers(64, 4000, 2))
        bucket = sizes.fit(size, "kontext buckets", 16)
        assert bucket.size in KONTEXT_BUCKETS
        for wanted, multiple in (("one megapixel", 32), ("crop to multiple", 64), ("pad to multiple", 8)):
            crop = sizes.fit(size, wanted, multiple)
            assert all(length % multiple == 0 for length in crop.size)
            if wanted == "one megapixel":
                assert 0.85 < crop.size[0] * crop.size[1] / sizes.MEGAPIXEL < 1.15
        for crop in (bucket, sizes.fit(size, "one megapixel", 32)):
            right, bottom = size[0] - crop.left - crop.width, size[1] - crop.top - crop.height
            assert 0 <= right - crop.left <= 1 and 0 <= bottom - crop.top <= 1
            assert min(crop.left, crop.top) == 0
            across, down = crop.size[0] / crop.width, crop.size[1] / crop.height
            assert abs(across / down - 1) < 1 / min(crop.width, crop.height), "scaled alike, up to a pixel"


def test_no_crop_of_a_fitted_photo_comes_back_soft() -> None:
    random = np.random.default_rng(3)
    for _ in range(200):
        fit, side = [("room for one crop", 1024), ("room for one crop of 768", 768)][random.integers(2)]
        width, height = sizes.fit(tuple(int(one) for one in random.integers(300, 9000, 2)), fit, 16).size
        mask = np.zeros((height, width), dtype=bool)
        left, top = int(random.integers(width)), int(random.integers(height))
        mask[top : top + int(random.integers(1, height + 1)), left : left + int(random.integers(1, width + 1))] = True
        (crop,) = crops.around([mask], side, float(random.choice([1.2, 1.5, 2.5])), 16)
        back = np.sqrt(crop.width * crop.height / np.prod(crop.size))
        assert back <= crops.MAX_STRETCH_BACK, (width, height, crop)


def test_multiples_shift_and_scale_nothing() -> None:
    photo = np.random.default_rng(1).random((53, 77, 3), dtype=np.float32)
    cropped = crops.cut(photo, sizes.fit((77, 53), "crop to multiple", 8))
    np.testing.assert_array_equal(cropped, photo[:48, :72])
    crop = sizes.fit((77, 53), "pad to multiple", 8)
    padded = crops.cut(photo, crop)
    assert padded.shape == (56, 80, 3)
    np.testing.assert_array_equal(padded[:53, :77], photo)
    np.testing.assert_array_equal(padded[53:, :77], np.repeat(photo[-1:], 3, axis=0))
    np.testing.assert_array_equal(crops.uncut(padded, crop, (77, 53)), photo)


def test_a_photo_too_small_to_be_cropped_is_named() -> None:
    with pytest.raises(ValueError, match="40 x 30, too small to be cropped to multiples of 32: pad it"):
        sizes.fit((40, 30), "crop to multiple", 32)


def test_what_is_lost() -> None:
    assert sizes.lost_share((100, 50), crops.Crop(0, 0, 80, 50, (16, 16))) == pytest.approx(0.2)
    assert sizes.lost_share((77, 53), sizes.fit((77, 53), "pad to multiple", 8)) == 0


def test_regions_come_along() -> None:
    mask = np.zeros((100, 200), dtype=bool)
    mask[10:30, 90:120] = True
    crop = crops.Crop(50, 0, 100, 100, (200, 200))
    moved = sizes.fit_region(region_of_mask(mask, "cup"), crop, (200, 100))
    assert moved is not None and moved.mask is not None
    assert (moved.class_name, moved.bbox) == ("cup", (80.0, 20.0, 140.0, 60.0))
    seen = rle.decode(moved.mask)
    assert seen[20:60, 80:140].all() and seen.sum() == 40 * 60
    cut_off = Region(class_name="cup", bbox=(140.0, 0.0, 190.0, 50.0))
    kept = sizes.fit_region(cut_off, crop, (200, 100))
    assert kept is not None and kept.bbox == (180.0, 0.0, 200.0, 100.0)
    assert sizes.fit_region(Region(class_name="cup", bbox=(150.0, 0.0, 190.0, 50.0)), crop, (200, 100)) is None
