"""Turns of dialogues as pairs: the words with which each stands alone.

`forms` puts it before every form but sequences, whose steps `bagel` words in the same way, as its trainer begins anywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from comfy_nodes.core.instructions.checks import Unfit, check_goes_back, language_of
from comfy_nodes.core.instructions.classical import DONORS
from comfy_nodes.core.instructions.wording import location

from ..dataset.layouts.layout import StoredRow

WORDLESS = "that are turns of a dialogue, of which no words are known that make sense without the turns before"
"""What is said of turns that cannot stand alone."""

REWORDED = (
    "turns of dialogues have the plain command that the editor was given (`editor_prompt`, English): "
    "their own words need the turns before"
)
NAMED = "turns of Chinese dialogues name their thing in the place of 它, and do not say that they go back"
PREFIXED = "turns of dialogues have their premise before their own words"

_LEADING = re.compile(r"^(?:现在|然后|接着|接下来|随后|最后|请|再次|再|又|，|、)+")  # noqa: RUF001
"""What ties a Chinese instruction to those before it."""
_TIED = re.compile(
    r"之前|以前|刚才|刚刚|上一|前一|第[一二三四五\d]|版本|步|原来|最初|一开始|撤[销回]|恢复|还原|[回退]到|[他她它这那]"
)
"""What of it still means something that was said or seen before."""
_GROUND = re.compile("[左右上下前后]|中央|中间")
"""Names that say a place themselves."""

_MEMORY = "content_memory"
"""The task whose turns name what they are about, and obey a premise that is said once."""


def as_pairs(rows: Iterator[StoredRow], left_out: Counter[str], noted: Counter[str]) -> Iterator[StoredRow]:
    """Rows of which each makes sense alone: a turn is filed under its operation, with words that need no other turn.

    Args:
        left_out: counts turns that have no such words.
        noted: counts those whose words are others than in their dialogue.
    """
    for row in rows:
        if not row.columns["turn"]:
            yield row
        elif (words := standing_alone(row.columns, noted)) is None:
            left_out[WORDLESS] += 1
        else:
            changed: dict[str, Any] = {"task": row.columns["turn"]["op"], "prompt": words}
            if words != row.columns["prompt"]:
                changed |= {"prompt_en": None, "prompt_cn": None}
            yield StoredRow.of({**row.columns, **changed}, row.inputs, row.outputs)


def standing_alone(columns: Mapping[str, Any], noted: Counter[str]) -> str | None:
    """A turn's instruction for whoever has not read the turns before; None where none is known.

    A dialogue's first turn, and every turn that obeys a premise, names what it is about. Later ones of other dialogues say
    "it", or go back to a version: Chinese ones have their thing's Chinese name in its place where one is known, and else the
    command that the editor was given is said in place of their words. Where a judge restated
    the instruction, that command is not what can be seen, so the restated words have to name the thing themselves.

    Args:
        noted: counts instructions that are others than in their dialogue.
    """
    turn, words = columns["turn"], str(columns["prompt"])
    if turn["number"] == 1 or columns["task"] == _MEMORY:
        premise = turn["premise"]
        if not premise:
            return words
        noted[PREFIXED] += 1
        return f"{premise}{'' if columns['lang'] == 'zh' else ' '}{words}"
    if columns["restated_prompt"]:
        named = columns["class_name"]
        return words if named and named.lower() in words.lower() else None
    if named := _in_chinese(columns) if columns["lang"] == "zh" else "":
        noted[NAMED] += 1
        return named
    command: str | None = columns["editor_prompt"] or None
    if command:
        noted[REWORDED] += 1
    return command


def _in_chinese(columns: Mapping[str, Any]) -> str:
    """A later turn's Chinese words with the name of its thing, and its place in the picture, for the one pronoun; empty where
    that is not all that ties them to the turns before."""
    name, words = columns["class_name"] or "", str(columns["prompt"])
    if name in DONORS:
        name = DONORS[name].chinese[2:]  # without its number and counter
    if language_of(name) != "zh":
        return ""
    back, comma, done = words.partition("，")  # noqa: RUF001
    if columns["turn"]["base"] < columns["turn"]["number"] - 1:
        try:
            check_goes_back(back if comma else "", "zh")
        except Unfit:
            return ""
        words = done
    words = _LEADING.sub("", words)
    place = "" if _GROUND.search(name) else f"{location(columns['bbox'], columns['width'], columns['height'], 'zh')}的"
    before, pronoun, behind = words.partition("它")
    if not pronoun or _TIED.search(before + behind):
        return ""
    return f"{before}{place}{name}{behind}"
