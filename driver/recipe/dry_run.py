"""What a recipe would do, shown without doing it: all stages held against a server, and estimates from what was measured.

How many samples the first stage has is counted; what comes of them, and of all stages behind it, is estimated from what the
same stages made in this folder so far. Where nothing was measured, nothing is claimed.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..deriving.deriving import INSIDE
from ..errors import RunError
from ..inputs.source import Source
from ..options import RunOptions
from ..pipeline.dry_run import Scope, Tally, estimates, licences_of, show, taken
from ..pipeline.plan import look_for_near, open_source, workflow_names
from ..pipeline.servers import running_hosts
from ..pipeline.workflow import Workflow
from ..report.yields import StageYield, YieldTable
from ..samples import NOT_ANNOTATED, Sample, Unavailable, Unusable
from ..terminal import aligned, time_text
from .checks import check
from .file import RecipeStage, read_recipe
from .fitting import Fitting, fit, workflow_names_of

NOT_MEASURED = "not measured yet"

SHOWN = 120
"""Letters of an option's value that are shown. Ours."""

MOST_REASONS = 20
"""Reasons that are listed why inputs give no sample. Ours."""

_FOUND_FIRST = "its regions are found first"
_COLUMNS = ("stage", "samples", "passed on", "calls", "USD", "servers' time", "")


@dataclass(frozen=True)
class Estimate:
    """One stage's; None where nobody can say."""

    name: str
    samples: int | None
    passed: int | None = None
    calls: int | None = None
    usd: float | None = None
    seconds: float | None = None
    """That servers work."""
    measured: int = 0
    """From so many samples of this stage it is estimated."""

    @classmethod
    def of(cls, name: str, samples: int | None, stage: StageYield | None) -> Estimate:
        """
        Args:
            stage: what it came to so far in this folder.
        """
        if samples is None or stage is None or not stage.ended:
            return cls(name, samples)
        times = samples / stage.ended
        return cls(
            name,
            samples,
            passed=round(stage.passed * times),
            calls=round(stage.calls * times),
            usd=stage.usd * times,
            seconds=stage.worked * times,
            measured=stage.ended,
        )

    def row(self) -> tuple[str, ...]:
        counts = ("?" if one is None else str(one) for one in (self.samples, self.passed, self.calls))
        usd = "?" if self.usd is None else f"{self.usd:.2f}"
        worked = "?" if self.seconds is None else time_text(self.seconds)
        return (self.name, *counts, usd, worked, f"measured on {self.measured}" if self.measured else NOT_MEASURED)


def dry_run(options: RunOptions) -> dict[str, Any]:
    """Shows what a run would do; starts a server to ask it, and leaves nothing behind.

    Returns:
        Each stage's estimates.

    Raises:
        RunError: the run could not start.
    """
    assert options.recipe
    recipe = read_recipe(options.recipe)
    options = recipe.asked(options)
    lacking = check(recipe, options)
    stages = recipe.wanted(options)
    asked = [stage.run_options(options, recipe.folder(stage, options.output)) for stage in stages]
    source = open_source(asked[0])
    look_for_near(asked[0], source, None)
    if lacking and source.bare():
        raise RunError(lacking)
    with (
        closing(source),
        tempfile.TemporaryDirectory(prefix="editpairs-") as scratch,
        running_hosts(options.server, options.servers, Path(scratch)) as hosts,
    ):
        names = [
            workflow_names_of(recipe, stage) or workflow_names(one, source)
            for stage, one in zip(stages, asked, strict=True)
        ]
        workflows = fit([Fitting(*one, hosts) for one in zip(stages, asked, names, strict=True)])
        show("recipe", f"{recipe.path}" + (f": {recipe.about}" if recipe.about else ""))
        for stage, found in zip(stages, workflows, strict=True):
            _show_stage(stage, found)
        first = _First.of(asked[0], source, workflows[0])
    table = YieldTable.of_recipe(options.output)
    known = {one.name: one for one in table.stages} if table else {}
    estimated = _estimated([stage.name for stage in stages], first.samples, known)
    first.show(stages[0].name, workflows[0], bool(estimated[0].measured))
    _show_table(estimated)
    show("output", str(options.output))
    if recipe.deriving and stages[-1] is recipe.stages[-1]:
        show("derived", f"{', '.join(recipe.deriving.kinds)} of the rows that are kept, in {options.output / INSIDE}")
    return {"stages": [asdict(one) for one in estimated]}


def _show_stage(stage: RecipeStage, workflows: Sequence[Workflow]) -> None:
    files = ", ".join(workflow.file.path.name for workflow in workflows)
    profiles = sorted({name for workflow in workflows for name in workflow.graph.profiles()})
    asks = f", asks VLM profile {', '.join(profiles)}" if profiles else ""
    said = [f"{name.replace('_', '-')} {_said(value)}" for name, value in stage.options.items()]
    show(f"stage {stage.name}", "; ".join([f"{files}{asks}", *said]))
    for line in dict.fromkeys(line for workflow in workflows for line in licences_of(workflow)):
        show("rests on", line)


def _said(value: Any) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


@dataclass(frozen=True)
class _First:
    """What the first stage makes of the user's input."""

    samples: int
    talks: str
    """How many dialogues they make, in words."""
    bare: int
    """Photos without a region, in which it finds some first."""
    refused: Counter[tuple[str, str]]
    scope: Scope

    @classmethod
    def of(cls, asked: RunOptions, source: Source, workflows: Sequence[Workflow]) -> _First:
        scope = Scope.of(asked, source, [workflow.aim for workflow in workflows])
        refused: Counter[tuple[str, str]] = Counter()
        usable, bare = Tally(), 0
        for one in taken(scope.planned(asked, source, workflows, Unavailable(_FOUND_FIRST)), asked.limit):
            if isinstance(one, Unusable) and one.failure.error_type == NOT_ANNOTATED:
                bare += 1
            elif isinstance(one, Unusable):
                refused["skipped" if one.failure.skipped else "unusable", one.failure.message] += 1
            elif isinstance(one, Sample):
                usable.add(one)
        return cls(usable.edited(scope), usable.told(scope), scope.whole(bare), refused, scope)

    def show(self, name: str, workflows: Sequence[Workflow], measured: bool) -> None:
        """
        Args:
            measured: whether what it costs is estimated from what it did cost.
        """
        counts = Counter(what for what, _ in self.refused.elements())
        lost = "".join(f", {self.scope.whole(number)} {what}" for what, number in sorted(counts.items()))
        more = f" and those of {self.bare} photos without regions" if self.bare else ""
        show(
            "input",
            f"{self.scope.about}{self.samples} samples{self.talks} for stage {name}{more}{lost}{self.scope.told}",
        )
        for (what, why), number in self.refused.most_common(MOST_REASONS):
            show(what, why + (f" (and {number - 1} more)" if number > 1 else ""))
        for workflow in workflows if not measured else ():
            for title, text in estimates(workflow, self.samples).items():
                show(title, f"stage {name}: {text}")


def _estimated(names: Sequence[str], samples: int, known: Mapping[str, StageYield]) -> list[Estimate]:
    """
    Args:
        samples: those of the first stage.
        known: what stages came to so far in this folder, by name.
    """
    found: list[Estimate] = []
    coming: int | None = samples
    for index, name in enumerate(names):
        stage = known.get(name)
        if index and coming is not None:  # records of the stage before; one may give several samples, or none
            coming = round(coming * stage.taken / stage.items) if stage and stage.items else None
        found.append(Estimate.of(name, coming, stage))
        coming = found[-1].passed
    return found


def _show_table(found: Sequence[Estimate]) -> None:
    print("estimates:" if any(one.measured for one in found) else "estimates, of a folder where nothing was made yet:")
    rows = [_COLUMNS, *(one.row() for one in found)]
    if all(one.measured for one in found):
        calls, usd, seconds = (sum(getattr(one, name) for one in found) for name in ("calls", "usd", "seconds"))
        rows.append(("all", "", "", str(calls), f"{usd:.2f}", time_text(seconds), ""))
    for line in aligned(rows, (0, len(_COLUMNS) - 1)):
        print(f"  {line}")
