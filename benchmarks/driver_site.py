"""Where the driver's figures are measured: servers that start when first needed, photos, and what the nodes noted."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.driver_command import Run, drive
from benchmarks.driver_inputs import make_photos
from benchmarks.driver_servers import ServerProcess, comfyui, fake_comfyui, with_bench_nodes
from driver.comfyui.own import find_comfyui
from tests.vlm.endpoint import Endpoint, Say

NODES = Path(__file__).resolve().parent / "nodes"
EVENTS = "bench-events.jsonl"


class Site:
    """One session of measuring; used as a context manager, which ends all servers."""

    def __init__(self, folder: Path, rounds: int, quick: bool):
        """
        Args:
            folder: where everything lies; emptied by whoever made it.
            rounds: how often each thing is done; figures are medians.
            quick: smaller sizes, to see that everything works.
        """
        self.folder = folder
        self.rounds = 1 if quick else rounds
        self.quick = quick
        self._open = ExitStack()
        self._servers: list[ServerProcess] = []
        self._endpoints: dict[float, Endpoint] = {}
        self._fakes = 0
        self._seed = 0

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    def size(self, full: int, quick: int) -> int:
        """A number of images, rows or jobs."""
        return quick if self.quick else full

    def servers(self, count: int) -> list[str]:
        """Addresses of so many real ComfyUIs, all of which are up."""
        fresh = []
        while len(self._servers) < count:
            say(f"starting ComfyUI {len(self._servers) + 1}")
            server = comfyui(find_comfyui(), self.folder / f"comfyui{len(self._servers)}")
            server.launch()
            self._open.callback(server.kill)
            self._servers.append(server)
            fresh.append(server)
        for server in fresh:
            server.wait()
        return [server.url for server in self._servers[:count]]

    def servers_cpu_s(self) -> float:
        """CPU seconds that the real ones took so far, all of them."""
        return sum(server.cpu_s() for server in self._servers)

    def fake(self, *options: object) -> ServerProcess:
        """A fake ComfyUI of its own, with the nodes of the real one."""
        info = self.folder / "object_info.json"
        if not info.exists():
            self.servers(1)
            info.write_text(json.dumps(self._servers[0].get("/object_info")))
        self._fakes += 1
        server = fake_comfyui(info, self.folder / f"fake{self._fakes}", *options)
        self._open.enter_context(server)
        return server

    def endpoint(self, seconds: float) -> str:
        """Address of an endpoint that takes so long for an answer."""
        if seconds not in self._endpoints:
            self._endpoints[seconds] = self._open.enter_context(Endpoint(default=Say("yes", after_s=seconds)))
        return self._endpoints[seconds].url

    def photos(self, count: int, side: int) -> Path:
        """A folder of so many photos."""
        folder = self.folder / f"photos-{count}-{side}"
        if not folder.exists():
            make_photos(folder, count, side)
        return folder

    def seed(self) -> int:
        """A seed that no run had, so that a server's cache never answers for an edit."""
        self._seed += 1
        return self._seed

    def output(self) -> Path:
        """A new output folder."""
        return self.folder / f"out{self.seed()}"

    def drive(self, workflow: str, photos: Path, urls: list[str], *options: object) -> Run:
        """Runs the command with one of the benchmark's graphs to its end.

        Args:
            urls: none for a server that it starts itself.
        """
        comfyui = None if urls else self._comfyui()
        return drive(self.output(), *self._options(workflow, photos, urls), *options, comfyui=comfyui)

    def events(self, what: str) -> list[dict[str, Any]]:
        """What the nodes of the first real server noted so far."""
        path = self.folder / "comfyui0" / "output" / EVENTS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["what"] == what]

    def _comfyui(self) -> Path:
        folder = self.folder / "ComfyUI"
        return folder if folder.exists() else with_bench_nodes(find_comfyui(), folder)

    def _options(self, workflow: str, source: Path, urls: list[str]) -> list[object]:
        return [
            "--workflow",
            NODES / f"{workflow}.json",
            "--input",
            source,
            *(("--server", ",".join(urls)) if urls else ()),
            "--seed",
            self.seed(),
        ]


def graph(name: str, settings: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """One of the benchmark's graphs, with inputs set as `node.input: value`."""
    loaded: dict[str, dict[str, Any]] = json.loads((NODES / f"{name}.json").read_text())
    for address, value in (settings or {}).items():
        node_id, name = address.split(".")
        loaded[node_id]["inputs"][name] = value
    return loaded


def floor_of(figure: str) -> str:
    """Name of what a figure would be if the driver cost nothing, measured beside it."""
    return f"{figure}: floor"


def say(line: str) -> None:
    """What is going on, for whoever waits."""
    print(f"[{os.getloadavg()[0]:.1f}] {line}", file=sys.stderr, flush=True)
