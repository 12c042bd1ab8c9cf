"""A ComfyUI of our own: found, started on loopback, restarted when it dies, gone when the driver is."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from comfy_nodes.core.records import SavedFile

from .comfy import ComfyServer
from .failures import RunError, ServerFault

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 300
"""How long a start may take; large packs and cold disks need minutes."""

RETURN_SECONDS = 60
"""How long a run waits for a server of somebody else's to come back."""


def find_comfyui() -> Path:
    """ComfyUI's folder: COMFYUI_PATH, the one this pack lies in, or what install.py set up.

    Raises:
        RunError: none is there.
    """
    named = os.environ.get("COMFYUI_PATH")
    if named:
        if not (Path(named) / "main.py").is_file():
            raise RunError(f"COMFYUI_PATH={named} is not a ComfyUI (it has no main.py)")
        return Path(named)
    candidates = [ROOT.parent.parent] if ROOT.parent.name == "custom_nodes" else []
    pointer = ROOT / ".comfyui" / "path"
    if pointer.is_file():
        candidates.append(Path(pointer.read_text(encoding="utf-8").strip()))
    candidates.append(ROOT / ".comfyui" / "ComfyUI")
    for folder in candidates:
        if (folder / "main.py").is_file():
            return folder
    raise RunError("no ComfyUI found: run python install.py, set COMFYUI_PATH, or name a running one with --server")


def has_gpu() -> bool:
    """Whether a ComfyUI here would find a GPU. Asks the system, not torch, which the driver never loads."""
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    if Path("/dev/kfd").exists():
        return True
    if shutil.which("nvidia-smi") is None:
        return False
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return listed.returncode == 0 and "GPU" in listed.stdout


class ForeignServer:
    """A ComfyUI that somebody else runs: waited for when it is away, otherwise left alone."""

    def __init__(self, server: ComfyServer):
        self.server = server

    def revive(self) -> None:
        """Waits until it answers again.

        Raises:
            RunError: it does not within a minute.
        """
        begun = time.monotonic()
        while time.monotonic() - begun < RETURN_SECONDS:
            try:
                self.server.system_stats()
                return
            except ServerFault:
                time.sleep(1)
        raise RunError(
            f"{self.server.url} went away and did not come back within {RETURN_SECONDS} s: "
            "start it and run the same command again; it goes on",
            status=1,
        )

    def discard(self, upload: str, images: list[SavedFile]) -> None:
        """ComfyUI has no way to delete files. Uploads lie in its temp folder, which it empties at every start."""

    def stop(self) -> None:
        """Not ours to stop."""


class OwnServer:
    """A ComfyUI process that belongs to this run, with input, output, temp and user folders of its own."""

    def __init__(self, comfyui: Path, folder: Path, on_wait: Callable[[float], None]):
        """Starts it and waits until it answers.

        Args:
            comfyui: ComfyUI's folder.
            folder: where its files and its log go.
            on_wait: called while it starts, with the seconds waited.

        Raises:
            RunError: it exits, or does not answer in time.
        """
        # ComfyUI runs in its own folder, from where a relative path would lead elsewhere.
        self._comfyui = comfyui.resolve()
        self._folder = folder.resolve()
        self._on_wait = on_wait
        self._log = self._folder / "comfyui.log"
        for name in ("input", "output", "user", "custom_nodes"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._start()

    def revive(self) -> None:
        """Starts it anew.

        Raises:
            RunError: as when it was first started.
        """
        self.stop()
        self._start()

    def discard(self, upload: str, images: list[SavedFile]) -> None:
        """Removes a sample's files, which nobody needs once they were fetched."""
        (self._folder / "temp" / upload.removesuffix(" [temp]")).unlink(missing_ok=True)
        for subfolder in {image.subfolder for image in images}:
            shutil.rmtree(self._folder / "output" / subfolder, ignore_errors=True)

    def stop(self) -> None:
        """Ends the process: closing its guard's input is the signal."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        port = _free_port()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("guard.py")), *self._command(port)],
                cwd=self._comfyui,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.server = ComfyServer(f"http://127.0.0.1:{port}")
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        begun = time.monotonic()
        while not self._answers():
            waited = time.monotonic() - begun
            if self._process.poll() is not None:
                raise RunError(f"ComfyUI did not start: {self._last_words()} (its log: {self._kept_log()})")
            if waited > START_SECONDS:
                raise RunError(f"ComfyUI did not answer within {START_SECONDS} s (its log: {self._kept_log()})")
            self._on_wait(waited)
            time.sleep(0.3)

    def _answers(self) -> bool:
        try:
            self.server.system_stats()
        except ServerFault:
            return False
        return True

    def _command(self, port: int) -> list[str]:
        folder = self._folder
        command = [
            sys.executable, str(self._comfyui / "main.py"), "--listen", "127.0.0.1", "--port", str(port),
            "--input-directory", str(folder / "input"), "--output-directory", str(folder / "output"),
            "--temp-directory", str(folder), "--user-directory", str(folder / "user"),
            "--database-url", "sqlite:///:memory:", "--disable-metadata", "--disable-auto-launch",
            "--cache-lru", "64",
        ]  # fmt: skip
        if not has_gpu():
            command.append("--cpu")
        if ROOT not in [entry.resolve() for entry in (self._comfyui / "custom_nodes").iterdir()]:
            command += ["--extra-model-paths-config", str(self._pack_config())]
        return command

    def _pack_config(self) -> Path:
        """Makes ComfyUI load this pack although it does not lie in its custom_nodes."""
        link = self._folder / "custom_nodes" / "editpairs"
        if not link.exists():
            link.symlink_to(ROOT, target_is_directory=True)
        config = self._folder / "extra_model_paths.yaml"
        # JSON is YAML, and quotes whatever a path may hold.
        config.write_text(json.dumps({"editpairs": {"custom_nodes": str(link.parent)}}), encoding="utf-8")
        return config

    def _kept_log(self) -> Path:
        """A copy of the log that outlives the run's folder."""
        handle, name = tempfile.mkstemp(prefix="editpairs-comfyui-", suffix=".log")
        os.close(handle)
        shutil.copyfile(self._log, name)
        return Path(name)

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
