"""Tells a server that works slowly from one that does nothing: by how long it used to be silent."""

from __future__ import annotations

from collections import deque

ZOMBIE_SECONDS = 60.0
"""A server is never taken for dead sooner (issue table: max(60 s, 5 x p95))."""

FIRST_SECONDS = 900.0
"""While nothing of a run was finished there: its models may still be loading. Ours."""

FACTOR = 5.0
"""Times the 95th percentile of its silences that a silence must last."""

_SHORT = 0.5
"""Shorter silences are steps within a node and say nothing about how long a node may be silent. Ours."""

_REMEMBERED = 1000


class Pulse:
    """Signs of life of one server while prompts of ours are with it."""

    def __init__(self, now: float):
        self._last = now
        self._silences: deque[float] = deque(maxlen=_REMEMBERED)
        self._warm = False

    def beat(self, now: float) -> None:
        """A node moved, or a prompt changed its state."""
        if now - self._last > _SHORT:
            self._silences.append(now - self._last)
        self._last = max(self._last, now)

    def finished(self) -> None:
        """A prompt ended well: from now on models are loaded."""
        self._warm = True

    def rest(self, now: float) -> None:
        """Nothing of ours is there, so silence means nothing."""
        self._last = max(self._last, now)

    def stopped(self, now: float) -> bool:
        """Whether the silence is too long."""
        return now - self._last > self.limit()

    def limit(self) -> float:
        """Seconds of silence after which the server counts as a zombie."""
        if not self._warm:
            return FIRST_SECONDS
        ordered = sorted(self._silences)
        p95 = ordered[int(len(ordered) * 0.95)] if ordered else 0.0
        return max(ZOMBIE_SECONDS, FACTOR * p95)
