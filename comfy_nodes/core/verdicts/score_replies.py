"""Scores in a judge's words, however it writes them: JSON, lines `name: score`, tables, bare numbers, Chinese.

Judge Edit hands in a reply's text and the criteria that were asked for. A score is read only where nothing else could
be meant: what is missing, out of range, on another scale, given twice with two values, or said of a range ("3-4") makes
the reply unreadable, and the edit unscored. Nothing is guessed, clamped or taken as 0.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .rubrics import Criterion, Read


class Unreadable(ValueError):
    """A reply that does not say one score for each criterion; the message says why."""


_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMERALS: dict[str, float] = {word: float(number) for number, word in enumerate(_WORDS)}
_NUMERALS |= {char: float(number) for number, char in enumerate("零一二三四五六七八九十")} | {"\u3007": 0.0, "两": 2.0}

_NUMBER = rf"(?:\d+(?:\.\d+)?|(?:{'|'.join(_WORDS)})(?![a-z])|[零\u3007一二两三四五六七八九十])"
_SCORE_WORD = r"(?:scores?|scored|ratings?|rated|评分|得分|分数|打分|分值)"
_UNIT = r"(?:\s*(?:分|星|points?\b|pts?\b|stars?\b))?"
_VALUE = (
    rf"(?P<number>{_NUMBER}){_UNIT}[*_`\"']*"
    rf"(?:\s*(?:\\?/|out\s+of|of)\s*(?P<scale>{_NUMBER}){_UNIT}|\s*[(\[]\s*(?:满分|out\s+of|/)\s*(?P<scale2>\d+){_UNIT}\s*[)\]])?"
    r"[*_`\"']*"
)
_MARKS = "\ue000-\uf8ff"
"""Where criteria's names stand in a text that was made ready: a character of the private area each."""
_AFTER = (
    rf"(?=\s*(?:$|\n|[;!|)}}\]。(\[{_MARKS}]|,(?!\s*\d)|、(?!\s*\d)|\.(?!\d)|[-\u2013\u2014]\s+(?!\d)|"
    r"(?:because|since|as|due)\b|因为|由于))"
)
_NUMBERED = re.compile(r"\s*[)\]}*_`\"']*[ \t]*(?:[:=]|\|[ \t]*\d)")
"""Behind a number that only counts criteria off, as in `Quality (2): 4`, or stands in another column before the score."""
_REVISED = re.compile(
    r"(?:[+=\u00d7→]|->|(?<!\d)[-\u2212])\s*\d|"
    r"\b(?:minus|deduct\w*|subtract\w*|base|start\w*|beg[aiu]n\w*|total|final\w*|overall|revised|actually|so|thus|hence|"
    r"therefore|lowered|raised|then|or|maybe|perhaps|possibly|rather|max\w*|at most)\b[^\n]*\d|"
    r"(?:扣|减|共|最终|所以|或|然后|改为|也许|可能)[^\n]*\d|"
    r"(?<!\bas )\b(?:if|unless)\b|\bmax(?:imum)?\b|如果|假如|除非|最高",
    re.IGNORECASE,
)
"""Behind a number that a sum, a change of mind or a condition begins with, or that is the scale's end: what it comes to
is not for this reader to work out."""
_EXAMPLE = re.compile(
    r"(?:\bexamples?\b|\be\.\s?g\.|\bfor instance\b|\bsuch as\b|例如|比如|示例)[^\n{}]*\n?\s*\Z", re.IGNORECASE
)
"""Before JSON that shows what an answer could be."""
_LINE_END = r"(?=[ \t]*,?[ \t|}]*(?:$|\n))"
_MINUS = "-\u2212\u2013\u2014"

_ONE_VALUE = _VALUE.replace("?P<number>", "").replace("?P<scale>", "").replace("?P<scale2>", "?:")
_LEAD = r"(?:(?P<lead>(?:overall|in (?:summary|conclusion)|(?:based on|considering|since|because)\b\D*?),|\D*?,?\s*\b(?:so|therefore|thus),?)\s+)?"
_WHY = r"(?:(?:\s*[-\u2013\u2014]|,?\s*\b(?:because|as|since)\b)\s+(?P<why>\D*)|\s*\((?P<note>[^\d()]*)\))?"
_SAID = re.compile(
    rf"{_LEAD}(?:(?:the edit|this edit|this|it)\s+(?:gets|deserves|scores|earns|receives)|i(?:'d|\s+would|\s+will)?\s+(?:give|rate|score)"
    r"(?:\s+(?:this\s+edit|the\s+edit|it|this))?(?:\s+(?:as|at))?|我?会?给?(?:这次|该|此)?(?:编辑)?(?:打|评)|"
    rf"(?:(?:my|the|final|overall)\s+)*(?:{_SCORE_WORD}|answer|[{_MARKS}])(?:\s+(?:is|of)|\s*[:=]|为|是)|<score>|\\boxed\{{)"
    rf"\s*[*_]*(?:an?\s+)?(?:{_SCORE_WORD}\s+(?:of\s+)?)?[*_]*(?P<said>{_VALUE})(?:</score>|\}})?{_WHY}",
    re.IGNORECASE,
)
"""A sentence that says one score, as people do: a label or a verb before it, at most a reason without numbers around."""
_SCALED = re.compile(rf"{_LEAD}(?P<said>{_VALUE}){_WHY}", re.IGNORECASE)
_HYPOTHETICAL = re.compile(r"\b(?:without|with|had|were)\b", re.IGNORECASE)
"""Before a score: what would have to be so for it."""
_DOUBT = re.compile(
    r"\b(?:except\w*|apart|would|could|should|maybe|perhaps|might|if|unless|instead|rather|actually|reflection|second thought|corrected|revis\w+|"
    r"scores?|scored|ratings?|rated?|points?|quality|percent|normally|usually|previous\w*)\b|^(?:but|however|yet|though)\b|[%分]|"
    r"如果|也许|可能|但是|不过",
    re.IGNORECASE,
)
"""Words that may take a score back, or speak of another."""
_COUNTED = re.compile(
    rf"(?<![\d.:=/(#-])\b{_NUMBER}\s+(?!(?:out|of|to|or|is|would|and|for)\b)[a-z]{{3,}}", re.IGNORECASE
)
"""A number of things: `2 plates`."""

_FIRST_FLAG = 0x0800
"""How far flags' marks lie behind those of scores in the private area."""

_NAME_KEYS = {"name", "criterion", "dimension", "metric", "aspect", "category", "item", "title", "名称", "维度", "指标"}
_SCORE_KEYS = ("score", "value", "rating", "points", "得分", "评分", "分数")
_LIST_KEYS = {"score", "scores", "rating", "ratings", "result", "results", "评分", "得分", "分数"}
_TRUE, _FALSE = {"true", "yes", "是", "1"}, {"false", "no", "否", "不是", "0"}
_CONFLICT = object()
_LARGE = 1_000_000


@dataclass
class _Claims:
    """What a reply says of each criterion so far."""

    low: int
    high: int
    scores: dict[int, set[float]] = field(default_factory=dict)
    flags: dict[int, set[bool]] = field(default_factory=dict)

    def score(self, number: int, value: float) -> None:
        if not self.low <= value <= self.high:
            raise Unreadable(f"a score of {value:g} is not within {self.low} to {self.high}")
        self.scores.setdefault(number, set()).add(value)

    def flag(self, number: int, said: bool) -> None:
        self.flags.setdefault(number, set()).add(said)


def read_scores(text: str, criteria: Sequence[Criterion], low: int, high: int, flags: Sequence[Criterion] = ()) -> Read:
    """The scores in a reply.

    Args:
        text: the model's words, without the thoughts before them.
        low, high: the range, both included; scores between whole numbers are taken as they stand.

    Raises:
        Unreadable: a criterion has no score, or none that is certain.
    """
    claims = _Claims(low, high)
    plain = _plain(text)
    rest = _of_json(plain, criteria, flags, claims)
    known = len(claims.scores) == len(criteria)
    marked = _marked(rest, criteria, flags)
    _of_lines(marked, claims, strict=not known)
    if not claims.scores and len(criteria) == 1:
        _of_sentences(marked, claims)
    if not claims.scores and not re.search(f"[{_MARKS}]", marked):
        _of_numbers(marked, len(criteria), claims)
    return Read(
        {one.name: _only(claims.scores.get(number), one) for number, one in enumerate(criteria)},
        {one.name: _only(claims.flags.get(number), one) for number, one in enumerate(flags)},
    )


def _only(found: set[Any] | None, of: Criterion) -> Any:
    if not found:
        raise Unreadable(f"it says nothing certain of {of.name.replace('_', ' ')}")
    if len(found) > 1:
        raise Unreadable(f"it says {' and '.join(f'{one:g}' for one in sorted(found))} of {of.name.replace('_', ' ')}")
    return next(iter(found))


def _plain(text: str) -> str:
    """The text with full-width and circled characters, curly quotes and fractions in their plain forms, and no fences."""
    text = re.sub(r"(?<=\d)\s*½", ".5", text)
    if re.search("[¼-¾⅐-⅞²³¹⁰-₉]", text):
        raise Unreadable("it holds a fraction or a power")
    text = unicodedata.normalize("NFKC", text).translate({0x201C: '"', 0x201D: '"', 0x2018: "'", 0x2019: "'"})
    text = re.sub(f"[{_MARKS}]", " ", text)
    return re.sub(r"```\w*", "", text).strip()


# JSON


def _of_json(text: str, criteria: Sequence[Criterion], flags: Sequence[Criterion], claims: _Claims) -> str:
    """Takes what the text's JSON objects say, and gives the text without them."""
    decoder = json.JSONDecoder(object_pairs_hook=_object, strict=False)
    mended = re.sub(r",(\s*[}\]])", r"\1", text)
    rest, at = [], 0
    while (start := mended.find("{", at)) >= 0:
        rest.append(mended[at:start])
        try:
            value, end = decoder.raw_decode(mended, start)
        except (ValueError, RecursionError):  # no JSON, too deep, or a number of thousands of digits
            rest.append("{")
            at = start + 1
            continue
        if not _EXAMPLE.search(mended[max(0, start - 80) : start]):
            _walk(value, criteria, flags, claims)
        rest.append("\n")
        at = end
    return "".join([*rest, mended[at:]])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found[key] = _CONFLICT if key in found and found[key] != value else value
    return found


def _walk(value: Any, criteria: Sequence[Criterion], flags: Sequence[Criterion], claims: _Claims) -> None:
    if isinstance(value, list):
        for one in value:
            _walk(one, criteria, flags, claims)
        return
    if not isinstance(value, dict):
        return
    named = next((one for key, one in value.items() if key.casefold() in _NAME_KEYS and isinstance(one, str)), None)
    if named is not None and (number := _numbered(named, criteria)) is not None:
        claims.score(number, _scalar(_inner(value), claims.high, criteria[number]))
        return
    for key, one in value.items():
        if (number := _numbered(key, criteria)) is not None:
            claims.score(number, _scalar(_inner(one), claims.high, criteria[number]))
        elif (number := _numbered(key, flags)) is not None:
            claims.flag(number, _said(one, flags[number]))
        elif key.casefold() in _LIST_KEYS and isinstance(one, list) and len(one) == len(criteria):
            if not any(isinstance(part, (dict, list)) for part in one):
                for number, part in enumerate(one):
                    claims.score(number, _scalar(part, claims.high, criteria[number]))
            else:
                _walk(one, criteria, flags, claims)
        elif key.casefold() in _LIST_KEYS and len(criteria) == 1 and not isinstance(one, (dict, list)):
            claims.score(0, _scalar(one, claims.high, criteria[0]))
        else:
            _walk(one, criteria, flags, claims)


def _numbered(name: str, criteria: Sequence[Criterion]) -> int | None:
    """Which criterion a key of JSON names: by its own name, or as `score 1`."""
    key = _bare(name)
    for number, one in enumerate(criteria):
        names = {_bare(one.name), _bare(one.chinese), one.short.casefold()} - {""}
        if key in names or re.sub("(?:score|rating|得分|评分|分数)$", "", key) in names:
            return number
    indexed = re.fullmatch(r"(?:score|rating|评分|得分|分数)(\d)", key)
    if indexed and len(criteria) > 1 and 1 <= int(indexed[1]) <= len(criteria):
        return int(indexed[1]) - 1
    return None


def _bare(name: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKC", name).casefold() if char.isalnum())


def _inner(value: Any) -> Any:
    """`{"score": 4, "reason": …}` as 4."""
    if isinstance(value, dict):
        return next((value[key] for key in _SCORE_KEYS if key in value), None)
    return value


def _scalar(value: Any, high: int, of: Criterion) -> float:
    if isinstance(value, str):
        found = re.match(rf"[\s*_`\"']*(?:{_SCORE_WORD}\s*[:=]\s*)?{_VALUE}{_AFTER}", value.strip(), re.IGNORECASE)
        if found and not _REVISED.search(value.strip(), found.end()):
            return _value(found, high)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGE < value < _LARGE:
        return float(value)
    raise Unreadable(f"it says nothing certain of {of.name.replace('_', ' ')}")


def _said(value: Any, of: Criterion) -> bool:
    word = str(value).strip(" .*。").casefold()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise Unreadable(f"it says neither yes nor no of {of.name.replace('_', ' ')}")


def _value(found: re.Match[str], high: int) -> float:
    scale = found["scale"] or found["scale2"]
    if scale is not None and _number(scale) != high:
        raise Unreadable(f"a score is given on a scale of {scale}, not of {high}")
    return _number(found["number"])


def _number(word: str) -> float:
    return _NUMERALS[word.casefold()] if word.casefold() in _NUMERALS else float(word)


# Lines


def _marked(text: str, criteria: Sequence[Criterion], flags: Sequence[Criterion]) -> str:
    """The text with a character of the private area for each criterion's name, so that names cannot run together."""
    names: list[tuple[str, str]] = []
    for first, listed in ((0, criteria), (_FIRST_FLAG, flags)):
        for number, one in enumerate(listed):
            mark = chr(0xE000 + first + number)
            words = r"[\s_\-&/]*(?:and\b)?[\s_\-&/]*".join(map(re.escape, one.name.split("_")))
            names.append((rf"(?<![a-z])(?i:{words})(?![a-z])", mark))
            names.append((re.escape(one.chinese), mark))
            if one.short:
                names.append((rf"(?<![A-Za-z]){one.short}(?![A-Za-z])", mark))
    for pattern, mark in sorted(names, key=lambda one: -len(one[0])):
        text = re.sub(pattern, mark, text)
    if len(criteria) > 1:
        indexed = rf"(?<![a-z])(?:score|rating|评分|得分|分数)[\s_#]*([1-{len(criteria)}])(?=[\s*_\"']*[:=(])"
        text = re.sub(indexed, lambda one: chr(0xE000 + int(one[1]) - 1), text, flags=re.IGNORECASE)
    return text


def _of_lines(text: str, claims: _Claims, strict: bool) -> None:
    """Takes what stands behind each name.

    Args:
        strict: whether a number that could mean something else makes the reply unreadable; where JSON has said
            everything, it is let be.
    """
    low, high = claims.low, claims.high
    span = (
        rf"[(\[]?\s*(?:(?:on\s+)?(?:a\s+|the\s+)?(?:scale|range)(?:\s+of|\s+from)?|from)?\s*"
        rf"{low}\s*(?:[-\u2013\u2014~]|to|至|到)\s*{high}\s*分?\s*[)\]]?|\(\s*(?:out\s+of|/|max\.?|满分)\s*{high}\s*分?\s*\)"
    )
    word = rf"{_SCORE_WORD}|is|was|of|equals?|gets?|got|at|为|是|给"
    between = re.compile(rf"(?:{span}|[{_MINUS}\s\"'`*_:=|\])}}{{(\[,.…#>→【】]|(?:{word})(?![a-z]))*+", re.IGNORECASE)
    value = re.compile(_VALUE, re.IGNORECASE)
    for mark in re.finditer(f"[{_MARKS}]", text):
        number = ord(mark[0]) - 0xE000
        if number >= _FIRST_FLAG:
            _flag_at(text, mark.end(), number - _FIRST_FLAG, claims)
            continue
        gap = between.match(text, mark.end())
        assert gap
        found = value.match(text, gap.end())
        if not found:
            continue
        crossed = "\n" in gap[0]
        sure = re.compile(_LINE_END if crossed else _AFTER).match(text, found.end())
        rest = re.compile(rf"[^\n{_MARKS}]*").match(text, found.end())
        other = _NUMBERED.match(text, found.end()) or (rest and _REVISED.search(rest[0]))
        minus = gap[0].endswith(tuple(_MINUS)) or re.search(r"(?<![-=])>\s*$", gap[0])
        if sure and not minus and not other:
            claims.score(number, _value(found, high))
        elif strict and not crossed:
            raise Unreadable(f"what stands behind a name is no single score: {found[0].strip()!r}")


def _flag_at(text: str, at: int, number: int, claims: _Claims) -> None:
    words = "|".join(sorted(_TRUE | _FALSE, key=len, reverse=True))
    either = rf"\s*(?:/|\||\bor\b|或|,)\s*(?:{words})(?![a-z\d])"
    found = re.compile(rf"[\s\"'`*_:=|?-]*({words})(?![a-z\d])(?!{either})", re.IGNORECASE).match(text, at)
    if found:
        claims.flag(number, found[1].casefold() in _TRUE)


# Numbers alone


def _of_numbers(text: str, wanted: int, claims: _Claims) -> None:
    """Takes bare numbers in the criteria's order, where lines hold nothing else and there are as many as are wanted."""
    one = rf"(?:(?:final|overall|my|the|总)\s*)*(?:{_SCORE_WORD}\s*(?:is|are|:|=|为|是)*)?"
    line = re.compile(
        rf"(?:[-*•#>]++\s+|[*#>]++)*+(?:(?P<mark>\d+)(?:[.):]|、)\s+)?{one}[\s*_`\"'(\[|]*"
        rf"(?P<all>{_ONE_VALUE}(?:\s*(?:[,;、|]|\s)\s*(?:and\s+|和)?{_ONE_VALUE})*)[*_`\"')\]|]*\s*[.。,;!]?\s*",
        re.IGNORECASE,
    )
    found: list[float] = []
    marks: list[str | None] = []
    for row in text.splitlines():
        match = line.fullmatch(row.strip())
        if match:
            here = [_value(part, claims.high) for part in re.finditer(_VALUE, match["all"], re.IGNORECASE)]
            found += here
            marks += [match["mark"]] * len(here)
        elif re.search(r"\d", row):
            raise Unreadable("it holds numbers among words, and names no criterion")
    listed = [str(number) for number in range(1, len(found) + 1)]
    if len(found) != wanted or (any(marks) and marks != listed):
        raise Unreadable(f"it names no criterion and holds {len(found)} plain scores, not {wanted}")
    for number, score in enumerate(found):
        claims.score(number, score)


# Sentences


def _of_sentences(text: str, claims: _Claims) -> None:
    """Takes the one score that one sentence says, where no other words could mean another."""
    said: list[re.Match[str]] = []
    scale = rf"^on\s+a\s+scale\s+(?:of|from)\s+{claims.low}\s*(?:to|[-\u2013])\s*{claims.high},\s+"
    for sentence in re.split(r"\n+|(?<=[.!。;])(?:\s+|(?<=。))", text):
        plain = sentence.lstrip(" \t*_#>\"'`").rstrip(" \t*_.!。;\"'`")
        plain = re.sub(scale, "", plain, flags=re.IGNORECASE)
        found = _SAID.fullmatch(plain) or _SCALED.fullmatch(plain)
        if found and (found.re is _SAID or found["scale"]):
            said.append(found)
            others = [found[name] or "" for name in ("lead", "why", "note")]
        else:
            others = [plain]
        if any(_doubtful(one) for one in others) or (found and _HYPOTHETICAL.search(found["lead"] or "")):
            return
    if len(said) == 1:
        claims.score(0, _value(said[0], claims.high))


def _doubtful(words: str) -> bool:
    """Whether words could take a score back, or say another."""
    numbers = re.search(rf"(?<![a-z]){_NUMBER}", _COUNTED.sub("", words), re.IGNORECASE)
    return bool(_DOUBT.search(words.strip()) or numbers)
