"""The edit tasks and the stages before them by name: the only task table of the project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RegionNeed = Literal["object", "background", "none", "any"]


@dataclass(frozen=True)
class Task:
    """One edit task of ImgEdit (arXiv 2505.20275: ten single-turn and three multi-turn tasks)."""

    name: str
    region: RegionNeed
    """Which kind of annotated region the task edits; `none` where it takes the whole photo, `any` where a region only
    says where the edit is meant, if anybody knows."""
    regions: int = 1
    """How many such regions one edit is about; 0 where it takes the whole photo."""
    turns: int = 1
    """How many instructions one sample has."""
    second: Literal["", "reference", "frame2"] = ""
    """The picture beside the photo that it is made with; empty where the photo is enough."""
    open: bool = False
    """Whether a sample brings its own task with it."""


BY_TASK = "its task needs it"
"""Load Second Image's choice for graphs of several tasks: only samples of those made with such a picture load one."""

_TASKS = (
    Task("add", "object"),
    Task("remove", "object"),
    Task("replace", "object"),
    Task("alter", "object"),
    Task("background", "background"),
    Task("motion", "none", regions=0, second="frame2"),
    Task("style", "none", regions=0),
    Task("extract", "object"),
    Task("visual", "object", second="reference"),
    Task("hybrid", "object", regions=2),
    Task("content_memory", "object", regions=2, turns=2),
    Task("content_understanding", "object", turns=3),
    Task("version_backtracking", "object", turns=3),
)

TASKS: dict[str, Task] = {task.name: task for task in _TASKS}

ANNOTATE = Task("annotate", "none", regions=0)
"""The stage that finds a photo's regions."""

INSTRUCT = Task("instruct", "any", regions=0, open=True)
"""Whatever an instruction asks for: what end-to-end editors make. The task of a sample that names no other."""

VERIFY = Task("verify", "any", regions=0, open=True)
"""The stage that judges edits which were made already."""

SYNTHESIZE = Task("synthesize", "none", regions=0)
"""The stage that paints photos from captions."""

EMBED = Task("embed", "none", regions=0)
"""The stage that makes vectors of photos, or of words, by which they are found."""

WORK: dict[str, Task] = {
    **TASKS,
    **{stage.name: stage for stage in (INSTRUCT, ANNOTATE, VERIFY, SYNTHESIZE, EMBED)},
}
"""What a graph can be for: an edit task or a stage."""


def task_named(name: str) -> Task:
    """The task or stage called `name`.

    Raises:
        ValueError: no such task; the message lists the known ones.
    """
    try:
        return WORK[name]
    except KeyError:
        raise ValueError(f"unknown task {name!r}; known tasks: {', '.join(WORK)}") from None
