"""Crops around masks and back, and compositing: nothing outside the edit mask changes, whatever its shape and place."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-contrib-python-headless")

from comfy_nodes.imaging import blending, crops

CASES = 500
KINDS = ("dots", "single pixel", "box", "border", "corner", "blob", "whole", "empty")


def mask_of(kind: str, random: np.random.Generator, height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    if kind == "dots":
        mask = random.random((height, width)) < 0.02
    elif kind == "single pixel":
        mask[random.integers(height), random.integers(width)] = True
    elif kind == "box":
        top, left = random.integers(height), random.integers(width)
        mask[top : top + random.integers(1, height + 1), left : left + random.integers(1, width + 1)] = True
    elif kind == "border":
        mask[-1, :], mask[:, 0] = random.random() < 0.5, True
    elif kind == "corner":
        mask[-(height // 2 + 1) :, -(width // 3 + 1) :] = True
    elif kind == "blob":
        rows, columns = np.mgrid[:height, :width]
        y, x, radius = random.integers(height), random.integers(width), random.integers(1, max(height, width))
        mask = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    elif kind == "whole":
        mask[:] = True
    return mask


def test_500_random_crops_come_back_and_change_nothing_outside() -> None:
    random = np.random.default_rng(11)
    for number in range(CASES):
        height, width = (int(one) for one in random.integers(1, 140, 2))
        kind = KINDS[number % len(KINDS)]
        mask = mask_of(kind, random, height, width)
        side, multiple = int(random.choice([0, 32, 64, 100])), int(random.choice(crops.MULTIPLES))
        context, blend = float(random.choice([1.0, 1.2, 3.0])), int(random.integers(0, 9))
        case = f"case {number}: {kind}, {width} x {height}, side {side}, multiple {multiple}, context {context}"
        photo = random.integers(0, 256, (height, width, 3)).astype(np.float32) / np.float32(255)
        (crop,) = crops.around([mask], side, context, multiple)
        assert all(length % multiple == 0 for length in crop.size), case
        shown, seen = crops.cut(photo, crop), crops.cut_mask(mask, crop)
        assert shown.shape == (*crop.size[::-1], 3) and seen.shape == shown.shape[:2], case
        assert_covers(seen, mask, crop, case)
        # An editor may answer larger than it was asked: the smallest answer that is not stretched back.
        larger = math.ceil(max(1, math.sqrt(crop.width * crop.height / math.prod(crop.size)) / crops.MAX_STRETCH_BACK))
        edited = random.random((shown.shape[0] * larger, shown.shape[1] * larger, 3), dtype=np.float32)
        left, top, right, bottom = crop.inside((width, height))
        whole = photo.copy()
        whole[top:bottom, left:right] = crops.uncut(edited, crop, (width, height))
        result = blending.composite(photo, whole, mask, blend)
        assert result.shape == photo.shape, case
        np.testing.assert_array_equal(result[~mask], photo[~mask], err_msg=case)
        if mask.any():
            assert (result[mask] != photo[mask]).any(), case
        if (crop.width, crop.height) == crop.size:
            np.testing.assert_array_equal(shown[: bottom - top, : right - left], photo[top:bottom, left:right])


def assert_covers(seen: np.ndarray, mask: np.ndarray, crop: crops.Crop, case: str) -> None:
    """Each marked pixel of the photo lies in the crop, and whatever shows any of it there is marked."""
    rows, columns = np.nonzero(mask)
    assert ((rows >= crop.top) & (rows < crop.top + crop.height)).all(), case
    assert ((columns >= crop.left) & (columns < crop.left + crop.width)).all(), case
    across, down = crop.size[0] / crop.width, crop.size[1] / crop.height
    for corner in (1e-6, 1 - 1e-6):
        y, x = ((rows - crop.top + corner) * down).astype(int), ((columns - crop.left + corner) * across).astype(int)
        assert seen[y, x].all(), case
    assert mask.any() or not seen.any(), case


def test_a_crop_of_its_own_size_comes_back_bit_for_bit() -> None:
    photo = np.random.default_rng(1).random((75, 91, 3), dtype=np.float32)
    mask = np.zeros((75, 91), dtype=bool)
    mask[70:75, 80:91] = True
    (crop,) = crops.around([mask], 0, 1.2, 8)
    assert (crop.width, crop.height) == crop.size == (16, 8)
    np.testing.assert_array_equal(crops.uncut(crops.cut(photo, crop), crop, (91, 75)), photo[67:75, 75:91])


def test_a_crop_that_would_come_back_soft_is_refused() -> None:
    mask = np.zeros((3000, 4000), dtype=bool)
    mask[200:2900, 100:3900] = True
    (crop,) = crops.around([mask], 1024, 1.2, 16)
    with pytest.raises(ValueError, match=r"stretched 3\.4 times .* 4000 x 3000.*Fit Photo to Size"):
        crops.uncut(np.zeros((*crop.size[::-1], 3), dtype=np.float32), crop, (4000, 3000))


def test_a_soft_mask_lies_inside_the_hard_one() -> None:
    mask = np.zeros((200, 200), dtype=bool)
    mask[50:150, 40:160] = True
    (crop,) = crops.around([mask], 256, 1.5, 16)
    seen, soft = crops.cut_mask(mask, crop), crops.cut_weights(blending.soft_edge(mask, 10), mask, crop)
    assert not soft[~seen].any() and soft.max() == 1
    assert ((soft > 0.05) & (soft < 0.95)).sum() > 1000


def test_the_crop_lies_around_its_mask() -> None:
    mask = np.zeros((1000, 1500), dtype=bool)
    mask[400:600, 700:900] = True
    (crop,) = crops.around([mask], 256, 1.5, 16)
    assert crop == crops.Crop(650, 350, 300, 300, (256, 256))
    (shifted,) = crops.around([np.roll(mask, 600, axis=1)], 256, 1.5, 16)
    assert (shifted.left, shifted.width) == (1200, 300)


def test_an_elongated_mask_gets_more_of_the_photo_around_it() -> None:
    mask = np.zeros((1000, 1500), dtype=bool)
    mask[500:510, 100:1100] = True
    (crop,) = crops.around([mask], 512, 1.2, 16)
    assert (crop.width, crop.height) == (1200, 613), "in the proportions of its size"
    assert crop.size == (720, 368)


def test_a_single_pixel_is_not_blown_up() -> None:
    mask = np.zeros((1000, 1500), dtype=bool)
    mask[0, 0] = True
    (crop,) = crops.around([mask], 1024, 1.2, 16)
    assert crop == crops.Crop(0, 0, 256, 256, (1024, 1024))


def test_crops_of_a_batch_have_one_size() -> None:
    masks = np.zeros((3, 120, 120), dtype=bool)
    masks[0, :, 50:60], masks[1, 50:60, :] = True, True
    for side in (0, 64):
        found = crops.around(list(masks), side, 1.0, 8)
        assert len({crop.size for crop in found}) == 1
        for mask, crop in zip(masks, found, strict=True):
            assert_covers(crops.cut_mask(mask, crop), mask, crop, "batch")
            stretch = crop.width * crop.size[1] / (crop.height * crop.size[0])
            assert 1 / crops.MAX_STRETCH <= stretch <= crops.MAX_STRETCH


def test_an_editor_that_moved_the_pixels_is_found_out() -> None:
    crop = crops.Crop(0, 0, 100, 80, (100, 80))
    with pytest.raises(ValueError, match="is 96 x 80, but it was 100 x 80: its pixels have moved"):
        crops.uncut(np.zeros((80, 96, 3), dtype=np.float32), crop, (100, 80))
    assert crops.uncut(np.ones((160, 200, 3), dtype=np.float32), crop, (90, 80)).shape == (80, 90, 3)


def test_the_soft_edge_lies_inside_and_is_closed_at_the_pictures_border() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:, 10:] = True
    weights = blending.soft_edge(mask, 4)
    np.testing.assert_array_equal(weights > 0, mask)
    np.testing.assert_allclose(weights[10:16, 30], [0.2, 0.4, 0.6, 0.8, 1.0, 1.0], rtol=1e-6)
    assert weights[39, 39] == 1 and weights[39, 30] == 1
    np.testing.assert_array_equal(blending.soft_edge(mask, 0), mask)
    assert blending.soft_edge(np.ones((5, 5), dtype=bool), 4).min() == 1


class TestMatchColour:
    @pytest.fixture
    def photo(self) -> np.ndarray:
        return np.random.default_rng(3).random((60, 80, 3), dtype=np.float32) * np.float32(0.6) + np.float32(0.2)

    def test_takes_out_a_drift_but_not_the_edit(self, photo: np.ndarray) -> None:
        mask = np.zeros((60, 80), dtype=bool)
        mask[20:40, 20:50] = True
        wanted = photo.copy()
        wanted[mask] = (0.8, 0.1, 0.1)
        drifted = (wanted * np.float32([0.9, 0.95, 1.05]) + np.float32([0.04, 0.02, -0.01])).astype(np.float32)
        drifted[:6] = 0.5  # the editor changed another place too
        matched = blending.match_colour(drifted, photo, mask, 1.0)
        np.testing.assert_allclose(matched[6:], wanted[6:], atol=2e-3)
        halfway = blending.match_colour(drifted, photo, mask, 0.5)
        np.testing.assert_allclose(halfway, (matched + drifted) / 2, atol=1e-6)

    def test_an_exact_picture_stays(self, photo: np.ndarray) -> None:
        mask = np.zeros((60, 80), dtype=bool)
        np.testing.assert_allclose(blending.match_colour(photo, photo, mask, 1.0), photo, atol=1e-6)

    def test_a_flat_picture_gets_an_offset_alone(self) -> None:
        flat = np.full((20, 20, 3), 0.4, dtype=np.float32)
        matched = blending.match_colour(flat, flat + np.float32(0.1), np.zeros((20, 20), dtype=bool), 1.0)
        np.testing.assert_allclose(matched, 0.5, atol=1e-6)

    def test_with_nothing_outside_there_is_nothing_to_compare(self, photo: np.ndarray) -> None:
        everywhere = np.ones((60, 80), dtype=bool)
        np.testing.assert_array_equal(blending.match_colour(photo * 0.5, photo, everywhere, 1.0), photo * 0.5)
