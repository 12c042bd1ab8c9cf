"""Several servers of which one dies and comes back, joins late, or hangs at the end: every row once, no server idle."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.driver_servers import ServerProcess, comfyui
from driver.comfyui.own import find_comfyui
from tests.chaos import scene
from tests.chaos.conftest import Fakes
from tests.chaos.scene import AT_ONCE, EDIT, Patched
from tests.e2e import helpers


def served(output: Path) -> Counter[str]:
    """Samples by the server that finished them."""
    return Counter(str(row["server"]) for row in helpers.table(output, "telemetry"))


def test_one_dies_and_comes_back(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    one, other = fake("--seconds", 0.1), fake("--seconds", 0.1)
    source = scene.photos(tmp_path / "photos", 120)
    run = ("--input", source, "--output", tmp_path / "out", *AT_ONCE)
    process = driver.start(*run, server=f"{one.url},{other.url}", workflow=EDIT, quick=False)
    scene.during(process, lambda: one.get("/fake")["samples"] >= 5, "five samples on the first")
    one.kill()
    before = other.get("/fake")["samples"]
    scene.during(process, lambda: other.get("/fake")["samples"] >= before + 8, "the other one to go on")
    one.start()
    scene.during(process, lambda: one.get("/fake")["samples"] >= 5, "the first to get work again", 30)
    driver.end(process)
    scene.kept_once(tmp_path / "out", source)
    assert set(served(tmp_path / "out")) == {one.url, other.url}


def test_one_joins_late(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    one, late = fake("--seconds", 0.1), fake("--seconds", 0.1, up=False)
    source = scene.photos(tmp_path / "photos", 80)
    run = ("--input", source, "--output", tmp_path / "out", *AT_ONCE)
    process = driver.start(*run, server=f"{one.url},{late.url}", workflow=EDIT, quick=False)
    scene.during(process, lambda: one.get("/fake")["samples"] >= 5, "five samples on the first")
    late.start()
    scene.during(process, lambda: late.get("/fake")["samples"] >= 5, "five samples on the second", 30)
    driver.end(process)
    scene.kept_once(tmp_path / "out", source)


@pytest.mark.parametrize("how", ["zombie", "stopped"])
def test_one_hangs_at_the_end(driver: Patched, fake: Fakes, tmp_path: Path, how: str) -> None:
    """What it still has goes to the idle one; that it is finished twice does not make two rows of it."""
    one, other = fake("--seconds", 0.1), fake("--seconds", 0.1)
    source = scene.photos(tmp_path / "photos", 40)
    run = ("--input", source, "--output", tmp_path / "out", *AT_ONCE)
    process = driver.start(*run, server=f"{one.url},{other.url}", workflow=EDIT, quick=False)
    scene.during(process, lambda: one.get("/fake")["samples"] >= 15, "the end to be near")
    hung = time.monotonic()
    if how == "zombie":
        one.post("/fake", {"zombie": True})
    else:
        one.pause()
    scene.during(process, lambda: helpers.done_so_far(tmp_path / "out") == 40, "all samples", 60)
    print(f"all done {time.monotonic() - hung:.1f} s after it hung")
    if how == "zombie":
        one.post("/fake", {"zombie": False})
    else:
        one.resume()
    driver.end(process, timeout=60)
    scene.kept_once(tmp_path / "out", source)


def test_a_real_one_beside_another_is_killed_and_comes_back(
    driver: Patched, real: ServerProcess, tmp_path: Path
) -> None:
    source = scene.photos(tmp_path / "photos", 120)
    run = ("--input", source, "--output", tmp_path / "out", "--set", "#edit.seconds=0.2")
    with comfyui(find_comfyui(), tmp_path / "other") as other:
        process = driver.start(*run, server=f"{real.url},{other.url}", workflow=EDIT, quick=False)
        scene.during(process, lambda: helpers.done_so_far(tmp_path / "out") >= 20, "twenty samples")
        real.kill()
        real.start()
        driver.end(process)
    scene.kept_once(tmp_path / "out", source)
