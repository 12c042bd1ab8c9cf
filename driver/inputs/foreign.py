"""Annotations in the formats of other programs, told by their content: those that are read, and those that a message can name."""

from __future__ import annotations

import codecs
import io
import re
from typing import Any

import ijson  # type: ignore[import-untyped]

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

READ = {
    "COCO": ".json",
    "LabelMe": ".json",
    "SA-1B": ".json",
    "Label Studio": ".json",
    "Pascal VOC": ".xml",
    "CVAT": ".xml",
    "YOLO": ".txt",
    "Open Images": ".csv",
}
"""Programs whose annotations are read, each with how its files end."""

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
    if kind in READ:
        return f"{kind} annotations, which are read as an input of their own: give {'their folder' if kind == 'YOLO' else 'them'} with --input (docs/inputs.md)"
    todo = _WHAT_TO_DO.get(kind, "turn them into ImgEdit annotations, or into NAME.mask.png beside each photo")
    return f"{kind} annotations, which are not read: {todo} (docs/inputs.md)"


def beside(storage: Storage, names: list[str]) -> str:
    """The first of some files that holds another program's annotations, as `NAME holds … annotations, …`; "" for none.

    Args:
        names: files by name in `storage`; only the first that could hold annotations are looked at.
    """
    found = program_of(storage, names)
    return f"{found[1].rpartition('/')[2]} holds {advice(found[0])}" if found else ""


def program_of(storage: Storage, names: list[str]) -> tuple[str, str] | None:
    """The program that left the first of some files which any did, and this file; None for none.

    Args:
        names: as `beside` has them.
    """
    for name in [one for one in names if one.lower().endswith(_ENDS)][:_LOOKED_AT]:
        try:
            with storage.open(name) as file:
                head = file.read(_HEAD)
        except OSError:
            continue
        kind = _kind_of_json(head) if name.lower().endswith(".json") else ""
        if kind := kind or _kind_of_text(name.lower(), head.decode("utf-8", "replace")):
            return kind, name
    return None


def _kind_of_json(head: bytes) -> str:
    """The program of an object, or of a list's first, of which there is the beginning alone."""
    tops: dict[str, str] = {}
    inner: set[str] = set()
    depth, key = 0, ""
    first = ""
    try:
        for kind, value in ijson.basic_parse(io.BytesIO(head.removeprefix(codecs.BOM_UTF8)), use_float=True):
            first = first or kind
            level = depth - (first == "start_array")
            if kind == "end_map" and level == 1:
                break
            if kind == "map_key" and level == 1:
                key = value
            elif kind == "map_key":
                inner.add(value)
            elif level == 1 and key and not kind.startswith("end_"):
                tops.setdefault(key, kind)
            depth += kind.startswith("start_") - kind.startswith("end_")
    except ijson.JSONError:
        pass  # cut off, as it is the beginning alone
    if (
        first == "start_array"
        and "data" in tops
        and "start_array" in (tops.get("annotations"), tops.get("predictions"))
    ):
        return "Label Studio"
    if "path" in tops or first != "start_map":
        return ""
    if tops.get("shapes") == "start_array" and inner >= {"label", "points"}:
        return "LabelMe"
    if tops.get("image") == "start_map" and tops.get("annotations") == "start_array":
        return "SA-1B"
    lists = [one for one in LISTS if tops.get(one) == "start_array"]
    return "COCO" if "images" in lists or (lists and {"image_id", "category_id"} <= inner) else ""


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
