"""What is taken out of a pair before the edit is looked for, and what is then found, on a bundled photo."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from comfy_nodes.core.verdicts import alignment
from comfy_nodes.core.verdicts.pixel_changes import Change, cell_means, difference, find
from comfy_nodes.core.verdicts.pixel_limits import MAX_UNREST

PHOTO = Path(__file__).resolve().parents[2] / "samples" / "photos" / "coffee.png"


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    with Image.open(PHOTO) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def object_mask(photo: np.ndarray) -> np.ndarray:
    mask = np.zeros(photo.shape[:2], dtype=bool)
    mask[120:200, 220:330] = True
    return mask


def moved(photo: np.ndarray, dx: int, dy: int) -> np.ndarray:
    rows = np.clip(np.arange(photo.shape[0]) - dy, 0, photo.shape[0] - 1)
    columns = np.clip(np.arange(photo.shape[1]) - dx, 0, photo.shape[1] - 1)
    return photo[rows][:, columns]


def jpeg(photo: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def toned(photo: np.ndarray, gain: float, offset: float, where: np.ndarray | None = None) -> np.ndarray:
    new = np.clip(np.rint(photo * gain + offset), 0, 255).astype(np.uint8)
    return new if where is None else np.where(where[..., None], new, photo)


def found(photo: np.ndarray, edited: np.ndarray, region: np.ndarray | None = None, put_back: bool = False) -> Change:
    return find(photo, edited, region, put_back, levels=8)


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, -1), (-1, 1), (3, 2), (-7, 5), (12, -9)])
def test_a_shift_is_measured_and_no_edit(photo: np.ndarray, dx: int, dy: int) -> None:
    change = found(photo, moved(photo, dx, dy))
    assert (change.motion.dx, change.motion.dy) == (pytest.approx(dx, abs=0.25), pytest.approx(dy, abs=0.25))
    assert not change.mask.any()


def test_half_a_pixel_is_measured_too(photo: np.ndarray) -> None:
    half = ((photo.astype(int) + moved(photo, 1, 0)) / 2).round().astype(np.uint8)
    assert found(photo, half).motion.dx == pytest.approx(0.5, abs=0.2)


def test_an_edit_on_a_shifted_picture_is_found_where_it_is(photo: np.ndarray, object_mask: np.ndarray) -> None:
    edited = moved(toned(photo, 1.0, 35.0, object_mask), 1, 1)
    change = found(photo, edited)
    assert (change.motion.dx, change.motion.dy) == (pytest.approx(1, abs=0.25), pytest.approx(1, abs=0.25))
    both = (change.mask & object_mask).sum()
    assert both / (change.mask | object_mask).sum() > 0.85


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 6.0), (0.95, 0.0), (1.04, -5.0)])
def test_a_drift_is_measured_and_no_edit(photo: np.ndarray, gain: float, offset: float) -> None:
    change = found(photo, toned(photo, gain, offset))
    assert change.drift.gain == tuple(pytest.approx(gain, abs=0.01) for _ in range(3))
    assert change.drift.offset == tuple(pytest.approx(offset, abs=1.0) for _ in range(3))
    assert not change.mask.any()


def test_a_picture_toned_on_purpose_is_an_edit(photo: np.ndarray) -> None:
    change = found(photo, toned(photo, 0.6, 0.0))
    assert not change.drift.is_flicker
    assert change.share > 0.5


@pytest.mark.parametrize("known", [False, True])
def test_an_object_with_a_new_tone_is_no_drift(photo: np.ndarray, object_mask: np.ndarray, known: bool) -> None:
    change = found(photo, toned(photo, 1.0, 14.0, object_mask), object_mask if known else None)
    assert change.drift.levels < 0.5
    assert (change.mask & object_mask).sum() > 0.95 * object_mask.sum()
    assert not (change.mask & ~object_mask).any()


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_reencoding_is_no_edit_though_pixels_differ(photo: np.ndarray, quality: int) -> None:
    encoded = jpeg(photo, quality)
    assert (difference(photo, encoded) > 8).mean() > 0.02
    assert found(photo, encoded).cells == 0


def test_a_strange_texture_of_the_same_mean_is_an_edit(photo: np.ndarray, object_mask: np.ndarray) -> None:
    mirrored = np.where(object_mask[..., None], photo[:, ::-1], photo)
    assert found(photo, mirrored, object_mask, put_back=True).share > 0.5 * object_mask.mean()


def test_extra_counts_what_lies_beyond_the_margin(photo: np.ndarray, object_mask: np.ndarray) -> None:
    beside, far = np.zeros_like(object_mask), np.zeros_like(object_mask)
    beside[120:200, 330:336] = True
    far[320:360, 40:80] = True
    assert found(photo, toned(photo, 1.0, 30.0, object_mask | beside), object_mask).extra == 0.0
    extra = found(photo, toned(photo, 1.0, 30.0, object_mask | far), object_mask).extra
    assert extra == pytest.approx(far.mean(), rel=0.05)


def test_a_lone_speck_is_no_edit(photo: np.ndarray) -> None:
    specked = photo.copy()
    specked[50:53, 60:63] = 255 - specked[50:53, 60:63]
    assert found(photo, specked).cells == 0


@pytest.mark.parametrize("side", [1, 3, 4, 16])
def test_cells_are_means(photo: np.ndarray, side: int) -> None:
    part = photo[:70, :90]
    cells = cell_means(part, side)
    assert cells.shape == (70 // side, 90 // side, 3)
    assert cells[1, 2] == pytest.approx(part[side : 2 * side, 2 * side : 3 * side].mean(axis=(0, 1)), abs=1e-3)


def test_cells_move_between_each_other() -> None:
    ramp = np.tile(np.arange(20, dtype=np.float32), (10, 1))
    assert alignment.shifted(ramp, 0.25, 0)[5, 10] == pytest.approx(9.75)
    assert alignment.shifted(ramp.T, 0, -1.5)[10, 5] == pytest.approx(11.5)


def zoomed(photo: np.ndarray, zoom: float, turn: float = 0.0) -> np.ndarray:
    height, width = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, zoom)
    return cv2.warpAffine(photo, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize(("zoom", "turn"), [(1.01, 0.0), (1.02, 0.0), (0.985, 0.0), (1.0, 0.6), (1.015, -0.5)])
def test_a_zoom_and_a_turn_are_measured_and_no_edit(photo: np.ndarray, zoom: float, turn: float) -> None:
    change = found(photo, zoomed(photo, zoom, turn))
    assert change.motion.zoom == pytest.approx(zoom, abs=0.001)
    assert change.motion.turn == pytest.approx(-turn, abs=0.1)
    assert change.share < 0.001


def test_an_edit_under_a_zoom_is_found_where_it_was_meant(photo: np.ndarray, object_mask: np.ndarray) -> None:
    change = found(photo, zoomed(toned(photo, 1.0, 35.0, object_mask), 1.02), object_mask)
    both = (change.mask & object_mask).sum()
    assert both / (change.mask | object_mask).sum() > 0.85
    assert change.extra == 0.0


def test_a_zoom_that_was_asked_for_is_an_edit(photo: np.ndarray) -> None:
    assert found(photo, zoomed(photo, 1.2)).share > 0.1


@pytest.mark.parametrize("strength", [0.75, 1.2])
def test_a_colour_matrix_is_measured_and_no_edit(photo: np.ndarray, strength: float) -> None:
    light = (photo @ np.array([0.299, 0.587, 0.114]))[..., None]
    change = found(photo, np.clip(np.rint(light + (photo - light) * strength), 0, 255).astype(np.uint8))
    assert change.drift.mixed == pytest.approx(abs(1 - strength) * 0.587, abs=0.05)
    assert change.share < 0.001


def test_one_colour_of_a_grey_picture_is_an_edit_and_no_matrix(photo: np.ndarray, object_mask: np.ndarray) -> None:
    """All that has a colour is the thing, so that a matrix would explain its new one."""
    grey = np.repeat((photo @ np.array([0.3, 0.59, 0.11]))[..., None], 3, axis=2)
    before, after = (np.where(object_mask[..., None], grey * by, grey) for by in ([1.1, 0.6, 0.5], [1.0, 0.8, 0.4]))
    change = found(before.clip(0, 255).astype(np.uint8), after.clip(0, 255).astype(np.uint8))
    assert (change.mask & object_mask).sum() > 0.8 * object_mask.sum()


@pytest.mark.parametrize("drift", [(-6.0, 0.0, 5.0), (0.0, 0.0, 0.0)])
def test_a_small_edit_is_as_large_under_a_drift_against_it(
    photo: np.ndarray, object_mask: np.ndarray, drift: tuple[float, float, float]
) -> None:
    """At its border an edit is told pixel by pixel, and the drift must not hide it there."""
    small = np.zeros_like(object_mask)
    small[130:146, 230:246] = True
    edited = toned(photo, 1.0, 0.0) + np.where(small[..., None], (10.0, -8.0, 0.0), 0.0) + np.array(drift)
    change = found(photo, np.clip(np.rint(edited), 0, 255).astype(np.uint8), small)
    assert (change.mask & small).sum() > 0.8 * small.sum()


def test_what_draws_most_of_a_picture_anew_is_restless(photo: np.ndarray) -> None:
    flat = np.asarray(Image.fromarray(photo).quantize(6).convert("RGB"))
    assert found(photo, flat).unrest > 2 * MAX_UNREST
    assert found(photo, jpeg(photo, 30)).unrest < MAX_UNREST / 1.5
