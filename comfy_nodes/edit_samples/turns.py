"""Samples that are one turn of a dialogue: as a batch says, or as a person plays it, turn by turn.

Take Turn calls it, and Load Edit Sample for turns that are judged again. What a dialogue is and which ones there may be is `core.instructions.turns`' matter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from ..core.instructions.instructions import Step, Writing
from ..core.instructions.turns import (
    Earlier,
    Turn,
    check_plan,
    dialogue_words,
    plan_by_template,
    region_after,
    turn_of,
    turn_writing,
)
from ..core.instructions.wording import Language
from ..core.keys import Key, sample_key, turn_key
from ..core.regions.annotation import Region
from ..core.tasks import TASKS, WORK
from ..files.dialogues import SavedTurn, turns_before
from ..wires.sockets import EditSample
from ..wires.tensors import to_image

TURN = "turn"
"""Where a batch's sample says in its annotation which turn it is."""


@dataclass(frozen=True)
class Taken:
    """A turn that is to be made."""

    sample: EditSample
    """Its `source` is the state that the turn begins with."""
    dialogue: str
    """All turns up to this one, in words."""
    start: torch.Tensor
    """IMAGE [1, H, W, 3]: the picture that the dialogue began with; before the first turn, its `source`."""


def told_turn(sample: EditSample) -> Turn | None:
    """Which turn a batch's sample is; None where a person plays."""
    told = sample.further.get(TURN)
    return None if told is None else turn_of(told)


def turn_made(task: str, carried: Mapping[str, Any]) -> Turn | None:
    """Which turn an edit is that was made and recorded before; None of an edit without turns.

    Args:
        task: what its row is filed under.
        carried: what its row says of it.
    """
    told = carried.get(TURN)
    return None if told is None else turn_of({**told, "task": task})


def taken_by_batch(sample: EditSample, turn: Turn) -> Taken:
    """The turn that a batch asks for: its sample has everything already.

    Raises:
        ValueError: the graph does not load the dialogue's first picture.
    """
    start = sample.source if turn.number == 1 else sample.images.get("start")
    if start is None:
        raise ValueError(
            "a later turn needs the picture that its dialogue began with: put Load Second Image with role "
            "'start if its task needs it' before Take Turn"
        )
    # Behind its own region stands that of another turn, where the task has two: Load Edit Sample took it for one of this edit.
    alone = tuple(replace(one, regions=one.regions[:1]) for one in sample.writings)
    others = (*sample.also, *sample.others)
    crop = turn.crop or sample.crop
    return _taken(replace(sample, task=turn.op, turn=turn, also=(), others=others, writings=alone, crop=crop), start)


def taken_by_hand(sample: EditSample, number: int, turns: int, language: Language, folder: str) -> Taken:
    """The turn that a person asks for, of the plan that was written for the sample, or else by template. Earlier turns are
    those which Save Edit Pair saved.

    Args:
        number: from 1.
        turns: how many the template is to have; 0 for its own number.
        folder: Save Edit Pair's.

    Raises:
        ValueError: the task has no turns, the plan not this one, or an earlier one was not made yet.
        Unfit: no dialogue can be had of this photo, or it cannot go on.
    """
    task = sample.task
    if task not in TASKS or TASKS[task].turns == 1:
        several = ", ".join(name for name, one in WORK.items() if one.turns > 1)
        raise ValueError(f"task {task} has no turns: choose one of {several} in Load Edit Sample")
    plan = sample.writing
    if plan is None and sample.instruction.strip():
        raise ValueError(
            f"{sample.instruction!r} is no plan of turns: leave instruction in Load Edit Sample empty, and the dialogue is "
            "written by template, or paste a line that the write stage wrote into annotation"
        )
    if plan is None or len(plan.steps) < 2:
        plan = plan_by_template(task, sample.regions, sample.others, sample.size, sample.seed, turns or None, language)
    check_plan(task, plan)
    if number > len(plan.steps):
        raise ValueError(f"the dialogue has {len(plan.steps)} turns, and turn {number} is asked for")
    step, dialogue = plan.steps[number - 1], _dialogue(sample, plan)
    made = turns_before(folder, dialogue, [one.base for one in plan.steps[: number - 1]])
    earlier = _earlier(plan, made)
    region, mask_from = region_after(plan, number, earlier)
    writing = replace(turn_writing(plan, number), regions=(region,) if region else ())
    turn = Turn(dialogue, task, number, len(plan.steps), step.base, step.op, plan.premise, mask_from, earlier)
    origin = sample.provenance.model_copy(update={"key": turn_key(dialogue, number)})
    done = replace(
        _at(sample, made, step.base), task=step.op, region=region, also=(), instruction=writing.instruction,
        others=_others(sample, plan, step), writings=(writing,), provenance=origin, turn=turn,
    )  # fmt: skip
    return _taken(done, done.images.get("start", done.source))


def _taken(sample: EditSample, start: torch.Tensor) -> Taken:
    turn = sample.turn
    assert turn is not None
    said = [*(one.instruction for one in turn.earlier), sample.instruction]
    language = sample.writing.lang if sample.writing else "en"
    return Taken(sample, dialogue_words(turn.premise, said, language), start)


def _dialogue(sample: EditSample, plan: Writing) -> Key:
    """The dialogue's key: another photo, region, seed or plan is another dialogue."""
    told = [
        sample.provenance.source_sha256,
        sample.seed,
        plan.lang,
        plan.premise,
        [asdict(step) for step in plan.steps],
    ]
    content = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return sample_key(sample.provenance.source_id, sample.region, sample.task, content)


def _others(sample: EditSample, plan: Writing, step: Step) -> tuple[Region, ...]:
    own = None if step.region is None else plan.regions[step.region]
    return tuple(one for one in (*sample.regions, *sample.others) if one != own)


def _earlier(plan: Writing, made: Sequence[SavedTurn]) -> tuple[Earlier, ...]:
    return tuple(
        Earlier(number, step.base, step.op, one.record.prompt, one.record.edit_mask)
        for number, (step, one) in enumerate(zip(plan.steps, made, strict=False), 1)
    )


def _at(sample: EditSample, made: Sequence[SavedTurn], base: int) -> EditSample:
    """The sample with the state that its turn begins with in the place of the photo.

    Raises:
        ValueError: earlier turns scaled the photo, so that its regions are other pixels.
    """
    if not made:
        return sample
    start, state = made[0].before, made[base - 1].after if base else made[0].before
    height, width = state.shape[:2]
    if (width, height) != sample.size:
        raise ValueError(
            f"turn {base} left a picture of {width} x {height} pixels, and the photo is {sample.size[0]} x "
            f"{sample.size[1]}: its regions are other pixels there; take a graph that leaves the photo's size as it is"
        )
    return replace(sample, source=to_image(state), images={**sample.images, "start": to_image(start)})
