"""The list of stages that a run goes through: which there are, and what one leaves for the next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from comfy_nodes.core.ingredients import Ingredients
from comfy_nodes.core.keys import sample_key
from comfy_nodes.core.records import AnnotationRecord, SavedFile
from comfy_nodes.core.regions.annotation import UPSTREAM, Annotation, Region, to_json
from comfy_nodes.core.tasks import ANNOTATE
from comfy_nodes.core.weights.records import Policy
from driver.errors import RunError
from driver.graph.api import ANNOTATION_SINK, EDIT_SINK, INSTRUCTION_SINK, SOURCE_CLASS
from driver.graph.bound import BatchGraph
from driver.graph.file import WorkflowFile
from driver.inputs.source import Source
from driver.options import RunOptions
from driver.pipeline.edit import EditStage
from driver.pipeline.folder import OutputFolder
from driver.pipeline.lines import AnnotateStage, RegionsStage, WriteStage
from driver.pipeline.preflight import Agreement
from driver.pipeline.run import stages_of
from driver.pipeline.stage import Run, Stage
from driver.pipeline.workflow import Workflow
from driver.samples import JournalRow
from driver.stopping import StopRequest
from tests.unit.source_making import BOX, SIZE, mask_picture, picture

INGREDIENTS = Ingredients(version="1", code="c", prompts={}, weights={}, profiles={})
FILE = SavedFile(filename="a.json", subfolder="run", type="output", sha256="0" * 64)


@dataclass(frozen=True)
class Served(Workflow):
    """A workflow on servers that have the annotate stage's nodes and models, or say what they lack."""

    lacking: str = ""

    def beside(self, name: str, policy: Policy) -> Workflow:
        if self.lacking:
            raise RunError(self.lacking)
        return served(ANNOTATION_SINK, name)


def served(sink: str = EDIT_SINK, task: str = "remove", lacking: str = "") -> Served:
    api = {
        "1": {"class_type": SOURCE_CLASS, "inputs": {"task": task}},
        "2": {"class_type": sink, "inputs": {"sample": ["1", 0]}},
    }
    agreement = SimpleNamespace(ingredients=INGREDIENTS)
    file = SimpleNamespace(path=Path(f"{task}.json"), sha256="f" * 64, ui=None)
    graph = BatchGraph(api, "1", "2", (), ())
    return Served([], cast(Agreement, agreement), cast(WorkflowFile, file), graph, "classical", "classical", lacking)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A photo with a mask and one without."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("bare", "marked"):
        (folder / f"{name}.jpg").write_bytes(picture())
    (folder / "marked.mask.png").write_bytes(mask_picture())
    return folder


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> Iterator[Run]:
    folder = OutputFolder(tmp_path / "out")
    yield Run(RunOptions("remove", folder.path), Source(photos), folder, StopRequest())
    folder.close()


@pytest.fixture
def ended() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def sorts(stages: list[Stage]) -> list[type[Stage]]:
    return [type(one) for one in stages]


@pytest.mark.parametrize(
    ("sink", "task", "sort"), [(ANNOTATION_SINK, "annotate", AnnotateStage), (EDIT_SINK, "style", EditStage)]
)
def test_a_stage_is_of_its_sinks_sort(run: Run, ended: ExitStack, sink: str, task: str, sort: type[Stage]) -> None:
    assert sorts(stages_of(run, [served(sink, task)], ended)) == [sort]


@pytest.mark.parametrize(("sink", "sort"), [(INSTRUCTION_SINK, WriteStage), (EDIT_SINK, EditStage)])
def test_regions_are_found_first_where_photos_lack_them(
    run: Run, ended: ExitStack, sink: str, sort: type[Stage], capsys: pytest.CaptureFixture[str]
) -> None:
    first, own = stages_of(run, [served(sink)], ended)
    assert sorts([first, own]) == [RegionsStage, sort] and own.grounding is first
    assert "finding regions first" in capsys.readouterr().err


def test_none_are_sought_where_nobody_wants_them(run: Run, ended: ExitStack, photos: Path) -> None:
    never = replace(run, options=replace(run.options, annotate="never"))
    assert sorts(stages_of(never, [served()], ended)) == [EditStage]
    (photos / "bare.jpg").unlink()
    assert sorts(stages_of(run, [served()], ended)) == [EditStage]


def test_a_stage_that_was_planned_from_the_same_is_not_planned_again(run: Run, ended: ExitStack, photos: Path) -> None:
    only_marked = replace(run, options=replace(run.options, annotate="never"))
    (photos / "bare.jpg").unlink()
    (own,) = stages_of(only_marked, [served()], ended)
    own.plan()
    assert own.journal.counts()["pending"] == 1
    (again,) = stages_of(only_marked, [served()], ended)
    assert own.due and not again.due
    retried = replace(run, options=replace(only_marked.options, retry_failed=""))
    assert stages_of(retried, [served()], ended)[0].due


def test_where_the_annotate_stage_cannot_run_its_reason_is_the_samples(run: Run, ended: ExitStack) -> None:
    (own,) = stages_of(run, [served(lacking="no SAM here")], ended)
    own.plan()
    failures: list[dict[str, Any]] = list(own.journal.failures())
    assert [one["source_id"] for one in failures] == ["bare.jpg"]
    assert "the annotate stage cannot run (no SAM here)" in failures[0]["message"]


def test_what_one_stage_finds_the_next_one_plans_from(run: Run, ended: ExitStack) -> None:
    first, own = stages_of(run, [served()], ended)
    first.plan()
    assert first.journal is not own.journal and first.journal.counts()["pending"] == 1
    region = Region(class_name="cup", bbox=BOX)
    annotation = to_json(Annotation(path="bare.jpg", size=SIZE, regions=(region,)))
    record = AnnotationRecord(key=sample_key("bare.jpg", None, ANNOTATE.name), annotation=annotation, file=FILE)
    first.journal.done(record.key, [JournalRow(record.key, "keep", record.model_dump_json())], 0.1)
    summary = first.finish()
    assert (summary.gives, summary.task, summary.kept) == ("annotated photos", "annotate", 1)
    line = json.loads((run.folder.path / "annotation.jsonl").read_text())
    assert line == {**annotation, UPSTREAM: first.facts.line_sha256(record)}
    assert not (run.folder.path / "report.html").exists()

    own.plan()
    assert own.journal.counts() == {"pending": 2}
    assert {one.sample.annotation.path for one in own.journal.waiting((-1, ""), 9)} == {"bare.jpg", "marked.jpg"}


def test_half_a_grounding_is_not_planned_from(run: Run, ended: ExitStack) -> None:
    first, own = stages_of(run, [served()], ended)
    first.plan()
    run.stop.level = 1
    with pytest.raises(KeyboardInterrupt):
        own.plan()
    assert not own.journal.counts()
