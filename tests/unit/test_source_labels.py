"""Hand labels of a run's rows reach the samples that judge these rows again, wherever the input points into the run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.records import Score
from comfy_nodes.core.tasks import VERIFY, task_named
from driver.dataset.dataset import write_dataset
from driver.dataset.parts import Part
from driver.dataset.rows import RunFacts
from driver.errors import RunError
from driver.inputs.source import Source
from driver.labels.labels import LABELS, Label, Labels
from driver.report.figures import RowStatistics
from driver.report.page import write_card
from driver.report.summary import Summary
from driver.samples import Aim, Sample
from tests.unit.source_making import samples
from tests.unit.turn_making import Said, add_dialogue

JUDGE = Aim(VERIFY, frozenset({"edited"}))
SUMMARY = Summary("remove", "full", "remove", 2, 1, 1, 0, 0, 0, {}, {}, 1.0, 1.0)


def label(run: Path, key: str, answer: str | None, who: str | None = None) -> None:
    Labels(run).add(Label.model_validate({"key": key, "label": answer, "labeller": who, "time": datetime.now(UTC)}))


def finish(run: Any, layout: str) -> None:
    run.add("good", verdict="unscored", scores=(Score(name="pixel.keep", value=1.0),))
    run.add("other")
    facts = RunFacts("remove", "a" * 64, "b" * 64, "full")
    write_dataset(run.journal, run.spool, Part(run.output), facts, layout)
    write_card(run.output, SUMMARY, {"editpairs": "0", "comfyui": "0"}, RowStatistics.of_dataset(run.output))


def judged(path: Path) -> list[Sample]:
    return samples(Source(path).plan([JUDGE], "all", 0))


def answers(path: Path) -> list[Any]:
    return [(one.annotation.carried or {}).get("hand_labels") for one in judged(path)]


@pytest.mark.parametrize("layout", ["hf", "wds"])
def test_labels_lie_beside_the_rows_that_they_are_of(run: Any, layout: str) -> None:
    finish(run, layout)
    before = judged(run.output / "rejected")
    label(run.output, "good", "reject", "ann")
    label(run.output, "good", "keep", "ben")
    label(run.output, "good", "keep", "ann")
    assert answers(run.output / "rejected") == [["keep", "keep"]]
    assert answers(run.output) == [None], "data/ holds the other row"
    (one,) = judged(next((run.output / "rejected").iterdir()))
    assert one.annotation.carried and one.annotation.carried["hand_labels"] == ["keep", "keep"]
    assert one.annotation.carried["scores"] == [{"name": "pixel.keep", "value": 1.0}]
    assert one.key == before[0].key, "a label makes no other sample"
    assert one.annotation.upstream != before[0].annotation.upstream, "and another origin of its words"


def test_only_who_judges_again_gets_labels_and_is_told_of_them(run: Any) -> None:
    finish(run, "hf")
    source = Source(run.output)
    bare, style = source.fingerprint(), Aim(task_named("style"))
    assert source.labels([JUDGE]) == ""
    label(run.output, "other", "keep")
    source = Source(run.output)
    assert source.labels([JUDGE]).startswith(f"hand labels count, of 1 rows in {run.output / LABELS}:")
    assert source.labels([style]) == ""
    assert not any(one.annotation.carried for one in samples(source.plan([style], "all", 0)))
    first = source.fingerprint()
    assert first != bare, "a label makes the input another"
    label(run.output, "other", "reject")
    assert Source(run.output).fingerprint() != first
    label(run.output, "other", None)
    assert answers(run.output) == [None], "a withdrawn label is none"


def test_a_damaged_label_ends_the_run_before_it_starts(run: Any) -> None:
    finish(run, "hf")
    (run.output / LABELS).write_text("?\n")
    with pytest.raises(RunError, match=r"labels\.jsonl: line 1 is no label; put it right or remove it"):
        Source(run.output).labels([JUDGE])


@pytest.mark.parametrize("layout", ["hf", "wds"])
def test_labels_of_turns_reach_the_turns(run: Any, layout: str) -> None:
    add_dialogue(run, "d", "content_memory", Said("Remove it.", op="remove"), Said("Paint it."))
    finish(run, layout)
    label(run.output, "d~1", "reject")
    found = {one.annotation.carried["turn"]["number"]: one.annotation.carried.get("hand_labels")
             for one in judged(run.output) if one.annotation.carried and one.annotation.carried.get("turn")}  # fmt: skip
    assert found == {1: None, 2: ["reject"]}
