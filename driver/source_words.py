"""The words of a text file that lies beside a photo, or in a tar with it: an instruction, or why it cannot be one."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

from comfy_nodes.core import texts

MAX_BYTES = 64 * 1024
"""The longest text that is read as words; instructions have some hundred characters. Ours."""

_NOT_UTF8 = "cannot be read as UTF-8 text; save it as UTF-8"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?%?")

_LABEL_NUMBERS = 4
"""A line with so many numbers and at most a class's name beside them is a detector's: a box has four. Ours."""


class NoWords(Exception):
    """The file holds no instruction; the message names it and says why."""


def words_in(data: bytes, name: str) -> str:
    """The instruction in a file.

    Args:
        data: the file's bytes, of a long one the first `MAX_BYTES + 1`.

    Raises:
        NoWords: another encoding than UTF-8 (or UTF-16 with its mark), too long, a detector's labels, JSON or XML.
    """
    if len(data) > MAX_BYTES:
        raise NoWords(f"{name} is longer than {MAX_BYTES // 1024} KB, which no instruction is; move it away")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig").strip()
    except UnicodeDecodeError:
        raise NoWords(f"{name}: {_NOT_UTF8}") from None
    if why := texts.fault(text):
        raise NoWords(f"{name} {why}; save it as UTF-8 text")
    if labels_in(text):
        raise NoWords(f"{name} holds box labels or other numbers, not an instruction; move it away")
    if _markup(text):
        raise NoWords(f"{name} holds JSON or XML, not an instruction; move it away, or write the words alone")
    return text


def captioned(item: Any) -> bool:
    """Whether an object is what img2dataset writes of a photo; then the text beside it is a caption, and no instruction."""
    return isinstance(item, dict) and {"caption", "url"} <= item.keys()


def labels_in(text: str) -> bool:
    """Whether every line is a detector's: numbers alone, or numbers and a class's name (DOTA, KITTI, detections)."""
    lines = [line.replace(",", " ").replace(";", " ").split() for line in text.splitlines() if line.strip()]
    found = [sum(_NUMBER.fullmatch(word) is not None for word in line) for line in lines]
    return bool(lines) and all(
        numbers == len(line) or (numbers >= _LABEL_NUMBERS and numbers > 2 * (len(line) - numbers))
        for numbers, line in zip(found, lines, strict=True)
    )


def _markup(text: str) -> bool:
    if text.startswith(("<?xml", "<annotation")):
        return True
    if not text.startswith(("{", "[")):
        return False
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return text.startswith(('{"', '[{"'))  # cut off
    except RecursionError:
        return True
    return isinstance(value, dict) or end == len(text)
