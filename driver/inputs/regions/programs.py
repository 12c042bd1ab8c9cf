"""The formats of regions that are read, by the names of the programs that leave them (`foreign.READ`)."""

from __future__ import annotations

from collections.abc import Callable

from .coco import Coco
from .files import labelme, pascal_voc, sam
from .reader import Pictures
from .yolo import yolo

FORMATS: dict[str, Callable[[], Pictures]] = {
    "COCO": Coco,
    "LabelMe": lambda: labelme,
    "SA-1B": lambda: sam,
    "Pascal VOC": lambda: pascal_voc,
    "YOLO": lambda: yolo,
}
"""Each gives its pictures for one input, which may be gone through several times."""
