"""A run of many shards, killed, stopped and taken over: every sample once, in the input's order."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.driver_servers import ServerProcess
from driver.dataset.commits import commits
from tests.chaos import scene
from tests.chaos.conftest import Fakes
from tests.chaos.scene import AT_ONCE, EDIT, Patched
from tests.e2e import helpers

PHOTOS, SIZE = 25, 10

KILLED = """
import importlib, os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
place, call, after = sys.argv.pop(1), int(sys.argv.pop(1)), sys.argv.pop(1) == "after"
module, _, name = place.rpartition(".")
loaded = importlib.import_module(module)
known, calls = getattr(loaded, name), []
def killed(*values, **named):
    calls.append(1)
    if after and len(calls) == call:
        known(*values, **named)
    if len(calls) == call:
        os.kill(os.getpid(), signal.SIGKILL)
    return known(*values, **named)
setattr(loaded, name, killed)
from driver.batch import main
sys.exit(main(sys.argv[1:]))
"""
"""The command that is killed before, or after, a call of one of its functions."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return scene.photos(tmp_path / "photos", PHOTOS)


def asked(source: Path, output: Path, *more: object) -> tuple[object, ...]:
    return ("--input", source, "--output", output, "--shard-size", SIZE, *AT_ONCE, *more)


def rows(output: Path, config: str = "data") -> list[dict[str, Any]]:
    """All rows of a config, in order."""
    return [row for path in sorted((output / config).rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def kept_once(output: Path, source: Path) -> None:
    assert [row["key"] for row in rows(output)] == scene.expected(source)
    assert helpers.table(output, "failed") == []
    assert [one.cut.whole for one in commits(output)] == [True] * len(list(commits(output)))
    assert not (output / ".work").exists()


def run(driver: Patched, server: ServerProcess, *options: object, **how: Any) -> helpers.Ended:
    return driver.run(*options, server=server.url, workflow=EDIT, quick=False, **how)


def start(driver: Patched, server: ServerProcess, *options: object) -> subprocess.Popen[str]:
    return driver.start(*options, server=server.url, workflow=EDIT, quick=False)


def killed(driver: Patched, server: ServerProcess, place: str, call: int, when: str, *options: object) -> None:
    process = driver.script(KILLED, place, call, when, "--workflow", EDIT, "--server", server.url, *options)
    assert process.wait(60) == -signal.SIGKILL, scene.said(process)


def test_it_is_the_rows_of_a_run_of_one(driver: Patched, fake: Fakes, source: Path, tmp_path: Path) -> None:
    server, whole = fake(), tmp_path / "whole"
    run(driver, server, *asked(source, tmp_path / "out"))
    run(driver, server, "--input", source, "--output", whole, *AT_ONCE)
    kept_once(tmp_path / "out", source)
    assert rows(tmp_path / "out") == rows(whole)
    for name in ("telemetry", "failed", "skipped"):
        ours, theirs = ([row["key"] for row in helpers.table(one, name)] for one in (tmp_path / "out", whole))
        assert ours == theirs
    ours, theirs = (json.loads((one / "summary.json").read_text()) for one in (tmp_path / "out", whole))
    times = {"seconds", "samples_per_second"}
    assert {name: ours[name] for name in ours.keys() - times} == {name: theirs[name] for name in theirs.keys() - times}


def test_a_prompt_crosses_the_border_of_two_shards(driver: Patched, fake: Fakes, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    server = fake("--seconds", 0.05)
    run(driver, server, *asked(source, output, "--samples-per-prompt", 4))
    kept_once(output, source)
    assert server.get("/fake")["prompts"] == -(-PHOTOS // 4)


@pytest.mark.parametrize(
    ("place", "call", "when"),
    [
        ("driver.pipeline.shard.write_commit", 1, "before"),
        ("driver.pipeline.shard.write_commit", 2, "after"),
        ("driver.dataset.commits.write_whole", 2, "before"),
        ("driver.dataset.dataset.move_whole", 2, "before"),
    ],
)
def test_killed_at_a_commit_or_between_two(
    place: str, call: int, when: str, driver: Patched, fake: Fakes, source: Path, tmp_path: Path
) -> None:
    server, output = fake(), tmp_path / "out"
    killed(driver, server, place, call, when, *asked(source, output))
    before = scene.executed(server)
    run(driver, server, *asked(source, output))
    kept_once(output, source)
    again = {key: times for key, times in scene.executed(server).items() if times > 1}
    assert before
    assert again == {}, "an edit was made twice"


def test_killed_with_two_in_flight(driver: Patched, fake: Fakes, source: Path, tmp_path: Path) -> None:
    server, output = fake("--seconds", 0.2), tmp_path / "out"
    options = asked(source, output, "--samples-per-prompt", 4)
    process = start(driver, server, *options)
    scene.during(process, lambda: server.get("/fake")["samples"] >= 7, "the border to be near")
    helpers.kill(process)
    assert len(list((output / "shards").glob("*.sqlite"))) == 2
    run(driver, server, *options)
    kept_once(output, source)
    assert max(scene.executed(server).values()) == 1, "an edit was made twice"


def test_stopped_it_leaves_what_is_done_and_goes_on(driver: Patched, fake: Fakes, source: Path, tmp_path: Path) -> None:
    server, output = fake("--seconds", 0.1), tmp_path / "out"
    process = start(driver, server, *asked(source, output))
    scene.during(process, lambda: server.get("/fake")["samples"] >= 13, "the second shard")
    process.send_signal(signal.SIGINT)
    assert "the same command goes on" in driver.end(process, expect=130).line
    found = list(commits(output))
    assert [one.cut.whole for one in found][:2] == [True, False]
    done = [row["key"] for row in rows(output)]
    assert done == scene.expected(source)[: len(done)]
    assert len(done) >= 13
    run(driver, server, *asked(source, output))
    kept_once(output, source)
    assert max(scene.executed(server).values()) == 1, "an edit was made twice"


def test_what_is_done_is_not_gone_through_again(driver: Patched, fake: Fakes, source: Path, tmp_path: Path) -> None:
    server, output = fake(), tmp_path / "out"
    run(driver, server, *asked(source, output))
    before = {path: path.stat().st_mtime_ns for path in output.rglob("0*") if path.is_file()}
    run(driver, server, *asked(source, output))
    assert {path: path.stat().st_mtime_ns for path in output.rglob("0*") if path.is_file()} == before
    kept_once(output, source)


def test_another_size_is_refused(driver: Patched, fake: Fakes, source: Path, tmp_path: Path) -> None:
    server, output = fake(), tmp_path / "out"
    run(driver, server, *asked(source, output))
    again = ("--input", source, "--output", output, "--shard-size", 9, *AT_ONCE)
    said = driver.refused(*again, server=server.url, workflow=EDIT, quick=False)
    assert "holds shards of 10 photos, and shards of 9 photos is asked for" in said


def test_three_shares_are_the_whole(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    server, source = fake(), scene.photos(tmp_path / "photos", 32)
    outputs = [tmp_path / f"out{share}" for share in range(3)]
    for share, output in enumerate(outputs):
        run(driver, server, *asked(source, output, "--shard", f"{share}/3"))
    assert [[one.index for one in commits(output)] for output in outputs] == [[0, 3], [1], [2]]
    found = {path.parent.name: path for output in outputs for path in (output / "data").rglob("*.parquet")}
    keys = [row["key"] for name in sorted(found) for row in pq.read_table(found[name]).to_pylist()]
    assert keys == scene.expected(source)
