"""Annotations in the formats of other programs: told by their fields, so that a message can name them. None is read."""

from __future__ import annotations

import re
from typing import Any

from .storage import Storage
from .words import labels_in

_OBJECTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("COCO", ("images", "annotations")), ("COCO", ("images", "categories")), ("COCO", ("annotations", "categories")),
    ("COCO", ("info", "images")), ("COCO", ("image_id", "category_id")), ("LabelMe", ("shapes", "imagePath")),
    ("LabelMe", ("shapes", "imageData")), ("LabelMe", ("shapes", "imageHeight")), ("VIA", ("_via_img_metadata",)),
    ("VIA", ("_via_settings",)), ("VIA", ("filename", "regions")), ("Label Studio", ("data", "annotations")),
    ("Label Studio", ("data", "predictions")), ("Label Studio", ("data", "completions")),
    ("Label Studio", ("annotator", "lead_time")), ("CreateML", ("image", "annotations")),
    ("Supervisely", ("objects", "size")), ("Labelbox", ("data_row", "projects")), ("Scalabel", ("name", "labels")),
    ("SageMaker Ground Truth", ("source-ref",)), ("imagefolder", ("file_name",)), ("img2dataset", ("caption", "url")),
)  # fmt: skip
"""Programs, and fields that tell their objects from all others."""

LISTS = frozenset({"images", "annotations", "categories"})
"""Members that are long lists in COCO's only object."""

_TABLES = (("Open Images", "ImageID,"), ("VIA", "region_shape_attributes"), ("a detector's", "xmin"))
"""Programs, and what stands in the first line of their tables."""

_WHAT_TO_DO = {
    "imagefolder": "call the photo's path path, or pack photos and lines as parquet",
    "img2dataset": "give the folder or the tars that it lies in",
}

_HEAD = 64 * 1024
"""Bytes that are looked at of a file that is no input itself."""

_ENDS = (".json", ".jsonl", ".xml", ".csv", ".yaml", ".yml", ".txt")
_LOOKED_AT = 8
"""How many files of a folder are looked at, at most."""


def kind_of(item: Any) -> str:
    """The program whose annotation an object is; "" for our own and for unknown ones."""
    if not isinstance(item, dict) or "path" in item or "original_path" in item:
        return ""
    return next((name for name, fields in _OBJECTS if all(field in item for field in fields)), "")


def advice(kind: str) -> str:
    """What is to be said of annotations of a program's, and what to do."""
    todo = _WHAT_TO_DO.get(kind, "turn them into ImgEdit annotations, or into NAME.mask.png beside each photo")
    return f"{kind} annotations, which are not read: {todo} (docs/inputs.md)"


def beside(storage: Storage, names: list[str]) -> str:
    """The first of some files that holds another program's annotations, as `NAME holds … annotations, …`; "" for none.

    Args:
        names: files by name in `storage`; only the first that could hold annotations are looked at.
    """
    for name in [one for one in names if one.lower().endswith(_ENDS)][:_LOOKED_AT]:
        try:
            with storage.open(name) as file:
                head = file.read(_HEAD).decode("utf-8", "replace")
        except OSError:
            continue
        if kind := _kind_of_text(name.lower(), head):
            return f"{name.rpartition('/')[2]} holds {advice(kind)}"
    return ""


def _kind_of_text(name: str, head: str) -> str:
    if name.endswith(".xml"):
        return "CVAT" if "<annotations" in head else "Pascal VOC" if "<annotation" in head else ""
    if name.endswith(".csv"):
        first = head.partition("\n")[0]
        return next((kind for kind, sign in _TABLES if sign in first), "")
    if name.endswith((".yaml", ".yml")):
        return "YOLO" if re.search(r"^names\s*:", head, re.MULTILINE) else ""
    if name.endswith(".txt"):
        return "YOLO" if labels_in(head.rpartition("\n")[0] or head) else ""
    return kind_of(dict.fromkeys(re.findall(r'"([\w-]+)"\s*:', head)))
