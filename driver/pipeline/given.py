"""Quotas of a stage of a recipe, shard by shard: how many of a kind each may give out, before it is known how many come.

Spread over the recipe's input, so that the last photos have as much of them as the first. What a shard left over is the next
one's. Once decided it stays, so that a shard that is planned again is planned as before.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing

from ..dataset.parts import Part
from ..inputs.cutting import Shard
from ..inputs.quotas import wanted_kinds
from ..journal import Journal
from .stage import Run

_QUOTA = "quota "
"""In the stage's journal: how the name begins of what a shard may give out."""


class StageQuotas:
    """What each shard of a stage may give out."""

    def __init__(self, run: Run):
        self._run = run
        self._most = {one.name: one.most for one in wanted_kinds(run.options.kinds or "") if one.most is not None}
        self._given: Counter[str] = Counter()
        self._counted = 0
        """Shards, from the first one on, whose samples are in it."""

    def of(self, cut: Shard) -> dict[str, int]:
        """How many samples of each kind with a quota a shard may give, at most. Shards before it are planned."""
        meta, name = self._run.folder.journal, f"{_QUOTA}{cut.index:06d}"
        if known := meta.get(name):
            return {str(kind): int(most) for kind, most in json.loads(known).items()}
        self._count(cut.index)
        whole = max(self._run.source.spread_over, cut.passed)
        found = {
            kind: max(0, most * cut.passed // max(1, whole) - self._given[kind]) for kind, most in self._most.items()
        }
        meta.set(name, json.dumps(found))
        return found

    def _count(self, index: int) -> None:
        while self._counted < index:
            path = Part.of_shard(self._run.folder.path, self._counted).journal
            if path.exists():
                with closing(Journal(path)) as journal:
                    self._given += journal.planned_kinds()
            self._counted += 1
