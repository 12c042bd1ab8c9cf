"""A stage of a run: samples in a journal, the workflows that they go through, and what becomes of their records.

`run.py` goes through a list of stages and knows no more of them than stands here. What each sort is of its own stands in
`lines.py` (annotate, write) and `edit.py` (edit, verify).
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol

from comfy_nodes.core.services import budget

from ..comfyui.answering import at_once
from ..dataset.by_input import note_inputs
from ..dataset.parts import Part
from ..dataset.rows import RunFacts
from ..dataset.shards import DatasetFacts
from ..disk import Watermark
from ..engine.harvest import Harvester
from ..engine.local import run_pool
from ..engine.pool import Pool
from ..engine.portion import Dialogues, OnePortion, Portion, Supply
from ..engine.work import Work
from ..inputs.cutting import Shard
from ..inputs.source import Source
from ..journal import Journal
from ..monitor.listeners import Reporter, Reporters
from ..monitor.log import RunLog
from ..monitor.metrics import Metrics
from ..monitor.stages import StageProgress
from ..monitor.terminal import Progress
from ..options import RunOptions
from ..report.summary import Summary
from ..samples import Grounding, Planned
from ..stopping import StopRequest
from ..terminal import say
from .claimed import AsClaimed
from .facts import run_facts
from .folder import OutputFolder
from .plan import forgotten, lacks_regions, planned
from .shard import OpenShard, Unwanted
from .workflow import Workflow


@dataclass(frozen=True)
class Left:
    """What is written of a shard."""

    dataset: DatasetFacts | None = None
    """What lies in its folders; None where the run makes no rows."""
    statistics: str = ""
    """The figures of its rows, JSON."""


class Follower(Protocol):
    """The next stage of a recipe, which goes on with shards of this run as soon as they are whole. Asked and told by one
    thread each."""

    def there(self, part: Part) -> None:
        """A shard is whole, and is what is asked for. May be said again where it was written again."""

    def room(self) -> bool:
        """Whether another shard may be begun: those that are whole do not wait for too long."""

    def end(self) -> None:
        """No more come."""


@dataclass(frozen=True)
class Run:
    """What all stages of a run share."""

    options: RunOptions
    source: Source
    folder: OutputFolder
    stop: StopRequest
    account: str = ""
    """What a recipe's calls to services are booked on; empty where each of the run's stages has an account of its own."""
    follower: Follower | None = None
    progress: StageProgress | None = None
    """Of a stage of a recipe: who is told how it goes, beside its log."""
    admitted: Callable[[Planned], Planned] | None = None
    """Of a stage of a recipe that writes or edits: what becomes of what is planned, as its kind of edit may be stopped."""
    _said: set[str] = field(default_factory=set, init=False)

    @cached_property
    def fingerprint(self) -> str:
        """The input's, as it is when somebody first asks; another one where the folder has forgotten how its photos look."""
        return self.source.fingerprint() + forgotten(self.folder.journal, self.source)

    def edit(self, workflow: Workflow, supply: Supply, harvester: Harvester, reporter: Reporter, run_id: str) -> None:
        """Puts samples through a workflow until no more can come, or the user stops.

        Args:
            harvester: of the workflow's sink.
            run_id: what servers and ledgers know it by.

        Raises:
            RunError: no server comes back, the disk is full, or nothing ever succeeds.
        """
        options = self.options
        work = Work(
            workflow.graph.booked(self.account or run_id, options.budget_usd),
            workflow.agreement.object_info,
            self.source,
            frozenset(workflow.graph.seconds().values()),
            options.seed,
            options.samples_per_prompt,
            options.recycle,
            workflow.check,
        )
        watermark = Watermark([self.folder.path.resolve()], int(options.min_free_gb * 1e9))
        stage, servers = work.stage(harvester), len(workflow.hosts)
        pool = Pool(supply, stage, reporter, self.stop, servers, options.attempts, watermark)
        run_pool(pool, list(workflow.hosts), work)

    def say_once(self, line: str) -> None:
        """Says a line that holds for each shard."""
        if line not in self._said:
            self._said.add(line)
            say(line)

    def tell(self, line: str) -> None:
        """Says a line outside of the work, if it is one."""
        if line:
            say(line)
            log = RunLog(self.folder.path)
            log.say(line)
            log.close()


@dataclass(eq=False)
class Stage(ABC):
    """One stage, to be planned, worked off and finished in this order."""

    run: Run
    workflows: Sequence[Workflow]
    """At least one; several are of one task each, on the same servers."""
    grounding: Grounding | None = None
    """What an earlier stage found in photos without a region."""
    shard: OpenShard | None = None
    """What of a run of many shards it is for."""

    @cached_property
    def journal(self) -> Journal:
        """How far its samples came: the run's, or the shard's."""
        return self.shard.journal if self.shard else self.run.folder.journal

    @property
    def cut(self) -> Shard | None:
        """What of the input it is for; None for all."""
        return self.shard.cut if self.shard else None

    @property
    @abstractmethod
    def harvester(self) -> Harvester:
        """Brings home what its sink leaves."""

    @property
    def dialogues(self) -> Dialogues | None:
        """What turns need of those before them, where its samples may be some."""
        return None

    @cached_property
    def facts(self) -> RunFacts:
        """What its records have in common."""
        return run_facts(self.workflows)

    @property
    def title(self) -> str:
        """What it makes, in a word: its tasks."""
        return ", ".join(workflow.graph.task for workflow in self.workflows)

    @cached_property
    def basis(self) -> str:
        """What decides which samples it has; "" where nobody will ask."""
        limit = self.run.options.limit
        return json.dumps([self.run.fingerprint, *asked(self.run.options, self.workflows, limit)])

    @cached_property
    def due(self) -> bool:
        """Whether the input is to be gone through: it is another one, or what failed, regions too, is tried again."""
        if self.run.options.retry_failed is not None:
            return True
        if self.shard:
            return self.shard.outdated or moved(self.journal, self.run.source)
        return outdated(self.journal, self.run.source, self.basis)

    def lacks_regions(self) -> bool:
        """Whether it is to be planned from photos of which some have no region, so that these are to be found first."""
        return self.due and lacks_regions(self.run.options, self.run.source, self.workflows, self.cut)

    def plan(self, tell: Callable[[str], None] | None = None) -> None:
        """Takes down what it is to do, and lets failed samples wait again where the command line asks for it.

        Args:
            tell: says a line; None for outside of the work.

        Raises:
            RunError: the input as a whole cannot be used.
        """
        options, journal, shard = self.run.options, self.journal, self.shard
        note_inputs(journal, self.run.source.mixed)
        if self.due:
            limit = shard.order.limit if shard else options.limit
            found = self._while_wanted(self.planned())
            enrolled = journal.enrol(
                found, limit, self.run.source.same, options.keep_stale, whole=True, known_input=shard is not None
            )
            if shard:
                shard.planned(enrolled.usable)
            else:
                # An input that was refused may be mended without any sign of it in what was planned from.
                journal.set("plan", "" if journal.refused_inputs() else self.basis)
            (tell or self.run.tell)(enrolled.line())
        if options.retry_failed is not None and shard:
            journal.retry_failed(options.retry_failed or None)
        elif options.retry_failed is not None:
            self._retry(options.retry_failed)
        if any(workflow.aim.plans for workflow in self.workflows):
            journal.settle_turns()

    def _while_wanted(self, planned: Iterator[Planned]) -> Iterator[Planned]:
        """
        Raises:
            Unwanted: the user stopped a run of many shards, of which this one is not begun then.
        """
        for one in planned:
            if self.shard and self.run.stop.level:
                raise Unwanted
            yield one

    def planned(self) -> Iterator[Planned]:
        """Its samples, as the command line asks for them.

        Raises:
            KeyboardInterrupt: the user stopped the run, so that an earlier stage may have left half of a grounding.
            Unwanted: the same, of many shards.
        """
        if self.run.stop.level:
            raise Unwanted if self.shard else KeyboardInterrupt
        order = self.shard.order if self.shard else None
        found = planned(self.run.options, self.run.source, self.workflows, self.grounding, order)
        return map(self.run.admitted, found) if self.run.admitted else found

    def _retry(self, error_class: str) -> None:
        """Lets failed samples wait again: those of one error type, or all where it is empty."""
        if self.journal.retry_failed(error_class or None) or not error_class:
            return
        say(no_such_class(error_class, {*self.journal.failure_types(), *self.journal.failure_types(skipped=True)}))

    def work(self) -> None:
        """Runs what waits through its workflow, one workflow after the other.

        Raises:
            RunError: no server comes back, the disk is full, or nothing ever succeeds.
        """
        for workflow in self.workflows:
            self._work(workflow, [workflow.graph.task] if len(self.workflows) > 1 else None)

    def _work(self, workflow: Workflow, tasks: Sequence[str] | None) -> None:
        reporter, run_id = self._reporter(workflow.graph.task), self.journal.get("run_id") or ""
        begun = time.monotonic()
        try:
            self.run.edit(workflow, OnePortion(self.portion(workflow, tasks)), self.harvester, reporter, run_id)
            if not self.journal.counts()["pending"]:
                leave(workflow, run_id)
        finally:
            reporter.close()
            self.journal.add_edit_seconds(time.monotonic() - begun)

    def portion(
        self, workflow: Workflow, tasks: Sequence[str] | None = None, ended: Callable[[], None] = lambda: None
    ) -> Portion:
        """What waits for one of its workflows; arguments as of `Portion`."""
        claimed = AsClaimed(self.harvester, workflow.graph.api, workflow.agreement.ingredients)
        return Portion(self.journal, claimed, tasks, ended, self.dialogues if workflow.aim.plans else None)

    def _reporter(self, task: str) -> Reporters:
        counts = self.journal.counts()
        over = counts["done"] + counts["failed"] + counts["skipped"]
        part = f"{type(self).__name__} {self.shard.part.name if self.shard else ''}"
        return self.reporter(task, over + counts["pending"], over, counts["failed"], counts["skipped"], part)

    def reporter(
        self, task: str, total: int, over: int, failed: int = 0, skipped: int = 0, part: str = ""
    ) -> Reporters:
        """All who are told how the work goes.

        Args:
            total: samples that are known of.
            over: those with an end.
            part: what of a stage's work it is, as of `StageProgress.begun`.
        """
        options, folder = self.run.options, self.run.folder.path
        if shared := self.run.progress:
            shared.begun(part, total, over, failed, skipped)
            return Reporters([shared, RunLog(folder)])
        listeners: list[Reporter] = [Progress(task, total, over, failed, skipped), RunLog(folder)]
        if options.metrics_port:
            listeners.append(Metrics(options.metrics_port, total, over, {"output": folder}))
        return Reporters(listeners)

    @abstractmethod
    def finish(self) -> Summary:
        """Leaves what its records become, and says what it came to. May be called while samples still wait.

        Raises:
            RunError: the disk is full.
        """

    @abstractmethod
    def conclude(self) -> Summary:
        """The same of a run of many shards, whose rows are written: leaves what goes over all of them.

        Raises:
            RunError: the disk is full, or what was written is damaged.
        """

    @abstractmethod
    def write_shard(self) -> Left:
        """Leaves the rows of a shard, where its records become some; what else they become, the end of the run leaves.

        Raises:
            RunError: the disk is full.
        """

    def spent(self) -> budget.Spent:
        """What its calls to services came to. A stage that asks no service opens no ledger, and makes none."""
        asks = any(workflow.graph.profiles() for workflow in self.workflows)
        return budget.spent(self.run.account or self.journal.get("run_id") or "") if asks else budget.Spent()


def no_such_class(error_class: str, classes: set[str]) -> str:
    """What to say where nothing failed as what is tried again.

    Args:
        classes: those that there are.
    """
    return f"--retry-failed {error_class}: no sample has that class; there are: {', '.join(sorted(classes)) or 'none'}"


def asked(options: RunOptions, workflows: Sequence[Workflow], limit: int | None) -> list[Any]:
    """What of a command line decides which samples an input gives."""
    return [
        [[workflow.graph.task, workflow.words, *_planned_by(workflow)] for workflow in workflows],
        options.regions,
        options.annotate,
        limit,
        options.kinds,
        options.kinds_per_region,
        options.keep_stale,
        options.near,
    ]


def _planned_by(workflow: Workflow) -> list[Any]:
    plans = workflow.aim.plans
    return [plans.turns, plans.language] if plans else []


def leave(workflow: Workflow, run_id: str) -> None:
    """Has servers of others' delete what they have of a run, as nothing waits any more."""
    at_once([partial(host.leave, run_id) for host in workflow.hosts])


def outdated(journal: Journal, source: Source, basis: str) -> bool:
    """Whether the input is to be gone through: what the journal was planned from is not what there is now."""
    return journal.get("plan") != basis or moved(journal, source)


def moved(journal: Journal, source: Source) -> bool:
    """Whether a picture that the input names by its path is another one than when the journal was planned."""
    return source.names_files and journal.moved(source.stamp)
