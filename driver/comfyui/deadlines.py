"""Ends what drags on: a socket that a server holds for longer than it may is shut, whatever still trickles through it.

A timeout of a socket begins anew with every byte, so that a byte every two seconds never ends. One thread watches all
requests of this process. Knows nothing of HTTP.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SWEEP_SECONDS = 0.1


class Deadline:
    """One answer that is waited for."""

    def __init__(self, seconds: float, cut: Callable[[], bool]):
        self._end = time.monotonic() + seconds
        self._cut = cut
        self._socket: socket.socket | None = None
        self.expired = False
        """Whether it was ended: an end of the data may then be ours."""

    def hold(self, sock: socket.socket) -> None:
        """The socket that is to be shut, in the place of an earlier one."""
        self._socket = sock

    def extend(self, seconds: float) -> None:
        """For what has arrived."""
        self._end += seconds

    def sweep(self) -> None:
        """Shuts the socket where the time is over. Again at every call: whoever uses it may have connected anew."""
        self.expired = self.expired or time.monotonic() > self._end or self._cut()
        if self.expired and self._socket is not None:
            with contextlib.suppress(OSError):  # closed meanwhile
                # Not the method of a TLS socket, which would take the encryption away from under its reader.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


_active: set[Deadline] = set()
_changed = threading.Condition()
_watcher: threading.Thread | None = None
_mine = threading.local()


@contextmanager
def deadline(seconds: float, cut: Callable[[], bool]) -> Iterator[Deadline]:
    """While it lasts, sockets that this thread `hold`s are shut after `seconds`, or as soon as `cut` says so."""
    global _watcher
    one = _mine.current = Deadline(seconds, cut)
    with _changed:
        _active.add(one)
        if _watcher is None:
            _watcher = threading.Thread(target=_watch, name="deadlines", daemon=True)
            _watcher.start()
        _changed.notify()
    try:
        yield one
    finally:
        _mine.current = None
        with _changed:
            _active.discard(one)


def hold(sock: socket.socket) -> None:
    """Puts a socket under the deadline that this thread works under, if any."""
    if (current := getattr(_mine, "current", None)) is not None:
        current.hold(sock)


def _watch() -> None:
    while True:
        with _changed:
            while not _active:
                _changed.wait()
            found = list(_active)
        for one in found:
            one.sweep()
        time.sleep(_SWEEP_SECONDS)
