"""The annotate stage: regions for photos that have none, journalled, and written as ImgEdit's annotation JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from comfy_nodes.core.annotation import Annotation, parse_annotation
from comfy_nodes.core.keys import sample_key
from comfy_nodes.core.records import AnnotationRecord
from comfy_nodes.core.tasks import ANNOTATE
from comfy_nodes.core.whole_files import replacing

from .journal import Journal
from .spool import disk_error

WORKFLOW = "annotate"
JOURNAL = "annotate.sqlite"
ANNOTATION = "annotation.jsonl"


class Annotated:
    """What a journal of the annotate stage holds, photo by photo: a grounding."""

    def __init__(self, journal: Journal):
        self._journal = journal

    def annotation(self, source_id: str) -> Annotation | None:
        text = self._journal.record(_key(source_id))
        return parse_annotation(AnnotationRecord.model_validate_json(text).annotation) if text else None

    def reason(self, source_id: str) -> str:
        return self._journal.reason(_key(source_id))


def finished_annotations(journal: Journal) -> Iterator[dict[str, Any]]:
    """The annotations that are done, in the input's order."""
    return (AnnotationRecord.model_validate_json(text).annotation for text, _attempt in journal.records(kept=True))


def write_annotation(journal: Journal, folder: Path) -> None:
    """Writes `annotation.jsonl`, a line for each photo, readable as `--input` of every edit workflow.

    Raises:
        RunError: the disk is full.
    """
    write_lines(folder / ANNOTATION, finished_annotations(journal))


def write_lines(path: Path, items: Iterable[dict[str, Any]]) -> None:
    """Replaces a file of JSON lines in one step.

    Raises:
        RunError: the disk is full.
    """
    try:
        with replacing(path) as file:
            for item in items:
                file.write((json.dumps(item, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise disk_error(error, path.parent) from None


def _key(source_id: str) -> str:
    return sample_key(source_id, None, ANNOTATE.name)
