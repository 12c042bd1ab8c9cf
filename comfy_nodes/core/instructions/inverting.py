"""Instructions made of what changed, in English and Chinese: an edit turned round, two edits in one, an edit of an edit.

Each sentence is held against the reader of operations before it is given out. It must not know where changes come from
(`changes`), nor how pictures are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..regions.annotation import Region
from .changes import (
    COLOUR_NAMES,
    NO_THING,
    OTHER_COLOUR,
    UNNAMED,
    Change,
    Untold,
    coloured,
    region_key,
    says_colour,
    with_article,
)
from .checks import Unfit
from .classical import sentence
from .english import article
from .operations import misasked, operation_of
from .scenes import Scene
from .wording import Language

VERSION = "1"
"""Version of the sentences; it goes into every record. Changed sentences get a new one."""

NO_CHANGE = "nothing is different between the two, as far as words tell"
NO_FORMER_COLOUR = "the thing's former colour has no name"
AMBIGUOUS = "words do not tell which thing is meant"
MISREAD = "the sentence is read as another operation"

_FORMS: dict[Language, dict[str, str]] = {
    "en": {
        "add": "add {new} {place}",
        "remove": "remove {the}",
        "replace": "replace {the} with {thing}",
        "alter": "change the colour of {the} to {colour}",
        "background": "change the background from {old} to {scene}",
        "style": "change this picture from {old} to the style of {scene}",
    },
    "zh": {
        "add": "在{place}添加{new}",
        "remove": "移除{the}",
        "replace": "把{the}换成{thing}",
        "alter": "把{the}的颜色改成{colour}",
        "background": "把背景换成{scene}",
        "style": "把画面从{old}变成{scene}的风格",
    },
}


@dataclass(frozen=True)
class Worded:
    """An instruction that was made of changes."""

    task: str
    """`hybrid` where it asks for two operations."""
    words: str
    regions: tuple[tuple[str, Region], ...]
    """Operation of each region that it is about; of a thing that is there now, its name."""


def worded(changes: Sequence[Change], others: Sequence[Region], size: tuple[int, int], language: Language) -> Worded:
    """The instruction that asks for these changes.

    Args:
        others: all other regions of the picture before that are known.
        size: (width, height) of the pictures in pixels.

    Raises:
        Untold: words cannot say it.
    """
    clauses, ops, regions = [], [], []
    for number, change in enumerate(changes):
        op = _operation(change)
        there = [_named(one) for at, one in enumerate(changes) if at != number and one.region and one.before]
        scene = _scene(change, [*there, *others], size)
        clauses.append(_clause(op, change, scene, language))
        ops.append(op)
        if change.region:
            regions.append((op, change.region if change.what == "background" else scene.regions[0]))
    words = sentence(clauses, language)
    task = ops[0] if len(set(ops)) == 1 else "hybrid"
    if misasked(task, words, language) or not operation_of(words, language):
        raise Untold(MISREAD)
    return Worded(task, words, tuple(regions))


def joined(first: Sequence[Change], second: Sequence[Change]) -> tuple[Change, ...]:
    """Two steps as one: what is different after both.

    Raises:
        Untold: nothing is, or what the second one starts with is not what the first one ends with.
    """
    found: dict[object, Change] = {region_key(one.region): one for one in first}
    for one in second:
        before = found.get(region_key(one.region))
        found[region_key(one.region)] = replace(one, before=before.before) if before else one
    changes = tuple(one for one in found.values() if one.before != one.after)
    if not changes:
        raise Untold(NO_CHANGE)
    return changes


def _operation(change: Change) -> str:
    """
    Raises:
        Untold: a colour that is to be said has no name, or nothing changed.
    """
    if change.what != "thing":
        return {"background": "background", "picture": "style"}[change.what]
    if change.before is None or change.after is None:
        if change.before is change.after:
            raise Untold(NO_CHANGE)
        op = "add" if change.before is None else "remove"
    elif change.before.name.casefold() != change.after.name.casefold():
        op = "replace"
    else:
        op = "alter"
    if change.after and change.after.name in UNNAMED.values():
        raise Untold(NO_THING)
    if op == "alter" and change.before and change.after:
        if not change.after.colour:
            raise Untold(NO_FORMER_COLOUR)
        if change.before.colour == change.after.colour:
            raise Untold(NO_CHANGE)
    return op


def _scene(change: Change, others: Sequence[Region], size: tuple[int, int]) -> Scene:
    """The one region under the name of what is there now, or comes."""
    if change.region is None:
        return Scene(*size)
    known = [one for one in others if region_key(one) != region_key(change.region)]
    return Scene(*size, (_named(change),), known)


def _named(change: Change) -> Region:
    seen = change.before or change.after
    assert seen is not None and change.region is not None
    return change.region.model_copy(update={"class_name": seen.name})


def _clause(op: str, change: Change, scene: Scene, language: Language) -> str:
    """What is to be done, without capital and full stop."""
    before, after = change.before, change.after
    for seen in (before, after if op != "alter" else None):
        if seen and seen.colour and says_colour(seen.name):  # it was painted, and is not what it is called
            raise Untold(OTHER_COLOUR)
    said: dict[str, str] = {}
    try:
        if op in ("remove", "replace", "alter"):
            assert before is not None
            said["the"] = scene.the(0, before.name, language)
        if op == "add":
            assert after is not None
            noun = coloured(after, language)
            said |= {"new": scene.new(0, article(noun) if language == "en" else "一个", noun, language)}
            said |= {"place": scene.place(0, language)}
    except Unfit:
        raise Untold(AMBIGUOUS) from None
    if op == "replace":
        assert after is not None
        said["thing"] = with_article(coloured(after, language), language)
    elif op == "alter":
        assert after is not None
        said["colour"] = after.colour if language == "en" else COLOUR_NAMES[after.colour]
    elif op in ("background", "style"):
        assert before is not None and after is not None
        said |= {"old": before.name, "scene": after.name}
    return _FORMS[language][op].format(**said)
