"""The life of the shards of a run: each is planned when its turn comes, edited, and written while servers are at the next.

A run with one stage has one pool over all shards: while one is edited, a thread plans the next, and another one writes those
whose last sample has ended. With several stages these run one after the other within a shard.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from comfy_nodes.core.records import SampleFailure

from ..dataset.commits import Commit, committed, duplicates, read_commit
from ..dataset.layouts.layout import layout_named
from ..dataset.parts import Part, parts
from ..dataset.publish import check_place, fetch_commits, publish_part
from ..dataset.shards import settings_digest
from ..engine.portion import Portion
from ..errors import RunError
from ..inputs.cutting import PASSED, KnownShard, Shard
from ..inputs.photo import Mark
from ..journal import Journal
from ..monitor.listeners import Reporter
from ..samples import DUPLICATE, TWICE
from .form import Form
from .given import StageQuotas
from .settled import sound_commits, written
from .shard import OpenShard, Order, Unwanted, usable
from .stage import Run, Stage, asked, leave, no_such_class
from .workflow import Workflow
from .writer import ShardWriter

MOST_OPEN = 3
"""Shards that are open at once: the one that is edited, the next one, and one that is being written."""

TOTAL = "total"
"""In the run's journal: how many items the input has, once its end was seen."""

CUT = "fingerprint"
"""In the run's journal: the input's, as all its shards were cut from it."""

_PLACES = "places in "
"""In the run's journal: how the name begins of places in a file of the input, from which it goes on when it is resumed."""


class Shards:
    """The shards of a run."""

    def __init__(
        self,
        run: Run,
        workflows: Sequence[Workflow],
        form: Form,
        own: Callable[[OpenShard], Stage],
        stages: Callable[[OpenShard], list[Stage]],
    ):
        """
        Args:
            own: the stage of the workflows, whose records are a shard's.
            stages: all that a shard goes through, this one last.
        """
        self._run, self._workflows, self._form, self._own, self._stages = run, workflows, form, own, stages
        self._run_id = run.folder.journal.get("run_id") or ""
        self._settings = settings_digest(layout_named(run.options.layout))
        self._room = threading.Semaphore(MOST_OPEN)
        self._open: list[Stage] = []
        """Those that are not written."""
        self._lock = threading.Lock()
        self._lost = False
        self._broken_off = threading.Event()

    def work(self) -> None:
        """Edits all samples that have no end yet, and writes their shards; after a stop, also those that are open. Of samples
        that stand in two shards the first counts.

        Raises:
            RunError: no server comes back, the disk is full, nothing ever succeeds, or shards of another share lie where these
                are to be published. What is done stays done.
        """
        if self._run.options.publish_to:
            check_place(self._run.options.publish_to, self._form.share)
            fetch_commits(self._run.options.publish_to, self._run.folder.path)
        self._go_through()
        if self._lost and not self._run.stop.level:
            self._go_through()
        if not self._run.stop.level:
            self._skip_duplicates()
            for workflow in self._workflows:
                leave(workflow, self._run_id)

    def _skip_duplicates(self) -> None:
        found: dict[str, list[str]] = {}
        for twice in duplicates(parts(self._run.folder.path)):
            found.setdefault(twice.later.name, []).append(twice.key)
        for name, keys in found.items():
            commit = committed(Part(self._run.folder.path, name))
            cut = Shard(commit.index, 0, commit.cut.items, commit.cut.first, "", False)
            stage = self._own(self._opened(Order(cut, 0, commit.cut.plan, None)))
            for key in keys:
                stage.journal.withdraw(key, SampleFailure("input", DUPLICATE, TWICE, skipped=True))
            self._write_out(stage)

    def _go_through(self) -> None:
        self._lost = False
        writer = ShardWriter(self._write)
        try:
            due = self._due(writer)
            ahead = next(due, None)
            while ahead and not self._run.stop.level:
                if len(ahead) > 1 or len(self._workflows) > 1:
                    self._stage_by_stage(ahead, writer)
                    ahead = next(due, None)
                else:
                    ahead = self._flow(ahead[0], due, writer)
            writer.wait()
            for stage in [one for one in self._open if one.shard and not one.shard.outdated]:
                self._write(stage)  # the user stopped the run
        except KeyboardInterrupt:
            self._broken_off.set()
            raise
        finally:
            writer.close()
            for stage in self._open:
                stage.journal.close()
            self._open.clear()

    # Which shards.

    def _due(self, writer: ShardWriter) -> Iterator[list[Stage]]:
        """The stages of shards in which there is something to do, each opened when it is asked for; the one before is to
        be planned then."""
        source, options, meta = self._run.source, self._run.options, self._run.folder.journal
        aims = [workflow.aim for workflow in self._workflows]
        if options.retry_failed:
            self._tell_classes(options.retry_failed)
        found = sound_commits(self._run.folder.path)
        known = [KnownShard(one.index, one.cut.items, one.cut.first) for _, one in found]
        if not known or meta.get(CUT) is None:
            # Known without it: shards of a store, whose plans tell whether they are of this input.
            meta.set(CUT, self._run.fingerprint)
        changed = meta.get(CUT) != self._run.fingerprint
        source.places.learn(self._places)
        form = self._form
        quotas = StageQuotas(self._run) if form.first is not None and options.kinds else None
        shards = -(-source.count(aims) // form.size) if options.kinds and not quotas else 0
        claimed = [meta.get(name) for name in ("graph", "seed", "content")]  # shards of a store may be another run's
        basis = json.dumps([self._run.fingerprint, claimed, shards, *asked(options, self._workflows, None)])
        cuts = source.shards(form.size, aims, known, form.share, changed, options.keep_stale, form.first)
        left = options.limit
        for cut in cuts:
            if left == 0:
                return
            if form.first is not None:
                meta.set(f"{PASSED}{cut.index:06d}", str(cut.passed))
            plan = hashlib.sha256(f"{basis} {cut.items}{cut.content}".encode()).hexdigest()
            order = Order(cut, shards, plan, left, quotas.of(cut) if quotas else None)
            samples = self._settled(order)
            if samples is None:
                if not self._may_open(writer):
                    return
                stages = self._stages(self._opened(order))
                self._open.append(stages[-1])
                yield stages
                self._note_places()
            else:
                self._hand_on(Part.of_shard(self._run.folder.path, cut.index))
            if left is not None:
                left -= self._usable(cut) if samples is None else samples
        if source.total is not None:
            meta.set(TOTAL, str(source.total))
        meta.set(CUT, self._run.fingerprint)

    def _note_places(self) -> None:
        input_now = _short(self._run.fingerprint)
        for file, marks in self._run.source.places.news():
            self._run.folder.journal.set(_PLACES + json.dumps(file), json.dumps([input_now, marks]))

    def _places(self, file: str) -> list[Mark]:
        """The places in a file that this run came to last, if the input is still the same."""
        input_then, marks = json.loads(self._run.folder.journal.get(_PLACES + json.dumps(file)) or "[null, []]")
        return [Mark(*mark) for mark in marks] if input_then == _short(self._run.fingerprint) else []

    def _tell_classes(self, error_class: str) -> None:
        totals = (one.totals for _, one in sound_commits(self._run.folder.path))
        classes = {name for one in totals for name in (*one.failures, *one.skips)}
        if error_class not in classes:
            self._run.tell(no_such_class(error_class, classes))

    def _opened(self, order: Order) -> OpenShard:
        return OpenShard(self._run.folder.path, self._run_id, order, self._broken_off)

    def _may_open(self, writer: ShardWriter) -> bool:
        """Waits until another shard may be opened; False where none is to be."""
        follower = self._run.follower
        while (follower and not follower.room()) or not self._room.acquire(timeout=0.1):
            if self._run.stop.level or writer.error:
                return False
        return not (self._run.stop.level or writer.error)

    def _hand_on(self, part: Part) -> None:
        """Tells the next stage of a recipe that a shard is whole."""
        if self._run.follower:
            self._run.follower.there(part)

    def _settled(self, order: Order) -> int | None:
        """How many samples count for the limit of a shard in which nothing is to be done; None where something is."""
        part = Part.of_shard(self._run.folder.path, order.cut.index)
        commit, options = read_commit(part), self._run.options
        if commit is None or not commit.cut.whole:
            return None
        if commit.dataset and commit.dataset.settings != self._settings:
            return None
        if not written(part, commit) or (self._run.follower and not (commit.dataset or part.lines.exists())):
            return None
        again = options.retry_failed
        if again is not None and _failed(commit, again):
            return None
        samples = 0 if order.limit is None else self._usable(order.cut)
        return samples if order.kept(commit.cut.plan, samples) else None

    def _usable(self, cut: Shard) -> int:
        part = Part.of_shard(self._run.folder.path, cut.index)
        if not part.journal.exists():  # another machine made it
            return committed(part).totals.samples
        with closing(Journal(part.journal)) as journal:
            return usable(journal)

    # How they are worked off.

    def _stage_by_stage(self, stages: list[Stage], writer: ShardWriter) -> None:
        for stage in stages:
            try:
                stage.plan()
            except Unwanted:
                return
            stage.work()
        for stage in stages[:-1]:
            stage.journal.close()
        if not stages[-1].journal.pending():
            writer.put(stages[-1])

    def _flow(self, first: Stage, due: Iterator[list[Stage]], writer: ShardWriter) -> list[Stage] | None:
        """Edits shards in one pool, from `first` on; returns the stages of the first one that has several."""
        (workflow,) = self._workflows
        reporter = first.reporter(workflow.graph.task, 0, 0)
        flow = _Flow(first, due, workflow, writer, reporter)
        try:
            self._run.edit(workflow, flow, first.harvester, reporter, self._run_id)
        except BaseException as broken:
            self._run.source.release()
            if isinstance(broken, RunError) and flow.error:
                raise flow.error from None
            raise
        finally:
            flow.close()
            reporter.close()
        return flow.rest

    def _write(self, stage: Stage) -> None:
        """Writes a shard; its samples have an end, or wait for the next run."""
        self._lost |= not self._write_out(stage)
        with self._lock:
            self._open.remove(stage)
        self._room.release()

    def _write_out(self, stage: Stage) -> bool:
        assert stage.shard
        left = stage.write_shard()
        whole = stage.shard.commit(left.dataset, left.statistics)
        stage.journal.close()
        if whole:
            self._hand_on(stage.shard.part)
        if self._run.options.publish_to:
            publish_part(stage.shard.part, self._run.options.publish_to)
        return whole


def _failed(commit: Commit, error_class: str) -> bool:
    """Whether samples of a shard failed, or were skipped, with an error type; with "" whether any failed."""
    totals = commit.totals
    return error_class in {**totals.failures, **totals.skips} if error_class else bool(totals.failures)


def _short(fingerprint: str) -> str:
    return hashlib.sha256(fingerprint.encode()).hexdigest()[:16]


class _Flow:
    """Supplies a pool with the portions of one shard after the other, which it plans in a thread of its own."""

    def __init__(
        self, first: Stage, due: Iterator[list[Stage]], workflow: Workflow, writer: ShardWriter, reporter: Reporter
    ):
        self._due, self._workflow, self._writer, self._reporter = due, workflow, writer, reporter
        self.rest: list[Stage] | None = None
        """The stages of the first shard that has several, and does not flow with the others."""
        self._ready: Portion | None = None
        self._planning, self._closed = True, False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._since = time.monotonic()
        self._begun: list[Stage] = []
        """Those with samples that have no end yet."""
        self._thread = threading.Thread(target=self._plan, args=(first,), name="plan-shards", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """See `Supply`."""
        with self._changed:
            return self._ready is None and not self._planning

    @property
    def waiting(self) -> int:
        """See `Supply`."""
        with self._changed:
            return self._ready.left if self._ready else 0

    def next(self) -> Portion | None:
        """See `Supply`."""
        with self._changed:
            portion, self._ready = self._ready, None
            self._changed.notify_all()
        return portion

    def check(self) -> None:
        """See `Supply`."""
        if error := self.error:
            raise error if isinstance(error, RunError) else RunError("the run broke off", 1)

    @property
    def error(self) -> BaseException | None:
        """What broke planning or writing."""
        return self._error or self._writer.error

    def close(self) -> None:
        """Plans no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        if self._begun:
            self._count_seconds(self._begun.pop(0))

    def _plan(self, stage: Stage) -> None:
        try:
            following: list[Stage] | None = [stage]
            while following and len(following) == 1 and self._planned(following[0]):
                following = next(self._due, None)
            if following and len(following) > 1:
                self.rest = following
        except Unwanted:
            pass
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._planning = self._error is not None

    def _planned(self, stage: Stage) -> bool:
        """Plans a shard, and hands it on when the one before is taken; False where no more are wanted."""
        stage.plan(lambda line: self._reporter.say(line) if line else None)
        counts = stage.journal.counts()
        over = counts["done"] + counts["failed"] + counts["skipped"]
        self._reporter.planned(over + counts["pending"], over)
        portion = stage.portion(self._workflow, ended=lambda: self._ended(stage))
        with self._changed:
            self._begun.append(stage)
            self._ready = portion
            while self._ready is not None and not self._closed:
                self._changed.wait()
            return not self._closed

    def _ended(self, stage: Stage) -> None:
        """All of a shard's samples have an end."""
        self._count_seconds(stage)
        self._begun.remove(stage)
        self._writer.put(stage)

    def _count_seconds(self, stage: Stage) -> None:
        """Gives a shard the time that went by since the one before it ended, so that all have the whole."""
        now = time.monotonic()
        with self._changed:
            seconds, self._since = now - self._since, now
        stage.journal.add_edit_seconds(seconds)
