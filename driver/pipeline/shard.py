"""One shard of a run of many, while it is worked on: its journal, its spool, and which part of the dataset it becomes."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..dataset.commits import ITEMS, Cut, committed, read_commit, reopen, write_commit
from ..dataset.dataset import restore
from ..dataset.parts import Part
from ..dataset.shards import DatasetFacts
from ..dataset.spool import Spool
from ..disk import disk_errors
from ..errors import RunError
from ..inputs.cutting import Shard
from ..journal import Journal


class Unwanted(Exception):
    """A shard is not to be planned, or not to be written, any more."""


class ShardSpool(Spool):
    """The spool of a shard; writing the shard breaks off where nobody waits for it any more."""

    def __init__(self, folder: Path, broken_off: threading.Event):
        super().__init__(folder)
        self._broken_off = broken_off

    def get(self, key: str, role: str, number: int) -> bytes | None:
        """
        Raises:
            Unwanted: nobody waits for it.
        """
        if self._broken_off.is_set():
            raise Unwanted
        return super().get(key, role, number)


@dataclass(frozen=True)
class Order:
    """What is asked of a shard."""

    cut: Shard
    """What of the input it is."""
    of: int
    """How many shards the run has, where that is known; else 0."""
    plan: str
    """Hash of what decides which samples it has, but for the limit."""
    limit: int | None
    """Samples of it, at most."""
    most: Mapping[str, int] | None = None
    """Of a stage of a recipe: samples of each kind of edit that has a quota, at most; None where quotas are divided by `of`."""

    def planned(self, usable: int) -> str:
        """How a plan is known that found so many samples."""
        reached = self.limit is not None and usable >= self.limit
        return f"{self.plan} {self.limit}" if reached else self.plan

    def kept(self, plan: str, usable: int) -> bool:
        """Whether an earlier plan, and what it found, is what is asked for."""
        return plan == self.planned(usable)


class OpenShard:
    """A shard that is planned, edited or written."""

    def __init__(self, output: Path, run_id: str, order: Order, broken_off: threading.Event):
        """
        Args:
            output: the run's folder.
            run_id: the run's.
            broken_off: set when nobody waits any more for what is being written.

        Raises:
            RunError: the disk is full, what lies there is no shard of ours, or another machine made it.
        """
        self.order, self.cut = order, order.cut
        self.part = Part.of_shard(output, order.cut.index)
        if not self.part.here and committed(self.part).cut.whole:
            raise RunError(
                f"{output}: shard {self.part.name} was made on another machine, and something is to be done in it again: run "
                "this there, or use another --output"
            )
        with disk_errors(output):
            self.part.work.mkdir(parents=True, exist_ok=True)
            self.part.journal.parent.mkdir(exist_ok=True)
        restore(self.part)
        if read_commit(self.part):
            reopen(self.part)
        self.journal = Journal(self.part.journal)
        self.journal.set("run_id", run_id)
        self.journal.set(ITEMS, str(order.cut.items))
        self.spool = ShardSpool(self.part.work / "spool", broken_off)

    @property
    def outdated(self) -> bool:
        """Whether its plan is not what is asked for."""
        return not self.order.kept(self.journal.get("plan") or "", usable(self.journal))

    def planned(self, found: int) -> None:
        """Takes down that it was planned, and how many samples were found."""
        self.journal.set("usable", str(found))
        self.journal.set("plan", self.order.planned(found))

    def commit(self, dataset: DatasetFacts | None, statistics: str) -> bool:
        """Says what is written of it; returns whether all its samples have an end."""
        whole = not self.journal.pending()
        cut = Cut(items=self.cut.items, first=self.cut.first, plan=self.journal.get("plan") or "", whole=whole)
        write_commit(self.part, self.journal, cut, dataset, statistics)
        if whole:
            shutil.rmtree(self.part.work, ignore_errors=True)
        return whole


def usable(journal: Journal) -> int:
    """How many samples a shard's plan found."""
    return int(journal.get("usable") or 0)
