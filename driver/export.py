"""The command: `python driver/export.py RUN --to pairs|diffsynth|preference --output DIR`.

Turns a finished run into what trainers read. The command line and what is said at its end; `forms.py` does the work.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import end
from driver.errors import RunError
from driver.terminal import path_argument


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 done, 1 it broke off, 2 nothing was started, 130 stopped."""
    options = _parse(arguments)
    try:
        # Imported when it is needed: the help answers at once.
        from driver.exports.forms import export

        done = export(options.run, options.to, options.output, options.link)
    except RunError as error:
        return end(str(error), error.status, "export.py")
    except ModuleNotFoundError as error:
        return end(
            f"the package {error.name} is missing: run python install.py, or use the Python that it set up",
            2,
            "export.py",
        )
    except KeyboardInterrupt:
        return end("stopped; the same command goes on", 130, "export.py")
    print(f"{options.output}: {done.rows} rows from {options.run}")
    for why, number in done.left_out.items():
        print(f"left out: {number} rows {why}", file=sys.stderr)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="export.py",
        description="Turns a finished run into the files that trainers read.",
        epilog="pairs: folders control and target with a caption beside each target (ai-toolkit, musubi-tuner); "
        "diffsynth: metadata.jsonl for DiffSynth-Studio's edit training; "
        "preference: preference.jsonl, a kept edit against a rejected one of the same sample.",
    )
    add = parser.add_argument
    add("run", type=path_argument, metavar="RUN", help="the --output of a run of batch.py")
    add("--to", required=True, choices=("pairs", "diffsynth", "preference"), help="the form; see below")
    add("--output", required=True, type=path_argument, metavar="DIR", help="a folder of its own for this export")
    add(
        "--link",
        choices=("hard", "symlink", "copy"),
        default="hard",
        help="hard, symlink: images are taken out of the run once, into RUN/images, and every export links to them; "
        "copy: this export gets images of its own; default: hard",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
