"""What a run is to do, as the command line asks for it: which input, which workflows, which samples in which order.

Shared by the run and its dry run, so that one shows what the other does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from comfy_nodes.core.instructions.offering import KINDS
from comfy_nodes.core.instructions.shapes import MAX_EDITS
from comfy_nodes.core.records import SampleFailure
from comfy_nodes.core.regions.annotation import AnnotationError
from comfy_nodes.core.tasks import ANNOTATE
from comfy_nodes.core.weights.records import Policy

from ..errors import RunError
from ..graph.api import INSTRUCTION_SINK
from ..graph.file import AUTO
from ..graph.licences import unfit
from ..inputs.cutting import Shard
from ..inputs.near import NearDuplicates
from ..inputs.quotas import Quotas, wanted_kinds
from ..inputs.shares import InputShare
from ..inputs.source import BUNDLED, Source
from ..journal import Journal
from ..options import RunOptions
from ..samples import Grounding, Planned, Sample, Unavailable, Unusable
from .shard import Order
from .workflow import Workflow

NEAR = "near.sqlite"
"""What a run's folder keeps of how photos look; in its journal, which of these it was, and how often another one."""

LICENCE = "LicenceRefused"
"""Error type of what the licence policy rules out."""


def open_source(options: RunOptions) -> Source:
    """The run's input.

    Raises:
        RunError: it cannot be used, the output lies in it, or the kinds of edit that are asked for are unknown.
    """
    if options.kinds:
        wanted_kinds(options.kinds)
    source = Source(options.input or [InputShare(str(BUNDLED))], options.image_root)
    source.refuse_output(options.output)
    return source


def look_for_near(options: RunOptions, source: Source, folder: Path | None) -> None:
    """Has the source tell near-duplicates, where the command line asks for it.

    Args:
        folder: the run's, which keeps what photos look like; None where nothing is kept.

    Raises:
        RunError: it cannot be done.
    """
    if options.near is not None:
        source.near = NearDuplicates(folder / NEAR if folder else None, options.near)


def forgotten(journal: Journal, source: Source) -> str:
    """How often a run's folder has forgotten how its photos look, as text; "" for never. All is to be gone through again then.

    Args:
        journal: the run's, which takes it down.
    """
    if source.near is None:
        return ""
    before, times = json.loads(journal.get(NEAR) or "[null, 0]")
    if before != source.near.id:
        times += before is not None
        journal.set(NEAR, json.dumps([source.near.id, times]))
    return f" forgotten {times}" if times else ""


def check_near(options: RunOptions, workflows: Sequence[Workflow]) -> None:
    """
    Raises:
        RunError: near-duplicates are looked for among edits, of which one photo may have several.
    """
    judging = next((one for one in workflows if "edited" in one.aim.seconds), None)
    if options.near is not None and judging:
        raise RunError(
            f"--near: {judging.file.path.name} takes edits that were made already, of which a photo may have several; leave "
            "--near out"
        )


def workflow_names(options: RunOptions, source: Source) -> list[str]:
    """Names or paths of the run's workflows, in the order in which they run.

    Raises:
        RunError: `auto`, and the input names no task that has a workflow.
    """
    if options.workflow != AUTO:
        return list(dict.fromkeys(name.strip() for name in options.workflow.split(",") if name.strip()))
    found = source.graphs()
    if not found:
        raise RunError(
            "--workflow auto: the input names no task; route or write first (--workflow annotate with Route Task, or "
            "--workflow write), or name workflows"
        )
    return found


def check_kinds(options: RunOptions, workflows: Sequence[Workflow]) -> None:
    """
    Raises:
        RunError: kinds of edit are asked for where none are written about.
    """
    if options.kinds and workflows[0].graph.sink_class != INSTRUCTION_SINK:
        raise RunError(f"--kinds: {workflows[0].file.path.name} writes no instructions; it goes with --workflow write")
    if options.kinds and workflows[0].graph.chooses_kinds:
        for one in wanted_kinds(options.kinds):
            if one.kind.id not in KINDS:
                raise RunError(
                    f"--kinds: {workflows[0].file.path.name} writes UnicEdit's kinds, and {one.kind.id} is none of them; "
                    "take --workflow write for it"
                )


def lacks_regions(options: RunOptions, source: Source, workflows: Sequence[Workflow], cut: Shard | None) -> bool:
    """Whether some photos have no region where a workflow needs one, so that these are to be found first.

    Args:
        cut: the shard that is looked at; None for the whole input.
    """
    if options.annotate != "auto" or not any(workflow.aim.task.regions for workflow in workflows):
        return False
    return next(source.unmarked(cut), None) is not None


def finder(options: RunOptions, workflows: Sequence[Workflow]) -> Workflow | Unavailable:
    """The workflow that finds regions, on the servers of these, or why it cannot run there."""
    try:
        return workflows[0].beside(ANNOTATE.name, options.licence_policy)
    except RunError as error:
        return Unavailable(f"the annotate stage cannot run ({error})")


def planned(
    options: RunOptions,
    source: Source,
    workflows: Sequence[Workflow],
    grounding: Grounding | None,
    order: Order | None = None,
) -> Iterator[Planned]:
    """The run's samples, or a shard's, as the command line asks for them; what an earlier stage made with models that
    `--licence-policy` rules out is skipped."""
    found = _all_planned(options, source, workflows, grounding, order)
    return found if options.licence_policy == "any" else (_permitted(one, options.licence_policy) for one in found)


def _permitted(one: Planned, policy: Policy) -> Planned:
    if not isinstance(one, Sample):
        return one
    path = one.annotation.path
    try:
        why = unfit(one.annotation.all_models, policy)
    except AnnotationError as error:
        return Unusable(one.key, path, SampleFailure("input", type(error).__name__, str(error)))
    failure = SampleFailure("input", LICENCE, f"--licence-policy {policy}: {why}", skipped=True)
    return Unusable(one.key, path, failure) if why else one


def _all_planned(
    options: RunOptions,
    source: Source,
    workflows: Sequence[Workflow],
    grounding: Grounding | None,
    order: Order | None,
) -> Iterator[Planned]:
    cut = order.cut if order else None
    if options.kinds:
        chooses = workflows[0].graph.chooses_kinds
        wanted, per_region = wanted_kinds(options.kinds), options.kinds_per_region or (MAX_EDITS if chooses else 1)
        if order is None:
            quotas = Quotas(wanted, per_region)
        elif order.most is not None:
            quotas = Quotas.of_part(wanted, per_region, order.most)
        else:
            quotas = Quotas.of_shard(wanted, per_region, order.cut.index, order.of)
        if chooses:
            return source.plan_offers(quotas, workflows[0].aim, options.seed, cut)
        return source.plan_kinds(quotas, options.seed, grounding, cut)
    return source.plan([workflow.aim for workflow in workflows], options.regions, options.seed, grounding, cut)
