"""Boxes in the formats of core and other packs, there and back."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comfy_nodes.wires import box_formats
from comfy_nodes.wires.box_formats import Detection

NUMBER = st.integers(-50, 150).map(float)
BOX = st.tuples(NUMBER, NUMBER, NUMBER, NUMBER).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)
FRAMES = st.lists(
    st.lists(st.builds(Detection, BOX, st.sampled_from(["cat", ""]), st.sampled_from([None, 0.25])), max_size=3),
    max_size=4,
)

RTDETR = [[{"x": 10.5, "y": 20.0, "width": 30.0, "height": 5.25, "label": "bus", "score": 0.9}], []]
SAM3 = [[{"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "score": 0.5}]]
EDITOR = {"x": 1, "y": 2, "width": 3, "height": 4}


def test_takes_what_cores_nodes_send() -> None:
    assert box_formats.from_wire(RTDETR) == [[Detection((10.5, 20.0, 40.5, 25.25), "bus", 0.9)], []]
    assert box_formats.from_wire(SAM3) == [[Detection((1.0, 2.0, 4.0, 6.0), "", 0.5)]]
    assert box_formats.from_wire(EDITOR) == [[Detection((1.0, 2.0, 4.0, 6.0))]]
    assert box_formats.from_wire([EDITOR, EDITOR]) == [[Detection((1.0, 2.0, 4.0, 6.0))] * 2]
    assert box_formats.from_wire([]) == []
    assert box_formats.from_wire([[]]) == [[]]


@pytest.mark.parametrize(
    "value",
    [None, 7, "box", [[1, 2, 3, 4]], [[{"x": 1}]], [[{**EDITOR, "x": float("nan")}]], [[{**EDITOR, "width": -1}]], [[EDITOR], EDITOR]],
)  # fmt: skip
def test_anything_else_is_one_line(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        box_formats.from_wire(value)


@given(FRAMES)
def test_core_boxes_come_back(frames: list[list[Detection]]) -> None:
    assert box_formats.from_wire(box_formats.to_wire(frames)) == frames


@given(FRAMES, st.sampled_from(["xyxy", "xywh"]))
def test_bbox_comes_back(frames: list[list[Detection]], layout: Any) -> None:
    bare = [[Detection(found.box) for found in frame] for frame in frames]
    assert box_formats.from_bbox(box_formats.to_bbox(frames, layout), layout) == bare


@pytest.mark.parametrize(
    "value",
    [
        [1, 2, 4, 6],
        (1.0, 2.0, 4.0, 6.0),
        [[1, 2, 4, 6]],
        [(1, 2, 4, 6)],
        [[[1, 2, 4, 6]]],
        np.array([[1, 2, 4, 6]]),
        torch.tensor([1.0, 2.0, 4.0, 6.0]),
        [np.array([1, 2, 4, 6], dtype=np.float32)],
    ],
)
def test_takes_every_form_of_bbox(value: Any) -> None:
    assert box_formats.from_bbox(value, "xyxy") == [[Detection((1.0, 2.0, 4.0, 6.0))]]
    assert box_formats.from_bbox(value, "xywh") == [[Detection((1.0, 2.0, 5.0, 8.0))]]


@pytest.mark.parametrize(
    "value", [None, "x", 3, [[1, 2, 3]], [[[1, 2, 3, 4], [1]]], [[9, 9, 1, 1]], [[1, 2, float("inf"), 4]], [1, [2, 3]]]
)
def test_no_bbox_is_one_line(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        box_formats.from_bbox(value, "xyxy")


def test_bboxes_of_several_images_keep_their_places() -> None:
    assert box_formats.from_bbox([[], [[1, 2, 4, 6]], []], "xyxy") == [[], [Detection((1.0, 2.0, 4.0, 6.0))], []]


@given(st.lists(st.builds(Detection, BOX, st.just("cat"), st.just(0.5)), max_size=4), st.floats(1, 5))
def test_segs_hold_boxes_and_masks_of_the_image(found: list[Detection], factor: float) -> None:
    width, height = 100, 80
    size, segs = box_formats.to_segs(found, None, width, height, factor)
    assert size == (height, width)
    seen = []
    for one in found:
        x1, y1, x2, y2 = box_formats.inside(one.box, width, height)
        if x1 < x2 and y1 < y2:
            seen.append((x1, y1, x2, y2))
    assert [tuple(seg.bbox) for seg in segs] == seen
    for seg in segs:
        x1, y1, x2, y2 = seg.crop_region
        assert (
            0 <= x1 <= seg.bbox[0]
            and seg.bbox[2] <= x2 <= width
            and 0 <= y1 <= seg.bbox[1]
            and seg.bbox[3] <= y2 <= height
        )
        assert seg.cropped_mask.shape == (y2 - y1, x2 - x1) and seg.cropped_mask.dtype == np.float32
        assert (seg.label, seg.confidence, seg.control_net_wrapper) == ("cat", 0.5, None)
    back, masks, image = box_formats.from_segs((size, segs))
    assert image == (width, height)
    assert [tuple(map(int, one.box)) for one in back] == seen
    for (x1, y1, x2, y2), mask in zip(seen, masks, strict=True):
        expected = np.zeros((height, width), dtype=bool)
        expected[y1:y2, x1:x2] = True
        assert np.array_equal(mask, expected)


def test_segs_carry_masks() -> None:
    mask = np.zeros((80, 100), dtype=bool)
    mask[30:40, 50:70:2] = True
    _, (seg,) = box_formats.to_segs([Detection((48, 28, 72, 42), "fence")], [mask], 100, 80, 1.5)
    assert seg.confidence == 1.0
    found, (back,), _ = box_formats.from_segs(((80, 100), [seg]))
    assert np.array_equal(back, mask) and found == [Detection((48.0, 28.0, 72.0, 42.0), "fence", 1.0)]


def test_takes_impacts_own_records() -> None:
    """Impact's SEG by its field names and order, with the types that its detectors put in."""
    assert box_formats.SEG._fields == (
        "cropped_image", "cropped_mask", "confidence", "crop_region", "bbox", "label", "control_net_wrapper"
    )  # fmt: skip
    impact = namedtuple("Impact", box_formats.SEG._fields, defaults=[None])
    one = impact(
        None, torch.ones(1, 4, 6), np.array([0.75], dtype=np.float32), [2, 3, 8, 7], np.array([3, 4, 5, 6]), "hand"
    )
    found, (mask,), size = box_formats.from_segs(((10, 20), (one,)))
    assert found == [Detection((3.0, 4.0, 5.0, 6.0), "hand", 0.75)] and size == (20, 10)
    assert mask.sum() == 24 and mask[3:7, 2:8].all()


@pytest.mark.parametrize("value", [None, 3, [], ((1, 2),), ("ab", []), ((10, 10), None)])
def test_no_segs_is_one_line(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^not a SEGS[^\n]+$"):
        box_formats.from_segs(value)


def test_segs_with_masks_of_the_wrong_size_are_refused() -> None:
    one = box_formats.SEG(None, np.ones((3, 3)), 1.0, [0, 0, 4, 4], [0, 0, 1, 1], "x")
    with pytest.raises(ValueError, match=r"mask of \(3, 3\)"):
        box_formats.from_segs(((10, 10), [one]))
