"""Dialogues found again in a finished run: the rows of all their turns, wherever these lie.

Kept turns are in one config and others in the other. The report, the review page, `open.py` and exports look here for what
belongs together.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from comfy_nodes.core.keys import turn_key

from ..journal_dialogues import ANOTHER, ENDED
from .dataset import part_facts, reading, row_at
from .layouts.layout import Shard, StoredRow, layout_named
from .parts import Part
from .rows import key_stem


def dialogue_of(columns: Mapping[str, Any]) -> str:
    """Key of the dialogue that a row is a turn of; empty where it is none."""
    turn = columns["turn"]
    return str(turn["dialogue"]) if turn else ""


def sample_of(columns: Mapping[str, Any]) -> str:
    """Key of the sample that a row was made for: its own up to a `~`; of a turn, of which each is a sample, the turn's."""
    turn = columns["turn"]
    return turn_key(turn["dialogue"], turn["number"]) if turn else key_stem(columns["key"])


def judged_itself(columns: Mapping[str, Any]) -> bool:
    """Whether a row's verdict is on its edit, and not on the dialogue that it is a turn of."""
    return not (columns["reject_reason"] or "").startswith((ENDED, ANOTHER))


def rows_of(part: Part, dialogues: Container[str]) -> Iterator[tuple[str, list[StoredRow]]]:
    """A part's dialogues by key, each with all its rows: turns in their order, each behind its rejected tries. Reads the
    shards' keys, and of these rows the rest, one dialogue after the other.

    Raises: as `stored_rows`.
    """
    facts = part_facts(part)
    layout = layout_named(facts.layout)
    places: dict[str, list[tuple[str, Shard, str, int]]] = {}
    for config, held in facts.configs.items():
        for shard in held.shards:
            with reading(part, config, shard):
                for key, place in layout.index(part.config(config), shard) if shard.rows else ():
                    if (stem := key_stem(key)) in dialogues:
                        places.setdefault(stem, []).append((config, shard, key, place))
    for dialogue, found in places.items():
        rows = []
        for config, shard, key, place in found:
            with reading(part, config, shard):
                rows.append(row_at(layout, part.config(config), shard, key, place))
        if turns := [row for row in rows if row.columns["turn"]]:
            yield dialogue, sorted(turns, key=_in_order)


def leading(rows: Iterable[StoredRow]) -> list[tuple[StoredRow, list[StoredRow]]]:
    """Of each turn the row that the dialogue goes on from, or that ended it, and its other tries.

    Args:
        rows: a dialogue's, as `rows_of` gives them.
    """
    found = []
    for _, group in groupby(rows, lambda row: row.columns["turn"]["number"]):
        held = list(group)
        first = next((one for one in held if one.columns["verdict"] == "keep"), held[-1])
        found.append((first, [one for one in held if one is not first]))
    return found


def _in_order(row: StoredRow) -> tuple[int, bool, str]:
    key, number = row.columns["key"], row.columns["turn"]["number"]
    return number, key == sample_of(row.columns), key
