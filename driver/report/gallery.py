"""Which rows a report shows, and how: pairs, a strip for each dialogue, annotated photos.

`page.py` puts it on the page. Rows are spread evenly over the run; a dialogue that one of them is a turn of is shown whole, and
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..dataset.dataset import chosen_rows, finished_parts, part_facts
from ..dataset.dialogues import dialogue_of, rows_of
from ..dataset.parts import Part
from .figures import Ranking, RowStatistics
from .pictures import annotated, pair
from .scores import RowPlace
from .strips import Strip

MAX_PAIRS = {"data": 60, "rejected": 30}
"""Rows shown of each config; spread evenly over more."""

MAX_STRIPS = {"data": 20, "rejected": 10}
"""Dialogues of these; spread evenly over more. As many pictures as of pairs. Ours."""

MAX_PHOTOS = 60
"""Annotated photos shown."""


@dataclass(frozen=True)
class Gallery:
    """What a report shows of a run's rows or photos: pictures, and figures of the rows."""

    pairs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Rows of each config with small pictures."""
    strips: dict[str, list[Strip]] = field(default_factory=dict)
    """Dialogues, under the first config that one of their shown rows is in; under `ranked` those that no row of either was
    chosen from."""
    photos: list[dict[str, Any]] = field(default_factory=list)
    """Annotated photos with their regions drawn over them."""
    statistics: RowStatistics | None = None
    """Figures of the rows; None where the run makes none."""
    ranked: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """The worst and the best rows by one score; of a dialogue's turn what it says, and its strip as `turn_of`."""

    @classmethod
    def of_dataset(cls, output: Path) -> Gallery:
        """
        Raises:
            RunError: no finished dataset lies there, or it is damaged.
        """
        statistics, pictures = RowStatistics.of_dataset(output), _Pictures(output)
        pairs, strips = {}, {}
        for config, places in _chosen(output).items():
            found = pictures.of(places, MAX_STRIPS[config])
            pairs[config] = [one for one in found.values() if "turn_of" not in one]
            strips[config] = pictures.new()
        ranking = statistics.ranking()
        ranked = _ranked(output, pictures, ranking) if ranking else {}
        strips["ranked"] = pictures.new()
        return cls(pairs=pairs, strips=strips, statistics=statistics, ranked=ranked)

    @classmethod
    def of_annotations(cls, items: Iterable[dict[str, Any]], count: int, photos: Path | None) -> Gallery:
        """
        Args:
            items: ImgEdit annotations, or lines of the write stage.
            count: how many there are.
            photos: folder that their paths are relative to; without one there is nothing to show.
        """
        if photos is None:
            return cls()
        chosen = _spread(count, MAX_PHOTOS)
        return cls(photos=[annotated(item, photos) for number, item in enumerate(items) if number in chosen])

    def rows(self, config: str) -> int:
        """How many rows of a config are shown, pairs and turns."""
        turns = sum(one.rows(config == "data") for name in MAX_PAIRS for one in self.strips.get(name, ()))
        return len(self.pairs.get(config, ())) + turns


def _chosen(output: Path) -> dict[str, list[RowPlace]]:
    """The rows that are shown of each config."""
    held: dict[str, list[tuple[Part, int]]] = {config: [] for config in MAX_PAIRS}
    for part in finished_parts(output):
        if part.here:
            for config, facts in part_facts(part).configs.items():
                held[config].append((part, facts.rows))
    return {config: _places(config, held[config], most) for config, most in MAX_PAIRS.items()}


def _places(config: str, held: Sequence[tuple[Part, int]], most: int) -> list[RowPlace]:
    """Up to `most` places of a config, spread evenly over the rows of its parts."""
    numbers = _spread(sum(rows for _, rows in held), most)
    found, first = [], 0
    for part, rows in held:
        found += [RowPlace(config, at - first, part.name) for at in sorted(numbers) if first <= at < first + rows]
        first += rows
    return found


class _Pictures:
    """Rows of a run with small pictures, each dialogue made once."""

    def __init__(self, output: Path):
        self._output = output
        self._strips: dict[str, Strip] = {}
        self._given = 0

    def of(self, places: Iterable[RowPlace], most: int | None = None) -> dict[RowPlace, dict[str, Any]]:
        """Rows as the page shows them, of a dialogue's turn what it says, and its strip as `turn_of`. Other parts are not read.

        Args:
            most: how many dialogues are looked at that were not before, spread evenly over these; None for all.
        """
        numbers: dict[tuple[str, str], set[int]] = {}
        for place in places:
            numbers.setdefault((place.part, place.config), set()).add(place.number)
        found: dict[RowPlace, dict[str, Any]] = {}
        turns: dict[RowPlace, tuple[str, str]] = {}
        for (name, config), wanted in numbers.items():
            for number, row in chosen_rows(Part(self._output, name), config, wanted):
                place = RowPlace(config, number, name)
                if dialogue := dialogue_of(row.columns):
                    turns[place] = dialogue, row.columns["key"]
                else:
                    found[place] = pair(row.columns, row.inputs, row.outputs[0])
        self._make({dialogue: place.part for place, (dialogue, _) in turns.items()}, most)
        for place, (dialogue, key) in turns.items():
            if whole := self._strips.get(dialogue):
                found[place] = {**whole.told(key), "turn_of": whole}
        return found

    def _make(self, parts: dict[str, str], most: int | None) -> None:
        """Makes strips.

        Args:
            parts: where their dialogues lie.
        """
        unknown = [dialogue for dialogue in parts if dialogue not in self._strips]
        if most is not None:
            unknown = [unknown[at] for at in sorted(_spread(len(unknown), most))]
        for name in dict.fromkeys(parts[dialogue] for dialogue in unknown):
            wanted = {dialogue for dialogue in unknown if parts[dialogue] == name}
            made = rows_of(Part(self._output, name), wanted)
            self._strips |= {dialogue: Strip.of_rows(rows) for dialogue, rows in made}

    def new(self) -> list[Strip]:
        """The strips that were made since this was asked last."""
        found = list(self._strips.values())[self._given :]
        self._given = len(self._strips)
        return found


def _ranked(output: Path, pictures: _Pictures, ranking: Ranking) -> dict[str, list[dict[str, Any]]]:
    ends = {"worst": ranking.worst, "best": ranking.best}
    found = pictures.of({place for end in ends.values() for _, place in end if Part(output, place.part).here})
    return {
        name: [found[place] | {"ranked_value": value} for value, place in end if place in found]
        for name, end in ends.items()
    }


def _spread(total: int, most: int) -> set[int]:
    """Up to `most` places, spread evenly over `total`."""
    return {round(number * (total - 1) / max(1, min(most, total) - 1)) for number in range(min(most, total))}
