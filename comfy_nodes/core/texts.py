"""What a text may hold that is kept as words, whoever wrote it: nothing that is a sign of another encoding or of no text,
nothing that nobody sees, and no more than words have."""

from __future__ import annotations

import re
import unicodedata

MAX_WORDS = 5000
"""Characters of an instruction, at most; instructions have some hundred. Ours."""

MAX_NAME = 200
"""Characters of a name such as a class's, at most. Ours."""

_SPACES = "\t\n\r"

_ZWNJ, _ZWJ = "\u200c", "\u200d"

_BLANKS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Characters that count as letters, marks or signs, and show nothing."""

_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""They choose how the character before them looks; a row of them is a hidden message."""

_FLAGS = re.compile(
    "\U0001f3f4\U000e0067\U000e0062"
    "(\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074|\U000e0077\U000e006c\U000e0073)\U000e007f"
)
"""England's, Scotland's and Wales's: the only emoji that are written with tag characters."""


def fault(text: str, most: int = MAX_WORDS) -> str:
    """What makes a text unfit, as a verb and what follows it; "" where nothing does.

    Args:
        most: characters that it may have.
    """
    if len(text) > most:
        return f"is longer than {most} characters"
    if text.isascii() and text.isprintable():
        return ""
    if any("\ud800" <= char <= "\udfff" for char in text):
        return "holds half a character (a lone surrogate)"
    if any(unicodedata.category(char) == "Cc" and char not in _SPACES for char in text):
        return "holds control characters, such as NUL"
    if "\ufffd" in text:
        return "holds replacement characters (U+FFFD), as it was read in a wrong encoding before"
    if "\r" in text.replace("\r\n", "\n"):
        return "holds a carriage return that ends no line"
    plain = _FLAGS.sub("", text)
    for place, char in enumerate(plain):
        if _unseen(plain, place):
            return f"holds characters that nobody sees or that have no meaning of their own (U+{ord(char):04X})"
    return ""


def _unseen(text: str, place: int) -> bool:
    """Whether a character shows nothing, and does nothing for those beside it that their script needs."""
    char = text[place]
    if char.isascii():
        return False
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    if char in (_ZWNJ, _ZWJ):
        return not (_joins(before) or (char == _ZWJ and _is_sign(before) and _is_sign(after)))
    if _SELECTORS.match(char):
        # Behind digits, # and * stand those of keycaps.
        return (
            not before or before.isspace() or bool(_SELECTORS.match(before)) or (before.isascii() and char != "\ufe0f")
        )
    # Of the unassigned ones, some are emoji that this Python does not know yet.
    unassigned = ord(char) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(char) <= 0xFDEF or ord(char) >= 0xE0000
    kind = unicodedata.category(char)
    return char in _BLANKS or kind in ("Cf", "Zl", "Zp", "Co") or (kind == "Cn" and unassigned)


def _joins(char: str) -> bool:
    """Whether a letter or mark is of a script whose letters change by what stands beside them, as Arabic's and India's."""
    return (
        bool(char)
        and unicodedata.category(char) in ("Lo", "Mn", "Mc")
        and unicodedata.east_asian_width(char) not in ("W", "H", "A")
    )


def _is_sign(char: str) -> bool:
    """Whether a character may be part of an emoji: a picture, its colour or its form."""
    return bool(char) and (unicodedata.category(char) in ("So", "Sk", "Sm", "Cn") or char == "\ufe0f")


def shown(text: str) -> str:
    """The text in one line, for a message: what cannot be printed stands as its escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def fault_of_name(text: str, most: int = MAX_NAME) -> str:
    """The same of a name, which is one line."""
    broken = len(text.splitlines()) > 1 or text.endswith("\n")
    return "holds a line break" if broken else fault(text, most)
