"""A recipe of three stages, killed, stopped and gone on with: every sample of every stage once.

All stages are on one server that paints nothing and outlives the command, so that what was asked of it is counted.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from benchmarks.driver_servers import ServerProcess
from tests.chaos import scene
from tests.chaos.conftest import Fakes
from tests.chaos.scene import EDIT, NODES
from tests.e2e import helpers

PHOTOS, KILLS = 100, 20
SEED = int(os.environ.get("EDITPAIRS_KILL_SEED") or random.SystemRandom().randrange(10**6))
"""Says when it is killed."""

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["driver.batch", "driver.recipe.chain"])


def _command(words: list[str], log: Path) -> None:
    with log.open("a") as told:
        os.dup2(told.fileno(), 1)
        os.dup2(told.fileno(), 2)
    from driver.batch import main

    sys.exit(main(words))


class Recipe:
    """A recipe over photos, as commands run it."""

    def __init__(self, folder: Path, server: ServerProcess, photos: int):
        self.server, self.output, self.log = server, folder / "out", folder / "said"
        self.photos = scene.photos(folder / "photos", photos)
        self.path = folder / "three.toml"
        self._running: list[BaseProcess] = []
        self.write()

    def write(self, judge: str = "", edit: str = "") -> None:
        """
        Args:
            judge, edit: further lines of these stages.
        """
        self.path.write_text(f"""
name = "three"
[[stage]]
name = "look"
workflow = "{NODES / "look.json"}"
[[stage]]
name = "edit"
workflow = "{EDIT}"
set = ["#edit.seconds=0"]
{edit}
[[stage]]
name = "judge"
workflow = "{NODES / "judge.json"}"
{judge}
""")

    def begin(self, *options: object) -> BaseProcess:
        words = ["--recipe", self.path, "--input", self.photos, "--output", self.output, "--server", self.server.url]
        process = _FORKS.Process(target=_command, args=([*map(str, [*words, *options])], self.log))
        process.start()
        self._running.append(process)
        return process

    def run(self, *options: object, status: int = 0) -> None:
        process = self.begin(*options)
        process.join(120)
        assert process.exitcode == status, self.said()

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def close(self) -> None:
        for process in self._running:
            process.kill()
            process.join()

    @property
    def done(self) -> int:
        """Samples that the server has run, each time counted."""
        return int(self.server.get("/fake/counts")["samples"])

    def stage(self, name: str) -> Path:
        return self.output / "stages" / name

    def assert_each_once(self) -> None:
        """No sample of any stage is lost, doubled, or was run twice; rows are in the input's order."""
        ran = self.server.get("/fake")["executed"]
        assert [key for key, times in ran.items() if times > 1] == []
        by_task = Counter(key.partition(" ")[0] for key in ran)
        number = len(list(self.photos.glob("*.mask.png")))
        assert by_task == {"annotate": number, "remove": number, "verify": number}
        lines = [json.loads(line) for line in (self.stage("look") / "annotation.jsonl").read_text().splitlines()]
        edited = [row["source_id"] for row in helpers.rows(self.stage("edit"))]
        rows = helpers.rows(self.output)
        names = sorted(path.name.replace(".mask", "") for path in self.photos.glob("*.mask.png"))
        assert [line["path"] for line in lines] == edited == [row["source_id"] for row in rows] == names
        for folder in (self.stage("look"), self.stage("edit"), self.output):
            assert helpers.table(folder, "failed") == []


@pytest.fixture
def recipe(fake: Fakes, tmp_path: Path) -> Iterator[Recipe]:
    made = Recipe(tmp_path, fake("--seconds", 0.005), PHOTOS)
    try:
        yield made
    finally:
        made.close()


def test_it_is_killed_twenty_times(recipe: Recipe) -> None:
    print(f"EDITPAIRS_KILL_SEED={SEED}")
    rng = random.Random(SEED)
    for moment in sorted(rng.sample(range(1, 3 * PHOTOS - 10), KILLS)):
        process = recipe.begin("--shard-size", 25)
        while recipe.done < moment and process.is_alive():
            time.sleep(0.005)
        assert process.is_alive(), recipe.said()[-3000:]
        time.sleep(rng.random() * 0.1)
        process.kill()
        process.join()
    recipe.run("--shard-size", 25)
    recipe.assert_each_once()
