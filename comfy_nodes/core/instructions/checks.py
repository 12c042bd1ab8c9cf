"""What an instruction has to keep to, whoever wrote it: language, length, one thing said once, the right verb, nothing else.

Each check raises `Unfit` with a sentence that is also what a model is told when it is asked again. `composing` calls
them in order. They read words, not meaning: they catch what a small model gets wrong often, and prove nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from .wording import Language


class Unfit(ValueError):
    """An instruction that cannot be used; the message says what is wrong with it."""


class NothingToEdit(ValueError):
    """What the edit is to change is not on the photo; asking again would only invent it."""


class WrongLanguage(Unfit):
    """An instruction in another language than was asked for."""


MAX_WORDS = 45
"""Longest English instruction in words: the 30 that prompts ask for (ImgEdit) and our words for size and place, with
some room. Ours."""

MAX_CHARACTERS = 90
"""Longest Chinese instruction in characters, on the same grounds. Ours."""

MIN_HAN = 0.3
"""Least share of Han characters among the letters of a Chinese text; a brand or a letter on a sign is Latin. Ours."""

MAX_HAN = 0.1
"""Largest share of Han characters among the letters of an English text. Ours."""

READ_ALIKE = 0.5
"""From this likeness on what a model reads is taken for what a reader of words read: either may miss letters. Ours."""

_VERBS: dict[str, dict[Language, str]] = {
    "add": {
        "en": r"add|put|place|insert|include|introduce|bring|set|draw|paint|give",
        "zh": "添加|加上|加入|增加|新增|放|插入|摆|补上|加",
    },
    "remove": {
        "en": r"remove|erase|delete|take (?:\S+ ){0,12}?(?:away|out|off)|take (?:away|out|off)|get rid of|eliminate|clear|wipe",
        "zh": "移除|删除|去掉|去除|擦除|擦掉|抹去|抹掉|拿走|拿掉|清除|消除|移走|删掉|除去",
    },
    "replace": {
        "en": r"replace|swap|substitute|exchange|switch|trade|turn (?:\S+ ){0,14}?into|change (?:\S+ ){0,14}?(?:in)?to|transform|convert|put (?:\S+ ){0,14}?in place of",
        "zh": "替换|换成|换为|换上|取代|代替|替代|改成|改为|变成|更换|换",
    },
    "extract": {
        "en": r"extract|isolate|cut (?:\S+ ){0,12}?out|cut out|separate|show (?:\S+ ){0,12}?alone",
        "zh": "提取|抠出|分离|抠图|抠|截取|取出|单独",
    },
}
_FORBIDDEN: dict[str, tuple[str, ...]] = {
    "remove": ("replace",),
    "add": ("remove",),
    "alter": ("remove",),
    "extract": ("replace",),
}
"""Verbs of other operations that contradict this one; those that it may well use are left out."""

_EXPLICIT: dict[str, dict[Language, str]] = {
    "replace": {"en": "replace|swap|substitute", "zh": "替换|取代|替代"},
    "remove": {"en": "remove|erase|delete", "zh": "移除|删除|去除|擦除"},
}
"""Verbs that can mean nothing but this operation."""

_PRONOUNS: dict[Language, str] = {
    "en": r"it|its|it's|them|their|they|this|that|these|those|one",
    "zh": "它|其|这|那|他|她",
}
_BACK: dict[Language, str] = {
    "en": r"back|previous|earlier|before|original|first|undo|revert|restore|return|instead|initial|prior",
    "zh": "回到|恢复|撤销|之前|上一|第一|原来|最初|先前|还原|退回|返回|不要",
}

_PLACE_WORDS: dict[Language, str] = {
    "en": r"\b(?:left|right|top|bottom|upper|lower|middle|cent(?:er|re)|corner|side|edge)\b[\w\s-]{0,20}\bof (?:the|this) (?:image|photo|picture|frame|scene|shot)\b",
    "zh": r"(?<!参考)(?<!张)(?:图像|图片|画面|照片|相片|图)[的]?(?:正|最)?(?:左|右|上|下|中|顶|底)",
}
_STRANGE = (
    (re.compile(r"https?:|www\.|\b\w+@\w+\.\w|\b[\w-]+\.(?:com|org|net|io|cn)\b", re.IGNORECASE), "a link or an address"),
    (re.compile(r"```|</?\w|&\w+;|\*\*|!\[|\]\(|^#|\{|\}"), "markup"),
    (re.compile(r"\[|\]|\$\w|\bOBJECT\b|\bPLACE\b"), "a word of the template"),
    (re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\ufeff]"), "a line break or an invisible character"),
    (re.compile(r"^\W*(?:the )?(?:output|prompt|instruction|result|answer|round ?\d)\s*:", re.IGNORECASE), "a label in front"),
    (re.compile(r"\b(?:ignore|disregard|forget)\b.{0,30}\b(?:instruction|prompt|rule)s?\b", re.IGNORECASE), "an order to a model"),
    (re.compile(r"\b(?:as an ai|language model|system prompt|json)\b|忽略.{0,10}(?:指令|提示)", re.IGNORECASE), "talk of a model"),
    (re.compile(r"\b(?:bounding box|bbox|coordinates?|marked (?:region|area|object|thing)|(?:colou?red|drawn) (?:frame|box)|(?:in|inside|within) the (?:red|green|blue|yellow|orange|purple|pink|cyan|magenta) (?:frame|outline|rectangle))\b|边框|坐标|掩码", re.IGNORECASE), "the marks that are drawn over the photo"),
)  # fmt: skip
_NO_REQUEST = (
    (re.compile(r"^(?:no|nothing)\b.*\b(?:chang|differen)|没有变化|无变化", re.IGNORECASE), "it says that nothing changes"),
    (re.compile(r"\b(?:masterpiece|best quality|[48]k|highly detailed|trending on)\b", re.IGNORECASE), "it lists words of a picture prompt"),
    (re.compile(r"^(?:the|an?|this|there|\[OBJECT\])(?!\w)", re.IGNORECASE), "it describes instead of asking"),
    (re.compile(r"^(?:what|which|who|where|why|how|is|are|does|did)\b.*\?\W*$", re.IGNORECASE), "it asks a question"),
)  # fmt: skip
"""What models write in an instruction's place; none begins with an article."""
_NOT_READ = frozenset(
    {"none", "no text", "nothing", "n/a", "no words", "empty", "illegible", "unreadable", "无", "没有", "没有文字"}
)
"""What models answer where no words can be read."""
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|「[^」]*」|『[^』]*』")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_COMMON = frozenset(
    re.findall(
        r"\S+",
        "the and with for into onto from that this its it's an of on in to at by as is are be been made make change "
        "changed turn put object image photo picture all any every each should have has something colour color new",
    )
)
"""Words that two texts may share without speaking of the same thing."""


def check_language(text: str, language: Language) -> None:
    """Whether the text is in the language, by the share of its scripts. Words in quotes may be in any.

    Raises:
        WrongLanguage: it is not.
    """
    share, letters = _han_share(text)
    if language == "zh" and share < MIN_HAN:
        raise WrongLanguage(f"it is not in Chinese: {text!r}")
    if language == "en" and (share > MAX_HAN or not letters):
        raise WrongLanguage(f"it is not in English: {text!r}")


def language_of(text: str) -> Language:
    """The language of an instruction that somebody wrote without saying."""
    return "zh" if _han_share(text)[0] >= MIN_HAN else "en"


def check_clean(text: str) -> None:
    """Refuses links, markup, words of the template, and talk to or about models. What stands in quotes counts too."""
    for pattern, what in _STRANGE:
        found = pattern.search(text)
        if found:
            raise Unfit(f"it holds {what} ({found.group().strip()!r})")


def check_length(text: str, language: Language) -> None:
    """An instruction's or a command's length."""
    length, most, unit = (
        (len(text), MAX_CHARACTERS, "characters") if language == "zh" else (len(text.split()), MAX_WORDS, "words")
    )
    if length > most:
        raise Unfit(f"it has {length} {unit}, more than {most}: {text!r}")
    if length < 2:
        raise Unfit(f"it is not a sentence: {text!r}")


def check_one_picture(text: str) -> None:
    """The person who asks has one photo before them, not the two that the model was shown."""
    found = re.search(
        r"\b(?:first|second|next|previous) (?:picture|image|photo|frame)\b|第[一二](?:张|帧)", text, re.IGNORECASE
    )
    if found:
        raise Unfit(f"it speaks of one of two pictures ({found.group()!r}): {text!r}")


def check_riddle(text: str) -> None:
    """A riddle asks for something, too, though it may first tell of something: a clause alone that tells is no request."""
    if not re.search(r"[:;,.] ", text):
        check_request(text)


def check_unsaid(riddle: str, command: str, target: str, name: str) -> None:
    """The riddle leaves its result to be found; all are English."""
    result = (stems(command) - stems(name)) & stems(target)
    if result and result <= stems(riddle):
        raise Unfit(f"the riddle says its result: {riddle!r}")


def check_look(command: str) -> None:
    """A round that only changes how a thing looks replaces nothing."""
    if _has(command, _EXPLICIT["replace"]["en"], "en"):
        raise Unfit(f"it says to replace where only the look of the thing changes: {command!r}")


def check_request(text: str) -> None:
    """An instruction asks for something; it does not describe what is to be seen."""
    for pattern, why in _NO_REQUEST:
        if pattern.search(text):
            raise Unfit(f"{why}: {text!r}")


def check_placeholders(text: str, wanted: Sequence[str]) -> None:
    """Each wanted placeholder stands in the text once; one wanted not at all is found by `check_clean`."""
    owner = re.search(r"(\[OBJECT\d?\])['\u2019]s\b", text)
    if owner:  # our words for the place come between the thing and its part
        raise Unfit(f"write 'of {owner[1]}' in the place of {owner[0]!r}: {text!r}")
    for name in wanted:
        if text.count(name) != 1:
            raise Unfit(f"{name} stands in it {text.count(name)} times instead of once: {text!r}")


def check_no_place(text: str, language: Language) -> None:
    """The model leaves the place to us."""
    found = re.search(_PLACE_WORDS[language], text, re.IGNORECASE)
    if found:
        raise Unfit(f"it says where in the photo ({found.group()!r}), which a program does")


def check_verb(text: str, operation: str, language: Language) -> None:
    """The operation's verb is there. Operations without a list of verbs, such as alter, may be said in any way."""
    wanted = _VERBS.get(operation)
    if wanted and not _has(text, wanted[language], language):
        raise Unfit(f"it does not say to {operation}: {text!r}")


def check_operation(text: str, operation: str, language: Language) -> None:
    """The operation's verb is there, and none that contradicts it."""
    check_verb(text, operation, language)
    for other in _FORBIDDEN.get(operation, ()):
        if _has(text, _EXPLICIT[other][language], language):
            raise Unfit(f"it says to {other} where the operation is {operation}: {text!r}")


def check_name(name: str, class_name: str | None) -> None:
    """The English name holds the region's own, its last word at least, so that the edit is about the marked thing."""
    check_noun(name, "en")
    if class_name and not _head(class_name) <= stems(name):
        raise Unfit(f"it is about {name!r}, but the marked region is {class_name!r}: keep that name")


def names(text: str, class_name: str) -> bool:
    """Whether an English text names a thing, by its name's last word."""
    return _head(class_name) <= stems(text)


def check_noun(noun: str, language: Language) -> None:
    """An English name holds no Chinese. A Chinese one may be Latin, as brands are.

    Raises:
        WrongLanguage: it does.
    """
    if language == "en" and _HAN.search(noun):
        raise WrongLanguage(f"the name is not in English: {noun!r}")


def check_mentions(text: str, name: str, what: str) -> None:
    if name.casefold() not in text.casefold():
        raise Unfit(f"{what} {name!r} does not occur in it: {text!r}")


def check_absent(text: str, name: str, what: str) -> None:
    """The name's last word is not in the text; of a Chinese name, the name as a whole."""
    gone = name in text if _HAN.search(name) else bool(_head(name) & stems(text))
    if gone:
        raise Unfit(f"{what} names {name!r}: {text!r}")


def check_result(text: str, target: str, name: str, what: str = "command") -> None:
    """What is to be seen afterwards comes up in the command, or in `what` else it is; both are English."""
    if not (stems(text) - stems(name)) & stems(target):
        raise Unfit(f"{what} and target do not speak of the same result: {text!r}, {target!r}")


def check_description(text: str) -> None:
    """A description gives no order: a model that fills a region paints what it names."""
    found = re.match(
        rf"(?:please )?(?:{'|'.join(_EXPLICIT[one]['en'] for one in _EXPLICIT)}|add|change|make|turn|"
        r"(?:replac|remov|eras|delet|swapp|add|chang|mak|turn)ing)\b",
        text,
        re.IGNORECASE,
    )
    if found:
        raise Unfit(f"it is a command ({found.group()!r}) where a description is wanted: {text!r}")


def check_pronoun(text: str, language: Language) -> None:
    if not _has(text, _PRONOUNS[language], language):
        raise Unfit(f"it has no pronoun for the thing: {text!r}")


def check_goes_back(text: str, language: Language) -> None:
    if not _has(text, _BACK[language], language):
        raise Unfit(f"it does not say that it goes back to an earlier version: {text!r}")


def check_premise(premise: str, instruction: str, target: str, language: Language) -> None:
    """An English premise shows in a round's target and is not repeated in its instruction. Of a Chinese one words
    cannot be compared with the English target, so only a repeated sentence is found."""
    if language == "zh":
        if premise.rstrip("。.") in instruction:
            raise Unfit(f"the round repeats the premise: {instruction!r}")
        return
    effect = stems(premise) & stems(target)
    if not effect:
        raise Unfit(f"the premise {premise!r} does not show in the target {target!r}")
    if effect <= stems(instruction):
        raise Unfit(f"the round repeats the premise: {instruction!r}")


def check_old_words(reads: str, *texts: str) -> None:
    """Words were read on the thing, and each text quotes some of them.

    Raises:
        NothingToEdit: none were read.
        Unfit: a text quotes none of them.
    """
    read = _letters(reads)
    if not read or reads.strip(" .\"'").casefold() in _NOT_READ:
        raise NothingToEdit(
            "no words can be read there, so none can be changed to others: leave the region out for edits of text"
        )
    for text in texts:
        if not any((words := _letters(one)) and words in read for one in _QUOTED.findall(text)):
            raise Unfit(f"the words that stand there ({reads!r}) are not in double quotes: {text!r}")


def check_read(reads: str, known: str) -> None:
    """What a model reads in a line of words is about what a reader of words read there.

    Args:
        known: what that read; empty where nobody did.
    """
    one, other = _letters(reads), _letters(known)
    if other and one not in other and SequenceMatcher(None, one, other, autojunk=False).ratio() < READ_ALIKE:
        raise Unfit(f"the words at the marked place are {known!r}, and it is about {reads!r}")


def _letters(text: str) -> str:
    """Letters and digits alone, so that line breaks and signs between words don't count."""
    return "".join(char for char in text.casefold() if char.isalnum())


def check_new_words(reads: str, target: str, *texts: str) -> None:
    """What the target quotes, the words on a surface, is quoted by the other texts, too, and does not stand there yet."""
    quoted = set(quoted_words(target))
    if quoted and all(_letters(words) in _letters(reads) for words in quoted):
        raise Unfit(f"the new words stand there already ({reads!r}): {target!r}")
    for text in (target, *texts):
        if not quoted & set(quoted_words(text)):
            raise Unfit(f"the new words do not stand in double quotes: {text!r}")


def quoted_words(text: str) -> list[str]:
    """What stands in double quotes, English or Chinese ones, in order."""
    return [words[1:-1] for words in _QUOTED.findall(text)]


def outside_quotes(text: str) -> list[str]:
    """What stands before, between and behind what double quotes hold: one piece more than `quoted_words` gives."""
    return _QUOTED.split(text)


def stems(text: str) -> set[str]:
    """An English text's words without endings, roughly: what is compared to see whether two texts share a word."""
    words = re.findall(r"[a-z][a-z'-]+", text.casefold())
    return {_stem(word) for word in words if word not in _COMMON}


def _han_share(text: str) -> tuple[float, int]:
    """Share of Han characters among the letters outside quotes, and how many letters there are."""
    plain = _QUOTED.sub("", text)
    letters = sum(char.isalpha() for char in plain)
    return (len(_HAN.findall(plain)) / letters if letters else 0.0), letters


def _head(name: str) -> set[str]:
    """The stem of a name's last word, which says what kind of thing it is; empty where it is not in Latin letters."""
    words = re.findall(r"[a-z][a-z'-]+", name.casefold())
    return {_stem(words[-1])} if words else set()


def _stem(word: str) -> str:
    for ending in ("ies", "es", "s", "en", "ed", "ing", "y", "e"):
        if word.endswith(ending) and not word.endswith("ss") and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _has(text: str, words: str, language: Language) -> bool:
    pattern = words if language == "zh" else rf"\b(?:{words})\b"
    return re.search(pattern, text, re.IGNORECASE) is not None
