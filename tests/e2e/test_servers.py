"""Servers that are not there, are something else, or do wrong: one line before the run, every sample once in it."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.ingredients import ROUTE
from comfy_nodes.core.run_files import FETCH_ROUTE
from tests.e2e import helpers
from tests.e2e.helpers import Driver
from tests.e2e.proxy import PAID, Fault, Proxy, Rule
from tests.unit.loopback import free_port

COUNT = 4


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of a few small photos with masks."""
    helpers.make_photos(tmp_path / "photos", COUNT)
    return tmp_path / "photos"


@contextmanager
def answering(status: int, body: bytes, content_type: str = "text/html") -> Iterator[str]:
    """A web server that gives one answer to everything; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def test_nobody_there(driver: Driver, photos: Path, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    line = driver.refused("--input", photos, "--output", tmp_path / "out", server=url)
    assert f"--server {url}: " in line
    assert "no ComfyUI answers" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:1", "127.0.0.1:notaport", "http://no such host/"])
def test_an_address_that_is_none(driver: Driver, photos: Path, tmp_path: Path, url: str) -> None:
    assert f"--server {url}: " in driver.refused("--input", photos, "--output", tmp_path / "out", server=url)


def test_a_password_in_the_address_is_not_taken(driver: Driver, photos: Path, tmp_path: Path) -> None:
    """It would stand in every row of the telemetry."""
    server = driver.url.replace("http://", "http://somebody:a-secret@")
    ended = driver.run("--input", photos, "--output", tmp_path / "out", server=server, expect=2)
    assert "leave user name and password out" in ended.line
    assert "a-secret" not in ended.stderr + ended.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<h1>It works</h1>"),
        (200, b'{"system": "something else"}'),
        (200, b"[]"),
        (400, b'{"error": "bad request"}'),
        (500, b"broken"),
    ],
)
def test_something_that_is_no_comfyui(driver: Driver, photos: Path, tmp_path: Path, status: int, body: bytes) -> None:
    with answering(status, body) as url:
        line = driver.refused("--input", photos, "--output", tmp_path / "out", server=url)
    assert f"--server {url}: " in line
    assert "not a ComfyUI" in line


def test_a_comfyui_without_our_nodes(driver: Driver, photos: Path, tmp_path: Path) -> None:
    with Proxy(driver.url, lambda route, _: "strip" if route == "GET /object_info" else None) as proxy:
        line = driver.refused("--input", photos, "--output", tmp_path / "out", server=proxy.url)
    assert "has no EditPairs nodes: install this pack there" in line


def test_a_server_that_fails_in_the_preflight(driver: Driver, photos: Path, tmp_path: Path) -> None:
    with Proxy(driver.url, lambda route, _: "refuse" if route == "GET /object_info" else None) as proxy:
        line = driver.refused("--input", photos, "--output", tmp_path / "out", server=proxy.url)
    assert proxy.url in line
    assert "500" in line


def test_a_server_that_breaks_after_the_preflight(driver: Driver, photos: Path, tmp_path: Path) -> None:
    """It answers 500 to everything: the run breaks off in one line, and goes on when the server is mended."""
    broken = True

    def rule(route: str, _: int) -> Fault | None:
        asked = ("GET /system_stats", "GET /object_info", "GET /ws", f"POST {ROUTE}")
        return "refuse" if broken and route not in asked else None

    with Proxy(driver.url, rule) as proxy:
        run = ("--input", photos, "--output", tmp_path / "out")
        ended = driver.run(*run, server=proxy.url, expect=1)
        assert "500" in ended.line
        assert "run this again" in ended.line
        broken = False
        driver.run(*run, server=proxy.url)
    assert_each_once(tmp_path / "out")


def assert_each_once(output: Path, count: int = COUNT) -> None:
    rows = helpers.rows(output)
    assert [row["source_path"] for row in rows] == [f"photo{number:03d}.png" for number in range(count)]
    assert len(set(helpers.keys(output))) == len(helpers.keys(output)) == count
    assert helpers.table(output, "failed") == []
    for row in rows:
        helpers.assert_whole(row)


def on(route: str, fault: Fault, *numbers: int) -> Rule:
    """A fault whenever `route` is asked for the so many-th time, counted from 0; always, without numbers."""
    return lambda asked, number: fault if asked == route and (not numbers or number in numbers) else None


def one_by_one(fault: Fault, *numbers: int) -> Rule:
    """The same of a server whose EditPairs gives one file at a time."""
    rule = on("GET /view", fault, *numbers)
    return lambda asked, number: "not found" if asked == f"POST {FETCH_ROUTE}" else rule(asked, number)


def unheard(rule: Rule) -> Rule:
    """The same where a prompt's end is not heard of, so that it is asked about."""
    return lambda asked, number: "drop" if asked == "GET /ws" else rule(asked, number)


FAULTS: dict[str, tuple[Rule, int, int]] = {
    "a 500 although the prompt was queued": (on("POST /prompt", "forget", 1, 3), 0, 0),
    "a 500 and the prompt was not queued": (on("POST /prompt", "refuse", 0, 3), 2, 0),
    "the connection is reset after the prompt was queued": (on("POST /prompt", "cut", 2), 0, 0),
    "an upload fails": (on("POST /upload/image", "refuse", 0, 3), 2, 0),
    "an upload's answer is lost": (on("POST /upload/image", "cut", 1), 1, 0),
    "a result is cut off": (one_by_one("cut", 0, 3, 4), 0, 0),
    "a result is cut off again and again": (one_by_one("cut", *range(2, 12)), 0, 0),
    "a result gives 500": (one_by_one("refuse", 1), 0, 0),
    "a result's file is gone": (one_by_one("not found", 3), 1, 1),
    "results are cut off": (on(f"POST {FETCH_ROUTE}", "cut", 0, 2), 0, 0),
    "results give 500": (on(f"POST {FETCH_ROUTE}", "refuse", 0, 2), 0, 0),
    "jobs are unknown for a moment": (unheard(on("GET /api/jobs/", "not found", 1)), 0, 0),
    "jobs give 500 for a while": (unheard(on("GET /api/jobs/", "refuse", 1, 2)), 0, 0),
    "the history cannot be deleted": (on("POST /history", "refuse"), 0, 0),
    # Its answer has no body, so it arrives whole; the next request may find its connection dead.
    "the connection is reset after an answer": (on("POST /history", "cut", 0, 2), 2, 0),
    "the socket is deaf": (on("GET /ws", "deaf"), 0, 0),
    "the socket drops after each message": (on("GET /ws", "drop"), 0, 0),
    "the socket is refused": (on("GET /ws", "hang"), 0, 0),
}
"""What goes wrong, how many submissions more than samples the journal may then hold, and how many edits more."""


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_loses_and_doubles_nothing(driver: Driver, photos: Path, tmp_path: Path, what: str) -> None:
    rule, submitted_again, edited_again = FAULTS[what]
    posted = helpers.prompts_so_far(driver.url)
    with Proxy(driver.url, rule) as proxy:
        driver.run("--input", photos, "--output", tmp_path / "out", *helpers.ONE_EACH, server=proxy.url)
        assert proxy.faults, "nothing went wrong"
    assert_each_once(tmp_path / "out")
    telemetry = helpers.table(tmp_path / "out", "telemetry")
    assert {row["attempts"] for row in telemetry} == {1}, "a server's fault cost an attempt"
    assert sum(row["submissions"] for row in telemetry) - COUNT <= submitted_again
    assert helpers.prompts_so_far(driver.url) - posted - 1 - COUNT <= edited_again, "an edit was made twice"


def test_an_output_that_the_server_dropped_is_a_failure(driver: Driver, photos: Path, tmp_path: Path) -> None:
    """ComfyUI's 200 with node_errors: that sample has failed, and can be tried again."""
    run = ("--input", photos, "--output", tmp_path / "out", *helpers.ONE_EACH)
    with Proxy(driver.url, on("POST /prompt", "node errors", 2)) as proxy:
        driver.run(*run, server=proxy.url, expect=1)
        (failed,) = helpers.table(tmp_path / "out", "failed")
        assert failed["error_type"] == "PromptRefused"
        assert "put there by the proxy" in failed["message"]
        assert len(helpers.rows(tmp_path / "out")) == COUNT - 1
        driver.run(*run, "--retry-failed", server=proxy.url)
    assert_each_once(tmp_path / "out")


def test_a_fault_while_an_earlier_runs_prompts_are_taken_over(driver: Driver, tmp_path: Path) -> None:
    helpers.make_photos(tmp_path / "photos", 20)
    output = tmp_path / "out"
    run = ("--input", tmp_path / "photos", "--output", output, *helpers.ONE_EACH)
    first_jobs: list[int] = []

    def rule(route: str, _: int) -> Fault | None:
        if route == "GET /api/jobs/" and first_jobs:
            return "refuse" if first_jobs.pop() else "cut"
        return None

    posted = helpers.prompts_so_far(driver.url)
    with Proxy(driver.url, rule) as proxy:
        process = driver.start(*run, server=proxy.url)
        helpers.until(lambda: helpers.done_so_far(output) >= 4, "four samples done")
        helpers.kill(process)
        first_jobs.extend((0, 1))
        driver.run(*run, server=proxy.url)
        assert set(proxy.faults) == {"refuse", "cut"}
    assert_each_once(output, 20)
    assert helpers.prompts_so_far(driver.url) - posted - 1 == 20


def test_a_server_that_goes_away_and_comes_back(driver: Driver, tmp_path: Path) -> None:
    """The address answers nothing for some seconds: the run waits and goes on with what is queued there."""
    helpers.make_photos(tmp_path / "photos", 20)
    output = tmp_path / "out"
    away = False

    def rule(route: str, number: int) -> Fault | None:
        return "cut" if away else None

    with Proxy(driver.url, rule) as proxy:
        process = driver.start("--input", tmp_path / "photos", "--output", output, server=proxy.url)
        helpers.until(lambda: helpers.done_so_far(output) >= 3, "three samples done")
        away = True
        time.sleep(4)
        assert process.poll() is None
        away = False
        driver.end(process)
        assert proxy.faults["cut"]
    assert_each_once(output, 20)


KEY = "a-key-that-nobody-may-see"


def test_behind_a_login(driver: Driver, photos: Path, tmp_path: Path) -> None:
    """Refused with the way in; by its name the whole run goes through, and its key is nowhere."""
    run = ("--input", photos, "--output", tmp_path / "out")
    with Proxy(driver.url, lambda _route, _number: None, login=f"Bearer {KEY}") as gate:
        line = driver.refused(*run, server=gate.url)
        assert "asks for a login (401)" in line
        assert "servers.toml" in line
        assert "start it" not in line
        servers = tmp_path / "servers.toml"
        servers.write_text(f'[servers.studio]\naddress = "{gate.url}"\nkey_variable = "STUDIO_KEY"\n')
        locked = gate.faults["locked"]
        env = {"EDITPAIRS_SERVERS": str(servers), "STUDIO_KEY": KEY}
        ended = driver.run(*run, server="studio", env=env)
        assert gate.faults["locked"] == locked, "something was asked without the login"
        assert gate.seen["GET /ws"]
    assert_each_once(tmp_path / "out")
    assert {row["server"] for row in helpers.table(tmp_path / "out", "telemetry")} == {gate.url}
    assert_nowhere(tmp_path / "out", ended)


def test_paid_nodes(driver: Driver, photos: Path, tmp_path: Path) -> None:
    """Named, and refused without a key; with one it goes beside each prompt and stays nowhere."""
    run, key = ("--input", photos, "--output", tmp_path / "out"), {"COMFY_API_KEY": KEY}
    with Proxy(driver.url, lambda route, _: "paid" if route == "GET /object_info" else None) as proxy:
        for option in ((), ("--dry-run",)):
            line = driver.refused(*run, *option, server=proxy.url, env={"COMFY_API_KEY": ""})
            assert f"{PAID} #" in line
            assert "set COMFY_API_KEY" in line
        shown = driver.run(*run, "--dry-run", server=proxy.url, env=key)
        assert "paid nodes: EditPairsClassicalInpaint #" in shown.stdout
        assert proxy.extra == []
        ended = driver.run(*run, server=proxy.url, env=key)
        assert {one["api_key_comfy_org"] for one in proxy.extra} == {KEY}
    assert_each_once(tmp_path / "out")
    assert_nowhere(tmp_path / "out", ended)
    assert KEY not in str(helpers.get(driver.url, "/history"))


def assert_nowhere(output: Path, ended: helpers.Ended) -> None:
    assert KEY not in ended.stdout + ended.stderr
    holding = [name for name in helpers.files_in(output) if KEY.encode() in (output / name).read_bytes()]
    assert holding == []


def test_a_comfyui_that_exits_at_its_start(driver: Driver, photos: Path, tmp_path: Path) -> None:
    fake = tmp_path / "comfyui"
    (fake / "custom_nodes").mkdir(parents=True)
    (fake / "main.py").write_text("print('OSError: [Errno 98] address already in use')\nraise SystemExit(1)\n")
    run: dict[str, Any] = {"server": None, "env": {"COMFYUI_PATH": str(fake)}}
    line = driver.refused("--input", photos, "--output", tmp_path / "out", **run)
    assert "ComfyUI did not start: OSError: [Errno 98] address already in use" in line
    log = re.search(r"log: ([^)]+)", line)
    assert log, "it does not say where the log is"
    assert "address already in use" in Path(log[1]).read_text()
    assert not helpers.processes_with(str(tmp_path / "out"))


def test_a_comfyui_path_that_is_none(driver: Driver, photos: Path, tmp_path: Path) -> None:
    run: dict[str, Any] = {"server": None, "env": {"COMFYUI_PATH": str(tmp_path)}}
    assert "COMFYUI_PATH" in driver.refused("--input", photos, "--output", tmp_path / "out", **run)
