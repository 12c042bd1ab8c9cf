"""Plans of several turns: which state each begins with, what may stand in one, and what one turn says of itself.

A state is a picture: 0 is the one before all turns, n the one after turn n. A plan is a `Writing` whose steps are its turns.
The driver, Take Turn and the judges of a dialogue use it. Knows regions and words, no pixels but masks, and no models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..boxes import Box, box_of
from ..keys import Key
from ..regions import rle
from ..regions.annotation import AnnotationError, Region
from ..tasks import TASKS
from ..validation import first_fault
from . import plans
from .checks import Unfit
from .instructions import Step, Writing
from .turn_checks import LEAST_TURNS as LEAST_TURNS
from .turn_checks import MOST_TURNS as MOST_TURNS
from .turn_checks import check_classical as check_classical
from .turn_checks import check_plan as check_plan
from .turn_checks import leading_to, thing_put_in
from .wording import Language

MaskFrom = Literal["photo", "carried", "regrounded"]
"""Where a turn's region comes from: the photo's annotation, that and the masks of earlier turns, or a look at the state."""

LEAST_LEFT = 0.5
"""Least share of a region's mask that turns about other things must have left, or the thing is no longer there. Ours."""

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Earlier:
    """A turn that was made before this one."""

    number: int
    base: int
    op: str
    instruction: str
    edit_mask: rle.Rle | None = None
    """Where it may have changed pixels."""


@dataclass(frozen=True, config=_STRICT)
class Turn:
    """What a turn's sample says of itself."""

    dialogue: Key
    """The key of the whole plan's sample."""
    task: str
    """The kind of dialogue: a task with several turns."""
    number: Annotated[int, Field(ge=1, le=MOST_TURNS)]
    of: Annotated[int, Field(ge=LEAST_TURNS, le=MOST_TURNS)]
    base: Annotated[int, Field(ge=0)]
    """The state that it begins with."""
    op: str
    premise: str = ""
    mask_from: MaskFrom = "photo"
    earlier: tuple[Earlier, ...] = ()
    """All turns before it, in order."""
    crop: Box | None = None
    """Which part of the photo, in its pixels, the states show, where turn 1 took a part of it."""


_TURN = TypeAdapter(Turn)


def plan_by_template(
    task: str,
    regions: Sequence[Region],
    others: Sequence[Region],
    size: tuple[int, int],
    seed: int,
    turns: int | None,
    language: Language = "en",
) -> Writing:
    """A plan that classical edits can carry out; the same seed, the same plan.

    An alteration's `target` names its colour (`classical.colour_in` finds it), a replacement's is the bundled thing's name.

    Args:
        task: one with several turns.
        regions: what is edited, in order; a content memory takes further ones from `others`.
        others: the photo's other regions.
        size: (width, height) of the photo in pixels.
        turns: `LEAST_TURNS` to `MOST_TURNS`; None for the task's own number.

    Raises:
        Unfit: the photo's regions don't allow it, or words don't tell them apart.
    """
    count = turns or TASKS[task].turns
    writing = plans.drawn(task, regions, others, size, seed, count, language)
    check_plan(task, writing)
    return writing


def turn_writing(writing: Writing, number: int) -> Writing:
    """One turn, counted from 1, as a writing of its own: a single step on the photo that its state is.

    Its region is as the plan has it; how earlier turns left it, `region_after` tells.
    """
    step = writing.steps[number - 1]
    regions = () if step.region is None else (writing.regions[step.region],)
    alone = replace(step, region=0 if regions else None, base=0)
    return replace(
        writing,
        instruction=step.instruction,
        target=step.target,
        editor_prompt=step.editor_prompt,
        steps=(alone,),
        regions=regions,
        other="",
        task="",
        subtask="",
    )


def region_after(writing: Writing, number: int, earlier: Sequence[Earlier]) -> tuple[Region | None, MaskFrom]:
    """A turn's region in the state that it begins with, and where that comes from; None of a turn about the whole picture.

    A thing that was put in lies where that turn changed pixels and bears the new thing's name. Of a region that turns about
    other things cut into, what they left stays.

    Args:
        earlier: the turns that were made, with their masks; those that don't lead to that state are passed over.

    Raises:
        Unfit: the thing is not there in that state.
    """
    step = writing.steps[number - 1]
    if step.region is None:
        return None, "photo"
    region = writing.regions[step.region]
    made = {one.number: one for one in earlier}
    mask_from: MaskFrom = "photo"
    for before in leading_to(writing.steps, step.base):
        past, done = writing.steps[before - 1], made.get(before)
        mask = done.edit_mask if done else None
        if past.region == step.region:
            left = _changed(region, past, mask)
        elif past.op in ("remove", "replace"):
            left = _cut(region, mask, number, before)
        else:
            continue
        mask_from = mask_from if left is region and past.op == "add" else "carried" if left is not region else mask_from
        region = left
    return region, mask_from


def _changed(region: Region, past: Step, mask: rle.Rle | None) -> Region:
    """A region after a turn about it: an addition and another look leave its outline as it was."""
    if past.op == "remove":
        raise Unfit(f"the {region.class_name or 'thing'} was removed before")
    if past.op != "replace":
        return region
    update: dict[str, Any] = {"class_name": thing_put_in(past), "score": None, "clip_score": None, "sam_iou": None}
    box = box_of(rle.decode(mask)) if mask else None
    if box:
        update |= {"mask": mask, "bbox": tuple(map(float, box))}
    return region.model_copy(update=update)


def _cut(region: Region, mask: rle.Rle | None, number: int, before: int) -> Region:
    """A region without what a turn about another thing has changed."""
    if mask is None or region.mask is None or mask.size != region.mask.size:
        return region
    own = rle.decode(region.mask)
    left = own & ~rle.decode(mask)
    kept = int(np.count_nonzero(left))
    if kept == np.count_nonzero(own):
        return region
    box = box_of(left)
    if box is None or kept < LEAST_LEFT * np.count_nonzero(own):
        raise Unfit(
            f"turn {before} has changed most of what turn {number} is about, the {region.class_name or 'thing'}"
        )
    return region.model_copy(update={"mask": rle.encode(left), "bbox": tuple(map(float, box))})


def dialogue_words(premise: str, instructions: Sequence[str], language: Language) -> str:
    """All turns so far in order, numbered, the premise before them: what a judge of the whole reads."""
    heads: dict[Language, tuple[str, str]] = {"en": ("Premise: ", "{}. "), "zh": ("前提：", "{}. ")}  # noqa: RUF001
    before, counted = heads[language]
    lines = [before + premise] if premise else []
    lines += [counted.format(number) + one for number, one in enumerate(instructions, 1)]
    return "\n".join(lines)


def kept_turns(task: str, verdicts: Sequence[str], bases: Sequence[int]) -> int:
    """How many turns, from the first, make a dialogue of this kind that may be kept; 0 where they make none.

    Args:
        verdicts: of each turn that was made, in order: `keep`, `reject` or `unscored`.
        bases: the state that each begins with.
    """
    kept = len(list(takewhile(lambda one: one == "keep", verdicts)))
    back = any(base < number for number, base in enumerate(bases[:kept]))
    return kept if kept >= LEAST_TURNS and (back or task != "version_backtracking") else 0


def turn_json(turn: Turn) -> dict[str, Any]:
    """A turn as an annotation holds it."""
    found: dict[str, Any] = _TURN.dump_python(turn, mode="json")
    return found


def turn_of(item: Mapping[str, Any]) -> Turn:
    """What `turn_json` made.

    Raises:
        AnnotationError: it is of another shape.
    """
    try:
        return _TURN.validate_python(dict(item) if isinstance(item, Mapping) else item)
    except ValidationError as error:
        raise AnnotationError(first_fault(error, "turn")) from None
