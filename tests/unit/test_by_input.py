"""What each input came to: counted over a journal and over shards, with the share of the photos that it reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from comfy_nodes.core.records import SampleFailure
from driver.dataset.by_input import MixedInput, ended_early, figures_by_input, note_inputs
from driver.dataset.commits import Totals
from driver.journal import Journal
from driver.samples import JournalRow, Sample, Unusable

INPUTS = (MixedInput("photos", "", 0.5), MixedInput("rows.parquet", "rows.parquet//", 0.5))


@pytest.fixture
def filled(tmp_path: Path, sample_of: Callable[..., Sample]) -> Callable[[str], Journal]:
    def fill(name: str) -> Journal:
        journal = Journal(tmp_path / f"{name}.sqlite")
        samples = [sample_of(name + key) for key in "abc"]
        lines = replace(samples[2].annotation, path=f"rows.parquet//{name}.jpg")
        samples[2] = replace(samples[2], annotation=lines)
        skipped = Unusable(
            f"{name}0", "rows.parquet//x.jpg", SampleFailure("input", "NearDuplicate", "it", skipped=True)
        )
        journal.enrol([*samples, skipped], None)
        journal.done(f"{name}a", [JournalRow(f"{name}a", "keep", "{}")], 0.1)
        journal.done(f"{name}c", [JournalRow(f"{name}c", "reject", "{}")], 0.1)
        journal.failed(f"{name}b", SampleFailure("edit", "OSError", "it broke"))
        return journal

    return fill


def test_photos_and_ends_are_counted_by_input(filled: Callable[[str], Journal]) -> None:
    journal = filled("k")
    assert Totals.of_journal(journal).inputs == {}
    note_inputs(journal, INPUTS)
    first = Totals.of_journal(journal)
    assert first.inputs["photos"].photos == 2 and first.inputs["photos"].counts == {"done": 1, "failed": 1, "keep": 1}
    assert first.inputs["rows.parquet"].skips == {"NearDuplicate": 1}
    other = filled("m")
    note_inputs(other, INPUTS)
    both = figures_by_input((first + Totals.of_journal(other)).inputs)
    assert list(both) == ["photos", "rows.parquet"]
    assert both["rows.parquet"] == {
        "photos": 4, "share": 0.5, "share_asked": 0.5, "kept": 0, "rejected": 2, "unscored": 0, "failed": 0, "skipped": 2,
        "skips": {"NearDuplicate": 2},
    }  # fmt: skip
    note_inputs(journal, ())
    assert Totals.of_journal(journal).inputs == {}


def test_an_input_that_ended_early_is_said() -> None:
    told = {"a": {"share": 0.9, "share_asked": 0.7}, "b": {"share": 0.1, "share_asked": 0.3}}
    assert ended_early(told) == "inputs that ended early, by their share of the photos: b 10.0 % instead of 30.0 %"
    assert ended_early({"a": {"share": 0.693, "share_asked": 0.7}, "b": {"share": 0.307, "share_asked": 0.3}}) == ""
    assert ended_early({"a": {"share": 0.9, "share_asked": None}, "b": {"share": 0.1, "share_asked": None}}) == ""
