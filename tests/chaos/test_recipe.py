"""A recipe of three stages, killed, stopped and gone on with: every sample of every stage once.

All stages are on one server that paints nothing and outlives the command, so that what was asked of it is counted.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
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
{edit or 'set = ["#edit.seconds=0"]'}
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

    def executed(self) -> Counter[str]:
        """How often samples were run, by task; of samples of one task each as often."""
        ran = self.server.get("/fake")["executed"]
        times = {key.partition(" ")[0]: number for key, number in ran.items()}
        assert all(times[key.partition(" ")[0]] == number for key, number in ran.items()), "some more often than others"
        assert set(Counter(key.partition(" ")[0] for key in ran).values()) <= {self.number}
        return Counter(times)

    @property
    def number(self) -> int:
        """Of photos."""
        return len(list(self.photos.glob("*.mask.png")))

    def assert_each_once(self) -> None:
        """No sample of any stage is lost, doubled, or was run twice; rows are in the input's order."""
        assert self.executed() == {"annotate": 1, "remove": 1, "verify": 1}
        self.assert_whole()

    def assert_whole(self) -> None:
        """Every photo came through all stages, in the input's order."""
        lines = [json.loads(line) for line in (self.stage("look") / "annotation.jsonl").read_text().splitlines()]
        edited = [row["source_id"] for row in helpers.rows(self.stage("edit"))]
        rows = helpers.rows(self.output)
        names = sorted(path.name.replace(".mask", "") for path in self.photos.glob("*.mask.png"))
        assert [line["path"] for line in lines] == edited == [row["source_id"] for row in rows] == names
        for folder in (self.stage("look"), self.stage("edit"), self.output):
            assert helpers.table(folder, "failed") == []


Make = Callable[..., Recipe]


@pytest.fixture
def make(fake: Fakes, tmp_path: Path) -> Iterator[Make]:
    """Makes the recipe; called with the number of photos and seconds that each sample takes."""
    made: list[Recipe] = []

    def one(photos: int, seconds: float = 0.005) -> Recipe:
        made.append(Recipe(tmp_path, fake("--seconds", seconds), photos))
        return made[-1]

    yield one
    for recipe in made:
        recipe.close()


def test_it_is_killed_twenty_times(make: Make) -> None:
    print(f"EDITPAIRS_KILL_SEED={SEED}")
    recipe = make(PHOTOS)
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


def test_what_fails_in_an_early_stage_counts(make: Make) -> None:
    recipe = make(3)
    (recipe.photos / "broken.png").write_bytes(b"no picture")
    recipe.run(status=1)
    assert "1 of 10 samples failed (1 PhotoError in look)" in recipe.said()
    recipe.run("--max-failed", 1)


def test_a_stage_is_made_again_and_those_before_it_are_not(make: Make) -> None:
    recipe = make(20)
    recipe.run()
    recipe.assert_each_once()
    before = {path: path.stat().st_mtime_ns for path in recipe.stage("edit").rglob("*.parquet")}
    recipe.write(judge='set = ["#pixels.min_changed=0.01"]')
    recipe.run(status=2)
    assert "stage judge: set None there, ['#pixels.min_changed=0.01'] now; --rerun-from judge makes it" in recipe.said()

    process = recipe.begin("--rerun-from", "judge")
    while recipe.done < 65 and process.is_alive():
        time.sleep(0.005)
    process.kill()
    process.join()
    recipe.run()  # what was to be made again need not be said again
    assert recipe.executed() == {"annotate": 1, "remove": 1, "verify": 2}
    recipe.assert_whole()
    assert {path: path.stat().st_mtime_ns for path in before} == before

    recipe.run("--server", "http://127.0.0.1:9")  # all is done: nobody is asked
    assert "all shards of all stages are done" in recipe.said()
    for number in range(20, 25):
        helpers.make_photo(recipe.photos / f"photo{number:03d}.png", number)
    recipe.run(status=2)
    assert "its input is not what it was then; --extend takes in what is new or changed" in recipe.said()
    recipe.run("--extend")
    assert recipe.done == 3 * 20 + 20 + 3 * 5
    recipe.assert_whole()


@pytest.mark.parametrize("signals", [1, 2])
def test_it_is_stopped(make: Make, signals: int) -> None:
    """A first signal lets prompts in flight end; a second one ends it at once."""
    recipe = make(60, 0.01)
    process = recipe.begin("--shard-size", 20)
    while recipe.done < 25:
        assert process.is_alive(), recipe.said()
        time.sleep(0.01)
    stopped = time.monotonic()
    for _ in range(signals):
        os.kill(process.pid or 0, signal.SIGINT)
        time.sleep(0.1)
    process.join(20)
    assert process.exitcode == 130
    print(f"{time.monotonic() - stopped:.1f} s")
    assert time.monotonic() - stopped < (8 if signals == 1 else 2.5)
    recipe.run("--shard-size", 20)
    recipe.assert_whole()
    if signals == 1:
        assert recipe.executed() == {"annotate": 1, "remove": 1, "verify": 1}


def test_what_breaks_a_stage_off_ends_all_and_names_it(make: Make) -> None:
    recipe = make(20)
    recipe.write(edit='attempts = 1\nset = ["#edit.seconds=0", "#pixels.min_changed=2"]')
    recipe.run(status=2)
    assert "stage edit: " in recipe.said().splitlines()[-1]
    assert not recipe.output.exists(), "of a recipe that never began nothing stays"
