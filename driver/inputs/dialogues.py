"""From a sample of a whole dialogue to one for each of its turns: the plan, which turn waits for which, and where its picture is.

`Sampling` asks for it where a graph makes one turn at a time. What was written for the photo is the plan, and otherwise one
is drawn by template. Knows nothing of what becomes of a turn: the journal does, and `pipeline/turns.py`, which completes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from comfy_nodes.core.instructions.checks import Unfit
from comfy_nodes.core.instructions.instructions import Step, Writing, writing_json, written_in
from comfy_nodes.core.instructions.turns import Turn, check_classical, check_plan, plan_by_template, turn_writing
from comfy_nodes.core.keys import sample_seed, turn_key
from comfy_nodes.core.regions.annotation import Annotation, Region

from ..places import Locator, State
from ..samples import Plans, Sample

FIRST_ATTEMPT = 0
"""The plan is drawn by the seed of it."""

WRITTEN = (
    "the photo brings words for {task}, and no plan of its turns: run --workflow write first, or leave the words out"
)


def turns_of(
    whole: Sample, edit: tuple[Region, ...], others: Sequence[Region], plans: Plans, seed: int
) -> list[Sample]:
    """The samples of a dialogue's turns, in their order, each waiting for the one before.

    Args:
        whole: the dialogue's; its regions begin with `edit`.
        edit: what the dialogue is about.
        others: the photo's other regions; of a task about several, only those that it may be about too.
        plans: how one is made that nobody wrote.
        seed: the run's.

    Raises:
        Unfit: there can be no such dialogue; the message says why.
        AnnotationError: what was written for it is of another shape.
    """
    plan = replace(_plan(whole, edit, others, plans, seed), reply="")  # long, and of no use to a turn
    return [_turn(whole, plan, number) for number in range(1, len(plan.steps) + 1)]


def planned_about(annotation: Annotation) -> set[int]:
    """Numbers of the regions that a photo's own plan is about; none where it has no plan.

    Raises:
        AnnotationError: what was written for it is of another shape.
    """
    plan = written_in(annotation.writing, annotation.regions) if annotation.writing else None
    return {one.region for one in plan.steps if one.region is not None} if plan else set()


def _plan(whole: Sample, edit: tuple[Region, ...], others: Sequence[Region], plans: Plans, seed: int) -> Writing:
    annotation = whole.annotation
    if annotation.writing:
        plan = written_in(annotation.writing, edit)
        check_plan(whole.task, plan)
        check_classical(plan, plans.without_model)
        return plan
    if whole.instruction:
        raise Unfit(WRITTEN.format(task=whole.task))
    assert annotation.size is not None
    drawn_by = sample_seed(seed, whole.key, FIRST_ATTEMPT)
    return plan_by_template(whole.task, edit, others, annotation.size, drawn_by, plans.turns, plans.language)


def _turn(whole: Sample, plan: Writing, number: int) -> Sample:
    """
    Args:
        number: from 1.
    """
    step, writing = plan.steps[number - 1], turn_writing(plan, number)
    turn = Turn(whole.key, whole.task, number, len(plan.steps), step.base, step.op, plan.premise)
    first = number == 1
    return replace(
        whole,
        key=turn_key(whole.key, number),
        file=whole.file if first else state(whole.key, step.base),
        start="" if first else state(whole.key, 0),
        annotation=replace(
            whole.annotation,
            regions=_regions(plan, step, whole.annotation.regions),
            writing=writing_json(writing),
        ),
        instruction=writing.instruction,
        after="" if first else turn_key(whole.key, number - 1),
        turn=turn,
        plan=replace(plan, regions=()),
        # Whatever changes in the photo is seen in the first turn, which all others follow.
        pictures=whole.pictures if first else (),
        stamp=whole.stamp if first else "",
    )


def state(dialogue: str, number: int) -> Locator:
    """Where the picture lies that a dialogue's later turns may begin with: 0 before its first turn, n after turn n."""
    return State(turn_key(dialogue, max(1, number)), "output" if number else "input")


def _regions(plan: Writing, step: Step, known: Sequence[Region]) -> tuple[Region, ...]:
    """A turn's own region, those of the plan's other turns, then the photo's others. Only its own has to bear its mask."""
    own = () if step.region is None else (plan.regions[step.region],)
    others = tuple(one.model_copy(update={"mask": None}) for one in plan.regions if one not in own)
    return (*own, *others, *(one for one in known if one not in plan.regions))


def whole_plan(sample: Sample) -> Writing:
    """A turn's plan with its regions again, of which only the turn's own bears its mask."""
    assert sample.plan and sample.turn
    step = sample.plan.steps[sample.turn.number - 1]
    count = 1 + max((one.region for one in sample.plan.steps if one.region is not None), default=-1)
    own, *others = sample.annotation.regions[:count] or (None,)
    if own is None:
        return sample.plan
    others.insert(step.region or 0, own)
    return replace(sample.plan, regions=tuple(others))
