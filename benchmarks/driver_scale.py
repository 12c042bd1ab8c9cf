"""Figures at sizes that no real server could be waited for: on the fake one, which edits nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil

from benchmarks.driver_command import LOOK_SECONDS, Command
from benchmarks.driver_inputs import make_rows
from benchmarks.driver_servers import ServerProcess
from benchmarks.driver_shards import commit_most, make_items
from benchmarks.driver_site import NODES, Site, floor_of, say
from driver.dataset.parts import Part

SHARD = 1000
"""Items of a shard: the driver's own choice."""

SMALL, MANY, MOST = 2 * SHARD, 1_000_000, 10_000_000
PROMPTS = (10_000, 100_000)

GRAPH = ("--workflow", NODES / "edit.json", "--set", "#edit.seconds=0")

PATIENCE = 6 * 3600.0


@dataclass(frozen=True)
class Begun:
    """A run that was begun and stopped when its first shard was committed."""

    input: Path
    output: Path
    server: ServerProcess
    first_edit: float
    """Seconds from the command's start to the first prompt."""
    cpu: float
    """CPU seconds of the driver until then; what others do on the machine does not show in it."""
    rss: float
    """Its largest resident memory, MB."""


@dataclass(frozen=True)
class Resumed:
    """A run of which one shard was left, taken up again and gone to its end."""

    first_edit: float
    cpu: float
    rss: float
    seconds: float
    """Of the whole command."""
    ending: float
    """Seconds from its last edit to its end."""


class Scale:
    """The figures; those that stand on the same run share it. Beside each: what a run of two shards comes to."""

    def __init__(self, site: Site):
        self._site = site

    def beginning_many(self) -> dict[str, float]:
        """The first edit of a million inputs."""
        return self._first("first_edit_1m_s", lambda: self._begin(self._site.size(MANY, 10 * SHARD)))

    def beginning_most(self) -> dict[str, float]:
        """The first edit of ten million."""
        return self._first("first_edit_10m_s", lambda: self._most)

    def resuming(self) -> dict[str, float]:
        """Ten million inputs that are done and one shard that is not: seconds to the first edit."""
        found = self._first("resume_10m_s", lambda: self._resumed)
        again = self._resumed
        return found | {
            "resumed to its end, s": again.seconds,
            "of which after the last edit, s": again.ending,
        }

    def memory(self) -> dict[str, float]:
        """Resident memory at ten million inputs: begun, taken up again, and at the end."""
        return {
            "rss_10m_mb": max(self._most.rss, self._resumed.rss),
            floor_of("rss_10m_mb"): self._small.rss,
            "of which begun, MB": self._most.rss,
        }

    def slope(self) -> dict[str, float]:
        """What the driver's resident memory grows by between prompt 10,000 and prompt 100,000."""
        few, many = (self._site.size(full, full // 20) for full in PROMPTS)
        server = self._site.fake()
        rows = make_rows(self._site.folder / "jobs", many + SHARD)
        with Command(self._site.output(), *_options(rows, server), "--samples-per-prompt", 1) as command:
            command.until(lambda: server.get("/fake/counts")["prompts"] >= few, f"{few} prompts", PATIENCE)
            begun, at_first = time.monotonic(), command.rss_mb()
            command.until(lambda: server.get("/fake/counts")["prompts"] >= many, f"{many} prompts", PATIENCE)
            seconds, at_last = time.monotonic() - begun, command.rss_mb()
        return {
            "rss_slope_mb": at_last - at_first,
            floor_of("rss_slope_mb"): 0.0,
            f"resident at {few} prompts, MB": at_first,
            "prompts a second on the fake server": (many - few) / seconds,
        }

    def _first(self, figure: str, measure: Callable[[], Begun | Resumed]) -> dict[str, float]:
        """A figure of the first edit, its floor, and the same in CPU time."""
        small = self._small  # first, as a site's first command compiles the driver's modules
        run = measure()
        return {
            figure: run.first_edit,
            floor_of(figure): small.first_edit,
            f"{figure}, CPU s": run.cpu,
            f"{figure}, CPU s of the floor": small.cpu,
        }

    @cached_property
    def _small(self) -> Begun:
        return self._begin(SMALL)

    @cached_property
    def _most(self) -> Begun:
        return self._begin(self._site.size(MOST, 50 * SHARD) + SHARD)

    @cached_property
    def _resumed(self) -> Resumed:
        """The last shard of `_most`, after all others."""
        run, shards = self._most, self._site.size(MOST, 50 * SHARD) // SHARD
        say(f"committing {shards} shards")
        commit_most(run.output, shards)
        # It has to forget what the last run left with it, which would be taken over first.
        run.server.kill()
        run.server.start()
        begun = time.time()
        with Command(run.output, *_options(run.input, run.server)) as command:
            watch = _Watch(command, run.server)
            while command.running:
                watch()
                time.sleep(LOOK_SECONDS)
            seconds = command.end()
        told = run.server.get("/fake/counts")
        first, last = float(told["first_prompt_at"]) - begun, float(told["last_end_at"]) - begun
        return Resumed(first, watch.cpu, watch.rss, seconds, seconds - last)

    def _begin(self, items: int) -> Begun:
        say(f"an input of {items} photos")
        source = make_items(self._site.folder / f"items{items}", items, first=4 * SHARD, last=2 * SHARD)
        server, output = self._site.fake(), self._site.output()
        say("the driver begins")
        begun, commit = time.time(), Part.of_shard(output, 0).commit
        with Command(output, *_options(source, server)) as command:
            watch = _Watch(command, server)

            def committed() -> bool:
                watch()
                return commit.exists()

            command.until(committed, "the first commit", PATIENCE)
            command.interrupt()
            command.end(expect=130)
        first_edit = float(server.get("/fake/counts")["first_prompt_at"]) - begun
        say(f"first edit after {first_edit:.1f} s, {watch.cpu:.1f} s of CPU; {watch.rss:.0f} MB")
        return Begun(source, output, server, first_edit, watch.cpu, watch.rss)


class _Watch:
    """A command's largest resident memory, and its CPU seconds when its first prompt was posted; to be called often."""

    def __init__(self, command: Command, server: ServerProcess):
        self._command, self._server = command, server
        self._posted = False
        self.rss = self.cpu = 0.0

    def __call__(self) -> None:
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):  # it ends just now
            self.rss = max(self.rss, self._command.rss_mb())
            if not self._posted:
                self.cpu = self._command.cpu_s()
                self._posted = bool(self._server.get("/fake/counts")["prompts"])


def _options(source: Path, server: ServerProcess) -> list[object]:
    return [*GRAPH, "--input", source, "--server", server.url]
