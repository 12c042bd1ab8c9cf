"""A part of a run's samples under one journal, and who hands servers one such part after the other.

A run of one shard has one portion; of many shards each is one, and the next comes while the last samples of the one
before it are still with servers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Protocol

from ..journal import Journal
from ..journal_turns import Settled
from ..places import State
from ..samples import Sample
from .harvest import Harvester


class Dialogues(Protocol):
    """What a turn needs of those before it. Asked from the threads of all servers."""

    def completed(self, sample: Sample) -> Sample:
        """A turn's sample as it goes to a server, in the state that it begins with.

        Raises:
            Unfit: what it is about is not there any more.
        """

    def picture(self, state: State) -> bytes:
        """A picture of a record of this run.

        Raises:
            PhotoError: it is gone, or was changed.
        """

    def photo_sha256(self, sample: Sample) -> str:
        """Hash of the photo that the dialogue of a later turn was made of."""


class Portion:
    """Samples of one journal, and how what they give comes home."""

    def __init__(
        self,
        journal: Journal,
        harvester: Harvester,
        tasks: Collection[str] | None = None,
        ended: Callable[[], None] = lambda: None,
        dialogues: Dialogues | None = None,
    ):
        """
        Args:
            tasks: only samples of these tasks; None for all.
            dialogues: where samples are turns.
            ended: called once, from the thread of a server, when no sample is left without an end.
        """
        self.journal = journal
        self.harvester = harvester
        self.tasks = tasks
        self.run_id = journal.get("run_id") or ""
        """Of the run, which all its portions share."""
        self._ended = ended
        self._lock = threading.Lock()
        self.dialogues = dialogues
        settled = journal.settle_turns(tasks) if dialogues else Settled()
        self.ready = settled.ready
        """Keys of turns that may begin."""
        self.waiting = settled.waiting
        """How many wait for the turn before."""
        self.left = journal.pending(tasks)
        """How many samples wait, or are with a server, at most."""

    def opened(self) -> None:
        """Its samples' turn has come; where none waits, it has ended."""
        if not self.left:
            self._ended()

    def released(self) -> None:
        """One of its turns waits for no other any more."""
        with self._lock:
            self.waiting -= 1

    def finished(self) -> None:
        """One of its samples has an end."""
        with self._lock:
            self.left -= 1
            last = self.left == 0
        if last:
            self._ended()


class Supply(Protocol):
    """Hands out portions, one after the other. Asked from the threads of all servers, one at a time."""

    @property
    def ended(self) -> bool:
        """Whether none will come any more."""

    @property
    def waiting(self) -> int:
        """Samples of portions that could be had at once."""

    def next(self) -> Portion | None:
        """The next portion; None where there is none yet, or none any more. Does not block."""

    def check(self) -> None:
        """
        Raises:
            RunError: what is behind it broke, so that the run has to end.
        """


class OnePortion:
    """The supply of a run with one portion."""

    waiting = 0

    def __init__(self, portion: Portion):
        self._portion: Portion | None = portion

    @property
    def ended(self) -> bool:
        """See `Supply`."""
        return self._portion is None

    def next(self) -> Portion | None:
        """See `Supply`."""
        portion, self._portion = self._portion, None
        return portion

    def check(self) -> None:
        """See `Supply`."""
