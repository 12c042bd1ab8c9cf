"""One run, as it goes: output folder, server and workflow, regions, edits, dataset, report."""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from comfy_nodes.core.instructions import InstructionRecord
from comfy_nodes.core.records import AnnotationRecord
from comfy_nodes.core.tasks import ANNOTATE, task_named
from comfy_nodes.vlm import budget, profiles

from .annotating import JOURNAL, WORKFLOW, Annotated, write_annotation
from .columns import RunFacts
from .disk import Watermark
from .failures import RunError
from .harvest import EditHarvester, Harvester, RecordHarvester
from .journal import Journal
from .metrics import Metrics
from .output import OutputFolder, claim
from .pool import Pool, StopRequest
from .progress import Progress, Reporters
from .quotas import Quotas, wanted_kinds
from .report import Summary
from .reporting import Reporter
from .run_log import RunLog
from .scheduler import Pace, run_pool
from .sources import BUNDLED, Grounding, Planned, Sample, Source, Unavailable, Unusable
from .stage import Stage, open_stage
from .store import publish
from .version import VERSION
from .workflow import ANNOTATION_SINK, INSTRUCTION_SINK, SAMPLE_INPUTS

PHOTO_PIXELS = 1024 * 1024
"""What a photo is taken to have in an estimate of costs. Ours."""


def run(options: argparse.Namespace) -> tuple[Summary, bool]:
    """Does what the command line asks for.

    Returns:
        The run in figures, and whether the user stopped it.

    Raises:
        RunError: it cannot start, or broke off.
    """
    source = _source(options)
    if options.kinds:
        wanted_kinds(options.kinds)
    folder = OutputFolder(options.output)
    stop = StopRequest()
    try:
        with _stopping(stop), open_stage(options, folder.work, stop) as stage:
            _check_kinds(options, stage)
            folder.claim(stage.graph, stage.file, options.seed)
            if stage.graph.sink_class == ANNOTATION_SINK:
                _annotate(options, source, folder, stage, stop)
                summary = folder.finish_annotation(_facts(stage), _environment(stage), source.root)
            elif stage.graph.sink_class == INSTRUCTION_SINK:
                _edit(options, source, folder, stage, stop, RecordHarvester(InstructionRecord))
                summary = folder.finish_instructions(_facts(stage), stage.graph.task, _environment(stage), source.root)
            else:
                _edit(options, source, folder, stage, stop, EditHarvester(folder.spool))
                summary = folder.finish(_facts(stage), stage.graph.task, _environment(stage), options.layout)
    finally:
        folder.close()
    if options.publish_to:
        publish(options.output, options.publish_to)
    return summary, stop.level > 0


def dry_run(options: argparse.Namespace) -> None:
    """Shows what a run would do; starts a server to ask it, and leaves nothing behind."""
    source = _source(options)
    with (
        tempfile.TemporaryDirectory(prefix="editpairs-") as scratch,
        open_stage(options, Path(scratch), StopRequest()) as stage,
    ):
        _check_kinds(options, stage)
        graph = stage.graph
        refused: Counter[str] = Counter()
        usable = 0
        for one in _planned(options, source, stage, None):
            if isinstance(one, Unusable):
                refused[one.failure.message] += 1
            else:
                usable += 1
        chosen = usable if options.limit is None else min(usable, options.limit)
        lines = {
            "workflow": f"{stage.file.path} (profile {stage.profile}, task {graph.task})",
            "server": ", ".join(host.name for host in stage.hosts)
            + f" (ComfyUI {stage.agreement.stats['system']['comfyui_version']})",
            "source node": f"Load Edit Sample #{graph.source}; set for each sample: {', '.join(SAMPLE_INPUTS)}",
            "sink node": f"{graph.api[graph.sink]['class_type']} #{graph.sink}",
            "further seeds": ", ".join(graph.seeds) or "none: every seed is wired to the source node",
            "left out": ", ".join(graph.left_out) or "nothing",
            "samples": f"{chosen} to edit, {refused.total()} unusable",
            "output": str(options.output),
            **_estimates(stage, chosen),
        }
        for name, text in lines.items():
            print(f"{name:>14}: {text}")
        for why, number in refused.most_common(20):
            print(f"      unusable: {why}" + (f" (and {number - 1} more)" if number > 1 else ""))


def _estimates(stage: Stage, samples: int) -> dict[str, str]:
    """What the graph's calls to services may cost, at most, as lines."""
    found = {}
    for name, questions in stage.graph.profiles().items():
        try:
            profile = profiles.find(name)
        except profiles.VlmNotConfigured as error:
            found["services"] = str(error)
            continue
        bound = budget.estimate(profile, samples, questions, PHOTO_PIXELS)
        cost = f"{bound.usd:.2f} USD" if bound.usd is not None else "no price known"
        found["services"] = f"profile {name}: at most {bound.calls} calls, {cost}, where nothing is cached"
    return found


def _check_kinds(options: argparse.Namespace, stage: Stage) -> None:
    """
    Raises:
        RunError: kinds of edit are asked for where none are written about.
    """
    if options.kinds and stage.graph.sink_class != INSTRUCTION_SINK:
        raise RunError(f"--kinds: {stage.file.path.name} writes no instructions; it goes with --workflow write")


def _planned(
    options: argparse.Namespace, source: Source, stage: Stage, grounding: Grounding | None
) -> Iterator[Planned]:
    """The run's samples, as the command line asks for them."""
    if options.kinds:
        quotas = Quotas(wanted_kinds(options.kinds), options.kinds_per_region)
        return source.plan_kinds(quotas, options.seed, grounding)
    context = stage.graph.sink_class == INSTRUCTION_SINK
    return source.plan(task_named(stage.graph.task), options.regions, options.seed, grounding, context)


def _edit(
    options: argparse.Namespace,
    source: Source,
    folder: OutputFolder,
    stage: Stage,
    stop: StopRequest,
    harvester: Harvester,
) -> None:
    """Edits, or writes about, what waits, after finding regions for photos that have none."""
    plan = _plan_of(options, source, stage)
    if options.retry_failed is not None or folder.journal.get("plan") != plan:
        with _grounding(options, source, folder, stage, stop) as grounding:
            folder.journal.enrol(_planned(options, source, stage, grounding), options.limit)
        # An input that was refused may be mended without any sign of it in what was planned from.
        whole = not stop.level and not folder.journal.refused_inputs()
        folder.journal.set("plan", plan if whole else "")
    _work(options, stage, folder, folder.journal, harvester, source, stop)


def _annotate(
    options: argparse.Namespace, source: Source, folder: OutputFolder, stage: Stage, stop: StopRequest
) -> None:
    """Annotates what waits: the annotate stage as a run of its own, over all photos."""
    plan = _plan_of(options, source, stage)
    if folder.journal.get("plan") != plan:
        folder.journal.enrol(source.plan(ANNOTATE, "all", options.seed), options.limit)
        folder.journal.set("plan", "" if folder.journal.refused_inputs() else plan)
    _work(options, stage, folder, folder.journal, RecordHarvester(AnnotationRecord), source, stop)


def _plan_of(options: argparse.Namespace, source: Source, stage: Stage) -> str:
    """What decides which samples a run has: where it is the same as last time, inputs aren't gone through again."""
    chosen = [
        stage.graph.task,
        options.regions,
        options.annotate,
        options.limit,
        options.kinds,
        options.kinds_per_region,
    ]
    return json.dumps([source.fingerprint(), *chosen])


@contextmanager
def _grounding(
    options: argparse.Namespace, source: Source, folder: OutputFolder, stage: Stage, stop: StopRequest
) -> Iterator[Grounding | None]:
    """What the annotate stage finds in photos without a region; finished ones are not run again."""
    if options.annotate != "auto" or task_named(stage.graph.task).region == "none":
        yield None
        return
    if next(source.unmarked(), None) is None:
        yield None
        return
    try:
        annotate = stage.beside(WORKFLOW)
    except RunError as error:
        yield Unavailable(f"the annotate stage cannot run ({error})")
        return
    print(f"finding regions first for photos that have none ({annotate.file.path.name})", file=sys.stderr)
    journal = Journal(folder.path / JOURNAL)
    try:
        claim(journal, annotate.graph, options.seed, folder.path)
        journal.enrol((one for one in source.unmarked() if isinstance(one, Sample)), options.limit)
        _work(options, annotate, folder, journal, RecordHarvester(AnnotationRecord), source, stop)
        write_annotation(journal, folder.path)
        yield Annotated(journal)
    finally:
        journal.close()


def _work(
    options: argparse.Namespace,
    stage: Stage,
    folder: OutputFolder,
    journal: Journal,
    harvester: Harvester,
    source: Source,
    stop: StopRequest,
) -> None:
    """Runs what waits in a journal through a stage."""
    if options.retry_failed is not None:
        journal.retry_failed(options.retry_failed or None)
    counts = journal.counts()
    over = counts["done"] + counts["failed"]
    total = over + counts["pending"]
    listeners: list[Reporter] = [Progress(stage.graph.task, total, over, counts["failed"]), RunLog(folder.path)]
    if options.metrics_port:
        listeners.append(Metrics(options.metrics_port, total, over, {"output": folder.path}))
    reporter = Reporters(listeners)
    begun = time.monotonic()
    watermark = Watermark([folder.path.resolve()], int(options.min_free_gb * 1e9))
    try:
        pool = Pool(journal, harvester, source, reporter, stop, len(stage.hosts), options.attempts, watermark)
        pace = Pace(options.samples_per_prompt, options.recycle)
        graph = stage.graph.booked(journal.get("run_id") or "", options.budget_usd)
        run_pool(pool, list(stage.hosts), graph, stage.agreement.object_info, pace, options.seed, stage.check)
    finally:
        reporter.close()
        journal.add_edit_seconds(time.monotonic() - begun)


@contextmanager
def _stopping(stop: StopRequest) -> Iterator[None]:
    """While it lasts, Ctrl-C and SIGTERM raise the stop level instead of breaking in."""

    def request(_signal: int, _frame: FrameType | None) -> None:
        stop.request()

    former = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _source(options: argparse.Namespace) -> Source:
    return Source(options.input or BUNDLED, options.image_root)


def _facts(stage: Stage) -> RunFacts:
    return RunFacts(stage.file.path.stem, stage.file.sha256, stage.graph.edit_sha256(), stage.profile)


def _environment(stage: Stage) -> dict[str, Any]:
    """Versions that took part, for whoever wants to run it again."""
    system = stage.agreement.stats["system"]
    return {
        "editpairs": VERSION,
        "comfyui": system["comfyui_version"],
        "torch": system.get("pytorch_version", "unknown"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "devices": ", ".join(device["name"] for device in stage.agreement.stats["devices"]),
        "workflow": stage.file.path.name,
        "workflow_sha256": stage.file.sha256,
        "graph_sha256": stage.graph.edit_sha256(),
    }
