"""Samples that wait, for all servers of a run: in the input's order, those that come back first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from ..journal import BEFORE_ALL, Journal
from ..samples import Sample

CHUNK = 512
"""How many are read from the journal at a time."""


@dataclass(frozen=True)
class Item:
    """A sample on its way through servers, with what is known of its troubles in this run."""

    sample: Sample
    alone: bool = False
    """It must not share a prompt: somebody in its last one caused trouble."""
    avoid: frozenset[str] = frozenset()
    """Servers that are to leave it to others, as long as there are others."""
    memory_failures: int = 0
    last: bool = False
    """Those that were not tried yet go first: they show whether its trouble is the server's."""

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
    """Hands each waiting sample to one server. Holds a chunk of the journal at a time, however long that is."""

    def __init__(self, journal: Journal, held: frozenset[str], tasks: Collection[str] | None = None):
        """
        Args:
            held: keys of samples that servers still have from an earlier run; they come in by `put_back` only.
            tasks: only samples of these tasks; None for all.
        """
        self._tasks = tasks
        self._journal = journal
        self._held = held
        self._lock = threading.Lock()
        self._chunk: deque[Sample] = deque()
        self._back: deque[Item] = deque()
        self._behind = BEFORE_ALL
        self._drained = False
        self.left = journal.pending(tasks)
        """How many wait, or are with a server and not finished, at most."""

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
                return came_back[:1]
            first = came_back[0].sample if came_back else self._peek()
            if first is None:
                return []
            wanted = count(first)
            while len(came_back) < wanted and (more := self._came_back(server, others, together=True)):
                came_back += more
            while len(came_back) < wanted and self._peek() is not None:
                came_back.append(Item(self._chunk.popleft()))
            return came_back

    def put_back(self, items: list[Item]) -> None:
        """They are to be tried again, soon; what waits already is not put back twice."""
        with self._lock:
            waiting = {item.sample.key for item in self._back}
            self._back.extend(item for item in items if item.sample.key not in waiting)

    def finished(self) -> None:
        """One sample less."""
        with self._lock:
            self.left -= 1

    def _came_back(self, server: str, others: bool, together: bool = False) -> list[Item]:
        for item in self._back:
            if (server in item.avoid and others) or (together and item.alone):
                continue
            if item.last and self._peek() is not None:
                continue
            self._back.remove(item)
            return [item]
        return []

    def _peek(self) -> Sample | None:
        while not self._chunk and not self._drained:
            found = self._journal.waiting(self._behind, CHUNK, self._tasks)
            self._drained = len(found) < CHUNK
            self._chunk.extend(one.sample for one in found if one.sample.key not in self._held)
            if found:
                self._behind = found[-1].place
        return self._chunk[0] if self._chunk else None
