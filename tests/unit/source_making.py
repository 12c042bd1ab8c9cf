"""What tests of inputs make and take apart: small pictures as bytes, samples and reasons by id."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Annotation
from comfy_nodes.core.tasks import Task, task_named
from driver.inputs.source import Source
from driver.samples import Aim, Planned, Sample, Unusable

REMOVE, STYLE = task_named("remove"), task_named("style")
SIZE = (40, 30)
BOX = (4, 5, 20, 15)


def picture(colour: str = "grey", kind: str = "JPEG", size: tuple[int, int] = SIZE) -> bytes:
    """A photo's file."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def mask_picture(box: tuple[int, int, int, int] = BOX) -> bytes:
    """A mask's file: white is the object."""
    buffer = io.BytesIO()
    image = Image.new("L", SIZE)
    image.paste(255, box)
    image.save(buffer, "PNG")
    return buffer.getvalue()


def mask_rle(box: tuple[int, int, int, int] = BOX) -> dict[str, object]:
    """The same mask as COCO RLE."""
    image = Image.new("L", SIZE)
    image.paste(1, box)
    return rle.encode(np.asarray(image)).model_dump(mode="json")


def plan(source: Source, task: Task = REMOVE) -> list[Planned]:
    return list(source.plan([Aim(task)], "all", 0))


def samples(planned: Iterable[Planned]) -> list[Sample]:
    return [one for one in planned if isinstance(one, Sample)]


def ids(planned: Iterable[Planned]) -> list[str]:
    return [one.annotation.path for one in samples(planned)]


def reasons(planned: Iterable[Planned]) -> dict[str, str]:
    return {one.source_id: one.failure.message for one in planned if isinstance(one, Unusable)}


class Found:
    """A grounding that holds what a test gives it."""

    nothing = "the annotate stage found nothing"

    def __init__(self, annotations: Iterable[Annotation]):
        self._by_id = {one.path: one for one in annotations}

    def annotation(self, source_id: str) -> Annotation | None:
        return self._by_id.get(source_id)

    def reason(self, source_id: str) -> str:
        return "the detector broke off"
