"""Single faults, one run each: what a server or the network does wrong once costs no sample and no second edit."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.driver_servers import ServerProcess
from tests.chaos import scene
from tests.chaos.conftest import Fakes
from tests.chaos.scene import AT_ONCE, EDIT, MISHAP, Patched
from tests.e2e import helpers
from tests.e2e.proxy import Fault, Proxy, Rule

COUNT = 8


def on(route: str, fault: Fault, *numbers: int) -> Rule:
    """A fault whenever `route` is asked for the so many-th time, counted from 0; always, without numbers."""
    return lambda asked, number: fault if asked == route and (not numbers or number in numbers) else None


def both(*rules: Rule) -> Rule:
    """The first fault that a rule gives."""
    return lambda asked, number: next((fault for rule in rules if (fault := rule(asked, number))), None)


FAULTS: dict[str, tuple[Rule, int]] = {
    "the history is written late": (both(on("GET /api/jobs/", "late", 0, 1, 4, 6), on("GET /ws", "drop")), 0),
    "the socket drops and the next one is deaf": (
        both(on("GET /ws", "drop", 0), on("GET /ws", "deaf", *range(1, 99))),
        0,
    ),
    "the socket drops after every message": (on("GET /ws", "drop"), 0),
    "a 500 although the prompt was queued": (on("POST /prompt", "forget", 0, 2, 3), 0),
    "a reset after the prompt was queued": (on("POST /prompt", "cut", 1, 4), 0),
    "a reset in the middle of a file": (on("GET /view", "cut", 0, 3, 7), 0),
    "a file is gone": (on("GET /view", "not found", 2), 1),
    "answers are slow": (
        both(on("POST /prompt", "slow", 2), on("GET /view", "slow", 4), on("GET /api/jobs/", "slow", 1)),
        0,
    ),
}
"""What goes wrong, and how many edits more than samples it may cost."""


@pytest.mark.parametrize("what", FAULTS)
def test_it_costs_no_sample(driver: Patched, fake: Fakes, tmp_path: Path, what: str) -> None:
    rule, edited_again = FAULTS[what]
    server, source = fake(), scene.photos(tmp_path / "photos", COUNT)
    with Proxy(server.url, rule) as proxy:
        run = ("--input", source, "--output", tmp_path / "out", *AT_ONCE)
        driver.run(*run, server=proxy.url, workflow=EDIT, quick=False)
        assert proxy.faults, "nothing went wrong"
    scene.kept_once(tmp_path / "out", source)
    assert {row["attempts"] for row in helpers.table(tmp_path / "out", "telemetry")} == {1}, "it cost an attempt"
    ran = scene.executed(server)
    assert sum(ran.values()) <= COUNT + edited_again, "an edit was made twice"
    assert server.get("/fake")["zombie_since"] is None, "a prompt's id was posted twice"


def test_a_dropped_output_is_a_failure(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    """ComfyUI's 200 with `node_errors`."""
    server, source = fake(), scene.photos(tmp_path / "photos", COUNT)
    with Proxy(server.url, on("POST /prompt", "node errors", 3)) as proxy:
        run = ("--input", source, "--output", tmp_path / "out", *AT_ONCE, *helpers.ONE_EACH, "--max-failed", "1")
        driver.run(*run, server=proxy.url, workflow=EDIT, quick=False)
    scene.assert_each_once(tmp_path / "out", source)
    assert [row["error_type"] for row in helpers.table(tmp_path / "out", "failed")] == ["PromptRefused"]


def test_a_failing_sample_leaves_its_pack_whole(driver: Patched, real: ServerProcess, tmp_path: Path) -> None:
    """ComfyUI aborts a prompt over its first failing node: the other seven samples are kept all the same."""
    source = scene.photos(tmp_path / "photos", 8, {3: "mishap: fail"})
    run = ("--input", source, "--output", tmp_path / "out", "--samples-per-prompt", 8, "--max-failed", "1")
    driver.run(*run, server=real.url, workflow=MISHAP, quick=False)
    scene.assert_each_once(tmp_path / "out", source)
    (failed,) = helpers.table(tmp_path / "out", "failed")
    assert (failed["source_id"], failed["error_type"], failed["attempts"]) == ("photo003.png", "ValueError", 1)
    assert failed["message"] == "this sample always fails"
    for row in helpers.rows(tmp_path / "out"):
        helpers.assert_whole(row)


@pytest.mark.parametrize("size", [1, 4])
def test_out_of_memory_is_freed_and_tried_again(
    driver: Patched, real: ServerProcess, tmp_path: Path, size: int
) -> None:
    # Once in a server's life, so each time another sample.
    source = scene.photos(tmp_path / "photos", 4, {size % 4: "mishap: out of memory once"})
    with Proxy(real.url, lambda _route, _number: None) as proxy:
        run = ("--input", source, "--output", tmp_path / "out", "--samples-per-prompt", size, "--seed", size)
        driver.run(*run, server=proxy.url, workflow=MISHAP, quick=False)
        assert proxy.seen["POST /free"], "nothing was freed"
    scene.kept_once(tmp_path / "out", source)
    assert {row["attempts"] for row in helpers.table(tmp_path / "out", "telemetry")} == {1}, "it cost an attempt"


def test_a_server_whose_disk_is_full_rests_and_goes_on(driver: Patched, real: ServerProcess, tmp_path: Path) -> None:
    source = scene.photos(tmp_path / "photos", 3, {1: "mishap: disk full once"})
    run = ("--input", source, "--output", tmp_path / "out")
    ended = driver.run(*run, server=real.url, workflow=MISHAP, quick=False)
    assert "is suspended for 2 s: its disk is full (" in ended.stderr
    scene.kept_once(tmp_path / "out", source)
    assert {row["attempts"] for row in helpers.table(tmp_path / "out", "telemetry")} == {1}, "it cost an attempt"


def test_memory_that_never_suffices_is_a_failure(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    source = scene.photos(tmp_path / "photos", 6, {2: "mishap: out of memory"})
    run = ("--input", source, "--output", tmp_path / "out", "--max-failed", "1")
    server = fake()
    driver.run(*run, *AT_ONCE, server=server.url, workflow=MISHAP, quick=False)
    scene.assert_each_once(tmp_path / "out", source)
    (failed,) = helpers.table(tmp_path / "out", "failed")
    assert failed["source_id"] == "photo002.png"
    assert "OutOfMemory" in failed["error_type"]


@pytest.mark.parametrize("size", [1, 4])
def test_a_sample_that_kills_its_server_is_set_aside(driver: Patched, fake: Fakes, tmp_path: Path, size: int) -> None:
    """It sees two deaths, no more; who shared a prompt with it is not blamed."""
    source, server = scene.photos(tmp_path / "photos", 10, {4: "mishap: die"}), fake()
    run = ("--input", source, "--output", tmp_path / "out", "--samples-per-prompt", size, "--max-failed", "1")
    with scene.restarted(server) as deaths:
        driver.run(*run, *AT_ONCE, server=server.url, workflow=MISHAP, quick=False)
    scene.assert_each_once(tmp_path / "out", source)
    (failed,) = helpers.table(tmp_path / "out", "failed")
    assert failed["source_id"] == "photo004.png"
    assert len(deaths) == 2


def test_a_run_in_which_everything_fails_breaks_off(driver: Patched, fake: Fakes, tmp_path: Path) -> None:
    """The first hundred fail the same way: one line says so, and the rest still waits."""
    source = scene.photos(tmp_path / "photos", 160, dict.fromkeys(range(160), "mishap: fail"))
    server = fake()
    run = ("--input", source, "--output", tmp_path / "out", *AT_ONCE, "--max-failed", "100%")
    ended = driver.run(*run, server=server.url, workflow=MISHAP, quick=False, expect=1)
    assert "this sample always fails" in ended.line
    assert server.get("/fake")["prompts"] < 130
