"""Kinds of edit that a router decides on for a photo: which may be asked about, which of them a photo rules out by
itself, and what its word means for kinds that are asked for later.

Route Task and the planner of samples read it. ImgEdit's tasks are called by their bare names here, others by their ids.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..regions.annotation import Region
from ..regions.eligibility import refusal
from ..tasks import TASKS, Task, task_named
from ..taxonomy import TAXONOMY, Kind
from .scenes import Scene, second_region

ROUTED: tuple[str, ...] = tuple(name for name in TASKS if name != "motion")
"""ImgEdit's tasks that a router may choose from: those that one photo suffices for."""

NO_WORDS = "no words were read in the photo"


def name_of(kind: Kind) -> str:
    """What a router calls it."""
    return kind.name if kind.scheme == "imgedit" else kind.id


def routed_kinds(names: Sequence[str]) -> list[Kind]:
    """Kinds by their routers' names; a scheme's name stands for all of its kinds that one photo suffices for.

    Raises:
        ValueError: a kind that is unknown, or is not routed.
    """
    found: dict[str, Kind] = {}
    for name in names:
        meant = [
            kind for kind in TAXONOMY.values() if name in (kind.scheme, kind.id, name_of(kind)) and _suffices(kind)
        ]
        if not meant:
            raise ValueError(
                f"task {name} cannot be routed; known: {', '.join(ROUTED)}, a kind of edit such as "
                "scaleedit/1.2_tone_adjustment, and unicedit or scaleedit for all of its kinds"
            )
        found |= {kind.id: kind for kind in meant}
    return list(found.values())


def routable(kinds: Sequence[Kind], scene: Scene) -> tuple[list[Kind], dict[str, str]]:
    """The kinds that a scene's region allows, and by name why it does not allow the others. Where none is chosen yet, one
    of the photo's regions has to allow it; where nobody has looked for regions, only its words can rule something out."""
    fitting: list[Kind] = []
    unfit: dict[str, str] = {}
    for kind in kinds:
        why = _obstacle(kind, scene)
        if why is None:
            fitting.append(kind)
        else:
            unfit[name_of(kind)] = why
    return fitting, unfit


def accepts(routed: Collection[str], kind: Kind) -> bool:
    """Whether a router accepted a kind, by itself or by the task that it is filed under. A router that knows ImgEdit's tasks
    alone says nothing of kinds that none of these is near.

    Args:
        routed: names that it accepted.
    """
    silent = task_named(kind.task).open and not any(name in TAXONOMY for name in routed)
    return silent or name_of(kind) in routed or kind.task in routed


def accepts_task(routed: Collection[str], task: str) -> bool:
    """Whether a router accepted a task, or a kind that is filed under it."""
    return any(name == task or (name in TAXONOMY and TAXONOMY[name].task == task) for name in routed)


def _suffices(kind: Kind) -> bool:
    """Whether one photo does, without a second frame."""
    return kind.prompt is not None and kind.shape != "motion"


def _obstacle(kind: Kind, scene: Scene) -> str | None:
    task = task_named(kind.task)
    if not task.regions:
        return None
    candidates = scene.regions[:1] or scene.others
    if kind.shape == "text" and scene.words is not None:
        if not scene.words:
            return NO_WORDS
        candidates = scene.words
    elif not candidates and not scene.grounded:
        return None
    found = [_refused(one, task, [two for two in scene.others if two is not one], scene) for one in candidates]
    return None if None in found else next(iter(found), "the sample has no region")


def _refused(region: Region, task: Task, others: Sequence[Region], scene: Scene) -> str | None:
    why = refusal(region, task, scene.width, scene.height)
    if why is None and task.regions > 1 and second_region(region, others, scene.width, scene.height, 0) is None:
        return "no other named box lies far enough from the region"
    return why
