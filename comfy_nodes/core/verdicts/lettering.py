"""What a reader of words can say of an edit: whether words that were asked for are there, and words taken away are not.

The node Check Text reads and hands lines in; this knows which words an instruction asks for and what was read comes to.
No reader and no pictures here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..boxes import Box, area, shared
from ..instructions.checks import language_of, outside_quotes, quoted_words
from ..instructions.operations import operation_of
from ..regions.lettering import words_of_name
from ..tasks import TASKS
from .verdicts import SAYS, Scores, Verdict

SPELT = 0.9
"""From this likeness on words count as those asked for: up to nine letters have all to be right. Ours."""

READABLE = 0.6
"""From this likeness on words that were taken away can still be read. Ours."""

AT_REGION = 0.25
"""Least share of the smaller of a line and the region that lies in both: new words may be longer than the old. Ours."""

_UNIT = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]|[^\W_]+")
"""A word, or one character of scripts that part none."""

_ONWARDS = re.compile(r"\b(?:to|into|with|by)\b|成|为", re.IGNORECASE)
_BACKWARDS = re.compile(r"\b(?:instead of|in place of|rather than|over)\b|代替|取代|而不是", re.IGNORECASE)
"""What stands between old words and new ones, and between new ones and old ones."""

_NEW = re.compile(r"(?:\b(?:to|into|with|says?|saying|reads?|reading)|成|为|写着|写上)\W*$", re.IGNORECASE)
"""What stands before new words, where the old ones are not quoted."""

_MORE = re.compile(r"\b(?:and|then|also)\b|并|然后|同时|[;\uff1b]", re.IGNORECASE)
"""Outside of quotes: the instruction may ask for something that no reader sees."""


@dataclass(frozen=True)
class Line:
    """A line of words that was read."""

    words: str
    box: Box


@dataclass(frozen=True)
class Wording:
    """The words that one operation takes away and puts there."""

    old: str = ""
    new: str = ""
    region: Box | None = None
    """(x1, y1, x2, y2) in the pictures' pixels; None: anywhere."""


def words_asked(op: str, name: str, command: str, target: str) -> tuple[str, str]:
    """Old and new words of an operation, each empty where it has none or where it cannot be told.

    Args:
        op: what the pair shows; what is no operation is read from the command.
        name: of the region.
        command: the operation as a sentence that quotes the words.
        target: what is to be seen afterwards; it quotes the new words, if any.
    """
    named, spoken = words_of_name(name), quoted_words(command)
    op = op if op in TASKS else operation_of(command, language_of(command)) or op
    if op in ("remove", "add"):
        words = spoken[0] if len(spoken) == 1 else "" if spoken else named
        return ("", words) if op == "add" else (words, "")
    told = quoted_words(target)
    if len(told) == 1:
        rest = [words for words in spoken if words != told[0]]
        return (rest[0] if len(rest) == 1 else named), told[0]
    return _parted(command, spoken, named)


def _parted(command: str, spoken: Sequence[str], named: str) -> tuple[str, str]:
    """Old and new words by what stands before and between their quotes."""
    lead, *between = outside_quotes(command)
    if len(spoken) == 1 and spoken[0] != named and _NEW.search(lead):
        return named, spoken[0]
    if len(spoken) != 2 or bool(_ONWARDS.search(between[0])) == bool(_BACKWARDS.search(between[0])):
        return "", ""
    first, second = spoken
    return (second, first) if _BACKWARDS.search(between[0]) else (first, second)


def says_all(wordings: Sequence[Wording], steps: int, instruction: str, about_words: bool) -> bool:
    """Whether what was read tells of all that an edit does: words alone come and go, and every step's are known.

    Args:
        steps: how many operations the edit has.
        about_words: whether what each of them edits is words, not a thing that bears some.
    """
    asked = " ".join(outside_quotes(instruction))
    return about_words and len(wordings) == steps and not _MORE.search(asked)


def likeness(words: str, lines: Sequence[str]) -> float:
    """How well words can be read in lines, 0 to 1: 1 less the edit distance to what is most like them in a row of whole
    words, over the longer one's letters. Letters and digits alone count, without case; line ends don't.
    """
    from rapidfuzz.distance import Levenshtein  # comes with the reader

    wanted = "".join(_units(words))
    read = [unit for line in lines for unit in _units(line)]
    best = 0.0
    for start in range(len(read)):
        window = ""
        for unit in read[start:]:
            window += unit
            best = max(best, Levenshtein.normalized_similarity(wanted, window))
            if len(window) > 2 * len(wanted):
                break
    return best


def weigh(
    wordings: Sequence[Wording], before: Sequence[Line], after: Sequence[Line], spelt: float, readable: float
) -> tuple[dict[str, float], Verdict, str]:
    """What was read in both pictures says of the operations: values, verdict, reason.

    A reader that cannot read the old words where they must be, before the edit, is no witness: the edit is then
    unscored, not rejected.

    Args:
        spelt: least likeness of new words.
        readable: least likeness of old words that are still there.
    """
    values: dict[str, float] = {}
    wrong: list[str] = []
    blind: list[str] = []
    for number, asked in enumerate(wordings, 1):
        mark = "" if number == 1 else f"{number}"
        there = {"before": _at(asked.region, before), "after": _at(asked.region, after)}
        for role, words in (("old", asked.old), ("new", asked.new)):
            values |= {f"text.{role}_{when}{mark}": likeness(words, lines) for when, lines in there.items() if words}
        if asked.old and values[f"text.old_before{mark}"] < readable:
            blind.append(
                f"{asked.old!r} cannot be read in the photo before the edit, so nobody can tell that it is gone"
            )
        elif asked.old and values[f"text.old_after{mark}"] >= max(readable, _excused(asked)):
            wrong.append(f"{asked.old!r} can still be read")
        if asked.new and values[f"text.new_before{mark}"] >= spelt:
            wrong.append(f"{asked.new!r} can be read before the edit already")
        if asked.new and values[f"text.new_after{mark}"] < spelt:
            wrong.append(f"{asked.new!r} cannot be read, but {' / '.join(there['after']) or 'nothing'}")
    if wrong:
        return values, "reject", "; ".join(wrong)
    return (values, "unscored", "; ".join(blind)) if blind else (values, "keep", "")


def scores(values: Mapping[str, float], verdict: Verdict, reason: str, whole: bool) -> Scores:
    """What was read as scores, with `text.keep` where there is a verdict.

    Args:
        whole: whether it is about all of the edit, so that the reader vouches for it.
    """
    own = {"text.keep": SAYS[verdict]} if verdict in SAYS else {}
    said = f"text: {reason}" if reason else ""
    return Scores({**values, **own}, verdict, said, voices=("reader",) if own and whole else ())


def _excused(asked: Wording) -> float:
    """Likeness that old words have to the new ones, which are meant to be there; just above it they are still there."""
    return likeness(asked.old, [asked.new]) + 1e-6 if asked.new else 0.0


def _at(region: Box | None, lines: Sequence[Line]) -> list[str]:
    """The words of the lines at a region."""
    if region is None:
        return [one.words for one in lines]
    least = {one: AT_REGION * min(area(one.box), area(region)) for one in lines}
    return [one.words for one in lines if shared(one.box, region) >= least[one] > 0]


def _units(text: str) -> list[str]:
    return _UNIT.findall(unicodedata.normalize("NFKC", text).casefold())
