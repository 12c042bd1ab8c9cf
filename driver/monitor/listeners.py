"""What a run tells while it lasts, to whoever listens: the terminal, the metrics, the log."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from comfy_nodes.core.records import SampleFailure

from ..samples import Sample

ServerState = Literal["starting", "working", "idle", "away", "suspended", "recycling", "left"]
"""away: nothing answers. suspended: faults in a row, waiting before one prompt as a canary. left: given up for this run."""


@dataclass(frozen=True)
class ServerView:
    """One server as it stands."""

    name: str
    """Its address; of a server of our own its folder's name."""
    state: ServerState
    in_flight: int = 0
    """Samples posted and not finished."""
    done: int = 0
    faults: int = 0
    """Faults of the server so far in this run."""
    samples_per_prompt: int = 1
    seconds_per_sample: float | None = None
    """Moving average of the server's own execution time."""


class Reporter(Protocol):
    """Who is told. Called from the threads of several servers, one call at a time."""

    def planned(self, samples: int, ended: int) -> None:
        """The run is seen to have so many samples more, of which some have an end already; fewer where these are negative."""

    def finished(self, server: str, sample: Sample, verdicts: list[str], seconds: float | None) -> None:
        """A sample has its rows; `seconds` is what the server took for it."""

    def failed(self, sample: Sample, failure: SampleFailure) -> None:
        """A sample will have no row: it failed, or is skipped."""

    def retried(self, server: str, samples: int, error_class: str, why: str) -> None:
        """Samples wait again, after something that is not their fault or with attempts left."""

    def server(self, view: ServerView) -> None:
        """A server's state changed."""

    def say(self, line: str) -> None:
        """One line for the person at the terminal."""

    def close(self) -> None: ...


class Reporters:
    """Passes on what a run tells to several listeners, one call at a time. Called from the threads of all servers."""

    def __init__(self, reporters: Sequence[Reporter]):
        self._reporters = reporters
        self._lock = threading.Lock()

    def planned(self, samples: int, ended: int) -> None:
        self._tell(lambda one: one.planned(samples, ended))

    def finished(self, server: str, sample: Sample, verdicts: list[str], seconds: float | None) -> None:
        self._tell(lambda one: one.finished(server, sample, verdicts, seconds))

    def failed(self, sample: Sample, failure: SampleFailure) -> None:
        self._tell(lambda one: one.failed(sample, failure))

    def retried(self, server: str, samples: int, error_class: str, why: str) -> None:
        self._tell(lambda one: one.retried(server, samples, error_class, why))

    def server(self, view: ServerView) -> None:
        self._tell(lambda one: one.server(view))

    def say(self, line: str) -> None:
        self._tell(lambda one: one.say(line))

    def close(self) -> None:
        with self._lock, contextlib.ExitStack() as closing:  # each, whatever the others do
            for reporter in self._reporters:
                closing.callback(reporter.close)

    def _tell(self, tell: Callable[[Reporter], None]) -> None:
        with self._lock:
            for reporter in self._reporters:
                tell(reporter)
