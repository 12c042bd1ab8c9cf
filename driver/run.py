"""One run, as it goes: output folder, server and workflow, regions, edits, dataset, report."""

from __future__ import annotations

import argparse
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

from comfy_nodes.core.tasks import ANNOTATE, task_named

from .annotating import JOURNAL, WORKFLOW, grounding, write_annotation
from .dataset import RunFacts
from .failures import RunError
from .harvest import AnnotationHarvester, EditHarvester, Harvester
from .journal import Journal
from .output import OutputFolder, claim
from .progress import Progress
from .report import Summary
from .scheduler import Scheduler, StopRequest
from .sources import BUNDLED, Grounding, Sample, Source, Unusable
from .stage import Stage, open_stage
from .version import VERSION
from .workflow import ANNOTATION_SINK, SAMPLE_INPUTS


def run(options: argparse.Namespace) -> tuple[Summary, bool]:
    """Does what the command line asks for.

    Returns:
        The run in figures, and whether the user stopped it.

    Raises:
        RunError: it cannot start, or broke off.
    """
    source = _source(options)
    folder = OutputFolder(options.output)
    stop = StopRequest()
    try:
        with open_stage(options, folder.work) as stage:
            folder.claim(stage.graph, stage.file, options.seed)
            with _stopping(stop):
                if stage.graph.sink_class == ANNOTATION_SINK:
                    _annotate(options, source, folder, stage, stop)
                    summary = folder.finish_annotation(_facts(stage), _environment(stage), source.root)
                else:
                    _edit(options, source, folder, stage, stop)
                    summary = folder.finish(_facts(stage), stage.graph.task, _environment(stage))
    finally:
        folder.close()
    return summary, stop.level > 0


def dry_run(options: argparse.Namespace) -> None:
    """Shows what a run would do; starts a server to ask it, and leaves nothing behind."""
    source = _source(options)
    with tempfile.TemporaryDirectory(prefix="editpairs-") as scratch, open_stage(options, Path(scratch)) as stage:
        graph = stage.graph
        planned = list(source.plan(task_named(graph.task), options.regions, options.seed))
        refused = [one for one in planned if isinstance(one, Unusable)]
        usable = len(planned) - len(refused)
        lines = {
            "workflow": f"{stage.file.path} (profile {stage.profile}, task {graph.task})",
            "server": f"{stage.host.server.url} (ComfyUI {stage.stats['system']['comfyui_version']})",
            "source node": f"Load Edit Sample #{graph.source}; set for each sample: {', '.join(SAMPLE_INPUTS)}",
            "sink node": f"{graph.api[graph.sink]['class_type']} #{graph.sink}",
            "further seeds": ", ".join(graph.seeds) or "none: every seed is wired to the source node",
            "left out": ", ".join(graph.left_out) or "nothing",
            "samples": f"{usable if options.limit is None else min(usable, options.limit)} to edit, {len(refused)} unusable",
            "output": str(options.output),
        }
        for name, text in lines.items():
            print(f"{name:>14}: {text}")
        for why, number in Counter(one.failure.message for one in refused).most_common(20):
            print(f"      unusable: {why}" + (f" (and {number - 1} more)" if number > 1 else ""))


def _edit(options: argparse.Namespace, source: Source, folder: OutputFolder, stage: Stage, stop: StopRequest) -> None:
    """Edits what waits, after finding regions for photos that have none."""
    task = task_named(stage.graph.task)
    grounding = None
    if options.annotate == "auto" and task.region != "none":
        grounding = _ground(options, source, folder, stage, stop)
    folder.journal.enrol(source.plan(task, options.regions, options.seed, grounding), options.limit)
    _work(options, stage, folder.journal, EditHarvester(folder.spool), source, stop)


def _annotate(
    options: argparse.Namespace, source: Source, folder: OutputFolder, stage: Stage, stop: StopRequest
) -> None:
    """Annotates what waits: the annotate stage as a run of its own, over all photos."""
    folder.journal.enrol(source.plan(ANNOTATE, "all", options.seed), options.limit)
    _work(options, stage, folder.journal, AnnotationHarvester(), source, stop)


def _ground(
    options: argparse.Namespace, source: Source, folder: OutputFolder, stage: Stage, stop: StopRequest
) -> Grounding | None:
    """Runs the annotate stage over photos without a region, where there are any; finished ones are not run again."""
    unmarked = [one for one in source.unmarked() if isinstance(one, Sample)]
    if not unmarked:
        return None
    try:
        annotate = stage.beside(WORKFLOW)
    except RunError as error:
        return Grounding(unavailable=f"the annotate stage cannot run ({error})")
    print(f"{len(unmarked)} photos have no region: finding some first ({annotate.file.path.name})", file=sys.stderr)
    journal = Journal(folder.path / JOURNAL)
    try:
        claim(journal, annotate.graph, options.seed, folder.path)
        journal.enrol(unmarked, options.limit)
        _work(options, annotate, journal, AnnotationHarvester(), source, stop)
        write_annotation(journal, folder.path)
        return grounding(journal)
    finally:
        journal.close()


def _work(
    options: argparse.Namespace, stage: Stage, journal: Journal, harvester: Harvester, source: Source, stop: StopRequest
) -> None:
    """Runs what waits in a journal through a stage."""
    if options.retry_failed is not None:
        journal.retry_failed(options.retry_failed or None)
    counts = journal.counts()
    over = counts["done"] + counts["failed"]
    progress = Progress(stage.graph.task, over + counts["pending"], over, counts["failed"])
    begun = time.monotonic()
    try:
        Scheduler(stage.host, stage.graph, journal, harvester, source.root, options.seed, progress, stop).run()
    finally:
        progress.close()
        journal.add_edit_seconds(time.monotonic() - begun)


@contextmanager
def _stopping(stop: StopRequest) -> Iterator[None]:
    """While it lasts, Ctrl-C and SIGTERM raise the stop level instead of breaking in."""

    def request(_signal: int, _frame: FrameType | None) -> None:
        stop.level += 1

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
    system = stage.stats["system"]
    return {
        "editpairs": VERSION,
        "comfyui": system["comfyui_version"],
        "torch": system.get("pytorch_version", "unknown"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "devices": ", ".join(device["name"] for device in stage.stats["devices"]),
        "workflow": stage.file.path.name,
        "workflow_sha256": stage.file.sha256,
        "graph_sha256": stage.graph.edit_sha256(),
    }
