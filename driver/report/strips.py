"""A dialogue as the report shows it: its states in a row, between them what each turn said and what became of it.

Made by `gallery.py`; every state's picture stands in a strip once, whatever turns start from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comfy_nodes.core.keys import turn_key

from ..dataset.dialogues import dialogue_of, judged_itself, leading
from ..dataset.layouts.layout import StoredRow
from ..journal_turns import DIALOGUE_ENDED
from .pictures import edit, thumbnail


@dataclass(frozen=True)
class Step:
    """A state, with the turn that leaves it."""

    state: int
    picture: str
    """An address that holds it."""
    turn: Mapping[str, Any] | None = None
    """The row's `turn`; None of a state that no turn of the strip leaves."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """What `pictures.edit` says of the turn's row."""
    tries: tuple[Mapping[str, str], ...] = ()
    """Key and reason of each other try at the turn."""

    @property
    def back(self) -> bool:
        """Whether the turn goes back to an earlier version."""
        return self.turn is not None and self.turn["base"] < self.turn["number"] - 1


@dataclass
class Strip:
    """A dialogue."""

    dialogue: str
    task: str
    premise: str
    of: int
    """Turns that were planned."""
    source_path: str
    width: int
    height: int
    steps: tuple[Step, ...]
    ended_by: int = 0
    """The turn that ended it; 0 where none did."""
    ending: str = ""
    """What became of that turn, where it left no row."""

    @classmethod
    def of_rows(cls, rows: Sequence[StoredRow]) -> Strip:
        """
        Args:
            rows: as `dialogues.rows_of` gives them.
        """
        steps: list[Step] = []
        seen: set[int] = set()
        for row, others in leading(rows):
            columns, turn = row.columns, row.columns["turn"]
            if turn["base"] not in seen:
                steps.append(Step(turn["base"], thumbnail(row.inputs[0])))
            seen |= {turn["base"], turn["number"]}
            told = edit(columns, row.inputs[0], row.outputs[0])
            tries = tuple({"key": one.columns["key"], "reason": one.columns["reject_reason"]} for one in others)
            steps.append(Step(turn["number"], thumbnail(row.outputs[0]), turn, told, tries))
        return cls(
            dialogue=dialogue_of(columns),
            **{name: columns[name] for name in ("task", "source_path", "width", "height")},
            **{name: turn[name] for name in ("premise", "of")},
            steps=tuple(steps),
            ended_by=turn["number"] if columns["verdict"] != "keep" and judged_itself(columns) else 0,
        )

    @property
    def turns(self) -> list[Step]:
        return [step for step in self.steps if step.turn]

    @property
    def lacking(self) -> str:
        """Key of the first turn behind the last one that was made; empty where all were."""
        last = self.steps[-1].state
        return turn_key(self.dialogue, last + 1) if last < self.of else ""

    def rows(self, kept: bool) -> int:
        """How many of its turns were kept, or not kept."""
        return sum((step.told["verdict"] == "keep") == kept for step in self.turns)

    def told(self, key: str) -> dict[str, Any]:
        """What is said of the turn with this key, or of the one that this key is a rejected try of."""
        step = next(one for one in self.turns if key in (one.told["key"], *(tried["key"] for tried in one.tries)))
        return {**step.told, "number": step.state}

    def say_ending(self, lost: Mapping[str, Mapping[str, Any]]) -> None:
        """Says what became of the next turn, where it left no row.

        Args:
            lost: rows of `failed.parquet` and `skipped.parquet` by key.
        """
        row = lost.get(self.lacking)
        if row and row["error_type"] != DIALOGUE_ENDED:
            self.ended_by, self.ending = self.steps[-1].state + 1, row["message"]
