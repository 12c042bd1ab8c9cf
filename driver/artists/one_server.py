"""The server of a command that asks only one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..comfyui.client import ComfyServer
from ..pipeline.servers import running_hosts


@contextmanager
def one_server(named: str | None) -> Iterator[ComfyServer]:
    """The first running one of those that are named, as for `--server`, or one that is started for this."""
    with (
        tempfile.TemporaryDirectory(prefix="editpairs-") as scratch,
        running_hosts(named, None, Path(scratch)) as hosts,
    ):
        yield next(host for host in hosts if host.running()).server
