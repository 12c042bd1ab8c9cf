"""`--status`: how far each stage of a recipe is, also while it runs. Looks at commits and journals, and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..dataset.ownership import JOURNAL, RECIPE
from ..errors import RunError
from ..report.yields import StageYield, YieldTable
from ..terminal import aligned, time_text

_COLUMNS = (
    "stage", "state", "waiting", "to come", "done", "passed on", "rejected", "unscored", "skipped", "failed", "calls", "USD",
    "time", "rate",
)  # fmt: skip


def status(output: Path) -> dict[str, Any]:
    """Shows how far a recipe's run is; returns it for programs.

    Raises:
        RunError: no recipe runs or ran there, or it is damaged.
    """
    table = YieldTable.of_recipe(output)
    if table is None:
        holds = "holds a run, but of no recipe" if (output / JOURNAL).exists() else "no recipe has begun there"
        raise RunError(f"--output {output}: {holds} ({RECIPE} is missing); give the --output of the recipe's run")
    coming = _coming(table.stages)
    rows = [_COLUMNS, *(_row(one, more) for one, more in zip(table.stages, coming, strict=True))]
    for line in aligned(rows, (0, 1)):
        print(line)
    told = table.told()
    for one, more, stage in zip(told["stages"], coming, table.stages, strict=True):
        one |= {"state": _state(stage, more), "to_come": more}
    return told


def _coming(stages: Sequence[StageYield]) -> list[int | None]:
    """How many records of the stage before each has not planned yet; None of the first, whose input is the user's."""
    found: list[int | None] = [None]
    for before, stage in pairwise(stages):
        found.append(max(0, before.passed - stage.items))
    return found


def _state(stage: StageYield, coming: int | None) -> str:
    if not stage.taken:
        return "not begun"
    if stage.pending or coming:
        return "open"
    return "done" if stage.settled else "done so far"


def _row(stage: StageYield, coming: int | None) -> tuple[str, ...]:
    if not stage.taken:
        return (stage.name, _state(stage, coming), "", str(coming or ""), *[""] * (len(_COLUMNS) - 4))
    done = stage.ended - stage.failed - stage.skipped
    counts = (stage.pending, "" if coming is None else coming, done, stage.passed, stage.rejected, stage.unscored)
    rate = "" if stage.rate is None else f"{stage.rate:.2f}/s"
    spent = (stage.calls, f"{stage.usd:.2f}", time_text(stage.seconds), rate)
    return (stage.name, _state(stage, coming), *map(str, (*counts, stage.skipped, stage.failed, *spent)))
