"""What is told of one stage of a recipe, whose work comes in many parts: to a line of its own, and to who listens to all stages."""

from __future__ import annotations

from collections.abc import Sequence

from comfy_nodes.core.records import SampleFailure

from ..samples import Sample
from .listeners import Reporter, ServerView
from .terminal import Progress


class StageProgress:
    """A stage's. Is a `Reporter` whose closing closes nothing, as the next part goes on with it."""

    def __init__(self, progress: Progress, others: Sequence[Reporter] = ()):
        """
        Args:
            progress: the stage's line.
            others: who is told of all stages.
        """
        self._progress, self._others = progress, others
        self._begun: set[str] = set()

    def begun(self, part: str, samples: int, ended: int, failed: int, skipped: int) -> None:
        """A part's turn has come; of one that was told of already nothing is counted twice.

        Args:
            part: what tells it from others; empty where its samples are told of as they come.
        """
        if part in self._begun:
            return
        self._begun |= {part} - {""}
        self._progress.begun(samples, ended, failed, skipped)
        for one in self._others:
            one.planned(samples, ended)

    def planned(self, samples: int, ended: int) -> None:
        """See `Reporter`."""
        for one in (self._progress, *self._others):
            one.planned(samples, ended)

    def finished(self, server: str, sample: Sample, verdicts: list[str], seconds: float | None) -> None:
        """See `Reporter`."""
        for one in (self._progress, *self._others):
            one.finished(server, sample, verdicts, seconds)

    def failed(self, sample: Sample, failure: SampleFailure) -> None:
        """See `Reporter`."""
        for one in (self._progress, *self._others):
            one.failed(sample, failure)

    def retried(self, server: str, samples: int, error_class: str, why: str) -> None:
        """See `Reporter`."""
        for one in (self._progress, *self._others):
            one.retried(server, samples, error_class, why)

    def server(self, view: ServerView) -> None:
        """See `Reporter`."""
        for one in (self._progress, *self._others):
            one.server(view)

    def say(self, line: str) -> None:
        """See `Reporter`."""
        for one in (self._progress, *self._others):
            one.say(line)

    def close(self) -> None:
        """See `Reporter`."""
