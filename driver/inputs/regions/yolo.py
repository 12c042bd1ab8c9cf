"""YOLO's labels: a `.txt` for each photo, in shares of it: boxes, segments, oriented boxes, boxes with keypoints.

Names of classes stand in `data.yaml`, or in `classes.txt`. A label's photo lies in `images/` where it lies in `labels/`, or
beside it; which photos there are is seen from the folder, whatever paths `data.yaml` has.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import yaml

from comfy_nodes.core.regions.annotation import AnnotationError

from ...errors import RunError
from ..find import Input
from ..photo import InputError
from ..storage import unreadable, walk
from .marked import Marked, box, check_shares, name_of_class, number, polygons, scaled
from .names import PhotoNames
from .reader import Found, Upright, pass_mark, whole_text

LISTS = ("classes.txt", "obj.names", "_darknet.labels")
"""Files with a class's name in each line."""


@dataclass(frozen=True)
class _Classes:
    names: dict[int, str | None]
    keypoints: int
    """How many numbers they take behind a box; 0 where there are none."""


def yolo(given: Input, names: PhotoNames) -> Iterator[Found]:
    """All labels below a folder, by name.

    Raises:
        RunError: nothing says what its classes are called.
    """
    files = list(_told(given))
    try:
        classes = _classes(given, files)
    except (InputError, OSError) as error:
        why = unreadable(error) if isinstance(error, OSError) else str(error)
        raise RunError(f"--input {given.given}: YOLO: {why}") from None
    for file in walk(given.storage):
        if not file.lower().endswith(".txt") or posixpath.basename(file) in LISTS:
            continue
        photo = _photo(file, names)
        if photo is not None or "labels" in file.split("/"):
            written = photo or posixpath.splitext(_beside(file)[0])[0] + ".jpg"
            yield Found(written, file, partial(_marked, given, file, written, classes))


def _told(given: Input) -> Iterator[str]:
    """Files that classes may be named in: those nearest to the top first."""
    found = [
        name
        for name in walk(given.storage)
        if name.lower().endswith((".yaml", ".yml")) or posixpath.basename(name) in LISTS
    ]
    yield from sorted(found, key=lambda name: (name.endswith(LISTS), name.count("/"), name))


def _classes(given: Input, files: list[str]) -> _Classes:
    for file in files:
        with given.storage.open(file) as opened:
            pass_mark(opened)
            try:
                text = whole_text(opened).decode()
                item = text.splitlines() if file.endswith(LISTS) else yaml.safe_load(text)
            except (UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError):
                raise InputError(f"{file} cannot be read as UTF-8 YAML") from None
        listed = {"names": item} if isinstance(item, list) else item
        if isinstance(listed, dict) and isinstance(listed.get("names"), list | dict):
            return _Classes(_numbered(listed["names"], file), _keypoints(listed.get("kpt_shape")))
    raise InputError("no data.yaml with names and no classes.txt in the folder, which say what its classes are called")


def _numbered(names: Any, file: str) -> dict[int, str | None]:
    pairs = names.items() if isinstance(names, dict) else enumerate(names)
    try:
        return {int(number): name_of_class(name) for number, name in pairs}
    except (TypeError, ValueError):
        raise InputError(f"{file}: names are no list, and not numbered") from None


def _keypoints(shape: Any) -> int:
    whole = isinstance(shape, list) and len(shape) == 2 and all(isinstance(one, int) for one in shape)
    return shape[0] * shape[1] if whole else 0


def _beside(file: str) -> list[str]:
    """Where a label's photo may lie, without its ending: in `images/` for `labels/`, below the image root, beside it."""
    parts = posixpath.splitext(file)[0].split("/")
    if "labels" not in parts[:-1]:
        return ["/".join(parts)]
    place = len(parts) - 2 - parts[-2::-1].index("labels")
    return ["/".join(one) for one in ([*parts[:place], "images", *parts[place + 1 :]], parts[place + 1 :], parts)]


def _photo(file: str, names: PhotoNames) -> str | None:
    return next((found for stem in _beside(file) if (found := names.called(stem))), None)


def _marked(given: Input, file: str, written: str, classes: _Classes, upright: Upright) -> Marked:
    found = Marked(written, upright())
    if found.size is None:
        return found  # what is wrong with the photo is said of it
    try:
        with given.storage.open(file) as opened:
            pass_mark(opened)
            lines = whole_text(opened).decode().splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{file} cannot be read as UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{file}: {unreadable(error)}") from None
    for place, line in enumerate(lines, 1):
        if line.strip():
            _line(found, f"line {place}", line.split(), classes)
    return found


def _line(found: Marked, label: str, words: list[str], classes: _Classes) -> None:
    try:
        first, *numbers = (number(word) for word in words)
        if first not in classes.names:
            raise AnnotationError(f"class {words[0]} has no name in data.yaml")
        check_shares(numbers)
        if classes.keypoints and len(numbers) == 4 + classes.keypoints:
            numbers = numbers[:4]
        # A detector's own labels may end with its confidence.
        score = numbers.pop() if len(numbers) in (5, 9) else None
        found.add(label, classes.names[int(first)], lambda: _shape(numbers, found), score=score)
    except AnnotationError as error:
        found.faults.append(f"{label}: {error}")


def _shape(shares: list[float], found: Marked) -> dict[str, Any]:
    pixels = scaled(shares, found.pixels())
    if len(pixels) == 4:
        x, y, across, down = pixels
        return box(x - across / 2, y - down / 2, x + across / 2, y + down / 2)
    if len(pixels) < 6 or len(pixels) % 2:
        raise AnnotationError(
            f"{len(pixels)} numbers behind its class are neither a box nor corners; keypoints need kpt_shape in data.yaml"
        )
    return polygons([pixels], found.pixels())
