"""Which operation an instruction asks for, read from its words, and whether a restated one asks for another.

It reads verbs at the head of a sentence, not meaning: what it cannot tell for sure is no operation. It must not know where
instructions come from.
"""

from __future__ import annotations

import re

from .checks import Unfit, outside_quotes, quoted_words
from .wording import Language

_COLOURS = (
    "red|orange|yellow|green|turquoise|blue|purple|violet|pink|brown|black|white|gr[ae]y|silver|gold(?:en)?|beige|teal|"
    "dark|light|bright|deep|pale"
)
_MADE = (
    "wood(?:en)?|metal(?:lic)?|glass|marble|stone|leather|plastic|steel|bronze|ceramic|gold|silver|brick|fabric|velvet|"
    "chrome|concrete|crystal"
)
_PICTURE = r"(?:the |this )?(?:whole |entire )?(?:photo(?:graph)?|image|picture|scene)"
_STYLE = "style|painting|sketch|drawing|cartoon|anime|watercolou?r|illustration|comic|mosaic|render|art|print"

_HEADS: tuple[tuple[str, str], ...] = (
    (
        "background",
        r"(?:replace|change|swap|switch|turn|make|set|put|alter) (?:\S+ ){0,3}?(?:the |its |his |her |their )?background",
    ),
    (
        "extract",
        r"(?:extract|isolate|cut (?:\S+ ){0,12}?out|separate)\b|(?:remove|erase|delete) (?:the |its )?background\b",
    ),
    (
        "replace",
        r"(?:remove|erase|delete|take) [^.;]*,? (?:and )?replacing (?:it|them)\b|(?:replace|swap|substitute|exchange|trade)\b|switch (?:\S+ ){1,12}?(?:for|with)\b|put (?:\S+ ){1,14}?in place of\b",
    ),
    (
        "remove",
        r"(?:remove|erase|delete|eliminate|get rid of|clear away|wipe away)\b|make (?:\S+ ){1,12}?(?:disappear|vanish)\b|take (?:\S+ ){0,12}?(?:away|out|off)\b",
    ),
    (
        "style",
        rf"(?:turn|change|convert|transform|render|make|redraw|repaint) {_PICTURE} .*\b(?:{_STYLE})\b|(?:stylize|restyle)\b",
    ),
    ("alter", r"(?:paint|colou?r|recolou?r|dye|tint) (?:the|this|that|his|her|its|their)\b"),
    (
        "add",
        r"(?:add|insert|include|introduce)\b|(?:put|place|draw|paint|set|hang) (?:an?|another|some|two|three|more)\b|give (?:\S+ ){1,8}?an?\b",
    ),
    (
        "alter",
        rf"(?:change|turn|make|transform|convert) (?:\S+ ){{1,14}}?(?:in)?to (?:an? )?(?:\S+ )?(?:{_COLOURS}|{_MADE})(?: (?:one|version|colou?r))?[.!]?$",
    ),
    ("alter", r"(?:change|turn|make|transform|convert) (?:\S+ ){0,13}?(\w+) (?:in)?to an? .*\b\1\b"),
    (
        "replace",
        r"(?:change|turn|transform|convert) (?:\S+ ){1,14}?(?:in)?to an? (?!different|new|more|lighter|darker|brighter)\S",
    ),
    ("alter", r"(?:change|turn|make|alter|modify|adjust|recolou?r)\b"),
)
"""English operations by the head of a sentence; the first that fits counts."""

_CHINESE: tuple[tuple[str, str], ...] = (
    ("background", r"(?:把|将)?.{0,6}背景.{0,4}(?:换|替换|改|变)|(?:更换|替换|改变|换掉).{0,4}背景"),
    ("extract", "提取|抠出|抠图|分离出"),
    ("replace", "替换|换成|换为|取代|代替|替代"),
    ("remove", "移除|删除|去掉|去除|擦除|擦掉|抹去|抹掉|拿走|拿掉|清除|消除|移走|删掉"),
    ("style", "风格|(?:照片|图片|图像|画面).{0,4}(?:变成|转换成|改成|转为).{0,12}画"),
    ("add", "添加|加上|加入|增加|新增|插入|摆上|放上|放置"),
    ("alter", "改成|变成|改为|变为|调整|染成|涂成|改变.{1,30}颜色|换一?[种个]颜色"),
)

_VERBS = frozenset(
    re.findall(
        r"\w+",
        "add adjust age align alter apply arrange attach bend blend blur break brighten bring build burn carve center centre "
        "change clean clear close color colour combine convert copy correct cover crack create crop cut darken decorate delete "
        "desaturate double draw dress drop duplicate dye edit eliminate engrave enlarge erase exchange expand extend extract "
        "fill fix flip fold frame freeze generate give grow hang have hide illuminate include increase insert introduce invert "
        "isolate lengthen let lift lighten lower make melt merge mirror modify move narrow nudge open paint place plant point polish "
        "position pour print pull push put raise rearrange recolor recolour redraw reduce relocate remove render repaint "
        "repair replace reposition reshape resize restore restyle retouch reverse rewrite rotate saturate scale scatter "
        "separate set sharpen shift shorten show shrink simulate slide smooth soften spin spread sprinkle stack straighten "
        "stretch strip style stylise stylize substitute surround swap switch take throw tilt tint trade transform trim turn "
        "widen wipe wrap write zoom",
    )
)
"""English verbs that an edit is asked for with, beside `get rid of` and `keep only`. Ours."""
_BEFORE_VERB = re.compile(
    r"^(?:(?:in|on|at|from|to|for|behind|beside|near|next|under|above|within|with|using)\b[^,.;]{1,60}, +|"
    r"(?:keep|leave|retain|preserve)\b[^.;]{1,80}?(?:, (?:and |but )?| and | but ))",
    re.IGNORECASE,
)
"""A place, or what is to stay, before what is to be done."""
_TWO_WORDS = re.compile(r"(?:get rid of|keep only)\b", re.IGNORECASE)
# A verb's object that is none, an end without a noun, a Chinese refusal, and words of the verifier's own prompt. Ours.
_IN_VAIN = re.compile(r"\w+ (?:no|nothing|none|not)\b[^,.;]*\W*$", re.IGNORECASE)
_BROKEN_OFF = re.compile(r"\b(?:an?|the|with|to|into|of|by|from|and|or|in|on|at)\W*$", re.IGNORECASE)
_REFUSED = re.compile(r"^(?:不|别|没|无|未|请勿|抱歉|对不起)")
_FORBIDS = re.compile(r"(?:do not|don['\u2019]t|never)\b", re.IGNORECASE)
_ABOUT_REPLY = re.compile(
    r"\b(?:claims?|restate\w*|the instruction|(?:edited|original) (?:image|picture|photo))\b", re.IGNORECASE
)

_POLITE = re.compile(
    r"^(?:please|kindly|now|then|next|finally|(?:can|could|would) you|let's|i want you to)[,:]? +", re.IGNORECASE
)
_ALSO = re.compile(r", (?:and )?(add|insert)ing ", re.IGNORECASE)
_NEXT = re.compile(r"(?:[,;]|[.] )? *(?:\band then|\bthen|\band|[;.]) +(?=[a-z])", re.IGNORECASE)

_FITTING: dict[str, frozenset[str]] = {
    "add": frozenset({"add"}),
    "remove": frozenset({"remove"}),
    "replace": frozenset({"replace"}),
    "visual": frozenset({"replace"}),
    "alter": frozenset({"alter"}),
    "background": frozenset({"background", "replace", "alter"}),
    "style": frozenset({"style", "alter"}),
    "motion": frozenset({"alter"}),
    "extract": frozenset({"extract"}),
    "hybrid": frozenset({"hybrid"}),
}
"""Operations that an instruction of a task may be read as. A sky replaced is a background, a warmer picture is a style and
a raised hand a motion, though the words say less. Tasks with several turns, and those that an instruction alone decides,
have no row."""


def operation_of(text: str, language: Language) -> str:
    """The operation that an instruction asks for, `hybrid` where it asks for two different ones; empty where words don't
    tell."""
    if language == "zh":
        return next((name for name, words in _CHINESE if re.search(words, text)), "")
    text = _ALSO.sub(r" and \1 ", text)
    found = [one for one in (_head(part) for part in _NEXT.split(text.strip())) if one]
    if not _head(text.strip()):
        return ""
    return "hybrid" if len(set(found)) > 1 else found[0]


def misasked(task: str, text: str, language: Language) -> str:
    """What an instruction asks for in the place of its task: another operation, or `nothing`; else empty."""
    if (_REFUSED if language == "zh" else _FORBIDS).match(_asked(text)):
        return "nothing"
    return restated_task(task, "", text, language)


def no_imperative(text: str, language: Language, initial: str) -> str:
    """Why words that a model wrote in an instruction's place are no request to edit; empty where they are one.

    Args:
        initial: the instruction in whose place they stand; a verb that it begins with is a verb to edit with.
    """
    if language == "zh":
        return "it asks for nothing" if _REFUSED.match(text) else ""
    plain = _asked(_BEFORE_VERB.sub("", _asked(text)))
    first = re.match(r"[a-z]+(?![-'\w])", plain, re.IGNORECASE)
    own = re.match(r"\w+", _asked(initial))
    verbs = _VERBS | ({own.group().casefold()} if own else set())
    if not (_TWO_WORDS.match(plain) or (first and first.group().casefold() in verbs)):
        return "it does not begin with what is to be done"
    if _IN_VAIN.match(plain):
        return "it asks for nothing"
    if _BROKEN_OFF.search(plain):
        return "it breaks off"
    about = _ABOUT_REPLY.search(plain)
    return f"it speaks of {about.group()!r}" if about else ""


def restated_task(task: str, initial: str, restated: str, language: Language) -> str:
    """The task that a restated instruction asks for, where that is another one than the sample's; else empty.

    An operation that the initial instruction was read as is none: it is how that task was said.
    """
    asked = operation_of(restated, language)
    if not asked or task not in _FITTING or asked in _FITTING[task] or asked == operation_of(initial, language):
        return ""
    return asked


def check_same_wish(english: str, chinese: str) -> None:
    """Both languages ask for the same, as far as words show it: what they quote, and whether a thing comes or goes.

    Raises:
        Unfit: they do not.
    """
    quoted = [{words.strip(" .,\u3002\uff0c").casefold() for words in quoted_words(one)} for one in (english, chinese)]
    if quoted[0] != quoted[1]:
        raise Unfit(f"English and Chinese quote other words: {english!r}, {chinese!r}")
    asked = {operation_of(english, "en"), operation_of(chinese, "zh")}
    if asked == {"add", "remove"}:
        raise Unfit(f"English and Chinese ask for opposite edits: {english!r}, {chinese!r}")
    digits = [set(re.findall(r"\d+", "".join(outside_quotes(one)))) for one in (english, chinese)]
    if all(digits) and digits[0] != digits[1]:
        raise Unfit(f"English and Chinese say other numbers: {english!r}, {chinese!r}")


def _asked(text: str) -> str:
    """The text without polite words before its verb."""
    while (plain := _POLITE.sub("", text)) != text:
        text = plain
    return text


def _head(text: str) -> str:
    return next((name for name, words in _HEADS if re.match(words, _asked(text), re.IGNORECASE)), "")
