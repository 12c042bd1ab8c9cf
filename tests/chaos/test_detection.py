"""How long the driver takes to notice: a dead server, a lost message, a server that only pretends to live."""

from __future__ import annotations

import time
from pathlib import Path

from tests.chaos import scene
from tests.chaos.conftest import Fakes
from tests.chaos.scene import EDIT, Patched
from tests.e2e import helpers
from tests.e2e.proxy import Proxy

DEAD_SECONDS, LOST_SECONDS = 2.0, 5.0
"""Ours."""

ZOMBIE_SECONDS = 3.0
"""In the place of the driver's 60."""


def test_a_dead_server(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    server, source = fake(), scene.photos(tmp_path / "photos", 40)
    process = driver.start(
        "--input", source, "--output", tmp_path / "out", server=server.url, workflow=EDIT, quick=False
    )
    scene.during(process, lambda: server.get("/fake")["samples"] >= 3, "three samples")
    before = len(scene.said(process))
    server.kill()
    seconds = scene.until_said(process, server.url, before, 20)
    server.start()
    driver.end(process)
    scene.kept_once(tmp_path / "out", source)
    assert seconds < DEAD_SECONDS


def test_a_lost_message(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    server, source = fake("--seconds", 0.5), scene.photos(tmp_path / "photos", 1)
    with Proxy(server.url, lambda route, _: "deaf" if route == "GET /ws" else None) as proxy:
        run = ("--input", source, "--output", tmp_path / "out")
        driver.run(*run, server=proxy.url, workflow=EDIT, quick=False)
    (row,) = helpers.table(tmp_path / "out", "telemetry")
    assert row["finished_at"] - server.get("/fake")["last_end_at"] < LOST_SECONDS


def test_an_end_that_is_seen_in_the_files_costs_no_question(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    server, source = fake(), scene.photos(tmp_path / "photos", 10)
    with Proxy(server.url, lambda _route, _number: None) as proxy:
        driver.run("--input", source, "--output", tmp_path / "out", server=proxy.url, workflow=EDIT, quick=False)
    scene.kept_once(tmp_path / "out", source)
    assert all(row["execution_s"] is not None for row in helpers.table(tmp_path / "out", "telemetry"))
    assert proxy.seen["GET /api/jobs/"] < 10, "only what takes longer than two seconds is asked about"


def test_a_zombie_beside_a_live_server(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    """It keeps its prompts and answers everything: what it has goes to the other one."""
    zombie, living = fake("--zombie-after", 4), fake()
    source = scene.photos(tmp_path / "photos", 60)
    constants = {"driver.engine.health.ZOMBIE_SECONDS": ZOMBIE_SECONDS}
    servers = f"{zombie.url},{living.url}"
    process = driver.begin(constants, "--input", source, "--output", tmp_path / "out", server=servers, workflow=EDIT)
    scene.during(process, lambda: zombie.get("/fake")["zombie_since"], "the zombie")
    scene.until_said(process, zombie.url, 0, 30)
    waited = time.time() - zombie.get("/fake")["zombie_since"]
    driver.end(process)
    scene.kept_once(tmp_path / "out", source)
    assert waited < ZOMBIE_SECONDS + LOST_SECONDS


def test_a_zombie_alone_that_comes_back_to_life(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    """Somebody starts it again: the run, which waited, goes on."""
    server, source = fake("--zombie-after", 4), scene.photos(tmp_path / "photos", 20)
    constants = {"driver.engine.health.ZOMBIE_SECONDS": ZOMBIE_SECONDS}
    process = driver.begin(constants, "--input", source, "--output", tmp_path / "out", server=server.url, workflow=EDIT)
    scene.during(process, lambda: server.get("/fake")["zombie_since"], "the zombie")
    scene.until_said(process, server.url, 0, 30)
    server.kill()
    server.start()
    # It dies inside again after four samples; this time somebody only wakes it.
    scene.during(process, lambda: server.get("/fake")["zombie_since"], "the second zombie")
    server.post("/fake", {"zombie": False})
    driver.end(process)
    scene.kept_once(tmp_path / "out", source)
