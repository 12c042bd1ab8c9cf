"""The real ComfyUI, started once per session on CPU with this repository as a custom node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from PIL import Image

from driver.comfyui.own import find_comfyui
from driver.errors import RunError
from tests.unit.loopback import free_port

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = "ComfyUI_EditPairs-main"
"""What the pack's folder is called in custom_nodes: not by its own name. A space would break ComfyUI's web routes."""

START_SECONDS = 120

settings.register_profile("editpairs", deadline=None, derandomize=True, database=None)
settings.load_profile("editpairs")

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""For torch here and in all that is started: with workers on every core, more threads mostly wait for each other."""
os.environ["HF_HUB_OFFLINE"] = "1"

STARTED = {
    "browser": {"started_frontend", "page"},
    "server": {"comfy", "real", "own", "stand_in", "driver", "served"},
}
"""Fixtures that start a browser or a server, or the command against one, by the marker of the tests that use them."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs a server or a browser, before `-m` chooses."""
    for item in items:
        for marker, fixtures in STARTED.items():
            if not fixtures.isdisjoint(getattr(item, "fixturenames", ())):
                item.add_marker(marker)


@dataclass(frozen=True)
class Comfy:
    """A running server."""

    url: str
    models: Path
    """Its models folder; what is put there while it runs is found."""
    profiles: Path
    """Its file of VLM profiles, which is not there yet."""


@pytest.fixture(scope="session", autouse=True)
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Lets what is started keep its bytecode, outside the repository: compiling it takes most of a short run."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))


PILLOW_OPEN = Image.open


@pytest.fixture(autouse=True)
def pillow_opens_images() -> None:
    """ultralytics, which some tests import, puts a function of its own in the place of Pillow's."""
    Image.open = PILLOW_OPEN


@pytest.fixture(scope="session")
def comfy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comfy]:
    try:
        source = find_comfyui()
    except RunError as error:
        pytest.skip(str(error))
    base = tmp_path_factory.mktemp("comfy")
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / FOLDER).symlink_to(REPOSITORY, target_is_directory=True)
    small = REPOSITORY / "tests" / "e2e" / "small_models"
    (base / "custom_nodes" / small.name).symlink_to(small, target_is_directory=True)
    port = free_port()
    options = ["--cpu", "--port", str(port), "--base-directory", str(base)]
    if not request.config.getoption("--every-template", False):
        options += ["--disable-api-nodes"]
    command = [sys.executable, "main.py", *options, "--database-url", "sqlite:///:memory:"]
    log = base / "comfy.log"
    account = {"EDITPAIRS_CONFIG": str(base / "vlm.toml"), "EDITPAIRS_CACHE": str(base / "cache")}
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=source, env=os.environ | account, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    try:
        running = Comfy(f"http://127.0.0.1:{port}", base / "models", base / "vlm.toml")
        _wait_until_up(running, server, log)
        yield running
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB of its own."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a tmpfs takes root on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is not allowed here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _wait_until_up(running: Comfy, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{running.url}/system_stats", timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)
    pytest.fail(f"ComfyUI did not start:\n{log.read_text(errors='replace')[-4000:]}")
