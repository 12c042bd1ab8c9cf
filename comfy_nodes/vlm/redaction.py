"""Keeps keys out of everything that is shown or stored: messages, replies and the log lines of HTTP libraries.

Profiles report every key that they read; whoever makes a message calls `clean`. It does not know where keys come from.
"""

from __future__ import annotations

import logging
import re
from urllib.parse import quote

HIDDEN = "[key hidden]"

SHORTEST = 8
"""Keys below this many characters are not looked for: placeholders such as `EMPTY` or `ollama` are words that replies
may hold. Ours."""

LONGEST_MESSAGE = 400
"""Characters of a message that are kept. Ours."""

_KEY_SHAPES = re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_*-]{6,}|(?i:\bbearer)\s+[^\s'\",]+|\bAIza[0-9A-Za-z_-]{20,}")
_DATA_URL = re.compile(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+")

_LIBRARIES = ("openai", "httpx", "httpx2", "httpcore", "httpcore2")

_keys: set[str] = set()


def hide(key: str) -> None:
    """From now on `key` appears in no message. Forms that URLs give it are hidden as well."""
    if len(key) >= SHORTEST:
        _keys.update((key, quote(key, safe="")))


def without_keys(text: str) -> str:
    """`text` with every known key blotted out, otherwise as it was: for a model's words."""
    for key in _keys:
        text = text.replace(key, HIDDEN)
    return text


def clean(text: str) -> str:
    """`text` as one short line without keys, things that look like keys, and pictures: for messages."""
    text = _DATA_URL.sub("[picture]", without_keys(text))
    line = " ".join(_KEY_SHAPES.sub(HIDDEN, text).split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


class _CleanRecords(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = clean(record.getMessage()), None
        if record.exc_info:
            # The text that formatters print in place of the exception.
            record.exc_text = without_keys(logging.Formatter().formatException(record.exc_info))
        return True


_CLEAN_RECORDS = _CleanRecords()


def guard_logs() -> None:
    """Cleans what the HTTP libraries log, at any level. A filter does not reach child loggers, so each gets it."""
    for name in [*_LIBRARIES, *logging.root.manager.loggerDict]:
        if name.partition(".")[0] in _LIBRARIES:
            logging.getLogger(name).addFilter(_CLEAN_RECORDS)
