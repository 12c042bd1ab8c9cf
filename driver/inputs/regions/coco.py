"""COCO's annotations and LVIS's: instances with polygons or run lengths, captions, crowds; also COCO Annotator's and Roboflow's.

A file of any size is read once, into a temporary database, since annotations may stand in another order than pictures and
before them. Several files about one picture (instances, captions) are put together.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import ijson  # type: ignore[import-untyped]

from comfy_nodes.core import photos
from comfy_nodes.core.regions.annotation import AnnotationError

from ...bounded_json import TOO_DEEP
from ..find import Input
from ..photo import InputError
from ..storage import unreadable
from .marked import Marked, box, name_of_class, number, polygons, runs, whole_size
from .names import PhotoNames, temporary
from .reader import Broken, Found, Upright, pass_mark

LISTS = ("images", "annotations", "categories", "licenses")
_BLOCK = 1 << 16
_NUMBER = re.compile(r"0*([0-9]+)(?:\.0*)?")


class Coco:
    """All COCO files of an input, read once."""

    def __init__(self) -> None:
        self._db: sqlite3.Connection | None = None
        self._broken: list[Broken] = []
        self._named: dict[tuple[str, str, str], str] = {}
        """Names of categories and of licences, by list, file and id."""

    def __call__(self, given: Input, names: PhotoNames) -> Iterator[Found | Broken]:
        if self._db is None:
            self._db = self._read(given, names)
        yield from self._broken
        rows = "SELECT MIN(number), photo, file, written FROM image GROUP BY photo ORDER BY 1"
        for _, photo, file, written in self._db.execute(rows):
            yield Found(written, file, partial(self._marked, self._db, photo))
        lost = (
            "SELECT mark.file, mark.image, COUNT(*) FROM mark LEFT JOIN image"
            " ON image.file = mark.file AND image.id = mark.image WHERE image.id IS NULL GROUP BY 1, 2"
        )
        for file, image, times in self._db.execute(lost):
            why = f"COCO: {times} annotations of picture {image}, which is not among its images"
            yield Broken(file, why, image)

    def _read(self, given: Input, names: PhotoNames) -> sqlite3.Connection:
        db = temporary()
        db.execute("CREATE TABLE image (number INTEGER PRIMARY KEY, file, id, photo, written, data)")
        db.execute("CREATE TABLE mark (number INTEGER PRIMARY KEY, file, image, data)")
        for file in given.files():
            try:
                with given.storage.open(file) as opened:
                    pass_mark(opened)
                    kinds = {self._take(db, kind, item, file, names) for kind, item in _items(opened)}
                if "images" not in kinds:
                    raise InputError("COCO: no images in it, which its annotations could be of")
            except InputError as error:
                self._broken.append(Broken(file, str(error)))
            except OSError as error:
                self._broken.append(Broken(file, unreadable(error)))
        db.execute("CREATE INDEX by_photo ON image (photo)")
        db.execute("CREATE INDEX by_id ON image (file, id)")
        db.execute("CREATE INDEX by_image ON mark (file, image)")
        return db

    def _take(self, db: sqlite3.Connection, kind: str, item: Any, file: str, names: PhotoNames) -> str:
        if not isinstance(item, dict):
            raise InputError(f"COCO: its {kind} are no list of objects")
        key = key_of(item.get("id"))
        if kind == "annotations":
            picture = key_of(item.get("image_id"))
            db.execute("INSERT INTO mark VALUES (NULL, ?, ?, ?)", (file, picture, _text(item)))
        elif kind != "images":
            self._named[kind, file, key] = str(item.get("name") or "")
        elif not (written := _written(item)):
            self._broken.append(Broken(file, f"COCO: picture {key} has no file_name", key))
        else:
            try:
                photo = names.find(written, file)
            except AnnotationError:
                photo = written  # said again when its turn comes
            db.execute("INSERT INTO image VALUES (NULL, ?, ?, ?, ?, ?)", (file, key, photo, written, _text(item)))
        return kind

    def _marked(self, db: sqlite3.Connection, photo: str, upright: Upright) -> Marked:
        rows = db.execute(
            "SELECT file, id, written, data FROM image WHERE photo = ? ORDER BY number", (photo,)
        ).fetchall()
        first = json.loads(rows[0][3])
        found = Marked(rows[0][2], whole_size(first.get("width"), first.get("height")) or upright())
        for file, key, data in dict.fromkeys((file, key, data) for file, key, _, data in rows):
            same = db.execute("SELECT COUNT(DISTINCT photo) FROM image WHERE file = ? AND id = ?", (file, key))
            if same.fetchone()[0] > 1:
                raise AnnotationError(f"COCO: several pictures have its id {key}; nobody knows whose the regions are")
            self._origin(found, json.loads(data), file)
            marks = "SELECT data FROM mark WHERE file = ? AND image = ? ORDER BY number"
            for (mark,) in db.execute(marks, (file, key)):
                self._mark(found, json.loads(mark), file)
        return found

    def _origin(self, found: Marked, image: dict[str, Any], file: str) -> None:
        licence = self._named.get(("licenses", file, key_of(image.get("license"))))
        url = image.get("coco_url") or image.get("flickr_url")
        found.more |= {name: one for name, one in (("source_licence", licence), ("source_url", url)) if one}

    def _mark(self, found: Marked, mark: dict[str, Any], file: str) -> None:
        label = f"annotation {key_of(mark.get('id'))}"
        if isinstance(caption := mark.get("caption"), str):
            found.more.setdefault("cap", []).append(caption)
            return
        category = key_of(mark.get("category_id"))
        named = self._named.get(("categories", file, category))
        name = name_of_class(named)
        if mark.get("iscrowd"):
            found.left_out.append(f"{label} ({name}): a crowd, which is no region of one thing")
        elif name is None and category != "None":
            found.faults.append(f"{label}: its category {category} has no name in the file")
        else:
            found.add(label, name, lambda: _shape(mark, found), score=mark.get("score"))


def key_of(value: Any) -> str:
    """An id as ids are compared: 7, 7.0, "7" and "7.0" are one."""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else photos.readable(str(value))
    found = _NUMBER.fullmatch(text)
    return found[1] if found else text


def _shape(mark: dict[str, Any], found: Marked) -> dict[str, Any]:
    drawn = mark.get("segmentation")
    if isinstance(drawn, dict):
        return runs(drawn)
    if isinstance(drawn, list) and drawn:
        return polygons(drawn if isinstance(drawn[0], list) else [drawn], found.pixels())
    if not isinstance(drawn := mark.get("bbox"), list) or len(drawn) != 4:
        raise AnnotationError("neither a segmentation nor a bbox of four numbers")
    x, y, width, height = (number(one) for one in drawn)
    return box(x, y, x + width, y + height)


def _written(image: dict[str, Any]) -> str:
    """A picture's path. LVIS gives an address alone, whose folders are the server's."""
    name = image.get("file_name") or image.get("path")
    if isinstance(name, str):
        return photos.readable(name)
    return photos.readable(urlsplit(url).path) if isinstance(url := image.get("coco_url"), str) else ""


def _items(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """The objects of all lists that count, as they come: one reading, whatever order the lists are in.

    Raises:
        InputError: not JSON, or cut off.
    """
    found = {name: ijson.sendable_list() for name in LISTS}
    parsers = [ijson.items_coro(found[name], f"{name}.item", use_float=True) for name in LISTS]
    try:
        while data := file.read(_BLOCK):
            for parser in parsers:
                parser.send(data)
            for name, items in found.items():
                yield from ((name, item) for item in items)
                del items[:]
        for parser in parsers:
            parser.close()
    except ijson.JSONError as error:
        raise InputError(f"COCO: not JSON to its end ({_reason(error)}); copy it again") from None


def _reason(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return (said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)).partition("\n")[0]


def _text(item: dict[str, Any]) -> str:
    try:
        return json.dumps(item)
    except RecursionError:
        raise InputError(f"COCO: {TOO_DEEP}") from None
