"""The command: `python driver/derive.py OUT --output DIR [--kinds inverse,sibling,composed,wordings] [--lang en,zh]`.

Makes more rows of a finished run's kept ones, without another edit. The command line and what is said at its end;
`deriving/` does the work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import Ended, Parser, add_shared, carry_out, number, path_argument
from driver.stopping import STOPPED

KINDS = ("inverse", "sibling", "composed", "wordings")
LANGUAGES = ("en", "zh")

STOPPED_SHORT = "stopped; what is derived is not whole, the same command begins again"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return carry_out("derive.py", _parse, _derive, arguments)


def _derive(options: argparse.Namespace) -> Ended:
    # Imported when it is needed: the help answers at once.
    from driver.deriving.deriving import DeriveOptions, derive
    from driver.deriving.drafts import Asked

    asked = Asked(tuple(options.kinds), tuple(options.lang), options.siblings)
    wanted = DeriveOptions(options.run, options.output, asked, options.with_originals, options.layout or "")
    try:
        done = derive(wanted, options.dry_run)
    except KeyboardInterrupt:
        return Ended({}, "stopped" if options.dry_run else STOPPED_SHORT, STOPPED)
    done.say(options.output, options.dry_run)
    return Ended(done.told(options.output))


def _names(known: Sequence[str], what: str) -> Callable[[str], list[str]]:
    """The type of an option that lists some of these, by commas."""

    def read(text: str) -> list[str]:
        given = list(dict.fromkeys(text.split(",")))
        if strange := [one for one in given if one not in known]:
            raise argparse.ArgumentTypeError(f"{strange[0]!r} is no {what}; they are {', '.join(known)}")
        return given

    return read


def _parse(words: list[str]) -> argparse.Namespace:
    parser = Parser(
        "derive.py",
        "Makes more rows of a finished run's kept ones, without another edit.",
        "inverse: from the edited picture back to the photo; sibling: from one edit of a photo to another one; composed: of a "
        "dialogue several turns as one, and each turn as a pair; wordings: the same pair in short, long and spoken words. "
        "What words cannot say is left out and counted; docs/derive.md says how.",
    )
    add = parser.add_argument
    add("run", type=path_argument, metavar="OUT", help="the --output of a finished run")
    add("--output", required=True, type=path_argument, metavar="DIR", help="a folder of its own for the derived rows")
    add("--kinds", type=_names(KINDS, "kind"), default=list(KINDS), metavar="KIND,...",
        help=f"some of {', '.join(KINDS)} (default: all)")  # fmt: skip
    add("--lang", type=_names(LANGUAGES, "language"), default=[], metavar="LANG,...",
        help="en, zh or both (default: what a row is written in)")  # fmt: skip
    add("--siblings", type=number(int, lambda value: 1 <= value <= 20, "be 1 to 20"), default=2, metavar="N",
        help="most sibling rows that begin with one edit's result (default 2)")  # fmt: skip
    add("--with-originals", action="store_true", help="put the rows that were derived from into the dataset, too")
    add("--layout", choices=("hf", "imgedit", "wds"), help="how rows lie on disk (default: as the run's)")
    add_shared(add)
    return parser.read(words)


if __name__ == "__main__":
    sys.exit(main())
