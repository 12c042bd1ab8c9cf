"""The one event loop that all endpoint calls of this process run on, in a thread of its own.

ComfyUI gives each prompt an event loop and blocks it whenever a synchronous node works: a client awaited there starves
beside edits and its connections die with their first prompt. Nodes wait here for what happens over there.
"""

from __future__ import annotations

import asyncio
import atexit
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

POLL_S = 0.1
"""How often it is looked whether stop was pressed. Ours: stop has to work within a second."""

CLOSE_S = 1.0
"""Seconds that closing connections may take when the process ends. Ours."""

T = TypeVar("T")

_starting = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_waiting: set[asyncio.Future[Any]] = set()
_watch: asyncio.Task[type[BaseException] | None] | None = None


async def result_of(work: Coroutine[Any, Any, T]) -> T:
    """Awaits `work`, which runs on the background loop, from any other loop.

    When the waiting task is cancelled, or the user presses stop, so is the work.

    Raises:
        comfy.model_management.InterruptProcessingException: the user pressed stop.
    """
    running = asyncio.run_coroutine_threadsafe(_until_stopped(work), _the_loop())
    try:
        # Nothing between us and the result: each further step would wait for a turn of a loop that edits block.
        return await asyncio.wrap_future(running)
    finally:
        running.cancel()


def at_exit(close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Has `close` run on the background loop when the process ends."""
    atexit.register(lambda: asyncio.run_coroutine_threadsafe(close(), _the_loop()).result(CLOSE_S))


async def _until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """Looks for the stop button on the background loop, where no edit delays it; one look for all that wait."""
    global _watch
    task = asyncio.ensure_future(work)
    if _watch is None or _watch.done():
        _watch = asyncio.ensure_future(_stopped())
    watch = _watch
    _waiting.add(task)
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and (interruption := watch.result()):
            raise interruption()
        return task.result()
    finally:
        _waiting.discard(task)
        task.cancel()


async def _stopped() -> type[BaseException] | None:
    """What to raise once the user has pressed stop; None when nothing waits any more."""
    while _waiting:
        await asyncio.sleep(POLL_S)
        if interruption := _interruption():
            return interruption
    return None


def _the_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _starting:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="EditPairs VLM calls", daemon=True).start()
        return _loop


def _interruption() -> type[BaseException] | None:
    # Only where ComfyUI runs: there it was imported long ago, and elsewhere nobody can press stop.
    comfyui = sys.modules.get("comfy.model_management")
    # Not cleared: every other node that waits has to see it too, and ComfyUI clears it before its next prompt.
    if comfyui is None or not comfyui.processing_interrupted():
        return None
    kind: type[BaseException] = comfyui.InterruptProcessingException
    return kind
