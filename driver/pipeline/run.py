"""One run, as it goes: input, output folder, workflows on servers, and one stage after the other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from comfy_nodes.core.tasks import ANNOTATE

from ..dataset.by_input import ended_early
from ..dataset.ownership import SHARDS
from ..dataset.publish import publish
from ..disk import disk_errors
from ..graph.api import ANNOTATION_SINK, EDIT_SINK, INSTRUCTION_SINK, PHOTO_SINK
from ..options import RunOptions
from ..report.summary import Summary
from ..samples import Unavailable
from ..stopping import StopRequest
from ..terminal import say
from .edit import EditStage
from .folder import OutputFolder
from .form import Form, form_of
from .lines import AnnotateStage, RegionsStage, WriteStage
from .photos import PhotoStage
from .plan import check_kinds, check_near, finder, look_for_near, open_source, workflow_names
from .settled import settle, settled, unsettle
from .shard import OpenShard
from .shards import Shards
from .stage import Run, Stage
from .workflow import Workflow, open_workflows

STAGES: dict[str, type[AnnotateStage | WriteStage | EditStage | PhotoStage]] = {
    ANNOTATION_SINK: AnnotateStage,
    INSTRUCTION_SINK: WriteStage,
    EDIT_SINK: EditStage,
    PHOTO_SINK: PhotoStage,
}
"""By the sink of a stage's workflows."""


def run(options: RunOptions, stop: StopRequest) -> tuple[Summary, bool]:
    """Does what the command line asks for.

    Returns:
        The run in figures, and whether the user stopped it.

    Raises:
        RunError: it cannot start, or broke off.
    """
    source = open_source(options)
    folder = OutputFolder(options.output)
    try:
        look_for_near(options, source, folder.path)
        begun = Run(options, source, folder, stop)
        done = settled(folder, options, lambda: begun.fingerprint)
        if done:
            say("all its shards are done")
        summary = done or _work(begun)
    finally:
        source.close()
        folder.close()
    if options.publish_to:
        publish(options.output, options.publish_to, Form.asked(options).share)
    return summary, stop.level > 0


def _work(begun: Run) -> Summary:
    """Goes through the run's stages on its servers, once, or once for each shard."""
    options, source, folder = begun.options, begun.source, begun.folder
    names = workflow_names(options, source)
    with open_workflows(options, names, folder.work) as workflows, ExitStack() as ended:
        check_kinds(options, workflows)
        check_near(options, workflows)
        aims = [workflow.aim for workflow in workflows]
        form = form_of(folder.journal, options, source, aims)
        folder.claim(workflows, options.seed)
        begun.tell(source.labels(aims))
        if form:
            summary = shard_by_shard(begun, workflows, form)
        else:
            for stage in stages_of(begun, workflows, ended):
                stage.plan()
                stage.work()
                summary = stage.finish()
        if not options.limit and not begun.stop.level:
            begun.tell(ended_early(summary.inputs))
        for host in workflows[0].hosts:
            begun.tell(host.stays())
    return summary


def shard_by_shard(run: Run, workflows: Sequence[Workflow], form: Form) -> Summary:
    """Goes through a run of many shards."""
    unsettle(run.folder)
    with disk_errors(run.folder.path):
        (run.folder.path / SHARDS).mkdir(exist_ok=True)  # a share may have none
    sort = STAGES[workflows[0].graph.sink_class]
    if sort is EditStage:
        EditStage(run, workflows).begin()
    with ExitStack() as ended:
        own, stages = partial(sort, run, workflows, None), partial(stages_of, run, workflows, ended)
        Shards(run, workflows, form, own, stages).work()
    if run.follower and not run.stop.level:
        run.follower.end()
    if run.options.annotate == "auto" and any(run.folder.journals(".annotate")):
        RegionsStage(run, [workflows[0].beside(ANNOTATE.name, run.options.licence_policy)]).conclude()
    summary = sort(run, workflows).conclude()
    if not run.stop.level:
        settle(run.folder, run.options, run.fingerprint)
    return summary


def stages_of(run: Run, workflows: Sequence[Workflow], ended: ExitStack, shard: OpenShard | None = None) -> list[Stage]:
    """The run's stages, or a shard's: that of its workflows, and ahead of it one that finds regions where photos have none.

    Args:
        ended: closes what a stage opens for itself.
    """
    own = STAGES[workflows[0].graph.sink_class](run, workflows, shard=shard)
    if not own.lacks_regions():
        return [own]
    annotate = finder(run.options, workflows)
    if isinstance(annotate, Unavailable):
        own.grounding = annotate
        return [own]
    run.say_once(f"finding regions first for photos that have none ({annotate.file.path.name}{annotate.limits})")
    first = RegionsStage(run, [annotate], shard=shard)
    ended.callback(first.journal.close)
    own.grounding = first
    return [first, own]
