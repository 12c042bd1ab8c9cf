"""Pascal VOC's XML: a file for each picture with its things' boxes, and pictures of segmentation beside them.

In `SegmentationObject/NAME.png` a pixel's number is that of its thing in the annotation, from 1; in `SegmentationClass/NAME.png`
that of its class, so that it marks a thing that is the only one of its class.
"""

from __future__ import annotations

import io
import math
import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from comfy_nodes.core.photos import MAX_PIXELS
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import AnnotationError

from ..find import Input
from ..photo import InputError
from ..storage import Storage
from .marked import Marked, box, name_of_class, number, polygons, runs, turned, whole_size
from .names import PhotoNames
from .reader import Broken, Found, Upright, each_file, whole_text

OBJECTS, CLASSES = "SegmentationObject", "SegmentationClass"
"""Folders beside that of the annotations."""

NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""VOC's classes by their number in `SegmentationClass`, from 1 (VOC's development kit)."""

BORDER = 255
"""The number of pixels between things."""

LEAST = 0.5
"""A mask of which less lies in its thing's box is another thing's. Ours."""

Picture = Callable[[str], "np.ndarray | None"]
"""Gives the numbers in a picture of segmentation, uint8 [H, W], of one of the two folders; None where there is none."""


def pascal_voc(given: Input, names: PhotoNames) -> Iterator[Found | Broken]:
    """Pascal VOC's files."""
    return each_file(given, partial(_voc, given))


class _Tree(ElementTree.TreeBuilder):
    """Elements of a file without a document type, in which entities could be declared that grow without end."""

    def doctype(self, *_: str | None) -> None:
        raise InputError("it declares a document type, which annotations do not have; take the <!DOCTYPE> out")


def read_xml(file: BinaryIO) -> ElementTree.Element:
    """
    Raises:
        InputError: not XML, or more than annotations are.
    """
    try:
        return ElementTree.fromstring(whole_text(file), parser=ElementTree.XMLParser(target=_Tree()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"not XML ({error})") from None


def _voc(given: Input, file: BinaryIO, name: str) -> Iterator[Found]:
    root = read_xml(file)
    if root.tag != "annotation":
        raise InputError(f"Pascal VOC: its root is {root.tag[:40]}, not annotation")
    written = (root.findtext("filename") or "").strip()
    if not written:
        raise InputError("Pascal VOC: no filename")
    if not PurePosixPath(written).suffix:
        written += PurePosixPath(root.findtext("path") or "").suffix or ".jpg"
    picture = partial(_picture, given.storage, name, (root.findtext("segmented") or "").strip() == "1")
    yield Found(written, name, partial(_marked, root, written, picture))


def _marked(root: ElementTree.Element, written: str, picture: Picture, upright: Upright) -> Marked:
    found = Marked(written, whole_size(root.findtext("size/width"), root.findtext("size/height")) or upright())
    things = list(root.iterfind("object"))
    names = [name_of_class(thing.findtext("name")) for thing in things]
    masks = _Masks.of(picture, names, found)
    for place, (thing, name) in enumerate(zip(things, names, strict=True)):
        label = f"object {place} ({name})"
        found.add(label, name, partial(_masked, partial(_shape, thing, found), masks, place, label, found))
    return found


def _masked(
    shape: Callable[[], dict[str, Any]], masks: _Masks | None, place: int, label: str, found: Marked
) -> dict[str, Any]:
    """A thing's shape, with what a picture of segmentation marks of it in the place of its box."""
    told = shape()
    if masks is None or told["mask"] is not None or (mask := masks.of_thing(place)) is None:
        return told
    if not mask.any():
        found.left_out.append(f"{label}: its picture of segmentation marks nothing of it; its box is used")
        return told
    if (within := _within(mask, told["bbox"])) < LEAST:
        found.left_out.append(
            f"{label}: {within:.0%} of what its picture of segmentation marks lies in its box; the box is used"
        )
        return told
    return runs(rle.encode(mask).model_dump())


def _within(mask: np.ndarray, bbox: list[float]) -> float:
    """The share of a mask's pixels that lie in a box."""
    x1, y1, x2, y2 = (max(0, round(one)) for one in bbox)
    return float(mask[y1:y2, x1:x2].sum() / mask.sum())


@dataclass(frozen=True)
class _Masks:
    """A picture of segmentation."""

    numbers: np.ndarray
    """uint8 [H, W]; 0 is nothing."""
    things: tuple[int | None, ...]
    """The number of each thing; None of one that it does not mark by itself."""

    @classmethod
    def of(cls, picture: Picture, names: Sequence[str | None], found: Marked) -> _Masks | None:
        """That of things, or else of classes; None where there is none that can be used.

        Args:
            names: of the annotation's things.
        """
        for folder in (OBJECTS, CLASSES):
            try:
                numbers = picture(folder)
                if numbers is not None and found.size not in (None, numbers.shape[::-1]):
                    raise AnnotationError("it is of another size than its annotation says")
            except AnnotationError as error:
                found.left_out.append(f"{folder}: {error}; boxes are used")
                return None
            if numbers is not None and folder == OBJECTS:
                most = int(numbers[numbers != BORDER].max(initial=0))
                if most > len(names):
                    found.left_out.append(
                        f"{folder}: it marks {most} things, of which the annotation names {len(names)}"
                    )
                return cls(numbers, tuple(range(1, len(names) + 1)))
            if numbers is not None:
                return cls(numbers, tuple(_class_number(name, names) for name in names))
        return None

    def of_thing(self, place: int) -> np.ndarray | None:
        """bool [H, W]: what it marks of a thing; None where it marks none by itself."""
        number = self.things[place]
        return None if number is None else self.numbers == number


def _class_number(name: str | None, names: Sequence[str | None]) -> int | None:
    """The number of a class of which there is one thing."""
    plain = (name or "").replace(" ", "")
    return NAMES.index(plain) + 1 if plain in NAMES and names.count(name) == 1 else None


def _picture(storage: Storage, file: str, segmented: bool, folder: str) -> np.ndarray | None:
    """See `Picture`.

    Args:
        file: the annotation's.
        segmented: whether it says that there are such pictures; behind a URL nobody asks otherwise.

    Raises:
        AnnotationError: it holds no numbers.
    """
    if storage.remote and not segmented:
        return None
    above = posixpath.dirname(posixpath.dirname(file))
    path = posixpath.join(above, folder, f"{PurePosixPath(file).stem}.png")
    try:
        with Image.open(io.BytesIO(storage.read(path))) as picture:
            if picture.mode not in ("P", "L", "1") or picture.width * picture.height > MAX_PIXELS:
                raise AnnotationError(f"it is a picture in {picture.mode}, not one of numbers with a palette")
            return np.asarray(picture, np.uint8)
    except FileNotFoundError:
        return None
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError("it cannot be read as a PNG") from None


def _shape(thing: ElementTree.Element, found: Marked) -> dict[str, Any]:
    if (drawn := thing.find("polygon")) is not None:
        return polygons([_corners(drawn)], found.pixels())
    if (drawn := thing.find("robndbox")) is not None:
        cx, cy, width, height, angle = (number(drawn.findtext(one)) for one in ("cx", "cy", "w", "h", "angle"))
        return polygons([turned(cx, cy, width, height, math.degrees(angle))], found.pixels())
    if (drawn := thing.find("bndbox")) is None:
        raise AnnotationError("neither bndbox, robndbox nor polygon")
    x1, y1, x2, y2 = (number(drawn.findtext(one)) for one in ("xmin", "ymin", "xmax", "ymax"))
    # Pixels count from 1 there, and the last one belongs to the box.
    return box(x1 - 1, y1 - 1, x2, y2)


def _corners(drawn: ElementTree.Element) -> list[Any]:
    """x1, y1, x2, y2 … of as many corners as there are."""
    found: list[Any] = []
    for place in range(1, len(drawn) + 1):
        corner = drawn.findtext(f"x{place}"), drawn.findtext(f"y{place}")
        if None in corner:
            break
        found += corner
    return found
