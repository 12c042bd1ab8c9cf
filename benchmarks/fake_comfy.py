"""A ComfyUI that edits nothing: `python benchmarks/fake_comfy.py --port P --object-info FILE --folder DIR`.

Answers what the driver asks in ComfyUI 0.30's shapes and runs prompts one after another. It forgets uploads, queue and
history when it ends, as the real one does; what sinks wrote stays in its folder. Besides, `GET /fake` says what it was
asked, `GET /fake/counts` how much of it, in no time, and `POST /fake {"zombie": true}` makes it take prompts and finish
none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil
from aiohttp import web

from benchmarks.fake_engine import INGREDIENTS, SINKS, SOURCE, FakeEngine, Graph, NodeError
from comfy_nodes.core.ingredients import ROUTE

HISTORY = 10_000
"""Prompts that ComfyUI remembers (execution.py, MAXIMUM_HISTORY_SIZE)."""


@dataclass(frozen=True)
class _Prompt:
    id: str
    graph: Graph
    client: str


class FakeComfy:
    """Queue, history and sockets of the one server of this process."""

    def __init__(self, object_info: bytes, engine: FakeEngine, zombie_after: int | None):
        """
        Args:
            zombie_after: samples after which it finishes nothing more.
        """
        self._object_info = object_info
        self._engine = engine
        self._zombie_after = zombie_after
        self._queue: deque[_Prompt] = deque()
        self._running: _Prompt | None = None
        self._history: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._cancelled: set[str] = set()
        self._uploads: set[str] = set()
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._zombie = False
        self._wake = asyncio.Event()
        self._prompts = 0
        self._first_prompt_at: float | None = None
        self._last_end_at: float | None = None
        self._zombie_since: float | None = None

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**28)
        get, post = web.get, web.post
        app.add_routes(
            [
                get("/ws", self._socket), get("/system_stats", _system_stats), get("/object_info", self._nodes),
                get("/prompt", self._remaining), post("/prompt", self._prompt), get("/queue", self._queued),
                get("/api/jobs/{id}", self._job), post("/api/jobs/cancel", self._cancel),
                get("/history/{id}", self._past), post("/history", self._forget), post("/upload/image", self._upload),
                get("/view", self._view), post("/free", _ok), post("/interrupt", _ok), post("/queue", _ok),
                get("/experiment/models", _nothing), get("/experiment/models/{folder}", _nothing),
                post(ROUTE, _ingredients), get("/fake", self._told), post("/fake", self._told_to),
                get("/fake/counts", self._counted),
            ]
        )  # fmt: skip
        app.cleanup_ctx.append(self._worker)
        return app

    async def _worker(self, _app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._work())
        yield
        task.cancel()

    async def _work(self) -> None:
        while True:
            while self._zombie or not self._queue:
                self._wake.clear()
                await self._wake.wait()
            prompt = self._running = self._queue.popleft()
            self._history[prompt.id] = await self._execute(prompt)
            while len(self._history) > HISTORY:
                self._history.popitem(last=False)
            self._running = None
            self._last_end_at = time.time()
            await self._send(prompt, "executing", node=None)

    async def _execute(self, prompt: _Prompt) -> dict[str, Any]:
        """Runs a prompt's samples in their order; its job as `/api/jobs` shows it."""
        job: dict[str, Any] = {"id": prompt.id, "status": "completed", "execution_start_time": _now_ms()}
        outputs: dict[str, Any] = {}
        await self._send(prompt, "execution_start", timestamp=job["execution_start_time"])
        try:
            for sink in [node_id for node_id, node in prompt.graph.items() if node["class_type"] in SINKS]:
                while self._zombie:
                    self._wake.clear()
                    await self._wake.wait()
                if prompt.id in self._cancelled:
                    job["status"] = "cancelled"
                    break
                outputs[sink] = await self._engine.run(prompt.graph, sink)
                await self._send(prompt, "executed", node=sink, display_node=sink, output=outputs[sink])
                if self._zombie_after is not None and self._engine.samples >= self._zombie_after:
                    self._die_inside(True)
                    self._zombie_after = None
        except NodeError as error:
            job["status"] = "failed"
            job["execution_error"] = {
                "prompt_id": prompt.id, "node_id": error.node_id,
                "node_type": prompt.graph[error.node_id]["class_type"], "executed": [], "traceback": [],
                "exception_type": error.exception_type, "exception_message": f"{error}\n",
                "current_inputs": {}, "current_outputs": [],
            }  # fmt: skip
        ended = _now_ms()
        if job["status"] == "completed":
            await self._send(prompt, "execution_success", timestamp=ended)
        return job | {"outputs": outputs, "outputs_count": len(outputs), "execution_end_time": ended}

    async def _send(self, prompt: _Prompt, kind: str, **data: Any) -> None:
        socket = self._sockets.get(prompt.client)
        if socket is not None and not socket.closed:
            with contextlib.suppress(ConnectionError):  # it closes just now
                await socket.send_json({"type": kind, "data": {**data, "prompt_id": prompt.id}})

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query.get("clientId", "")
        self._sockets[client] = socket
        try:
            await socket.send_json({"type": "status", "data": {"sid": client}})
            async for _message in socket:
                pass
        finally:
            # As ComfyUI does it: this deafens a second socket with the same id.
            self._sockets.pop(client, None)
        return socket

    async def _nodes(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._object_info, content_type="application/json")

    async def _remaining(self, _request: web.Request) -> web.Response:
        waiting = len(self._queue) + (self._running is not None)
        return web.json_response({"exec_info": {"queue_remaining": waiting}})

    async def _prompt(self, request: web.Request) -> web.Response:
        asked = await request.json()
        prompt = _Prompt(asked["prompt_id"], asked["prompt"], asked.get("client_id", ""))
        self._first_prompt_at = self._first_prompt_at or time.time()
        for node_id, node in prompt.graph.items():
            image = node["inputs"].get("image")
            if node["class_type"] == SOURCE and image not in self._uploads:
                return _invalid(node_id, image)
        self._prompts += 1
        repeated = self._state(prompt.id) is not None
        self._queue.append(prompt)
        self._wake.set()
        if repeated:
            # What a repeated (number, prompt_id) does to the real one: its worker dies, its HTTP lives on.
            self._die_inside(True)
            return web.Response(status=500, text="500 Internal Server Error")
        return web.json_response({"prompt_id": prompt.id, "number": self._prompts - 1, "node_errors": {}})

    def _state(self, prompt_id: str) -> str | None:
        if self._running and self._running.id == prompt_id:
            return "in_progress"
        return "pending" if any(one.id == prompt_id for one in self._queue) else None

    async def _job(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["id"]
        if prompt_id in self._history:
            return web.json_response(self._history[prompt_id])
        state = self._state(prompt_id)
        if state is None:
            return web.json_response({"error": "Job not found"}, status=404)
        return web.json_response({"id": prompt_id, "status": state, "outputs_count": 0})

    async def _past(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["id"]
        job = self._history.get(prompt_id)
        if job is None:
            return web.json_response({})
        completed = job["status"] == "completed"
        status = {"status_str": "success" if completed else "error", "completed": completed, "messages": []}
        return web.json_response({prompt_id: {"outputs": job["outputs"], "status": status}})

    async def _queued(self, _request: web.Request) -> web.Response:
        running = [[0, self._running.id]] if self._running else []
        return web.json_response({"queue_running": running, "queue_pending": [[0, one.id] for one in self._queue]})

    async def _cancel(self, request: web.Request) -> web.Response:
        known = {one for one in (await request.json())["job_ids"] if self._state(one)}
        self._cancelled |= known
        self._queue = deque(one for one in self._queue if one.id not in known)
        return web.json_response({"cancelled": bool(known)})

    async def _forget(self, request: web.Request) -> web.Response:
        for prompt_id in (await request.json()).get("delete", []):
            self._history.pop(prompt_id, None)
        return web.Response()

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        image, subfolder, kind = form["image"], form.get("subfolder", ""), form.get("type", "input")
        assert isinstance(image, web.FileField)
        assert isinstance(subfolder, str)
        self._uploads.add(f"{subfolder}/{image.filename} [{kind}]")
        return web.json_response({"name": image.filename, "subfolder": subfolder, "type": kind})

    async def _view(self, request: web.Request) -> web.Response:
        body = self._engine.file(request.query.get("subfolder", ""), request.query["filename"])
        return web.Response(status=404) if body is None else web.Response(body=body)

    async def _told(self, _request: web.Request) -> web.Response:
        executed = dict(self._engine.executed.most_common(HISTORY))
        return web.json_response(self._counts() | {"executed": executed, "zombie_since": self._zombie_since})

    async def _counted(self, _request: web.Request) -> web.Response:
        return web.json_response(self._counts())

    def _counts(self) -> dict[str, Any]:
        return {
            "prompts": self._prompts, "samples": self._engine.samples,
            "first_prompt_at": self._first_prompt_at, "last_end_at": self._last_end_at,
        }  # fmt: skip

    async def _told_to(self, request: web.Request) -> web.Response:
        self._die_inside(bool((await request.json())["zombie"]))
        return web.Response()

    def _die_inside(self, zombie: bool) -> None:
        """Whether it finishes nothing from now on."""
        self._zombie = zombie
        self._zombie_since = time.time() if zombie else None
        self._wake.set()


async def _system_stats(_request: web.Request) -> web.Response:
    memory = psutil.virtual_memory()
    system = {"os": "linux", "ram_total": memory.total, "ram_free": memory.available, "comfyui_version": "0.30.0",
              "python_version": sys.version, "pytorch_version": "none", "embedded_python": False, "argv": []}  # fmt: skip
    device = {"name": "cpu", "type": "cpu", "index": None, "vram_total": memory.total, "vram_free": memory.available,
              "torch_vram_total": memory.total, "torch_vram_free": memory.available}  # fmt: skip
    return web.json_response({"system": system, "devices": [device]})


async def _ok(_request: web.Request) -> web.Response:
    return web.Response()


async def _ingredients(_request: web.Request) -> web.Response:
    return web.json_response(text=INGREDIENTS.model_dump_json())


async def _nothing(_request: web.Request) -> web.Response:
    return web.json_response([])


def _invalid(node_id: str, image: object) -> web.Response:
    """ComfyUI's answer where an image is not there."""
    error = {"type": "custom_validation_failed", "message": "Custom validation failed for node",
             "details": f"image - Invalid image file: {image}", "extra_info": {}}  # fmt: skip
    outer = {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation", "details": "",
             "extra_info": {}}  # fmt: skip
    node = {"errors": [error], "dependent_outputs": [], "class_type": SOURCE}
    return web.json_response({"error": outer, "node_errors": {node_id: node}}, status=400)


def _now_ms() -> int:
    return int(time.time() * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description="A ComfyUI that edits nothing.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--object-info", type=Path, required=True, metavar="FILE", help="a real server's /object_info")
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="where what sinks write is kept")
    parser.add_argument("--seconds", type=float, default=0.0, help="what a sample takes; default: 0")
    parser.add_argument("--zombie-after", type=int, metavar="N", help="finish nothing after N samples")
    options = parser.parse_args()

    async def app() -> web.Application:
        engine = FakeEngine(options.seconds, options.folder)
        return FakeComfy(options.object_info.read_bytes(), engine, options.zombie_after).app()

    web.run_app(app(), host="127.0.0.1", port=options.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
