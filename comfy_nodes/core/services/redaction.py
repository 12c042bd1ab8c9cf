"""Keeps keys out of everything that is shown or stored: messages, replies, logs. Node pack and driver share it.

Whoever reads a key reports it with `hide`; from then on it is found in whatever form a text repeats it: other case or
spacing, halves, backwards, ROT13, base64, base32, hexadecimal, escapes. It does not know where keys come from.
"""

from __future__ import annotations

import base64
import codecs
import logging
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from urllib.parse import quote

HIDDEN = "[key hidden]"

SHORTEST = 8
"""Keys below this many characters are not looked for: placeholders such as `EMPTY` or `ollama` are words that replies
may hold. Ours."""

HALVED = 16
"""Keys of this many letters and digits are found by a half, too (two fifths: signs count in halves); shorter ones only
whole. Ours."""

LONGEST_PIECE = 12
"""Of a long key this many letters and digits are enough. Ours."""

LONGEST_MESSAGE = 400
"""Characters of a message that are kept. Ours."""

_SHAPES = (
    # Prefixes that services give to their keys: OpenAI and others, Stripe, Hugging Face, Google, GitHub, AWS.
    (re.compile(r"\b(?:(?:sk|pk|rk)-|hf_|AIza|gh[pousr]_|AKIA)[A-Za-z0-9_*-]{6,}"), HIDDEN),
    (re.compile(r"(?<=://)[^/\s@]+@"), f"{HIDDEN}@"),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{8,}"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b((?:api[_-]?key|token)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;)}]{8,}"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b((?:secret|password)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;)}]+"), rf"\1{HIDDEN}"),
)
_DATA_URL = re.compile(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|(?:\\x|%|&#x)([0-9a-fA-F]{2});?|&#(\d{2,3});")
_LETTERS = re.compile(r"[^\W_]+")

_LIBRARIES = ("openai", "httpx", "httpx2", "aiohttp")

_pieces: dict[str, tuple[int, frozenset[str]]] = {}
"""Of each key the length of its pieces, and all of them in all forms."""


def hide(key: str) -> None:
    """From now on `key` appears nowhere."""
    if len(key) < SHORTEST or key in _pieces:
        return
    letters = len(_bare(key))
    length = letters if letters < HALVED else max(SHORTEST, min(LONGEST_PIECE, letters * 2 // 5))
    forms = _forms(key) if length >= SHORTEST else ()
    _pieces[key] = length, frozenset(form[at : at + length] for form in forms for at in range(len(form) - length + 1))


def without_keys(text: str) -> str:
    """`text` with every known key blotted out, otherwise as it was: for a model's words.

    Where a key comes out only when escapes are read, nothing of the text is left.
    """
    for key in tuple(_pieces):  # another thread may add one meanwhile
        text = text.replace(key, HIDDEN)
    shown: list[str] = []
    end = 0
    for start, stop in _places(text):
        if start > end or not shown:
            shown += [text[end:start], HIDDEN]
        end = stop
    clear = "".join([*shown, text[end:]])
    return HIDDEN if _ESCAPE.search(clear) and holds_key(_unescaped(clear)) else clear


def holds_key(text: str) -> bool:
    """Whether a known key, or enough of it, stands in `text` in any form."""
    return any(key in text for key in tuple(_pieces)) or next(_places(text), None) is not None


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16) if not found[3] else int(found[3])), text)


def without_secrets(text: str) -> str:
    """`text` without keys and what looks like a key, a token or an address's password: for logs."""
    text = without_keys(text)
    for shape, shown in _SHAPES:
        text = shape.sub(shown, text)
    return text


def clean(text: str) -> str:
    """`text` as one short line without secrets, pictures and what a terminal obeys: for messages."""
    shown = without_secrets(_DATA_URL.sub("[picture]", text))
    line = " ".join("".join(char if char.isprintable() else " " for char in shown).split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


def _bare(text: str) -> str:
    """Letters and digits alone, in one case."""
    return "".join(_LETTERS.findall(text)).casefold()


def _forms(key: str) -> Iterator[str]:
    """What a key looks like, without spacing and case, where somebody repeats it."""
    raw = key.encode("utf-8", "surrogateescape")  # as it lies in the environment
    yield _bare(key)
    yield _bare(key)[::-1]
    yield codecs.encode(_bare(key), "rot13")
    yield raw.hex()
    yield "".join(f"u{byte:04x}" for byte in raw)
    yield "".join(f"x{byte:02x}" for byte in raw)
    yield "".join(map(str, raw))
    yield _bare(quote(raw, safe=""))
    yield _bare(base64.b32encode(raw).decode())
    for before in range(3):
        # Base64 of a longer text that holds the key, by where it begins; the outer characters depend on the rest.
        coded = base64.b64encode(b"\0" * before + raw + b"\0" * 2).decode()
        yield _bare(coded[4 if before else 0 : (len(raw) + before) * 4 // 3])


def _places(text: str) -> Iterator[tuple[int, int]]:
    """From where to where pieces of keys stand in `text`, in order, overlapping ones joined."""
    if not _pieces:
        return
    runs = list(_LETTERS.finditer(text))
    bare = "".join(run[0] for run in runs)
    begins = [0]
    for run in runs:
        begins.append(begins[-1] + len(run[0]))
    folded = bare.lower() if bare.isascii() else "".join(map(_folded, bare))
    found = sorted(
        (at, at + length)
        for length, pieces in tuple(_pieces.values())
        for at in range(len(folded) - length + 1)
        if folded[at : at + length] in pieces
    )
    for first, last in _joined(found):
        yield _at(runs, begins, first), _at(runs, begins, last - 1) + 1


def _folded(letter: str) -> str:
    """A letter as a key spells it, also of a full-width one; a few, such as ß, would become two and stay."""
    plain = unicodedata.normalize("NFKC", letter).casefold()
    return plain if len(plain) == 1 else letter


def _joined(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    first = last = -1
    for start, stop in spans:
        if start > last:
            if last >= 0:
                yield first, last
            first = start
        last = max(last, stop)
    if last >= 0:
        yield first, last


def _at(runs: list[re.Match[str]], begins: list[int], letter: int) -> int:
    """Where in the text the letter of this number stands."""
    run = bisect_right(begins, letter) - 1
    return runs[run].start() + letter - begins[run]


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
