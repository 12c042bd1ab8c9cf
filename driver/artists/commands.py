"""What the command does beside runs: adopts a graph, collects pairs made by hand, opens one row for an artist.

Each is one function on the command line's options; what they do stands in modules of their own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..comfyui.client import ComfyServer
from ..dataset.publish import publish
from ..inputs.source import Source
from ..pipeline.servers import running_hosts
from ..pipeline.workflow import nodes_of
from ..report.summary import Summary
from ..terminal import plain, say


def adopt(options: argparse.Namespace) -> None:
    """`--adopt`: turns somebody's graph into a batchable one."""
    from .adopt import adopt_file, ask_terminal, look_at

    theirs = Path(options.adopt)
    output = Path(options.output) if options.output else theirs.with_name(f"{theirs.stem}-editpairs.json")
    look_at(theirs, output, options.adopt_choice or "")  # before a server is started for it
    ask = ask_terminal if sys.stdin.isatty() else None
    with _server(options) as server:
        adopted = adopt_file(theirs, output, nodes_of(server), options.adopt_choice or "", ask)
    print(*map(plain, adopted.lines), sep="\n")
    if adopted.missing:
        say(f"not ready on this server yet: {adopted.missing}")
    print(f"{output}: open it in ComfyUI, or give it to --workflow")


def collect(options: argparse.Namespace) -> Summary:
    """`--collect`: makes a dataset of pairs that were made by hand."""
    from .collect import collect as gather

    collected = gather(Path(options.collect), options.output, options.layout)
    print(*collected.lines, sep="\n")
    if options.publish_to:
        publish(options.output, options.publish_to)
    return collected.summary


def open_row(options: argparse.Namespace) -> None:
    """`--open`: writes the workflow of one row, and with `--again` makes the row once more."""
    from .open_row import find_row, make_again
    from .open_row import open_row as open_one

    found = find_row(options.open, options.output)  # before a server is started for it
    original = Source(options.input, options.image_root) if options.input else None
    with _server(options) as server:
        opened = open_one(found, server, original, upload=bool(options.server))
        print(*map(plain, opened.lines), sep="\n")
        if options.again:
            print(make_again(opened, server).line)


@contextmanager
def _server(options: argparse.Namespace) -> Iterator[ComfyServer]:
    """The first server that is named, or one that is started for this."""
    with (
        tempfile.TemporaryDirectory(prefix="editpairs-") as scratch,
        running_hosts(options.server, None, Path(scratch)) as hosts,
    ):
        yield next(host for host in hosts if host.running()).server
