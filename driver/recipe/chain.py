"""The executor of recipes: all stages at the same time, a thread each, in one process, on servers that they share.

Each stage is a run of many shards in a folder of its own (`pipeline/run.py`). What lies between them is `following.py`'s, the
folder of it all `folder.py`'s.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from ..dataset.by_input import ended_early
from ..dataset.commits import SETTLED
from ..dataset.parts import shards_of
from ..dataset.publish import publish
from ..errors import RunError, about
from ..inputs.source import Source
from ..monitor.listeners import Reporter, Reporters
from ..monitor.metrics import Metrics
from ..monitor.stages import StageProgress
from ..monitor.terminal import Progress, SharedScreen
from ..options import RunOptions
from ..pipeline.folder import ClaimedOtherwise, OutputFolder
from ..pipeline.form import Form, form_of_stage
from ..pipeline.plan import check_near, look_for_near, open_source, workflow_names
from ..pipeline.run import shard_by_shard
from ..pipeline.settled import settle, settled
from ..pipeline.shards import CUT, TOTAL
from ..pipeline.stage import Run
from ..pipeline.workflow import Workflow, look_at
from ..report.summary import Summary
from ..samples import Aim
from ..stopping import StopRequest
from ..terminal import say
from .checks import check, sorts
from .file import Recipe, RecipeStage, read_recipe
from .fitting import Fitting, fit, workflow_names_of
from .folder import RecipeFolder, recipe_folder
from .following import Following, Link
from .servers import StageServers
from .sorts import Sort
from .yields import kinds_stopped

LOOK_SECONDS = 0.1
"""How often it is looked whether stages have ended, in which time a signal is heard. Ours."""


@dataclass
class _Stage:
    """One stage of a recipe that runs."""

    stage: RecipeStage
    sort: Sort
    run: Run
    before: Link | None
    """To the stage before it."""
    behind: Link | None
    """To the one behind it."""
    workflows: list[Workflow] = field(default_factory=list)
    form: Form | None = None
    summary: Summary | None = None
    error: BaseException | None = None
    """Why it broke off."""

    @property
    def folder(self) -> OutputFolder:
        return self.run.folder

    @property
    def aims(self) -> list[Aim]:
        return [workflow.aim for workflow in self.workflows]

    @property
    def pairs(self) -> bool:
        """Whether it makes rows, and not lines."""
        return self.sort in ("edit", "verify")

    @contextmanager
    def about(self) -> Iterator[None]:
        """Says of an error which stage it is about."""
        with about(f"stage {self.stage.name}"):
            try:
                yield
            except ClaimedOtherwise as error:
                raise RunError(
                    f"its results are of another {error.what} ({error.difference}); --rerun-from {self.stage.name} makes "
                    "them, and those of the stages behind it, again"
                ) from None


def run_recipe(options: RunOptions, stop: StopRequest) -> tuple[Summary, bool]:
    """Does what the command line asks for.

    Returns:
        The last stage that was asked for, in figures, and whether the user stopped it.

    Raises:
        RunError: it cannot start, or broke off; the message names the stage.
    """
    assert options.recipe
    recipe = read_recipe(options.recipe)
    options = recipe.asked(options)
    lacking = check(recipe, options)
    wanted = recipe.wanted(options)
    source = open_source(options)
    if lacking and source.bare():
        raise RunError(lacking)
    with recipe_folder(recipe, options) as folder, ExitStack() as held:
        stages = _opened(recipe, wanted, options, source, folder, stop, held)
        _check_extended(stages, options)
        begun = _unsettled(stages)
        if begun:
            _work(recipe, stages[0], begun, options, stop, held)
        else:
            say("all shards of all stages are done")
        if not stop.level:
            for index, one in enumerate(stages):
                settle(one.folder, one.run.options, _fingerprint(stages, index))
    summary = _with_all_failures(stages)
    if options.publish_to and wanted[-1] is recipe.stages[-1]:
        publish(options.output, options.publish_to)
    return summary, stop.level > 0


def _with_all_failures(stages: Sequence[_Stage]) -> Summary:
    """The last stage's figures; where samples failed in those before it, with all that failed, and of how many."""
    told = [(one.stage.name, one.summary) for one in stages if one.summary]
    last = told[-1][1]
    if not any(summary.failed for _, summary in told[:-1]):
        return last
    failures = {f"{kind} in {name}": count for name, summary in told for kind, count in summary.failures.items()}
    samples, failed = (
        sum(one) for one in zip(*((summary.samples, summary.failed) for _, summary in told), strict=True)
    )
    return replace(last, samples=samples, failed=failed, failures=failures)


def _opened(
    recipe: Recipe,
    wanted: Sequence[RecipeStage],
    options: RunOptions,
    source: Source,
    folder: RecipeFolder,
    stop: StopRequest,
    held: ExitStack,
) -> list[_Stage]:
    """Stages with their folders and inputs, linked.

    Args:
        source: the recipe's input, which is the first one's.
    """
    found: list[_Stage] = []
    yields = kinds_stopped(recipe, options)
    for stage, sort in zip(wanted, sorts(recipe, options), strict=False):
        before = found[-1] if found else None
        asked = stage.run_options(options, recipe.folder(stage, folder.path))
        if any(one.sort == "annotate" for one in found):
            asked = replace(asked, annotate="never")
        if before:  # what a recipe's input is asked about
            asked = replace(asked, near=None, limit=None)
        if stage is not recipe.stages[-1]:
            asked = replace(asked, layout="hf")  # what the next stage reads
        with about(f"stage {stage.name}"):
            output = OutputFolder(asked.output)
        held.callback(output.close)
        if before is None:
            held.callback(source.close)
            look_for_near(asked, source, output.path)
        source = _following(before, output) if before else source
        behind = Link(output.path, lambda: stop.level > 0) if stage is not wanted[-1] else None
        account = f"{folder.account}.{_run_id(output)}"
        admitted = yields.admitted if yields and sort in ("write", "edit") else None
        run = Run(asked, source, output, stop, account, behind, admitted=admitted)
        found.append(_Stage(stage, sort, run, before.behind if before else None, behind))
    return found


def _following(before: _Stage, output: OutputFolder) -> Following:
    assert before.behind
    return Following(before.behind, before.run.source, before.pairs, output.journal, before.folder.journal)


def _run_id(output: OutputFolder) -> str:
    """A stage's, from before its folder is claimed."""
    known = output.journal.get("run_id") or uuid.uuid4().hex
    output.journal.set("run_id", known)
    return known


def _check_extended(stages: Sequence[_Stage], options: RunOptions) -> None:
    """
    Raises:
        RunError: they are finished, their input is another one now, and nobody said that they take it in.
    """
    cut = stages[0].folder.journal.get(CUT)
    if options.extend or cut is None or not all(one.folder.journal.get(SETTLED) for one in stages):
        return
    if cut != stages[0].run.fingerprint:
        raise RunError(
            f"--output {options.output}: the recipe is finished there, and its input is not what it was then; --extend takes "
            "in what is new or changed, or choose another folder"
        )


def _unsettled(stages: Sequence[_Stage]) -> list[_Stage]:
    """The first stage that has something to do, and all behind it. Of those before it everything is there."""
    for index, one in enumerate(stages):
        one.summary = settled(one.folder, one.run.options, partial(_fingerprint, stages, index))
        lacking = one.behind and not one.pairs and not all(part.lines.exists() for part in shards_of(one.folder.path))
        if one.summary is None or lacking:
            return list(stages[index:])
        if one.behind:
            one.behind.all_there()
    return []


def _fingerprint(stages: Sequence[_Stage], index: int) -> str:
    """That of all that a stage is made of: the recipe's input, or how the stage before was made."""
    if not index:
        return stages[0].run.fingerprint
    return hashlib.sha256((stages[index - 1].folder.journal.get(SETTLED) or "").encode()).hexdigest()


def _work(
    recipe: Recipe,
    first: _Stage,
    stages: Sequence[_Stage],
    options: RunOptions,
    stop: StopRequest,
    held: ExitStack,
) -> None:
    """Goes through stages, all at the same time.

    Args:
        first: the recipe's first stage.
        stages: those that have something to do.

    Raises:
        RunError: one cannot start, or broke off.
    """
    named: list[list[str]] = []
    for one in stages:
        with one.about():
            named.append(workflow_names_of(recipe, one.stage) or workflow_names(one.run.options, one.run.source))
            look_at(one.run.options, named[-1])
    servers = StageServers(options, stages[-1].folder.work, held)
    fitting = zip(stages, named, strict=True)
    shared = servers.share(
        fit([Fitting(one.stage, one.run.options, names, servers.of_stage()) for one, names in fitting])
    )
    for one, workflows in zip(stages, shared, strict=True):
        one.workflows = workflows
        with one.about():
            check_near(one.run.options, workflows)
            one.form = form_of_stage(one.folder.journal, one.run.options)
            one.folder.claim(workflows, one.run.options.seed)
            one.run.tell(one.run.source.labels(one.aims))
    if first.workflows:
        first.run.source.check_any(first.aims)
    _spread_quotas(first, stages)
    with _told(stages, options):
        _go(stages, stop)
    if first.summary and not (options.limit or stop.level):
        first.run.tell(ended_early(first.summary.inputs))
    for line in dict.fromkeys(host.stays() for one in stages for host in one.workflows[0].hosts):
        stages[-1].run.tell(line)


@contextmanager
def _told(stages: Sequence[_Stage], options: RunOptions) -> Iterator[None]:
    """While it lasts, people see a line for each stage, and whoever asks for metrics gets those of all."""
    screen = SharedScreen([one.stage.name for one in stages])
    others: list[Reporter] = []
    try:
        if options.metrics_port:
            others.append(Reporters([Metrics(options.metrics_port, 0, 0, {"output": options.output})]))
        for one in stages:
            progress = Progress(one.stage.name, 0, 0, 0, shared=screen)
            one.run = replace(one.run, progress=StageProgress(progress, others))
        yield
    finally:
        screen.close()
        for other in others:
            other.close()


def _spread_quotas(first: _Stage, stages: Sequence[_Stage]) -> None:
    """Tells stages that write by quotas over how many photos these are spread."""
    writing = [one for one in stages if "=" in (one.run.options.kinds or "")]
    if not writing:
        return
    told = first.folder.journal.get(TOTAL)
    total = first.run.source.count(first.aims) if first.workflows else int(told or 0)
    limit = first.run.options.limit
    for one in writing:
        one.run.source.spread_over = total if limit is None else min(total, limit)


def _go(stages: Sequence[_Stage], stop: StopRequest) -> None:
    """Works all stages off, a thread each."""
    failed = threading.Event()
    threads = [threading.Thread(target=_stage, args=(one, stop, failed), name=one.stage.name) for one in stages]
    with stop.orderly():
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(LOOK_SECONDS)
    for one in stages:
        if one.error and not isinstance(one.error, KeyboardInterrupt):
            with one.about():
                raise one.error
    if any(one.error for one in stages):
        raise KeyboardInterrupt


def _stage(one: _Stage, stop: StopRequest, failed: threading.Event) -> None:
    """Works a stage off. What breaks it off stops all others as the user would."""
    try:
        assert one.form
        one.summary = shard_by_shard(one.run, one.workflows, one.form)
    except BaseException as error:
        one.error = error
        if not (stop.level or failed.is_set()):
            failed.set()
            stop.request()
    finally:
        if one.before:
            one.before.leave()
