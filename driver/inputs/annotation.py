"""JSON inputs: ImgEdit's annotation files and task files, `.json` or `.jsonl`, one or a folder full.

Reads item by item, so that a list of a million photos takes no more memory than one of ten. The photos are files
below the image root; a path that leaves it is refused.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import ijson  # type: ignore[import-untyped]
import numpy as np

from comfy_nodes.core import photos
from comfy_nodes.core.imgedit import task_of_file
from comfy_nodes.core.regions.annotation import AnnotationError
from comfy_nodes.core.tasks import ANNOTATE

from ..bounded_json import MAX_BYTES, MAX_DEPTH, TOO_DEEP, TOO_LONG, loads
from ..errors import RunError
from . import foreign
from .find import Input
from .folder import PhotoFiles
from .photo import InputError, Mark, Marks, Photo, Skip
from .records import read_record
from .storage import unreadable

FIRST_ITEMS = 64
"""How many members of an object are looked at to tell one annotation from ImgEdit's {key: annotation}. Ours."""

_BLOCK = 1 << 20
"""Bytes in which lines are counted at once. Ours."""

_NOT_UTF8 = "cannot be read as UTF-8 text; save it as UTF-8"


class AnnotationReader(PhotoFiles):
    """Annotation and task files."""

    def __init__(self, given: Input):
        super().__init__(given.photos)
        self._input = given

    def remedy(self, photo: Photo) -> str:
        return "add one to segmentation.object of its annotation, or leave the photo out"

    def photos(self, task: str, edited: bool = False, skip: Skip | None = None) -> Iterator[Photo]:
        skip = skip or Skip()
        others: set[str] = set()
        read = False
        for file in self._input.files():
            meant = task_of_file(file)
            if not self._input.chosen and meant and meant != task:
                others.add(meant)
                continue
            read = True
            try:
                yield from self._file(file, skip)
            except InputError as error:
                if self._input.single:
                    raise RunError(f"--input {self._input.given}: {error}") from None
                name = photos.readable(file)
                if not skip.pass_one():
                    yield Photo(file="", source_id=name, problem=f"{name}: {error}")
        if others and not read and task != ANNOTATE.name:
            listed = ", ".join(sorted(others))
            raise RunError(f"--input {self._input.given}: holds task files for {listed}, none for {task}")

    def _file(self, file: str, skip: Skip) -> Iterator[Photo]:
        lines = PurePosixPath(file).suffix.lower() == ".jsonl"
        name = photos.readable(file)
        try:
            with self._input.storage.open(file) as opened:
                _check_encoding(opened)
                first = True
                marks = self.places.of(file)
                for where, values in _lines(opened, skip, marks) if lines else _items(opened):
                    values = [_ours(value) for value in values]
                    if first and isinstance(values[0], _Foreign):
                        raise values[0]
                    first = False
                    if skip.pass_one():
                        continue
                    for number, value in enumerate(values):
                        photo = photo_of(value, f"{name}{where}", self._input.photos.inside)
                        yield replace(photo, items=0) if number else photo
        except OSError as error:
            raise InputError(unreadable(error)) from None


class _Foreign(InputError):
    """An object of another program's."""


def _ours(value: Any) -> Any:
    kind = foreign.kind_of(value)
    return _Foreign(foreign.advice(kind)) if kind else value


def photo_of(value: Any, name: str, inside: Callable[[str], str | None], mask: str | None = None) -> Photo:
    """The photo of an annotation or a task.

    Args:
        value: decoded JSON, or the InputError that stands in its place.
        name: what to call the item where it names no photo.
        inside: gives a path relative to the image root, None where it leaves it.
        mask: path of a picture that marks the region.
    """
    try:
        if isinstance(value, InputError):
            raise AnnotationError(str(value))
        record = read_record(value)
    except AnnotationError as error:
        return Photo(file="", source_id=name, problem=f"{name}: {error}")
    written = (record.annotation.path, mask or "", record.reference, record.frame2, record.edited)
    found = [inside(path) if path else "" for path in written]
    strayed = [path for path, place in zip(written, found, strict=True) if place is None]
    file, marking, reference, frame2, edited = (place or "" for place in found)
    base = PurePosixPath(photos.readable((strayed or written)[0])).name
    return Photo(
        file=file,
        source_id=photos.readable(file) if file else base,
        annotation=record.annotation,
        problem=f"{base}: its path leaves the image root; give --image-root" if strayed else "",
        mask=marking,
        reference=reference,
        frame2=frame2,
        edited=edited,
        **record.told(),
    )


def _check_encoding(file: BinaryIO) -> None:
    """Passes over a mark of UTF-8 at the beginning and refuses UTF-16, which other tools write without saying so."""
    start = file.read(3)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(_NOT_UTF8)
    file.seek(3 if start == codecs.BOM_UTF8 else 0)


def _lines(file: BinaryIO, skip: Skip, marks: Marks) -> Iterator[tuple[str, list[Any]]]:
    """The objects of each line of a file, most often one, and where it stands; a broken line costs only itself.

    Args:
        skip: lines that are passed over, but for the first, whose object may speak for the file.
        marks: where others came who passed over lines of it; it adds where it comes to.
    """
    items = number = 0
    while line := file.readline(MAX_BYTES + 1):
        number += 1
        if len(line) > MAX_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_BYTES)
            yield f", line {number}", [InputError(TOO_LONG)]
        elif not line.strip():
            continue
        else:
            yield f", line {number}", _objects(line)
        items += 1
        if not skip.left:
            continue
        if (mark := marks.last(items + skip.left)).items > items:
            skip.pass_some(mark.items - items)
            items, number = mark.items, mark.parts
            file.seek(mark.place)
        wanted = skip.left
        number += _pass_lines(file, skip)
        items += wanted - skip.left
        marks.add(Mark(items, number, file.tell()))


def _objects(line: bytes) -> list[Any]:
    """The objects of a line, or why there is none."""
    try:
        return list(_unfolded(loads(line.decode())))
    except UnicodeDecodeError:
        return [InputError(_NOT_UTF8)]
    except ValueError as error:
        return [InputError(f"not JSON ({error})")]


def _pass_lines(file: BinaryIO, skip: Skip) -> int:
    """Passes over lines without taking them apart; returns how many, blank ones with them, which are no items."""
    passed = 0
    while skip.left and (block := file.read(_BLOCK)):
        rest = b"" if block.endswith(b"\n") else file.readline(MAX_BYTES)
        while rest and not rest.endswith(b"\n") and (more := file.readline(MAX_BYTES)):
            block, rest = block + rest, more
        block += rest
        items, lines = _counted(block)
        if items > skip.left:
            file.seek(-len(block), io.SEEK_CUR)
            break
        passed += lines
        skip.pass_some(items)
    while skip.left and (line := file.readline()):
        passed += 1
        skip.pass_some(bool(line.strip()))
    return passed


def _counted(block: bytes) -> tuple[int, int]:
    """How many lines are not blank, of whole lines, and how many there are."""
    text = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    starts = np.concatenate(([0], ends[:-1] + 1))
    # Most lines begin with a brace; only one that begins with white space may be blank.
    doubtful = np.flatnonzero(text[starts] <= ord(" "))
    blank = sum(not block[starts[one] : ends[one]].strip() for one in doubtful)
    return len(ends) - blank, len(ends)


def _items(file: BinaryIO) -> Iterator[tuple[str, list[Any]]]:
    """The objects of a JSON file, and where each stands: of a list, of ImgEdit's {key: object}, or the only one.

    Raises:
        InputError: not JSON, or cut off; all that stands before is given first.
    """
    number = -1
    metered = _Metered(file)
    try:
        for number, value in enumerate(_values(metered)):
            metered.taken = 0
            yield f"[{number}]", [value]
    except ijson.JSONError as error:
        text = error.args[0] if error.args else ""
        reason = (text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)).partition("\n")[0]
        if "UTF8" in reason:
            raise InputError(_NOT_UTF8) from None
        where = f" after item {number}" if number >= 0 else ""
        cut = "; the file is cut off" if "EOF" in reason else ""
        raise InputError(f"not JSON{where} ({reason}{cut})") from None


class _Metered:
    """A file that gives no more bytes than one object may have, until the object is there."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.taken = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.taken += len(data)
        if self.taken > MAX_BYTES:
            raise InputError(TOO_LONG)
        return data


def _values(file: _Metered) -> Iterator[Any]:
    events = ijson.basic_parse(file, use_float=True)
    kind, value = next(events)
    if kind == "start_array":
        for kind, value in events:
            if kind == "end_array":
                break
            yield from _unfolded(_built(kind, value, events))
    elif kind == "start_map":
        yield from _members(events)
    else:
        yield value
    for _ in events:  # what stands behind is an error that only shows when it is read
        pass


def _members(events: Iterator[tuple[str, Any]]) -> Iterator[Any]:
    """One annotation, or the values of ImgEdit's {key: annotation}, whose members are all objects."""
    first: dict[str, Any] = {}
    for kind, key in events:
        if kind == "end_map":
            break
        kind, value = next(events)
        if kind == "start_array" and key in foreign.LISTS and "path" not in first:
            # One object that holds all photos, beside files of ours.
            raise InputError(foreign.advice("COCO"))
        first[key] = _built(kind, value, events)
        if len(first) >= FIRST_ITEMS and "path" not in first:
            yield from first.values()
            for kind, _ in events:
                if kind == "end_map":
                    return
                yield _built(*next(events), events)
    yield from _unfolded(first)


def _unfolded(item: Any) -> Iterator[Any]:
    if isinstance(item, dict) and _is_folded(item) and not foreign.kind_of(item):
        yield from item.values()
    else:
        yield item


def _is_folded(item: dict[str, Any]) -> bool:
    return bool(item) and "path" not in item and all(isinstance(value, dict) for value in item.values())


def _built(kind: str, value: Any, events: Iterator[tuple[str, Any]]) -> Any:
    """The value that begins with an event."""
    builder = ijson.ObjectBuilder()
    depth = 0
    while True:
        builder.event(kind, value)
        depth += kind.startswith("start_") - kind.startswith("end_")
        if depth == 0:
            return builder.value
        if depth > MAX_DEPTH:
            raise InputError(f"not JSON that an annotation could be: {TOO_DEEP}")
        kind, value = next(events)
