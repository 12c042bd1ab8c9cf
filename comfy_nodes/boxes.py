"""Core's BOUNDING_BOX wire type: a list per image of dicts with x, y, width and height in pixels."""

from __future__ import annotations

from typing import Any

from .core.annotation import Region

Box = tuple[float, float, float, float]


def of_region(region: Region | None) -> list[list[dict[str, Any]]]:
    """One image's boxes: the region's, or none."""
    if region is None:
        return [[]]
    x1, y1, x2, y2 = region.bbox
    box: dict[str, Any] = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "label": region.class_name or ""}
    if region.score is not None:
        box["score"] = region.score
    return [[box]]


def per_image(boxes: Any) -> list[list[Box]]:
    """Boxes as (x1, y1, x2, y2), a list for each image.

    Core's nodes send one dict, a list of dicts (one image) or a list of lists (a batch).

    Raises:
        ValueError: something else came.
    """
    if isinstance(boxes, dict):
        boxes = [[boxes]]
    elif isinstance(boxes, list) and all(isinstance(box, dict) for box in boxes) and boxes:
        boxes = [boxes]
    try:
        return [[_corners(box) for box in image] for image in boxes]
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a BOUNDING_BOX (dicts with x, y, width, height): {error}") from None


def _corners(box: dict[str, Any]) -> Box:
    x, y = float(box["x"]), float(box["y"])
    return x, y, x + float(box["width"]), y + float(box["height"])
