"""Waiting for servers in a way that ends as soon as the user wants the run to end.

What may hang is asked in threads that are left behind: name resolution and a dead address take minutes.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from ..errors import ServerFault, ServerGone
from .client import ComfyServer

PROBE_SECONDS = 10
"""How long a server may take to say that it is there. Ours: validating a large graph holds ComfyUI's loop for seconds."""

Stop = Callable[[], bool]
"""Says whether the user wants the run to end: then waiting ends too."""

_Result = TypeVar("_Result")


def never() -> bool:
    """A `Stop` for whoever wants to wait to the end."""
    return False


def trouble(server: ComfyServer, stop: Stop = never) -> ServerFault | None:
    """Why it does not answer as a ComfyUI within `PROBE_SECONDS`, and before `stop`; None where it does."""
    answer: queue.Queue[ServerFault | None] = queue.Queue()

    def ask() -> None:
        try:
            server.system_stats()
        except ServerFault as fault:
            answer.put(fault)
        else:
            answer.put(None)

    threading.Thread(target=ask, name="probe-server", daemon=True).start()
    deadline = time.monotonic() + PROBE_SECONDS
    while time.monotonic() < deadline and not stop():
        with contextlib.suppress(queue.Empty):
            return answer.get(timeout=0.1)
    return ServerGone(f"{server.url} did not answer within {PROBE_SECONDS} s")


def at_once(works: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """Does all of it at the same time, each in a thread of its own; results in their order.

    Raises:
        BaseException: what the first of them raised that raised anything.
    """
    done: queue.Queue[tuple[int, _Result | None, BaseException | None]] = queue.Queue()

    def do(number: int) -> None:
        try:
            done.put((number, works[number](), None))
        except BaseException as error:
            done.put((number, None, error))

    for number in range(len(works)):
        threading.Thread(target=do, args=(number,), name="at-once", daemon=True).start()
    found = sorted((done.get() for _ in works), key=lambda one: one[0])
    for _, _, error in found:
        if error is not None:
            raise error
    return [cast(_Result, result) for _, result, _ in found]


def sleep(seconds: float, stop: Stop) -> None:
    """Sleeps, at most until `stop`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not stop():
        time.sleep(0.05)
