"""Which regions a task may use, and why one may not."""

from __future__ import annotations

from .annotation import Region
from .tasks import Task

MAX_OBJECT_SHARE = 0.60
"""Largest share of the photo that an object's box may cover. ImgEdit repository (object area limit)."""


def refusal(region: Region, task: Task, width: int, height: int) -> str | None:
    """Why `task` cannot use `region` of a width x height photo; None where it can."""
    if task.region == "none":
        return f"task {task.name} edits the whole photo and takes no region"
    if region.kind != task.region:
        return f"is {region.kind}, and task {task.name} edits {task.region} regions"
    share = region.area_share(width, height)
    if region.kind == "object" and share > MAX_OBJECT_SHARE:
        return f"covers {share:.0%} of the photo, more than {MAX_OBJECT_SHARE:.0%} leaves too little around it"
    return None
