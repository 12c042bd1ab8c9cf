"""One of several edits of different kinds, as a model wrote it in two languages, made into an instruction or refused.

The writer of many kinds calls `finish` with what was answered. Here the model says itself which thing is meant; what it
says of listed things, of its kind and in either language has to agree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..regions.annotation import Region
from ..tasks import task_named
from ..taxonomy import Kind
from . import checks
from .checks import Unfit
from .composing import sentence, target_of
from .instructions import Step, Writing
from .offering import KINDS
from .operations import check_same_wish
from .repairs import repaired
from .shapes import KindEdit
from .wording import Language

_NUMBERS = {
    "1": "one|single|一个|一只|一朵|一把|一辆|一本|一张|一条|一棵|一位|一名|一座|一杯|一盏", "2": "two|double|twice|both|pair|couple|两|二|双",
    "3": "three|三", "4": "four|四", "5": "five|五", "6": "six|六", "7": "seven|七", "8": "eight|八", "9": "nine|九",
}  # fmt: skip
"""How numbers are said in words."""


def finish(edit: KindEdit, kinds: Sequence[Kind], things: Sequence[Region], language: Language) -> Writing:
    """A model's edit as an instruction with its kind and its regions; who wrote it is for the caller to add.

    Args:
        kinds: those that were offered.
        things: those that were listed, in their order.
        language: that of the instruction; the other one stands beside it.

    Raises:
        Unfit: it breaks a rule; the message is what the model is told when it is asked again.
    """
    kind = _kind(edit.kind, kinds)
    edit = repaired(edit, "en")
    try:
        english, chinese = sentence(edit.instruction, "en"), sentence(edit.chinese, "zh")
        command, target = sentence(edit.command, "en"), target_of(edit.target)
        _check_words(kind, english, chinese, command)
        check_same_wish(english, chinese)
        regions = _regions(edit, kind, things, command)
        if kind.prompt == "write-implicit":
            checks.check_unsaid(english, command, target, "")
    except Unfit as problem:
        raise type(problem)(f"{kind.name}: {problem}") from None
    said, other = (english, chinese) if language == "en" else (chinese, english)
    return Writing(
        said, language, target, command, _steps(kind, regions, command, target), regions=regions, other=other,
        task=kind.task, subtask=kind.id,
    )  # fmt: skip


def _kind(name: str, kinds: Sequence[Kind]) -> Kind:
    """The kind that a reply names, in whatever capitals, with its scheme or without."""
    plain = _letters(name.rpartition("/")[2])
    found = next((kind for kind in kinds if _letters(kind.name) == plain), None)
    if found is not None:
        return found
    why = (
        "is not among those that were asked for"
        if any(_letters(one.name) == plain for one in KINDS.values())
        else "is no kind of edit"
    )
    raise Unfit(f"{name[:60]!r} {why}: {', '.join(kind.name for kind in kinds)}")  # fmt: skip


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _check_words(kind: Kind, english: str, chinese: str, command: str) -> None:
    """The instruction asks for something, in both languages and for what its kind is."""
    for text in (english, chinese):
        (checks.check_riddle if kind.rubric == "reasoning" else checks.check_request)(text)
        checks.check_one_picture(text)
    if kind.prompt == "write-spatial":
        checks.check_verb(command, "replace", "en")
    elif kind.task in ("add", "remove", "replace", "extract"):
        checks.check_operation(english, kind.task, "en")
        checks.check_operation(chinese, kind.task, "zh")
    if kind.prompt == "write-text" and len(set(checks.quoted_words(english))) < 2:
        raise Unfit(f"the old and the new words do not both stand in double quotes: {english!r}")
    if kind.prompt == "write-count":
        said = _said_numbers(english)
        if not said:
            raise Unfit(f"it does not say how many there are afterwards: {english!r}")
        if not said & _said_numbers(chinese):
            raise Unfit(f"English and Chinese say other numbers: {english!r}, {chinese!r}")


def _said_numbers(text: str) -> set[str]:
    words = {
        number for number, said in _NUMBERS.items() if re.search(rf"\b(?:{said})\b|(?:{said})(?![a-z])", text, re.I)
    }
    return words | set(re.findall(r"\d+", text))


def _regions(edit: KindEdit, kind: Kind, things: Sequence[Region], command: str) -> tuple[Region, ...]:
    """The listed things that the edit changes; none of kinds that are not bound to a region."""
    numbers = list(dict.fromkeys(edit.things))
    if strange := [number for number in numbers if not 1 <= number <= len(things)]:
        raise Unfit(
            f"things names {strange[0]}, and {f'the list ends at {len(things)}' if things else 'there is no list'}"
        )
    task = task_named(kind.task)
    if task.region != "object" or task.name == "add":
        return ()
    if len(numbers) > task.regions:
        many = "one thing" if task.regions == 1 else f"{task.regions} things"
        raise Unfit(f"it changes {many}, and things names {', '.join(map(str, numbers))}")
    chosen = tuple(things[number - 1] for number in numbers)
    for number, region in zip(numbers, chosen, strict=True):
        if not checks.names(command, region.class_name or ""):
            raise Unfit(f"things names {number}, the {region.class_name}, and the command does not: {command!r}")
    return chosen if len(chosen) == task.regions else ()


def _steps(kind: Kind, regions: tuple[Region, ...], command: str, target: str) -> tuple[Step, ...]:
    """What the edit does to each region. Nobody took a sentence about two apart, and an addition is none that is made by
    taking a thing away, so it has no step that could be turned round."""
    if kind.task == "add":
        return ()
    if not regions:
        return (Step(kind.task, "", None, command, target),)
    return tuple(
        Step(kind.task, region.class_name or "", number, command, target) for number, region in enumerate(regions)
    )
