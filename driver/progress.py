"""What the person at the terminal sees while a run lasts: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from comfy_nodes.core.records import SampleFailure

from .sources import Sample

LINE_SECONDS = 10.0
"""How often a line is printed where there is no terminal."""


class Progress:
    """Counts and shows finished samples. Everything goes to stderr; stdout is for results."""

    def __init__(self, work: str, total: int, finished: int, failed: int):
        """
        Args:
            work: what is being done, such as a task's name.
            total: samples of the run.
            finished: of these, how many an earlier run finished.
            failed: of the finished ones, how many failed.
        """
        self._work = work
        self._total = total
        self._finished = finished
        self._failed = failed
        self._begun_at = finished
        self._begun = self._last_line = time.monotonic()
        self._bar = _bar(work, total, finished, failed) if sys.stderr.isatty() else None

    def finished(self, verdicts: list[str]) -> None:
        self._finished += 1
        self._show()

    def failed(self, sample: Sample, failure: SampleFailure) -> None:
        self._finished += 1
        self._failed += 1
        self.say(f"failed: {sample.annotation.path}: {failure.message}")
        self._show()

    def say(self, line: str) -> None:
        if self._bar:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar:
            self._bar.stop()
        elif self._finished > self._begun_at:
            self._print_line()

    def _show(self) -> None:
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=self._finished, failed=self._failed)
        elif time.monotonic() - self._last_line > LINE_SECONDS:
            self._print_line()

    def _print_line(self) -> None:
        self._last_line = time.monotonic()
        rate = (self._finished - self._begun_at) / max(1e-6, self._last_line - self._begun)
        left = (self._total - self._finished) / rate if rate else 0
        print(
            f"{self._work}: {self._finished}/{self._total}, {rate:.2f}/s, {left:.0f} s left, {self._failed} failed",
            file=sys.stderr,
            flush=True,
        )


class Waiting:
    """Shows that something takes a while, such as ComfyUI's start."""

    def __init__(self, what: str):
        self._what = what
        self._last = 0.0
        print(f"{what} ...", file=sys.stderr, flush=True)

    def __call__(self, seconds: float) -> None:
        if seconds - self._last >= LINE_SECONDS:
            self._last = seconds
            print(f"{self._what}: {seconds:.0f} s", file=sys.stderr, flush=True)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.2f}/s")


def _bar(work: str, total: int, finished: int, failed: int) -> RichProgress:
    bar = RichProgress(
        TextColumn(work),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TextColumn("{task.fields[failed]} failed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
    )
    bar.add_task(work, total=total, completed=finished, failed=failed)
    bar.start()
    return bar
