"""Lines for people, whatever words a server or a file's name has in them: nothing of it moves the cursor or paints."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

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


def aligned(rows: Sequence[Sequence[str]], words: Sequence[int] = (0,)) -> list[str]:
    """A table as lines, its columns as wide as their widest cell.

    Args:
        rows: of one length, the first one the columns' names.
        words: columns that begin at their left; numbers end at their right. A last one of words is as long as it is.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [
        [
            one.ljust(width) if index in words else one.rjust(width)
            for index, (one, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    return [plain("  ".join(row).rstrip()) for row in cells]


def time_text(seconds: float) -> str:
    """A time as minutes and seconds, or hours too: `2:05`, `1:00:30`."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def say(line: str) -> None:
    """One line on stderr."""
    print(plain(line), file=sys.stderr, flush=True)
