"""HTTP to one server, which may be anything: every answer has an end, a size and no way to send us elsewhere.

Used by `client.py`, and by `events.py` for its connection. Knows logins and certificates, and nothing of ComfyUI.
"""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ..errors import ServerFault, ServerGone, ServerLocked
from ..terminal import plain
from .deadlines import Deadline, deadline, hold
from .logins import Login, locked_by

CONNECT_SECONDS = 5.0
"""A server that is there takes a connection at once."""

HANDSHAKE_SECONDS = 10.0
"""For a socket that stays open, from connecting to the server's consent."""

_GATEWAY_TROUBLE = (502, 503, 504)
_REPEATS = 3
_CODINGS = {"gzip", "x-gzip", "deflate"}


@dataclass(frozen=True)
class Bounds:
    """What an answer may cost."""

    silence: float
    """Seconds without a byte."""
    seconds: float
    """From connecting to the last byte, repetitions and all."""
    size: int
    """Bytes, packed and unpacked."""
    rate: int = 0
    """Bytes that give it another second, there or back; 0 where nothing does."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    data: bytes


class Transport:
    """The way to one server."""

    def __init__(self, url: str, login: Login | None):
        """
        Args:
            url: without a slash at its end.
        """
        self.url = url
        self._login = login
        self._tls = login.tls() if login else ssl.create_default_context()
        self._pool = urllib3.PoolManager(maxsize=8, retries=False, ssl_context=self._tls)
        self._pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        self.cut = False
        """Ends what is being asked, in all threads, and has nothing asked any more, while it is True."""

    def request(
        self, method: str, path: str, bounds: Bounds, headers: dict[str, str] | None = None, **content: Any
    ) -> Answer:
        """Asks; GETs, and connections that were never made, are repeated where a gateway or the network failed.

        Args:
            content: `body` or `fields`, as urllib3 takes them.

        Raises:
            ServerGone: nothing answers, or the connection broke.
            ServerLocked: the server wants a login, sends us elsewhere, or its certificate is unknown.
            ServerFault: the answer does not come to an end, or is too large.
        """
        sent = {**(headers or {}), **self.headers()}
        with deadline(bounds.seconds, lambda: self.cut) as watch:
            number = 0
            while True:
                try:
                    answer = self._once(method, path, bounds, sent, content, watch)
                    # An end that we made looks like the end of headers, or of a body of no known length.
                    repeat = method == "GET" and answer.status in _GATEWAY_TROUBLE and number < _REPEATS
                    if not (repeat or watch.expired):
                        return answer
                except urllib3.exceptions.HTTPError as error:
                    if watch.expired or isinstance(error, urllib3.exceptions.ReadTimeoutError):
                        raise ServerFault(f"{self.url} did not answer {_bare(path)} in time") from None
                    if isinstance(error, urllib3.exceptions.SSLError):
                        raise self._untrusted(error) from None
                    unmade = isinstance(
                        error, urllib3.exceptions.ConnectTimeoutError | urllib3.exceptions.NewConnectionError
                    )
                    if number or not (unmade or method == "GET"):
                        raise ServerGone(f"no ComfyUI answers at {self.url} ({type(error).__name__})") from None
                if watch.expired:
                    raise ServerFault(f"{self.url} did not answer {_bare(path)} in time")
                time.sleep(0.2 * 2**number)
                number += 1

    def connect(self) -> socket.socket:
        """A connection for a websocket. The caller holds a deadline over it.

        Raises:
            OSError: there is none.
        """
        if self.cut:
            raise OSError("not asked any more")
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        raw = socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS)
        try:
            with raw.dup() as handle:  # of the connection, which lasts when `raw` becomes another object
                hold(handle)
                found = self._tls.wrap_socket(raw, server_hostname=parts.hostname) if parts.scheme == "https" else raw
                hold(found)
        except BaseException:
            raw.close()
            raise
        return found

    def headers(self) -> dict[str, str]:
        """What lets us in.

        Raises:
            ServerLocked: the login's key is not to be had now.
        """
        return self._login.headers() if self._login else {}

    def _once(
        self,
        method: str,
        path: str,
        bounds: Bounds,
        headers: dict[str, str],
        content: dict[str, Any],
        watch: Deadline,
    ) -> Answer:
        if self.cut:
            raise ServerGone(f"{self.url} is not asked any more")
        response = self._pool.request(
            method,
            self.url + quote(path, safe="/?&=%+"),
            headers=headers,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=bounds.silence),
            redirect=False,
            preload_content=False,
            **content,
        )
        whole = False
        try:
            if response.status in (401, 407) or 300 <= response.status < 400:
                raise ServerLocked(locked_by(self.url, response.status, response.headers.get("Location"), self._login))
            data = self._read(response, path, bounds, watch)
            whole = True
        finally:
            if not whole:
                response.close()  # what is left of it would be taken for the next answer
        return Answer(response.status, data)

    def _read(self, response: urllib3.BaseHTTPResponse, path: str, bounds: Bounds, watch: Deadline) -> bytes:
        """The body. We ask for plain ones; some gateways pack them all the same."""
        name = (response.headers.get("Content-Encoding") or "identity").strip().lower()
        if name not in _CODINGS and name != "identity":
            raise ServerFault(f"{self.url} answered {_bare(path)} packed as {plain(name)[:40]}, which nobody asked for")
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32) if name in _CODINGS else None
        come = 0
        # One buffer, which becomes the answer without a copy. Closed, as a fault that somebody keeps keeps this frame.
        with io.BytesIO() as found:
            while piece := response.read(1 << 16, decode_content=False):
                come += len(piece)
                if bounds.rate:
                    watch.extend(len(piece) / bounds.rate)
                try:
                    for part in _unpacked(unpacker, piece) if unpacker else (piece,):
                        found.write(part)
                        if max(come, found.tell()) > bounds.size:
                            raise self._too_large(path, bounds)
                except zlib.error as error:
                    raise ServerFault(f"{self.url} answered {_bare(path)} with damaged {name} ({error})") from None
            return found.getvalue()

    def _too_large(self, path: str, bounds: Bounds) -> ServerFault:
        return ServerFault(f"{self.url} answered {_bare(path)} with more than {bounds.size >> 20} MB")

    def _untrusted(self, error: urllib3.exceptions.SSLError) -> ServerFault:
        cause = error.args[0] if error.args else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ServerLocked(
                f"{self.url} has a certificate that this machine does not trust ({plain(cause.verify_message)}): name "
                "the bundle that it is in as `certificate` in servers.toml, or in SSL_CERT_FILE (docs/operators.md)"
            )
        return ServerFault(f"{self.url} does not speak https as we do ({plain(str(cause))[:100]})")


def _unpacked(unpacker: zlib._Decompress, packed: bytes) -> Iterator[bytes]:
    """What comes out, 1 MB at a time, and at last nothing."""
    while packed and not unpacker.eof:
        yield unpacker.decompress(packed, 1 << 20)
        packed = unpacker.unconsumed_tail
    yield b""


def _bare(path: str) -> str:
    return path.partition("?")[0]


class _HttpConnection(HTTPConnection):
    """Under the deadline of the thread that uses it, also while a response is read that it has let go of."""

    def connect(self) -> None:
        super().connect()
        hold(self.sock)

    def request(self, *arguments: Any, **options: Any) -> None:
        if self.sock is not None:
            hold(self.sock)
        super().request(*arguments, **options)


class _HttpsConnection(_HttpConnection, HTTPSConnection):
    """As the other, from the handshake on."""

    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        raw = super()._new_conn()
        self._handle = raw.dup()
        hold(self._handle)
        return raw

    def connect(self) -> None:
        try:
            super().connect()
        finally:
            if self._handle is not None:
                with contextlib.closing(self._handle):
                    self._handle = None


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
