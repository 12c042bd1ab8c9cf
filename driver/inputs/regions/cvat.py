"""CVAT's XML for images (version 1.1): boxes, also turned ones, polygons, ellipses and masks.

Read picture by picture, so that a file of any size takes no more memory than its largest picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np

from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import AnnotationError

from ..find import Input
from ..photo import InputError
from .marked import Marked, Size, box, ellipse, name_of_class, number, polygons, runs, turned, whole_size
from .names import PhotoNames
from .reader import Broken, Found, Upright, each_file

OUTLINES = ("box", "polygon", "ellipse", "mask")
UNMARKED = ("polyline", "points", "cuboid", "skeleton", "tag")
"""Shapes that mark no region of the picture."""

_HEAD = 1 << 16
"""Bytes that the root element begins in."""


def cvat(given: Input, names: PhotoNames) -> Iterator[Found | Broken]:
    """All pictures of CVAT's files."""
    return each_file(given, _images)


def _images(file: BinaryIO, name: str) -> Iterator[Found]:
    start = file.tell()
    head = file.read(_HEAD)
    if b"<annotations" not in head or b"<!" in head.partition(b"<annotations")[0]:
        raise InputError("CVAT: it does not begin with annotations in UTF-8, without a document type")
    file.seek(start)
    try:
        events = ElementTree.iterparse(file, ("start", "end"))
        _, root = next(events)
        for event, element in events:
            if event == "start" and element.tag == "track":
                raise InputError("CVAT: annotations of a video; export them as CVAT for images")
            if event == "end" and element.tag == "image":
                written = element.get("name") or ""
                if not written:
                    raise InputError("CVAT: an image without a name")
                yield Found(written, name, partial(_marked, element, written))
                root.remove(element)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"CVAT: not XML to its end ({error})") from None


def _marked(image: ElementTree.Element, written: str, upright: Upright) -> Marked:
    found = Marked(written, whole_size(image.get("width"), image.get("height")) or upright())
    for place, drawn in enumerate(image):
        name = name_of_class(drawn.get("label"))
        label = f"{drawn.tag} {place} ({name})"
        if drawn.tag in OUTLINES:
            found.add(label, name, partial(_shape, drawn, found))
        elif drawn.tag in UNMARKED:
            found.left_out.append(f"{label}: marks no region")
    return found


def _shape(drawn: ElementTree.Element, found: Marked) -> dict[str, Any]:
    def told(*names: str) -> list[float]:
        return [number(drawn.get(name)) for name in names]

    degrees = number(drawn.get("rotation", 0))
    if drawn.tag == "box":
        x1, y1, x2, y2 = told("xtl", "ytl", "xbr", "ybr")
        if not degrees:
            return box(x1, y1, x2, y2)
        return polygons([turned((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, degrees)], found.pixels())
    if drawn.tag == "polygon":
        corners = (drawn.get("points") or "").replace(";", ",").split(",")
        return polygons([corners], found.pixels())
    if drawn.tag == "ellipse":
        return polygons([ellipse(told("cx", "cy", "rx", "ry"), degrees)], found.pixels())
    left, top, width, height = (round(one) for one in told("left", "top", "width", "height"))
    return _rows(drawn.get("rle") or "", (left, top, width, height), found.pixels())


def _rows(text: str, place: tuple[int, int, int, int], size: Size) -> dict[str, Any]:
    """A mask of CVAT: runs of a part of the picture, row by row."""
    left, top, width, height = place
    if left < 0 or top < 0 or width < 1 or height < 1 or left + width > size[0] or top + height > size[1]:
        raise AnnotationError("its mask leaves the picture")
    try:
        counts = np.asarray([int(one) for one in text.split(",")], np.int64)
    except (ValueError, OverflowError):
        raise AnnotationError("its rle is no list of numbers") from None
    if (counts < 0).any() or (counts > width * height).any() or counts.sum() != width * height:
        raise AnnotationError("its mask's counts do not add up to its size")
    whole = np.zeros((size[1], size[0]), bool)
    part = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    whole[top : top + height, left : left + width] = part
    return runs(rle.encode(whole).model_dump())
