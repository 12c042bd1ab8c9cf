"""The stage whose records become a dataset: edits, and verdicts over edits that were made before."""

from __future__ import annotations

from comfy_nodes.core.services import budget

from ..dataset.commits import Totals, commits
from ..dataset.dataset import ShardDamaged, Written, read_facts, write_dataset
from ..dataset.parts import FACTS, Part
from ..dataset.spool import Spool
from ..engine.harvest import EditHarvester
from ..report.figures import statistics_text
from ..report.page import CARD, begin_card
from ..report.summary import Summary
from ..terminal import counted, say
from .facts import environment
from .folder import summarise
from .stage import Left, Stage
from .turns import Turns


class EditStage(Stage):
    """Pairs in shards, kept ones and all others, with their report and dataset card."""

    @property
    def harvester(self) -> EditHarvester:
        return EditHarvester(self._spool)

    @property
    def dialogues(self) -> Turns:
        return Turns(self.journal, self._spool, self.shard.part if self.shard else Part(self.run.folder.path))

    @property
    def _spool(self) -> Spool:
        return self.shard.spool if self.shard else self.run.folder.spool

    def finish(self) -> Summary:
        """Writes the dataset. Samples whose pictures are found to be gone or changed on disk are made again first."""
        summary = self._write()
        if self._lost() and not self.run.stop.level:
            self.work()
            summary = self._write()
        return summary

    def write_shard(self) -> Left:
        """Samples whose pictures are found to be gone or changed on disk wait again then."""
        assert self.shard
        part, damaged = self.shard.part, set[object]()
        while True:
            self._say(write_dataset(self.journal, self.shard.spool, part, self.facts, self.run.options.layout))
            try:
                return Left(read_facts(part), statistics_text(part))
            except ShardDamaged as error:  # the next round looks through it
                if error.place in damaged:
                    raise
                damaged.add(error.place)

    def begin(self) -> None:
        """Says which rows are the kept ones before there are any."""
        folder = self.run.folder.path
        if not (folder / CARD).exists():
            summary = summarise(Totals(), self.facts, self.title, budget.Spent())
            begin_card(folder, self.run.options.layout, summary, environment(self.workflows))

    def conclude(self) -> Summary:
        folder = self.run.folder
        summary = summarise(Totals.of_commits(commits(folder.path)), self.facts, self.title, self.spent())
        folder.conclude_shards(summary, environment(self.workflows))
        return summary

    def _write(self) -> Summary:
        folder, layout = self.run.folder, self.run.options.layout
        return folder.finish(self.facts, self.title, environment(self.workflows), layout, self.spent())

    def _lost(self) -> bool:
        """Says what was found wrong on disk; returns whether samples wait again for it."""
        self._say(self.run.folder.found)
        return bool(self.run.folder.found.lost)

    def _say(self, found: Written) -> None:
        """Says what a finish found wrong on disk."""
        if found.rebuilt:
            say(f"{FACTS} was missing or changed: it is made anew from the shards")
        if found.lost:
            some = ", ".join(found.lost[:3]) + (", ..." if len(found.lost) > 3 else "")
            why = "as their pictures are gone or changed on disk"
            say(f"{counted(len(found.lost), 'finished sample', 'is')} made again, {why}: {some}")
