"""A server that several stages of a recipe use: in turns, each for a while, so that its models stay loaded.

The engine sees a `Host` for each stage. While a stage has the turn nothing of others is there, so that it may start the
server again, and a server that stands still is its own affair.
"""

from __future__ import annotations

import threading
import time

from comfy_nodes.core.records import SavedFile

from .answering import Stop
from .client import ComfyServer
from .hosts import ForeignServer
from .own import OwnServer

TURN_SECONDS = 5.0
"""How long a stage that loads no weights has a server, at least, while others wait. Ours."""

WAITS_SECONDS = 1.0
"""Who has not asked for the turn for so long does not wait for it any more. Ours: whoever waits asks twenty times a second."""

LOADED_SECONDS = 90.0
"""The same of one that does: loading those of a large editor takes some ten seconds. Ours."""


class Turns:
    """Whose turn it is at one server, and how often it was started again. For the threads of all stages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: object = None
        self._since = 0.0
        self._waiting: dict[object, float] = {}
        """Who asked for the turn, in their order, and when each did last."""
        self.starting = threading.Lock()
        """Held by whoever starts the server again."""
        self.starts = 0

    def take(self, who: object, seconds: float) -> bool:
        """Whether `who` may post: it has the turn, or gets it.

        Args:
            seconds: after which it posts no more where others wait.
        """
        now = time.monotonic()
        with self._lock:
            self._waiting = {one: at for one, at in self._waiting.items() if now - at < WAITS_SECONDS}
            if self._holder is who:
                return not self._waiting or now - self._since < seconds
            self._waiting[who] = now
            if self._holder is not None or next(iter(self._waiting)) is not who:
                return False
            self._holder, self._since = who, now
            del self._waiting[who]
            return True

    def give(self, who: object) -> None:
        """`who` has it no longer."""
        with self._lock:
            if self._holder is who:
                self._holder = None


class SharedServer:
    """A server as one stage uses it."""

    def __init__(self, host: OwnServer | ForeignServer, turns: Turns):
        """
        Args:
            host: the server; of somebody else's an object of this stage's own.
            turns: all stages'.
        """
        self._host, self._turns = host, turns
        self.turn_seconds = TURN_SECONDS
        self._starts = turns.starts
        self._known = host.server
        self._server = host.connection() if isinstance(host, OwnServer) else host.server
        self.name, self.own = host.name, host.own

    @property
    def server(self) -> ComfyServer:
        """With connections of its own, so that what one stage cuts off is not another's."""
        if isinstance(self._host, OwnServer) and self._host.server is not self._known:
            self._known, self._server = self._host.server, self._host.connection()
        return self._server

    def take_turn(self) -> bool:
        """See `Host`."""
        return self._turns.take(self, self.turn_seconds)

    def give_turn(self) -> None:
        """See `Host`."""
        self._turns.give(self)

    def running(self) -> bool:
        """See `Host`."""
        return self._host.running()

    def ended(self) -> str:
        """See `Host`."""
        return self._host.ended()

    def revive(self, stop: Stop) -> bool:
        """See `Host`. One of our own is not started again where another stage has done so since."""
        if not self.own:
            return self._host.revive(stop)
        with self._turns.starting:
            back = self._starts != self._turns.starts and self._host.running()
            if not back:
                back = self._host.revive(stop)
                self._turns.starts += 1
            self._starts = self._turns.starts
            return back

    def recycle(self, stop: Stop) -> bool:
        """See `Host`; to be called while it has the turn."""
        with self._turns.starting:
            back = self._host.recycle(stop)
            self._turns.starts += 1
            self._starts = self._turns.starts
            return back

    def discard(self, uploads: list[str], files: list[SavedFile]) -> None:
        """See `Host`."""
        self._host.discard(uploads, files)

    def leave(self, run_id: str) -> None:
        """See `Host`."""
        self._host.leave(run_id)

    def stays(self) -> str:
        """See `Host`."""
        return self._host.stays()
