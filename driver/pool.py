"""The command: `python driver/pool.py build POOL --output index/` makes an index of a user's own photos,
`python driver/pool.py find index/ --words "a street sign" --output found/` takes those that fit.

The command line and what is said at its end; `retrieval/` does the work.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import Ended, Parser, add_shared, carry_out, conclude, max_failed, number, path_argument, positive
from driver.inputs.shares import InputShare
from driver.options import RunOptions
from driver.stopping import StopRequest

PROGRAM = "pool.py"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    stop = StopRequest()
    return carry_out(PROGRAM, _parse, partial(_carry_out, stop), arguments, stop)


def _carry_out(stop: StopRequest, options: argparse.Namespace) -> Ended:
    return _build(stop, options) if options.command == "build" else _find(stop, options)


def _build(stop: StopRequest, options: argparse.Namespace) -> Ended:
    asked = RunOptions(
        "embed",
        options.output,
        input=(InputShare(options.pool),),
        image_root=options.image_root,
        server=options.server,
        set=tuple(options.set or ()),
        max_failed=options.max_failed,
    )
    # Imported when it is needed: the help answers at once.
    if options.dry_run:
        from driver.pipeline.dry_run import dry_run

        return Ended({"output": options.output, **dry_run(asked)})
    from driver.retrieval.building import build

    built = build(asked, stop)
    ended = conclude(asked, built.summary, built.facts is None)
    if built.facts is None:
        return ended
    facts = built.facts
    same = f"; {facts.duplicates} more are the same files again" if facts.duplicates else ""
    print(f"{options.output}: an index of {facts.photos} photos{same}")
    made = {"indexed": facts.photos, "duplicates": facts.duplicates, "dimensions": facts.dimensions}
    return ended._replace(made={**ended.made, **made})


def _find(stop: StopRequest, options: argparse.Namespace) -> Ended:
    from driver.retrieval.finding import Wanted, check, find

    wanted = Wanted(
        tuple(dict.fromkeys(options.words or ())),
        tuple(dict.fromkeys(options.like or ())),
        options.count,
        options.least,
        options.output,
    )
    if options.dry_run:
        facts = check(options.index, options.output).facts
        print(f"{options.output}: would be made of the {facts.photos} photos of {options.index}, from {facts.pool}")
        return Ended({"output": options.output, "indexed": facts.photos})
    found = find(options.index, wanted, options.server, stop)
    print(
        f"{options.output}: {found.photos} photos, scores from {found.best:.3f} to {found.last:.3f}; --input takes them"
    )
    made = {"output": options.output, "found": found.photos, "best": found.best, "last": found.last, "gone": found.gone}
    if found.gone:
        line = f"{found.gone} photos left out, as they changed or are gone since the index was built: build it again"
        print(line, file=sys.stderr)
    return Ended(made)


def _parse(words: list[str]) -> argparse.Namespace:
    command = words[0] if words and words[0] in ("build", "find") else ""
    if not command:
        _Commands().read(words)
    parser = _build_parser() if command == "build" else _find_parser()
    options = parser.read(words[1:])
    if command == "find" and not (options.words or options.like):
        parser.error("give --words, --like, or both")
    if command == "find" and not all(one.strip() for one in (*(options.words or ()), *(options.like or ()))):
        parser.error("--words or --like is empty; give it a value or leave it out")
    return options


class _Commands(Parser):
    """Reads nothing; says which two commands there are."""

    def __init__(self) -> None:
        super().__init__(
            PROGRAM,
            "Finds photos in a pool of your own, by words or by example, through CLIP on ComfyUI.",
            "`pool.py build --help` and `pool.py find --help` show the options of each.",
        )
        self.add_argument("command", choices=("build", "find"), help="build: index a pool; find: look for photos in it")
        add_shared(self.add_argument)


def _build_parser() -> Parser:
    parser = Parser(
        f"{PROGRAM} build",
        "Makes an index of a pool of photos, or brings it up to date: only what is new is embedded.",
    )
    parser.set_defaults(command="build")
    add = parser.add_argument
    add("pool", metavar="POOL", help="photos: anything that --input of batch.py takes")
    add("--output", required=True, type=path_argument, metavar="DIR", help="the index's folder, outside of the pool")
    add("--image-root", metavar="DIR|URL", help="what paths in the pool's files are relative to; default: their folder")
    add("--server", metavar="URL|NAME[,...]", help="running ComfyUIs, or names in servers.toml; default: starts some")
    add(
        "--set",
        action="append",
        metavar="ADDRESS=VALUE",
        help="set an input of embed.json, such as EditPairsLoadRegionScorer.clip=NAME",
    )
    add(
        "--max-failed",
        type=max_failed,
        default="0",
        metavar="N|P%",
        help="how many photos may fail before the exit status is 1; default: 0",
    )
    add_shared(add)
    return parser


def _find_parser() -> Parser:
    parser = Parser(
        f"{PROGRAM} find",
        "Takes the photos of a pool that fit words or an example best. Of several, each has its turn: the best of each, "
        "then the second best.",
    )
    parser.set_defaults(command="find")
    add = parser.add_argument
    add("index", type=path_argument, metavar="INDEX", help="the --output of build")
    add("--words", action="append", metavar="TEXT", help="what is to be seen; may be given again")
    add(
        "--like", action="append", metavar="PHOTOS", help="examples: a photo, or what --input takes; may be given again"
    )
    add("--count", type=positive, default=100, metavar="N", help="photos, at most; default: 100")
    add(
        "--least",
        type=number(float, lambda score: -1 <= score <= 1, "be between -1 and 1"),
        default=-1.0,
        metavar="SCORE",
        help="the least cosine of two vectors that counts; default: -1, any",
    )
    add("--output", required=True, type=path_argument, metavar="DIR", help="a new folder for what is found: an --input")
    add("--server", metavar="URL|NAME", help="a running ComfyUI; default: start one here and stop it")
    add_shared(add)
    return parser


if __name__ == "__main__":
    sys.exit(main())
