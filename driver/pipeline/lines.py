"""The stages before the edit: their records become lines of ImgEdit's annotation JSON, `--input` of every edit workflow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

from comfy_nodes.core.instructions.instructions import InstructionRecord
from comfy_nodes.core.keys import sample_key
from comfy_nodes.core.records import AnnotationRecord
from comfy_nodes.core.regions.annotation import UPSTREAM, Annotation, parse_annotation
from comfy_nodes.core.tasks import ANNOTATE

from ..disk import write_lines
from ..engine.harvest import RecordHarvester
from ..journal import Journal
from ..report.page import Gallery
from ..report.summary import Gives, Summary
from ..samples import Planned
from .facts import environment
from .folder import claim, summarise
from .stage import Stage, outdated


class LineStage(Stage):
    """A stage whose records become a file of lines, in the input's order."""

    kind: ClassVar[type[AnnotationRecord] | type[InstructionRecord]]
    file: ClassVar[str]
    """The file's name."""
    gives: ClassVar[Gives]

    @property
    def harvester(self) -> RecordHarvester:
        return RecordHarvester(self.kind)

    def finish(self) -> Summary:
        """Writes the file, and a report that shows photos where they are files of this machine."""
        summary = self._write()
        gallery = Gallery.of_annotations(self._lines(), summary.kept, self.run.source.root)
        self.run.folder.conclude(summary, environment(self.workflows), gallery)
        return summary

    def _write(self) -> Summary:
        write_lines(self.run.folder.path / self.file, self._lines())
        return summarise(self.journal, self.facts, self.title, self.spent(), self.gives)

    def _lines(self) -> Iterator[dict[str, Any]]:
        return (self._line(text) for text, _attempt in self.journal.records(kept=True))

    def _line(self, text: str) -> dict[str, Any]:
        """A record's annotation with its stage's hash."""
        record = self.kind.model_validate_json(text)
        return {**record.annotation, UPSTREAM: self.facts.line_sha256(record)}


class WriteStage(LineStage):
    """An instruction for each region, or several kinds of them."""

    kind = InstructionRecord
    file = "instructions.jsonl"
    gives = "instructions"


class AnnotateStage(LineStage):
    """Regions for all photos, as a run of its own."""

    kind = AnnotationRecord
    file = "annotation.jsonl"
    gives = "annotated photos"

    @property
    def title(self) -> str:
        return ANNOTATE.name

    @cached_property
    def due(self) -> bool:
        return outdated(self.journal, self.run.source, self.basis)

    def lacks_regions(self) -> bool:
        """No: it finds them."""
        return False

    def planned(self) -> Iterator[Planned]:
        return self.run.source.plan([workflow.aim for workflow in self.workflows], "all", self.run.options.seed)


class RegionsStage(AnnotateStage):
    """Regions for photos that have none, ahead of the run's own stage: that one's grounding. Keeps a journal of its own
    in the run's folder, so that nothing is annotated twice."""

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.run.folder.path / "annotate.sqlite")

    @cached_property
    def basis(self) -> str:
        return ""

    @cached_property
    def due(self) -> bool:
        return True

    def plan(self) -> None:
        claim(self.journal, self.workflows, self.run.options.seed, self.run.folder.path)
        super().plan()

    def planned(self) -> Iterator[Planned]:
        return self.run.source.unmarked()

    def finish(self) -> Summary:
        """Writes the file; the report is the run's own stage's."""
        return self._write()

    def annotation(self, source_id: str) -> Annotation | None:
        """See `samples.Grounding`."""
        text = self.journal.record(_key(source_id))
        return parse_annotation(self._line(text)) if text else None

    def reason(self, source_id: str) -> str:
        """See `samples.Grounding`."""
        return self.journal.reason(_key(source_id))


def _key(source_id: str) -> str:
    return sample_key(source_id, None, ANNOTATE.name)
