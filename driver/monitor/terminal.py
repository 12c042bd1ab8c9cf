"""What the person at the terminal sees while a run lasts: a bar and a table on a terminal, a line now and then elsewhere.

Listens as `listeners.py` says, and shares what it hears with other listeners. Counting is cheap and drawing is not:
it is drawn a few times a second, however fast samples finish.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from comfy_nodes.core.records import SampleFailure

from ..samples import Sample
from ..terminal import plain, say
from .listeners import ServerView

LINE_SECONDS = 10.0
"""How often a line is printed where there is no terminal. Ours."""

DRAWN_PER_SECOND = 4
"""How often the display is drawn on a terminal. Ours."""

LINES_PER_CLASS = 10
"""Failures, and retries, of one error class that get a line each; further ones are only counted. Ours."""

SPEED_SECONDS = 60.0
"""Over how long the bar's speed is averaged. Ours: packs finish many samples at once and then none for a while."""

TOP = 3
"""Error classes that the display names. Ours."""

_BUSY = {"working", "idle"}
"""States that a healthy server changes between all the time."""

_COLUMNS = ("server", "state", "in flight", "done", "samples/prompt", "s/sample", "faults")


class Progress:
    """Counts and shows finished samples. Everything goes to stderr; stdout is for results."""

    def __init__(
        self, work: str, total: int, finished: int, failed: int, skipped: int = 0, shared: SharedScreen | None = None
    ):
        """
        Args:
            work: what is being done, such as a task's name.
            total: samples of the run.
            finished: of these, how many an earlier run finished.
            failed: of the finished ones, how many failed.
            skipped: of the finished ones, how many were skipped.
            shared: where it has a line beside others.
        """
        self._work = work
        self._total = total
        self._finished = finished
        self._failed = failed
        self._skipped = skipped
        self._begun_at = finished
        self._begun = self._last_line = time.monotonic()
        self._servers: dict[str, ServerView] = {}
        self._errors: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        """Held while counting and drawing, never while printing: the display draws in a thread of its own."""
        self._shared = shared
        self._about = f"{work}: " if shared else ""
        self._screen: _Screen | None = None
        if shared:
            self._screen = shared.screen
            shared.add(self)
        elif sys.stderr.isatty():
            self._screen = _Screen([work], self._draw)

    def planned(self, samples: int, ended: int) -> None:
        with self._lock:
            self._total += samples
            self._finished += ended
            self._begun_at += ended

    def begun(self, samples: int, ended: int, failed: int, skipped: int) -> None:
        """Further samples are known of: some have an end already, and of these some failed or were skipped."""
        self.planned(samples, ended)
        with self._lock:
            self._failed += failed
            self._skipped += skipped

    def finished(self, server: str, sample: Sample, verdicts: list[str], seconds: float | None) -> None:
        with self._lock:
            self._finished += 1
        self._print_sometimes()

    def failed(self, sample: Sample, failure: SampleFailure) -> None:
        with self._lock:
            self._finished += 1
            self._failed += not failure.skipped
            self._skipped += failure.skipped
        what = "skipped" if failure.skipped else "failed"
        self._note(what, failure.error_type, 1, f"{what}: {sample.annotation.path}: {failure.message}")
        self._print_sometimes()

    def retried(self, server: str, samples: int, error_class: str, why: str) -> None:
        many = "1 sample" if samples == 1 else f"{samples} samples"
        self._note("retried", error_class, samples, f"{server}: {many} wait again: {error_class}: {why}")

    def server(self, view: ServerView) -> None:
        with self._lock:
            before = self._servers.get(view.name)
            self._servers[view.name] = view
        if self._screen or (before and (before.state == view.state or {before.state, view.state} == _BUSY)):
            return
        faults = f" ({view.faults} faults so far)" if view.faults else ""
        self.say(f"{self._about}{view.name}: {view.state}{faults}")

    def say(self, line: str) -> None:
        if self._screen:
            self._screen.say(plain(line))
        else:
            say(line)

    def close(self) -> None:
        if self._screen and not self._shared:
            self._screen.close()
        elif not self._screen and self._finished > self._begun_at:
            self._print_line()

    def _note(self, what: str, error_class: str, samples: int, line: str) -> None:
        with self._lock:
            seen = self._errors[what, error_class]
            self._errors[what, error_class] += samples
        if seen < LINES_PER_CLASS:
            self.say(self._about + line)
        if seen < LINES_PER_CLASS <= seen + samples:
            self.say(f"{self._about}further {error_class} ({what}) are only counted here; run.log.jsonl has them")

    def _print_sometimes(self) -> None:
        if not self._screen and time.monotonic() - self._last_line > LINE_SECONDS:
            self._print_line()

    def _print_line(self) -> None:
        self._last_line = time.monotonic()
        rate = (self._finished - self._begun_at) / max(1e-6, self._last_line - self._begun)
        left = (self._total - self._finished) / rate if rate else 0
        self.say(
            f"{self._work}: {self._finished}/{self._total}, {rate:.2f}/s, {left:.0f} s left, {self._failed} failed"
            + (f", {self._skipped} skipped" if self._skipped else "")
        )

    def update(self, bar: RichProgress, line: int) -> None:
        """Shows the counts in one of a bar's lines."""
        with self._lock:
            lost = f"{self._failed} failed," + (f" {self._skipped} skipped," if self._skipped else "")
            bar.update(bar.task_ids[line], completed=self._finished, total=self._total, lost=lost)

    def _draw(self, bar: RichProgress) -> RenderableType:
        self.update(bar, 0)
        with self._lock:
            servers = list(self._servers.values())
            errors = self._errors.most_common(TOP)
        parts: list[RenderableType] = [bar.get_renderable()]
        if servers:
            parts.append(_table(servers))
        if errors:
            named = ", ".join(f"{number} {what}: {name}" for (what, name), number in errors)
            parts.append(Text(plain(named), overflow="ellipsis", no_wrap=True))
        return Group(*parts)


class _Screen:
    """The display on a terminal."""

    def __init__(self, works: Sequence[str], draw: Callable[[RichProgress], RenderableType]):
        console = Console(stderr=True)
        bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TextColumn("{task.fields[lost]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            auto_refresh=False,
            speed_estimate_period=SPEED_SECONDS,
        )
        for work in works:
            bar.add_task(work, total=0, lost="")
        self._live = Live(
            console=console,
            get_renderable=lambda: draw(bar),
            refresh_per_second=DRAWN_PER_SECOND,
            redirect_stdout=False,
        )
        self._live.start()

    def say(self, line: str) -> None:
        self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._live.stop()


class SharedScreen:
    """Several pieces of work that go on at the same time: a bar each on a terminal, and a line each now and then elsewhere."""

    def __init__(self, works: Sequence[str]):
        """
        Args:
            works: what is done, in the order of the lines. A `Progress` of each is to be made, in this order too.
        """
        self._lines: list[Progress] = []
        self.screen = _Screen(works, self._draw) if sys.stderr.isatty() else None

    def add(self, progress: Progress) -> None:
        """The next line's."""
        self._lines.append(progress)

    def close(self) -> None:
        """Nothing is shown any more; elsewhere than on a terminal how far each came."""
        if self.screen:
            self.screen.close()
        for progress in self._lines:
            progress.close()

    def _draw(self, bar: RichProgress) -> RenderableType:
        for number, progress in enumerate(list(self._lines)):
            progress.update(bar, number)
        return bar.get_renderable()


class Waiting:
    """Shows that something takes a while, such as ComfyUI's start."""

    def __init__(self, what: str):
        self._what = what
        self._last = 0.0

    def __call__(self, seconds: float) -> None:
        """Called now and then, first with 0, with the seconds since it began; it may begin again."""
        if seconds == 0:
            self._last = 0.0
            say(f"{self._what} ...")
        elif seconds - self._last >= LINE_SECONDS:
            self._last = seconds
            say(f"{self._what}: {seconds:.0f} s")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.2f}/s")


def _table(servers: list[ServerView]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, column in enumerate(_COLUMNS):
        table.add_column(column, justify="left" if number < 2 else "right", no_wrap=True)
    for one in servers:
        seconds = "" if one.seconds_per_sample is None else f"{one.seconds_per_sample:.2f}"
        style = "" if one.state in _BUSY else "dim" if one.state == "left" else "yellow"
        cells = (one.in_flight, one.done, one.samples_per_prompt, seconds, one.faults)
        table.add_row(plain(one.name), one.state, *map(str, cells), style=style)
    return table
