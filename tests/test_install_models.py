"""Weights by `install.py --models`, from web servers on loopback that answer as the hub does: no network."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from comfy_nodes.core.weights import downloads as model_downloads
from comfy_nodes.core.weights.downloads import Download, DownloadError, Settings, check, fetch, plan, total
from comfy_nodes.core.weights.licences import APACHE
from comfy_nodes.core.weights.records import Part, Weights
from comfy_nodes.core.weights.table import wanted

ROOT = Path(__file__).resolve().parents[1]
BYTES = bytes(range(256)) * 4096
"""A megabyte: more than what the system's socket buffers hold back, so that a cut falls inside it."""

SHA256 = hashlib.sha256(BYTES).hexdigest()
SECRET = "hf_never_shown"

LAUNCH = """
import dataclasses, runpy, sys
sys.path.insert(0, {root!r})
from comfy_nodes.core.weights import table as model_table
from comfy_nodes.core.weights.records import Part
large = model_table.find({name!r})
small = dataclasses.replace(large, parts=(Part(large.parts[0].path, {size}, {sha256!r}),))
model_table.TABLE = (small,)
sys.argv = [{script!r}, *sys.argv[1:]]
runpy.run_path({script!r}, run_name="__main__")
"""
"""install.py with a table of one row, whose file is small."""

LAUNCH_ALL = """
import dataclasses, runpy, sys
sys.path.insert(0, {root!r})
from comfy_nodes.core.weights import table as model_table
from comfy_nodes.core.weights.records import Part
def small(row):
    return dataclasses.replace(row, parts=tuple(Part(one.path, {size}, {sha256!r}) for one in row.parts))
model_table.TABLE = tuple(map(small, model_table.TABLE))
model_table.ROUTES = tuple(dataclasses.replace(one, weights=tuple(map(small, one.weights))) for one in model_table.ROUTES)
sys.argv = [{script!r}, *sys.argv[1:]]
runpy.run_path({script!r}, run_name="__main__")
"""
"""install.py with the whole table, whose files are small."""

CANNY = "controlnet-canny-sdxl-1.0.safetensors"


class Hub:
    """The hub's `resolve` addresses, which redirect to a second server where the bytes lie."""

    def __init__(self) -> None:
        self.content = BYTES
        self.refusal = 0
        self.faults: list[int] = []
        """Statuses of its next answers, one by one, before it answers as else."""
        self.hash_sent: str | None = SHA256
        self.ranges = True
        self.cuts: list[int] = []
        """Bytes after which answers break off, one by one."""
        self.stall: threading.Event | None = None
        """Set: after half of the bytes an answer waits for it."""
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        """Server, path and headers of each request."""
        self.url = self.store = ""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    state = Hub()

    class Resolve(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(("hub", self.path, dict(self.headers)))
            self.send_response((state.faults.pop(0) if state.faults else state.refusal) or 302)
            self.send_header("Location", f"{state.store}/bytes")
            if state.hash_sent:
                self.send_header("X-Linked-Etag", f'"{state.hash_sent}"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    class Store(Resolve):
        def do_GET(self) -> None:
            state.asked.append(("store", self.path, dict(self.headers)))
            wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted and state.ranges else 0
            total = len(state.content)
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = state.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if state.stall:
                self.wfile.write(body[: len(body) // 2])
                state.stall.wait(30)
                return
            self.wfile.write(body[: state.cuts.pop(0)] if state.cuts else body)

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in (Resolve, Store)]
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    state.url, state.store = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    monkeypatch.setattr(model_downloads.time, "sleep", lambda _seconds: None)
    yield state
    for server in servers:
        server.shutdown()
        server.server_close()


ROW = Weights(
    "tiny.safetensors",
    "vae",
    "VAE",
    APACHE,
    "somebody/tiny",
    (Part("deep/tiny.safetensors", len(BYTES), SHA256),),
    "a1b2",
)

Get = Callable[..., Path]


@pytest.fixture
def get(hub: Hub, tmp_path: Path) -> Get:
    """Plans and fetches a row; returns where it lies."""

    def run(row: Weights = ROW, token: str = "") -> Path:
        settings = Settings(hub.url, token)
        for one in plan([row], tmp_path):
            fetch(one, settings, lambda _line: None)
        return tmp_path / row.target(row.parts[0])

    return run


def row(**part: object) -> Weights:
    return dataclasses.replace(ROW, parts=(dataclasses.replace(ROW.parts[0], **part),))


def no_part(folder: Path) -> bool:
    return not list(folder.rglob("*.part"))


class TestOneFile:
    def test_it_lies_whole_where_comfyui_looks(self, hub: Hub, get: Get, tmp_path: Path) -> None:
        assert get() == tmp_path / "vae" / "tiny.safetensors"
        assert get().read_bytes() == BYTES and no_part(tmp_path)
        assert hub.asked[0][1] == "/somebody/tiny/resolve/a1b2/deep/tiny.safetensors"
        assert len(hub.asked) == 2, "what is there is not asked for again"

    def test_a_connection_that_breaks_is_taken_up_where_it_broke(self, hub: Hub, get: Get) -> None:
        hub.cuts = [300_000, 200_000]
        assert get().read_bytes() == BYTES
        ranges = [headers.get("Range") for server, _, headers in hub.asked if server == "store"]
        assert ranges == [None, "bytes=300000-", "bytes=500000-"]

    def test_an_unfinished_file_of_an_earlier_run_is_taken_up(self, hub: Hub, get: Get, tmp_path: Path) -> None:
        (tmp_path / "vae").mkdir()
        (tmp_path / "vae" / "tiny.safetensors.part").write_bytes(BYTES[:1000])
        assert get().read_bytes() == BYTES
        assert hub.asked[-1][2]["Range"] == "bytes=1000-"

    def test_a_finished_part_only_gets_its_name(self, hub: Hub, get: Get, tmp_path: Path) -> None:
        (tmp_path / "vae").mkdir()
        (tmp_path / "vae" / "tiny.safetensors.part").write_bytes(BYTES)
        assert get().read_bytes() == BYTES and no_part(tmp_path)

    def test_a_server_without_ranges_begins_anew(self, hub: Hub, get: Get, tmp_path: Path) -> None:
        hub.ranges = False
        (tmp_path / "vae").mkdir()
        (tmp_path / "vae" / "tiny.safetensors.part").write_bytes(b"x" * 1000)
        assert get().read_bytes() == BYTES

    def test_a_part_longer_than_the_file_goes(self, hub: Hub, get: Get, tmp_path: Path) -> None:
        (tmp_path / "vae").mkdir()
        (tmp_path / "vae" / "tiny.safetensors.part").write_bytes(BYTES + b"more")
        assert get().read_bytes() == BYTES

    @pytest.mark.parametrize("published", ["by the table", "by the hub alone"])
    def test_a_wrong_file_is_not_kept(self, hub: Hub, get: Get, tmp_path: Path, published: str) -> None:
        hub.content = BYTES[:-1] + b"x"
        known = ROW if published == "by the table" else row(sha256=None)
        with pytest.raises(DownloadError, match=r"not the published file .*not kept"):
            get(known)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]

    def test_another_length_is_seen_before_it_is_loaded(self, hub: Hub, get: Get, tmp_path: Path) -> None:
        hub.content = BYTES + BYTES
        with pytest.raises(DownloadError, match=r"has 2097152 bytes, not the 1048576 that the table knows"):
            get()
        assert no_part(tmp_path)

    def test_without_any_published_hash_it_is_taken_and_said(self, hub: Hub, tmp_path: Path) -> None:
        hub.hash_sent, said = None, []
        [one] = plan([row(sha256=None, size=None)], tmp_path)
        fetch(one, Settings(hub.url), said.append)
        assert "no sha256 is published" in said[-1]


class TestRefusals:
    def test_a_server_that_is_busy_for_a_while_is_asked_again(self, hub: Hub, get: Get) -> None:
        """In the middle of a file, too: what is there stays."""
        hub.cuts, hub.faults = [300_000], [0, 503, 429]
        assert get().read_bytes() == BYTES
        assert [headers.get("Range") for _, _, headers in hub.asked][-1] == "bytes=300000-"

    def test_what_needs_a_token_is_said_before_the_first_byte(self, hub: Hub, tmp_path: Path) -> None:
        asked = plan([dataclasses.replace(ROW, gated=True)], tmp_path)
        with pytest.raises(DownloadError, match=r"tiny\.safetensors \(\S+/somebody/tiny\) only to accounts.*HF_TOKEN"):
            check(asked, tmp_path, Settings(hub.url))
        check(asked, tmp_path, Settings(hub.url, SECRET))
        assert hub.asked == []

    @pytest.mark.parametrize("code", [401, 403])
    def test_a_gated_file_names_page_and_token(self, hub: Hub, get: Get, code: int) -> None:
        hub.refusal = code
        with pytest.raises(DownloadError, match=rf"\({code}\); accept the licence on \S+/somebody/tiny,.* HF_TOKEN"):
            get(token=SECRET)

    def test_a_file_that_is_gone(self, hub: Hub, get: Get) -> None:
        hub.refusal = 404
        with pytest.raises(DownloadError, match=r"not there any more at revision a1b2"):
            get()

    def test_a_server_that_stays_broken_is_given_up(self, hub: Hub, get: Get) -> None:
        hub.refusal = 503
        with pytest.raises(DownloadError, match=r"answers 503.*same command again"):
            get()
        assert len(hub.asked) == model_downloads.TRIES

    def test_nobody_answers(self, hub: Hub, get: Get) -> None:
        hub.url = "http://127.0.0.1:9"
        with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9 cannot be reached"):
            get()

    def test_the_token_goes_to_the_hub_alone(self, hub: Hub, get: Get) -> None:
        get(token=SECRET)
        sent = {server: headers.get("Authorization") for server, _, headers in hub.asked}
        assert sent == {"hub": f"Bearer {SECRET}", "store": None}

    def test_what_the_environment_says(self) -> None:
        said = Settings.of({"HF_ENDPOINT": "http://mirror/", "HF_TOKEN": " t ", "HF_HUB_OFFLINE": "true"})
        assert said == Settings("http://mirror", "t", True)
        assert Settings.of({"HF_HUB_OFFLINE": "0"}) == Settings()

    def test_offline_nothing_is_asked(self, hub: Hub, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match=r"HF_HUB_OFFLINE is set and these are missing: tiny\.safetensors"):
            check(plan([ROW], tmp_path), tmp_path, Settings(hub.url, offline=True))
        assert hub.asked == []

    def test_a_full_disk_is_seen_before_the_first_byte(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        big = row(size=5_000_000_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=6_000_000_000))
        with pytest.raises(DownloadError, match=r"6\.0 GB free, 6\.1 GB needed"):
            check(plan([big], tmp_path / "not" / "yet"), tmp_path / "not" / "yet", Settings())
        check([Download(ROW, ROW.parts[0], tmp_path / "x")], tmp_path, Settings())

    @pytest.mark.parametrize(("content", "why"), [(b"short", "5 bytes, not 1048576"), (b"x" * len(BYTES), "sha256 ")])
    def test_somebody_elses_file_of_that_name_stays(
        self, hub: Hub, get: Get, tmp_path: Path, content: bytes, why: str
    ) -> None:
        target = tmp_path / "vae" / "tiny.safetensors"
        target.parent.mkdir()
        target.write_bytes(content)
        with pytest.raises(DownloadError, match=f"another file than the published one .{why}"):
            get()
        assert target.read_bytes() == content and hub.asked == []


def test_what_is_to_be_fetched_is_summed_up(tmp_path: Path) -> None:
    unknown = dataclasses.replace(ROW, name="b.safetensors", parts=(Part("b.safetensors"),))
    asked = plan([row(size=3_000_000_000), unknown], tmp_path)
    assert total(asked) == "3.0 GB in 2 files; and b.safetensors, whose size is not published"
    (tmp_path / "vae").mkdir()
    asked[0].partial.write_bytes(bytes(1_000_000))
    assert total(asked[:1]) == "3.0 GB in 1 file; of it 1 MB here already, unfinished"


def test_a_folder_in_hub_format_has_all_its_parts(hub: Hub, tmp_path: Path) -> None:
    folder = dataclasses.replace(
        ROW,
        name="tiny-clip",
        folder="text_encoders",
        parts=(Part("config.json"), Part("model.safetensors")),
        hub_format=True,
    )
    for one in plan([folder], tmp_path):
        fetch(one, Settings(hub.url), lambda _line: None)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"text_encoders/tiny-clip/config.json", "text_encoders/tiny-clip/model.safetensors"}


# ---- the command ---------------------------------------------------------------------------------------------------------


def environment(hub: Hub, **extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_") and name != "COMFYUI_PATH"}
    return {**kept, "HF_ENDPOINT": hub.url, "HF_TOKEN": SECRET, "PYTHONDONTWRITEBYTECODE": "1", **extra}


def command(into: Path, *arguments: str) -> list[str]:
    script = str(ROOT / "install.py")
    code = LAUNCH.format(root=str(ROOT), name=CANNY, size=len(BYTES), sha256=SHA256, script=script)
    return [sys.executable, "-c", code, "--models", CANNY, "--into", str(into), *arguments]


def install(hub: Hub, into: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(into, *arguments), env=environment(hub, **extra), text=True, capture_output=True, timeout=60,
                          stdin=subprocess.DEVNULL, check=False)  # fmt: skip


def test_the_command_lists_asks_loads_and_then_has_nothing_to_do(hub: Hub, tmp_path: Path) -> None:
    asked = install(hub, tmp_path)
    assert asked.returncode == 2 and hub.asked == []
    assert f"controlnet/{CANNY}: 1 MB, CreativeML Open RAIL++-M, diffusers/controlnet-canny-sdxl-1.0" in asked.stdout
    assert len(asked.stderr.splitlines()) == 1 and "add --yes" in asked.stderr

    done = install(hub, tmp_path, "--yes")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "controlnet" / CANNY).read_bytes() == BYTES and "sha256 is right" in done.stdout
    assert SECRET not in done.stdout + done.stderr + asked.stdout

    again = install(hub, tmp_path, "--yes", HF_HUB_OFFLINE="1")
    assert again.returncode == 0 and "all there, nothing to do" in again.stdout


def test_the_command_says_in_one_line_what_is_wrong(hub: Hub, tmp_path: Path) -> None:
    hub.refusal = 403
    gated = install(hub, tmp_path, "--yes")
    assert gated.returncode == 1 and "HF_TOKEN" in gated.stderr and SECRET not in gated.stderr
    unknown = install(hub, tmp_path, "--models", "nope")
    assert unknown.returncode == 2 and "nope: no workflow, task or model file" in unknown.stderr
    assert [len(one.stderr.splitlines()) for one in (gated, unknown)] == [1, 1]


def test_workflows_that_name_no_weights_say_what_they_need(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "install.py"), "--models", "verify,write", "--into", str(tmp_path)]
    done = subprocess.run(words, text=True, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (0, "", [])
    for name in ("verify", "write"):
        assert f"{name}: names no weights; it asks a VLM service, and docs/vlm.md says how" in done.stdout
    assert "these need no weights" in done.stdout


def test_the_weights_of_all_open_graphs_in_one_command(hub: Hub, tmp_path: Path) -> None:
    """Through a hub that is busy once and a line that breaks once; sizes and licences are said before."""
    script = str(ROOT / "install.py")
    code = LAUNCH_ALL.format(root=str(ROOT), size=len(BYTES), sha256=SHA256, script=script)

    def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", code, "--models", "open", "--into", str(tmp_path), *arguments]
        return subprocess.run(words, env=environment(hub, **extra), text=True, capture_output=True, timeout=120,
                              stdin=subprocess.DEVNULL, check=False)  # fmt: skip

    open_rows = wanted(["open"])
    files = [one.target(part) for one in open_rows for part in one.parts]
    asked = run()
    assert asked.returncode == 2 and hub.asked == [] and "add --yes" in asked.stderr
    size = f"{len(files) * len(BYTES) / 1e6:.0f} MB in {len(files)} files"
    assert f"to download: {size}\n" in asked.stdout
    assert "Apache-2.0, https://" in asked.stdout and "FLUX.1 [dev]" not in asked.stdout
    offline = run("--yes", HF_HUB_OFFLINE="1")
    assert offline.returncode == 1 and "flux-2-klein-4b-fp8.safetensors" in offline.stderr and hub.asked == []

    hub.faults, hub.cuts = [0, 503], [len(BYTES), 300_000]
    done = run("--yes")
    assert done.returncode == 0, done.stderr
    assert {one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*") if one.is_file()} == set(files)
    assert [headers["Range"] for _, _, headers in hub.asked if "Range" in headers][-1] == "bytes=300000-"
    assert all(
        path.startswith(tuple(f"/{one.repository}/" for one in open_rows)) for at, path, _ in hub.asked if at == "hub"
    )
    assert "all there, nothing to do" in run("--yes", HF_HUB_OFFLINE="1").stdout


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent as a signal")
def test_a_stopped_download_goes_on_where_it_was(hub: Hub, tmp_path: Path) -> None:
    hub.stall = threading.Event()
    child = subprocess.Popen(
        command(tmp_path, "--yes"), env=environment(hub), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    part, deadline = tmp_path / "controlnet" / f"{CANNY}.part", time.monotonic() + 30
    while time.monotonic() < deadline and not (part.is_file() and part.stat().st_size):
        threading.Event().wait(0.02)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    hub.stall.set()
    hub.stall = None
    kept = part.stat().st_size
    assert child.returncode == 130 and "nothing is lost" in said and 0 < kept < len(BYTES)

    assert install(hub, tmp_path, "--yes").returncode == 0
    assert hub.asked[-1][2]["Range"] == f"bytes={kept}-"
    assert (tmp_path / "controlnet" / CANNY).read_bytes() == BYTES


def comfyui(folder: Path) -> Path:
    (folder / "comfy").mkdir(parents=True)
    for name in ("main.py", "folder_paths.py", "requirements.txt"):
        (folder / name).touch()
    (folder / "comfyui_version.py").write_text('__version__ = "0.30.0"\n')
    return folder


@pytest.fixture
def script(tmp_path: Path) -> Iterator[ModuleType]:
    """install.py as a module, as if it lay in a ComfyUI's custom_nodes."""
    spec = importlib.util.spec_from_file_location("install_under_test", ROOT / "install.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.PACK = comfyui(tmp_path / "ComfyUI") / "custom_nodes" / "editpairs"
    yield module
    del sys.modules[spec.name]


class TestWhere:
    def test_beside_the_pack_or_in_the_comfyui_that_is_named(self, script: ModuleType, tmp_path: Path) -> None:
        assert script.models_folder(None, None) == tmp_path / "ComfyUI" / "models"
        assert script.models_folder(None, comfyui(tmp_path / "other")) == tmp_path / "other" / "models"
        assert script.models_folder(str(tmp_path / "disk"), None) == tmp_path / "disk"

    def test_a_list_of_other_folders_is_mentioned(
        self, script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "ComfyUI" / "extra_model_paths.yaml").touch()
        script.models_folder(None, None)
        assert "extra_model_paths.yaml is not read" in capsys.readouterr().out

    def test_without_a_comfyui_it_says_how_to_get_one(self, script: ModuleType, tmp_path: Path) -> None:
        script.PACK, script.FETCHED = tmp_path / "pack", tmp_path / "none"
        with pytest.raises(script.InstallError, match=r"is no ComfyUI; run install\.py without --models first"):
            script.models_folder(None, None)

    def test_what_goes_with_it_is_refused_without_it(self, script: ModuleType) -> None:
        for words in (["--into", "x"], ["--yes"], ["--models", "all", "--demo"]):
            with pytest.raises(script.InstallError) as refusal:
                script.parse(words)
            assert refusal.value.status == 2
