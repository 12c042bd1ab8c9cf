"""Boxes and points as SAM 2 is asked."""

from __future__ import annotations

import pytest

from comfy_nodes.models.queries import MaskPrompt, of_boxes, parse_points


def test_boxes_are_clipped_and_those_outside_are_not_asked() -> None:
    boxes = [(-5.0, -5.0, 10.0, 10.0), (90.0, 40.0, 300.0, 300.0), (100.0, 0.0, 120.0, 10.0), (5.0, 5.0, 5.0, 9.0)]
    assert of_boxes(boxes, (), 100, 50) == [MaskPrompt((0, 0, 10, 10)), MaskPrompt((90, 40, 100, 50)), None, None]


def test_each_box_takes_the_points_in_it() -> None:
    points = ((5.0, 5.0, True), (50.0, 20.0, False), (99.0, 49.0, True))
    first, second = of_boxes([(0, 0, 60, 40), (40, 10, 100, 50)], points, 100, 50)
    assert first is not None and first.points == points[:2]
    assert second is not None and second.points == points[1:]


def test_points_are_read_as_cores_sam3_node_has_them() -> None:
    assert parse_points('[{"x": 3, "y": 4.5}]', True) == ((3.0, 4.5, True),)
    assert parse_points("", True) == parse_points(None, False) == ()


@pytest.mark.parametrize("text", ["x", "[1]", '{"x": 1}', '[{"x": "a", "y": 2}]', '[{"x": NaN, "y": 1}]', "3"])
def test_other_points_end_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="points are not JSON such as") as caught:
        parse_points(text, True)
    assert "\n" not in str(caught.value)
