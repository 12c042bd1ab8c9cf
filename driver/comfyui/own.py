"""Where servers come from: ComfyUIs of our own, started on loopback and gone when the driver is, and somebody else's.

Both look the same to the pool, which calls one from one worker thread and stops all from the main one. What is sent
to a server, and what it answers, is not known here.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from comfy_nodes.core.records import SavedFile

from ..errors import RunError
from ..home import ROOT
from .answering import Stop, never, sleep, trouble
from .client import ComfyServer
from .gpus import gpu_ids
from .near import NearServer
from .process import GuardedProcess

START_SECONDS = 300
"""How long a start may take; large packs and cold disks need minutes."""


PORTS = range(20000, 32768)
"""Where servers of our own listen. Ours: below the ports that systems give to outgoing connections, which could take
one while ComfyUI starts."""


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


class OwnServer:
    """A ComfyUI process that belongs to this run, with input, output, temp and user folders of its own."""

    own = True
    """Ours to start again."""

    _turn = threading.Lock()
    """One starts at a time in this process: a start reads gigabytes and keeps several cores busy."""

    def __init__(
        self,
        comfyui: Path,
        folder: Path,
        on_wait: Callable[[float], None],
        gpu: int | None = None,
        cache: int = 64,
    ):
        """Prepares it; `start` starts it.

        Args:
            comfyui: ComfyUI's folder.
            folder: where its files and its log go; no other server's. Its name is the server's.
            on_wait: called while it starts, with the seconds waited, first with 0.
            gpu: which of the visible GPUs it has for itself, counted from 0; None for the CPU.
            cache: how many nodes' outputs it keeps, at least those of the largest prompt.

        Raises:
            RunError: there is no such GPU.
        """
        # ComfyUI runs in its own folder, from where a relative path would lead elsewhere.
        self._comfyui = comfyui.resolve()
        self._folder = folder.resolve()
        self._on_wait = on_wait
        self._device = None if gpu is None else _device(gpu)
        self._cache = cache
        self._process: GuardedProcess | None = None
        self.name = folder.name
        self.server: ComfyServer = self._somewhere()
        """Where it answers. Another object after a restart for which the old port was taken."""

    def start(self, stop: Stop = never) -> bool:
        """Starts it and waits until it answers; while another server of ours starts, waits for that first.

        Returns:
            Whether it answers; False where `stop` ended the waiting.

        Raises:
            RunError: it exits, or does not answer in time.
        """
        with self._in_turn(stop) as ours:
            return ours and self._launch(stop)

    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.running()

    def revive(self, stop: Stop = never) -> bool:
        """Starts it anew, whether its process died or hangs; what samples saved there stays.

        Returns:
            As `start`.

        Raises:
            RunError: as `start`.
        """
        self.stop()
        return self.start(stop)

    def recycle(self, stop: Stop = never) -> bool:
        """Starts it anew with empty folders, to give back what it leaked. Nothing of ours may run or wait there.

        Returns:
            As `start`. False leaves it as it was, or ended.

        Raises:
            RunError: as `start`.
        """
        with self._in_turn(stop) as ours:
            if not ours:
                return False
            self.stop()
            for name in ("input", "output", "temp"):
                shutil.rmtree(self._folder / name, ignore_errors=True)
            return self._launch(stop)

    def discard(self, uploads: list[str], files: list[SavedFile]) -> None:
        """Removes files that nobody needs once they were fetched.

        Args:
            uploads: names under which `ComfyServer.upload` put photos.
            files: what a sink saved. The subfolder that one lies in goes with it: every sample saves into its own.
        """
        for upload in uploads:
            (self._folder / "temp" / upload.removesuffix(" [temp]")).unlink(missing_ok=True)
        output = f"{self._folder / 'output'}{os.sep}"
        for folder in {output + file.subfolder for file in files}:
            if os.path.realpath(folder).startswith(output):
                shutil.rmtree(folder, ignore_errors=True)

    def leave(self, run_id: str) -> None:
        """Its folders go with it."""

    def stays(self) -> str:
        """Nothing: empty."""
        return ""

    def connection(self) -> ComfyServer:
        """Another way to the same process, for somebody who asks beside others."""
        return NearServer(self.server.url, self._folder)

    def take_turn(self) -> bool:
        """See `hosts.Host`: nobody else uses it."""
        return True

    def give_turn(self) -> None:
        """See `hosts.Host`."""

    def ended(self) -> str:
        """What ComfyUI said last, and how its process ended."""
        return self._process.ended() if self._process else "never started"

    def stop(self) -> None:
        """Ends the process and all that came of it."""
        if self._process:
            self._process.stop()

    @contextmanager
    def _in_turn(self, stop: Stop) -> Iterator[bool]:
        """While no other server of ours starts; yields whether that moment came before `stop`."""
        while not (ours := self._turn.acquire(timeout=0.1)) and not stop():
            pass
        try:
            yield ours
        finally:
            if ours:
                self._turn.release()

    def _launch(self, stop: Stop) -> bool:
        if stop():
            return False
        for name in ("input", "output", "user", "custom_nodes"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        port = int(self.server.url.rpartition(":")[2])
        if not _is_free(port):
            self.server = self._somewhere()
            port = int(self.server.url.rpartition(":")[2])
        self._process = GuardedProcess(self._command(port), self._comfyui, self._folder / "comfyui.log")
        up = False
        try:
            up = self._wait(self._process, stop)
        finally:
            if not up:
                self.stop()
        return up

    def _somewhere(self) -> NearServer:
        """A server at a port of ours that nobody listens on."""
        for _ in range(1000):
            port = random.choice(PORTS)
            if _is_free(port):
                return NearServer(f"http://127.0.0.1:{port}", self._folder)
        raise RunError(f"no free port between {PORTS.start} and {PORTS.stop}: close what listens there")

    def _wait(self, process: GuardedProcess, stop: Stop) -> bool:
        begun = time.monotonic()
        waited = 0.0
        while not stop():
            self._on_wait(waited)
            if trouble(self.server, stop) is None:
                return True
            waited = time.monotonic() - begun
            if not process.running() and not stop():
                log = process.kept_log()
                raise RunError(f"{self.name}: ComfyUI did not start: {process.ended()} (its log: {log})")
            if waited > START_SECONDS:
                log = process.kept_log()
                raise RunError(f"{self.name}: ComfyUI did not answer within {START_SECONDS} s (its log: {log})")
            sleep(0.3, stop)
        return False

    def _command(self, port: int) -> list[str]:
        folder = self._folder
        command = [
            sys.executable, str(self._comfyui / "main.py"), "--listen", "127.0.0.1", "--port", str(port),
            "--input-directory", str(folder / "input"), "--output-directory", str(folder / "output"),
            "--temp-directory", str(folder), "--user-directory", str(folder / "user"),
            "--database-url", "sqlite:///:memory:", "--disable-metadata", "--disable-auto-launch",
            "--preview-method", "none", "--cache-lru", str(self._cache),
        ]  # fmt: skip
        command += ["--cpu"] if self._device is None else ["--cuda-device", self._device]
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


def _device(gpu: int) -> str:
    ids = gpu_ids()
    if gpu >= len(ids):
        raise RunError(f"there is no GPU {gpu}: {len(ids)} visible here (CUDA_VISIBLE_DEVICES decides)")
    return ids[gpu]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if os.name == "posix":  # as ComfyUI does: connections of the former server may linger
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
