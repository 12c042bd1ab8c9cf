"""The driver's command as a process that is watched from outside: its time, its memory, how far its journal is."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq

REPOSITORY = Path(__file__).resolve().parent.parent

PAID = {"COMFY_API_KEY": "benchmark"}
"""Without a key the driver takes no graph with a node that calls an API, as the one that stands for a question does."""

LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Run:
    """One finished run of the command."""

    samples: int
    wall: float
    """Seconds of the whole command."""
    editing: float
    """Seconds from the first prompt's journal entry until the last result is on disk."""
    cpu: float
    """CPU seconds of the driver for each further image, between the first finished ones and the last but one that was seen."""

    @property
    def per_image(self) -> float:
        """Seconds of editing per image."""
        return self.editing / self.samples


class Command:
    """`python driver/batch.py ...`, started; used as a context manager, which ends it."""

    def __init__(self, output: Path, *options: object, comfyui: Path | None = None):
        """
        Args:
            output: the run's folder; what the command says goes into a file beside it.
            options: of the command line, without `--output`.
            comfyui: what servers of its own run; the one that is found, if None.
        """
        self.output = output
        self._log = output.with_suffix(".log")
        self.begun = time.monotonic()
        command = [sys.executable, "driver/batch.py", "--output", str(output), *map(str, options)]
        # As on a machine that ran it before: bytecode is kept, whatever this process was told to do with its own.
        kept = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(output.parent / "bytecode")}
        found = {"COMFYUI_PATH": str(comfyui)} if comfyui else {}
        with self._log.open("wb") as said:
            self._process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**os.environ, **PAID, **kept, **found},
            )
        self._watched = psutil.Process(self._process.pid)

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.running:
            self.kill()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def rss_mb(self) -> float:
        """Resident memory in megabytes of a million bytes."""
        return float(self._watched.memory_info().rss) / 1e6

    def cpu_s(self) -> float:
        """User and system seconds so far."""
        times = self._watched.cpu_times()
        return float(times.user + times.system)

    def done(self) -> int:
        """Samples that the journal calls done."""
        return done_in(self.output / "run.sqlite")

    def until(self, condition: Callable[[], object], what: str, seconds: float) -> None:
        """Waits, while it runs.

        Raises:
            RuntimeError: it ended, or the time is up.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if not self.running:
                raise RuntimeError(f"the driver ended before {what}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {seconds:.0f} s: {what}")
            time.sleep(LOOK_SECONDS)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()

    def end(self, expect: int = 0) -> float:
        """Waits for its end; the seconds that it took.

        Raises:
            RuntimeError: it ended otherwise.
        """
        status = self._process.wait()
        if status != expect:
            raise RuntimeError(f"the driver ended with {status}: {self._last_words()}")
        return time.monotonic() - self.begun

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def drive(output: Path, *options: object, comfyui: Path | None = None) -> Run:
    """Runs the command to its end; arguments as of `Command`."""
    with Command(output, *options, comfyui=comfyui) as command:
        seen: list[tuple[int, float]] = []  # samples done, CPU seconds: whenever the first number changed
        while command.running:
            done = command.done()
            if done > (seen[-1][0] if seen else 0):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    seen.append((done, command.cpu_s()))
            time.sleep(LOOK_SECONDS)
        wall = command.end()
    rows = pq.read_table(output / "telemetry.parquet").to_pylist()
    editing = max(row["finished_at"] for row in rows) - min(row["queued_at"] for row in rows)
    # Not up to the very last one: when that is seen, the dataset is being written already.
    first, last = (seen[0], seen[-2]) if len(seen) > 1 else ((0, 0.0), (0, 0.0))
    cpu = (last[1] - first[1]) / (last[0] - first[0]) if last[0] > first[0] else 0.0
    return Run(len(rows), wall, editing, cpu)


def done_in(journal: Path) -> int:
    """Samples that a journal calls done; 0 while there is none."""
    if not journal.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=5)) as db:
        try:
            return int(db.execute("SELECT COUNT(*) FROM samples WHERE state = 'done'").fetchone()[0])
        except sqlite3.OperationalError:  # it is just being made
            return 0
