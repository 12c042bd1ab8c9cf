"""Keeps ComfyUI no longer than the driver, and its log small: run as `guard.py LOG COMMAND ...`, with a pipe as input.

The pipe closes when whoever holds its other end dies, however it dies. Then the command and every process that
came of it are ended. What they print goes into a log of bounded size, a fresh file for every start. Standard
library only.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType

GRACE_SECONDS = 2.0
"""What the command has between being asked to end and being ended. Ours."""

SWEEP_SECONDS = 2.0
"""How long processes that it left behind are looked for. Ours."""

LOG_BYTES = 4 << 20
"""Size of one log file. Ours: the start of a ComfyUI with many packs prints some 100 KB."""

OLD_LOGS = 4
"""Earlier files that are kept beside it. Ours."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> int:
    """Runs the command; its exit status, or 128 and the number of the signal that ended it, as shells have it."""
    log = _log(Path(sys.argv[1]))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, _leave)
    child = subprocess.Popen(
        sys.argv[2:],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_guard if sys.platform == "linux" else None,
    )
    writing = threading.Thread(target=_write, args=(child, log), daemon=True)
    writing.start()
    gone = threading.Event()
    threading.Thread(target=_end_with_parent, args=(child, gone), daemon=True).start()
    try:
        status = _reap(child)
    finally:
        gone.set()
        _sweep(child)
        writing.join(timeout=1)
    return status if status >= 0 else 128 - status


def _end_with_parent(child: subprocess.Popen[bytes], gone: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):  # unbuffered: a thread in a buffered read would break our own exit
        pass
    _signal(child, signal.SIGTERM)
    if not gone.wait(GRACE_SECONDS) and os.name == "posix":
        _signal(child, signal.SIGKILL)


def _reap(child: subprocess.Popen[bytes]) -> int:
    """Waits for the child. Orphans of its own end up with us, and would stay as zombies."""
    if os.name != "posix":
        return child.wait()
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode


def _sweep(child: subprocess.Popen[bytes]) -> None:
    """Ends what the command left behind: its process group and, on Linux, those that had left the group too."""
    if os.name != "posix":
        return
    deadline = time.monotonic() + SWEEP_SECONDS
    _signal(child, signal.SIGKILL)
    # An orphan becomes ours when its parent is gone, so one look is not enough.
    while time.monotonic() < deadline and (left := _children()):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def _children() -> list[int]:
    """Processes whose parent we are; none where the system has no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            if int(stat.rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(entry.name))
    return found


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(child.pid, number)
        else:
            child.terminate()


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _die_with_guard() -> None:
    """In the child, before it becomes the command: should the guard be killed, the system kills the command."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _log(path: Path) -> RotatingFileHandler:
    logging.raiseExceptions = False  # a full disk must not stop the reading, without which ComfyUI would stand still
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=OLD_LOGS, encoding="utf-8")
    handler.terminator = ""
    if path.stat().st_size:
        handler.doRollover()
    return handler


def _write(child: subprocess.Popen[bytes], log: RotatingFileHandler) -> None:
    assert child.stdout
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    # By pieces, not by lines: a progress bar prints thousands of characters before it ends its line.
    while piece := os.read(child.stdout.fileno(), 1 << 16):
        log.handle(logging.makeLogRecord({"msg": decoder.decode(piece)}))


if __name__ == "__main__":
    sys.exit(main())
