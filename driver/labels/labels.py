"""What persons said of a run's rows: the lines of `labels.jsonl`, and what they come to.

`page.py` adds lines, `figures.py` measures verifiers by them, `row_labels.py` has them count where the rows
are judged again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from comfy_nodes.core.verdicts.verdicts import Answer

from ..disk import disk_errors
from ..errors import RunError

LABELS = "labels.jsonl"
"""In the run's folder: a line for each label, and for each one that was withdrawn; the last one that a person gave to a
key is theirs."""


class Label(BaseModel):
    """A line of `labels.jsonl`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    label: Answer | None
    """None where it was withdrawn."""
    labeller: str | None = None
    time: AwareDatetime


class Labels:
    """`labels.jsonl` of a run: appended to, line by line, each on the disk before the next is asked for."""

    def __init__(self, run: Path):
        """
        Raises:
            RunError: a line is no label, or the file cannot be read.
        """
        self._path = run / LABELS
        self.given: dict[str, Label] = {}
        """The last label of each row that has one, in the order in which they were given."""
        self._by: dict[str | None, dict[str, Label]] = {}
        with disk_errors(run):
            text = self._path.read_bytes() if self._path.exists() else b""
        lines = text.split(b"\n")
        # A line without its end was being written when the power went: its label was never confirmed.
        self._whole = len(text) - len(lines[-1])
        for number, line in enumerate(lines[:-1], 1):
            try:
                self._take(Label.model_validate_json(line))
            except ValidationError:
                raise RunError(f"{self._path}: line {number} is no label; put it right or remove it") from None

    def add(self, label: Label) -> None:
        """
        Raises:
            RunError: the disk is full or may not be written to; the label does not count then.
        """
        with disk_errors(self._path.parent), self._path.open("ab") as file:
            file.truncate(self._whole)
            self._whole += file.write(json.dumps(label.model_dump(mode="json"), ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(label)

    def by(self, labeller: str | None) -> dict[str, Label]:
        """The labels of one person, by row, in the order in which they were given."""
        return self._by.get(labeller, {})

    def answers(self, key: str) -> tuple[Answer, ...]:
        """What each person who labelled a row says of it, in an order that does not depend on who came first."""
        found = (labels[key].label for labels in self._by.values() if key in labels)
        return tuple(sorted(answer for answer in found if answer))

    def _take(self, label: Label) -> None:
        own = self._by.setdefault(label.labeller, {})
        own.pop(label.key, None)
        self.given.pop(label.key, None)
        if label.label is not None:
            own[label.key] = self.given[label.key] = label
        elif others := [labels[label.key] for labels in self._by.values() if label.key in labels]:
            self.given[label.key] = others[-1]
