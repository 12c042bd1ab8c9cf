"""The write stage: instructions for regions, journalled, and written as annotation lines that edit workflows read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comfy_nodes.core.annotation import UPSTREAM
from comfy_nodes.core.instructions import InstructionRecord

from .annotating import write_lines
from .columns import RunFacts
from .journal import Journal

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
