"""A recipe's folder as its stages leave it, without a server: journals and commits, for the tests of what is read from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfy_nodes.core.records import SampleFailure
from driver.dataset.commits import ITEMS, Cut, write_commit
from driver.dataset.ownership import JOURNAL, RECIPE, SHARDS, STAGES
from driver.dataset.parts import Part
from driver.journal import Journal
from driver.samples import JournalRow, Sample, Unusable

PAIRS = '[["EditPairsSavePair", {}]]'
LINES = '[["EditPairsSaveInstructions", {}]]'


@dataclass
class Folder:
    """A recipe's."""

    output: Path
    names: Sequence[str]
    sample_of: Callable[..., Sample]

    def __post_init__(self) -> None:
        self.output.mkdir(parents=True, exist_ok=True)
        (self.output / RECIPE).write_text(json.dumps({"stages": [{"name": name} for name in self.names]}))

    def stage(self, name: str) -> Path:
        return self.output if name == self.names[-1] else self.output / STAGES / name

    def begin(self, name: str, graph: str = LINES) -> str:
        """A stage that was claimed; returns what its calls are booked on."""
        (self.stage(name) / SHARDS).mkdir(parents=True, exist_ok=True)
        with closing(Journal(self.stage(name) / JOURNAL)) as journal:
            journal.set("graph", graph)
            journal.set("run_id", f"run-of-{name}")
        return f"run-of-{name}"

    def shard(
        self,
        name: str,
        index: int,
        records: Sequence[tuple[str, str, str]] = (),
        waiting: int = 0,
        skips: Sequence[str] = (),
        failures: int = 0,
        seconds: float = 2.0,
        whole: bool = True,
        items: int = 4,
    ) -> None:
        """A shard of a stage.

        Args:
            records: sample, kind and verdict of each; samples of a server's second each.
            skips: error types of inputs that gave no sample.
            failures: samples that failed, of the kind remove.
            whole: whether it has its commit.
        """
        part = Part.of_shard(self.stage(name), index)
        samples = list(dict.fromkeys(sample for sample, _, _ in records))
        lost = [f"failed{index}-{number}" for number in range(failures)]
        waits = [f"waits{index}-{number}" for number in range(waiting)]
        with closing(Journal(part.journal)) as journal:
            refused = [
                Unusable(f"{number:x}", "p.jpg", SampleFailure("input", why, "no", skipped=True))
                for number, why in enumerate(skips)
            ]
            journal.enrol([*map(self._sample, [*samples, *lost, *waits]), *refused], None)
            for one in samples:
                rows = [_row(number, *found) for number, found in enumerate(records) if found[0] == one]
                journal.done(one, rows, 0.1, 1.0)
            for one in lost:
                journal.failed(one, SampleFailure("edit", "RuntimeError", "it broke"))
            journal.set(ITEMS, str(items))
            if whole:
                journal.add_edit_seconds(seconds)
                write_commit(part, journal, Cut(items=items, first="p.jpg", plan="p", whole=True), None, "")

    def _sample(self, key: str) -> Sample:
        made = self.sample_of(key)
        return Sample(key, made.file, made.annotation, task="remove")


def _row(number: int, sample: str, kind: str, verdict: str) -> JournalRow:
    named: dict[str, Any] = {"task": kind}
    if "/" in kind:
        named = {"task": "alter", "subtask": kind}
    reason = {"reject_reason": "too dark: 3"} if verdict == "reject" else {}
    return JournalRow(f"{sample}-{number}", verdict, json.dumps({**named, **reason}))
