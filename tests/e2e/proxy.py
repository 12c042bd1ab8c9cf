"""A proxy in front of the real ComfyUI that does, on demand, what servers and networks do wrong."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Literal

from aiohttp import ClientSession, ClientTimeout, WSMsgType, web
from aiohttp.client_exceptions import ClientError

Fault = Literal[
    "refuse", "forget", "not found", "cut", "node errors", "strip", "late", "slow", "swallow", "deaf", "drop", "hang",
    "drip", "bomb", "locked", "misfit", "paid",
]  # fmt: skip
"""refuse: 500 without asking the server. forget: 500 although the server did it. not found: 404. cut: the connection
is reset in the middle of the body. node errors: ComfyUI's 200 that says an output was dropped. strip: `/object_info`
without EditPairs. late: a finished job still looks as if it ran. slow: the answer takes `SLOW_SECONDS` longer.
swallow: the prompt is taken, and waits for ever. drip: the answer comes a byte at a time and never ends. bomb: a
small answer that becomes `BOMB_BYTES`. locked: 401. misfit: `/system_stats` of another ComfyUI. paid:
`/object_info` in which `PAID` is a partner node. For the socket: deaf, it never says anything; drop, it is cut after
the first message; hang, the handshake is never answered."""

SLOW_SECONDS = 1.5
BOMB_BYTES = 1 << 30
PAID = "EditPairsClassicalInpaint"

Rule = Callable[[str, int], Fault | None]
"""From a route such as `POST /prompt` or `GET /api/jobs/`, and how often it was asked for before, to what goes wrong."""

_SKIPPED = {"transfer-encoding", "content-length", "content-encoding", "connection", "host"}


class Proxy:
    """Forwards HTTP and the websocket to `target` from a thread of its own; used as a context manager."""

    def __init__(self, target: str, rule: Rule, login: str = ""):
        """
        Args:
            rule: asked for every request; called in the proxy's thread.
            login: what requests must carry as `Authorization`; whatever comes without is answered by 401.
        """
        self._login = login
        self.target = target
        self.rule = rule
        self.url = ""
        self.seen: Counter[str] = Counter()
        """Requests by route."""
        self.extra: list[dict[str, str]] = []
        """What was posted beside prompts."""
        self.faults: Counter[str] = Counter()
        """What went wrong, by fault."""
        self._swallowed: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._up.wait(20), "the proxy did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    async def _serve(self) -> None:
        app = web.Application(client_max_size=2**28)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.5)
        await runner.setup()
        async with ClientSession(timeout=ClientTimeout(total=120)) as self._session:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._up.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        route = f"{request.method} {_route(request.path)}"
        fault = self.rule(route, self.seen[route])
        self.seen[route] += 1
        if self._login and request.headers.get("Authorization") != self._login:
            fault = "locked"
        if fault:
            self.faults[fault] += 1
        if fault == "locked":
            return web.Response(status=401, text="please log in", headers={"WWW-Authenticate": "Basic"})
        if request.path == "/ws":
            return await self._socket(request, fault)
        if fault == "refuse":
            return web.Response(status=500, text="500 Internal Server Error")
        if fault == "not found":
            return web.json_response({"error": "Job not found"}, status=404)
        if fault == "drip":
            return await _drip(request)
        if fault == "bomb":
            return web.Response(body=_bomb(), headers={"Content-Encoding": "gzip"})
        if fault == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        if fault == "swallow":
            prompt_id = (await request.json())["prompt_id"]
            self._swallowed.add(prompt_id)
            return web.json_response({"prompt_id": prompt_id, "number": 0, "node_errors": {}})
        if (job_id := request.path.rpartition("/")[2]) in self._swallowed:
            return web.json_response({"id": job_id, "status": "pending"})
        if route == "POST /prompt":
            self.extra.append((await request.json()).get("extra_data", {}))
        try:
            status, headers, body = await self._ask(request)
        except ClientError:
            # The server behind is gone, so nobody is here either.
            if request.transport:
                request.transport.abort()
            return web.Response()
        if fault == "forget":
            return web.Response(status=500, text="500 Internal Server Error")
        if fault == "cut":
            return await self._cut(request, body)
        if fault == "node errors":
            body = _with_node_errors(body)
        if fault == "late" and status == 200:
            body = json.dumps({"id": json.loads(body)["id"], "status": "in_progress"}).encode()
        if fault == "misfit":
            stats = json.loads(body)
            stats["system"]["comfyui_version"] = "0.29.9"
            body = json.dumps(stats).encode()
        if fault == "paid":
            nodes = json.loads(body)
            nodes[PAID]["api_node"] = True
            body = json.dumps(nodes).encode()
        if fault == "strip":
            kept = {name: node for name, node in json.loads(body).items() if not name.startswith("EditPairs")}
            body = json.dumps(kept).encode()
        return web.Response(status=status, headers=headers, body=body)

    async def _ask(self, request: web.Request) -> tuple[int, dict[str, str], bytes]:
        sent = {name: value for name, value in request.headers.items() if name.lower() not in _SKIPPED}
        target = f"{self.target}{request.rel_url}"
        async with self._session.request(request.method, target, headers=sent, data=await request.read()) as answer:
            headers = {name: value for name, value in answer.headers.items() if name.lower() not in _SKIPPED}
            return answer.status, headers, await answer.read()

    async def _cut(self, request: web.Request, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport:
            request.transport.abort()
        return response

    async def _socket(self, request: web.Request, fault: Fault | None) -> web.StreamResponse:
        if fault == "hang":
            await asyncio.sleep(600)
        here = web.WebSocketResponse()
        await here.prepare(request)
        if fault == "deaf":
            await here.receive()
            return here
        try:
            async with self._session.ws_connect(f"{self.target}{request.rel_url}", max_msg_size=0) as there:
                async for message in there:
                    if message.type == WSMsgType.TEXT:
                        await here.send_str(message.data)
                    elif message.type == WSMsgType.BINARY:
                        await here.send_bytes(message.data)
                    if fault == "drop" and request.transport:
                        request.transport.abort()
                        break
        except (ClientError, ConnectionError):
            pass
        return here


async def _drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000000"})
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.3)


@functools.cache
def _bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(bytes(1 << 24)) for _ in range(BOMB_BYTES >> 24)), packer.flush()])


def _route(path: str) -> str:
    return "/api/jobs/" if path.startswith("/api/jobs/") and not path.endswith("/cancel") else path


def _with_node_errors(body: bytes) -> bytes:
    error = {"type": "value_not_in_list", "message": "Value not in list", "details": "put there by the proxy"}
    dropped = {"8": {"errors": [error], "dependent_outputs": ["8"], "class_type": "EditPairsSavePair"}}
    return json.dumps({**json.loads(body), "node_errors": dropped}).encode()
