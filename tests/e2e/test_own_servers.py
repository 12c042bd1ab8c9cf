"""Servers of our own: several at once, gone with whoever started them, revived, recycled; logs that stay small."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from comfy_nodes.core.records import SavedFile
from driver.comfyui.client import ComfyServer
from driver.comfyui.hosts import ForeignServer
from driver.comfyui.own import OwnServer, find_comfyui
from driver.errors import RunError
from driver.graph.bound import BatchGraph
from driver.graph.file import WorkflowFile
from driver.pipeline.preflight import agree
from tests.e2e import helpers
from tests.unit.loopback import free_port

STAND_IN = """
import http.server, json, os, subprocess, sys
here = os.getcwd()
if os.path.exists(here + "/broken"):
    raise SystemExit("\\x1b[31mRuntimeError: the weights are torn\\x1b[0m")
sleeper = [sys.executable, "-c", "import time; time.sleep(600)", here + "/custom_nodes"]
subprocess.Popen(sleeper)
subprocess.Popen(sleeper, start_new_session=True)
subprocess.Popen([sys.executable, "-c", f"import subprocess; subprocess.Popen({sleeper!r}, start_new_session=True)"]).wait()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"system": {"comfyui_version": "0", "argv": sys.argv}, "devices": [{"name": "cpu", "type": "cpu"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        for number in range(int(os.environ.get("CHATTER", 0))):
            print(f"{number:08d} " + "=" * 90, end="\\r")
        print("\\nsaid enough", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""
"""What stands in for ComfyUI where only its processes matter: it leaves three behind, one in its group, one that left
the group, one whose parent is gone."""

KEEPER = """
import json, sys
from pathlib import Path
from driver.comfyui.own import OwnServer
servers = [OwnServer(Path(sys.argv[1]), Path(sys.argv[2]) / name, lambda _: None, cache=8) for name in ("cpu0", "cpu1")]
for server in servers:
    assert server.start()
print(json.dumps([server.server.url for server in servers]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A folder that is started as ComfyUI is."""
    folder = tmp_path / "comfyui"
    (folder / "custom_nodes").mkdir(parents=True)
    (folder / "main.py").write_text(STAND_IN)
    return folder


@pytest.fixture
def real() -> Path:
    """ComfyUI's source, to start servers of."""
    try:
        return find_comfyui()
    except RunError as error:
        pytest.skip(str(error))


@pytest.fixture
def own(stand_in: Path, tmp_path: Path) -> Iterator[OwnServer]:
    server = OwnServer(stand_in, tmp_path / "cpu0", lambda _: None)
    yield server
    server.stop()


@contextmanager
def listening(port: int, body: bytes) -> Iterator[None]:
    """A web server at this port that gives one answer to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def keeper(comfyui: Path, folder: Path, error: Path) -> subprocess.Popen[str]:
    """A process that starts two servers and then waits."""
    return subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(comfyui), str(folder)],
        cwd=helpers.REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=error.open("w"),
        text=True,
    )


def told(process: subprocess.Popen[str], error: Path) -> Any:
    assert process.stdout
    line = process.stdout.readline()
    assert line, error.read_text()
    return json.loads(line)


def test_two_real_ones_agree_and_go_with_whoever_started_them(real: Path, tmp_path: Path) -> None:
    """kill -9 of the driver: both are gone within 5 s, and they were of one mind on a workflow of ours before."""
    process = keeper(real, tmp_path / "own", tmp_path / "error")
    try:
        servers = [ComfyServer(url) for url in told(process, tmp_path / "error")]
        first, second = (server.system_stats()["system"]["argv"] for server in servers)
        for argv, name in ((first, "cpu0"), (second, "cpu1")):
            assert argv[argv.index("--output-directory") + 1] == str(tmp_path / "own" / name / "output")
            assert argv[argv.index("--cache-lru") + 1] == "8"
            assert "--cpu" in argv
        object_info = servers[0].object_info()
        file = WorkflowFile.read(helpers.REPOSITORY / "workflows" / "remove-classical.json")
        graph = BatchGraph.bind(file.to_api(object_info), object_info)
        agreement = agree(servers, graph.api)
        assert agreement.warnings == ()
        assert agreement.object_info == object_info
        helpers.kill(process)
        began = time.monotonic()
        helpers.until(lambda: not helpers.processes_with(str(tmp_path / "own")), "both to be gone", 5)
        print(f"gone after {time.monotonic() - began:.2f} s")
    finally:
        process.kill()
        process.wait()


def test_nothing_that_comfyui_started_outlives_a_killed_driver(stand_in: Path, tmp_path: Path) -> None:
    process = keeper(stand_in, tmp_path / "own", tmp_path / "error")
    try:
        told(process, tmp_path / "error")
        assert len(helpers.processes_with(str(stand_in))) == 1 + 2 * (2 + 3), (
            "it, two guards, two servers, six of theirs"
        )
        helpers.kill(process)
        helpers.until(lambda: not helpers.processes_with(str(stand_in)), "all to be gone", 5)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_guard_that_is_killed_takes_its_server_along(own: OwnServer, stand_in: Path, number: signal.Signals) -> None:
    assert own.start()
    (guard,) = _guards(stand_in)
    os.kill(guard.pid, number)
    if number == signal.SIGTERM:
        helpers.until(lambda: not helpers.processes_with(str(stand_in)), "all to be gone", 5)
    else:
        helpers.until(lambda: not helpers.processes_with(str(stand_in / "main.py")), "the server to be gone", 5)
        for left in helpers.processes_with(str(stand_in)):
            left.kill()
    helpers.until(lambda: not own.running(), "its end to be seen", 5)


def test_revived_after_its_death_at_the_same_address(own: OwnServer, stand_in: Path) -> None:
    assert own.start()
    url, guards = own.server.url, _guards(stand_in)
    saved = stand_in.parent / "cpu0" / "output" / "pair.png"
    saved.write_bytes(b"saved")
    (comfyui,) = [one for one in helpers.processes_with(str(stand_in / "main.py")) if one.ppid() == guards[0].pid]
    comfyui.kill()
    helpers.until(lambda: not own.running(), "its end to be known", 2)
    assert own.ended().startswith("said enough; killed")
    assert not helpers.processes_with(str(stand_in)), "a dead server's children live"
    assert own.revive()
    assert own.running()
    assert own.server.url == url
    assert saved.exists(), "what a pack saved before its server died is gone"


def test_a_port_that_somebody_took_meanwhile(own: OwnServer) -> None:
    assert own.start()
    url = own.server.url
    own.stop()
    with listening(int(url.rpartition(":")[2]), b"somebody else"):
        assert own.revive()
        assert own.server.url != url
        assert own.server.system_stats()


def test_it_gives_up_at_once_when_the_run_stops(own: OwnServer, stand_in: Path) -> None:
    """Ctrl-C while a server that never answers is waited for."""
    (stand_in / "main.py").write_text("import time; time.sleep(600)")
    begun = time.monotonic()
    assert not own.revive(lambda: time.monotonic() - begun > 1)
    assert time.monotonic() - begun < 3
    assert not own.running()
    assert not helpers.processes_with(str(stand_in))


def test_one_starts_after_the_other(stand_in: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    waiting: dict[str, list[float]] = {"a": [], "b": []}
    servers = [
        OwnServer(stand_in, tmp_path / name, lambda _, name=name: waiting[name].append(time.monotonic() - begun))
        for name in waiting
    ]
    threads = [threading.Thread(target=server.start) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert all(server.running() for server in servers)
        first, second = sorted(waiting.values())
        assert max(first) < min(second), "both started at once"
        assert not servers[0].recycle(lambda: True)
    finally:
        for server in servers:
            server.stop()
    assert not helpers.processes_with(str(stand_in))


def test_recycled_it_has_empty_folders(own: OwnServer, tmp_path: Path) -> None:
    assert own.start()
    for name in ("input", "output", "temp"):
        (tmp_path / "cpu0" / name / "some").mkdir(parents=True, exist_ok=True)
    assert own.recycle()
    assert own.running()
    assert not any(path.is_dir() for name in ("input", "output") for path in (tmp_path / "cpu0" / name).iterdir())
    assert not (tmp_path / "cpu0" / "temp").exists()


def test_files_of_finished_samples_are_removed_and_no_others(own: OwnServer, tmp_path: Path) -> None:
    folder = tmp_path / "cpu0"
    for name in ("temp/editpairs/run/k1.png", "temp/editpairs/run/k2.png", "output/editpairs/run/k1-0/a.png",
                 "output/editpairs/run/k1-0/a.records.json", "output/editpairs/run/k2-0/b.png", "output/c.png",
                 "user/d.txt"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    saved = [
        SavedFile.model_construct(filename="a.png", subfolder=subfolder, type="output", sha256="")
        for subfolder in ("editpairs/run/k1-0", "", "../user", "gone")
    ]
    own.discard(["editpairs/run/k1.png [temp]", "editpairs/run/never.png [temp]"], saved)
    assert helpers.files_in(folder) == {
        "temp/editpairs/run/k2.png", "output/editpairs/run/k2-0/b.png", "output/c.png", "user/d.txt",
    }  # fmt: skip


def test_its_log_stays_small(own: OwnServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 MB of progress bars, which end no line: five files of 4 MB are kept."""
    monkeypatch.setenv("CHATTER", "300000")
    assert own.start()
    logs = tmp_path / "cpu0"
    helpers.until(lambda: "said enough" in (logs / "comfyui.log").read_text()[-100:], "its last words", 30)
    sizes = {path.name: path.stat().st_size for path in logs.glob("comfyui.log*")}
    assert len(sizes) == 5
    assert 16e6 < sum(sizes.values()) <= 5 * (4 << 20)


def test_the_log_of_a_failed_start_is_kept_and_shown(own: OwnServer, stand_in: Path) -> None:
    assert own.start()
    (stand_in / "broken").touch()
    with pytest.raises(RunError) as caught:
        own.revive()
    line = str(caught.value)
    assert line.startswith("cpu0: ComfyUI did not start: RuntimeError: the weights are torn; exit status 1 (its log: ")
    kept = Path(line.rpartition("its log: ")[2].rstrip(")"))
    assert "the weights are torn" in kept.read_text()
    assert "said enough" not in kept.read_text(), "it is another start's log"
    kept.unlink()
    assert own.ended().endswith("exit status 1")


def test_a_gpu_that_is_not_there(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(RunError, match="no GPU 0: 0 visible"):
        OwnServer(stand_in, tmp_path / "gpu0", lambda _: None, gpu=0)


def _guards(stand_in: Path) -> list[psutil.Process]:
    return [one for one in helpers.processes_with(str(stand_in)) if "guard.py" in " ".join(one.cmdline()[:2])]


def test_a_foreign_server_is_waited_for_and_never_touched() -> None:
    port = free_port()
    foreign = ForeignServer(ComfyServer(f"http://127.0.0.1:{port}"))
    assert not foreign.running()
    with pytest.raises(RunError, match=f"--server http://127.0.0.1:{port}: no ComfyUI answers"):
        foreign.start()
    begun = time.monotonic()
    assert not foreign.revive(lambda: time.monotonic() - begun > 1)
    assert time.monotonic() - begun < 3
    with listening(port, b'{"system": {"comfyui_version": "0.30.0"}, "devices": [{"name": "cpu", "type": "cpu"}]}'):
        assert foreign.revive()
        assert foreign.running()
        assert foreign.recycle()
        foreign.stop()
        assert foreign.running()
