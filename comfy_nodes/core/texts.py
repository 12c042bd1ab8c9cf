"""What a text may hold that is kept as words, whoever wrote it: nothing that is a sign of another encoding or of no text."""

from __future__ import annotations

import unicodedata

_SPACES = "\t\n\r"


def fault(text: str) -> str:
    """What makes a text unfit, as a verb and what follows it; "" where nothing does."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        return "holds half a character (a lone surrogate)"
    if any(unicodedata.category(char) == "Cc" and char not in _SPACES for char in text):
        return "holds control characters, such as NUL"
    if "\ufffd" in text:
        return "holds replacement characters (U+FFFD), as it was read in a wrong encoding before"
    return ""


def shown(text: str) -> str:
    """The text in one line, for a message: what cannot be printed stands as its escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def fault_of_name(text: str) -> str:
    """The same of a name, which is one line."""
    return fault(text) or ("holds a line break" if len(text.splitlines()) > 1 or text.endswith("\n") else "")
