"""Servers on loopback that answer what they are told, byte by byte if need be."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Speak = Callable[[socket.socket, bytes], None]
"""Answers one connection, whose request's head is given."""


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def speaking(speak: Speak, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that has `speak` answer every connection, one thread each; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if tls:
                connection = tls.wrap_socket(connection, server_side=True)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (piece := connection.recv(65536)):
                    head += piece
                if head:
                    speak(connection, head)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A whole answer, after which the connection is closed."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def saying(body: bytes, status: str = "200 OK", *headers: str) -> Speak:
    """Gives one answer to everything."""
    return lambda connection, _head: connection.sendall(answer(body, status, *headers))
