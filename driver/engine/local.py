"""Puts the samples of a supply on all servers of a run, a thread for each, and waits until they are through."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

from ..comfyui.answering import at_once
from ..comfyui.hosts import Host
from .pool import Pool
from .work import Work
from .worker import DRAIN_SECONDS, Worker

LAST_SECONDS = {True: 1.0, False: 5.0}
"""How long answers that nobody needs are waited for, where the user stopped the run and where it is through. Ours."""


def run_pool(pool: Pool, hosts: list[Host], work: Work) -> None:
    """Returns when no sample waits, or when a stop was requested.

    Raises:
        RunError: no server comes back, the disk is full, or nothing ever succeeds. The journal can be resumed.
    """
    turns = [(index + 1) / len(hosts) for index in range(len(hosts))]
    workers = at_once([partial(Worker, host, pool, work, turn) for host, turn in zip(hosts, turns, strict=True)])
    homes = {host.server.url for host in hosts}
    with pool.stop.orderly(), ThreadPoolExecutor(len(workers), "server") as threads:
        running = [threads.submit(worker.run) for worker in workers]
        told, needless_since = False, None
        while wait(running, timeout=0.2).not_done:
            pool.look_after(homes)
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
