"""An OpenAI-compatible chat endpoint on loopback that does what a script says, faults included, and keeps what it got.

What it does is chosen by the first word of a question's text, so that one batch can meet several faults at once.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PROMPT_TOKENS, COMPLETION_TOKENS = 1000, 100
"""What it says that each reply took."""


@dataclass(frozen=True)
class Say:
    """A reply."""

    text: str | None = '{"score": 7, "reason": "it is so"}'
    finish: str | None = "stop"
    refusal: str | None = None
    after_s: float = 0.0
    usage: bool = True


@dataclass(frozen=True)
class Status:
    """A refusal of HTTP's."""

    code: int
    message: str = "no"
    headers: Mapping[str, str] = field(default_factory=dict)
    error_code: str | None = None


@dataclass(frozen=True)
class Raw:
    """A body of its own."""

    body: str | bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """Nothing at all."""


@dataclass(frozen=True)
class Drip:
    """A byte every tenth of a second, for ever."""


@dataclass(frozen=True)
class Reset:
    """The connection breaks in the middle of the reply."""


Deed = Say | Status | Raw | Hang | Drip | Reset


@dataclass(frozen=True)
class Got:
    """A request."""

    at: float
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def word(self) -> str:
        return _text(self.body["messages"], "user").split()[0]

    @property
    def picture_urls(self) -> list[str]:
        contents = [message["content"] for message in self.body["messages"]]
        parts = [part for content in contents if isinstance(content, list) for part in content]
        return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


class Endpoint:
    """The server, in a thread of its own. Use it as a context."""

    def __init__(self, deeds: Mapping[str, Sequence[Deed]] | None = None, default: Deed | None = None) -> None:
        """
        Args:
            deeds: what happens at each request by the question's first word, or by a pattern that is found in its
                text; the last deed is repeated.
        """
        self._deeds = {word: list(listed) for word, listed in (deeds or {}).items()}
        self._default = default or Say()
        self.requests: list[Got] = []
        self.now = self.most_at_once = 0
        self.gone_early = 0
        """Requests whose client left before the reply."""
        self.url = ""

    def asked(self, word: str) -> list[Got]:
        return [got for got in self.requests if got.word == word]

    def __enter__(self) -> Endpoint:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=2**28)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=512)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"  # type: ignore[union-attr]
        started.set()
        await self._ended.wait()
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        got = Got(time.time(), dict(request.headers), await request.json())
        self.requests.append(got)
        self.now += 1
        self.most_at_once = max(self.most_at_once, self.now)
        try:
            return await self._do(self._next(got), request, got)
        except asyncio.CancelledError:
            self.gone_early += 1
            raise
        finally:
            self.now -= 1

    def _next(self, got: Got) -> Deed:
        listed = self._deeds.get(got.word)
        if not listed:
            text = _text(got.body["messages"], "user")
            listed = next((deeds for pattern, deeds in self._deeds.items() if re.search(pattern, text, re.S)), None)
        if not listed:
            return self._default
        return listed.pop(0) if len(listed) > 1 else listed[0]

    async def _do(self, deed: Deed, request: web.Request, got: Got) -> web.StreamResponse:
        match deed:
            case Say():
                await asyncio.sleep(deed.after_s)
                return web.json_response(_completion(deed, got))
            case Status():
                error = {"message": deed.message, "type": "error", "code": deed.error_code}
                return web.json_response({"error": error}, status=deed.code, headers=deed.headers)
            case Raw():
                body = deed.body if isinstance(deed.body, bytes) else deed.body.encode()
                return web.Response(body=body, content_type=deed.content_type, headers=deed.headers)
            case Hang():
                await asyncio.sleep(3600)
        response = web.StreamResponse(headers={"content-type": "application/json", "content-length": "100000"})
        await response.prepare(request)
        if isinstance(deed, Reset):
            await response.write(b'{"id": "x", "choi')
            assert request.transport is not None
            request.transport.abort()
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.1)


def _completion(deed: Say, got: Got) -> dict[str, Any]:
    text = deed.text
    if text is not None:
        # What a hostile service could do with what it was sent.
        text = text.replace("{authorization}", got.headers.get("Authorization", "none"))
    message = {"role": "assistant", "content": text, "refusal": deed.refusal}
    completion: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": got.body["model"] + "-2026-01-01",
        "choices": [{"index": 0, "message": message, "finish_reason": deed.finish}],
    }
    if deed.usage:
        total = PROMPT_TOKENS + COMPLETION_TOKENS
        counted = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS, "total_tokens": total}
        completion["usage"] = counted
    return completion


def _text(messages: Sequence[dict[str, Any]], role: str) -> str:
    """All that the first message of a role says in words."""
    content = next(message["content"] for message in messages if message["role"] == role)
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part["type"] == "text")
