"""The yield table of a recipe, read from what its stages leave, and kinds of edit that are stopped."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from comfy_nodes.core.services import budget
from driver.recipe.yields import ENOUGH, KIND_STOPPED, Yields
from driver.report.yields import StageFolder, YieldTable
from driver.samples import Sample, Unusable
from tests.unit.recipe_making import LINES, PAIRS, Folder

Make = Callable[..., Sample]
TEXTURE = "unicedit/Texture Editing"


@pytest.fixture
def folder(tmp_path: Path, sample_of: Make, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """Of four photos one is dropped; of six instructions five are edited, of which one is rejected and two not kept."""
    monkeypatch.setenv("EDITPAIRS_CACHE", str(tmp_path / "cache"))
    made = Folder(tmp_path / "out", ("annotate", "write", "edit", "verify"), sample_of)
    made.begin("annotate", LINES)
    made.shard("annotate", 0, [(one, "", "keep") for one in "abc"], skips=["TooSmall"])
    made.begin("write")
    made.shard("write", 0, [("a", "remove", "keep"), ("b", TEXTURE, "keep"), ("b", "style", "keep")], items=2)
    made.shard("write", 1, [("c", "remove", "keep"), ("d", "remove", "keep"), ("e", "remove", "keep")], items=1)
    made.begin("edit", PAIRS)
    edits = [
        ("a", "remove", "unscored"),
        ("c", "remove", "reject"),
        ("d", "remove", "unscored"),
        ("e", TEXTURE, "keep"),
    ]
    made.shard("edit", 0, [*edits, ("f", "style", "unscored")], failures=1)
    made.begin("verify", PAIRS)
    judged = [("a", "remove", "keep"), ("d", "remove", "reject"), ("e", TEXTURE, "keep"), ("f", "style", "unscored")]
    made.shard("verify", 0, judged)
    return made


def spend(run: str, calls: int, usd: float) -> None:
    ledger = budget.Ledger(budget.places.cache_folder() / budget.FILE)
    ledger.reserve(run, 0.0, None)
    ledger.settle(run, 0.0, budget.Spent(calls=calls, usd=usd))
    ledger.close()


def test_the_table_says_what_each_stage_let_through(folder: Folder) -> None:
    table = YieldTable.of_recipe(folder.output)
    assert table is not None
    annotate, write, edit, verify = table.stages
    assert (annotate.taken, annotate.passed, annotate.skips, annotate.share) == (4, 3, {"TooSmall": 1}, 0.75)
    assert (write.taken, write.passed, write.share, write.items, write.seconds) == (5, 6, 1.2, 3, 4.0)
    assert (edit.taken, edit.passed, edit.rejected, edit.failures) == (6, 4, 1, {"RuntimeError": 1})
    assert edit.reasons == {"too dark": 1}
    assert (verify.passed, verify.rejected, verify.unscored) == (2, 1, 1)
    told = "\n".join(table.lines())
    assert "rejected: 1 too dark; failed: 1 RuntimeError" in told and "66.7 %" in told


def test_what_a_kept_pair_cost_is_told_by_kind(folder: Folder) -> None:
    for run, calls in {"run-of-annotate": 30, "run-of-write": 10, "run-of-verify": 8}.items():
        spend(run, calls, calls / 100)
    table = YieldTable.of_recipe(folder.output)
    assert table is not None and [one.calls for one in table.stages] == [30, 10, 0, 8]
    kinds = {one.name: one for one in table.kinds}
    assert set(kinds) == {"remove", TEXTURE, "style"}
    remove = kinds["remove"]
    assert (remove.written, remove.made, remove.judged, remove.kept, remove.share) == (4, 3, 2, 1, 1 / 3)
    # Of five samples that were written for four are removals; of four that were judged two.
    assert remove.calls == pytest.approx(30 * 0.8 + 10 * 0.8 + 8 * 0.5)
    assert remove.usd == pytest.approx(remove.calls / 100)
    # A second each of four writings, three edits and two verdicts; a failed edit's are not known; of three photos 0.8.
    assert remove.seconds == pytest.approx(4 + 3 + 2 + 3 * 0.8)
    assert sum(one.calls for one in table.kinds) == pytest.approx(48)
    assert kinds["style"].per_kept(kinds["style"].usd) is None
    assert table.told()["kinds"]["remove"]["calls_per_kept"] == pytest.approx(36)


def test_without_a_ledger_none_is_made(folder: Folder) -> None:
    assert YieldTable.of_recipe(folder.output)
    assert not (budget.places.cache_folder() / budget.FILE).exists()


def test_a_folder_of_no_recipe_has_no_table(tmp_path: Path) -> None:
    assert YieldTable.of_recipe(tmp_path) is None
    (tmp_path / "recipe.json").write_text("{}")
    assert YieldTable.of_recipe(tmp_path) is None


def test_an_edit_that_was_filed_elsewhere_counts_for_the_kind_it_was_made_for(tmp_path: Path, sample_of: Make) -> None:
    made = Folder(tmp_path, ("edit",), sample_of)
    made.begin("edit", PAIRS)
    made.shard("edit", 0, [("a", "remove", "keep"), ("b", "remove", "keep")])
    journal = made.stage("edit") / "shards" / "000000.sqlite"
    record = {"task": "alter", "made_as": "remove", "made_as_subtask": "unicedit/Subject Removal"}
    with sqlite3.connect(journal) as db:
        db.execute("UPDATE records SET record = ? WHERE sample = 'a'", (json.dumps(record),))
    table = YieldTable.of_recipe(tmp_path)
    assert table is not None and {one.name: one.kept for one in table.kinds} == {
        "remove": 1, "unicedit/Subject Removal": 1,
    }  # fmt: skip


# Kinds that never pay.


@pytest.fixture
def paying(tmp_path: Path, sample_of: Make) -> Folder:
    made = Folder(tmp_path / "paying", ("edit", "verify"), sample_of)
    made.begin("edit", PAIRS)
    made.begin("verify", PAIRS)
    return made


def judged(kind: str, kept: int, rejected: int) -> list[tuple[str, str, str]]:
    verdicts = ["keep"] * kept + ["reject"] * rejected
    return [(f"{kind}{number}", kind, verdict) for number, verdict in enumerate(verdicts)]


def yields_of(folder: Folder, least: float, said: list[str]) -> Yields:
    stages = [StageFolder(name, folder.stage(name), name == folder.names[-1]) for name in folder.names]
    return Yields(stages, least, said.append)


def test_a_kind_that_never_pays_is_stopped_once_enough_were_judged(
    paying: Folder, sample_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driver.recipe.yields.LOOKED_SECONDS", 0.0)
    said: list[str] = []
    yields = yields_of(paying, 0.2, said)
    paying.shard("verify", 0, judged("remove", 1, ENOUGH - 2))
    assert yields.stopped("remove") == ""
    paying.shard("verify", 1, [*judged("remove", 1, 0), *judged("style", 10, ENOUGH)])
    assert yields.stopped("style") == "" and yields.stopped("add") == ""
    assert yields.stopped("remove") == f"2 of {ENOUGH} pass verify, a yield of 0.0667, below --stop-kind-below 0.2"
    assert said == [f"remove: no further samples: {yields.stopped('remove')}"]
    one = sample_of("x")
    planned = yields.admitted(Sample("x", one.file, one.annotation, task="remove"))
    assert isinstance(planned, Unusable) and planned.key == "x" and planned.failure.skipped
    assert planned.failure.error_type == KIND_STOPPED and "of 30 pass verify" in planned.failure.message
    other = Sample("y", one.file, one.annotation, task="instruct", own_task="remove", subtask=TEXTURE)
    assert yields.admitted(other) is other
    offered = Sample("z", one.file, replace(one.annotation, offered=("remove", "style")), task="instruct")
    left = yields.admitted(offered)
    assert isinstance(left, Sample) and left.annotation.offered == ("style",)
    alone = yields.admitted(replace(offered, annotation=replace(one.annotation, offered=("remove",))))
    assert isinstance(alone, Unusable) and alone.failure.error_type == KIND_STOPPED
    assert yields_of(paying, 0.2, said).stopped("remove"), "a resumed run knows it from the commits"


def test_a_stage_that_rejects_before_others_judge_counts_into_the_yield(
    paying: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driver.recipe.yields.LOOKED_SECONDS", 0.0)
    half = [("unscored" if verdict == "keep" else verdict) for _, _, verdict in judged("add", 15, 15)]
    paying.shard("edit", 0, [(f"e{number}", "add", verdict) for number, verdict in enumerate(half)])
    assert yields_of(paying, 0.4, []).stopped("add") == "", "what is still to be judged may all be kept"
    assert yields_of(paying, 0.6, []).stopped("add").startswith("15 of 30 pass edit, a yield of 0.5,")
    paying.shard("verify", 0, judged("add", 15, 15))
    assert (
        yields_of(paying, 0.4, [])
        .stopped("add")
        .startswith("15 of 30 pass edit and 15 of 30 pass verify, a yield of 0.25,")
    )


def test_a_shard_that_is_not_whole_is_not_counted_yet(paying: Folder) -> None:
    paying.shard("verify", 0, judged("remove", 0, ENOUGH), whole=False)
    assert yields_of(paying, 0.5, []).stopped("remove") == ""
