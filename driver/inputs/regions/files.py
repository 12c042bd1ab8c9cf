"""Formats with one JSON file for one picture: LabelMe's, and that of SA-1B (SAM's data)."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import AnnotationError

from ...bounded_json import loads
from ..find import Input
from ..photo import InputError
from .marked import Marked, Size, box, ellipse, name_of_class, points, polygons, runs, whole_size
from .names import PhotoNames
from .reader import Broken, Found, Upright, each_file, whole_text

_OUTLINES = ("rectangle", "circle", "polygon", "mask", "rotation", "oriented_rectangle")
"""LabelMe's shapes that mark a region; `rotation` is X-AnyLabeling's. Points and lines mark none."""


def labelme(given: Input, names: PhotoNames) -> Iterator[Found | Broken]:
    """LabelMe's files. A rotated rectangle is a polygon of four points there. Embedded pictures (imageData) are not read."""
    return each_file(given, partial(_json, _labelme))


def sam(given: Input, names: PhotoNames) -> Iterator[Found | Broken]:
    """SA-1B's files: masks without a name, each with SAM's own `predicted_iou`."""
    return each_file(given, partial(_json, _sam))


def _json(read: Callable[[dict[str, Any], str], Found], file: BinaryIO, name: str) -> Iterator[Found]:
    try:
        item = loads(whole_text(file).decode())
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"not JSON ({error})") from None
    if not isinstance(item, dict):
        raise InputError("not one object, as others beside it")
    yield read(item, name)


# LabelMe


def _labelme(item: dict[str, Any], file: str) -> Found:
    written = item.get("imagePath")
    if not isinstance(written, str) or not isinstance(item.get("shapes"), list):
        raise InputError("LabelMe: no imagePath, or no list of shapes")
    return Found(written, file, partial(_labelme_marked, item, written))


def _labelme_marked(item: dict[str, Any], written: str, upright: Upright) -> Marked:
    size = whole_size(item.get("imageWidth"), item.get("imageHeight")) or upright()
    found = Marked(written, size)
    groups: dict[Any, list[dict[str, Any]]] = {}
    for place, shape in enumerate(item["shapes"]):
        if not isinstance(shape, dict):
            found.faults.append(f"shape {place}: no object")
            continue
        # Parts of one thing, such as what stands on both sides of a post, share a label and a group.
        group = shape.get("group_id")
        polygon = shape.get("shape_type") in (None, "polygon")
        groups.setdefault((str(group), str(shape.get("label"))) if polygon and group is not None else place, []).append(
            shape
        )
    for place, shapes in enumerate(groups.values()):
        kind = shapes[0].get("shape_type") or "polygon"
        name = name_of_class(shapes[0].get("label"))
        label = f"shape {place} ({name})"
        if kind not in _OUTLINES:
            found.left_out.append(f"{label}: a {kind}, which marks no region")
        else:
            found.add(label, name, partial(_labelme_shape, kind, shapes, found))
    return found


def _labelme_shape(kind: str, shapes: list[dict[str, Any]], found: Marked) -> dict[str, Any]:
    rings = [points(shape.get("points")) for shape in shapes]
    first = rings[0]
    if kind == "rectangle" and len(first) == 4:
        return box(*first)
    if kind == "circle":
        if len(first) != 4:
            raise AnnotationError("a circle has two points: its middle and one of its rim")
        radius = math.dist(first[:2], first[2:])
        return polygons([ellipse((first[0], first[1], radius, radius))], found.pixels())
    if kind == "mask":
        return _embedded(shapes[0].get("mask"), first, found.pixels())
    return polygons(rings, found.pixels())


def _embedded(text: Any, corners: list[float], size: Size) -> dict[str, Any]:
    """A region's shape of a small picture in base64 and of where its corners lie."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as picture:
            if picture.width > size[0] or picture.height > size[1]:
                raise ValueError
            marked = np.asarray(picture.convert("L")) > 0
        whole = np.zeros(size[::-1], bool)
        x, y = max(0, round(corners[0])), max(0, round(corners[1]))
        whole[y : y + marked.shape[0], x : x + marked.shape[1]] = marked[: size[1] - y, : size[0] - x]
    except (OSError, TypeError, ValueError, IndexError, SyntaxError):
        raise AnnotationError("its mask is no picture that fits between its corners") from None
    return runs(rle.encode(whole).model_dump())


# SA-1B


def _sam(item: dict[str, Any], file: str) -> Found:
    image = item.get("image")
    if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
        raise InputError("SA-1B: no image with a file_name")
    if not isinstance(item.get("annotations"), list):
        raise InputError("SA-1B: no list of annotations")
    return Found(image["file_name"], file, lambda _: _sam_marked(item))


def _sam_marked(item: dict[str, Any]) -> Marked:
    image = item["image"]
    found = Marked(image["file_name"], whole_size(image.get("width"), image.get("height")))
    for place, mark in enumerate(item["annotations"]):
        drawn = mark.get("segmentation") if isinstance(mark, dict) else None
        known = mark.get("predicted_iou") if isinstance(mark, dict) else None
        found.add(f"annotation {place}", None, partial(runs, drawn), sam_iou=known)
    return found
