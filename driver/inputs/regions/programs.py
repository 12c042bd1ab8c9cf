"""The formats of regions that are read, by the names of the programs that leave them (`foreign.READ`)."""

from __future__ import annotations

from collections.abc import Callable

from .coco import Coco
from .cvat import cvat
from .files import labelme, sam
from .label_studio import label_studio
from .open_images import OpenImages
from .reader import Pictures
from .voc import pascal_voc
from .yolo import yolo

FORMATS: dict[str, Callable[[], Pictures]] = {
    "COCO": Coco,
    "LabelMe": lambda: labelme,
    "SA-1B": lambda: sam,
    "Pascal VOC": lambda: pascal_voc,
    "YOLO": lambda: yolo,
    "Label Studio": lambda: label_studio,
    "CVAT": lambda: cvat,
    "Open Images": OpenImages,
}
"""Each gives its pictures for one input, which may be gone through several times."""
