"""Servers that drag on, blow up, are something else, or ask for a login in the middle of a run; and the user's signals.

What the others finish is kept, once; nothing of it ends a run that can go on, and nothing holds one that is to end.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.chaos import scene
from tests.chaos.conftest import Fakes
from tests.chaos.scene import AT_ONCE, EDIT, Patched
from tests.e2e import helpers
from tests.e2e.proxy import Fault, Proxy, Rule

REACTION_SECONDS = 4.0
"""2 s are promised; as many again for a machine that does other things."""

SAMPLES = 40


def late_misfit(output: Path) -> Rule:
    """Nobody there before five samples are done, and then another ComfyUI."""

    def rule(route: str, _number: int) -> Fault | None:
        if helpers.done_so_far(output) < 5:
            return "cut"
        return "misfit" if route == "GET /system_stats" else None

    return rule


def test_a_misfit_that_appears_late(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    """Another ComfyUI comes up while the last samples are made: said once, looked at a few times, the run ends well."""
    source, output = scene.photos(tmp_path / "photos", SAMPLES), tmp_path / "out"
    good = fake("--seconds", 0.2)
    with Proxy(fake().url, late_misfit(output)) as odd:
        run = ("--input", source, "--output", output, *AT_ONCE)
        process = driver.start(*run, server=f"{good.url},{odd.url}", workflow=EDIT, quick=False)
        ended = driver.end(process)
        assert odd.faults["misfit"], "it never came up"
        assert odd.faults["misfit"] <= 6
    assert ended.stderr.count("is ComfyUI 0.29.9") == 1
    scene.kept_once(output, source)


def test_a_misfit_that_is_all_that_is_left(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    """The good one dies for good: after the wait for absent servers the run breaks off, and says why."""
    source, good = scene.photos(tmp_path / "photos", SAMPLES), fake("--seconds", 0.2)
    with Proxy(fake().url, late_misfit(tmp_path / "out")) as odd:
        run = ("--input", source, "--output", tmp_path / "out", *AT_ONCE)
        waits = {"driver.comfyui.hosts.RETURN_SECONDS": 3.0, "driver.engine.recovery.PATIENCE_SECONDS": 3.0}
        process = driver.begin(waits, *run, server=f"{good.url},{odd.url}", workflow=EDIT)
        scene.during(process, lambda: odd.faults["misfit"], "the misfit")
        good.kill()
        ended = driver.end(process, expect=1, timeout=60)
    assert "is ComfyUI 0.29.9" in ended.line or "did not come back" in ended.line


@pytest.mark.parametrize("fault", ["drip", "bomb"])
@pytest.mark.parametrize("route", ["GET /api/jobs/", "GET /view", "POST /upload/image"])
def test_an_answer_without_an_end(driver: Patched, fake: Fakes, tmp_path: Path, fault: Fault, route: str) -> None:
    """One of two servers does it from its second answer on; the other one does all the work."""
    source, good = scene.photos(tmp_path / "photos", SAMPLES), fake("--seconds", 0.1)

    def rule(asked: str, number: int) -> Fault | None:
        if (asked, route) == ("GET /ws", "GET /api/jobs/"):
            return "drop"  # only prompts whose end is not heard of are asked about
        return fault if asked == route and number else None

    with Proxy(fake("--seconds", 0.1).url, rule) as odd:
        run = ("--input", source, "--output", tmp_path / "out", *AT_ONCE)
        bounds = {"driver.comfyui.client.QUICK": {"seconds": 5}}
        process = driver.begin(bounds, *run, server=f"{good.url},{odd.url}", workflow=EDIT)
        largest = _largest_memory(process)
        ended = driver.end(process, timeout=60)
        assert odd.faults[fault], ended.stderr
    scene.kept_once(tmp_path / "out", source)
    assert largest < 900 << 20


def _largest_memory(process: subprocess.Popen[str]) -> int:
    """Bytes that a command held at most until it ended."""
    largest, watched = 0, psutil.Process(process.pid)
    try:
        while process.poll() is None:
            largest = max(largest, watched.memory_info().rss)
            time.sleep(0.02)
    except psutil.NoSuchProcess:
        pass
    return largest


def test_a_token_that_runs_out(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    """The only server asks for a login for a while: the run waits, longer than for one that is away, and goes on."""
    source, locked = scene.photos(tmp_path / "photos", SAMPLES), False
    with Proxy(fake("--seconds", 0.1).url, lambda _route, _number: "locked" if locked else None) as gate:
        run = ("--input", source, "--output", tmp_path / "out", *AT_ONCE)
        process = driver.begin({"driver.comfyui.hosts.RETURN_SECONDS": 1.0}, *run, server=gate.url, workflow=EDIT)
        scene.during(process, lambda: helpers.done_so_far(tmp_path / "out") >= 5, "five samples")
        locked = True
        scene.until_said(process, "asks for a login (401)", 0, 20)
        time.sleep(3)
        asked = gate.faults["locked"]
        assert asked < 12
        locked = False
        ended = driver.end(process)
    assert ended.stderr.count("asks for a login (401)") == 1
    assert "start it" not in ended.stderr
    scene.kept_once(tmp_path / "out", source)


SLOW = """
import importlib, sys, time
sys.path.insert(0, sys.argv.pop(1))
place = sys.argv.pop(1)
module, name = place.rsplit(".", 1)
owner = importlib.import_module(module.rsplit(":", 1)[0])
if ":" in module:
    owner = getattr(owner, module.rsplit(":", 1)[1])
def hang(*_arguments, **_named):
    print("hanging", file=sys.stderr, flush=True)
    time.sleep(60)
getattr(owner, name)
setattr(owner, name, hang)
from driver.batch import main
sys.exit(main(sys.argv[1:]))
"""
"""The command with one step that takes a minute."""


def interrupt(driver: Patched, process: subprocess.Popen[str], times: int = 1) -> helpers.Ended:
    """Sends Ctrl-C, some times within a second, and sees that the command ends in time and says so."""
    for number in range(times):
        if number:
            time.sleep(0.3)
        process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    ended = driver.end(process, expect=130, timeout=60)
    assert time.monotonic() - begun < REACTION_SECONDS, ended.stderr
    assert "the same command goes on" in ended.line
    return ended


@pytest.mark.parametrize(
    "place",
    [
        "driver.pipeline.run.open_source",
        "driver.pipeline.folder:OutputFolder.claim",
        "driver.pipeline.folder:OutputFolder.finish",
        "driver.pipeline.run.publish",
    ],
)
def test_a_signal_while_the_disk_hangs(driver: Patched, fake: Fakes, tmp_path: Path, place: str) -> None:
    """Before the run, and when its dataset is written or published."""
    source = scene.photos(tmp_path / "photos", 2)
    to = "memory://run" if place.endswith("publish") else tmp_path / "out"
    run = ("--workflow", EDIT, "--input", source, "--output", to, *AT_ONCE, "--server", fake().url)
    process = driver.script(SLOW, place, *run)
    scene.until_said(process, "hanging", 0, 60)
    interrupt(driver, process)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    "route", ["GET /system_stats", "GET /object_info", "GET /experiment/models", "POST /upload/image"]
)
def test_a_signal_while_a_server_drips(driver: Patched, fake: Fakes, tmp_path: Path, route: str, times: int) -> None:
    """In the preflight, and where nothing is in flight yet."""
    source = scene.photos(tmp_path / "photos", 2)
    with Proxy(fake().url, lambda asked, _number: "drip" if asked == route else None) as proxy:
        run = ("--input", source, "--output", tmp_path / "out", *AT_ONCE)
        process = driver.start(*run, server=proxy.url, workflow=EDIT, quick=False)
        scene.during(process, lambda: proxy.faults["drip"], "the drip")
        time.sleep(0.2)
        interrupt(driver, process, times)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("how", ["away", "locked", "misfit"])
def test_a_signal_while_a_server_is_waited_for(
    driver: Patched, fake: Fakes, tmp_path: Path, how: str, times: int
) -> None:
    source, fault = scene.photos(tmp_path / "photos", SAMPLES), None

    def rule(route: str, _number: int) -> Fault | None:
        return fault if route == "GET /system_stats" or fault != "misfit" else "cut"

    fault = None
    with Proxy(fake("--seconds", 0.2).url, lambda route, number: rule(route, number) if fault else None) as proxy:
        process = driver.start(
            "--input", source, "--output", tmp_path / "out", *AT_ONCE, server=proxy.url, workflow=EDIT, quick=False
        )
        scene.during(process, lambda: helpers.done_so_far(tmp_path / "out") >= 2, "two samples")
        fault = "cut" if how == "away" else how  # type: ignore[assignment]
        scene.during(process, lambda: proxy.faults[fault] >= 2, "the fault")
        time.sleep(0.5)
        ended = interrupt(driver, process, times)
    assert "Traceback" not in ended.stderr


def test_a_second_signal_while_prompts_run_and_the_server_drips(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    """The first one waits for what is in flight, the second for nothing."""
    source = scene.photos(tmp_path / "photos", SAMPLES)
    with Proxy(fake("--seconds", 30).url, lambda asked, number: "drip" if asked == "GET /api/jobs/" else None) as proxy:
        run = ("--input", source, "--output", tmp_path / "out", *AT_ONCE)
        process = driver.start(*run, server=proxy.url, workflow=EDIT, quick=False)
        scene.during(process, lambda: proxy.faults["drip"], "the drip")
        process.send_signal(signal.SIGINT)
        scene.until_said(process, "stopping: waiting for", 0, REACTION_SECONDS)
        interrupt(driver, process)
