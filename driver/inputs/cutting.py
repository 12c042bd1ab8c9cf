"""An input cut into shards: which items each has, and how to come to them without taking apart what stands before.

`Source` uses it. A shard is known by numbers of items alone, so that cutting holds nothing in memory.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .photo import Photo, Skip

PASSED = "passed "
"""In the journal of a stage of a recipe: how the name begins of a shard's `passed`."""


@dataclass(frozen=True)
class Shard:
    """Items of an input that are planned, edited and written together."""

    index: int
    start: int
    """How many items of the input stand before it."""
    items: int
    first: str
    """Source id of its first photo; "" where all of its items are gone."""
    task: str
    """Whose photos these are, as readers have it."""
    edited: bool
    content: str = ""
    """Hash of what these items are, where that is known; "" where the input's fingerprint stands for it."""
    passed: int = 0
    """In a recipe: how many items of its input have come up when the shard ends."""


@dataclass(frozen=True)
class KnownShard:
    """What is known of a shard that was cut before."""

    index: int
    items: int
    first: str


class Cursor:
    """A place in an input. It goes forward: what lies behind it needs another one. Not for several threads."""

    def __init__(self, photos: Callable[[Skip], Iterator[Photo]]):
        """
        Args:
            photos: a reader's, given what it is to pass over.
        """
        self._skip = Skip()
        self._photos = photos(self._skip)
        self._ahead: Photo | None = None
        self.place = 0
        """How many items stand before it."""

    def go(self, place: int) -> int:
        """Goes to a place without taking apart what it passes; returns where it is, which is before that only where the
        input ends, and behind it only where what stands there cannot be read."""
        while self.place < place:
            if self._ahead is None:
                wanted = self._skip.left = place - self.place
                self._ahead = next(self._photos, None)
                self.place += wanted - self._skip.left
                self._skip.left = 0
                if self._ahead is None:
                    return self.place
            else:
                self.place += self._ahead.items
                self._ahead = None
        while (photo := self.next) is not None and not photo.items:
            self._ahead = None
        return self.place

    @property
    def next(self) -> Photo | None:
        """The photo that stands here; None at the input's end."""
        if self._ahead is None:
            self._ahead = next(self._photos, None)
        return self._ahead

    def take(self, items: int) -> Iterator[Photo]:
        """The photos of the next items."""
        end = self.place + items
        while (photo := self.next) is not None and (self.place < end or not photo.items):
            self._ahead = None
            self.place += photo.items
            yield photo


GROWTH = 16
"""A shard of a recipe's stage has at most this part of what comes before it, so that little is left to do for the stages
behind when the last one is through. Ours."""


def grown(first: int, start: int, most: int) -> int:
    """Items of a shard of a stage of a recipe, at most: few at first, so that the stages behind soon have something to do.

    Args:
        first: of the first one.
        start: items before it.
        most: of the largest.
    """
    return min(most, max(first, start // GROWTH))


def borders(found: Iterator[Photo], known: Sequence[KnownShard], size: int) -> tuple[list[int], int]:
    """Where shards begin in an input that changed since: a shard's first photo begins it again, and where that is gone,
    it begins as many items behind the shard before as that one had.

    Args:
        found: all photos of the input.
        known: by index, those that are missing in between left out.
        size: items of those.

    Returns:
        How many items stand before each shard up to the last known one and the next, and how many first photos are gone.
    """
    begun = {one.first: array("q") for one in known}
    end = 0
    for photo in found:
        if photo.items and photo.source_id in begun:
            begun[photo.source_id].append(end)
        end += photo.items
    starts: list[int] = []
    expected = gone = 0
    least = 0
    by_index = {one.index: one for one in known}
    for index in range(known[-1].index + 1):
        shard = by_index.get(index)
        place = _nearest(begun[shard.first], expected, least) if shard else None
        if place is not None:
            least = place + 1
        gone += bool(shard and shard.items and place is None)
        # What was put before the first shard is in it.
        starts.append(0 if index == 0 else expected if place is None else place)
        expected = starts[-1] + (shard.items if shard else size)
    starts.append(starts[-1] + size)
    for index in reversed(range(len(starts))):
        starts[index] = min(starts[index], *starts[index + 1 : index + 2], end)
    return starts, gone


def _nearest(places: Sequence[int], expected: int, least: int) -> int | None:
    """Of where a photo comes up, in order and from `least` on, what is nearest to where it is expected."""
    behind = bisect_left(places, expected)
    found = [one for one in places[max(0, behind - 1) : behind + 1] if one >= least]
    return min(found, key=lambda one: abs(one - expected), default=None)
