"""Label Studio's JSON export: rectangles, polygons and ellipses in percent of the picture, turned about a corner, and brushes.

Its short export (JSON-MIN) is another format. Of a task with several annotations the first counts that was not cancelled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

import ijson  # type: ignore[import-untyped]

from comfy_nodes.core import photos

from ..find import Input
from ..photo import InputError
from .brush import brush
from .marked import Marked, box, ellipse, name_of_class, number, points, polygons, scaled, turned, whole_size
from .names import PhotoNames
from .reader import Broken, Found, Upright, each_file

OUTLINES = ("rectangle", "polygon", "ellipse", "brush")
UNMARKED = ("keypoint", "vector")
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What stands before a file's own name once it was uploaded."""


def label_studio(given: Input, names: PhotoNames) -> Iterator[Found | Broken]:
    """All tasks of Label Studio's exports."""
    return each_file(given, partial(_tasks, names))


def _tasks(names: PhotoNames, file: BinaryIO, name: str) -> Iterator[Found | Broken]:
    try:
        for place, task in enumerate(ijson.items(file, "item", use_float=True)):
            written = _written(task, names)
            if written:
                yield Found(written, name, partial(_marked, task, written))
            else:
                yield Broken(name, f"Label Studio: task {place} names no picture in its data", str(place))
    except ijson.JSONError:
        raise InputError("Label Studio: not JSON to its end; export it again") from None


def _written(task: Any, names: PhotoNames) -> str:
    """The path of a task's picture; "" where its data has none."""
    data = task.get("data") if isinstance(task, dict) else None
    paths = (
        [_path(photos.readable(one)) for one in data.values() if isinstance(one, str)] if isinstance(data, dict) else []
    )
    found = next((one for one in paths if PurePosixPath(one).suffix.lower() in photos.SUFFIXES), "")
    folder, mark, base = found.rpartition("/")
    return found if names.any_called(base) else folder + mark + _UPLOADED.sub("", base, count=1)


def _path(address: str) -> str:
    """Of an address the path in it, of local storage the one that it asks for."""
    if "://" not in address and not address.startswith("/data/"):
        return address
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path)


def _marked(task: dict[str, Any], written: str, upright: Upright) -> Marked:
    made = [one for one in task.get("annotations") or task.get("predictions") or () if isinstance(one, dict)]
    results = next((one.get("result") for one in made if not one.get("was_cancelled")), None) or []
    results = [one for one in results if isinstance(one, dict) and isinstance(one.get("value"), dict)]
    found = Marked(written, None)
    labels: dict[Any, str] = {}
    for one in results:
        listed = next((values for key, values in one["value"].items() if key.endswith("labels") and values), None)
        if isinstance(listed, list):
            labels.setdefault(str(one.get("id")), str(listed[0]))
    for place, one in enumerate(results):
        kind = str(one.get("type")).removesuffix("labels")
        name = name_of_class(labels.get(str(one.get("id"))))
        label = f"{kind} {place} ({name})"
        if kind in UNMARKED:
            found.left_out.append(f"{label}: marks no region")
        elif kind in OUTLINES and one.get("image_rotation"):
            found.faults.append(f"{label}: drawn on a picture that was turned in Label Studio, which is not read")
        elif kind in OUTLINES:
            size = whole_size(one.get("original_width"), one.get("original_height")) or upright()
            found.size = found.size or size
            found.add(label, name, partial(_shape, kind, one["value"], found), score=one.get("score"))
    return found


def _shape(kind: str, value: dict[str, Any], found: Marked) -> dict[str, Any]:
    width, height = found.pixels()
    if kind == "brush":
        return brush(value, (width, height))

    def pixels(side: int, *names: str) -> list[float]:
        return [number(value.get(name)) * side / 100 for name in names]

    if kind == "polygon":
        ring = [place / 100 for place in scaled(points(value.get("points")), (width, height))]
        return polygons([ring], (width, height))
    degrees = number(value.get("rotation") or 0)
    if kind == "ellipse":
        (cx, rx), (cy, ry) = pixels(width, "x", "radiusX"), pixels(height, "y", "radiusY")
        return polygons([ellipse((cx, cy, rx, ry), degrees)], (width, height))
    (x, across), (y, down) = pixels(width, "x", "width"), pixels(height, "y", "height")
    if not degrees:
        return box(x, y, x + across, y + down)
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    middle = x + (across * cosine - down * sine) / 2, y + (across * sine + down * cosine) / 2
    return polygons([turned(*middle, across, down, degrees)], (width, height))
