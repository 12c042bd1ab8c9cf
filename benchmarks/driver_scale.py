"""Figures at sizes that no real server could be waited for: on the fake one, which edits nothing."""

from __future__ import annotations

import time

from benchmarks.driver_command import Command
from benchmarks.driver_inputs import make_rows
from benchmarks.driver_journal import add_finished, finish_most
from benchmarks.driver_servers import ServerProcess
from benchmarks.driver_site import NODES, Site, say

ROWS = 1_000_000
MANY_ROWS = 10_000_000
JOBS = (10_000, 100_000)
LEFT = 64
"""Samples that still wait in a run that is taken up again."""

WATCHED = 300
"""Prompts while which memory is looked at, after the samples were taken down."""

GRAPH = ("--workflow", NODES / "edit.json", "--set", "#edit.seconds=0")

PATIENCE = 6 * 3600.0


class LongRun:
    """A run over many rows on a fake server: begun by the real command, then aged by SQL."""

    def __init__(self, site: Site):
        self._site = site
        self.rows = site.size(ROWS, 20_000)
        self._output = site.folder / "long"
        self._server: ServerProcess = site.fake()
        say(f"writing {self.rows} rows")
        self._input = make_rows(site.folder / "rows", self.rows)
        self.memory = self._begin()

    def _begin(self) -> dict[str, float]:
        """Lets the driver take all rows down and edit some; megabytes while it edits and at its most before."""
        say("the driver takes them down")
        before = [0.0]
        with self._command() as command:

            def posted() -> bool:
                before.append(command.rss_mb())
                return bool(self._server.get("/fake")["prompts"])

            command.until(posted, "the first prompt", PATIENCE)
            begun = time.monotonic() - command.begun
            seen = [command.rss_mb()]
            while self._server.get("/fake")["samples"] < WATCHED and command.running:
                seen.append(command.rss_mb())
                time.sleep(0.05)
            command.interrupt()
            command.end(expect=130)
        return {"rss_mb_1m_rows": max(seen), "most before the first prompt, MB": max(before), "first start, s": begun}

    def resume(self, rows: int) -> float:
        """Seconds until a run with so many finished rows posts its first prompt, from the command's start."""
        journal = self._output / "run.sqlite"
        say(f"making a journal of {rows} finished rows")
        finished = finish_most(journal, LEFT)
        if rows > finished:
            add_finished(journal, rows - finished)
        # It has to forget what the last run left with it, which would be taken over first.
        self._server.kill()
        self._server.start()
        begun = time.time()
        with self._command() as command:
            command.until(lambda: self._server.get("/fake")["first_prompt_at"], "the first prompt", PATIENCE)
            return float(self._server.get("/fake")["first_prompt_at"]) - begun

    def _command(self) -> Command:
        return Command(self._output, *GRAPH, "--input", self._input, "--server", self._server.url)


class Scale:
    """The figures; those that stand on the same long run share it."""

    def __init__(self, site: Site):
        self._site = site
        self._long: LongRun | None = None

    def memory(self) -> dict[str, float]:
        """Resident memory of the driver at a million rows."""
        return self._run().memory

    def resuming(self) -> dict[str, float]:
        """A run with a million finished rows, taken up again. Its input has as many lines."""
        return {"resume_1m_s": self._run().resume(self._run().rows)}

    def resuming_many(self) -> dict[str, float]:
        """The same with ten million in the journal; the input keeps its million lines."""
        return {"resume_10m_s": self._run().resume(self._site.size(MANY_ROWS, 200_000))}

    def slope(self) -> dict[str, float]:
        """What the driver's resident memory grows by between job 10,000 and job 100,000."""
        few, many = (self._site.size(full, full // 20) for full in JOBS)
        server = self._site.fake()
        rows = make_rows(self._site.folder / "jobs", many + WATCHED)
        output = self._site.output()
        with Command(output, *GRAPH, "--input", rows, "--server", server.url) as command:
            command.until(lambda: server.get("/fake")["samples"] >= few, f"{few} jobs", PATIENCE)
            begun, at_first = time.monotonic(), command.rss_mb()
            command.until(lambda: server.get("/fake")["samples"] >= many, f"{many} jobs", PATIENCE)
            seconds, at_last = time.monotonic() - begun, command.rss_mb()
        return {
            "rss_slope_mb": at_last - at_first,
            f"resident at {few} jobs, MB": at_first,
            "jobs a second on the fake server": (many - few) / seconds,
        }

    def _run(self) -> LongRun:
        self._long = self._long or LongRun(self._site)
        return self._long
