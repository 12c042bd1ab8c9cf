"""The command: `python driver/batch.py --workflow remove.json --input photos/ --output out/`.

Reads as a run goes: arguments, output folder, server, workflow, samples, edits, dataset, report.
"""

from __future__ import annotations

import argparse
import platform
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

# What takes long to import is imported by the functions that need it, so that --help answers at once.
from driver.failures import PromptRefused, RunError, ServerFault

if TYPE_CHECKING:
    from driver.dataset import RunFacts
    from driver.harvest import Harvester
    from driver.journal import Journal
    from driver.output import OutputFolder
    from driver.report import Summary
    from driver.scheduler import StopRequest
    from driver.sources import Grounding, Source
    from driver.stage import Stage


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 done, 1 too many failed, 2 nothing started, 130 stopped."""
    options = _parse(arguments)
    try:
        return _dry_run(options) if options.dry_run else _run(options)
    except RunError as error:
        return _end(str(error), error.status)
    except (ServerFault, PromptRefused) as error:
        return _end(f"{error}: see to the server and run the same command again", 2)
    except sqlite3.OperationalError as error:
        return _end(f"{options.output}: the journal cannot be written ({error}); is the disk full?", 1)
    except KeyboardInterrupt:
        return _end("stopped before anything was edited", 130)


def _run(options: argparse.Namespace) -> int:
    from driver.output import OutputFolder
    from driver.scheduler import StopRequest
    from driver.stage import open_stage
    from driver.workflow import ANNOTATION_SINK

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
    return _conclude(options, summary, stop.level > 0)


def _edit(options: argparse.Namespace, source: Source, folder: OutputFolder, stage: Stage, stop: StopRequest) -> None:
    """Edits what waits, after finding regions for photos that have none."""
    from comfy_nodes.core.tasks import task_named
    from driver.harvest import EditHarvester

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
    from comfy_nodes.core.tasks import ANNOTATE
    from driver.harvest import AnnotationHarvester

    folder.journal.enrol(source.plan(ANNOTATE, "all", options.seed), options.limit)
    _work(options, stage, folder.journal, AnnotationHarvester(), source, stop)


def _ground(
    options: argparse.Namespace, source: Source, folder: OutputFolder, stage: Stage, stop: StopRequest
) -> Grounding | None:
    """Runs the annotate stage over photos without a region, where there are any; finished ones are not run again."""
    from driver.annotating import JOURNAL, WORKFLOW, grounding, write_annotation
    from driver.harvest import AnnotationHarvester
    from driver.journal import Journal
    from driver.output import claim
    from driver.sources import Grounding, Sample

    unmarked = [one for one in source.unmarked() if isinstance(one, Sample)]
    if not unmarked:
        return None
    try:
        annotate = stage.beside(WORKFLOW)
    except RunError as error:
        return Grounding(unavailable=f"the annotate stage cannot run ({error})")
    _say(f"{len(unmarked)} photos have no region: finding some first ({annotate.file.path.name})")
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
    from driver.progress import Progress
    from driver.scheduler import Scheduler

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


def _conclude(options: argparse.Namespace, summary: Summary, stopped: bool) -> int:
    print(
        f"{options.output}: {summary.kept} kept, {summary.rejected} rejected, {summary.unscored} unscored, "
        f"{summary.failed} failed" + (f", {summary.pending} not done yet" if summary.pending else "")
    )
    rest = f"; load_dataset({str(options.output)!r}) opens the kept ones" if summary.task != "annotate" else ""
    print(f"look at {options.output / 'report.html'}{rest}")
    if summary.unscored and not summary.kept:
        print("unscored: wire Verify Pixels, or another verify node, to Save Edit Pair", file=sys.stderr)
    if stopped:
        return _end("stopped; the same command goes on where it was", 130)
    allowed = _allowed_failures(options.max_failed, summary.samples)
    if summary.failed > allowed:
        listed = ", ".join(f"{number} {name}" for name, number in summary.failures.items())
        return _end(f"{summary.failed} of {summary.samples} samples failed ({listed}): see failed.parquet", 1)
    return 0


def _dry_run(options: argparse.Namespace) -> int:
    """Shows what a run would do; starts a server to ask it, and leaves nothing behind."""
    from comfy_nodes.core.tasks import task_named
    from driver.sources import Unusable
    from driver.stage import open_stage
    from driver.workflow import SAMPLE_INPUTS

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
    return 0


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
    from driver.sources import BUNDLED, Source

    return Source(options.input or BUNDLED, options.image_root)


def _facts(stage: Stage) -> RunFacts:
    from driver.dataset import RunFacts

    return RunFacts(stage.file.path.stem, stage.file.sha256, stage.graph.edit_sha256(), stage.profile)


def _environment(stage: Stage) -> dict[str, Any]:
    """Versions that took part, for whoever wants to run it again."""
    from driver.version import VERSION

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


def _allowed_failures(text: str, samples: int) -> float:
    return samples * float(text[:-1]) / 100 if text.endswith("%") else float(text)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _end(line: str, status: int) -> int:
    _say(f"batch.py: {line}")
    return status


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="batch.py",
        description="Runs one workflow over many photos on ComfyUI and gathers a dataset of edit pairs.",
        epilog="Exit status: 0 done, 1 more failed than allowed, 2 nothing was started, 130 stopped (run it again to go on).",
    )
    add = parser.add_argument
    add(
        "--workflow",
        required=True,
        metavar="NAME|PATH",
        help="a name from workflows/, or a path: UI JSON, API JSON or a PNG that ComfyUI wrote",
    )
    add(
        "--input",
        type=Path,
        metavar="PATH",
        help="folder of photos (beside each, if wanted, NAME.mask.png and NAME.txt), or ImgEdit annotation "
        ".json/.jsonl; default: the bundled samples",
    )
    add(
        "--image-root",
        type=Path,
        metavar="DIR",
        help="what the annotation's paths are relative to; default: its folder",
    )
    add(
        "--output",
        type=Path,
        metavar="DIR",
        help="the run's folder; the same command again goes on; default: outputs/NAME",
    )
    add(
        "--regions",
        choices=("all", "one"),
        default="all",
        help="a sample for each eligible region, or one picked by the seed; default: all",
    )
    add(
        "--annotate",
        choices=("auto", "never"),
        default="auto",
        help="auto: find regions first, with annotate.json, for photos that have none; default: auto",
    )
    add(
        "--profile",
        choices=("auto", "full", "classical"),
        default="auto",
        help="full: the model graph; classical: no weights; auto: classical only where there is no GPU",
    )
    add("--server", metavar="URL", help="a running ComfyUI; default: start one here and stop it")
    add("--limit", type=_positive, metavar="N", help="edit at most N samples")
    add("--seed", type=int, default=0, metavar="S", help="all other seeds follow from it; default: 0")
    add(
        "--set",
        action="append",
        default=[],
        metavar="ADDRESS=VALUE",
        help="set an input: @Title.input=3, #id.input=3 or Class.input=3; may be repeated",
    )
    add(
        "--retry-failed",
        nargs="?",
        const="",
        metavar="CLASS",
        help="try failed samples again: all, or those of one error type",
    )
    add(
        "--max-failed",
        type=_failures,
        default="0",
        metavar="N|P%",
        help="exit status 1 when more failed than this; the run itself goes on; default: 0",
    )
    add("--dry-run", action="store_true", help="check everything, show what would be done, edit nothing")
    options = parser.parse_args(arguments)
    options.output = options.output or Path("outputs") / Path(options.workflow).stem
    return options


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _failures(text: str) -> str:
    try:
        if _allowed_failures(text, 100) >= 0:
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor a percentage such as 5%")


if __name__ == "__main__":
    sys.exit(main())
