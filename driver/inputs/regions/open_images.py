"""Open Images' tables of boxes (`…-annotations-bbox.csv`): boxes in shares of the photo, classes by number.

A table of any size is read once, into a temporary database. What its classes are called stands in a table of its own
(`class-descriptions-boxable.csv`) beside it.
"""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO

from ..find import Input
from ..photo import InputError
from ..storage import unreadable, walk
from .marked import Marked, box, check_shares, name_of_class, number, scaled
from .names import PhotoNames, temporary
from .reader import Broken, Found, Upright

FIELDS = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")


class OpenImages:
    """All tables of an input, read once."""

    def __init__(self) -> None:
        self._db: sqlite3.Connection | None = None
        self._broken: list[Broken] = []
        self._named: dict[str, str] = {}

    def __call__(self, given: Input, names: PhotoNames) -> Iterator[Found | Broken]:
        if self._db is None:
            self._db = self._read(given)
        yield from self._broken
        for image, file in self._db.execute("SELECT image, MIN(file) FROM mark GROUP BY image ORDER BY MIN(number)"):
            yield Found(f"{image}.jpg", file, partial(self._marked, self._db, image))

    def _read(self, given: Input) -> sqlite3.Connection:
        db = temporary()
        db.execute("CREATE TABLE mark (number INTEGER PRIMARY KEY, file, line, image, label, x1, y1, x2, y2, several)")
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
            if missing := [field for field in FIELDS if field not in head]:
                raise InputError(f"Open Images: no table of boxes, as it has no {', '.join(missing)}")
            places = [head.index(one) for one in FIELDS]
            several = head.index("IsGroupOf") if "IsGroupOf" in head else None
            db.executemany(
                "INSERT INTO mark VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._rows(rows, file, places, several)
            )
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"Open Images: not a table in UTF-8 ({error})") from None

    def _rows(self, rows: Any, file: str, places: list[int], several: int | None) -> Iterator[tuple[Any, ...]]:
        for row in rows:
            try:
                image, label, x1, x2, y1, y2 = (row[place] for place in places)
                group = several is not None and row[several] == "1"
            except IndexError:
                self._broken.append(
                    Broken(file, f"Open Images: line {rows.line_num} has too few cells", f"{rows.line_num}")
                )
                continue
            yield file, rows.line_num, image, label, x1, y1, x2, y2, group

    def _marked(self, db: sqlite3.Connection, image: str, upright: Upright) -> Marked:
        found = Marked(image, upright())
        if found.size is None:
            return found  # what is wrong with the photo is said of it
        rows = "SELECT line, label, several, x1, y1, x2, y2 FROM mark WHERE image = ? ORDER BY number"
        for line, label, several, *shares in db.execute(rows, (image,)):
            name = name_of_class(self._named.get(label))
            where = f"line {line} ({name or label})"
            if several:
                found.left_out.append(f"{where}: a group, which is no region of one thing")
            elif name is None:
                found.faults.append(f"{where}: no name; put class-descriptions-boxable.csv beside the table")
            else:
                found.add(where, name, partial(_shape, shares, *found.size))
        return found


def _shape(shares: list[str], width: int, height: int) -> dict[str, Any]:
    corners = [number(one) for one in shares]
    check_shares(corners)
    return box(*scaled(corners, (width, height)))
