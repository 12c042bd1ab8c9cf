"""The servers of a run: own ones started and stopped, foreign ones waited for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..comfyui.answering import at_once
from ..comfyui.client import ComfyServer
from ..comfyui.gpus import visible_gpus
from ..comfyui.hosts import ForeignServer
from ..comfyui.logins import named
from ..comfyui.own import OwnServer, find_comfyui
from ..monitor.terminal import Waiting

SERVER = "server"
"""How the folders of servers of our own are called, with a number behind it."""


CACHED_NODES = 64
"""Node outputs that a server of our own keeps beside those of the running prompt (ImgEdit's own setting)."""


@contextmanager
def running_hosts(server: str | None, servers: int | None, work: Path) -> Iterator[Sequence[OwnServer | ForeignServer]]:
    """The run's servers, of which at least one answers. Others of somebody else's may join later.

    Args:
        server: running ones, by address or name, separated by commas; None to start some here.
        servers: how many to start; None for one per visible GPU, one on CPU.
        work: where files of servers of our own go.
    """
    hosts: Sequence[OwnServer | ForeignServer] = foreign(server) if server else own(servers, work)
    try:
        if not server:
            for host in hosts:
                host.start()
        elif not any(at_once([host.running for host in hosts])):
            hosts[0].start()
        yield hosts
    finally:
        at_once([host.stop for host in hosts])


def foreign(listed: str) -> list[ForeignServer]:
    """Servers by address, or by the name that `servers.toml` gives one."""
    words = [word.strip() for word in listed.split(",")]
    logins = [(word, named(word)) for word in words]
    return [ForeignServer(ComfyServer(login.address, login) if login else ComfyServer(word)) for word, login in logins]


def own(servers: int | None, work: Path) -> list[OwnServer]:
    """Servers of our own, to be started.

    Args:
        servers, work: as of `running_hosts`.
    """
    comfyui, gpus = find_comfyui(), visible_gpus()
    number = servers or max(1, gpus)
    found: list[OwnServer] = []
    for index in range(number):
        waiting = Waiting("starting ComfyUI" + (f", {index + 1} of {number}" if number > 1 else ""))
        folder = work / f"{SERVER}{index}"
        found.append(OwnServer(comfyui, folder, waiting, index % gpus if gpus else None, CACHED_NODES))
    return found


def light(work: Path) -> OwnServer:
    """A further one on the CPU, for what only asks services, to be started."""
    waiting = Waiting("starting another ComfyUI, for what only asks services")
    return OwnServer(find_comfyui(), work / f"{SERVER}-light", waiting, None, CACHED_NODES)
