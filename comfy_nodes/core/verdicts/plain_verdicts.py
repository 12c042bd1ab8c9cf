"""What a verifier says of an edit in plain words instead of JSON, read only where nothing else could be meant.

Verify Edit hands in words that hold no JSON, after asking again. Every sentence has to say one of three things: that
nothing changed, that the very edit which was asked for was made, or that it was not. An edit is named by the words of its
instruction in the passive, all of them in their order, so that "The cat was replaced with a dog" is no answer to "Replace
the dog with a cat". All else, a condition, a part, a doubt, a word more, is not read. Ours.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Literal

from ..instructions.wording import Language
from .claims import NO_EDIT, VERIFIER, Verified
from .verdicts import SAYS, Scores

Statement = Literal["done", "undone", "nothing"]

NOT_DONE = "what was asked for was not done"

_PICTURES = r"(?:the |these |both )?(?:two |both )?(?:pictures?|images?|photos?)"
_NOTHING = (
    r"(?:there (?:is|are|was|were) |i (?:can )?see )?no (?:(?:real|visible|noticeable|actual|discernible) )?(?:edits?|changes?|differences?)"
    r"(?: (?:was|were|has been|have been) (?:made|done|applied)| (?:happened|occurred|took place|is visible|are visible|can be seen))?"
    rf"(?: (?:between|in|to) {_PICTURES})?",
    rf"i (?:do not|cannot) see any (?:changes?|differences?)(?: between {_PICTURES})?",
    rf"{_PICTURES} (?:was not|has not been) (?:changed|edited|altered)",
    r"the edited (?:picture|image|photo) is identical to the original(?: one| picture| image| photo)?",
    r"nothing (?:(?:was|has|has been|is) )?(?:changed|edited|happened)",
    rf"{_PICTURES} (?:are|look) (?:completely |exactly )?(?:identical|unchanged|the same)",
    r"(?:两张)?(?:图片|图像|照片|画面|图)?(?:之间)?(?:没有|并无|无)(?:发生)?(?:任何|明显|可见|明显可见)?的?(?:编辑|变化|差异|改变|区别)",
    r"两张(?:图片|图像|照片|图)(?:完全)?(?:相同|一样)",
)
_EDIT = r"(?:the|this) (?:requested |asked[- ]for )?edit"
_MADE = r"(?:made|done|applied|performed|carried out)"
_AS_ASKED = r"(?:exactly )?as (?:requested|instructed|asked|asked for|described)"
_WELL = r"(?:correctly|successfully|properly|fully)"
_DONE = (
    rf"{_EDIT} (?:was|has been) {_MADE} (?:{_WELL}|{_AS_ASKED})",
    rf"{_EDIT} (?:was|has been) {_WELL} {_MADE}",
    rf"{_EDIT} (?:was|is) (?:successful|correct)",
    rf"{_EDIT} (?:matches|follows) the instruction(?: {_WELL})?",
    rf"the instruction (?:was|has been) (?:{_WELL} )?(?:followed|carried out)(?: {_WELL})?",
    r"(?:该|此)?编辑已(?:经)?(?:正确|成功)完成",
)
_UNDONE = (
    rf"{_EDIT} (?:was not|has not been) {_MADE}",
    rf"{_EDIT} (?:failed|did not happen|was not successful|was unsuccessful)",
    r"the instruction (?:was not|has not been) (?:followed|carried out)",
    r"(?:该|此)?编辑(?:没有|未)(?:完成|进行)",
)
_GENERAL: dict[Statement, re.Pattern[str]] = {
    "nothing": re.compile("|".join(_NOTHING), re.IGNORECASE),
    "done": re.compile("|".join(_DONE), re.IGNORECASE),
    "undone": re.compile("|".join(_UNDONE), re.IGNORECASE),
}

_PARTICIPLES = {
    "remove": "removed", "erase": "erased", "delete": "deleted", "replace": "replaced", "swap": "swapped", "add": "added",
    "place": "placed", "put": "put", "insert": "inserted", "turn": "turned", "change": "changed", "make": "made",
    "paint": "painted", "convert": "converted", "transform": "transformed", "extract": "extracted", "isolate": "isolated",
}  # fmt: skip
_PASSIVE = r"\b(?:(?:was|were|is|are)(?P<not> not)?|(?:has|have)(?P<never> not)? been) (?P<well>(?:now |successfully |completely |fully |correctly )*){}\b"
_PREPOSITIONS = frozenset(
    {"from", "on", "in", "off", "at", "with", "by", "into", "to", "beside", "behind", "near", "under"}
)
_CHINESE_VERBS = "移除|删除|去掉|去除|擦除|替换成|替换为|换成|变成|改成|改为|添加|提取"
_CHINESE_COMMAND = re.compile(
    rf"(?:请)?(?:(?:把|将)(?P<thing>.+?)(?P<verb>{_CHINESE_VERBS})(?P<result>.*)|(?P<first>{_CHINESE_VERBS})(?P<only>.+))"
)
_CHINESE_PASSIVE = re.compile(
    rf"(?P<thing>.+?)(?P<how>没有被|没有|没被|未被|未|已经被|已被|已经|已|被)(?:成功)?(?P<verb>{_CHINESE_VERBS})(?P<result>.*?)了?"
)

_ANSWER = re.compile(r"(?:(?P<yes>yes|是的?)|no|不是?)(?:$|\s*[,:]\s*|\s+[-\u2013\u2014]\s+)", re.IGNORECASE)
_CONFIRMED = re.compile(r"(?:i can confirm that|as requested,|indeed,) ", re.IGNORECASE)
_ALONE = re.compile(r",? and nothing else (?:was |has )?changed", re.IGNORECASE)
_END = re.compile(r"(?<=[.!\u3002])\s*")


def verdict_of(words: str, instruction: str, language: Language) -> Verified | None:
    """The verdict that plain words come to; None where they are not certain.

    Args:
        words: the model's, whole, without the thoughts before them.
        instruction: the initial one, one line.
    """
    said = _said(words, instruction, language)
    if said is None:
        return None
    report = json.dumps({"words": words}, ensure_ascii=False)
    if said == "done":
        values = {"verify.is_changed": 1.0, "verify.keep": SAYS["keep"]}
        return Verified(Scores(values, "keep", voices=VERIFIER), instruction, report)
    values = {"verify.is_changed": 0.0} if said == "nothing" else {}
    values |= {"verify.keep": SAYS["reject"]}
    reason = NO_EDIT if said == "nothing" else NOT_DONE
    return Verified(Scores(values, "reject", reason, voices=VERIFIER), "", report)


def _said(words: str, instruction: str, language: Language) -> Statement | None:
    """What all sentences agree on. Words without an end may have been cut off, and are not read."""
    plain = re.sub(r"[*_`]", "", unicodedata.normalize("NFKC", words).replace("\u2019", "'"))
    plain = re.sub(
        r"\b(there|it)'s\b", r"\1 is", re.sub(r"n't\b", " not", " ".join(plain.split())), flags=re.IGNORECASE
    )
    if not plain.endswith((".", "!", "\u3002")):
        return None
    sentences = [one.rstrip(" .!\u3002") for one in _END.split(plain) if one]
    yes = _ANSWER.match(sentences[0])
    if yes:
        rest = sentences[0][yes.end() :]
        sentences = [rest, *sentences[1:]] if rest else sentences[1:]
    found = {_sentence(one, instruction, language) for one in sentences}
    said = found.pop() if len(found) == 1 else "nothing" if found == {"nothing", "undone"} else None
    if said is None or (yes and bool(yes["yes"]) != (said == "done")):
        return None
    return said


def _sentence(text: str, instruction: str, language: Language) -> Statement | None:
    text = _CONFIRMED.sub("", text, count=1) if _CONFIRMED.match(text) else text
    alone = _ALONE.search(text)
    plain = text[: alone.start()] if alone and alone.end() == len(text) else text
    said = next((said for said, pattern in _GENERAL.items() if pattern.fullmatch(plain)), None)
    said = said or (_chinese if language == "zh" else _english)(plain, instruction)
    return said if plain == text or said == "done" else None


def _english(text: str, instruction: str) -> Statement | None:
    verb, *wanted = _words(instruction)
    if verb not in _PARTICIPLES:
        return None
    found = re.search(_PASSIVE.format(_PARTICIPLES[verb]), text, re.IGNORECASE)
    if not found:
        return None
    asked = _words(" ".join(wanted), verb)
    named = _words(text[: found.start()] + text[found.end() :], verb)
    if not (found["not"] or found["never"]):
        return "done" if named == asked else None
    # What was not done to the thing was not done to it there, or with something, either.
    whole = named == asked or (named == asked[: len(named)] and asked[len(named)] in _PREPOSITIONS)
    return "undone" if named and whole and not found["well"] else None


def _words(text: str, verb: str = "") -> list[str]:
    """A text's words in order, without articles; what replaces does so `with` or `by`, and what is removed from a place
    was on or in it."""
    alike = {"by": "with"} if verb == "replace" else {}
    alike = {"on": "from", "in": "from", "off": "from"} if verb in ("remove", "erase", "delete") else alike
    words = [alike.get(one, one) for one in re.findall(r"[\w'-]+", text.casefold())]
    return [one for one in words if one not in ("the", "a", "an", "please")]


def _chinese(text: str, instruction: str) -> Statement | None:
    asked = _CHINESE_COMMAND.fullmatch(instruction.rstrip("\u3002. "))
    found = _CHINESE_PASSIVE.fullmatch(text)
    if not asked or not found:
        return None
    wanted = (asked["thing"] or asked["only"], asked["verb"] or asked["first"], asked["result"] or "")
    if (found["thing"], found["verb"], found["result"]) != wanted:
        return None
    return "undone" if found["how"].startswith(("没", "未")) else "done"
