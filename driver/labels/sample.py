"""Which rows of a run a person is asked about.

The sample is drawn by task and verdict, so that rare ones are in it, and is kept beside the labels with the number of rows
that each stratum stands for. Within a stratum the rows with the smallest hashes of seed and key are drawn: a larger
sample holds the smaller one, and whatever part of it is labelled is a random one. Turns of one dialogue have one hash, its own:
they are drawn together, and a person sees one after the other.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ..dataset.dataset import dataset_digest, finished_parts, part_rows
from ..dataset.dialogues import dialogue_of
from ..dataset.shards import CONFIGS
from ..disk import write_text
from ..errors import RunError
from ..report.scores import RowPlace
from .labels import LABELS

SAMPLE = "labels_sample.json"
"""In the run's folder, beside the labels: which rows were drawn, and for how many each stratum stands."""

DEFAULT_SAMPLE = 200
"""Rows that a person is asked about. Ours: an hour of looking, and about 7 percent points either way of one share."""


class Stratum(BaseModel):
    """Rows of one task and verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    verdict: str
    rows: int
    """In the run."""
    keys: tuple[str, ...]
    """Of the drawn ones, in the order in which they were drawn."""


class DrawnSample(BaseModel):
    """`labels_sample.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    wanted: int
    per_task: bool
    dataset: str
    """`dataset_digest` of the run that it was drawn from."""
    strata: tuple[Stratum, ...]


@dataclass(frozen=True)
class DrawnRow:
    """A row that a person is asked about."""

    key: str
    place: RowPlace
    task: str
    verdict: str
    prompt: str
    reason: str
    scores: dict[str, float]
    dialogue: str = ""
    """The key of the one that it is a turn of."""

    @classmethod
    def of(cls, place: RowPlace, row: dict[str, Any]) -> DrawnRow:
        scores = {one["name"]: one["value"] for one in row["scores"] or []}
        words = {name: row[name] for name in ("key", "task", "verdict", "prompt")}
        reason = row["reject_reason"] or ""
        return cls(place=place, reason=reason, scores=scores, dialogue=dialogue_of(row), **words)


def read_sample(run: Path) -> DrawnSample | None:
    """The sample that was drawn of a run; None where none was.

    Raises:
        RunError: the file is damaged.
    """
    try:
        return DrawnSample.model_validate_json((run / SAMPLE).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise RunError(f"{run / SAMPLE}: damaged; restore it from a copy, or remove it and draw again") from None


def draw(run: Path, wanted: int | None, seed: int | None, per_task: bool) -> list[DrawnRow]:
    """Draws a sample as `choose` does, and keeps it beside the run.

    Raises:
        RunError: as of `choose`, or the disk is full.
    """
    sample, rows = choose(run, wanted, seed, per_task)
    write_text(run / SAMPLE, sample.model_dump_json(indent=1) + "\n")
    return rows


def choose(run: Path, wanted: int | None, seed: int | None, per_task: bool) -> tuple[DrawnSample, list[DrawnRow]]:
    """Chooses a sample, or makes an earlier one larger.

    Args:
        wanted: rows altogether, or of each task; None for as many as before, or `DEFAULT_SAMPLE`.
        seed: None for the earlier one's, or 0.

    Returns:
        The sample, and its rows in the order in which a person is to see them: mixed, so that no verdict follows from
        the place.

    Raises:
        RunError: the run is not finished, or the earlier sample is another seed's.
    """
    earlier = read_sample(run)
    if earlier and seed is not None and seed != earlier.seed:
        raise RunError(
            f"--seed {seed}: the labels in {run} are of a sample with seed {earlier.seed}; leave --seed out, or move "
            f"{LABELS} and {SAMPLE} away to begin another"
        )
    chosen = earlier.seed if earlier else seed or 0
    if wanted is None:
        wanted, per_task = (earlier.wanted, earlier.per_task) if earlier else (DEFAULT_SAMPLE, per_task)
    known = {(one.task, one.verdict): len(one.keys) for one in earlier.strata} if earlier else {}
    dataset = dataset_digest(run)
    sizes, first = _smallest(run, chosen, max([wanted, *known.values()]))
    given: Counter[tuple[str, str]] = Counter()
    for task in sorted({task for task, _ in sizes}) if per_task else [None]:
        given |= allot({name: size for name, size in sizes.items() if task in (None, name[0])}, wanted)
    drawn = {name: rows[: max(given[name], known.get(name, 0))] for name, rows in sorted(first.items())}
    strata = tuple(
        Stratum(task=task, verdict=verdict, rows=sizes[task, verdict], keys=tuple(row.key for _, row in rows))
        for (task, verdict), rows in drawn.items()
    )
    sample = DrawnSample(seed=chosen, wanted=wanted, per_task=per_task, dataset=dataset, strata=strata)
    mixed = sorted((one for rows in drawn.values() for one in rows), key=lambda one: (one[0], one[1].key))
    return sample, [row for _, row in mixed]


_Hashed = tuple[int, DrawnRow]


def _smallest(run: Path, seed: int, most: int) -> tuple[Counter[tuple[str, str]], dict[tuple[str, str], list[_Hashed]]]:
    """Rows of each stratum: how many, and those with the smallest hashes, the smallest first."""
    sizes: Counter[tuple[str, str]] = Counter()
    heaps: dict[tuple[str, str], list[tuple[int, str, DrawnRow]]] = defaultdict(list)
    for config in CONFIGS:
        rows = (
            (RowPlace(config, number, part.name), stored.columns)
            for part in finished_parts(run)
            for number, stored in enumerate(part_rows(part, config, images=False))
        )
        for place, row in rows:
            stratum, key = (row["task"], row["verdict"]), row["key"]
            sizes[stratum] += 1
            heap = heaps[stratum]
            hashed = f"{seed}/{dialogue_of(row) or key}".encode()
            found = int.from_bytes(hashlib.blake2b(hashed, digest_size=8).digest(), "big")
            if len(heap) < most or (-found, key) > heap[0][:2]:
                heapq.heappush(heap, (-found, key, DrawnRow.of(place, row)))
                if len(heap) > most:
                    heapq.heappop(heap)
    return sizes, {
        name: [(-found, row) for found, _, row in sorted(heap, reverse=True)] for name, heap in heaps.items()
    }


def allot(sizes: Mapping[tuple[str, str], int], wanted: int) -> Counter[tuple[str, str]]:
    """How many rows to draw of each stratum: equally many, and what a small one lacks from the larger ones."""
    given: Counter[tuple[str, str]] = Counter()
    for number, (name, size) in enumerate(sorted(sizes.items(), key=lambda one: (one[1], one[0]))):
        given[name] = min(size, (wanted - given.total()) // (len(sizes) - number))
    return given
