"""Listens on a ComfyUI's socket: which prompts ended, which sinks ran, and that something moves at all.

Only hints: whoever waits polls too, so losing every message costs seconds and nothing else.
"""

from __future__ import annotations

import json
import queue
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import websocket

from ..errors import ServerFault
from .client import ComfyServer
from .deadlines import deadline
from .transport import HANDSHAKE_SECONDS

_AT_ONCE = 64 << 10
"""Bytes that are taken from the connection at a time. Ours."""

MESSAGE_BYTES = 64 << 20
"""Of one message, at most. Ours: previews and the state of a pack's nodes have some megabytes."""

_BEGUN, _WENT_WELL = "execution_start", "execution_success"

_LATEST = 2**53
"""Milliseconds; what is later is no time. Ours."""


@dataclass(frozen=True)
class Ended:
    """The server is through with a prompt, and its history is written."""

    prompt_id: str
    seconds: float | None
    """Execution time, where the prompt went well and all that was said of it was heard."""


@dataclass(frozen=True)
class Ran:
    """A node that saves or shows something has done so."""

    prompt_id: str
    node_id: str


@dataclass(frozen=True)
class Closed:
    """The connection broke: the server may be gone."""


Event = Ended | Ran | Closed


class PromptEvents:
    """One connection at a time, each with a client id of its own: ComfyUI may deafen a second socket with the same id."""

    def __init__(self, server: ComfyServer, told: Callable[[str], bool] = lambda node_id: True):
        """
        Args:
            told: of which nodes it is told that they ran.
        """
        self._told = told
        self._url = server.url.replace("http", "ws", 1)
        self._transport = server.transport
        self._events: queue.Queue[Event] = queue.Queue()
        self._closed = threading.Event()
        self._socket: websocket.WebSocket | None = None
        self._tried = threading.Event()
        self._timed = _Timed()
        self.client_id = ""
        self.heard = time.monotonic()
        """When the last message came."""
        self._thread = threading.Thread(target=self._listen, name="comfy-socket", daemon=True)
        self._thread.start()
        self._tried.wait(5)

    def wait(self, seconds: float) -> Event | None:
        """What happened next, or None after `seconds`."""
        try:
            return self._events.get(timeout=seconds)
        except queue.Empty:
            return None

    def close(self) -> None:
        self._closed.set()
        if self._socket is not None:
            self._socket.abort()
        self._thread.join(timeout=2)

    def _listen(self) -> None:
        while not self._closed.is_set():
            self.client_id = uuid.uuid4().hex
            try:
                self._socket = self._connect()
                self._tried.set()
                while not self._closed.is_set():
                    self._read(self._socket.recv())
            except (OSError, ServerFault, websocket.WebSocketException, AttributeError, ValueError, RecursionError):
                self._tried.set()
                self._events.put(Closed())
                self._closed.wait(1)

    def _connect(self) -> websocket.WebSocket:
        """With the login and the certificate of the server's other requests; a redirect is a refusal."""
        with deadline(HANDSHAKE_SECONDS, lambda: self._closed.is_set() or self._transport.cut):
            # Decoding finds what is no UTF-8, in a hundredth of the time that the library's own look takes.
            made: websocket.WebSocket = _BoundedSocket(skip_utf8_validation=True)
            made.connect(
                f"{self._url}/ws?clientId={self.client_id}",
                socket=self._transport.connect(),
                header=[f"{name}: {value}" for name, value in self._transport.headers().items()],
                suppress_origin=True,
                redirect_limit=0,
            )
        if made.status != 101:
            made.shutdown()
            raise websocket.WebSocketException("no socket")
        made.settimeout(None)
        return made

    def _read(self, message: str | bytes) -> None:
        self.heard = time.monotonic()
        # The state of all nodes comes with every step; of a pack it is long, and nobody reads it here. Which node runs
        # is told as often.
        if not isinstance(message, str) or '"execut' not in message[:24]:
            return
        if '"executing"' in message[:24] and "null" not in message:
            return
        event = json.loads(message)
        data, kind = event.get("data", {}), event.get("type")
        prompt_id = str(data.get("prompt_id", ""))
        # `execution_success` comes before the history is written; a null node comes after it.
        if kind == "executing" and data.get("node") is None:
            self._events.put(Ended(prompt_id, self._timed.seconds(prompt_id)))
        elif kind == "executed":
            if self._told(node_id := str(data.get("node", ""))):
                self._events.put(Ran(prompt_id, node_id))
        elif kind in (_BEGUN, _WENT_WELL):
            self._timed.heard(prompt_id, kind, data.get("timestamp"))


class _Timed:
    """When a prompt began and went well, by the server's clock. It runs one at a time, so the last one is all that counts."""

    def __init__(self) -> None:
        self._prompt_id = ""
        self._times: dict[str, float] = {}
        """Milliseconds, by the message that told them."""

    def heard(self, prompt_id: str, kind: str, timestamp: Any) -> None:
        if prompt_id != self._prompt_id:
            self._prompt_id, self._times = prompt_id, {}
        if isinstance(timestamp, int | float):
            self._times[kind] = timestamp

    def seconds(self, prompt_id: str) -> float | None:
        """How long it took; None where that is not known, or it did not go well."""
        begun, ended = (self._times.get(kind, 0) for kind in (_BEGUN, _WENT_WELL))
        known = prompt_id == self._prompt_id and 0 < begun <= ended < _LATEST
        return (ended - begun) / 1000 if known else None


class _BoundedSocket(websocket.WebSocket):
    """Takes no endless message, and takes from the connection what is there, where the library asks for the two bytes of a
    frame's head, for its length and for the rest."""

    _taken = 0
    _ahead = memoryview(b"")

    def recv(self) -> str | bytes:
        self._taken = 0
        return super().recv()

    def _recv(self, size: int) -> bytes:
        if not self._ahead:
            self._ahead = memoryview(super()._recv(_AT_ONCE))  # type: ignore[no-untyped-call]
        data, self._ahead = bytes(self._ahead[:size]), self._ahead[size:]
        self._taken += len(data)
        if self._taken > MESSAGE_BYTES:
            raise ValueError("a message without an end")
        return data
