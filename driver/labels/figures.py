"""What hand labels say of a run: how far each verifier is right, how pure each task's kept rows are, and which thresholds
would make them purer.

Every labelled row counts for the rows that it was drawn for, as `sample.py` keeps them, so that figures are those of the
whole run and not of the sample.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfy_nodes.core.verdicts.verdicts import majority

from ..dataset.dataset import dataset_digest, stored_rows
from ..dataset.dialogues import judged_itself
from ..dataset.shards import CONFIGS
from ..disk import write_text
from ..errors import RunError
from ..report.agreement import TwoByTwo, wilson
from ..report.figures import KEEP
from .labels import Labels
from .sample import SAMPLE, read_sample

REPORT = "labels_report.json"

RUN = "run"
"""Stands for the run's own verdict among verifiers."""


@dataclass(frozen=True)
class LabelledRow:
    """A row of the sample with its label."""

    task: str
    verdict: str
    """The run's; empty where it is on the dialogue that the row is a turn of."""
    scores: dict[str, float]
    keep: bool
    """Whether the person keeps it."""
    weight: float
    """Rows of the run that it stands for."""


def report(run: Path, precision: float, write: bool = True) -> dict[str, Any]:
    """The figures.

    Args:
        precision: wanted share of right rows among kept ones, for the thresholds.
        write: into `labels_report.json` as well.

    Raises:
        RunError: nothing is labelled yet, the run changed since the sample was drawn, or the disk is full.
    """
    rows, unlabelled = labelled_rows(run)
    judges = {RUN: [(row, row.verdict == "keep") for row in rows if row.verdict in ("keep", "reject")]}
    names = sorted({name for row in rows for name in row.scores})
    for name in names:
        if name.endswith(KEEP):
            judges[name.removesuffix(KEEP)] = [(row, row.scores[name] == 1) for row in rows if name in row.scores]
    kept = [row for row in rows if row.verdict == "keep"]
    found = {
        "labels": len(rows),
        "sampled_without_label": unlabelled,
        "verifiers": {name: _agreement(said) for name, said in judges.items() if said},
        "keep_precision": _share(kept),
        "keep_precision_by_task": {
            task: _share([row for row in kept if row.task == task]) for task in sorted({row.task for row in kept})
        },
        "wanted_precision": precision,
        "thresholds": {name: _threshold(rows, name, precision) for name in names if not name.endswith(KEEP)},
    }
    if write:
        write_text(run / REPORT, json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return found


def _review(run: Path) -> str:
    """The command, as a shell takes it."""
    return shlex.join(["python", "driver/review.py", str(run)])


def labelled_rows(run: Path) -> tuple[list[LabelledRow], dict[str, int]]:
    """Rows of the sample that have a label, and of each stratum, `task/verdict`, how many still have none.

    Of several persons' labels the majority's counts; a row on which they are divided has none.

    Raises:
        RunError: nothing is labelled yet, or the run changed since the sample was drawn.
    """
    sample, labels = read_sample(run), Labels(run)
    given = {key: answer for key in labels.given if (answer := majority(labels.answers(key)))}
    if sample is None or not given:
        raise RunError(f"{run}: nothing is labelled yet; label some pairs with `{_review(run)}` first")
    if dataset_digest(run) != sample.dataset:
        raise RunError(
            f"{run / SAMPLE}: was drawn before the run went on; `{_review(run)}` draws again and keeps the labels"
        )
    strata = {key: stratum for stratum in sample.strata for key in stratum.keys}
    labelled = Counter((strata[key].task, strata[key].verdict) for key in given if key in strata)
    rows = []
    for config in CONFIGS:
        for stored in stored_rows(run, config, images=False):
            row = stored.columns
            stratum, label = strata.get(row["key"]), given.get(row["key"])
            if stratum and label:
                scores = {one["name"]: one["value"] for one in row["scores"] or []}
                weight = stratum.rows / labelled[stratum.task, stratum.verdict]
                verdict = stratum.verdict if judged_itself(row) else ""
                rows.append(LabelledRow(stratum.task, verdict, scores, label == "keep", weight))
    missing = {
        f"{one.task}/{one.verdict}": left
        for one in sample.strata
        if (left := len(one.keys) - labelled[one.task, one.verdict])
    }
    return rows, missing


def effective_number(rows: Sequence[LabelledRow]) -> float:
    """Rows of equal weight that would tell as much (Kish, Survey Sampling, 1965)."""
    return float(sum(row.weight for row in rows) ** 2 / sum(row.weight**2 for row in rows))


def _agreement(said: Sequence[tuple[LabelledRow, bool]]) -> dict[str, Any]:
    """
    Args:
        said: rows, and whether the verifier keeps them.
    """
    table = TwoByTwo()
    for row, keeps in said:
        table.add(keeps, row.keep, row.weight)
    return {
        "n": len(said),
        "accuracy": table.agreement,
        "precision": table.precision,
        "precision_interval": _share([row for row, keeps in said if keeps])["interval"],
        "recall": table.recall,
        "kappa": table.kappa,
    }


def _share(rows: Sequence[LabelledRow]) -> dict[str, Any]:
    """Share of the rows that the person keeps, with its 95 % interval."""
    if not rows:
        return {"n": 0, "rows": 0.0, "share": None, "interval": None}
    total = sum(row.weight for row in rows)
    share = min(1.0, sum(row.weight for row in rows if row.keep) / total)
    return {"n": len(rows), "rows": total, "share": share, "interval": list(wilson(share, effective_number(rows)))}


def _threshold(rows: Sequence[LabelledRow], name: str, wanted: float) -> dict[str, Any] | None:
    """The threshold that keeps most among those with the wanted precision; None where there is none.

    High values are taken as good where the rows that the person keeps have the higher mean, else low ones.
    """
    scored = [row for row in rows if name in row.scores]
    good, bad = (_mean([row for row in scored if row.keep == keep], name) for keep in (True, False))
    high = good is None or bad is None or good >= bad
    chosen: list[LabelledRow] = []
    best: dict[str, Any] | None = None
    ordered = sorted(scored, key=lambda row: row.scores[name], reverse=high)
    total = sum(row.weight for row in scored)
    for row, after in zip(ordered, [*ordered[1:], None], strict=True):
        chosen.append(row)
        if after is not None and after.scores[name] == row.scores[name]:
            continue
        found = _share(chosen)
        if found["share"] >= wanted:
            best = {
                "keep_if": "at least" if high else "at most",
                "threshold": row.scores[name],
                "precision": found["share"],
                "interval": found["interval"],
                "n": len(chosen),
                "share_kept": min(1.0, found["rows"] / total),
            }
    return best


def _mean(rows: Sequence[LabelledRow], name: str) -> float | None:
    total = sum(row.weight for row in rows)
    return sum(row.weight * row.scores[name] for row in rows) / total if total else None
