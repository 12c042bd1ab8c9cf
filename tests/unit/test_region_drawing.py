"""Pictures of regions: where something is drawn, and where the photo stays."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from comfy_nodes.core.regions.drawing import DrawnRegion, draw

PHOTO = np.full((240, 320, 3), 90, dtype=np.uint8)


def changed(picture: np.ndarray) -> np.ndarray:
    return (picture != PHOTO).any(axis=-1)


def test_nothing_to_draw_leaves_the_photo() -> None:
    assert np.array_equal(draw(PHOTO, []), PHOTO)
    assert np.array_equal(
        draw(PHOTO, [DrawnRegion((400, 10, 500, 20), "far"), DrawnRegion((-50, -50, -1, -1), "off")]), PHOTO
    )


def test_the_photo_itself_is_not_touched() -> None:
    before = PHOTO.copy()
    draw(PHOTO, [DrawnRegion((10, 50, 100, 120), "cat", 0.9, np.ones((240, 320), dtype=bool))])
    assert np.array_equal(PHOTO, before)


def test_a_box_is_a_frame_with_its_caption_above() -> None:
    drawn = changed(draw(PHOTO, [DrawnRegion((40, 60, 140, 160), "cat", 0.9)]))
    assert drawn[60, 40:140].all() and drawn[159, 40:140].all() and drawn[60:160, 40].all() and drawn[60:160, 139].all()
    assert not drawn[70:150, 50:130].any()
    assert drawn[45:58, 42:60].any() and not drawn[165:].any()


@pytest.mark.parametrize(
    "box", [(0, 0, 320, 240), (-40, -40, 30, 30), (300, 220, 400, 300), (0.4, 0.6, 3.2, 2.9), (5, 5, 5, 5)]
)
def test_boxes_at_and_over_the_border_are_drawn(box: tuple[float, float, float, float]) -> None:
    assert changed(draw(PHOTO, [DrawnRegion(box, "a long name for a thing", 0.5)])).any()


def test_a_mask_is_tinted_and_edged() -> None:
    mask = np.zeros((240, 320), dtype=bool)
    mask[100:140, 200:260] = True
    picture = draw(PHOTO, [DrawnRegion(None, mask=mask)])
    assert np.array_equal(changed(picture), mask)
    inner, edge = picture[120, 230].astype(int), picture[100, 230].astype(int)
    assert np.abs(edge - 90).max() > np.abs(inner - 90).max() > 0
    outlined = changed(draw(PHOTO, [DrawnRegion(None, mask=mask)], opacity=0))
    assert outlined[100, 230] and not outlined[120, 230]


@pytest.mark.parametrize("mask", [np.zeros((240, 320), dtype=bool), np.ones((240, 320), dtype=bool)])
def test_empty_and_full_masks(mask: np.ndarray) -> None:
    assert np.array_equal(changed(draw(PHOTO, [DrawnRegion(None, mask=mask)])), mask)


def test_names_share_colours_and_differ_from_others() -> None:
    boxes = [(10, 60, 60, 110), (100, 60, 150, 110), (200, 60, 250, 110)]
    picture = draw(PHOTO, [DrawnRegion(box, name) for box, name in zip(boxes, ["cat", "dog", "cat"], strict=True)])
    corners = [tuple(picture[109, box[0]]) for box in boxes]
    assert corners[0] == corners[2] != corners[1]


def test_captions_do_not_cover_each_other() -> None:
    """Two boxes in one place: both plates are whole, so the second caption takes up room of its own."""
    one = draw(PHOTO, [DrawnRegion((40, 60, 240, 200), "first thing", 0.9)])
    both = draw(
        PHOTO, [DrawnRegion((40, 60, 240, 200), "first thing", 0.9), DrawnRegion((40, 60, 240, 200), "second", 0.8)]
    )
    assert changed(both).sum() > changed(one).sum() + 200


def test_needs_neither_torch_nor_comfyui() -> None:
    code = (
        "import sys; import comfy_nodes.core.regions.drawing; assert not {'torch', 'comfy', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
