"""Which photo an annotation is of: authors write paths of their own machine, of their own system, or a bare name.

The names of all photos lie in a temporary database, so that memory does not grow with their number.
"""

from __future__ import annotations

import posixpath
import re
import sqlite3
from collections.abc import Iterator

from comfy_nodes.core import photos
from comfy_nodes.core.regions.annotation import AnnotationError

from ..storage import Storage, walk

_ELSEWHERE = re.compile(r"/|\.\./|[A-Za-z][A-Za-z0-9+.-]*:/")
"""How paths begin that are of another machine or folder."""


MASKS = {
    "Pascal VOC": re.compile(r"(.*/)?Segmentation(Object|Class)/[^/]*"),
    "Open Images": re.compile(r"(.*/)?[0-9a-f]{16}_m[0-9a-z_]+_[0-9a-f]{8}\.png"),
}
"""Which pictures beside a program's annotations are masks, and no photos."""


def temporary() -> sqlite3.Connection:
    """A database that keeps a few pages in memory and the others in a file that goes with it."""
    found = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    found.execute("PRAGMA journal_mode = OFF")
    found.execute("BEGIN")
    return found


class PhotoNames:
    """The photos below an image root, and the masks that lie among them."""

    def __init__(self, storage: Storage, program: str = ""):
        """
        Args:
            program: whose annotations they are of.
        """
        masks = MASKS.get(program)
        self._db = temporary()
        self._db.execute("CREATE TABLE photo (path TEXT PRIMARY KEY, base TEXT, written TEXT) WITHOUT ROWID")
        self._db.execute("CREATE TABLE mask (base TEXT, path TEXT, PRIMARY KEY (base, path)) WITHOUT ROWID")
        for name in walk(storage, ""):
            if photos.readable(name) != name or posixpath.splitext(name)[1].lower() not in photos.SUFFIXES:
                continue
            if masks and masks.fullmatch(name):
                self._db.execute("INSERT OR IGNORE INTO mask VALUES (?, ?)", (posixpath.basename(name), name))
            else:
                self._db.execute("INSERT OR IGNORE INTO photo VALUES (?, ?, NULL)", (name, posixpath.basename(name)))
        self._db.execute("CREATE INDEX by_base ON photo (base)")

    def mask(self, base: str) -> str | None:
        """The mask of a name, in whatever folder; the first by path, where several have it."""
        row = self._db.execute("SELECT MIN(path) FROM mask WHERE base = ?", (base,)).fetchone()
        return row[0] if row[0] is None else str(row[0])

    def unnamed(self) -> Iterator[str]:
        """Photos that nobody has asked for, by name."""
        last = ""
        while row := self._db.execute(
            "SELECT path FROM photo WHERE written IS NULL AND path > ? ORDER BY path LIMIT 1", (last,)
        ).fetchone():
            (last,) = row
            yield last

    def called(self, stem: str) -> str | None:
        """The photo of a path without its ending; the first by name, where several have it."""
        rows = self._db.execute(
            "SELECT path FROM photo WHERE path > ? AND path < ? ORDER BY path", (f"{stem}.", f"{stem}/")
        )
        return next((path for (path,) in rows if posixpath.splitext(path)[0] == stem), None)

    def any_called(self, base: str) -> bool:
        """Whether any photo has a name, in whatever folder."""
        return self._db.execute("SELECT 1 FROM photo WHERE base = ?", (base,)).fetchone() is not None

    def find(self, written: str, file: str) -> str:
        """The photo that an annotation means.

        Args:
            written: its path as the annotation has it.
            file: the annotation's own.

        Returns:
            The path below the image root. Where there is no such photo, the path that it would have.

        Raises:
            AnnotationError: several are called so, or it was taken for another one's already.
        """
        for path in (written, written.replace("\\", "/")):
            for place in (path, posixpath.join(posixpath.dirname(file), path)):
                if self._has(place := posixpath.normpath(place)):
                    return self._taken(place, written)
        path = posixpath.normpath(written.replace("\\", "/"))
        found = self._candidates(path)
        if len(found) > 1:
            listed = ", ".join(map(photos.readable, found[:3]))
            base = photos.readable(posixpath.basename(path))
            raise AnnotationError(
                f"several photos are called {base} ({listed}); give the right folder with --image-root"
            )
        return self._taken(found[0], written) if found else path

    def _candidates(self, path: str) -> list[str]:
        """Photos that a path may mean which names none itself."""
        rows = self._db.execute("SELECT path FROM photo WHERE base = ? ORDER BY path", (posixpath.basename(path),))
        found = [place for (place,) in rows]
        within = [place for place in found if f"/{place}".endswith(f"/{path}")]
        if within or ("/" in path and not _ELSEWHERE.match(path)):
            # Of a relative path every folder counts: another folder's file of that name is another photo.
            return within
        whole = [place for place in found if f"/{path}".endswith(f"/{place}")]
        return whole[:1] or found

    def _has(self, path: str) -> bool:
        return self._db.execute("SELECT 1 FROM photo WHERE path = ?", (path,)).fetchone() is not None

    def _taken(self, path: str, written: str) -> str:
        ((before,),) = self._db.execute("SELECT written FROM photo WHERE path = ?", (path,))
        if before not in (None, written) and posixpath.normpath(before.replace("\\", "/")) != path:
            raise AnnotationError(
                f"{photos.readable(written)} and {photos.readable(before)} are both taken for {photos.readable(path)}; "
                "give the folder that both lie below with --image-root"
            )
        self._db.execute("UPDATE photo SET written = ? WHERE path = ?", (written, path))
        return path
