"""A node that waits for an endpoint as a VLM node does: on one background thread that outlives every prompt."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import cache

import torch
from comfy_api.latest import io
from openai import AsyncOpenAI

from .events import note


class CallEndpoint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BenchCallEndpoint",
            display_name="Call Endpoint (benchmark)",
            category="editpairs/benchmark",
            description="Asks an OpenAI-compatible endpoint and passes the image on. Notes how long that took.",
            is_api_node=True,
            inputs=[
                io.Image.Input("image"),
                io.String.Input("url", default="http://127.0.0.1:8000/v1", tooltip="The endpoint's address."),
                io.Int.Input("seed", default=0, min=0, max=2**53 - 1, optional=True),
            ],
            outputs=[io.Image.Output("image")],
        )

    @classmethod
    async def execute(cls, image: torch.Tensor, url: str, seed: int = 0) -> io.NodeOutput:
        begun = time.monotonic()
        waiting = asyncio.run_coroutine_threadsafe(_ask(url, seed), _loop())
        call_s = await asyncio.wrap_future(waiting)
        note("call", node_s=time.monotonic() - begun, call_s=call_s)
        return io.NodeOutput(image)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="bench-calls", daemon=True).start()
    return loop


@cache
def _client(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=120)


async def _ask(url: str, seed: int) -> float:
    """Seconds that the endpoint took."""
    begun = time.monotonic()
    await _client(url).chat.completions.create(
        model="benchmark", messages=[{"role": "user", "content": "Is it well edited?"}], seed=seed
    )
    return time.monotonic() - begun
