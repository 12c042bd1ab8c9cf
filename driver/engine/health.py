"""How one server does: what went wrong there in a row, whether it is to rest or is given up, and whether it moves.

A server that works slowly is told from one that does nothing by how long it used to be silent.
"""

from __future__ import annotations

import time
from collections import deque

MAX_SERVER_FAULTS = 5
"""Faults in a row, without a finished sample between them, after which a server alone breaks the run off."""

SICK_AFTER = 3
"""Failures or faults in a row after which a server is suspended, where others work. Ours."""

LONGEST_REST = 60.0
"""Seconds that a suspended server rests at most before it gets one prompt as a canary. Ours."""

ZOMBIE_SECONDS = 60.0
"""A server is never taken for dead sooner. Ours."""

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


class Health:
    """What was seen of one server. `alone` says whether no other server takes samples now."""

    def __init__(self) -> None:
        self.faults = 0
        """In this run."""
        self.in_a_row = 0
        """Faults since a sample was finished."""
        self.errors = 0
        """Samples whose nodes failed, since one was finished."""
        self.troubled: set[str] = set()
        """Samples with faults of their own since one was finished: with many of them, it is the server."""
        self.canary = False
        """It rested, and gets one prompt at a time until one ends well."""
        self._ill = ""
        self.restarted()

    def restarted(self) -> None:
        """Another process, or the same one after a long time: how it used to be silent says nothing."""
        self.pulse = Pulse(time.monotonic())

    def finished_sample(self) -> None:
        """A sample of it came home."""
        self.in_a_row = self.errors = 0
        self.troubled.clear()

    def finished_prompt(self) -> None:
        """A prompt ended well."""
        self.pulse.finished()
        self.canary = False

    def rested(self) -> None:
        """It was suspended for a while."""
        self.canary = True

    def fault(self, ill: bool = True) -> None:
        """It did not do what it was asked.

        Args:
            ill: whether that speaks against the server, and not against one sample or for a missing login.
        """
        self.faults += 1
        self.in_a_row += ill

    def error(self) -> None:
        """A node failed over a sample."""
        self.errors += 1

    def doubt(self, key: str, why: str, alone: bool) -> None:
        """A sample has trouble that only it had so far."""
        self.troubled.add(key)
        if not alone:
            self._ill = why if len(self.troubled) > SICK_AFTER else ""

    def due_for_rest(self) -> str:
        """Why it is to rest before its next prompt, said once; empty where it is not."""
        why, self._ill = self._ill, ""
        return why

    def suspended(self, alone: bool) -> bool:
        """Whether so many faults in a row keep it from work for a while."""
        return self.in_a_row > SICK_AFTER and not alone

    def fails_everything(self, alone: bool) -> bool:
        """Whether so many samples in a row failed there that it may be the server."""
        return self.errors > SICK_AFTER and not alone

    def given_up(self, alone: bool) -> bool:
        """Whether so many faults in a row end the run."""
        return self.in_a_row > MAX_SERVER_FAULTS and alone

    def mistrusted(self, alone: bool) -> bool:
        """Whether so many samples had faults of their own that they end the run."""
        return len(self.troubled) > MAX_SERVER_FAULTS and alone

    def rest_seconds(self) -> float:
        """How long it rests: the longer, the more went wrong in a row."""
        return min(LONGEST_REST, 2.0 ** max(self.in_a_row, self.errors, len(self.troubled)))
