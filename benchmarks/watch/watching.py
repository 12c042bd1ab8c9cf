"""Wraps two of ComfyUI's functions and tells at `GET /editpairs-watch` what went through them."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.samplers
import comfy.utils
import torch
from aiohttp import web
from comfy_api.latest import ComfyExtension, io
from server import PromptServer

denoising: list[float] = []
"""Seconds of each run of a sampler, models being loaded already, until the card is through with it."""

read: Counter[str] = Counter()
"""How often each file of weights was read."""


def _settled() -> None:
    if comfy.model_management.get_torch_device().type == "cuda":
        torch.cuda.synchronize()


def _timed(sample: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(sample)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        _settled()
        begun = time.perf_counter()
        found = sample(*args, **kwargs)
        _settled()
        denoising.append(time.perf_counter() - begun)
        return found

    return wrapped


def _counted(load: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(load)
    def wrapped(path: Any, *args: Any, **kwargs: Any) -> Any:
        read[Path(path).name] += 1
        return load(path, *args, **kwargs)

    return wrapped


async def _told(_request: web.Request) -> web.Response:
    return web.json_response({"denoising": denoising, "read": read})


class WatchExtension(ComfyExtension):
    """Nothing for graphs."""

    async def on_load(self) -> None:
        guider = comfy.samplers.CFGGuider
        guider.inner_sample = _timed(guider.inner_sample)
        comfy.utils.load_torch_file = _counted(comfy.utils.load_torch_file)
        PromptServer.instance.routes.get("/editpairs-watch")(_told)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return []
