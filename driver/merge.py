"""The command: `python driver/merge.py OUT... --output DIR`.

Makes one dataset of the folders that the shares of one run left. The command line and what is said at its end;
`pipeline/merging.py` does the work.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from pathlib import Path

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import end
from driver.errors import RunError
from driver.terminal import path_argument

_NAME = "merge.py"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 done, 1 it broke off, 2 nothing was started, 130 stopped."""
    options = parse(arguments)
    try:
        # Imported when it is needed: the help answers at once.
        from driver.pipeline.merging import Merger

        merger = Merger.of(options.outputs)
        told: dict[str, str | int] = {
            "output": str(options.output),
            "folders": len(merger.shares),
            "shards": len(merger.shards),
        }
        if options.dry_run:
            _say(told, options.json, "would hold")
            return 0
        summary = merger.merge(options.output)
    except RunError as error:
        return end(str(error), error.status, _NAME)
    except sqlite3.DatabaseError as error:
        return end(f"a journal cannot be read ({error}); run the command of its share again", 1, _NAME)
    except ModuleNotFoundError as error:
        return end(
            f"the package {error.name} is missing: run python install.py, or use the Python that it set up", 2, _NAME
        )
    except KeyboardInterrupt:
        return end("stopped; the same command goes on", 130, _NAME)
    counts = {name: getattr(summary, name) for name in ("kept", "rejected", "unscored", "failed", "skipped")}
    _say(told | counts, options.json, "holds")
    return 0


def _say(told: dict[str, str | int], as_json: bool, verb: str) -> None:
    if as_json:
        print(json.dumps(told))
        return
    counts = ", ".join(f"{told[name]} {name}" for name in told if name not in ("output", "folders", "shards"))
    print(
        f"{told['output']}: {verb} {told['shards']} shards of {told['folders']} folders"
        + (f": {counts}" if counts else "")
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description="Makes one dataset of the folders that the shares of one run left (batch.py --shard I/N).",
        epilog="Files are linked where the disk allows it, else copied; the folders stay as they are. Exit status: 0 done, "
        "1 it broke off, 2 nothing was started, 130 stopped (run it again to go on).",
    )
    add = parser.add_argument
    add("outputs", nargs="+", type=path_argument, metavar="OUT", help="the --output of each share")
    add("--output", required=True, type=path_argument, metavar="DIR", help="a folder of its own for the whole dataset")
    add("--dry-run", action="store_true", help="check everything, write nothing")
    add("--json", action="store_true", help="say what was done as one line of JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
