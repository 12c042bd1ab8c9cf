"""The inputs that a run was given, read as one: `Source`'s reader.

A single input is read as it is. Of several, the first one's photos have the ids and places that they have alone, and those of
the others begin with what their input is called, so that files of one name in two folders stay apart, and a further
input leaves what was made of the first as it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from comfy_nodes.core.regions.annotation import Annotation

from ..dataset.by_input import MixedInput
from ..errors import RunError
from ..places import Locator, OfInput, State
from .annotation import AnnotationReader
from .captions import CaptionReader
from .cutting import Cursor
from .find import HoldsItsPhotos, Input, find_input
from .folder import FolderReader, PhotoFiles
from .interleaving import Interleaving
from .parquet import ParquetReader
from .photo import Mark, Photo, Places, Reader, Skip
from .regions.programs import FORMATS
from .regions.reader import RegionReader
from .row_labels import RowLabels
from .shares import Boxes, InputShare
from .storage import LocalStorage
from .tar import WebdatasetReader

BETWEEN = "//"
"""What stands between an input's name and the id of one of its photos: no path has it in it."""


class OneInput:
    """One of a run's inputs."""

    def __init__(self, asked: InputShare, given: Input, called: str, name: str):
        """
        Args:
            called: what people are told of it.
            name: what its photos' ids begin with; "" for the first.
        """
        self.asked, self.given, self.called, self.name = asked, given, called, name
        self.reader = _reader(given, asked.boxes)
        self.labels = RowLabels(given)

    @property
    def dear(self) -> bool:
        """Whether passing over an item costs as much as reading it: a `.json` is taken apart from its beginning, and
        files of regions are, to see which photos they name."""
        if self.given.kind == "regions":
            return True
        return self.given.kind == "json" and next(self.given.files(), "").lower().endswith(".json")

    def photos(self, task: str, edited: bool, skip: Skip) -> Iterator[Photo]:
        """See `Reader`. Their ids and places are the run's; of edits that were made already, with hand labels."""
        found = self.reader.photos(task, edited, skip)
        for photo in map(self.labels.on, found) if edited else found:
            if self.asked.licence and not photo.problem:
                photo = _licensed(photo, self.asked.licence)
            yield self._in_run(photo) if self.name else photo

    def _in_run(self, photo: Photo) -> Photo:
        return replace(
            photo,
            source_id=f"{self.name}{BETWEEN}{photo.source_id}",
            file=self._place(photo.file),
            mask=self._place(photo.mask),
            reference=self._place(photo.reference),
            frame2=self._place(photo.frame2),
            edited=self._place(photo.edited),
            place=photo.place and f"{self.name}{BETWEEN}{photo.place}",
        )

    def _place(self, file: Locator) -> Locator:
        assert not isinstance(file, OfInput | State)
        return OfInput(self.name, file) if file else ""


class Mixture:
    """All inputs of a run, as a reader of their photos."""

    def __init__(self, asked: Sequence[InputShare], image_root: str | Path | None = None):
        """
        Args:
            image_root: path or URL of the folder that paths in the inputs' files are relative to; their own folders if None.

        Raises:
            RunError: an input is missing, of an unknown kind, of several kinds, or given twice; or their shares are none.
        """
        given = _found(asked, image_root)
        called = _names([one.given for one in given])
        self.inputs = [OneInput(*one) for one in zip(asked, given, called, ["", *called[1:]], strict=True)]
        self.given = " and ".join(one.given for one in given)
        try:
            self._turns = Interleaving([one.share for one in asked])
        except ValueError as error:
            raise RunError(f"--input {self.given}: {error}") from None
        if any(one.boxes for one in asked) and not any(one.kind == "parquet" for one in given):
            raise RunError(f"--boxes: {self.given} is no parquet; leave --boxes out")
        self._by_name = {one.name: one for one in self.inputs}
        self._ends: dict[tuple[str, bool], dict[int, int]] = {}
        """How many items inputs have of which the end was seen, by what was asked for."""
        self.distant = any(one.reader.distant for one in self.inputs)
        self.places: Places = self.inputs[0].reader.places if len(asked) == 1 else _JoinedPlaces(self.inputs)

    # What it is.

    @property
    def dear(self) -> bool:
        """Whether passing over an item costs as much as reading it."""
        return any(one.dear for one in self.inputs)

    @property
    def names_files(self) -> bool:
        """Whether its photos are files of this machine beside those that it consists of."""
        kinds = ("json", "parquet", "regions")
        return any(one.given.kind in kinds and not one.given.photos.remote for one in self.inputs)

    @property
    def root(self) -> Path | None:
        """The folder that locators are paths below, where photos are files of this machine; else None."""
        first = self.inputs[0]
        files = len(self.inputs) == 1 and isinstance(first.reader, PhotoFiles)
        return first.given.photos.folder if files and isinstance(first.given.photos, LocalStorage) else None

    @property
    def mixed(self) -> tuple[MixedInput, ...]:
        """Its inputs, where there are several."""
        whole = sum(one.asked.share or 0 for one in self.inputs)
        return tuple(
            MixedInput(
                one.called,
                f"{one.name}{BETWEEN}" if one.name else "",
                round(one.asked.share / whole, 4) if one.asked.share else None,
            )
            for one in self.inputs[: len(self.inputs) if len(self.inputs) > 1 else 0]
        )

    def refuse_output(self, output: Path) -> None:
        """
        Raises:
            RunError: a run that writes there would find its own files in an input the next time.
        """
        for one in self.inputs:
            one.given.refuse_output(output)

    def fingerprint(self) -> str:
        """Changes with the inputs' files, hand labels beside them, their order, shares and licences.

        Raises:
            RunError: a file is gone or cannot be looked at.
        """
        found = [one.given.fingerprint() + one.labels.stamp() for one in self.inputs]
        if len(found) == 1 and not (self.inputs[0].asked.licence or self.inputs[0].asked.boxes):
            return found[0]
        told = [f"{one.name}\0{one.asked.share}\0{one.asked.licence}\0{one.asked.boxes}" for one in self.inputs]
        return hashlib.sha256("\n".join(found + told).encode("utf-8", "surrogateescape")).hexdigest()

    def labels(self) -> str:
        """What to say of hand labels beside the inputs' rows; empty where there are none.

        Raises:
            RunError: they cannot be read.
        """
        return "; ".join(line for one in self.inputs if (line := one.labels.line()))

    # As a reader.

    def remedy(self, photo: Photo) -> str:
        """See `Reader`."""
        one, file = self._owner(photo.file)
        return one.reader.remedy(replace(photo, file=file))

    def open(self, file: Locator) -> BinaryIO:
        """See `Reader`."""
        one, place = self._owner(file)
        return one.reader.open(place)

    def stamp(self, file: Locator) -> str:
        """See `Reader`."""
        one, place = self._owner(file)
        return one.reader.stamp(place)

    def read(self, file: Locator) -> bytes:
        """See `Reader`."""
        one, place = self._owner(file)
        return one.reader.read(place)

    def _owner(self, file: Locator) -> tuple[OneInput, Locator]:
        name, place = (file.input, file.file) if isinstance(file, OfInput) else ("", file)
        if name not in self._by_name:
            raise OSError(f"it lies in an input called {name}, which is none of this run's")
        return self._by_name[name], place

    def photos(self, task: str, edited: bool = False, skip: Skip | None = None) -> Iterator[Photo]:
        """See `Reader`. Of several inputs each beginning keeps their shares."""
        skip = skip or Skip()
        if len(self.inputs) == 1:
            yield from self.inputs[0].photos(task, edited, skip)
            return
        streams = [_Stream(partial(one.photos, task, edited)) for one in self.inputs]
        ends = self._ends.setdefault((task, edited), {})
        place = 0
        while True:
            if skip.left:
                place += self._pass(place, skip, streams, ends)
            turn = self._turns.at(place, ends).turn
            if turn is None:
                return
            found = streams[turn].take()
            if found:
                place += 1
                yield from found
            else:
                ends[turn] = streams[turn].place

    def _pass(self, place: int, skip: Skip, streams: Sequence[_Stream], ends: dict[int, int]) -> int:
        """Passes over the next items; returns how many these were, which is fewer than asked for at the end alone."""
        while True:
            counts = self._turns.at(place + skip.left, ends).counts
            short = {at: end for at, one in enumerate(streams) if (end := one.go(counts[at])) < counts[at]}
            if not short:
                return skip.pass_some(sum(counts) - place)
            ends |= short


class _Stream:
    """The photos of one input, an item at a time."""

    def __init__(self, photos: Callable[[Skip], Iterator[Photo]]):
        self._photos = photos
        self._cursor = Cursor(photos)
        self._rest: Photo | None = None
        self.place = 0
        """How many items stand before it."""

    def go(self, place: int) -> int:
        """Goes to a place; returns where it is, which is before that only where the input ends there."""
        if place < self.place:
            self._restart()
        if place >= self._cursor.place:
            self._rest = None
            if self._cursor.go(place) > place:  # a rest that cannot be read lies across it
                self._restart()
                self._cursor.go(place)
            self.place = self._cursor.place
        else:
            self.place = place
        return self.place

    def _restart(self) -> None:
        self._cursor, self._rest, self.place = Cursor(self._photos), None, 0

    def take(self) -> list[Photo]:
        """The photos of the next item; none at the end. Of a rest that cannot be read each item is told, as items of other
        inputs stand between them."""
        if self._rest is None or self.place >= self._cursor.place:
            found = list(self._cursor.take(1))
            self._rest = found[0] if found and found[0].items > 1 else None
            if self._rest is None:
                self.place = self._cursor.place
                return found
        before = self._cursor.place - self._rest.items
        self.place += 1
        return [replace(self._rest, items=1, source_id=f"{self._rest.source_id}+{self.place - 1 - before}")]


class _JoinedPlaces(Places):
    """The places of several inputs, whose files may have the same names."""

    def __init__(self, inputs: Sequence[OneInput]):
        super().__init__()
        self._inputs = {f"{one.name}{BETWEEN}" if one.name else "": one.reader.places for one in inputs}

    def learn(self, known: Callable[[str], Iterable[Mark]]) -> None:
        for begin, places in self._inputs.items():
            places.learn(lambda file, begin=begin: known(begin + file))  # type: ignore[misc]

    def news(self) -> Iterator[tuple[str, list[Mark]]]:
        for begin, places in self._inputs.items():
            yield from ((begin + file, marks) for file, marks in places.news())


def _found(asked: Sequence[InputShare], image_root: str | Path | None) -> list[Input]:
    paths = [one.path for one in asked]
    if twice := next((one for one in paths if paths.count(one) > 1), None):
        raise RunError(f"--input {twice}: is given twice; leave one out")
    if len(asked) == 1:
        return [find_input(paths[0], image_root)]
    found, without = [], 0
    for one in paths:
        try:
            found.append(find_input(one, image_root))
        except HoldsItsPhotos:
            found.append(find_input(one, None))
            without += 1
    if image_root and without == len(found):
        raise RunError(f"--image-root {image_root}: the inputs hold their photos themselves; leave --image-root out")
    return found


def _names(given: Sequence[str]) -> list[str]:
    """What inputs are called: by the last part of path or URL, numbered where several end so."""
    found: list[str] = []
    for one in given:
        last = re.sub(r"[^\w.-]+", "-", one.rstrip("/").rpartition("/")[2]).strip("-.") or "input"
        several = sum(re.fullmatch(rf"{re.escape(last)}(-\d+)?", name) is not None for name in found)
        found.append(f"{last}-{several + 1}" if several else last)
    return found


def _licensed(photo: Photo, licence: str) -> Photo:
    """The photo with a licence, where it brings none."""
    known = photo.annotation or Annotation(path=photo.source_id, size=None, regions=())
    return photo if known.source_licence else replace(photo, annotation=replace(known, source_licence=licence))


def _reader(given: Input, boxes: Boxes | None) -> Reader:
    if given.kind == "photos":
        return FolderReader(given.storage)
    if given.kind == "regions":
        return RegionReader(given, FORMATS[given.program]())
    kinds: dict[str, Callable[[Input], Reader]] = {
        "json": AnnotationReader,
        "captions": CaptionReader,
        "parquet": partial(ParquetReader, boxes=boxes),
        "tar": WebdatasetReader,
    }
    return kinds[given.kind](given)
