"""The annotate stage: regions for photos that have none, journalled, and written as ImgEdit's annotation JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comfy_nodes.core.instructions.instructions import InstructionRecord
from comfy_nodes.core.keys import sample_key
from comfy_nodes.core.records import AnnotationRecord
from comfy_nodes.core.regions.annotation import UPSTREAM, Annotation, parse_annotation
from comfy_nodes.core.tasks import ANNOTATE

from ..dataset.rows import RunFacts
from ..disk import write_lines
from ..journal import Journal

WORKFLOW = "annotate"
JOURNAL = "annotate.sqlite"
ANNOTATION = "annotation.jsonl"


class Annotated:
    """What a journal of the annotate stage holds, photo by photo: a grounding."""

    def __init__(self, journal: Journal, facts: RunFacts):
        self._journal = journal
        self._facts = facts

    def annotation(self, source_id: str) -> Annotation | None:
        text = self._journal.record(_key(source_id))
        return parse_annotation(_line(text, self._facts)) if text else None

    def reason(self, source_id: str) -> str:
        return self._journal.reason(_key(source_id))


def finished_annotations(journal: Journal, facts: RunFacts) -> Iterator[dict[str, Any]]:
    """The annotations that are done, in the input's order."""
    return (_line(text, facts) for text, _attempt in journal.records(kept=True))


def write_annotation(journal: Journal, folder: Path, facts: RunFacts) -> None:
    """Writes `annotation.jsonl`, a line for each photo, readable as `--input` of every edit workflow.

    Raises:
        RunError: the disk is full.
    """
    write_lines(folder / ANNOTATION, finished_annotations(journal, facts))


def _line(text: str, facts: RunFacts) -> dict[str, Any]:
    """A record's annotation with its stage's hash."""
    record = AnnotationRecord.model_validate_json(text)
    return {**record.annotation, UPSTREAM: facts.line_sha256(record)}


def _key(source_id: str) -> str:
    return sample_key(source_id, None, ANNOTATE.name)


INSTRUCTIONS = "instructions.jsonl"


def finished_instructions(journal: Journal, facts: RunFacts) -> Iterator[dict[str, Any]]:
    """The annotation lines that are done, in the input's order, each with its stage's hash."""
    for text, _attempt in journal.records(kept=True):
        record = InstructionRecord.model_validate_json(text)
        yield {**record.annotation, UPSTREAM: facts.of(record.task).line_sha256(record)}


def write_instructions(journal: Journal, folder: Path, facts: RunFacts) -> None:
    """Writes `instructions.jsonl`, a line for each instruction, readable as `--input` of every edit workflow.

    Raises:
        RunError: the disk is full.
    """
    write_lines(folder / INSTRUCTIONS, finished_instructions(journal, facts))
