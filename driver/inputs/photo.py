"""A photo as a reader found it in an input, and what a reader is: readers yield photos, `Source` makes samples of them.

Knows nothing of tasks' rules and of how an input is stored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, BinaryIO, NamedTuple, Protocol

from comfy_nodes.core.regions.annotation import Annotation

from ..places import Locator


class InputError(Exception):
    """A file of an input, or the rest of it, cannot be used; the message names it and says why."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is said of an edit beside a photo, in the words of whoever says it."""

    class_name: str | None = None
    """What a region is called that a picture marks."""
    instruction: str = ""
    task: str = ""
    """The task that it was written for, all its regions in one edit; "" where it is for any."""
    subtask: str = ""
    slot: str = ""
    """Which of several edits of the same regions it is."""
    row: str = ""
    """The key of the row of ours that it is; "" where it is none."""
    words_for: str = ""
    """The task that the instruction is for, where its regions may serve others too; "" for any."""
    routed: tuple[str, ...] | None = None
    """Tasks that a router accepted for the photo; None where none has looked at it."""

    def told(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(Told)}


@dataclass(frozen=True)
class Photo(Told):
    """A photo of an input with what its author says of it. `file`, `mask`, `reference`, `frame2` and `edited` are locators: what they
    mean only the reader knows."""

    file: Locator
    source_id: str
    annotation: Annotation | None = None
    problem: str = ""
    """Why it cannot be used; then nothing else counts."""
    unread: bool = False
    """Whether that is so because something beside it could not be read, so that nothing is known of it."""
    mask: Locator = ""
    """A picture that marks the region, in the place of those in `annotation`."""
    reference: Locator = ""
    frame2: Locator = ""
    edited: Locator = ""
    data: bytes | None = None
    """The file's bytes, where the reader could not help reading them."""
    grounded: str = ""
    """What to say where the annotate stage looked at it and found nothing."""
    ungrounded: str = ""
    """Why it could not."""
    place: str = ""
    """Where its row stands, where rows may have the same picture; "" where the picture tells them apart."""
    items: int = 1
    """Of how many of the input's items it is the first that is told: 0 of a further photo of the item before it, more of
    a rest that cannot be read."""

    left_out: tuple[str, ...] = ()
    """What its author marked that is sound and no region of one thing, such as a crowd: a line each."""

    @property
    def unmarked(self) -> bool:
        """Whether nobody marked a region in it."""
        marked = self.annotation and (self.annotation.regions or self.annotation.refusals)
        return not (self.problem or self.mask or marked)


@dataclass
class Skip:
    """How many of an input's next items nobody asks for. Whoever reads them passes over them without taking them apart."""

    left: int = 0

    def pass_one(self) -> bool:
        """Whether the next item is one of them; it counts as passed then."""
        if not self.left:
            return False
        self.left -= 1
        return True

    def pass_some(self, most: int) -> int:
        """How many of the next `most` items are; they count as passed."""
        passed = min(self.left, most)
        self.left -= passed
        return passed


class Mark(NamedTuple):
    """A place in a file of an input."""

    items: int
    """How many items of the file stand before it."""
    parts: int
    """How many lines or members do, whatever they are."""
    place: int
    """How many bytes do."""


FURTHEST = 8
"""Marks of a file that another run learns: more than a run has shards open, the first of which it goes on with. Ours."""


class Marks:
    """Places in one file that somebody came to who passed over items, one for each shard: others go on from there."""

    def __init__(self) -> None:
        self._found = [Mark(0, 0, 0)]
        self.told = 0
        """So many items stand before the last one that was told of."""

    @property
    def furthest(self) -> list[Mark]:
        """The last ones, in their order."""
        return self._found[-FURTHEST:]

    def last(self, items: int) -> Mark:
        """The last one with so many items before it at most."""
        return self._found[bisect_right(self._found, items, key=lambda one: one.items) - 1]

    def add(self, mark: Mark) -> None:
        if mark.items > self._found[-1].items:
            self._found.append(mark)


class Places:
    """The marks of all files of an input."""

    def __init__(self) -> None:
        self._found: dict[str, Marks] = {}
        self._known: Callable[[str], Iterable[Mark]] = lambda _file: ()

    def of(self, file: str) -> Marks:
        if file not in self._found:
            self._found[file] = Marks()
            self._learn(file)
        return self._found[file]

    def learn(self, known: Callable[[str], Iterable[Mark]]) -> None:
        """
        Args:
            known: gives the places in a file that an earlier run over this input came to last, in their order.
        """
        self._known = known
        for file in self._found:
            self._learn(file)

    def _learn(self, file: str) -> None:
        for mark in self._known(file):
            self._found[file].add(mark)
            self._found[file].told = mark.items

    def news(self) -> Iterator[tuple[str, list[Mark]]]:
        """The furthest places in each file that somebody came further in than was told."""
        for file, marks in self._found.items():
            furthest = marks.furthest
            if furthest[-1].items > marks.told:
                marks.told = furthest[-1].items
                yield file, furthest


class Reader(Protocol):
    """Reads one kind of input."""

    distant: bool
    """Whether opening a photo is a request over a network."""
    places: Places
    """Where whoever passes over items may go on; none where items are found without walking."""

    def remedy(self, photo: Photo) -> str:
        """How to give the photo a region in this kind of input, for the end of a sentence."""

    def photos(self, task: str, edited: bool = False, skip: Skip | None = None) -> Iterator[Photo]:
        """All photos in the input's order, but for files that their names say are for another task.

        Args:
            edited: whether edits that were made already are asked for. Others need not read them.
            skip: items that are passed over; the caller may set it before each photo.

        Raises:
            RunError: the input as a whole cannot be used.
        """

    def open(self, file: Locator) -> BinaryIO:
        """What a locator names, seekable. Raises OSError."""

    def stamp(self, file: Locator) -> str:
        """What changes with what a locator names, or with the file that this lies in. Raises OSError."""

    def read(self, file: Locator) -> bytes:
        """The bytes of what a locator names. Called by several threads. Raises OSError."""
