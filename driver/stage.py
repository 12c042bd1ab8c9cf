"""A workflow on the run's servers: found or started, converted, addressed, checked, ready to take samples."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .comfy import ComfyServer
from .failures import RunError
from .gpus import has_gpu, visible_gpus
from .pool import StopRequest
from .preflight import Agreement, agree, check_join
from .progress import Waiting
from .server import ForeignServer, OwnServer, find_comfyui
from .workflow import SOURCE_CLASS, BatchGraph, WorkflowFile, apply_settings, find_workflow

SERVER = "server"
"""How the folders of servers of our own are called, with a number behind it."""

CACHED_NODES = 64
"""Node outputs that a server of our own keeps beside those of the running prompt (ImgEdit's own setting)."""


@dataclass(frozen=True)
class Stage:
    """One workflow on the run's servers."""

    hosts: list[OwnServer | ForeignServer]
    agreement: Agreement
    """What the servers have in common for this graph."""
    file: WorkflowFile
    graph: BatchGraph
    profile: str

    def beside(self, name: str) -> Stage:
        """Another workflow of ours on the same servers, as its file has it.

        Raises:
            RunError: it does not fit a server: a node or a model is missing.
        """
        path, profile = find_workflow(name, self.profile)
        file = WorkflowFile.read(path)
        info = self.agreement.object_info
        graph = BatchGraph.bind(file.to_api(info), info)
        return Stage(self.hosts, _agree(self.hosts, graph), file, graph, profile)

    def check(self, server: ComfyServer) -> tuple[str, ...]:
        """Lines to be said of a server that comes, or comes back.

        Raises:
            RunError: it does not fit the others.
        """
        return check_join(server, self.agreement)


@contextmanager
def open_stage(options: argparse.Namespace, work: Path, stop: StopRequest) -> Iterator[Stage]:
    """Finds or starts the servers and checks the workflow against them.

    Args:
        options: the command line: workflow, profile, server, servers, set.
        work: where files of servers of our own go.

    Raises:
        RunError: no server, no such workflow, or one that does not fit the other.
    """
    wanted = _profile(options)
    if wanted:
        # What is wrong with the file is said before a server is started for it.
        WorkflowFile.read(find_workflow(options.workflow, wanted)[0])
    with _hosts(options, work, stop) as hosts:
        first = next(host for host in hosts if host.running()).server
        stats = first.system_stats()
        wanted = wanted or ("full" if any(one["type"] != "cpu" for one in stats["devices"]) else "classical")
        object_info = first.object_info()
        if SOURCE_CLASS not in object_info:
            raise RunError(f"{first.url} has no EditPairs nodes: install this pack there and restart it")
        path, profile = find_workflow(options.workflow, wanted)
        if options.profile == "auto" and profile == "classical" and path.stem != Path(options.workflow).stem:
            note = f"NO GPU: taking {path.name}, which edits by classical image processing without any model"
            print(note, file=sys.stderr, flush=True)
        file = WorkflowFile.read(path)
        api = file.to_api(object_info)
        apply_settings(api, options.set, object_info)
        graph = BatchGraph.bind(api, object_info)
        agreement = _agree(hosts, graph)
        away = [f"{host.name} does not answer; it joins when it does" for host in hosts if not host.running()]
        for line in (*away, *agreement.warnings):
            print(line, file=sys.stderr, flush=True)
        yield Stage(hosts, agreement, file, graph, profile)


def _agree(hosts: list[OwnServer | ForeignServer], graph: BatchGraph) -> Agreement:
    return agree([host.server for host in hosts if host.running()], graph.api)


@contextmanager
def _hosts(options: argparse.Namespace, work: Path, stop: StopRequest) -> Iterator[list[OwnServer | ForeignServer]]:
    """The run's servers, of which at least one answers. Others of somebody else's may join later."""
    hosts = _foreign(options.server) if options.server else _own(options.servers, work)
    try:
        if not options.server:
            for host in hosts:
                if not host.start(lambda: stop.level > 0):
                    raise KeyboardInterrupt
        elif not any(host.running() for host in hosts):
            hosts[0].start(lambda: stop.level > 0)
        yield hosts
    finally:
        for host in hosts:
            host.stop()


def _foreign(urls: str) -> list[OwnServer | ForeignServer]:
    return [ForeignServer(ComfyServer(url)) for url in urls.split(",")]


def _own(servers: int | None, work: Path) -> list[OwnServer | ForeignServer]:
    comfyui, gpus = find_comfyui(), visible_gpus()
    number = servers or max(1, gpus)
    found: list[OwnServer | ForeignServer] = []
    for index in range(number):
        waiting = Waiting("starting ComfyUI" + (f", {index + 1} of {number}" if number > 1 else ""))
        folder = work / f"{SERVER}{index}"
        found.append(OwnServer(comfyui, folder, waiting, index % gpus if gpus else None, CACHED_NODES))
    return found


def _profile(options: argparse.Namespace) -> str | None:
    """`full` or `classical`, where it can be known before a server answers."""
    if options.profile != "auto":
        return str(options.profile)
    if options.server:
        return None
    return "full" if has_gpu() else "classical"
