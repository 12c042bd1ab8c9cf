"""Repairs of masks, above all at the picture's border."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-contrib-python-headless")

from comfy_nodes.imaging import masks as mask_ops

SIZE = 60
ALL = np.ones((SIZE, 80), dtype=bool)
NONE = np.zeros((SIZE, 80), dtype=bool)


def block(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = NONE.copy()
    mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize("mask", [ALL, NONE], ids=["all", "none"])
def test_full_and_empty_masks_stay_as_they_are(mask: np.ndarray) -> None:
    assert (mask_ops.fill_holes(mask, 1.0) == mask).all()
    assert (mask_ops.drop_islands(mask, 1.0) == mask).all()
    for pixels in (-7, 0, 7):
        assert (mask_ops.resize(mask, pixels) == mask).all()
    assert (mask_ops.feather(mask, 7) == mask.astype(np.float32)).all()


def test_holes_are_filled_up_to_a_share_of_the_mask() -> None:
    ring = block(10, 10, 50, 50) & ~block(20, 20, 24, 24) & ~block(30, 30, 45, 45)
    filled = mask_ops.fill_holes(ring, 0.05)
    assert filled[20:24, 20:24].all()
    assert not filled[30:45, 30:45].any()
    assert (mask_ops.fill_holes(ring, 1.0) == block(10, 10, 50, 50)).all()
    assert (mask_ops.fill_holes(ring, 0.0) == ring).all()


def test_what_is_open_to_the_border_is_no_hole() -> None:
    arch = block(0, 10, 40, 50) & ~block(0, 20, 20, 40)
    assert (mask_ops.fill_holes(arch, 1.0) == arch).all()
    corner = ALL & ~block(0, 0, 3, 3)
    assert (mask_ops.fill_holes(corner, 1.0) == corner).all()


def test_a_hole_is_closed_where_the_mask_meets_at_corners() -> None:
    """Two diagonal neighbours of the mask keep inside and outside apart."""
    ring = block(10, 10, 20, 20) & ~block(12, 12, 18, 18)
    ring[10, 10:12] = ring[11, 10] = False
    assert mask_ops.fill_holes(ring, 1.0)[12:18, 12:18].all()


def test_islands_under_a_share_are_dropped_and_the_largest_stays() -> None:
    big, small, speck = block(5, 5, 25, 25), block(40, 40, 50, 50), block(55, 70, 56, 71)
    mask = big | small | speck
    assert (mask_ops.drop_islands(mask, 0.01) == (big | small)).all()
    assert (mask_ops.drop_islands(mask, 0.5) == big).all()
    assert (mask_ops.drop_islands(mask, 1.0) == big).all()
    assert (mask_ops.drop_islands(mask, 0.0) == mask).all()
    assert (mask_ops.drop_islands(speck, 0.9) == speck).all()


def test_hull_and_box_lose_the_outline_and_nothing_of_the_mask() -> None:
    mask = block(10, 10, 50, 20) | block(40, 10, 50, 60)  # an L
    hull, box = mask_ops.widened(mask, "hull"), mask_ops.widened(mask, "box")
    assert (mask <= hull).all() and (hull <= box).all() and mask.sum() < hull.sum() < box.sum()
    assert (box == block(10, 10, 50, 60)).all()
    assert (mask_ops.widened(mask, "as it is") == mask).all()
    assert not mask_ops.widened(np.zeros_like(mask), "hull").any()


def test_growing_and_shrinking_move_the_edge_by_the_pixels() -> None:
    mask = block(20, 20, 40, 60)
    grown, shrunk = mask_ops.resize(mask, 3), mask_ops.resize(mask, -3)
    assert np.flatnonzero(grown.any(axis=1))[[0, -1]].tolist() == [17, 42]
    assert (shrunk == block(23, 23, 37, 57)).all()
    assert not mask_ops.resize(mask, -30).any()


def test_at_the_border_the_mask_stays_closed() -> None:
    mask = block(0, 0, SIZE, 30)
    assert (mask_ops.resize(mask, -5) == block(0, 0, SIZE, 25)).all()
    soft = mask_ops.feather(mask, 6)
    assert (soft[:, :20] == 1).all()  # the borders above, below and to the left do not fade
    assert (soft[:, 40:] == 0).all()
    assert (np.diff(soft, axis=1) <= 0).all()


@pytest.mark.parametrize("pixels", [1, 2, 5, 12])
def test_a_soft_edge_reaches_as_far_as_it_says(pixels: int) -> None:
    mask = block(20, 20, 40, 60)
    soft = mask_ops.feather(mask, pixels)
    assert soft.dtype == np.float32 and soft.min() >= 0 and soft.max() <= 1
    assert not (soft[~mask_ops.resize(mask, 2 * pixels)] > 0).any()
    middle = soft[30]
    assert (middle[: 20 - pixels] == 0).all()
    assert 0 < middle[19] < 0.5 < middle[20] < 1 or pixels >= 10
    if pixels < 10:
        assert (soft[20 + pixels : 40 - pixels, 20 + pixels : 60 - pixels] == 1).all()
