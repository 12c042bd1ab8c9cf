"""Which regions a task may use."""

from __future__ import annotations

import re

import pytest

from comfy_nodes.core.regions.annotation import Region, RegionKind
from comfy_nodes.core.regions.eligibility import refusal
from comfy_nodes.core.tasks import TASKS, task_named

SMALL = (0.0, 0.0, 10.0, 10.0)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
@pytest.mark.parametrize("kind", ["object", "background"])
def test_a_task_takes_its_kind_of_region(task, kind: RegionKind) -> None:
    why = refusal(Region(class_name="cup", kind=kind, bbox=SMALL), task, 100, 100)
    assert (why is None) == (task.region == kind)
    if why is not None:
        assert task.name in why


@pytest.mark.parametrize(
    ("box", "fits"), [((0, 0, 60, 100), True), ((0, 0, 61, 100), False), ((0, 0, 100, 60), True), ((0, 0, 100, 100), False)]
)  # fmt: skip
def test_an_object_leaves_something_around_it(box: tuple[float, float, float, float], fits: bool) -> None:
    """ImgEdit's limit: 60 % of the photo."""
    why = refusal(Region(class_name="cup", bbox=box), task_named("remove"), 100, 100)
    assert (why is None) == fits
    if why is not None:
        assert re.search("more than 60 ?%", why)


def test_the_ten_and_three_tasks_of_imgedit() -> None:
    names = ["add", "remove", "replace", "alter", "background", "motion", "style", "extract", "visual", "hybrid"]
    assert list(TASKS) == [*names, "content_memory", "content_understanding", "version_backtracking"]
    with pytest.raises(ValueError, match="unknown task 'delete'; known tasks: add, remove"):
        task_named("delete")
