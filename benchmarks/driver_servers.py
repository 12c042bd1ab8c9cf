"""Servers as processes of their own: the real ComfyUI with our packs, or the fake one.

Each keeps its port, so that it can be killed, stopped, continued and started again under the same address.
Used by the driver's benchmark and by the chaos tests; knows nothing of the driver.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent
START_SECONDS = 180.0

MODELS = ("bench-a.safetensors", "bench-b.safetensors", "bench-c.safetensors")
MODEL_BYTES = 40 * 2**30
"""What each pretends to weigh; the files are sparse and take no room."""


class ServerProcess:
    """One server; used as a context manager, which ends it."""

    def __init__(self, command: list[str], port: int, folder: Path, cwd: Path):
        """
        Args:
            folder: where its files and its log lie.
        """
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        self.log = folder / "server.log"
        self._command = command
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ServerProcess:
        if self._process is None:
            self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Starts it, without waiting for it."""
        assert not self.alive, "it runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._cwd, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self.launch()
        self.wait()

    def wait(self) -> None:
        """Waits until a launched server answers.

        Raises:
            RuntimeError: it exits, or does not answer in time.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.alive:
            try:
                urllib.request.urlopen(f"{self.url}/system_stats", timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise RuntimeError(f"{self.url} did not start:\n{self.log.read_text(errors='replace')[-3000:]}")

    def kill(self) -> None:
        """kill -9."""
        if self._process is None:
            return
        if self.alive:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGKILL)
        self._process.wait()

    def cpu_s(self) -> float:
        """User and system seconds so far."""
        assert self._process is not None
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def pause(self) -> None:
        """It hangs: connections are taken, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=30) as response:
            return json.load(response)

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            text = response.read()
        return json.loads(text) if text else None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)


def comfyui(source: Path, folder: Path, *options: str) -> ServerProcess:
    """The real ComfyUI on CPU with this repository, the benchmark's nodes and three models too large for any memory.

    Args:
        source: ComfyUI's folder.
        folder: where everything of this server lies; made if it is missing.
    """
    packs = folder / "custom_nodes"
    packs.mkdir(parents=True, exist_ok=True)
    for name, target in {"editpairs": REPOSITORY, "editpairs-bench": REPOSITORY / "benchmarks" / "nodes"}.items():
        if not (packs / name).exists():
            (packs / name).symlink_to(target, target_is_directory=True)
    models = folder / "models" / "diffusion_models"
    models.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        with (models / name).open("wb") as file:
            file.truncate(MODEL_BYTES)
    port = free_port()
    command = [
        sys.executable, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(folder),
        "--database-url", "sqlite:///:memory:", "--disable-api-nodes", "--disable-metadata", "--cache-lru", "64", *options,
    ]  # fmt: skip
    return ServerProcess(command, port, folder, source)


def with_bench_nodes(source: Path, folder: Path) -> Path:
    """A ComfyUI that has the benchmark's nodes, for servers that the driver starts itself.

    Args:
        source: ComfyUI's folder, which stays as it is.
        folder: where the other one is made: links to what is in the first, but for its files and its custom_nodes.
    """
    packs = folder / "custom_nodes"
    packs.mkdir(parents=True)
    (packs / "editpairs-bench").symlink_to(REPOSITORY / "benchmarks" / "nodes", target_is_directory=True)
    for entry in source.iterdir():
        if entry.is_file():  # ComfyUI looks for its folders beside the files that it runs
            shutil.copyfile(entry, folder / entry.name)
        elif entry.name not in (packs.name, "models"):
            (folder / entry.name).symlink_to(entry, target_is_directory=True)
    return folder


def fake_comfyui(object_info: Path, folder: Path, *options: object) -> ServerProcess:
    """The fake ComfyUI of `fake_comfy.py`.

    Args:
        object_info: a real server's `/object_info`, as JSON.
        options: of its command line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    script = Path(__file__).with_name("fake_comfy.py")
    command = [sys.executable, str(script), "--port", str(port), "--object-info", str(object_info)]
    command += ["--folder", str(folder), *map(str, options)]
    return ServerProcess(command, port, folder, REPOSITORY)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
