"""The command: `python driver/open.py RUN KEY` gives a row back to an artist, as a workflow that is filled in.

The command line and what is said at its end; `artists/open_row.py` does the work.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import Ended, Parser, add_shared, carry_out, path_argument
from driver.terminal import plain


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return carry_out("open.py", _parse, _open, arguments)


def _open(options: argparse.Namespace) -> Ended:
    # Imported when it is needed: the help answers at once.
    from driver.artists.one_server import one_server
    from driver.artists.open_row import FOLDER, find_row, make_again, open_row
    from driver.inputs.shares import InputShare
    from driver.inputs.source import Source

    found = find_row(options.key, options.run)  # before a server is started for it
    made: dict[str, Any] = {"output": options.run / FOLDER / f"{found.row.columns['key']}.json"}
    original = Source([*map(InputShare, options.input)], options.image_root) if options.input else None
    if options.dry_run:
        print(*map(plain, (f"{made['output']}: would be written, from {found.ui.path}", *found.notes)), sep="\n")
        return Ended(made)
    with one_server(options.server) as server:
        opened = open_row(found, server, original, upload=bool(options.server))
        made["pictures"] = [*map(str, opened.pictures)]
        print(*map(plain, opened.lines), sep="\n")
        if options.again:
            again = make_again(opened, server)
            made["again"] = {"difference": again.difference, "share": again.share}
            print(again.line)
    return Ended(made)


def _parse(words: list[str]) -> argparse.Namespace:
    parser = Parser("open.py", "Writes the workflow of one row into RUN/open, filled in, for an artist to open.")
    add = parser.add_argument
    add("run", type=path_argument, metavar="RUN", help="the --output of a run of batch.py")
    add(
        "key",
        metavar="KEY",
        help="the row's, as the report and the column key name it; a dialogue's opens its first turn",
    )
    add("--again", action="store_true", help="make the row once more and say how it differs")
    add(
        "--server",
        metavar="URL|NAME",
        help="a running ComfyUI, which gets the pictures; default: start one and stop it",
    )
    add(
        "--input",
        action="append",
        metavar="PATH|URL",
        help="the run's input, or all of them in their order, for the photo itself where the graph scaled it",
    )
    add("--image-root", metavar="DIR|URL", help="what the annotation's paths are relative to; default: its folder")
    add_shared(add)
    return parser.read(words)


if __name__ == "__main__":
    sys.exit(main())
