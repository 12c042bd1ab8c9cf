"""The annotate stage: regions for photos that have none, journalled, and written as ImgEdit's annotation JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comfy_nodes.core.annotation import parse_annotation
from comfy_nodes.core.records import AnnotationRecord

from .journal import Journal
from .sources import Grounding
from .spool import disk_error

WORKFLOW = "annotate"
JOURNAL = "annotate.sqlite"
ANNOTATION = "annotation.jsonl"


def grounding(journal: Journal) -> Grounding:
    """What a journal of the annotate stage holds."""
    found = (parse_annotation(item) for item in finished_annotations(journal))
    return Grounding(
        annotations={one.path: one for one in found},
        reasons={str(row["source_id"]): str(row["message"]) for row in journal.failures()},
    )


def finished_annotations(journal: Journal) -> list[dict[str, Any]]:
    """The annotations that are done, in the input's order."""
    return [AnnotationRecord.model_validate_json(text).annotation for text, _attempt in journal.records(kept=True)]


def write_annotation(journal: Journal, folder: Path) -> None:
    """Writes `annotation.jsonl`, a line for each photo, readable as `--input` of every edit workflow.

    Raises:
        RunError: the disk is full.
    """
    path = folder / ANNOTATION
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for item in finished_annotations(journal):
                file.write(json.dumps(item, ensure_ascii=False) + "\n")
        temporary.rename(path)
    except OSError as error:
        raise disk_error(error, folder) from None
