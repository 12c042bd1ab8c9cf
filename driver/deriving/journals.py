"""What a run's journal knows of a photo beyond its kept rows: captions, and regions of other samples.

A run whose journal is not there is derived from all the same; then only what its rows say is known.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from comfy_nodes.core.regions.annotation import AnnotationError, Region, parse_annotation

from ..dataset.parts import Part
from ..dataset.rows import key_stem
from ..errors import RunError
from ..journal_tables import opened
from .photos import KeptRow

NEAR = 500
"""Places in the journal around a photo's own rows in which its other samples are looked for. Ours."""


@dataclass(frozen=True)
class Known:
    """What is known of a photo."""

    captions: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    """In the photo's own pixels."""


class Journals:
    """The journals of a run's parts, one of them open at a time."""

    def __init__(self) -> None:
        self._part: Part | None = None
        self._db: sqlite3.Connection | None = None

    def known(self, rows: Sequence[KeptRow]) -> Known:
        """What the journal says of the photo that these rows are of; nothing where there is none."""
        first = rows[0]
        db = self._of(first.part)
        if db is None:
            return Known()
        stems = {key_stem(row.key) for row in rows}
        marks = ",".join("?" * len(stems))
        try:
            lowest, highest = db.execute(
                f"SELECT min(position), max(position) FROM samples WHERE key IN ({marks})", list(stems)
            ).fetchone()
            if lowest is None:
                return Known()
            found = db.execute(
                "SELECT DISTINCT sample FROM samples WHERE position BETWEEN ? AND ? AND source_id = ? AND sample IS NOT NULL",
                (lowest - NEAR, min(highest, lowest + NEAR) + NEAR, first.columns["source_id"]),
            )
            return _known([json.loads(text) for (text,) in found])
        except (sqlite3.Error, ValueError, TypeError):
            return Known()

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
        self._part = self._db = None

    def _of(self, part: Part) -> sqlite3.Connection | None:
        if part != self._part:
            self.close()
            self._part = part
            try:
                self._db = opened(part.journal, read_only=True)
            except (RunError, sqlite3.Error):
                self._db = None
        return self._db


def _known(samples: Sequence[dict[str, Any]]) -> Known:
    captions: dict[str, None] = {}
    regions: list[Region] = []
    for sample in samples:
        annotation = sample.get("annotation")
        if not isinstance(annotation, dict):
            continue
        try:
            parsed = parse_annotation(annotation)
        except AnnotationError:
            continue
        captions |= dict.fromkeys(parsed.captions)
        regions += [one for one in parsed.regions if one not in regions]
    return Known(tuple(captions), tuple(regions))
