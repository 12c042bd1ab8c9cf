"""Options of `batch.py` that have become commands of their own: whoever still writes one is told which.

Called by `options.py` before it reads the others.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence


def moved(words: Sequence[str], program: str) -> str:
    """The command that an option of old has become, with the same words; empty where there is none among them.

    Args:
        program: whose option it was.
    """
    old = argparse.ArgumentParser(program, add_help=False, allow_abbrev=False)
    for name, blank in {
        "--adopt": "FILE",
        "--adopt-choice": "NAME=#ID",
        "--collect": "FOLDER",
        "--open": "KEY",
    }.items():
        old.add_argument(name, nargs="?", const=blank)
    old.add_argument("--again", action="store_true")
    old.add_argument("--output", nargs="?")
    found, rest = old.parse_known_args(words)
    if found.open or found.again:
        command = ["driver/open.py", found.output or "RUN", found.open or "KEY", *["--again"][: found.again]]
    elif found.adopt or found.adopt_choice:
        choice = ["--choice", found.adopt_choice] if found.adopt_choice else []
        command = ["driver/adopt.py", found.adopt or "FILE", *choice]
    elif found.collect:
        command = ["driver/collect.py", found.collect]
    else:
        return ""
    if found.output and "driver/open.py" not in command:
        command += ["--output", found.output]
    return shlex.join(["python", *command, *rest])
