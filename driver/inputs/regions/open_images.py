"""Open Images' tables of boxes (`…-annotations-bbox.csv`) and of masks (`…-annotations-object-segmentation.csv`): boxes in
shares of the photo, classes by number, masks as pictures of their own beside the photos.

A table of any size is read once, into a temporary database. What its classes are called stands in a table of its own
(`class-descriptions-boxable.csv`) beside it. A mask is that of the box which has its place, or else a region of its own.
"""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from comfy_nodes.core import boxes
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import AnnotationError

from ..find import Input
from ..photo import InputError
from ..storage import Storage, unreadable, walk
from .marked import Marked, Size, box, check_shares, name_of_class, number, runs, scaled
from .names import PhotoNames, temporary
from .reader import Broken, Found, Upright

FIELDS = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
MASK_FIELDS = ("ImageID", "LabelName", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax")
MASK = "MaskPath"

SAME = 0.9
"""A mask is that of a box of which it has this IoU with its own box. Ours: both tables round."""

SKEWED = 0.02
"""How much a mask's shape may differ from its photo's. Ours: masks are of another size, rounded to whole pixels."""


class OpenImages:
    """All tables of an input, read once."""

    def __init__(self) -> None:
        self._db: sqlite3.Connection | None = None
        self._broken: list[Broken] = []
        self._named: dict[str, str] = {}
        self._masks: Storage | None = None
        self._names: PhotoNames | None = None

    def __call__(self, given: Input, names: PhotoNames) -> Iterator[Found | Broken]:
        if self._db is None:
            self._db = self._read(given)
            self._masks, self._names = given.photos, names
        yield from self._broken
        for image, file in self._db.execute("SELECT image, MIN(file) FROM mark GROUP BY image ORDER BY MIN(number)"):
            yield Found(f"{image}.jpg", file, partial(self._marked, self._db, image))

    def _read(self, given: Input) -> sqlite3.Connection:
        db = temporary()
        db.execute(
            "CREATE TABLE mark (number INTEGER PRIMARY KEY, file, line, image, label, x1, x2, y1, y2, several, mask)"
        )
        chosen = list(given.files())
        described = [name for name in walk(given.storage) if "class-descriptions" in name and name.endswith(".csv")]
        for file in dict.fromkeys([*chosen, *described]):
            try:
                with given.storage.open(file) as opened:
                    self._table(db, opened, file)
            except InputError as error:
                self._broken.append(Broken(file, str(error)))
            except OSError as error:
                self._broken.append(Broken(file, unreadable(error)))
        db.execute("CREATE INDEX by_image ON mark (image, number)")
        return db

    def _table(self, db: sqlite3.Connection, opened: BinaryIO, file: str) -> None:
        rows = csv.reader(io.TextIOWrapper(opened, "utf-8-sig", newline=""))
        try:
            head = next(rows, [])
            if "class-descriptions" in file:
                self._named |= {row[0]: row[1] for row in [head, *rows] if len(row) == 2}
                return
            fields = MASK_FIELDS if MASK in head else FIELDS
            if missing := [field for field in fields if field not in head]:
                raise InputError(f"Open Images: no table of boxes or masks, as it has no {', '.join(missing)}")
            places = [head.index(one) for one in fields]
            several, mask = (head.index(one) if one in head else None for one in ("IsGroupOf", MASK))
            db.executemany(
                "INSERT INTO mark VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                self._rows(rows, file, places, several, mask),
            )
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"Open Images: not a table in UTF-8 ({error})") from None

    def _rows(
        self, rows: Any, file: str, places: list[int], several: int | None, mask: int | None
    ) -> Iterator[tuple[Any, ...]]:
        for row in rows:
            try:
                image, label, *shares = (row[place] for place in places)
                group = several is not None and row[several] == "1"
                picture = "" if mask is None else row[mask]
            except IndexError:
                self._broken.append(
                    Broken(file, f"Open Images: line {rows.line_num} has too few cells", f"{rows.line_num}")
                )
                continue
            yield file, rows.line_num, image, label, *shares, group, picture

    def _marked(self, db: sqlite3.Connection, image: str, upright: Upright) -> Marked:
        found = Marked(image, upright())
        if found.size is None:
            return found  # what is wrong with the photo is said of it
        marks = [
            _Mark(f"line {line}", label, several, shares, mask)
            for line, label, several, mask, *shares in db.execute(
                "SELECT line, label, several, mask, x1, x2, y1, y2 FROM mark WHERE image = ? ORDER BY number", (image,)
            )
        ]
        masks = [one for one in marks if one.mask]
        for one in (one for one in marks if not one.mask):
            own = [] if one.several else [mask for mask in masks if one.has(mask)]
            masks = [mask for mask in masks if mask not in own[:1]]
            self._add(found, one, own[0].mask if own else "")
        for one in masks:
            self._add(found, one, one.mask)
        return found

    def _add(self, found: Marked, one: _Mark, mask: str) -> None:
        name = name_of_class(self._named.get(one.label))
        where = f"{one.line} ({name or one.label})"
        if one.several:
            found.left_out.append(f"{where}: a group, which is no region of one thing")
        elif name is None:
            found.faults.append(f"{where}: no name; put class-descriptions-boxable.csv beside the table")
        else:
            found.add(where, name, partial(self._shape, found, one, mask, where))

    def _shape(self, found: Marked, one: _Mark, mask: str, where: str) -> dict[str, Any]:
        told = box(*scaled(one.corners, found.pixels()))
        if not mask:
            return told
        try:
            return self._masked(mask, found.pixels())
        except AnnotationError as error:
            found.left_out.append(f"{where}: its mask {mask} {error}; its box is used")
            return told

    def _masked(self, mask: str, size: Size) -> dict[str, Any]:
        assert self._masks is not None and self._names is not None
        path = self._names.mask(PurePosixPath(mask).name)
        if path is None:
            raise AnnotationError("is not there")
        try:
            with Image.open(io.BytesIO(self._masks.read(path))) as picture:
                if abs(picture.width * size[1] / (picture.height * size[0]) - 1) > SKEWED:
                    raise AnnotationError("has another shape than its photo")
                marked = np.asarray(picture.convert("L").resize(size, Image.Resampling.NEAREST)) > 0
        except (OSError, SyntaxError) as error:
            raise AnnotationError(f"cannot be read ({type(error).__name__})") from None
        return runs(rle.encode(marked).model_dump())


@dataclass(frozen=True)
class _Mark:
    """A line of a table."""

    line: str
    label: str
    several: bool
    shares: list[str]
    """XMin, XMax, YMin, YMax."""
    mask: str
    """The name of its picture; "" where the table is one of boxes."""

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """x, y, x, y in shares of the photo."""
        x1, x2, y1, y2 = (number(one) for one in self.shares)
        check_shares([x1, y1, x2, y2])
        return x1, y1, x2, y2

    def has(self, mask: _Mark) -> bool:
        """Whether a mask is of this box."""
        try:
            return mask.label == self.label and boxes.iou(self.corners, mask.corners) >= SAME
        except AnnotationError:
            return False
