"""The thread of a run of many shards that writes them, while servers are at the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from .stage import Stage


class ShardWriter:
    """Writes shards, one after the other, in a thread of its own."""

    def __init__(self, write: Callable[[Stage], None]):
        self._write = write
        self._thread = ThreadPoolExecutor(1, "write-shard")
        self._running: deque[Future[None]] = deque()
        self.error: BaseException | None = None
        """Why it writes no more."""

    def put(self, stage: Stage) -> None:
        """To be written next. Called from the threads of servers."""
        while self._running and self._running[0].done():
            self._running.popleft()
        self._running.append(self._thread.submit(self._try, stage))

    def _try(self, stage: Stage) -> None:
        if self.error:
            return
        try:
            self._write(stage)
        except BaseException as error:
            self.error = error

    def wait(self) -> None:
        """Until all is written that was put so far.

        Raises: what writing raised.
        """
        while self._running:
            self._running.popleft().result()
        if self.error:
            raise self.error

    def close(self) -> None:
        """What is not begun stays unwritten."""
        self._thread.shutdown(cancel_futures=True)
