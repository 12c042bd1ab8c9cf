"""Turns of dialogues as pairs: the words with which each stands alone.

`forms` puts it before every form but sequences, whose steps `bagel` words in the same way, as its trainer begins anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ..dataset.layouts.layout import StoredRow

WORDLESS = "that are turns of a dialogue, of which no words are known that make sense without the turns before"
"""What is said of turns that cannot stand alone."""

REWORDED = (
    "turns of dialogues have the plain command that the editor was given (`editor_prompt`, English): "
    "their own words need the turns before"
)
PREFIXED = "turns of dialogues have their premise before their own words"

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
    "it", or go back to a version: the command that the editor was given is said in their place. Where a judge restated
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
    command: str | None = columns["editor_prompt"] or None
    if command:
        noted[REWORDED] += 1
    return command
