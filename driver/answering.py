"""Waiting for a server to answer, in a way that ends as soon as the user wants the run to end."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable

from .comfy import ComfyServer
from .failures import ServerFault

PROBE_SECONDS = 10
"""How long a server may take to say that it is there. Ours: validating a large graph holds ComfyUI's loop for seconds."""

Stop = Callable[[], bool]
"""Says whether the user wants the run to end: then waiting ends too."""


def never() -> bool:
    """A `Stop` for whoever wants to wait to the end."""
    return False


def answers(server: ComfyServer, stop: Stop = never) -> bool:
    """Whether it answers within `PROBE_SECONDS`, and before `stop`.

    Asked in a thread that is left behind when nothing comes: giving up on a dead address takes minutes.
    """
    answer: queue.Queue[bool] = queue.Queue()

    def ask() -> None:
        try:
            server.system_stats()
        except ServerFault:
            answer.put(False)
        else:
            answer.put(True)

    threading.Thread(target=ask, name="probe-server", daemon=True).start()
    deadline = time.monotonic() + PROBE_SECONDS
    while time.monotonic() < deadline and not stop():
        with contextlib.suppress(queue.Empty):
            return answer.get(timeout=0.1)
    return False


def sleep(seconds: float, stop: Stop) -> None:
    """Sleeps, at most until `stop`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not stop():
        time.sleep(0.05)
