"""An instruction in other words: short, long, and as one would say it. The same wish for the same thing, by rules alone.

What cannot be said otherwise by these rules is left as it is. Each result is held against the reader of operations. It knows
no pictures; what a long wording says of the rest of the picture its caller has to know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from .changes import Untold
from .checks import MAX_CHARACTERS, MAX_WORDS, outside_quotes
from .operations import no_imperative, operation_of
from .wording import Language

VERSION = "1"
"""Version of the rules; it goes into every record. Changed rules get a new one."""

Way = Literal["short", "long", "spoken"]
WAYS: tuple[Way, ...] = ("short", "long", "spoken")

NO_REQUEST = "it is not one plain request"
NO_OTHER = "it cannot be said so in other words"
TOO_LONG = "it would be too long"

_PLACE = r"(?:left|right|top|bottom|center|centre|middle|corner)"
_PLAIN: dict[Language, tuple[tuple[str, str], ...]] = {
    "en": (
        (r"^(?:please|kindly),? ", ""),
        (rf"(\b\S*{_PLACE}) of the (?:image|picture|photo)\b", r"\1"),
        (r"\bchange the colou?r of (the .+?) to (\w+)(?=$| and )", r"make \1 \2"),
    ),
    "zh": ((r"^请", ""), (r"图像(?=[左右上下顶底中])", ""), (r"的颜色(?=[改变换])", "")),
}
"""What says nothing that was not said."""
_SHORT: dict[Language, tuple[tuple[str, str], ...]] = {
    "en": (
        (r"^(?:take away|get rid of|erase|delete) ", "remove "),
        (r"^(?:put|insert) (?=an? )", "add "),
        (r"^(?:turn|change|convert|transform) (?:the|this) (?:photo|photograph|picture|image) into ", "make it "),
        (r" and show it alone on a plain white background$| onto a plain white background$", " on plain white"),
        (r",? (?:and )?(?:leave|leaving|keep|keeping) (?:everything|all|the rest) .*$", ""),
    ),
    "zh": ((r"，其[余他]部分.*$", ""), (r"^把照片变成", "变成")),  # noqa: RUF001
}
_SPOKEN: dict[Language, tuple[tuple[str, str], ...]] = {
    "en": (
        (r"^(?:remove|erase|delete|take away) ", "get rid of "),
        (r"^(?:add|insert) (?=an? )", "put "),
        (r"^replace (the .+) with (?!.* with )", r"swap \1 for "),
    ),
    "zh": ((r"^(?:移除|删除|擦除)", "去掉"),),
}
_LONG: dict[Language, dict[str, str]] = {
    "en": {
        "part": "Please {words}; leave everything else in the picture exactly as it is.",
        "style": "Please {words}, and give the whole picture this one look.",
        "extract": "Please {words}, so that nothing else of the picture is left.",
        "whole": "Please {words} in this picture.",
    },
    "zh": {
        "part": "请{words}，画面的其余部分保持原样。",  # noqa: RUF001
        "style": "请{words}，整张画面统一为这种样子。",  # noqa: RUF001
        "extract": "请{words}，画面中不留下其他内容。",  # noqa: RUF001
        "whole": "请在这张图片里{words}。",
    },
}
_ASKED: dict[Language, str] = {"en": "Could you {words}, please?", "zh": "麻烦帮我{words}，可以吗？"}  # noqa: RUF001


def reworded(way: Way, words: str, language: Language, task: str, rest_stays: bool, names: Sequence[str] = ()) -> str:
    """An instruction in other words.

    Args:
        rest_stays: whether the pair is equal outside its edit mask, so that this may be said.
        names: what its things are called; those in the words stay in them.

    Raises:
        Untold: these rules do not know how, or the result is read otherwise.
    """
    plain = words.strip().rstrip("。.!！ ")  # noqa: RUF001
    unquoted = " ".join(outside_quotes(plain))
    if re.search(r"[.?!。？！]\s|[？！?]|\n", unquoted) or no_imperative(plain, language, ""):  # noqa: RUF001
        raise Untold(NO_REQUEST)
    if language == "en" and not plain[:2].isupper():
        plain = plain[:1].lower() + plain[1:]
    if way == "long":
        form = "part" if rest_stays else task if task in ("style", "extract") else "whole"
        found = _LONG[language][form].format(words=_changed(plain, _PLAIN[language][:1]))
    else:
        found = _changed(plain, _PLAIN[language])
        found = _changed(found, (_SHORT if way == "short" else _SPOKEN)[language])
        found = _ASKED[language].format(words=found) if way == "spoken" else _sentence(found, language)
    _check(words, found, language, names)
    return found


def without_before(words: str, language: Language) -> str:
    """A turn's instruction without the words that point at a turn before it: `too`, `now`."""
    if language == "zh":
        return re.sub(r"^(?:现在|然后|接着|再|也)+，?", "", words)  # noqa: RUF001
    found = re.sub(r",? (?:too|as well|also)(?=[.!]?$)", "", words, flags=re.IGNORECASE)
    found = re.sub(r"^(?:now|then|next|also),? (?=[a-z])", "", found, flags=re.IGNORECASE)
    return found[:1].upper() + found[1:]


def _check(words: str, found: str, language: Language, names: Sequence[str]) -> None:
    """
    Raises:
        Untold: the words are the same, say another thing or operation, or are too many.
    """
    if found.casefold().rstrip("。.") == words.strip().casefold().rstrip("。."):
        raise Untold(NO_OTHER)
    if (len(found) if language == "zh" else len(found.split())) > (MAX_CHARACTERS if language == "zh" else MAX_WORDS):
        raise Untold(TOO_LONG)
    asked = {operation_of(one, language) for one in (words, found)}
    lost = [one for one in names if one.casefold() in words.casefold() and one.casefold() not in found.casefold()]
    if lost or not (len(asked) == 1 or asked == {"style", "alter"}):
        raise Untold(NO_OTHER)


def _changed(words: str, rules: Sequence[tuple[str, str]]) -> str:
    for pattern, new in rules:
        words = re.sub(pattern, new, words, flags=re.IGNORECASE)
    return words


def _sentence(words: str, language: Language) -> str:
    return f"{words}。" if language == "zh" else f"{words[:1].upper()}{words[1:]}."
