"""A ComfyUI in this process, for what the real one cannot be made to say: the benchmark's fake, and a hand in its answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiohttp import web

from benchmarks.fake_comfy import FakeComfy
from benchmarks.fake_engine import FakeEngine
from comfy_nodes.core.records import SampleFailure
from comfy_nodes.core.regions.annotation import Annotation
from driver.comfyui.client import ComfyServer
from driver.comfyui.hosts import ForeignServer, Host
from driver.dataset.spool import Spool
from driver.engine.harvest import EditHarvester
from driver.engine.local import run_pool
from driver.engine.pool import Pool
from driver.engine.portion import OnePortion, Portion
from driver.engine.work import Work
from driver.graph.bound import BatchGraph
from driver.inputs.source import Source
from driver.journal import Journal
from driver.samples import Sample
from driver.stopping import StopRequest

Meddle = Callable[[str, str, bytes], "bytes | int | None"]
"""From a route (`GET /view`), the file or prompt that was asked for, and the answer, to another answer or a status."""

GRAPH = {
    "1": {"class_type": "EditPairsLoadSample",
          "inputs": {"image": "", "task": "remove", "region_index": 0, "seed": 0, "annotation": ""}},
    "3": {"class_type": "Paint",
          "inputs": {"image": ["1", 1], "mask": ["1", 2], "seed": 0, "method": "telea", "strength": 1.0}},
    "4": {"class_type": "EditPairsSavePair", "inputs": {"sample": ["1", 0], "edited": ["3", 0], "instruction": ""}},
}  # fmt: skip

PHOTO = b"a photo"


def _node(*outputs: str) -> dict[str, Any]:
    return {"input": {"required": {}}, "output": list(outputs), "api_node": False}


NODES = {
    "EditPairsLoadSample": _node("EDITPAIRS_SAMPLE", "IMAGE", "MASK"),
    "Paint": _node("IMAGE"),
    "EditPairsSavePair": _node(),
}


def graph(task: str = "remove") -> BatchGraph:
    api = json.loads(json.dumps(GRAPH))
    api["1"]["inputs"]["task"] = task
    return BatchGraph.bind(api, NODES)


def sample(key: str, instruction: str = "") -> Sample:
    return Sample(
        key, f"{key}.jpg", Annotation(path=f"{key}.jpg", size=(16, 16), regions=()), instruction, task="remove"
    )


def pool_of(journal: Journal, spool: Spool, servers: int) -> tuple[Pool, Told]:
    """What servers of a run share."""
    told = Told()
    journal.set("run_id", "0" * 32)
    supply = OnePortion(Portion(journal, EditHarvester(spool)))
    return Pool(supply, "edit", told, StopRequest(), servers, 1, lambda: ""), told


def work_of(pack: int = 1) -> Work:
    """What each of them does."""
    photos = cast(Source, Photos())
    return Work(graph(), NODES, photos, frozenset(), 0, pack, 10**6, lambda _server: ())


@contextmanager
def serving(folder: Path, meddle: Meddle = lambda _route, _name, _body: None) -> Iterator[str]:
    """A server on loopback; its address."""
    loop, up = asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()
    where: list[str] = []

    @web.middleware
    async def meddled(request: web.Request, handler: Any) -> web.StreamResponse:
        answer: web.StreamResponse = await handler(request)
        if not isinstance(answer, web.Response):
            return answer
        name = request.query.get("filename", request.path.rpartition("/")[2])
        if request.path == "/upload/image":
            name = getattr((await request.post())["image"], "filename", "")
        route = request.path if not request.path.startswith("/api/jobs/") else "/api/jobs/"
        other = meddle(f"{request.method} {route}", name, bytes(answer.body or b""))  # type: ignore[arg-type]
        if other is None:
            return answer
        return web.Response(status=other) if isinstance(other, int) else web.Response(body=other)

    async def serve() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        app = FakeComfy(b"{}", FakeEngine(0, folder), None).app()
        app.middlewares.append(meddled)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        where.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        up.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert up.wait(20), "it did not start"
    try:
        yield where[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)


@dataclass
class Told:
    """A reporter that remembers."""

    finished_keys: list[str] = field(default_factory=list)
    failures: dict[str, SampleFailure] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def planned(self, samples: int, ended: int) -> None: ...

    def finished(self, server: str, sample: Sample, verdicts: list[str], seconds: float | None) -> None:
        self.finished_keys.append(sample.key)

    def failed(self, sample: Sample, failure: SampleFailure) -> None:
        self.failures[sample.key] = failure

    def retried(self, server: str, samples: int, error_class: str, why: str) -> None: ...

    def server(self, view: Any) -> None: ...

    def say(self, line: str) -> None:
        self.lines.append(line)

    def close(self) -> None: ...


class Photos:
    """A source in which all photos are one."""

    def read(self, _file: str) -> bytes:
        return PHOTO

    def suffix(self, file: str) -> str:
        return ".jpg"


def run(urls: Sequence[str], samples: list[Sample], journal: Journal, spool: Spool, pack: int = 1) -> Told:
    """Runs samples on servers.

    Raises:
        RunError: the run breaks off.
    """
    journal.enrol(samples, None)
    hosts: list[Host] = [ForeignServer(ComfyServer(url)) for url in urls]
    pool, told = pool_of(journal, spool, len(hosts))
    run_pool(pool, hosts, work_of(pack))
    return told
