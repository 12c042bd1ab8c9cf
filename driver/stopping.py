"""How the user ends a run: what a first signal does in which phase, and that a second one ends it whatever hangs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from .terminal import say

FUSE_SECONDS = 1.5
"""What is left for cancelling prompts and closing files after a second signal. Ours. All that is on disk outlives a kill."""

STOPPED = 130
"""Exit status of a command that was stopped."""


class StopRequest:
    """How firmly the user wants the run to stop: 0 not, 1 finish what runs, 2 now."""

    def __init__(self) -> None:
        self.level = 0
        self._since = 0.0
        self._orderly = 0
        self._turn = threading.Lock()
        self._raised = False

    def request(self) -> None:
        """Once more firmly."""
        self.level += 1
        self._since = self._since or time.monotonic()

    def signalled(self, _signal: int, _frame: FrameType | None) -> None:
        """The handler of SIGINT and SIGTERM.

        Raises:
            KeyboardInterrupt: in the main thread, out of whatever it waits for, where nothing is in flight.
        """
        self.request()
        if self.level == 2:
            self._light()
        elif self.level > 2:
            _burn()
        if not self._orderly and not self._raised:  # once: what is cleaned up after it must not be broken off in turn
            self._raised = True
            raise KeyboardInterrupt

    def leave(self) -> None:
        """All is said and closed: nothing, and no further signal, changes the exit status or keeps the process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self._light()

    def _light(self) -> None:
        fuse = threading.Timer(FUSE_SECONDS, _burn)
        fuse.daemon = True
        fuse.start()

    def overdue(self, seconds: float) -> bool:
        """Whether the first request is longer ago than this."""
        return self.level > 0 and time.monotonic() - self._since > seconds

    @contextmanager
    def orderly(self) -> Iterator[None]:
        """While it lasts, whoever waits looks at `level`, and nothing breaks in. May be used by several threads.

        Raises:
            KeyboardInterrupt: at its end, where the user wanted it now.
        """
        with self._turn:
            self._orderly += 1
        try:
            yield
        finally:
            with self._turn:
                self._orderly -= 1
        if self.level > 1:
            raise KeyboardInterrupt


def _burn() -> None:
    """Ends the process: servers of our own see it and go too, and a journal is whole after every kill."""
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # the cursor, which the display hides
    say(f"{Path(sys.argv[0]).name}: stopped at once; the same command goes on where it was")
    os._exit(STOPPED)
