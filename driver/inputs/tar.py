"""Webdataset inputs: tar files whose members with one basename are one sample.

`<key>.jpg` (or another photo; `<key>.input.png` of our own datasets), and if wanted `<key>.mask.png`, `<key>.ref.png`, `<key>.txt` (instruction) and
`<key>.json` (what `records.py` reads). As webdataset has it, a key ends at the first dot of its file name.
"""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from unicodedata import normalize

from comfy_nodes.core import photos
from comfy_nodes.core.regions.annotation import AnnotationError

from .. import bounded_json
from ..errors import RunError
from ..places import Locator, Member, name_of
from . import foreign
from .find import Input
from .groups import EDITS, STATES, Record, rows_column
from .photo import InputError, Mark, Photo, Places, Skip
from .records import read_record
from .storage import MAX_BYTES as MAX_PICTURE
from .storage import Refused, Storage, said
from .words import MAX_BYTES, NoWords, captioned, words_in

_BLOCK = tarfile.BLOCKSIZE
_PADDING = 64 * 1024
"""How far behind the end mark of a tar is looked for more; tar itself fills up to 10 KB. Ours."""


@dataclass
class _Group:
    """Members of one sample: their addresses by what follows the key in their names."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)
    problem: str = ""

    def takes(self, key: str | None) -> bool:
        """Whether a member of this key belongs to it. A name may be written in either Unicode form, on one disk and the next."""
        return key is not None and normalize("NFC", key) == normalize("NFC", self.key)


class WebdatasetReader:
    """Webdataset shards."""

    distant = False  # members lie behind one another: what was fetched for one holds the next

    def __init__(self, given: Input):
        self._input = given
        self._open = _Open()
        self.places = Places()
        self._stamp = lru_cache(1)(given.storage.stamp)  # a shard's photos are asked for in a row

    def remedy(self, photo: Photo) -> str:
        key = photos.readable(name_of(photo.file).partition(".")[0])
        return f"add {key}.mask.png (white is the object) or {key}.json (an ImgEdit annotation) to the tar"

    def photos(self, task: str, edited: bool = False, skip: Skip | None = None) -> Iterator[Photo]:
        skip = skip or Skip()
        for shard in self._input.files():
            try:
                yield from self._shard(shard, edited, skip)
            except InputError as error:
                if self._input.single:
                    raise RunError(f"--input {self._input.given}: {error}") from None
                if not skip.pass_one():
                    yield Photo(file="", source_id=photos.readable(shard), problem=str(error))

    def open(self, file: Locator) -> BinaryIO:
        member = _member(file)
        return io.BufferedReader(
            _MemberFile(self._open.file(self._input.storage, member.shard), member.offset, member.size)
        )

    def stamp(self, file: Locator) -> str:
        return self._stamp(_member(file).shard)

    def read(self, file: Locator) -> bytes:
        member = _member(file)
        if member.size > MAX_PICTURE:
            raise Refused(f"it is larger than {MAX_PICTURE >> 30} GB, which no picture is")
        opened = self._open.file(self._input.storage, member.shard)
        opened.seek(member.offset)
        data = opened.read(member.size)
        if len(data) != member.size:
            raise OSError("the tar is shorter than it was")
        return data

    def _shard(self, shard: str, edited: bool, skip: Skip) -> Iterator[Photo]:
        name = photos.readable(shard)
        group: _Group | None = None
        marks = self.places.of(shard)
        begun = marks.last(skip.left)
        items = begun.items
        skip.pass_some(items)
        try:
            for key, end, address, problem, before in _members(self._input.storage, shard, begun):
                if group is None or not group.takes(key):
                    if group:
                        items += 1
                        if not skip.pass_one():
                            yield from self._photos(name, group, edited)
                        elif not skip.left or key is None:
                            marks.add(Mark(items, *before))
                    if key is None:
                        return
                    group = _Group(key)
                if end in group.members:
                    problem = problem or f"it holds two members called {PurePosixPath(group.key).name}.{end}"
                group.members[end] = address
                group.problem = group.problem or problem
        except InputError as error:
            if group is None:
                raise
            if not skip.pass_one():
                yield from self._photos(name, group, edited)
            # What was read before is sound; that the rest is missing is a failure of its own.
            if not skip.pass_one():
                yield Photo(file="", source_id=f"{name}#rest", problem=str(error))

    def _photos(self, shard: str, group: _Group, edited: bool) -> Iterator[Photo]:
        """The photo of a sample; of one of ours that holds several rows those of these."""
        if "state0.png" not in group.members or "json" not in group.members or group.problem:
            yield self._photo(shard, group)
            return
        name = photos.readable(f"{shard}/{group.key}")
        try:
            told = bounded_json.loads(self.read(group.members["json"]).decode())
            record = Record(
                name, bounded_json.loads(told[rows_column([*told, STATES])]), told[EDITS], group.members, {}
            )
        except (OSError, ValueError, LookupError, TypeError) as error:
            yield Photo(file="", source_id=name, problem=f"{name}: is no whole record of ours ({error})")
            return
        yield from record.photos(edited)

    def _photo(self, shard: str, group: _Group) -> Photo:
        ends = _photo_ends(group.members)
        name = photos.readable(f"{shard}/{group.key}")
        held = ", ".join("." + photos.readable(end) for end in group.members)
        if group.problem:
            return Photo(file="", source_id=name, problem=f"{name}: {group.problem}")
        if len(ends) != 1:
            why = "several photos" if ends else "no photo"
            return Photo(file="", source_id=name, problem=f"{name}: a sample with {why} (its members: {held})")
        photo = Photo(
            file=group.members[ends[0]],
            source_id=f"{name}.{ends[0]}",
            mask=group.members.get("mask.png", ""),
            reference=group.members.get("ref.png", ""),
            frame2=group.members.get("frame2.png", ""),
            edited=group.members.get("edited.png", group.members.get("output.png", "")),
        )
        try:
            return self._described(photo, group)
        except NoWords as error:
            return replace(photo, problem=str(error))
        except AnnotationError as error:
            return replace(photo, problem=f"{photo.source_id}: {error}")
        except OSError as error:
            return replace(photo, problem=f"{photo.source_id}: {said(error)}", unread=True)

    def _described(self, photo: Photo, group: _Group) -> Photo:
        """The photo with what its `.json` and its `.txt` say; for the instruction the `.txt` counts first."""
        told = group.members.get("json")
        if told is None:
            return replace(photo, instruction=self._words(group))
        try:
            if told.size > bounded_json.MAX_BYTES:
                raise ValueError(bounded_json.TOO_LONG)
            item: Any = bounded_json.loads(self.read(told).decode("utf-8-sig"))
        except ValueError as error:
            raise AnnotationError(f"its .json is not JSON ({error})") from None
        if isinstance(item, dict) and len(item) == 1 and isinstance(only := next(iter(item.values())), dict):
            item = only  # ImgEdit's {key: annotation}
        if not isinstance(item, dict):
            raise AnnotationError("its .json is not an object")
        path = "original_path" if "original_path" in item else "path"
        if captioned(item):
            words, item = "", {**item, "cap": item["caption"]}
        else:
            if kind := foreign.kind_of(item):
                raise AnnotationError(f"its .json holds {foreign.advice(kind)}")
            words = self._words(group)
        record = read_record({**item, path: photo.source_id, "reference": None})
        said_of_it = record.told() | {"instruction": words or record.instruction}
        return replace(photo, annotation=record.annotation, **said_of_it)

    def _words(self, group: _Group) -> str:
        text = group.members.get("txt")
        if text is None:
            return ""
        return words_in(self.read(replace(text, size=min(text.size, MAX_BYTES + 1))), photos.readable(text.name))


class _Open(threading.local):
    """The tar that a thread has open."""

    def __init__(self) -> None:
        self._shard = ""
        self._file: BinaryIO | None = None

    def file(self, storage: Storage, shard: str) -> BinaryIO:
        if self._file is None or self._shard != shard:
            if self._file is not None:
                self._file.close()
            self._file, self._shard = None, shard
            self._file = storage.open(shard)
        return self._file


class _MemberFile(io.RawIOBase):
    """A member of a tar as a file of its own."""

    def __init__(self, whole: BinaryIO, offset: int, size: int):
        self._whole, self._offset, self._size = whole, offset, size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._whole.seek(self._offset + self._place)
        data = self._whole.read(max(0, min(len(buffer), self._size - self._place)))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, offset + (0, self._place, self._size)[whence])
        return self._place

    def tell(self) -> int:
        return self._place


_Found = tuple[str | None, str, Member, str, tuple[int, int]]
"""A file in a tar, as `_members` tells of it."""


def _members(storage: Storage, shard: str, begun: Mark) -> Iterator[_Found]:
    """The files in a tar: key, what follows it in the name, address, what is wrong with it, and how many members and
    bytes stand before it. Last its end, which has no key.

    Args:
        begun: those before it are left out.

    Raises:
        InputError: not a tar, or the rest of it is missing or damaged; all that stands before is given first.
    """
    name = photos.readable(shard)
    read = begun.parts
    try:
        with storage.open(shard) as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(begun.place)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # it would remember them all
                    read += 1
                    parts = PurePosixPath(member.name).parts
                    if member.isdir() or any(part.startswith(".") and part not in (".", "..") for part in parts):
                        continue
                    key, _, end = parts[-1].partition(".")
                    problem = ""
                    if not member.isreg() or member.issparse():
                        problem = f"{photos.readable(parts[-1])} is a link or no plain file"
                    elif member.offset_data + member.size > size:
                        problem = f"{photos.readable(parts[-1])} is cut off: the tar is truncated; copy it again"
                    address = Member(shard, member.offset_data, member.size, parts[-1])
                    yield "/".join([*parts[:-1], key]), end, address, problem, (read - 1, member.offset)
                last = tar.offset
                reason = _unfinished(file, last)
    except OSError as error:
        reason = said(error)
    except tarfile.TarError as error:
        reason = str(error)
    if reason:
        where = f"after {read} members: {reason}" if read else f"not a tar that can be read ({reason})"
        raise InputError(f"{name}: {where}; copy it again, or pack it again")
    yield None, "", Member(shard, last, 0, ""), "", (read, last)


def _unfinished(file: BinaryIO, offset: int) -> str:
    """What is wrong with the end of a tar, which its reader takes for an end wherever it finds no further header."""
    file.seek(offset)
    rest = file.read(_PADDING)
    if len(rest) < _BLOCK:
        return "it has no end mark and is perhaps cut off"
    if any(rest[:_BLOCK]):
        return f"it is damaged at byte {offset}"
    if any(rest):
        return "more stands behind its end mark; several tars joined into one are given one by one"
    return ""


def _photo_ends(members: Iterable[str]) -> list[str]:
    """Which members are photos: `input.png` and the like, as our own datasets have them, or a bare suffix."""
    ends = list(members)
    ours = [end for end in ends if end.lower().startswith("input.") and end[5:].lower() in photos.SUFFIXES]
    return ours or [end for end in ends if "." + end.lower() in photos.SUFFIXES]


def _member(locator: Locator) -> Member:
    if not isinstance(locator, Member):
        raise OSError("not a place in a tar")
    return locator
