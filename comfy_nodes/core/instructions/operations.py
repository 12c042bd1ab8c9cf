"""Which operation an instruction asks for, read from its words, and whether a restated one asks for another.

It reads verbs at the head of a sentence, not meaning: what it cannot tell for sure is no operation. It must not know where
instructions come from.
"""

from __future__ import annotations

import re

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
        r"(?:replace|swap|substitute|exchange|trade)\b|switch (?:\S+ ){1,12}?(?:for|with)\b|put (?:\S+ ){1,14}?in place of\b",
    ),
    (
        "remove",
        r"(?:remove|erase|delete|eliminate|get rid of|clear away|wipe away)\b|take (?:\S+ ){0,12}?(?:away|out|off)\b",
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
    ("alter", "改成|变成|改为|变为|调整|染成|涂成"),
)

_POLITE = re.compile(
    r"^(?:please|kindly|now|then|next|finally|(?:can|could|would) you|let's|i want you to)[,:]? +", re.IGNORECASE
)
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
    found = [one for one in (_head(part) for part in _NEXT.split(text.strip())) if one]
    if not _head(text.strip()):
        return ""
    return "hybrid" if len(set(found)) > 1 else found[0]


def restated_task(task: str, initial: str, restated: str, language: Language) -> str:
    """The task that a restated instruction asks for, where that is another one than the sample's; else empty.

    An operation that the initial instruction was read as is none: it is how that task was said.
    """
    asked = operation_of(restated, language)
    if not asked or task not in _FITTING or asked in _FITTING[task] or asked == operation_of(initial, language):
        return ""
    return asked


def _head(text: str) -> str:
    while (plain := _POLITE.sub("", text)) != text:
        text = plain
    return next((name for name, words in _HEADS if re.match(words, text, re.IGNORECASE)), "")
