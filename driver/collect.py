"""The command: `python driver/collect.py ComfyUI/output/editpairs --output out/` makes a dataset of pairs made by hand.

The command line and what is said at its end; `artists/collect.py` does the work.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import Ended, Parser, add_shared, carry_out, conclude, destination, max_failed, path_argument


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return carry_out("collect.py", _parse, _collect, arguments)


def _collect(options: argparse.Namespace) -> Ended:
    # Imported when it is needed: the help answers at once.
    from driver.artists.collect import collect, look
    from driver.dataset.publish import publish

    if options.dry_run:
        found = look(options.folder, options.output)
        pairs, refused = len(found.pairs), len(found.refused)
        print(f"{pairs} pairs in {options.folder}, {refused} more would be refused", *found.passed, sep="\n")
        return Ended({"output": options.output, "pairs": pairs, "refused": refused})
    collected = collect(options.folder, options.output, options.layout)
    print(*collected.lines, sep="\n")
    if options.publish_to:
        publish(options.output, options.publish_to)
    return conclude(options, collected.summary, stopped=False)


def _parse(words: list[str]) -> argparse.Namespace:
    parser = Parser(
        "collect.py", "Makes a dataset of pairs that Save Edit Pair saved by hand. Run again, it adds new ones."
    )
    add = parser.add_argument
    add(
        "folder", type=path_argument, metavar="FOLDER", help="what Save Edit Pair writes to: ComfyUI's output/editpairs"
    )
    add(
        "--output",
        default="outputs/collected",
        metavar="DIR|URL",
        help="the dataset's folder, or a store's, such as s3://bucket/run; default: outputs/collected",
    )
    add(
        "--layout",
        choices=("hf", "imgedit", "wds"),
        default="hf",
        help="hf: parquet with pictures; imgedit: ImgEdit's parquet and tars; wds: webdataset tars; default: hf",
    )
    add(
        "--max-failed",
        type=max_failed,
        default="0",
        metavar="N|P%",
        help="exit status 1 when more pairs were refused than this; default: 0",
    )
    add_shared(add)
    options = parser.read(words)
    options.output, options.publish_to = destination(options.output)
    return options


if __name__ == "__main__":
    sys.exit(main())
