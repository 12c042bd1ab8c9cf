"""The command: `python driver/adopt.py theirs.json` makes somebody's graph one that can be batched.

The command line and what is said at its end; `artists/adopt.py` does the work.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import Ended, Parser, add_shared, carry_out, path_argument
from driver.terminal import plain, say


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return carry_out("adopt.py", _parse, _adopt, arguments)


def _adopt(options: argparse.Namespace) -> Ended:
    # Imported when it is needed: the help answers at once.
    from driver.artists.adopt import adopt, adopt_file, ask_terminal, look_at
    from driver.artists.one_server import one_server
    from driver.pipeline.workflow import nodes_of

    file, answers = look_at(options.file, options.output, options.choice)  # before a server is started for it
    ask = ask_terminal if sys.stdin.isatty() and not options.json else None
    with one_server(options.server) as server:
        info = nodes_of(server)
        if options.dry_run:
            adopted, todo = adopt(file, info, answers, ask), "would be written"
        else:
            adopted = adopt_file(options.file, options.output, info, options.choice, ask)
            todo = "open it in ComfyUI, or give it to --workflow"
    print(*map(plain, adopted.lines), sep="\n")
    if adopted.missing:
        say(f"not ready on this server yet: {adopted.missing}")
    print(f"{options.output}: {todo}")
    return Ended({"output": options.output, "changes": adopted.lines, "missing": adopted.missing})


def _parse(words: list[str]) -> argparse.Namespace:
    parser = Parser(
        "adopt.py",
        "Turns a graph that goes from LoadImage to SaveImage into one that can be batched. What it cannot tell, it asks.",
    )
    add = parser.add_argument
    add("file", type=path_argument, metavar="FILE", help="the graph, as ComfyUI saves it")
    add("--output", type=path_argument, metavar="FILE", help="default: beside FILE, by its name and -editpairs.json")
    add(
        "--choice",
        metavar="NAME=#ID,...",
        help="answers beforehand: source, result, reference, instruction, task",
    )
    add("--server", metavar="URL|NAME", help="a running ComfyUI; default: start one here and stop it")
    add_shared(add)
    options = parser.read(words)
    options.choice = options.choice or ""
    options.output = options.output or options.file.parent / f"{options.file.stem}-editpairs.json"
    return options


if __name__ == "__main__":
    sys.exit(main())
