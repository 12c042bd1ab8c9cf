"""Puts a journal's waiting samples on all servers of a run, and waits until they are through."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..comfyui.answering import at_once
from ..comfyui.client import ComfyServer
from ..comfyui.hosts import Host
from ..graph import partner
from ..graph.bound import BatchGraph
from ..graph.packs import Packer
from .pack_size import PackSize
from .pool import Pool
from .worker import DRAIN_SECONDS, Worker

LAST_SECONDS = {True: 1.0, False: 5.0}
"""How long answers that nobody needs are waited for, where the user stopped the run and where it is through. Ours."""

MODEL_MEMORY_SHARE = 0.9
"""Share of a device's memory that models may take together before they count as too large for it. Ours."""


@dataclass(frozen=True)
class Pace:
    """How the user wants servers to be used."""

    samples_per_prompt: int | None
    """None: chosen from the graph and what is measured."""
    recycle_after: int


def run_pool(
    pool: Pool,
    hosts: list[Host],
    graph: BatchGraph,
    object_info: dict[str, Any],
    pace: Pace,
    run_seed: int,
    check: Callable[[ComfyServer], tuple[str, ...]],
) -> None:
    """Returns when no sample waits, or when a stop was requested.

    Args:
        check: raises RunError of a server that joins late and does not fit the others; returns what is to be said of it.

    Raises:
        RunError: no server comes back, the disk is full, or nothing ever succeeds. The journal can be resumed.
    """

    def fit(server: ComfyServer) -> tuple[Packer, PackSize]:
        stats = server.system_stats()
        device = int(stats["devices"][0].get("vram_total", 0) * MODEL_MEMORY_SHARE)
        packer = Packer(graph, object_info, server.model_sizes(), device)
        return packer, PackSize(pace.samples_per_prompt, packer.gains, int(stats["system"].get("ram_free", 0)))

    extra = partner.extra_data(graph.api, object_info)
    turns = {host.name: (index + 1) / len(hosts) for index, host in enumerate(hosts)}
    workers = at_once(
        [
            partial(Worker, host, pool, fit, check, run_seed, pace.recycle_after, turns[host.name], extra)
            for host in hosts
        ]
    )
    homes = {host.server.url for host in hosts}
    for prompt_id, flight in pool.adopted.items():
        if pool.homes[prompt_id] not in homes:
            pool.returned([one.item for one in flight.posted])
    with pool.stop.orderly(), ThreadPoolExecutor(len(workers), "server") as threads:
        running = [threads.submit(worker.run) for worker in workers]
        told, needless_since = False, None
        while wait(running, timeout=0.2).not_done:
            if pool.stop.level and not told:
                told = True
                number = len(pool.flights)
                pool.reporter.say(f"stopping: waiting for {number} prompts in flight (Ctrl-C again: now)")
            stopped = pool.stop.level > 0 and (not pool.flights or pool.stop.overdue(DRAIN_SECONDS))
            needless_since = (needless_since or time.monotonic()) if stopped or pool.over() else None
            if needless_since is not None and time.monotonic() - needless_since > LAST_SECONDS[stopped]:
                _cut(hosts, True)
        _cut(hosts, False)
        for one in running:
            one.result()
    if pool.broken:
        raise pool.broken


def _cut(hosts: list[Host], now: bool) -> None:
    """Whether servers are asked nothing more, however long they take over what they are being asked."""
    for host in hosts:
        host.server.transport.cut = now
