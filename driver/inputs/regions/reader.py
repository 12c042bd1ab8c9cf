"""Regions that other programs have left: a reader for all formats, a module each, and what they share.

A picture comes once, with all regions that its files mark in it. Photos that no file names come last, without a region.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

from comfy_nodes.core import photos
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.regions.annotation import AnnotationError

from ...bounded_json import MAX_BYTES
from ...errors import RunError
from ..annotation import photo_of
from ..find import Input
from ..folder import PhotoFiles
from ..photo import InputError, Photo, Skip
from ..storage import unreadable
from .marked import Marked, Size, with_reasons
from .names import PhotoNames

Upright = Callable[[], Size | None]
"""Gives the size of the upright photo; None where it cannot be read."""


@dataclass(frozen=True)
class Found:
    """A picture that a file of annotations names, not taken apart yet."""

    written: str
    """Its path as the author wrote it."""
    file: str
    """The file of annotations."""
    marked: Callable[[Upright], Marked]
    """Takes its annotations apart. Raises AnnotationError, or InputError: the picture has none that can be read."""


@dataclass(frozen=True)
class Broken:
    """A file of annotations or a part of it that cannot be used."""

    file: str
    why: str
    part: str = ""
    """Which part; "" where it is the file."""


Pictures = Callable[[Input, PhotoNames], Iterator[Found | Broken]]
"""A format: all pictures of an input, in a fixed order."""


class RegionReader(PhotoFiles):
    """Photos with regions of one format."""

    def __init__(self, given: Input, pictures: Pictures):
        super().__init__(given.photos)
        self._input = given
        self._pictures = pictures

    @cached_property
    def names(self) -> PhotoNames:
        return PhotoNames(self._input.photos, self._input.program)

    def remedy(self, photo: Photo) -> str:
        return f"mark one in the {self._input.program} annotations, or leave the photo out"

    def photos(self, task: str, edited: bool = False, skip: Skip | None = None) -> Iterator[Photo]:
        skip = skip or Skip()
        for found in self._pictures(self._input, self.names):
            if isinstance(found, Broken):
                if not found.part and self._input.single:
                    raise RunError(f"--input {self._input.given}: {found.why}")
                if not skip.pass_one():
                    name = photos.readable(found.file)
                    part = photos.readable(found.part)
                    yield Photo(file="", source_id=f"{name}#{part}" if part else name, problem=f"{name}: {found.why}")
                continue
            photo = self._placed(found)
            if not skip.pass_one():
                yield photo if photo.problem else self._photo(found, str(photo.file))
        if not self._input.chosen and self._input.photos is self._input.storage:
            yield from (
                Photo(file=path, source_id=photos.readable(path))
                for path in self.names.unnamed()
                if not skip.pass_one()
            )

    def _placed(self, found: Found) -> Photo:
        """The photo that is meant, without its regions. Also of those that are passed over, so that it counts as named."""
        name = photos.readable(found.written)
        try:
            path = self.names.find(name, found.file)
        except AnnotationError as error:
            return Photo(file="", source_id=name, problem=f"{name}: {error}")
        if self._input.photos.inside(path) is None:
            return Photo(file="", source_id=name, problem=f"{name}: its path leaves the image root; give --image-root")
        return Photo(file=path, source_id=name)

    def _photo(self, found: Found, path: str) -> Photo:
        try:
            marked = found.marked(lambda: self._size(path))
        except (AnnotationError, InputError) as error:
            name = photos.readable(path)
            return Photo(file=path, source_id=name, problem=f"{name}: {error}")
        size = marked.size and {"width": marked.size[0], "height": marked.size[1]}
        item = {"path": path, "resolution": size, "segmentation": {"object": marked.regions}, **marked.more}
        photo = photo_of(item, photos.readable(path), self._input.photos.inside)
        return with_reasons(photo, marked)

    def _size(self, path: str) -> Size | None:
        try:
            with self.open(path) as file:
                return photos.read_header(file, path).size
        except (OSError, PhotoError):
            return None  # said of the photo when its turn comes


def each_file(given: Input, read: Callable[[BinaryIO, str], Iterator[Found | Broken]]) -> Iterator[Found | Broken]:
    """The pictures of all files of an input; a broken file costs only itself, and what stands before the damage counts."""
    for file in given.files():
        try:
            with given.storage.open(file) as opened:
                pass_mark(opened)
                yield from read(opened, file)
        except InputError as error:
            yield Broken(file, str(error))
        except OSError as error:
            yield Broken(file, unreadable(error))


def pass_mark(file: BinaryIO) -> None:
    """Passes over a mark of UTF-8 at the beginning."""
    file.seek(3 if file.read(3) == codecs.BOM_UTF8 else 0)


def whole_text(file: BinaryIO) -> bytes:
    """The rest of a file that holds one picture's annotations.

    Raises:
        InputError: it is larger than such files are.
    """
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"a file of more than {MAX_BYTES >> 20} MB for one picture")
    return data
