"""The input of a stage of a recipe that another one goes before: that one's shards, each as soon as it is whole.

A `Link` lies between two stages. The one before tells it which shards are there and asks it for room, each from a thread of
its own; the one behind waits at it. Which shards of the one before each shard takes is noted in the stage's journal before
anything is planned, so that whoever goes on after a kill takes the same.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

from ..dataset.by_input import MixedInput
from ..dataset.commits import committed
from ..dataset.parts import Part, shards_of
from ..inputs.cutting import PASSED, KnownShard, Shard, grown
from ..inputs.handed_on import pairs_in, photos_of_lines, photos_of_rows, told
from ..inputs.photo import Photo
from ..inputs.source import Source, asked
from ..journal import Journal
from ..samples import Aim

AHEAD = 3
"""Shards that are whole and not begun by the next stage, from which on a stage begins no other. Ours."""

LOOK_SECONDS = 0.1
"""How long somebody waits at a link before it is looked whether the run stops. Ours."""

_CUT = "follows "
"""In a stage's journal: how the name begins of which shards of the stage before a shard takes."""


class Link:
    """Which shards of a stage are there for the next one."""

    def __init__(self, folder: Path, over: Callable[[], bool]):
        """
        Args:
            folder: of the stage before.
            over: whether nobody is to wait any more, as the recipe stops.
        """
        self.folder = folder
        self._over = over
        self._changed = threading.Condition()
        self._there: set[int] = set()
        """Shards behind the first that is not there yet."""
        self._ready = 0
        """So many from the first one on are there."""
        self._taken = 0
        self._ended = self._left = False

    def there(self, part: Part) -> None:
        """See `pipeline.stage.Follower`."""
        with self._changed:
            self._there.add(int(part.name))
            while self._ready in self._there:
                self._there.remove(self._ready)
                self._ready += 1
            self._changed.notify_all()

    def room(self) -> bool:
        """See `pipeline.stage.Follower`; waits a moment for it."""
        with self._changed:
            return self._changed.wait_for(lambda: self._left or self._ready - self._taken < AHEAD, LOOK_SECONDS)

    def end(self) -> None:
        """See `pipeline.stage.Follower`."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def all_there(self) -> None:
        """The stage before has nothing to do: what lies in its folder is all."""
        for part in shards_of(self.folder):
            self.there(part)
        self.end()

    def leave(self) -> None:
        """The stage behind takes no more, and the one before need not wait for it."""
        with self._changed:
            self._left = True
            self._changed.notify_all()

    def wait(self, number: int, over: Callable[[], bool]) -> bool:
        """Waits until so many shards are there; False where they will not be, or where the recipe stops.

        Args:
            over: whether the stage that asks stops.
        """
        with self._changed:
            while self._ready < number and not (self._ended or over() or self._over()):
                self._changed.wait(LOOK_SECONDS)
            self._taken = max(self._taken, min(number, self._ready))
            self._changed.notify_all()
            return self._ready >= number

    @property
    def ready(self) -> int:
        """How many shards, from the first one on, are there."""
        with self._changed:
            return self._ready


class Following(Source):
    """The photos, or pairs, that a stage hands on."""

    def __init__(self, link: Link, before: Source, pairs: bool, journal: Journal, earlier: Journal):
        """
        Args:
            before: the input of the stage before.
            pairs: whether that stage hands on pairs, which lie in its folder, and not lines about photos of its own input.
            journal: that of the stage's own folder.
            earlier: that of the folder of the stage before.
        """
        self._link, self._before, self._pairs = link, before, pairs
        self._journal, self._earlier = journal, earlier
        self._released = threading.Event()
        self._read_with(pairs_in(link.folder) if pairs else before.reader)

    def refuse_output(self, output: Path) -> None:
        """It lies beside what the stage before wrote."""

    def release(self) -> None:
        """See `Source`."""
        self._released.set()

    @property
    def root(self) -> Path | None:
        """See `Source`."""
        return None if self._pairs else self._before.root

    @property
    def mixed(self) -> tuple[MixedInput, ...]:
        """See `Source`."""
        return self._before.mixed

    @property
    def names_files(self) -> bool:
        """No: a shard whose photos changed is another one when it comes here."""
        return False

    def fingerprint(self) -> str:
        """See `Source`; what changes with photos is told shard by shard."""
        return "what the stage before hands on"

    def labels(self, aims: Sequence[Aim]) -> str:
        """None: people label what a recipe has finished."""
        return ""

    def shards(
        self,
        size: int,
        aims: Sequence[Aim],
        known: Sequence[KnownShard] = (),
        share: tuple[int, int] = (0, 1),
        changed: bool = False,
        keep_stale: bool = False,
        first: int | None = None,
    ) -> Iterator[Shard]:
        """Shards as they come: each takes what is there when its turn comes, but at least one shard that has something. Where
        several graphs go over it, one after the other, that is as much as `size` allows, so that models are loaded seldom."""
        task, edited = asked(aims)
        self._released.clear()
        start = 0
        for index in count():
            begin = self._end(index - 1) if index else 0
            most = size if first is None or len(aims) > 1 else grown(first, start, size)
            end = self._end(index) or self._next(index, begin, most)
            if end is None or not self._link.wait(end, self._released.is_set):
                return
            found = [told(committed(part)) for part in self._parts(begin, end)]
            content = hashlib.sha256("".join(one for _, one in found).encode()).hexdigest()
            items = sum(number for number, _ in found)
            passed = int(self._earlier.get(f"{PASSED}{end - 1:06d}") or 0)
            yield Shard(index, start, items, "", task, edited, content, passed)
            start += items

    def _end(self, index: int) -> int:
        """Behind which shard of the stage before one ends that was begun before, also by a run that was killed over it; 0 where
        it was not."""
        return int(self._journal.get(f"{_CUT}{index:06d}") or 0)

    def _next(self, index: int, begin: int, most: int) -> int | None:
        """The same of the next one, which begins behind such a shard; None where none comes, or the recipe stops."""
        end, photos = begin, 0
        while not photos:
            if not self._link.wait(end + 1, self._released.is_set):
                return None
            for part in self._parts(end, self._link.ready):
                number, _ = told(committed(part))
                if photos and photos + number > most:
                    break
                end, photos = end + 1, photos + number
        self._journal.set(f"{_CUT}{index:06d}", str(end))
        return end

    def _parts(self, begin: int, end: int) -> list[Part]:
        return [Part.of_shard(self._link.folder, index) for index in range(begin, end)]

    def _photos(self, use: str, task: str, edited: bool, shard: Shard | None) -> Iterator[Photo]:
        assert shard, "a stage of a recipe goes shard by shard"
        begin = self._end(shard.index - 1) if shard.index else 0
        for part in self._parts(begin, self._end(shard.index)):
            yield from photos_of_rows(part, committed(part), task) if self._pairs else photos_of_lines(part)
