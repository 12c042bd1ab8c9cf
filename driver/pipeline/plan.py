"""What a run is to do, as the command line asks for it: which input, which workflows, which samples in which order.

Shared by the run and its dry run, so that one shows what the other does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from ..errors import RunError
from ..graph.api import INSTRUCTION_SINK
from ..graph.file import AUTO
from ..inputs.quotas import Quotas, wanted_kinds
from ..inputs.source import BUNDLED, Source
from ..journal import Journal
from ..options import RunOptions
from ..samples import Grounding, Planned
from .stage import Stage


def open_source(options: RunOptions) -> Source:
    """The run's input.

    Raises:
        RunError: it cannot be used, the output lies in it, or the kinds of edit that are asked for are unknown.
    """
    if options.kinds:
        wanted_kinds(options.kinds)
    source = Source(options.input or BUNDLED, options.image_root)
    source.refuse_output(options.output)
    return source


def workflows(options: RunOptions, source: Source) -> list[str]:
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


def check_kinds(options: RunOptions, stages: Sequence[Stage]) -> None:
    """
    Raises:
        RunError: kinds of edit are asked for where none are written about.
    """
    if options.kinds and stages[0].graph.sink_class != INSTRUCTION_SINK:
        raise RunError(f"--kinds: {stages[0].file.path.name} writes no instructions; it goes with --workflow write")


def planned(
    options: RunOptions, source: Source, stages: Sequence[Stage], grounding: Grounding | None
) -> Iterator[Planned]:
    """The run's samples, as the command line asks for them."""
    if options.kinds:
        quotas = Quotas(wanted_kinds(options.kinds), options.kinds_per_region)
        return source.plan_kinds(quotas, options.seed, grounding)
    return source.plan([stage.aim for stage in stages], options.regions, options.seed, grounding)


def outdated(journal: Journal, source: Source, plan: str) -> bool:
    """Whether the input is to be gone through: what the journal was planned from is not what there is now."""
    return journal.get("plan") != plan or (source.names_files and journal.moved(source.stamp))


def enrol(options: RunOptions, source: Source, journal: Journal, found: Iterator[Planned], plan: str) -> str:
    """Takes the run's samples down.

    Args:
        plan: what they were planned from, as `plan_of` says it; "" where nobody will ask.

    Returns:
        What to say of finished samples whose input is not what it was; "" where there are none.

    Raises:
        RunError: the input as a whole cannot be used.
    """
    enrolled = journal.enrol(found, options.limit, source.same, options.keep_stale, whole=True)
    # An input that was refused may be mended without any sign of it in what was planned from.
    journal.set("plan", "" if journal.refused_inputs() else plan)
    return enrolled.line()


def plan_of(options: RunOptions, source: Source, stages: Sequence[Stage]) -> str:
    """What decides which samples a run has: where it is the same as last time, inputs aren't gone through again."""
    chosen = [
        [[stage.graph.task, stage.words] for stage in stages],
        options.regions,
        options.annotate,
        options.limit,
        options.kinds,
        options.kinds_per_region,
        options.keep_stale,
    ]
    return json.dumps([source.fingerprint(), *chosen])


def title(stages: Sequence[Stage]) -> str:
    """What the run makes, in a word: its tasks."""
    return ", ".join(stage.graph.task for stage in stages)
