"""The command: `python driver/export.py RUN --to pairs|diffsynth|preference|unicedit|scaleedit|bagel --output DIR`.

Turns a finished run into what trainers read. The command line and what is said at its end; `forms.py` does the work.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import Ended, Parser, add_shared, carry_out, path_argument

PARQUET = ("unicedit", "scaleedit", "bagel")
"""Forms that are parquet files with pictures in them."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return carry_out("export.py", _parse, _export, arguments)


def _export(options: argparse.Namespace) -> Ended:
    # Imported when it is needed: the help answers at once.
    from driver.exports.forms import check, export

    if options.dry_run:
        kept = check(options.run, options.to, options.output)
        against = ", against the rejected ones of their samples" if options.to == "preference" else ""
        print(f"{options.output}: would be made of the {kept} kept rows of {options.run}{against}")
        return Ended({"output": options.output, "kept": kept})
    done = export(options.run, options.to, options.output, options.link)
    print(f"{options.output}: {done.rows} {'sequences' if options.to == 'bagel' else 'rows'} from {options.run}")
    for what, number in done.noted.items():
        print(f"{number} {what}")
    for why, number in done.left_out.items():
        print(f"left out: {number} rows {why}", file=sys.stderr)
    if options.to == "preference" and not done.rows:
        why = "no kept edit has a rejected one of its sample, which `--attempts N` or `--at-once N` of batch.py makes"
        print(f"{options.output}: {why}", file=sys.stderr)
    return Ended({"output": options.output, "rows": done.rows, "left_out": done.left_out, "noted": done.noted})


def _parse(words: list[str]) -> argparse.Namespace:
    parser = Parser(
        "export.py",
        "Turns a finished run into the files that trainers read.",
        "pairs: folders control and target with a caption beside each target (ai-toolkit, musubi-tuner); "
        "diffsynth: metadata.jsonl for DiffSynth-Studio's edit training; "
        "preference: preference.jsonl, a kept edit against a rejected one of the same sample; "
        "unicedit: parquet in UnicEdit-10M's schema, English and Chinese; "
        "scaleedit: parquet in ScaleEdit-12M's schema, with its three scores; "
        "bagel: parquet with sequences of pictures, a dialogue's states one behind the other. All other forms take each "
        "turn of a dialogue as a pair, with words that stand alone.",
    )
    add = parser.add_argument
    add("run", type=path_argument, metavar="RUN", help="the --output of a run of batch.py")
    add("--to", required=True, choices=("pairs", "diffsynth", "preference", *PARQUET), help="the form; see below")
    add("--output", required=True, type=path_argument, metavar="DIR", help="a folder of its own for this export")
    add(
        "--link",
        choices=("hard", "symlink", "copy"),
        default="hard",
        help="hard, symlink: images are taken out of the run once, into RUN/images, and every export links to them; "
        "copy: this export gets images of its own; default: hard",
    )
    add_shared(add)
    read = parser.read(words)
    if read.to in PARQUET and read.link != parser.get_default("link"):
        parser.error(f"--link has no effect with --to {read.to}, whose pictures lie in its parquet; leave it out")
    return read


if __name__ == "__main__":
    sys.exit(main())
