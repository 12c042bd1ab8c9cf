"""Dialogues in a release: all turns of one are in it, or none, and for quotas they count as one row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .index import Note

TORN = "a turn of its dialogue is left out"


class Dialogues:
    """Which rows are turns of which dialogue."""

    def __init__(self, notes: Sequence[Note]):
        self._rows: dict[tuple[int, str], list[int]] = {}
        for number, note in enumerate(notes):
            if note.dialogue:
                self._rows.setdefault((note.run, note.dialogue), []).append(number)
        self._others = {one for _, *others in self._rows.values() for one in others}

    def torn(self, left_out: Mapping[int, str]) -> dict[int, str]:
        """Turns that leave with another one of their dialogue, with the reason."""
        broken = (rows for rows in self._rows.values() if any(one in left_out for one in rows))
        return {number: TORN for rows in broken for number in rows if number not in left_out}

    def counted(self, rows: Iterator[int]) -> list[int]:
        """Of rows those that count: of a dialogue the first."""
        return [number for number in rows if number not in self._others]

    def with_others(self, refused: Mapping[int, str]) -> dict[int, str]:
        """Rows that are too many, each with the other turns of its dialogue."""
        together = {rows[0]: rows for rows in self._rows.values()}
        return {one: why for number, why in refused.items() for one in together.get(number, (number,))}
