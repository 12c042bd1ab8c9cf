"""What each of a run's inputs came to, where it has several: photos, samples by how they ended, kept pairs, and its share.

Told by the ids of photos, which begin with what their input is called. `Totals` holds it, for a journal or over all commits.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from ..journal import Journal

INPUTS = "inputs"
"""In a journal: the run's inputs, where there are several."""

SHORT = 0.01
"""An input whose share of all photos is less than it should be by more than this ended early. Ours: more than rounding does."""


class MixedInput(NamedTuple):
    """One of several inputs."""

    called: str
    begin: str
    """What the ids of its photos begin with; "" for the first."""
    share: float | None
    """How much of all photos is to come from it, 0 to 1; None where nobody said it."""


class InputTotals(BaseModel):
    """What an input came to, as counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float | None = None
    """Asked for, 0 to 1."""
    photos: int = 0
    """Photos, and what stood in the place of one."""
    counts: dict[str, int] = {}
    """Samples by state, and records by verdict."""
    skips: dict[str, int] = {}
    """Skipped samples by error type."""

    def __add__(self, other: InputTotals) -> InputTotals:
        return InputTotals(
            share=self.share if self.share is not None else other.share,
            photos=self.photos + other.photos,
            counts=dict(sorted((Counter(self.counts) + Counter(other.counts)).items())),
            skips=dict(sorted((Counter(self.skips) + Counter(other.skips)).items())),
        )


def note_inputs(journal: Journal, inputs: tuple[MixedInput, ...]) -> None:
    """Takes down which inputs a journal's samples are of."""
    if inputs:
        journal.set(INPUTS, json.dumps(inputs))
    else:
        journal.unset(INPUTS)


def totals_by_input(journal: Journal) -> dict[str, InputTotals]:
    """What each input of a journal's samples came to, in their order; none where there is but one."""
    inputs = [MixedInput(*one) for one in json.loads(journal.get(INPUTS) or "[]")]
    found: list[dict[str, Any]] = [{"photos": 0, "counts": Counter(), "skips": Counter()} for _ in inputs]
    for index, what, detail, number in journal.by_input([one.begin for one in inputs]) if inputs else ():
        if what == "photos":
            found[index]["photos"] += number
        else:
            found[index]["counts"][what] += number
            if what == "skipped":
                found[index]["skips"][detail] += number
    return {
        one.called: InputTotals(share=one.share, **{name: _plain(value) for name, value in told.items()})
        for one, told in zip(inputs, found, strict=True)
    }


def _plain(value: Any) -> Any:
    return dict(sorted(value.items())) if isinstance(value, Counter) else value


def joined(one: Mapping[str, InputTotals], other: Mapping[str, InputTotals]) -> dict[str, InputTotals]:
    """Both together, in their order."""
    nothing = InputTotals()
    return {name: one.get(name, nothing) + other.get(name, nothing) for name in {**one, **other}}


def figures_by_input(totals: Mapping[str, InputTotals]) -> dict[str, dict[str, Any]]:
    """The same as a summary shows it."""
    photos = sum(one.photos for one in totals.values())
    names = {"keep": "kept", "reject": "rejected", "unscored": "unscored", "failed": "failed", "skipped": "skipped"}
    return {
        called: {
            "photos": one.photos,
            "share": round(one.photos / photos, 4) if photos else 0.0,
            "share_asked": one.share,
            **{name: one.counts.get(state, 0) for state, name in names.items()},
            "skips": one.skips,
        }
        for called, one in totals.items()
    }


def ended_early(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """What to say of inputs that had fewer photos than their share; "" where there is nothing to say."""
    short = [
        f"{called} {100 * one['share']:.1f} % instead of {100 * one['share_asked']:.1f} %"
        for called, one in figures.items()
        if one["share_asked"] is not None and one["share"] < one["share_asked"] - SHORT
    ]
    return f"inputs that ended early, by their share of the photos: {', '.join(short)}" if short else ""
