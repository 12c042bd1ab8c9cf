"""One long run through everything that goes wrong at once: at its end every sample is there, exactly once."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.driver_servers import ServerProcess
from tests.chaos import scene
from tests.chaos.conftest import Fakes
from tests.chaos.scene import AT_ONCE, EDIT, Patched
from tests.e2e import helpers
from tests.e2e.proxy import Fault, Proxy, Rule

SEED = int(os.environ.get("EDITPAIRS_KILL_SEED") or random.SystemRandom().randrange(10**6))
"""Says what goes wrong when. Set EDITPAIRS_KILL_SEED to repeat a run, as far as clocks allow."""

FAULT_RATE = 0.01
"""Share of requests that go wrong."""

WRONG: dict[str, tuple[Fault, ...]] = {
    "POST /prompt": ("forget", "refuse", "cut"),
    "POST /upload/image": ("refuse", "cut"),
    "GET /api/jobs/": ("late", "refuse", "cut"),
    "GET /view": ("refuse", "cut", "not found"),
    "POST /history": ("refuse", "cut"),
    "GET /ws": ("drop", "deaf"),
}
SOCKET_RATE = 0.3
"""Share of sockets that are dropped or deaf."""


def by_chance(rng: random.Random, calm: threading.Event) -> Rule:
    """Faults at random, until `calm` is set."""

    def rule(route: str, _number: int) -> Fault | None:
        rate = SOCKET_RATE if route == "GET /ws" else FAULT_RATE
        return rng.choice(WRONG[route]) if route in WRONG and not calm.is_set() and rng.random() < rate else None

    return rule


@contextmanager
def plagued(servers: list[ServerProcess], rng: random.Random) -> Iterator[list[str]]:
    """While it lasts, servers are killed and started again, hung for a moment, or made zombies for a while."""
    over = threading.Event()
    done: list[str] = []

    def plague() -> None:
        while not over.wait(rng.uniform(2, 5)):
            server, what = rng.choice(servers), rng.choice(("kill", "pause", "zombie"))
            done.append(what)
            if what == "kill":
                server.kill()
                over.wait(rng.uniform(0, 2))
                server.start()
            elif what == "pause":
                server.pause()
                over.wait(rng.uniform(0.5, 2))
                server.resume()
            else:
                server.post("/fake", {"zombie": True})
                over.wait(rng.uniform(0.5, 3))
                server.post("/fake", {"zombie": False})

    thread = threading.Thread(target=plague, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join(60)


@pytest.mark.parametrize(
    ("samples", "kills", "servers", "size"), [(150, 6, 1, 40), (300, 12, 3, 1000)], ids=["one, many shards", "three"]
)
def test_nothing_is_lost_and_nothing_doubled(
    driver: Patched, fake: Fakes, tmp_path: Path, samples: int, kills: int, servers: int, size: int
) -> None:
    """The driver is killed again and again, and run again; of three servers, all fakes, two die, hang and go dead inside."""
    print(f"EDITPAIRS_KILL_SEED={SEED}")
    rng, calm = random.Random(SEED), threading.Event()
    source = scene.photos(tmp_path / "photos", samples)
    output = tmp_path / "out"
    fakes = [fake("--seconds", 0.02) for _ in range(servers)]
    proxies = [Proxy(one.url, by_chance(random.Random(rng.random()), calm)) for one in fakes]
    for proxy in proxies:
        proxy.__enter__()
    try:
        run = ("--input", source, "--output", output, "--shard-size", size, *AT_ONCE, "--max-failed", "100%")
        how = {"server": ",".join(proxy.url for proxy in proxies), "workflow": EDIT, "quick": False}
        moments = sorted(rng.sample(range(1, samples), kills))
        with plagued(fakes[:2], rng) as done:
            for moment in moments:
                _run_until(driver, run, how, output, moment)
            print(f"plagues: {done}; faults: {[dict(proxy.faults) for proxy in proxies]}")
        calm.set()
        for _ in range(3):  # a run may have broken off, and says how to go on: the same command
            ended = driver.run(*run, **how, expect=None)
            if ended.status == 0:
                break
        assert ended.status == 0, ended.stderr
    finally:
        for proxy in proxies:
            proxy.__exit__(None, None, None)
    scene.assert_each_once(output, source)
    for row in helpers.rows(output):
        helpers.assert_whole(row)
    failed = helpers.table(output, "failed")
    print(f"{len(helpers.rows(output))} kept, failed: {[(row['error_type'], row['message']) for row in failed]}")
    # Nothing is wrong with any sample: only servers' faults may have set one aside, and few.
    assert {row["error_type"] for row in failed} <= {"ServerFault", "ServerDeaths"}
    assert len(failed) <= samples * 0.02


def _run_until(driver: Patched, run: tuple[object, ...], how: dict[str, object], output: Path, moment: int) -> None:
    """Lets the command get as far as `moment` samples and kills it; starts it anew where it broke off by itself."""
    deadline = time.monotonic() + 120
    while True:
        process = driver.start(*run, **how)  # type: ignore[arg-type]
        while process.poll() is None and helpers.done_so_far(output) < moment:
            assert time.monotonic() < deadline, f"stuck at {helpers.done_so_far(output)}: {scene.said(process)[-3000:]}"
            time.sleep(0.01)
        if process.poll() is None:
            helpers.kill(process)
            return
        driver.end(process, expect=None)
        assert time.monotonic() < deadline, scene.said(process)[-3000:]
