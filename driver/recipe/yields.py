"""Kinds of edit that never pay: `--stop-kind-below` gives them no further samples.

The executor sends what it plans for writing and editing through `Yields.admitted`. What a kind yields is read from the
commits of the stages that make or judge pairs, so that a resumed run knows it too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from comfy_nodes.core.records import SampleFailure

from ..dataset.commits import read_commit
from ..dataset.parts import shards_of
from ..options import RunOptions
from ..report.yields import StageFolder, Tally, count_kinds
from ..samples import Planned, Sample, Unusable
from ..terminal import say
from .checks import sorts
from .file import Recipe

ENOUGH = 30
"""Pairs of a kind that a stage has kept or rejected before its yield there counts. Ours."""

LOOKED_SECONDS = 2.0
"""How often it is looked at what was committed. Ours."""

KIND_STOPPED = "KindStopped"
"""Error type of a sample whose kind of edit is given no more."""


class Yields:
    """What kinds of edit yield in a recipe that runs, and which are stopped. For several threads."""

    def __init__(self, stages: Sequence[StageFolder], least: float, tell: Callable[[str], None]):
        """
        Args:
            stages: those that make or judge pairs, in their order.
            least: the yield below which a kind is stopped, more than 0 and less than 1.
            tell: says a line.
        """
        self._stages, self._least, self._tell = stages, least, tell
        self._tallies: list[dict[str, Tally]] = [{} for _ in stages]
        self._counted: set[Path] = set()
        self._stopped: dict[str, str] = {}
        self._looked = float("-inf")
        self._lock = threading.Lock()

    def admitted(self, one: Planned) -> Planned:
        """What is planned, or, of a sample whose kind is stopped, that it is skipped and why. Of several kinds that a photo is
        offered those are left that are not stopped."""
        if not isinstance(one, Sample):
            return one
        kinds = one.annotation.offered or (one.subtask or one.own_task or one.task,)
        stopped = {kind: why for kind in kinds if (why := self.stopped(kind))}
        if not stopped:
            return one
        if left := tuple(kind for kind in kinds if kind not in stopped):
            return replace(one, annotation=replace(one.annotation, offered=left))
        why = next(iter(stopped.values()))
        return Unusable(one.key, one.annotation.path, SampleFailure("input", KIND_STOPPED, why, skipped=True))

    def stopped(self, kind: str) -> str:
        """Why a kind of edit, a name of the taxonomy or a task, gets no further samples; "" where it does."""
        with self._lock:
            if time.monotonic() - self._looked >= LOOKED_SECONDS:
                self._look()
                self._looked = time.monotonic()
            return self._stopped.get(kind, "")

    def _look(self) -> None:
        """Counts the shards that were committed since."""
        for stage, found in zip(self._stages, self._tallies, strict=True):
            for part in shards_of(stage.path):
                commit = read_commit(part) if part.journal not in self._counted else None
                if commit and commit.cut.whole and part.journal.exists():
                    count_kinds(part.journal, found)
                    self._counted.add(part.journal)
        for kind in sorted({name for found in self._tallies for name in found} - self._stopped.keys()):
            if why := self._judged(kind):
                self._stopped[kind] = why
                self._tell(f"{kind}: no further samples: {why}")

    def _judged(self, kind: str) -> str:
        share, told = 1.0, []
        for stage, found in zip(self._stages, self._tallies, strict=True):
            verdicts = found[kind].verdicts if kind in found else {}
            passed = verdicts.get("keep", 0) + (0 if stage.last else verdicts.get("unscored", 0))
            judged = passed + verdicts.get("reject", 0)
            if judged >= ENOUGH:
                share *= passed / judged
                told.append(f"{passed} of {judged} pass {stage.name}")
        if share >= self._least:
            return ""
        return f"{' and '.join(told)}, a yield of {share:.3g}, below --stop-kind-below {self._least:g}"


def kinds_stopped(recipe: Recipe, options: RunOptions) -> Yields | None:
    """What `--stop-kind-below` asks for of a recipe that was checked; None where it asks for nothing."""
    if options.stop_kind_below is None:
        return None
    stages = [
        StageFolder(stage.name, recipe.folder(stage, options.output), stage is recipe.stages[-1])
        for stage, sort in zip(recipe.stages, sorts(recipe, options), strict=True)
        if sort in ("edit", "verify")
    ]
    return Yields(stages, options.stop_kind_below, say)
