"""What the chaos tests share: graphs and inputs, a watch on what the driver says, and who restarts dead servers."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.driver_servers import ServerProcess
from comfy_nodes.core.tasks import task_named
from driver.inputs.source import Source
from driver.samples import Aim, Sample
from tests.e2e import helpers
from tests.e2e.helpers import Driver

NODES = helpers.REPOSITORY / "benchmarks" / "nodes"
EDIT, MISHAP = NODES / "edit.json", NODES / "mishap.json"
AT_ONCE = ("--set", "#edit.seconds=0")

PATCHED = """
import dataclasses, importlib, json, sys
sys.path.insert(0, sys.argv.pop(1))
for place, value in json.loads(sys.argv.pop(1)).items():
    module, _, name = place.rpartition(".")
    loaded = importlib.import_module(module)
    before = getattr(loaded, name)
    setattr(loaded, name, dataclasses.replace(before, **value) if isinstance(value, dict) else value)
from driver.batch import main
sys.exit(main(sys.argv[1:]))
"""
"""The command with constants of its modules set otherwise."""


class Patched(Driver):
    """The command with something in the driver's modules set otherwise."""

    def script(self, code: str, *arguments: object) -> subprocess.Popen[str]:
        """Starts the command out of a script that changes something first.

        Args:
            arguments: of the script, behind the repository.
        """
        command = [sys.executable, "-c", code, str(helpers.REPOSITORY), *map(str, arguments)]
        log = self._scratch / f"script-{len(self._started)}"
        with log.with_suffix(".out").open("w") as out, log.with_suffix(".err").open("w") as err:
            process = subprocess.Popen(
                command,
                cwd=helpers.REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
            )
        process.log = log  # type: ignore[attr-defined]
        self._started.append(process)
        return process

    def begin(
        self, constants: Mapping[str, float | Mapping[str, float]], *options: object, server: str, workflow: Path
    ) -> subprocess.Popen[str]:
        """
        Args:
            constants: by place, such as `driver.engine.health.ZOMBIE_SECONDS`; of records some fields.
        """
        return self.script(PATCHED, json.dumps(constants), "--workflow", workflow, "--server", server, *options)


def photos(folder: Path, count: int, instructions: dict[int, str] | None = None) -> Path:
    """A folder of small photos with masks; some with an instruction, by number."""
    for number, path in enumerate(helpers.make_photos(folder, count)):
        if text := (instructions or {}).get(number):
            path.with_suffix(".txt").write_text(text)
    return folder


def expected(source: Path) -> list[str]:
    """Keys of all samples that an input gives, in order."""
    planned = list(Source(source).plan([Aim(task_named("remove"))], "all", 0))
    assert all(isinstance(one, Sample) for one in planned)
    return [one.key for one in planned]


def outcome(output: Path) -> list[str]:
    """Keys of all rows and failures."""
    failed = [str(row["key"]) for row in helpers.table(output, "failed")]
    return helpers.keys(output) + failed


def assert_each_once(output: Path, source: Path) -> None:
    """No sample is lost, none is there twice."""
    found, wanted = Counter(outcome(output)), expected(source)
    assert set(wanted) - set(found) == set(), "lost"
    assert [key for key, times in found.items() if times > 1] == [], "doubled"
    assert set(found) == set(wanted), "of no sample"


def kept_once(output: Path, source: Path) -> None:
    """Every sample is kept, once, in the input's order."""
    assert [row["key"] for row in helpers.rows(output)] == expected(source)
    assert helpers.table(output, "failed") == []


def said(process: subprocess.Popen[str]) -> str:
    """What a started command wrote to stderr so far."""
    log: Path = process.log  # type: ignore[attr-defined]
    return log.with_suffix(".err").read_text(errors="replace")


def during(process: subprocess.Popen[str], condition: Callable[[], Any], what: str, seconds: float = 60) -> None:
    """Waits for something while a command runs; fails at once where the command ends before."""

    def seen() -> bool:
        if condition():
            return True
        assert process.poll() is None, f"the command ended before {what}:\n{said(process)[-2000:]}"
        return False

    helpers.until(seen, f"{what}; it said:\n{said(process)[-2000:]}", seconds)


def until_said(process: subprocess.Popen[str], words: str, after: int, seconds: float) -> float:
    """Waits until stderr, from character `after` on, has `words` in it; seconds waited."""
    begun = time.monotonic()
    during(process, lambda: words in said(process)[after:], f"{words!r} on stderr", seconds)
    return time.monotonic() - begun


@contextmanager
def restarted(server: ServerProcess, after: float = 0.3) -> Iterator[list[float]]:
    """While it lasts, a server that dies is started again on its port; gives the moments of its deaths."""
    deaths: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            if not server.alive:
                deaths.append(time.monotonic())
                over.wait(after)
                server.launch()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield deaths
    finally:
        over.set()
        thread.join(10)


def executed(server: ServerProcess) -> dict[str, int]:
    """How often a fake server ran each sample."""
    told: dict[str, int] = server.get("/fake")["executed"]
    return told
