"""The write stage: instructions for regions, journalled, and written as annotation lines that edit workflows read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comfy_nodes.core.instructions import InstructionRecord

from .annotating import write_lines
from .journal import Journal

INSTRUCTIONS = "instructions.jsonl"


def finished_instructions(journal: Journal) -> Iterator[dict[str, Any]]:
    """The annotation lines that are done, in the input's order."""
    return (InstructionRecord.model_validate_json(text).annotation for text, _attempt in journal.records(kept=True))


def write_instructions(journal: Journal, folder: Path) -> None:
    """Writes `instructions.jsonl`, a line for each instruction, readable as `--input` of every edit workflow.

    Raises:
        RunError: the disk is full.
    """
    write_lines(folder / INSTRUCTIONS, finished_instructions(journal))
