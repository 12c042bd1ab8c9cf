"""One run, as it goes: output folder, server and workflow, regions, edits, dataset, report."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from comfy_nodes.core.instructions.instructions import InstructionRecord
from comfy_nodes.core.records import AnnotationRecord

from ..comfyui.answering import at_once
from ..dataset.dataset import Written
from ..dataset.parts import FACTS
from ..dataset.publish import publish
from ..dataset.rows import RunFacts
from ..disk import Watermark
from ..engine.harvest import EditHarvester, Harvester, RecordHarvester
from ..engine.local import Pace, run_pool
from ..engine.pool import Pool
from ..errors import RunError
from ..graph.api import ANNOTATION_SINK, INSTRUCTION_SINK
from ..graph.licences import models_of
from ..home import VERSION
from ..inputs.source import Source
from ..journal import Journal
from ..monitor.listeners import Reporter, Reporters
from ..monitor.log import RunLog
from ..monitor.metrics import Metrics
from ..monitor.terminal import Progress
from ..options import RunOptions
from ..report.summary import Summary
from ..samples import Grounding, Unavailable
from ..stopping import StopRequest
from ..terminal import say
from .claimed import AsClaimed
from .folder import OutputFolder, claim
from .outcomes import JOURNAL, WORKFLOW, Annotated, write_annotation
from .plan import check_kinds, enrol, open_source, outdated, plan_of, planned, title, workflows
from .stage import Stage, open_stages


def run(options: RunOptions, stop: StopRequest) -> tuple[Summary, bool]:
    """Does what the command line asks for.

    Returns:
        The run in figures, and whether the user stopped it.

    Raises:
        RunError: it cannot start, or broke off.
    """
    source = open_source(options)
    names = workflows(options, source)
    folder = OutputFolder(options.output)
    try:
        with open_stages(options, names, folder.work) as stages:
            check_kinds(options, stages)
            folder.claim(stages, options.seed)
            facts, environment, task = _facts(stages), _environment(stages), title(stages)
            sink = stages[0].graph.sink_class
            if sink == ANNOTATION_SINK:
                _annotate(options, source, folder, stages[0], stop)
                summary = folder.finish_annotation(facts, environment, source.root)
            elif sink == INSTRUCTION_SINK:
                _edit(options, source, folder, stages, stop, RecordHarvester(InstructionRecord))
                summary = folder.finish_instructions(facts, task, environment, source.root)
            else:
                harvester = EditHarvester(folder.spool)
                _edit(options, source, folder, stages, stop, harvester)
                summary = folder.finish(facts, task, environment, options.layout)
                if _told(folder.found) and not stop.level:
                    _work_all(options, source, folder, stages, stop, harvester)
                    summary = folder.finish(facts, task, environment, options.layout)
            for host in stages[0].hosts:
                _tell(folder, host.stays())
    finally:
        folder.close()
    if options.publish_to:
        publish(options.output, options.publish_to)
    return summary, stop.level > 0


def _edit(
    options: RunOptions,
    source: Source,
    folder: OutputFolder,
    stages: Sequence[Stage],
    stop: StopRequest,
    harvester: Harvester,
) -> None:
    """Edits, judges or writes about what waits, after finding regions for photos that have none."""
    _tell(folder, source.labels([stage.aim for stage in stages]))
    plan = plan_of(options, source, stages)
    if options.retry_failed is not None or outdated(folder.journal, source, plan):
        with _grounding(options, source, folder, stages, stop) as grounding:
            if stop.level:
                raise KeyboardInterrupt
            found = planned(options, source, stages, grounding)
            _tell(folder, enrol(options, source, folder.journal, found, plan))
    _retry(options, folder.journal)
    _work_all(options, source, folder, stages, stop, harvester)


def _work_all(
    options: RunOptions,
    source: Source,
    folder: OutputFolder,
    stages: Sequence[Stage],
    stop: StopRequest,
    harvester: Harvester,
) -> None:
    """Runs what waits through its workflow, one workflow after the other."""
    for stage in stages:
        tasks = [stage.graph.task] if len(stages) > 1 else None
        _work(options, stage, folder, folder.journal, harvester, source, stop, tasks)


def _told(found: Written) -> bool:
    """Says what a finish found wrong on disk; returns whether samples are to be made again for it."""
    if found.rebuilt:
        say(f"{FACTS} was missing or changed: it is made anew from the shards")
    if found.lost:
        some = ", ".join(found.lost[:3]) + (", ..." if len(found.lost) > 3 else "")
        say(f"{len(found.lost)} finished samples are made again, as their pictures are gone or changed on disk: {some}")
    return bool(found.lost)


def _annotate(options: RunOptions, source: Source, folder: OutputFolder, stage: Stage, stop: StopRequest) -> None:
    """Annotates what waits: the annotate stage as a run of its own, over all photos."""
    plan = plan_of(options, source, [stage])
    if outdated(folder.journal, source, plan):
        found = source.plan([stage.aim], "all", options.seed)
        _tell(folder, enrol(options, source, folder.journal, found, plan))
    _retry(options, folder.journal)
    _work(options, stage, folder, folder.journal, RecordHarvester(AnnotationRecord), source, stop)


@contextmanager
def _grounding(
    options: RunOptions, source: Source, folder: OutputFolder, stages: Sequence[Stage], stop: StopRequest
) -> Iterator[Grounding | None]:
    """What the annotate stage finds in photos without a region; finished ones are not run again."""
    needed = any(stage.aim.task.regions for stage in stages)
    if options.annotate != "auto" or not needed or next(source.unmarked(), None) is None:
        yield None
        return
    try:
        annotate = stages[0].beside(WORKFLOW)
    except RunError as error:
        yield Unavailable(f"the annotate stage cannot run ({error})")
        return
    say(f"finding regions first for photos that have none ({annotate.file.path.name})")
    journal = Journal(folder.path / JOURNAL)
    try:
        claim(journal, [annotate], options.seed, folder.path)
        _tell(folder, enrol(options, source, journal, source.unmarked(), ""))
        _retry(options, journal)
        _work(options, annotate, folder, journal, RecordHarvester(AnnotationRecord), source, stop)
        facts = _facts([annotate])
        write_annotation(journal, folder.path, facts)
        yield Annotated(journal, facts)
    finally:
        journal.close()


def _retry(options: RunOptions, journal: Journal) -> None:
    """Lets failed samples wait again, once for a run, where the command line asks for it."""
    if options.retry_failed is None or journal.retry_failed(options.retry_failed or None) or not options.retry_failed:
        return
    known = ", ".join(sorted({*journal.failure_types(), *journal.failure_types(skipped=True)})) or "none"
    say(f"--retry-failed {options.retry_failed}: no sample has that class; there are: {known}")


def _tell(folder: OutputFolder, line: str) -> None:
    """Says a line outside of the work, if it is one."""
    if line:
        say(line)
        log = RunLog(folder.path)
        log.say(line)
        log.close()


def _work(
    options: RunOptions,
    stage: Stage,
    folder: OutputFolder,
    journal: Journal,
    harvester: Harvester,
    source: Source,
    stop: StopRequest,
    tasks: Sequence[str] | None = None,
) -> None:
    """Runs what waits in a journal through a stage.

    Args:
        tasks: only samples of these tasks; None for all.
    """
    counts = journal.counts()
    over = counts["done"] + counts["failed"] + counts["skipped"]
    total = over + counts["pending"]
    shown = Progress(stage.graph.task, total, over, counts["failed"], counts["skipped"])
    listeners: list[Reporter] = [shown, RunLog(folder.path)]
    if options.metrics_port:
        listeners.append(Metrics(options.metrics_port, total, over, {"output": folder.path}))
    reporter = Reporters(listeners)
    begun = time.monotonic()
    watermark = Watermark([folder.path.resolve()], int(options.min_free_gb * 1e9))
    try:
        roles = stage.aim.seconds
        pool = Pool(
            journal,
            AsClaimed(harvester, stage.graph.api, stage.agreement.ingredients),
            source,
            reporter,
            stop,
            len(stage.hosts),
            options.attempts,
            watermark,
            tasks,
            roles,
        )
        pace = Pace(options.samples_per_prompt, options.recycle)
        graph = stage.graph.booked(journal.get("run_id") or "", options.budget_usd)
        run_pool(pool, list(stage.hosts), graph, stage.agreement.object_info, pace, options.seed, stage.check)
        if not journal.counts()["pending"]:
            at_once([partial(host.leave, journal.get("run_id") or "") for host in stage.hosts])
    finally:
        reporter.close()
        journal.add_edit_seconds(time.monotonic() - begun)


def _facts(stages: Sequence[Stage]) -> RunFacts:
    found = {
        stage.graph.task: RunFacts(
            stage.file.path.stem,
            stage.file.sha256,
            stage.graph.edit_sha256(),
            stage.profile,
            stage.agreement.ingredients.of(stage.graph.edit_part()).sha256,
            models_of(stage.graph.api, stage.agreement.ingredients.weights),
        )
        for stage in stages
    }
    first = next(iter(found.values()))
    return first if len(found) == 1 else replace(first, workflow=_names(stages), others=found)


def _names(stages: Sequence[Stage]) -> str:
    return ",".join(stage.file.path.stem for stage in stages)


def _environment(stages: Sequence[Stage]) -> dict[str, Any]:
    """Versions that took part, for whoever wants to run it again."""
    stats = stages[0].agreement.stats
    system = stats["system"]
    weights = {name: content for stage in stages for name, content in stage.agreement.ingredients.weights.items()}
    return {
        "editpairs": VERSION,
        "comfyui": system["comfyui_version"],
        "torch": system.get("pytorch_version", "unknown"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "devices": ", ".join(device["name"] for device in stats["devices"]),
        "workflow": ", ".join(stage.file.path.name for stage in stages),
        "workflow_sha256": ", ".join(stage.file.sha256 for stage in stages),
        "code_sha256": stages[0].agreement.ingredients.code,
        "weights_sha256": ", ".join(f"{name} {content or 'unknown'}" for name, content in sorted(weights.items())),
        "graph_sha256": ", ".join(stage.graph.edit_sha256() for stage in stages),
    }
