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
_NUMBER = re.compile(r"[-+]?(0x[\da-f]+|(\d+\.?\d*|\.\d+)(e[-+]?\d+)?%?|nan|inf|infinity)", re.IGNORECASE)
_COMMENT = re.compile(r"\s*(#|//|[A-Za-z_]\w*[:=])")
"""How lines begin that stand above or among a detector's: comments, and DOTA's header."""

_ELEMENT = re.compile(r"<([A-Za-z][\w:-]*)(\s[^<>]*)?>.*</\1\s*>|<[A-Za-z][\w:-]*(\s[^<>]*)?/>", re.DOTALL)
"""An element of HTML or XML, with its end."""

_FIELD = re.compile(r"\s*(?:-\s+)?([A-Za-z_][\w-]*)\s*(?:[:=](?:\s|$)|=)")
_DATA_NAMES = frozenset(
    {"caption", "url", "image", "image_id", "file_name", "filename", "path", "bbox", "label", "labels"}
)
"""Names of fields that no instruction begins with."""

_DATA = "holds JSON, XML or other data, not an instruction"

_LABEL_NUMBERS = 4
"""A line with so many numbers and at most a class's name beside them is a detector's: a box has four. Ours."""


class NoWords(Exception):
    """The file holds no instruction; the message names it and says why."""


def words_in(data: bytes, name: str) -> str:
    """The instruction in a file.

    Args:
        data: the file's bytes, of a long one the first `MAX_BYTES + 1`.

    Raises:
        NoWords: another encoding than UTF-8 (or UTF-16 with its mark), too long, a detector's labels, or other data.
    """
    if len(data) > MAX_BYTES:
        raise NoWords(f"{name} is longer than {MAX_BYTES // 1024} KB, which no instruction is; move it away")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig").strip()
    except UnicodeDecodeError:
        raise NoWords(f"{name}: {_NOT_UTF8}") from None
    if why := texts.fault(text, MAX_BYTES):
        raise NoWords(f"{name} {why}; save it as UTF-8 text that holds the words alone")
    if why := no_words(text) or (_DATA if _is_json_text(text) else texts.fault(text)):
        raise NoWords(f"{name} {why}; move it away, or write the words alone")
    return text


def no_words(text: str) -> str:
    """Why a text is no instruction, as a verb and what follows it; "" where it may be one."""
    if labels_in(text):
        return "holds box labels or other numbers, not an instruction"
    return _DATA if _markup(text) or _fields(text) or _table(text) else ""


def captioned(item: Any) -> bool:
    """Whether an object is what img2dataset writes of a photo; then the text beside it is a caption, and no instruction."""
    return isinstance(item, dict) and {"caption", "url"} <= item.keys()


def labels_in(text: str) -> bool:
    """Whether lines are a detector's: numbers alone, or numbers and a class's name (DOTA, KITTI, detections).

    All of them, but for comments and headers; or the first, or any that has a fraction in it, where it could be a box.
    """
    written = [line for line in text.splitlines() if line.strip()]
    lines = [line.replace(",", " ").replace(";", " ").split() for line in written if not _COMMENT.match(line)]
    found = [_numbers_of_label(line) for line in lines]
    boxes = [
        number >= _LABEL_NUMBERS and (not place or any("." in word[:-1] for word in line))
        for place, (number, line) in enumerate(zip(found, lines, strict=True))
    ]
    return bool(lines) and (all(found) or any(boxes))


def _numbers_of_label(line: list[str]) -> int:
    """How many numbers a detector's line holds; 0 where it is another line."""
    numbers = sum(_NUMBER.fullmatch(word) is not None for word in line)
    label = numbers == len(line) or (numbers >= _LABEL_NUMBERS and numbers > 2 * (len(line) - numbers))
    return numbers if label else 0


def _fields(text: str) -> bool:
    """Whether every line is a field, as in YAML or a settings file, by names that data has."""
    lines = [line for line in text.splitlines() if line.strip() not in ("", "---")]
    names = [match[1] for line in lines if (match := _FIELD.match(line))]
    if not lines or len(names) < len(lines):
        return False
    return not _DATA_NAMES.isdisjoint(names) or (len(names) > 1 and all(map(str.islower, names)))


def _table(text: str) -> bool:
    """Whether it is a table with a header: names without spaces, and as many cells below each."""
    lines = [line for line in text.splitlines() if line.strip()]
    for mark in (",", "\t", ";", "|"):
        names = lines[0].split(mark) if len(lines) > 1 else []
        if len(names) > 1 and all(re.fullmatch(r'"?[A-Za-z_]\w*"?', name) for name in names):
            return all(line.count(mark) >= len(names) - 1 for line in lines)
    return False


def _is_json_text(text: str) -> bool:
    """Whether it is a string as JSON has it, in its quotes."""
    try:
        return text.startswith('"') and isinstance(json.loads(text), str)
    except ValueError:
        return False


def _markup(text: str) -> bool:
    if text.startswith(("<?xml", "<!", "<annotation", "```", "{'", "[{'")) or _ELEMENT.search(text):
        return True
    if re.fullmatch(r"[a-z][\w+.-]*://\S+", text):
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
