"""Finds the JSON objects and lists of them in a model's words, and reads them where they are whole.

Models put prose, thoughts and fences around what was asked for, and get quotes and commas wrong. An object that ends is
mended; one that does not is `Unfinished`, since nobody knows what its last words were to be. `replies` holds what is found
against the shape that was asked for. Length and nesting are bounded before anything is parsed.
"""

from __future__ import annotations

import json
import re
from typing import Any

MOST_LEVELS = 32
"""Objects and lists inside each other; the deepest shape that is asked for has 4. Ours."""

MOST_OBJECTS = 16
"""Of more objects in one reply the last ones are looked at. Ours."""

MOST_MENDED = 20_000
"""Characters of an object that is not JSON as it stands and is still mended; the longest replies have about 10,000. Ours."""

_QUOTES = {'"': '"', "'": "'", "\u201c": '\u201d"', "\u2018": "\u2019'"}
_BEFORE_STRING = "{[,:\uff1a\uff0c"
_AFTER_STRING = re.compile("\\s*(?:[,:}\\]\uff0c\uff1a]|\\Z)")
_CLOSING = {"{": "}", "[": "]"}
_WIDE_COLON = re.compile("(?<=[\"'\u201d\u2019])\\s*\uff1a\\s*")
_WIDE_COMMA = re.compile("\\s*\uff0c\\s*(?=[\"'\u201c\u2018}\\]])")


class Unfinished(ValueError):
    """The words end inside an object."""


class UnreadableJson(ValueError):
    """What stands there is not read, and why."""


def objects(words: str) -> list[dict[str, Any] | list[Any]]:
    """The objects in a reply, and lists that begin with one, in order; empty ones left out.

    Raises:
        Unfinished: the last one does not end.
        UnreadableJson: one says two things of one name, or they are nested too deep.
    """
    found = [one for span in _spans(words)[-MOST_OBJECTS:] if (one := _read(span))]
    try:
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise UnreadableJson("the reply's JSON holds NaN, Infinity or half a character") from None
    return found


def _spans(words: str) -> list[str]:
    """From brace to brace what may be an object. Braces in strings don't count, nor do quotes inside words."""
    spans: list[str] = []
    open_: list[str] = []
    closers = last = ""  # of the string that we are in; the last character that is no space
    start = at = 0
    while at < len(words):
        char = words[at]
        if closers:
            if char == "\\":
                at += 1
            elif char in closers and _AFTER_STRING.match(words, at + 1):
                closers = ""
        elif open_ and char in _QUOTES and last in _BEFORE_STRING:
            closers = _QUOTES[char]
        elif char == "{" or (char == "[" and (open_ or words[at + 1 :].lstrip()[:1] == "{")):
            start = at if not open_ else start
            open_.append(_CLOSING[char])
            if len(open_) > MOST_LEVELS:
                raise UnreadableJson(f"the reply's JSON is nested in more than {MOST_LEVELS} levels")
        elif open_ and char == open_[-1]:
            open_.pop()
            if not open_:
                spans.append(words[start : at + 1])
        if not char.isspace():
            last = char
        at += 1
    if open_:
        raise Unfinished
    return spans


def _read(span: str) -> dict[str, Any] | list[Any] | None:
    """A span as an object, mended where models commonly get it wrong; None where it is none."""
    try:
        return json.loads(span, object_pairs_hook=_once, strict=False)  # type: ignore[no-any-return]
    except ValueError as error:
        if isinstance(error, UnreadableJson):
            raise
    if len(span) > MOST_MENDED:
        return None
    import json_repair  # the pack loads without it

    # The second time without Chinese punctuation between members, which the library takes for text.
    for text in (span, _WIDE_COMMA.sub(",", _WIDE_COLON.sub(":", span))):
        try:
            value = json_repair.loads(text)
        except (ValueError, RecursionError):
            return None
        if isinstance(value, dict if span[0] == "{" else list):
            return value
    return None


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members:
        if name in found and found[name] != value:
            raise UnreadableJson(f"the reply's JSON says two things of {name[:40]!r}")
        found[name] = value
    return found
