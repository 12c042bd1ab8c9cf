"""An OpenAI-compatible endpoint that takes a set time for every answer and any number of questions at once."""

from __future__ import annotations

import asyncio
import threading
import time
from types import TracebackType

from aiohttp import web


class SlowEndpoint:
    """Answers `/v1/chat/completions` on loopback from a thread of its own; used as a context manager."""

    def __init__(self, seconds: float):
        """
        Args:
            seconds: what an answer takes.
        """
        self.url = ""
        self._seconds = seconds
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> SlowEndpoint:
        self._thread.start()
        if not self._up.wait(20):
            raise RuntimeError("the endpoint did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    async def _serve(self) -> None:
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.5, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._up.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        await asyncio.sleep(self._seconds)
        return web.json_response(
            {
                "id": "chatcmpl-0", "object": "chat.completion", "created": int(time.time()), "model": asked["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        )  # fmt: skip
