"""Samples that wait, for all servers of a run: in the input's order, those that come back first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..journal import BEFORE_ALL
from ..samples import Sample
from .portion import Portion, Supply

CHUNK = 512
"""How many are read from the journal at a time."""

TURNS_HELD = 64
"""Turns that wait for a server, from which on they go before new dialogues: fewer, and the last dialogues begin when all
others have ended, and servers wait for their turns. Ours."""


@dataclass(frozen=True)
class Item:
    """A sample on its way through servers, with what is known of its troubles in this run."""

    sample: Sample
    portion: Portion
    """What it belongs to."""
    alone: bool = False
    """It must not share a prompt: somebody in its last one caused trouble."""
    avoid: frozenset[str] = frozenset()
    """Servers that are to leave it to others, as long as there are others."""
    memory_failures: int = 0
    last: bool = False
    """Those that were not tried yet go first: they show whether its trouble is the server's."""

    @property
    def identity(self) -> tuple[Portion, str]:
        """What tells it from all others: two portions may have samples of one key."""
        return self.portion, self.sample.key

    def suspected(self) -> Item:
        return replace(self, alone=True)

    def out_of_memory(self, server: str) -> Item:
        """After another failure for want of memory; from the second one on, that server is avoided."""
        failures = self.memory_failures + 1
        avoid = self.avoid | {server} if failures > 1 else self.avoid
        return replace(self, alone=True, memory_failures=failures, avoid=avoid)

    def elsewhere(self, server: str) -> Item:
        return replace(self, avoid=self.avoid | {server})

    def later(self, server: str) -> Item:
        """After trouble that only it had, so far, on that server."""
        return replace(self.elsewhere(server), last=True)


class SampleQueue:
    """Hands each waiting sample to one server, portion after portion. Holds a chunk of a journal at a time, however long
    that is."""

    def __init__(self, supply: Supply, held: Callable[[Portion], frozenset[str]]):
        """
        Args:
            held: told of a portion whose turn has come; gives the keys of samples that servers still have of it from an
                earlier run; they come in by `put_back` only.
        """
        self._supply = supply
        self._held_of = held
        self._lock = threading.RLock()
        self._chunk: deque[Item] = deque()
        self._back: deque[Item] = deque()
        self._released: deque[tuple[Portion, str]] = deque()
        """Turns that may begin, by their keys."""
        self._turns: deque[Item] = deque()
        """The next of these."""
        self._open: list[Portion] = []
        """Those with samples that have no end yet."""
        self._portion: Portion | None = None
        """The one in hand."""
        self._behind, self._drained = BEFORE_ALL, True
        self._held = frozenset[str]()
        self._out = 0
        """How many servers have."""
        self._begin_next()

    @property
    def left(self) -> int:
        """How many samples wait, or are with a server and not finished, at most."""
        with self._lock:
            return sum(one.left for one in self._open) + self._supply.waiting

    @property
    def waiting(self) -> int:
        """How many no server has and one could have, at most."""
        with self._lock:
            held_up = sum(one.waiting for one in self._open)
        return max(1, self.left - held_up - self._out)

    @property
    def over(self) -> bool:
        """Whether all samples have an end and no more can come."""
        with self._lock:
            self._open = [one for one in self._open if one.left > 0]
            return not self._open and self._supply.ended

    def check(self) -> None:
        """
        Raises:
            RunError: as `Supply.check`.
        """
        self._supply.check()

    def empty(self) -> bool:
        with self._lock:
            return not self._back and self._peek() is None

    def take(self, server: str, count: Callable[[Sample], int], others: bool) -> list[Item]:
        """The next samples for a server; none where nothing waits for it.

        Args:
            count: from the first of them to how many it takes.
            others: whether another server could take what this one is to avoid.
        """
        with self._lock:
            came_back = self._came_back(server, others)
            if came_back and came_back[0].alone:
                self._out += 1
                return came_back[:1]
            first = came_back[0] if came_back else self._peek()
            if first is None:
                return []
            wanted = count(first.sample)
            while len(came_back) < wanted and (more := self._came_back(server, others, together=True)):
                came_back += more
            while len(came_back) < wanted and (next_ones := self._next_ones()):
                came_back.append(next_ones.popleft())
            self._out += len(came_back)
            return came_back

    def put_back(self, items: list[Item]) -> None:
        """They are to be tried again, soon; what waits already is not put back twice."""
        with self._lock:
            waiting = {item.identity for item in self._back}
            again = [item for item in items if item.identity not in waiting]
            self._back.extend(again)
            self._out -= len(again)

    def finished(self, portion: Portion) -> None:
        """A sample of a portion has an end."""
        with self._lock:
            self._out -= 1
        portion.finished()

    def released(self, portion: Portion, key: str) -> None:
        """A turn may begin, as the one before it is there."""
        portion.released()
        with self._lock:
            self._released.append((portion, key))

    def dropped(self, portion: Portion) -> None:
        """A sample of a portion has an end that no server had."""
        portion.released()
        portion.finished()

    def _came_back(self, server: str, others: bool, together: bool = False) -> list[Item]:
        for item in self._back:
            if (server in item.avoid and others) or (together and item.alone):
                continue
            if item.last and self._peek() is not None:
                continue
            self._back.remove(item)
            return [item]
        return []

    def _peek(self) -> Item | None:
        found = self._next_ones()
        return found[0] if found else None

    def _next_ones(self) -> deque[Item]:
        """Where the next sample stands first that no server had; empty where there is none."""
        while True:
            if len(self._released) + len(self._turns) < TURNS_HELD and self._in_hand():
                return self._chunk
            if self._released and not self._turns:
                portion, key = self._released.popleft()
                sample = portion.journal.sample(key)
                assert sample is not None
                self._turns.append(Item(sample, portion))
            if self._turns:
                return self._turns
            if not self._begin_next():
                return self._chunk

    def _in_hand(self) -> bool:
        """Whether the portion in hand has a sample that waits for nothing; reads the next ones of it."""
        while not self._chunk and not self._drained:
            portion = self._portion
            assert portion is not None
            found = portion.journal.waiting(self._behind, CHUNK, portion.tasks)
            self._drained = len(found) < CHUNK
            self._chunk.extend(Item(one.sample, portion) for one in found if one.sample.key not in self._held)
            if found:
                self._behind = found[-1].place
        return bool(self._chunk)

    def _begin_next(self) -> bool:
        """Takes the next portion in hand, if there is one by now."""
        portion = self._supply.next()
        if portion is None:
            return False
        self._portion, self._behind, self._drained = portion, BEFORE_ALL, False
        self._released.extend((portion, key) for key in portion.ready)
        self._held = self._held_of(portion)
        self._out += len(self._held)
        self._open.append(portion)
        portion.opened()
        return True
