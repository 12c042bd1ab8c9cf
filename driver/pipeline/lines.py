"""The stages before the edit: their records become lines of ImgEdit's annotation JSON, `--input` of every edit workflow."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from comfy_nodes.core.instructions.instructions import InstructionRecord
from comfy_nodes.core.keys import sample_key
from comfy_nodes.core.models import each_once
from comfy_nodes.core.records import AnnotationRecord
from comfy_nodes.core.regions.annotation import UPSTREAM, UPSTREAM_MODELS, Annotation, parse_annotation
from comfy_nodes.core.tasks import ANNOTATE

from ..dataset.commits import Totals, commits
from ..disk import write_lines
from ..engine.harvest import Harvester, RecordHarvester
from ..inputs.handed_on import figures, handed_on
from ..journal import Journal
from ..report.gallery import Gallery
from ..report.summary import Gives, Summary
from ..samples import Planned
from .facts import environment
from .folder import claim, summarise
from .stage import Left, Stage, outdated


class LineStage(Stage):
    """A stage whose records become a file of lines, in the input's order."""

    kind: ClassVar[type[AnnotationRecord] | type[InstructionRecord]]
    file: ClassVar[str]
    """The file's name."""
    gives: ClassVar[Gives]

    @property
    def harvester(self) -> Harvester:
        return RecordHarvester(self.kind)

    @property
    def shown_from(self) -> Path | None:
        """The folder that the lines' paths are below, where the report may show what lies there."""
        return self.run.source.root

    def finish(self) -> Summary:
        """Writes the file, and a report that shows photos where they are files of this machine."""
        return self._report(self._write())

    def conclude(self) -> Summary:
        self._write_lines()
        totals = Totals.of_commits(commits(self.run.folder.path))
        return self._report(summarise(totals, self.facts, self.title, self.spent(), self.gives))

    def write_shard(self) -> Left:
        """Leaves lines for the next stage of a recipe: with the locators of their pictures, as the recipe's input has these."""
        if not (self.run.follower and self.shard):
            return Left()
        write_lines(self.shard.part.lines, self._handed_on())
        return Left(statistics=figures(self.shard.part))

    def _handed_on(self) -> Iterator[dict[str, Any]]:
        for text, sample in self.journal.kept_with_samples():
            yield handed_on(self._line(text), sample)

    def _report(self, summary: Summary) -> Summary:
        gallery = Gallery.of_annotations(self._lines(), summary.kept, self.shown_from)
        self.run.folder.conclude(summary, environment(self.workflows), gallery)
        return summary

    def _write(self) -> Summary:
        self._write_lines()
        return summarise(Totals.of_journal(self.journal), self.facts, self.title, self.spent(), self.gives)

    def _write_lines(self) -> None:
        write_lines(self.run.folder.path / self.file, self._lines())

    def _lines(self) -> Iterator[dict[str, Any]]:
        for journal in self._journals():
            yield from (self._line(text) for text, _attempt in journal.records(kept=True))

    def _journals(self) -> Iterator[Journal]:
        return self.run.folder.journals()

    def _line(self, text: str) -> dict[str, Any]:
        """A record's annotation with its stage's hash, and with the models that took part up to there."""
        record = self.kind.model_validate_json(text)
        models = each_once((*record.basis.models, *self.facts.models))
        told = [one.model_dump(exclude_none=True) for one in models]
        line = {**record.annotation, UPSTREAM: self.facts.line_sha256(record)}
        return {**line, UPSTREAM_MODELS: told} if told else line


class WriteStage(LineStage):
    """An instruction for each region, or several kinds of them."""

    kind = InstructionRecord
    file = "instructions.jsonl"
    gives = "instructions"


class AnnotateStage(LineStage):
    """Regions for all photos, or what else is found in them, as a run of its own."""

    kind = AnnotationRecord
    file = "annotation.jsonl"
    gives = "annotated photos"

    @cached_property
    def due(self) -> bool:
        return outdated(self.journal, self.run.source, self.basis)

    def lacks_regions(self) -> bool:
        """No: it finds them."""
        return False

    def planned(self) -> Iterator[Planned]:
        aims = [workflow.aim for workflow in self.workflows]
        return self.run.source.plan(aims, "all", self.run.options.seed, shard=self.cut)


class RegionsStage(AnnotateStage):
    """Regions for photos that have none, ahead of the run's own stage: that one's grounding. Keeps a journal of its own
    in the run's folder, so that nothing is annotated twice."""

    @cached_property
    def journal(self) -> Journal:
        if self.shard:
            return Journal(self.shard.part.journal.with_suffix(".annotate.sqlite"))
        return Journal(self.run.folder.path / "annotate.sqlite")

    @cached_property
    def basis(self) -> str:
        return ""

    @cached_property
    def due(self) -> bool:
        return True

    def plan(self, tell: Callable[[str], None] | None = None) -> None:
        if self.shard:
            self.journal.set("run_id", self._run_id())
        claim(self.journal, self.workflows, self.run.options.seed, self.run.folder.path)
        super().plan(tell)

    def _run_id(self) -> str:
        """One for all shards, so that a budget is one."""
        meta = self.run.folder.journal
        known = meta.get("annotate_run_id") or uuid.uuid4().hex
        meta.set("annotate_run_id", known)
        return known

    def planned(self) -> Iterator[Planned]:
        return self.run.source.unmarked(self.cut)

    def finish(self) -> Summary:
        """Writes the file; the report is the run's own stage's."""
        return self._write()

    def _journals(self) -> Iterator[Journal]:
        return self.run.folder.journals(".annotate") if self.run.folder.many else iter([self.journal])

    def conclude(self) -> Summary:
        """Writes the file of all shards; the report is the run's own stage's."""
        self._write_lines()
        return summarise(Totals(), self.facts, self.title, self.spent(), self.gives)

    @property
    def nothing(self) -> str:
        """See `samples.Grounding`."""
        if self.workflows[0].finds_words_alone:
            return "the annotate stage found no lettering, and without weights it looks for nothing else"
        return "the annotate stage found nothing"

    def annotation(self, source_id: str) -> Annotation | None:
        """See `samples.Grounding`."""
        text = self.journal.record(_key(source_id))
        return parse_annotation(self._line(text)) if text else None

    def reason(self, source_id: str) -> str:
        """See `samples.Grounding`."""
        return self.journal.reason(_key(source_id))


def _key(source_id: str) -> str:
    return sample_key(source_id, None, ANNOTATE.name)
