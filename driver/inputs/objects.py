"""An `objects` column of parquet, as detection data sets on the hub have it: a row's boxes with their classes.

A struct of lists or a list of structs. Names of numbered classes stand in the schema, where `datasets` keeps its features.
Whether a box is a corner with width and height or two corners no row tells alone: many rows do, where one of the two cannot be.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from comfy_nodes.core.regions.annotation import AnnotationError

from .photo import InputError
from .regions.marked import Marked, box, name_of_class, number
from .shares import Boxes

COLUMN = "objects"
BOXES = ("bbox", "bboxes", "boxes")
CLASSES = ("category", "categories", "label", "labels", "class_name", "class", "name", "category_id")
"""What its members may be called; the first that is there counts."""

ROWS = 2000
"""Rows that are looked at to tell boxes' form, at most. Ours."""

ENOUGH = 500
"""Boxes after which no more are looked at, where they are of one form. Ours."""

STRAY = 0.01
"""More boxes than this share are wrong in no form that is the right one. Ours: annotators err, but not so often."""

BEYOND = 2.0
"""Pixels by which a box may leave its photo. Ours: rounding."""


@dataclass(frozen=True)
class Objects:
    """How a shard's column holds objects."""

    boxes: str
    classes: str
    """Empty where objects have none."""
    names: tuple[str, ...] | None
    """Of numbered classes; None where the schema tells none."""

    def each(self, value: Any) -> list[Mapping[str, Any]]:
        """A row's objects.

        Raises:
            AnnotationError: its lists are of different lengths, or no lists.
        """
        if isinstance(value, list):
            return [one for one in value if isinstance(one, dict)]
        lists = {name: one for name, one in value.items() if isinstance(one, list)}
        drawn = lists.get(self.boxes, [])
        if self.classes and len(lists.get(self.classes, [])) != len(drawn):
            raise AnnotationError(
                f"its objects have {len(drawn)} {self.boxes} and {len(lists.get(self.classes, []))} {self.classes}"
            )
        return [{name: one[at] for name, one in lists.items() if at < len(one)} for at in range(len(drawn))]

    def drawn(self, value: Any) -> list[Any]:
        """A row's boxes."""
        members = value if isinstance(value, list) else [value]
        lists = [one.get(self.boxes) for one in members if isinstance(one, dict)]
        return lists if isinstance(value, list) else (lists[0] if lists else None) or []

    def marked(self, value: Any, form: Boxes) -> Marked:
        """What a row marks."""
        found = Marked("", None)
        for at, one in enumerate(self.each(value) if value is not None else ()):
            told = one.get(self.classes) if self.classes else None
            name = self._name(told)
            label = f"object {at} ({name})" if name else f"object {at}"
            if one.get("iscrowd") or one.get("is_crowd"):
                found.left_out.append(f"{label}: a crowd, which is no region of one thing")
            elif name is None and told is not None:
                found.faults.append(f"{label}: its {self.classes} {told} has no name in the file")
            else:
                found.add(label, name, partial(_shape, one.get(self.boxes), form), score=one.get("score"))
        return found

    def _name(self, value: Any) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return name_of_class(self.names[value]) if self.names and 0 <= value < len(self.names) else None
        return name_of_class(value) if isinstance(value, str) else None


def objects_in(schema: pa.Schema) -> Objects | None:
    """How a shard's column of objects is made; None where it has none."""
    if COLUMN not in schema.names:
        return None
    kind = schema.field(COLUMN).type
    members = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
    if not pa.types.is_struct(members):
        return None
    held = [one.name for one in members]
    boxes, classes = (next((one for one in known if one in held), "") for known in (BOXES, CLASSES))
    return Objects(boxes, classes, _names(schema, classes)) if boxes else None


def _names(schema: pa.Schema, classes: str) -> tuple[str, ...] | None:
    """The names of `datasets`' ClassLabel."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = _below(_below(features[COLUMN], classes), "names")
        return tuple(map(str, found))
    except (KeyError, ValueError, TypeError):
        return None


def _below(feature: Any, name: str) -> Any:
    """What stands under a name in a feature, within the lists that may be around it."""
    while isinstance(feature, list) or (isinstance(feature, dict) and name not in feature and "feature" in feature):
        feature = feature[0] if isinstance(feature, list) else feature["feature"]
    return feature[name]


def _shape(drawn: Any, form: Boxes) -> dict[str, Any]:
    if not isinstance(drawn, list | tuple) or len(drawn) != 4:
        raise AnnotationError("its box has no four numbers")
    x1, y1, x2, y2 = (number(one) for one in drawn)
    if form == "xyxy":
        return box(x1, y1, x2, y2)
    if x2 <= 0 or y2 <= 0:
        raise AnnotationError(f"its box has no area: {x2:g} x {y2:g}")
    return box(x1, y1, x1 + x2, y1 + y2)


@dataclass
class BoxForms:
    """Boxes of rows, counted by what they can be."""

    boxes: int = 0
    no_corners: int = 0
    """That are not two corners, as the second does not lie behind the first."""
    no_sizes: int = 0
    """That are no corner with width and height, as they would leave their photo."""
    shares: int = 0
    """Whose numbers are all 1 at most."""

    def add(self, drawn: Iterable[Any], size: tuple[int, int] | None) -> None:
        """Counts a row's.

        Args:
            size: the photo's (width, height); None where nobody knows.
        """
        for one in drawn:
            try:
                x1, y1, x2, y2 = (number(value) for value in one)
            except (AnnotationError, TypeError, ValueError):
                continue  # said when its turn comes
            self.boxes += 1
            self.no_corners += x2 < x1 or y2 < y1
            self.no_sizes += size is not None and (x1 + x2 > size[0] + BEYOND or y1 + y2 > size[1] + BEYOND)
            self.shares += max(abs(value) for value in (x1, y1, x2, y2)) <= 1

    @property
    def clear(self) -> bool:
        """Whether more boxes would hardly tell it otherwise."""
        most = STRAY * self.boxes
        return self.boxes >= ENOUGH and (self.no_corners <= most) != (self.no_sizes <= most)

    def form(self) -> Boxes:
        """
        Raises:
            InputError: they do not tell it.
        """
        most = STRAY * self.boxes
        if not self.boxes:
            return "xywh"
        if self.shares >= self.boxes - most:
            raise InputError(
                f"the boxes of its {COLUMN} are shares of the photo, which are not read; write them in pixels"
            )
        corners, sizes = self.no_corners <= most, self.no_sizes <= most
        if corners and sizes:
            raise InputError(
                f"its {COLUMN} have boxes that may be x, y, width, height or two corners, of {self.boxes} that were looked at: "
                "say it with --boxes xywh or --boxes xyxy"
            )
        if not corners and not sizes:
            raise InputError(
                f"its {COLUMN} have boxes of which {self.no_corners} of {self.boxes} are not two corners and {self.no_sizes} no "
                "corner with width and height in their photo: correct them, or say what they are with --boxes xywh|xyxy"
            )
        return "xyxy" if corners else "xywh"
