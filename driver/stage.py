"""A workflow on a server: found or started, converted, addressed, checked, ready to take samples."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .comfy import ComfyServer
from .failures import RunError, ServerFault
from .progress import Waiting
from .server import ForeignServer, OwnServer, find_comfyui, has_gpu
from .workflow import SOURCE_CLASS, BatchGraph, WorkflowFile, apply_settings, find_workflow


@dataclass(frozen=True)
class Stage:
    """One workflow on one server."""

    host: OwnServer | ForeignServer
    stats: dict[str, Any]
    """What the server says of itself."""
    object_info: dict[str, Any]
    file: WorkflowFile
    graph: BatchGraph
    profile: str

    def beside(self, name: str) -> Stage:
        """Another workflow of ours on the same server, as its file has it.

        Raises:
            RunError: it does not fit the server: a node or a model is missing.
        """
        path, profile = find_workflow(name, self.profile)
        file = WorkflowFile.read(path)
        graph = BatchGraph.bind(file.to_api(self.object_info), self.object_info)
        return replace(self, file=file, graph=graph, profile=profile)


@contextmanager
def open_stage(options: argparse.Namespace, work: Path) -> Iterator[Stage]:
    """Finds or starts the server and checks the workflow against it.

    Args:
        options: the command line: workflow, profile, server, set.
        work: where files of a server of our own go.

    Raises:
        RunError: no server, no such workflow, or one that does not fit the other.
    """
    wanted = _profile(options)
    if wanted:
        # What is wrong with the file is said before a server is started for it.
        WorkflowFile.read(find_workflow(options.workflow, wanted)[0])
    with _host(options.server, work) as host:
        stats = host.server.system_stats()
        wanted = wanted or ("full" if any(one["type"] != "cpu" for one in stats["devices"]) else "classical")
        object_info = host.server.object_info()
        if SOURCE_CLASS not in object_info:
            raise RunError(f"{host.server.url} has no EditPairs nodes: install this pack there and restart it")
        path, profile = find_workflow(options.workflow, wanted)
        if options.profile == "auto" and profile == "classical" and path.stem != Path(options.workflow).stem:
            note = f"NO GPU: taking {path.name}, which edits by classical image processing without any model"
            print(note, file=sys.stderr, flush=True)
        file = WorkflowFile.read(path)
        api = file.to_api(object_info)
        apply_settings(api, options.set, object_info)
        yield Stage(host, stats, object_info, file, BatchGraph.bind(api, object_info), profile)


@contextmanager
def _host(url: str | None, work: Path) -> Iterator[OwnServer | ForeignServer]:
    host: OwnServer | ForeignServer
    if url:
        host = ForeignServer(ComfyServer(url))
        try:
            host.server.system_stats()
        except ServerFault as fault:
            raise RunError(f"--server {url}: {fault}; start it, or leave --server out to have one started") from None
    else:
        host = OwnServer(find_comfyui(), work / "server", Waiting("starting ComfyUI"))
    try:
        yield host
    finally:
        host.stop()


def _profile(options: argparse.Namespace) -> str | None:
    """`full` or `classical`, where it can be known before a server answers."""
    if options.profile != "auto":
        return str(options.profile)
    if options.server:
        return None
    return "full" if has_gpu() else "classical"
