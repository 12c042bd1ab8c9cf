"""What an edit changed, read from its words: what was to be seen of a thing, a background or a picture before, and after.

Whoever turns an edit round, or goes on from one to another, starts here. Words that do not say for sure are not read. It
must not know how pictures are stored, nor what sentences are made of changes (`inverting`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..regions.annotation import Region
from ..regions.people import about_people
from .checks import Unfit, language_of
from .classical import COLOURS
from .english import article
from .operations import operation_of
from .wording import Language, mention

COLOUR_NAMES: dict[str, str] = {**COLOURS, "brown": "棕色", "black": "黑色", "white": "白色", "grey": "灰色"}
"""What things are called by: those of `core.colours.colour_of`, in Chinese."""

LONGEST_NAME = 8
"""Words of a new thing's name; what is longer describes more than one thing. Ours."""


class Untold(Unfit):
    """An edit of which words do not tell what was there; the message is one of few, so that they are counted."""


@dataclass(frozen=True)
class Seen:
    """What is to be seen of something, in one language."""

    name: str
    """A thing's name without article; of a background or a whole picture a phrase with its article."""
    colour: str = ""
    """A key of `COLOUR_NAMES`; empty where it bears no one colour, or nobody measured it."""


@dataclass(frozen=True)
class Change:
    """What became of one thing, of the background, or of the whole picture."""

    what: Literal["thing", "background", "picture"]
    region: Region | None
    """None of the whole picture."""
    before: Seen | None
    """None where it was not there."""
    after: Seen | None

    def turned(self) -> Change:
        return replace(self, before=self.after, after=self.before)


@dataclass(frozen=True)
class Look:
    """What was measured of a region before the edit and after it, each a name of a colour or empty."""

    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Edit:
    """One edit as its row tells of it."""

    op: str
    """What it is filed under: a task, or a turn's operation."""
    words: str
    language: Language
    regions: tuple[tuple[str, Region], ...]
    """Operation and region of each thing."""
    looks: tuple[Look, ...]
    """Of each of these."""
    black_and_white: bool = False
    """Whether the picture before has no colours."""
    captions: tuple[str, ...] = ()
    """What is known of the photo in words."""
    premise: str = ""
    """What was said for all turns of its dialogue: names the colour where a turn's own words don't."""


_NEVER = {
    "extract": "what was around an extracted thing cannot be told in words",
    "motion": "what moved cannot be told backwards",
}
UNNAMED: dict[Language, str] = {"en": "object", "zh": "物体"}
"""What came out of a second picture."""

NO_OPERATION = "its words do not say which operation it is"
NO_THING = "its words do not name what was put in"
NO_NAME = "the thing has no name in this language"
NO_COLOUR = "its words name no new colour"
OTHER_COLOUR = "the thing's name says another colour than it has"
NO_BACKGROUND = "nobody named the background that was there"
NO_STYLE = "nobody named the style that the picture had"

_ORIGINALS = re.compile(r"\b(?:photos?|photographs?)\b|照片|相片", re.IGNORECASE)
_NO_PHOTO = re.compile(
    r"\b(?:painting|drawing|illustration|sketch|cartoon|anime|render(?:ing)?|engraving|mosaic|poster|print)\b|画|插图|漫画",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^(?:an?|some|the)\s+", re.IGNORECASE)
_IT = re.compile(
    r"^(?:now |then )?(?:replace|swap|turn|change|transform|exchange) (?:it|them|this|that)\b", re.IGNORECASE
)
_SECOND = re.compile(r"\b(?:second|reference|other) (?:image|picture|photo)\b|第二张|参考图", re.IGNORECASE)
_COLOUR = re.compile(
    rf"\b(?P<colour>{'|'.join((*COLOUR_NAMES, 'gray'))})(?: (?:colou?r|one))?$|(?P<chinese>{'|'.join(COLOUR_NAMES.values())})的?$",
    re.IGNORECASE,
)
_COLOUR_WORD = re.compile(
    rf"\b(?:{'|'.join((*COLOUR_NAMES, 'gray', 'silver', 'gold(?:en)?', 'violet', 'beige', 'colou?r(?:ed|ful)?'))})\b|色",
    re.IGNORECASE,
)
_RESTYLED = re.compile(
    r"^(?:please )?(?:turn|change|convert|transform|render|make) (?:the|this) (?:whole |entire )?(?:photo|photograph) (?:in)?to "
    r"(?P<new>[^,;]+)$|^(?:把|将)(?:整张)?(?:照片|相片)(?:变|转换|改|换|转)(?:成|为)(?P<chinese>[^，；]+)$",  # noqa: RUF001
    re.IGNORECASE,
)
_BACK = re.compile(
    r"^(?:go back|return) to how it (?:was|looked) (?:at the start|after the [a-z]+ instruction),? and |"
    r"^(?:回到|恢复)它(?:最开始|在第.步之后)的样子，",  # noqa: RUF001
    re.IGNORECASE,
)
"""How a turn of `plans` says which state it starts from; its row has that state's picture."""
_RECOLOURED = re.compile(r"\b(?:re)?colou?r|\b(?:paint|dye|tint)\b|颜色|[染涂]", re.IGNORECASE)
_ANY_COLOUR = re.compile(
    rf"\b(?P<colour>{'|'.join((*COLOUR_NAMES, 'gray'))})\b|(?P<chinese>{'|'.join(COLOUR_NAMES.values())})",
    re.IGNORECASE,
)
_BUT = re.compile(
    r"\b(?:not|never|no|nothing|none|except|but|without|unless|if|than)\b|n't\b|[不没除别]", re.IGNORECASE
)
"""In a premise: it does not hold for everything, or forbids."""
_CHINESE = {
    "add": r"(?:添加|加上|放上|摆上|加入|放置|增加|插入)(?P<new>.+)$",
    "remove": r"^(?:移除|删除|去掉|去除|擦除|擦掉|抹去|抹掉)(?P<old>.+)$|^[把将](?P<taken>.+?)(?:移除|删除|去掉|去除|擦除|擦掉|拿走|抹去)$",
    "replace": r"[把将](?P<old>.+?)(?:替换|换|变|改)(?:成|为)(?P<new>.+)$|用(?P<put>.+)替换(?P<gone>.+)$",
    "alter": r"[把将](?P<old>.+?)(?:的颜色)?(?:改|变|换|染|涂)(?:成|为)(?P<new>.+)$",
}
_BEFORE_NAME = re.compile(
    r"^(?:图像[^的]{1,4}的|最[左右上下][边面]的|[左上]起第.个|[较最][大小]的)?"
    r"(?:[小大](?!丽花|提琴|象|衣|理石|熊猫|米|麦|蒜)(?=..|.$))?"  # names that begin so. Ours
)
_COUNTED = re.compile(r"^(?:一[个只把张件朵条盏本杯块辆台座棵根幅束顶支瓶盆]?)")


def read_changes(edit: Edit) -> tuple[Change, ...]:
    """What an edit changed, in the order of its words.

    Raises:
        Untold: its words do not say it for sure.
    """
    if edit.op in _NEVER:
        raise Untold(_NEVER[edit.op])
    words = _BACK.sub("", edit.words.strip().rstrip("。.!！ "))  # noqa: RUF001
    if edit.op == "style":
        return (_restyled(edit, words),)
    if not edit.regions:
        raise Untold(NO_OPERATION)
    if len(edit.regions) == 1:
        return (_change(edit, words, *edit.regions[0], edit.looks[0]),)
    parts = re.split(r" and (?=[a-z]+ )|，(?:然后|并且?|再)", words)  # noqa: RUF001
    if len(parts) != len(edit.regions):
        raise Untold(NO_OPERATION)
    return tuple(
        _change(edit, part, op, region, look)
        for part, (op, region), look in zip(parts, edit.regions, edit.looks, strict=True)
    )


def _change(edit: Edit, words: str, op: str, region: Region, look: Look) -> Change:
    """One region's change, by the part of the words that is about it."""
    op = "replace" if op == "visual" else op
    second = op == "replace" and bool(_SECOND.search(words))
    read = operation_of(words, edit.language)
    if op not in ("add", "remove", "replace", "alter", "background") or read not in (op, *_ALSO_READ.get(op, ())):
        raise Untold(NO_OPERATION)
    if op == "background":
        return _new_background(edit, words, region, look)
    name = _name(edit.language, words, op, region)
    before = None if op == "add" else Seen(name, _look(edit, name, look.before))
    if op == "remove":
        return Change("thing", region, before, None)
    if op == "add":
        return Change("thing", region, None, Seen(name, _look(edit, name, look.after)))
    if op == "alter":
        return Change("thing", region, before, Seen(name, _new_colour(words, edit.premise)))
    new = UNNAMED[edit.language] if second else _new_thing(edit.language, words, region)
    return Change("thing", region, before, Seen(new))


_ALSO_READ: dict[str, tuple[str, ...]] = {"background": ("replace",)}
"""A sky that is replaced is a background."""


def _look(edit: Edit, name: str, colour: str) -> str:
    """The colour that a thing is called by: none of people, of what says a colour itself, and in a picture without any.

    Raises:
        Untold: its name says another one.
    """
    if edit.black_and_white or about_people([name]):
        return ""
    if not says_colour(name):
        return colour
    if colour and colour not in name.casefold() and COLOUR_NAMES[colour] not in name:
        raise Untold(OTHER_COLOUR)
    return ""


def _name(language: Language, words: str, op: str, region: Region) -> str:
    """What a region's thing is called.

    Raises:
        Untold: nobody said it in this language.
    """
    known = (region.class_name or "").strip()
    if known and (language_of(known) == "zh") == (language == "zh"):
        return known
    found = re.search(_CHINESE[op], words) if language == "zh" else None
    if found is None:
        raise Untold(NO_NAME)
    groups = found.groupdict()
    said = next((groups[one] for one in ("old", "taken", "gone", "new") if groups.get(one)), "")
    name = _BEFORE_NAME.sub("", _COUNTED.sub("", said))
    if not name or len(name) > LONGEST_NAME or re.search("[的那这它其个边面方]", name):
        raise Untold(NO_NAME)
    return name


def _new_thing(language: Language, words: str, region: Region) -> str:
    """The name of what was put in a thing's place.

    Raises:
        Untold: the words do not say it for sure.
    """
    new = _behind(language, words, region)
    name = (_COUNTED if language == "zh" else _ARTICLE).sub("", new).strip()
    several = re.search(r",|;|\b(?:and|while|which|that|it|them)\b|[，；]", new)  # noqa: RUF001
    if not name or several or len(name if language == "zh" else name.split()) > LONGEST_NAME:
        raise Untold(NO_THING)
    return name


def _behind(language: Language, words: str, region: Region) -> str:
    """What stands behind a thing and `with` or `into`; empty where that is not clear."""
    if language == "zh":
        found = re.search(_CHINESE["replace"], words)
        return (found["new"] or found["put"]) if found else ""
    named = _IT.match(words) or (mention(region.class_name).search(words) if region.class_name else None)
    found = re.match(r" (?:with|for|by|into|to) (?P<new>.+)$", words[named.end() :]) if named else None
    return found["new"] if found else ""


def _new_colour(words: str, premise: str) -> str:
    """
    Raises:
        Untold: neither the words nor, where they only say that there is a new one, the premise name one for sure.
    """
    found = _COLOUR.search(words)
    if found is None and _RECOLOURED.search(words) and not _BUT.search(premise):
        named = list(_ANY_COLOUR.finditer(premise))
        found = named[0] if len(named) == 1 else None
    if found is None:
        raise Untold(NO_COLOUR)
    if found["chinese"]:
        return next(name for name, chinese in COLOUR_NAMES.items() if chinese == found["chinese"])
    return found["colour"].casefold().replace("gray", "grey")


def _new_background(edit: Edit, words: str, region: Region, look: Look) -> Change:
    """
    Raises:
        Untold: nobody named the one that was there.
    """
    known = (region.class_name or "").strip()
    if known.casefold() in ("", "background", "背景") or (language_of(known) == "zh") != (edit.language == "zh"):
        raise Untold(NO_BACKGROUND)
    new = _behind(edit.language, words, region)
    if not new:
        raise Untold(NO_THING)
    alike = known.casefold() in new.casefold()
    colour = _look(edit, known, look.before) if alike else ""
    if alike and (not colour or colour in new.casefold()):
        raise Untold(NO_BACKGROUND)
    old = coloured(Seen(known, colour), edit.language)
    return Change("background", region, Seen(with_article(old, edit.language)), Seen(new))


def _restyled(edit: Edit, words: str) -> Change:
    """
    Raises:
        Untold: neither the words nor a caption say that it was a photo, or a caption says otherwise.
    """
    found = _RESTYLED.search(words)
    if found is None or any(_NO_PHOTO.search(one) and not _ORIGINALS.search(one) for one in edit.captions):
        raise Untold(NO_STYLE)
    photo = {
        "en": "a black-and-white photo" if edit.black_and_white else "a natural colour photo",
        "zh": "黑白照片" if edit.black_and_white else "自然色彩的照片",
    }[edit.language]
    return Change("picture", None, Seen(photo), Seen(found["chinese"] or found["new"]))


def coloured(seen: Seen, language: Language) -> str:
    """A name with its colour before it."""
    if not seen.colour:
        return seen.name
    return f"{seen.colour} {seen.name}" if language == "en" else f"{COLOUR_NAMES[seen.colour]}的{seen.name}"


def with_article(noun: str, language: Language) -> str:
    return f"{article(noun)} {noun}".strip() if language == "en" else noun


def says_colour(name: str) -> bool:
    """Whether a name says a colour itself, so that the thing is not called so any more when it is painted."""
    return bool(_COLOUR_WORD.search(name))


def repainted(name: str) -> str:
    """What a thing is called once it has another colour than its name says: `small galaxy` of a `small yellow galaxy`.

    Raises:
        Unfit: the name cannot do without its colour.
    """
    if not says_colour(name):
        return name
    left = " ".join(_COLOUR_WORD.sub("", name).split())
    if not re.fullmatch(r"[a-z][a-z -]*", left, re.IGNORECASE) or re.search(
        r"\b(?:and|or|with|in|of)\b|-(?!\w)|(?<!\w)-", left
    ):
        raise Unfit(f"{name!r} says a colour that a turn would change: name the region without it")
    return left


def region_key(region: Region | None) -> Sequence[object]:
    """By which two regions are the same."""
    return (region.bbox, region.class_name, region.mask and region.mask.counts) if region else ()
