"""A command that ends when this process does, with a log that does not grow without bound.

Server.py runs ComfyUI in it. The work is done by `guard.py`, a process between this one and the command; here is
what starts it and what reads the log that it writes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from ..terminal import plain

END_SECONDS = 10
"""How long the guard may take to end everything. Ours: it gives up after about 4 s by itself."""


class GuardedProcess:
    """A running command under its guard."""

    def __init__(self, command: list[str], cwd: Path, log: Path):
        """Starts it.

        Args:
            cwd: the folder that it runs in.
            log: where what it prints goes; older logs lie beside it as `<log>.1` and so on, one or more for a start.
        """
        self._log = log
        # What the guard itself says, which is nothing unless it cannot run.
        self._guard_log = log.with_name(f"{log.stem}-guard.log")
        with self._guard_log.open("wb") as words:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("guard.py")), str(log), *command],
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=words,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Ends the command and all that came of it: closing its guard's input is the signal. May be called again."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ended(self) -> str:
        """What it said last, and how it ended."""
        words = _last_line(self._log) or _last_line(self._guard_log) or "it said nothing"
        return f"{words}; {_ending(self._process.poll())}"

    def kept_log(self) -> Path:
        """A copy of the log that outlives the run's folder."""
        handle, name = tempfile.mkstemp(prefix="editpairs-comfyui-", suffix=".log")
        os.close(handle)
        shutil.copyfile(self._log if self._log.exists() else self._guard_log, name)
        return Path(name)


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    bare = (plain(line).strip() for line in reversed(lines))
    return next((line for line in bare if line), "")


def _ending(status: int | None) -> str:
    """The guard's exit status in words."""
    if status is None:
        return "still running"
    if status == 128 + signal.SIGKILL:
        return "killed, as the system does when memory runs out"
    if status > 128:
        return f"ended by signal {status - 128}"
    return f"exit status {status}"
