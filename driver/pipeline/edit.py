"""The stage whose records become a dataset: edits, and verdicts over edits that were made before."""

from __future__ import annotations

from ..dataset.parts import FACTS
from ..engine.harvest import EditHarvester
from ..report.summary import Summary
from ..terminal import say
from .facts import environment
from .stage import Stage


class EditStage(Stage):
    """Pairs in shards, kept ones and all others, with their report and dataset card."""

    @property
    def harvester(self) -> EditHarvester:
        return EditHarvester(self.run.folder.spool)

    def finish(self) -> Summary:
        """Writes the dataset. Samples whose pictures are found to be gone or changed on disk are made again first."""
        summary = self._write()
        if self._lost() and not self.run.stop.level:
            self.work()
            summary = self._write()
        return summary

    def _write(self) -> Summary:
        folder, layout = self.run.folder, self.run.options.layout
        return folder.finish(self.facts, self.title, environment(self.workflows), layout, self.spent())

    def _lost(self) -> bool:
        """Says what was found wrong on disk; returns whether samples wait again for it."""
        found = self.run.folder.found
        if found.rebuilt:
            say(f"{FACTS} was missing or changed: it is made anew from the shards")
        if found.lost:
            some = ", ".join(found.lost[:3]) + (", ..." if len(found.lost) > 3 else "")
            why = "as their pictures are gone or changed on disk"
            say(f"{len(found.lost)} finished samples are made again, {why}: {some}")
        return bool(found.lost)
