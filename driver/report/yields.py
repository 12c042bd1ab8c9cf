"""What each stage of a recipe let through, and what a kept pair of each kind of edit cost: the table that each paper prints.

Read from what the stages leave on disk, commits and journals, also while they run; nothing is written. The report and
`--status` show it, and `--stop-kind-below` goes by it.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from comfy_nodes.core.services import budget, places
from comfy_nodes.core.tasks import ANNOTATE, VERIFY

from ..dataset.commits import ITEMS, SETTLED, Totals, read_commit
from ..dataset.ownership import JOURNAL, RECIPE, SHARDS, STAGES
from ..dataset.parts import NAME, Part
from ..errors import RunError
from ..journal import Journal
from ..terminal import aligned

STAGE_TASKS = ("", ANNOTATE.name, VERIFY.name)
"""What samples are filed under that have no kind of edit."""

_RUN_IDS = ("run_id", "annotate_run_id")
"""In a stage's journal: what its calls to services are booked on."""

SHOWN = 3
"""Reasons that a line at the terminal names; the report has all. Ours."""

_STAGE_COLUMNS: tuple[str, ...] = (
    "stage", "in", "out", "yield", "rejected", "unscored", "skipped", "failed", "calls", "USD", "s", "why not",
)  # fmt: skip
_KIND_COLUMNS: tuple[str, ...] = (
    "kind", "written", "made", "judged", "kept", "yield", "calls/kept", "USD/kept", "s/kept",
)  # fmt: skip

_PAIRS = "EditPairsSavePair"


@dataclass(frozen=True)
class StageYield:
    """One stage of a recipe so far."""

    name: str
    begun: bool
    taken: int = 0
    """Samples that it was given, also those that wait."""
    passed: int = 0
    """Records that went on: of the last stage the kept ones, of others the unscored too."""
    rejected: int = 0
    unscored: int = 0
    """Of the last stage; of others they go on."""
    failed: int = 0
    skipped: int = 0
    pending: int = 0
    """Samples that wait or are in the work."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why records were rejected."""
    skips: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    """To services, by this machine's ledger."""
    usd: float = 0.0
    seconds: float = 0.0
    """While it had work."""
    items: int = 0
    """Of what it takes from the stage before, how many are planned."""
    settled: bool = False
    """Whether it went through all that it was asked for."""
    worked: float = 0.0
    """Seconds that servers worked for it."""

    @property
    def ended(self) -> int:
        """Samples with an end."""
        return self.taken - self.pending

    @property
    def share(self) -> float | None:
        """Records that went on for each sample that ended; more than 1 where one sample gives several."""
        return self.passed / self.ended if self.ended else None

    @property
    def rate(self) -> float | None:
        """Samples per second."""
        return self.ended / self.seconds if self.seconds else None

    def told(self) -> dict[str, Any]:
        """For `summary.json`."""
        figures = {**vars(self), "yield": _rounded(self.share), "per_second": _rounded(self.rate)}
        return {
            **figures,
            "usd": round(self.usd, 6),
            "seconds": round(self.seconds, 2),
            "worked": round(self.worked, 2),
        }


@dataclass(frozen=True)
class KindYield:
    """One kind of edit over all stages."""

    name: str
    written: int
    """Instructions; 0 where no stage writes."""
    made: int
    """Edits."""
    judged: int
    """Pairs that the last stage kept or rejected."""
    kept: int
    calls: float
    """To services, its share of each stage's by its samples there; stages that know no kinds are shared by the samples of
    the first stage that does."""
    usd: float
    seconds: float
    """How long servers worked for it, shared likewise."""

    @property
    def share(self) -> float | None:
        """Kept pairs of the edits made."""
        return self.kept / self.made if self.made else None

    def per_kept(self, cost: float) -> float | None:
        return cost / self.kept if self.kept else None

    def told(self) -> dict[str, Any]:
        """For `summary.json`."""
        counts = {name: getattr(self, name) for name in ("written", "made", "judged", "kept")}
        costs = {
            f"{name}_per_kept": _rounded(self.per_kept(getattr(self, name))) for name in ("calls", "usd", "seconds")
        }
        return {**counts, "yield": _rounded(self.share), **costs}


@dataclass(frozen=True)
class YieldTable:
    """A recipe's stages in their order, and its kinds of edit by name."""

    stages: tuple[StageYield, ...]
    kinds: tuple[KindYield, ...]

    @classmethod
    def of_recipe(cls, output: Path) -> YieldTable | None:
        """The table of what lies in a recipe's folder; None where no recipe ran there.

        Raises:
            RunError: a journal is damaged.
        """
        names = stage_names(output)
        if not names:
            return None
        stages = [StageFolder(name, _folder(output, names, name), name == names[-1]) for name in names]
        counted = [tallies(stage) for stage in stages]
        found = [
            replace(stage.figures(), worked=sum(one.seconds for one in by_kind.values()))
            for stage, by_kind in zip(stages, counted, strict=True)
        ]
        return cls(tuple(found), tuple(_kinds(stages, found, counted)))

    def told(self) -> dict[str, Any]:
        """For `summary.json`."""
        return {"stages": [one.told() for one in self.stages], "kinds": {one.name: one.told() for one in self.kinds}}

    def lines(self) -> list[str]:
        """For the terminal, at the end of a run."""
        rows = [_STAGE_COLUMNS]
        for one in self.stages:
            numbers = (one.taken, one.passed, _percent(one.share), one.rejected, one.unscored, one.skipped, one.failed)
            why = {"rejected": one.reasons, "skipped": one.skips, "failed": one.failures}
            told = "; ".join(f"{what}: {_counted(found)}" for what, found in why.items() if found)
            rows.append((one.name, *map(str, numbers), str(one.calls), f"{one.usd:.2f}", f"{one.seconds:.1f}", told))
        lines = aligned(rows, (0, len(_STAGE_COLUMNS) - 1))
        if self.kinds:
            lines += ["", *self._lines_of_kinds()]
        return lines

    def _lines_of_kinds(self) -> list[str]:
        rows = [_KIND_COLUMNS]
        for one in self.kinds:
            counts = map(str, (one.written, one.made, one.judged, one.kept, _percent(one.share)))
            costs = {".1f": one.calls, ".4f": one.usd, ".2f": one.seconds}
            per_kept = ((one.per_kept(cost), form) for form, cost in costs.items())
            rows.append((one.name, *counts, *("" if cost is None else format(cost, form) for cost, form in per_kept)))
        return aligned(rows)


def stage_names(output: Path) -> list[str]:
    """The stages of the recipe whose folder this is, in their order; none where it is no recipe's."""
    try:
        told = json.loads((output / RECIPE).read_bytes())
        return [str(one["name"]) for one in told["stages"]]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _folder(output: Path, names: Sequence[str], name: str) -> Path:
    return output if name == names[-1] else output / STAGES / name


@dataclass(frozen=True)
class StageFolder:
    """What lies of a stage; looked at without writing to it."""

    name: str
    path: Path
    last: bool = False
    """Whether it is the recipe's last one."""

    def figures(self) -> StageYield:
        """
        Raises:
            RunError: a journal is damaged.
        """
        told = self._meta("graph", SETTLED, *_RUN_IDS)
        if not told:
            return StageYield(self.name, begun=False)
        totals, items = Totals(), 0
        for one, planned in self._parts():
            totals, items = totals + one, items + planned
        counts = totals.counts
        spent = [_spent(told[name]) for name in _RUN_IDS if name in told]
        on = 0 if self.last else counts.get("unscored", 0)
        return StageYield(
            self.name,
            begun=True,
            taken=totals.samples,
            passed=counts.get("keep", 0) + on,
            rejected=counts.get("reject", 0),
            unscored=counts.get("unscored", 0) - on,
            failed=counts.get("failed", 0),
            skipped=counts.get("skipped", 0),
            pending=counts.get("pending", 0),
            reasons=totals.reasons,
            skips=totals.skips,
            failures=totals.failures,
            calls=sum(one.calls for one in spent),
            usd=sum(one.usd for one in spent),
            seconds=totals.seconds,
            items=items,
            settled=SETTLED in told,
        )

    @property
    def pairs(self) -> bool:
        """Whether it gives edit pairs."""
        return _PAIRS in self._meta("graph").get("graph", "")

    def journals(self) -> list[Path]:
        """The journals that its samples are in."""
        shards = self.path / SHARDS
        found = [one for one in shards.glob("*.sqlite") if NAME.fullmatch(one.stem)] if shards.is_dir() else []
        return sorted(found) or [path for path in (self.path / JOURNAL,) if path.is_file()]

    def _parts(self) -> Iterator[tuple[Totals, int]]:
        """What each shard came to, and how many items of the stage before it takes: of a whole one its commit says it."""
        for path in self.journals():
            part = Part(self.path, path.stem) if path.name != JOURNAL else None
            commit = read_commit(part) if part else None
            if commit and commit.cut.whole:
                yield commit.totals, commit.cut.items
                continue
            with _looked_at(path) as journal:
                yield Totals.of_journal(journal), int(journal.get(ITEMS) or 0)

    def _meta(self, *names: str) -> dict[str, str]:
        """What the run's journal says under these names; nothing where there is none."""
        path = self.path / JOURNAL
        if not path.is_file():
            return {}
        with _looked_at(path) as journal:
            return {name: value for name in names if (value := journal.get(name)) is not None}


def _spent(run_id: str) -> budget.Spent:
    """A run's account; where nobody asked a service no ledger is made."""
    return budget.spent(run_id) if (places.cache_folder() / budget.FILE).exists() else budget.Spent()


def _looked_at(path: Path) -> closing[Journal]:
    try:
        return closing(Journal(path, read_only=True))
    except sqlite3.OperationalError as error:
        raise RunError(f"{path}: cannot be read ({error})", 1) from None


@dataclass
class Tally:
    """Samples of one kind in one stage."""

    verdicts: Counter[str] = field(default_factory=Counter)
    samples: float = 0.0
    seconds: float = 0.0


def tallies(stage: StageFolder) -> dict[str, Tally]:
    """A stage's samples by kind of edit; those without one under the stage's task.

    Raises:
        RunError: a journal is damaged.
    """
    found: dict[str, Tally] = {}
    for path in stage.journals():
        count_kinds(path, found)
    return found


def count_kinds(path: Path, into: dict[str, Tally]) -> None:
    """Adds the samples of one journal, by kind of edit.

    Raises:
        RunError: it is damaged.
    """
    with _looked_at(path) as journal:
        rows = journal.kinds()
    for row in rows:
        tally = into.setdefault(row.kind, Tally())
        tally.verdicts[row.verdict] += row.records
        tally.samples += row.samples
        tally.seconds += row.seconds


def _kinds(
    stages: Sequence[StageFolder], figures: Sequence[StageYield], counted: Sequence[dict[str, Tally]]
) -> Iterator[KindYield]:
    """The kinds of edit that stages name, by name."""
    pairs = [tally for tally, stage in zip(counted, stages, strict=True) if stage.pairs]
    written = next(
        (tally for tally, stage in zip(counted, stages, strict=True) if not stage.pairs and _named(tally)), {}
    )
    shares = _shares(next(filter(_named, counted), {}))
    costs: dict[str, dict[str, float]] = defaultdict(lambda: {"calls": 0.0, "usd": 0.0, "seconds": 0.0})
    for tally, stage in zip(counted, figures, strict=True):
        seconds = sum(one.seconds for name, one in tally.items() if name in STAGE_TASKS)
        for name, share in (_shares(tally) or shares).items():
            own = tally[name].seconds if name in tally else 0.0
            costs[name]["calls"] += stage.calls * share
            costs[name]["usd"] += stage.usd * share
            costs[name]["seconds"] += own + seconds * shares.get(name, 0.0)
    names = {name for tally in counted for name in _named(tally)}
    for name in sorted(names):
        first, last = (one.get(name, Tally()).verdicts for one in (pairs[0], pairs[-1])) if pairs else (Counter(),) * 2
        yield KindYield(
            name=name,
            written=written[name].verdicts["keep"] if name in written else 0,
            made=sum(first.values()),
            judged=last["keep"] + last["reject"],
            kept=last["keep"],
            **costs[name],
        )


def _named(tally: dict[str, Tally]) -> list[str]:
    return [name for name in tally if name not in STAGE_TASKS]


def _shares(tally: dict[str, Tally]) -> dict[str, float]:
    """Which share of a stage's samples each kind has."""
    total = sum(tally[name].samples for name in _named(tally))
    return {name: tally[name].samples / total for name in _named(tally)} if total else {}


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _counted(reasons: dict[str, int]) -> str:
    most = sorted(reasons.items(), key=lambda one: -one[1])
    more = len(most) - SHOWN
    return ", ".join(f"{number} {why or 'no reason given'}" for why, number in most[:SHOWN]) + (
        f", {more} more" if more > 0 else ""
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
