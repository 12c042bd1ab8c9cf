"""Lines for people, whatever words a server or a file's name has in them: nothing of it moves the cursor or paints."""

from __future__ import annotations

import re
import sys

_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|$)"  # OSC and others: titles, links, clipboard
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
"""Control characters, line breaks too, and those that turn the direction of writing."""

_VERBS = {"is": "are", "has": "have", "": ""}


def plain(text: str) -> str:
    """`text` as one line without terminal sequences and control characters."""
    return _CONTROLS.sub(" ", _SEQUENCES.sub("", text))


def counted(number: int, noun: str, verb: str = "") -> str:
    """A number of things, and what they are or have: `1 sample is`, `2 samples are`.

    Args:
        verb: as for one thing: is, has, or none.
    """
    if number == 1:
        return f"1 {noun} {verb}".rstrip()
    return f"{number} {noun}s {_VERBS[verb]}".rstrip()


def say(line: str) -> None:
    """One line on stderr."""
    print(plain(line), file=sys.stderr, flush=True)
