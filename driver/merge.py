"""The command: `python driver/merge.py OUT... --output DIR`.

Makes one dataset of the folders that the shares of one run left. The command line and what is said at its end;
`pipeline/merging.py` does the work.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import Ended, Parser, add_shared, carry_out, path_argument


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return carry_out("merge.py", _parse, _merge, arguments)


def _merge(options: argparse.Namespace) -> Ended:
    # Imported when it is needed: the help answers at once.
    from driver.pipeline.merging import Merger

    merger = Merger.of(options.outputs)
    made = {"output": options.output, "folders": len(merger.shares), "shards": len(merger.shards)}
    of = f"{len(merger.shards)} shards of {len(merger.shares)} folders"
    if options.dry_run:
        merger.check_output(options.output)
        print(f"{options.output}: would hold {of}")
        return Ended(made)
    summary = merger.merge(options.output)
    counts = {name: getattr(summary, name) for name in ("kept", "rejected", "unscored", "failed", "skipped")}
    print(f"{options.output}: holds {of}: {', '.join(f'{number} {name}' for name, number in counts.items())}")
    return Ended(made | counts)


def _parse(words: list[str]) -> argparse.Namespace:
    parser = Parser(
        "merge.py",
        "Makes one dataset of the folders that the shares of one run left (batch.py --shard I/N).",
        "Files are linked where the disk allows it, else copied; the folders stay as they are.",
    )
    add = parser.add_argument
    add("outputs", nargs="+", type=path_argument, metavar="OUT", help="the --output of each share")
    add("--output", required=True, type=path_argument, metavar="DIR", help="a folder of its own for the whole dataset")
    add_shared(add)
    return parser.read(words)


if __name__ == "__main__":
    sys.exit(main())
