"""What an input says of one photo, read from a JSON object or a table's row: region, instruction, origin.

One vocabulary for annotation files, parquet columns and the `.json` of a webdataset sample. Three spellings of an
object are understood: ImgEdit's annotation, ImgEdit's task file, and a flat one with a box or a mask of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from comfy_nodes.core import texts
from comfy_nodes.core.records import CARRIED, PROMPTS
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Annotation, AnnotationError, parse_annotation, region_of_mask
from comfy_nodes.core.tasks import TASKS
from comfy_nodes.core.taxonomy import TAXONOMY, Kind
from comfy_nodes.core.validation import first_fault

from ..samples import SECONDS
from .photo import Told
from .task_files import is_task, task_of_item, task_regions, task_words, task_writing
from .words import no_words

NAMES: dict[str, tuple[str, ...]] = {
    "instruction": ("instruction", "edit_instruction", "edit_prompt", "prompt", "prompt_en"),
    "reference": ("reference", "reference_image", "ref_image"),
    "frame2": ("frame2",),
    "edited": ("edited", "edited_image", "edit_image", "output_images", "target_image"),
    "class_name": ("class_name",),
    "bbox": ("bbox",),
    "mask": ("mask",),
    "kind": ("kind",),
    "task": ("task",),
    "subtask": ("subtask",),
    "kind_of_edit": ("kind_of_edit", "edit_subtask", "edit_task"),
    "slot": ("slot",),
    "key": ("key",),
    "source_licence": ("source_licence", "licence", "license"),
    "reasoning_points": ("reasoning_points",),
    "source_url": ("source_url", "url"),
}
"""What each field of a photo may be called; the first name that is there counts. `edit_instruction` is ScaleEdit's,
`prompt_en` UnicEdit's, `edit_prompt` ImgEdit's; `edited_image` is ScaleEdit's, `edit_image` UnicEdit's, `output_images`
ImgEdit's and our own; `prompt`, `class_name`, `bbox`, `mask`, `task`, `source_licence` and `source_url` are those of our
own datasets."""


EDITED = "stage_sha256"
"""A column that only rows of our own datasets have."""

GIVEN_SCORES = ("instruction_following_score", "editing_consistency_score", "generation_quality_score")
"""ScaleEdit's scores of its own rows, 1 to 3."""

_NESTED = {
    "regions": "[", "models": "[", "crop": "[", "scores": "[", "edit_mask": "{", "turn": "{", "derived_from": "[",
}  # fmt: skip
"""Carried fields that our webdatasets hold as JSON text, and how that begins."""

SCHEMES = ("unicedit", "scaleedit")


@dataclass(frozen=True)
class Record(Told):
    """What an object says of its photo. Paths are as written, that of the photo in the annotation."""

    annotation: Annotation
    reference: str = ""
    frame2: str = ""
    edited: str = ""


def read_record(item: Any) -> Record:
    """Reads an object that names its photo.

    Raises:
        AnnotationError: not an object of one of the three spellings; the message says what is wrong.
    """
    if not isinstance(item, dict):
        return Record(parse_annotation(item))
    if is_task(item):
        annotation = {**_origin(item), "path": item["original_path"], "resolution": item.get("resolution")}
        task = task_of_item(item)
        words = _checked(task_words(item), "instruction")
        made = {"segmentation": {_kind_for(task): task_regions(item)}, "writing": task_writing(item, task)}
        return Record(parse_annotation({**annotation, **made}), instruction=words, task=task)
    annotation = {**item, **_origin(item)}
    if item.get("segmentation") is None:
        annotation["segmentation"] = _flat(item)
    return Record(
        _annotation(annotation, item),
        **{role: _text(item, role) for role in SECONDS},
        class_name=_text(item, "class_name") or None,
        instruction=_text(item, "instruction"),
        task=_task(item),
        subtask=_subtask(item),
        slot=_text(item, "slot"),
        routed=_routed(item.get("routes")),
        row=_text(item, "key") if _edited(item) else "",
        words_for=_words_for(item),
    )


def _annotation(annotation: dict[str, Any], item: dict[str, Any]) -> Annotation:
    """The annotation with what is known of an edit that was made already, whose row is what comes before."""
    parsed = parse_annotation(annotation)
    upstream = str(item[EDITED]) if _edited(item) else parsed.upstream
    carried = _carried(item)
    if carried is parsed.carried is None and upstream == parsed.upstream:
        return parsed
    # A row's other columns are its own.
    return replace(parsed, carried=carried, upstream=upstream, further={} if _edited(item) else parsed.further)


def _task(item: Mapping[str, Any]) -> str:
    """The task that it was written or edited for. Rows of our own say it, other datasets' by the kind of edit."""
    kind = _kind(item)
    if kind is not None:
        return kind.task
    # Of other lines with a task, its regions may serve any.
    written = item.get("writing") is not None or _edited(item)
    return _text(item, "task") if written else ""


def _words_for(item: Mapping[str, Any]) -> str:
    """The task that an instruction beside it is for, where it says so by one of our names."""
    task = named(item, "task")
    return task if isinstance(task, str) and task in TASKS else ""


def _subtask(item: Mapping[str, Any]) -> str:
    kind = _kind(item)
    return kind.id if kind else _text(item, "subtask")


def _kind(item: Mapping[str, Any]) -> Kind | None:
    """The row of the taxonomy that another dataset's row names: ScaleEdit's in `edit_task`, UnicEdit's in `edit_subtask`."""
    name = named(item, "kind_of_edit")
    return next((TAXONOMY[f"{scheme}/{name}"] for scheme in SCHEMES if f"{scheme}/{name}" in TAXONOMY), None)


def _edited(item: Mapping[str, Any]) -> bool:
    """Whether it is a row of a dataset of ours: an edit with all that is known of it."""
    return isinstance(item.get(EDITED), str)


def _carried(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """What another verdict on the same edit leaves as it is."""
    both = {name: item.get(name) for name in PROMPTS.values()}
    both = both if all(isinstance(words, str) and words.strip() for words in both.values()) else {}
    if _edited(item):
        found = both | {
            name: _plain(item[name], _NESTED[name]) if name in _NESTED else item[name]
            for name in CARRIED
            if name in item
        }
        return {name: value for name, value in found.items() if value not in (None, "")}
    given = [
        {"name": f"given.{name.removesuffix('_score')}", "value": float(item[name])}
        for name in GIVEN_SCORES
        if item.get(name) is not None
    ]
    return both | ({"scores": given} if given else {}) or None


def _routed(routes: Any) -> tuple[str, ...] | None:
    """The tasks that `Route Task` accepted."""
    if routes is None:
        return None
    if not isinstance(routes, dict) or not isinstance(routes.get("accepted"), dict):
        raise AnnotationError("routes is not what Route Task (VLM) gives out: an object with accepted and rejected")
    return tuple(routes["accepted"])


def named(item: Mapping[str, Any], field: str) -> Any:
    """What an object holds under any of a field's names; None where it holds nothing or an empty text."""
    for name in NAMES[field]:
        value = item.get(name)
        if value is not None and value != "":
            return value
    return None


def _origin(item: dict[str, Any]) -> dict[str, Any]:
    return {field: named(item, field) for field in ("source_licence", "source_url")}


def _flat(item: dict[str, Any]) -> dict[str, Any] | None:
    """The segmentation of an object with regions of its own: one, or of a row of ours several that its edit is about."""
    several = _plain(item.get("regions"), "[") if _edited(item) else None
    if isinstance(several, list) and len(several) > 1 and all(isinstance(one, dict) for one in several):
        about = [{name: one.get(name) for name in ("class_name", "bbox", "mask")} for one in several]
        return {_kind_for(named(item, "task")): about}
    bbox, mask = _plain(named(item, "bbox"), "["), _plain(named(item, "mask"), "{")
    if bbox is None and mask is None:
        return None
    kind = named(item, "kind") or _kind_for(named(item, "task"))
    if bbox is None:
        bbox = _box_of(mask)
    return {str(kind): [{"class_name": named(item, "class_name"), "bbox": bbox, "mask": mask}]}


def _plain(value: Any, opening: str) -> Any:
    """A value that our own webdatasets hold as JSON text; the bare counts of a mask begin otherwise."""
    if not isinstance(value, str) or not (value.startswith(opening) or value == "null"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise AnnotationError(f"{value[:40]!r} is not JSON") from None


def _box_of(mask: Any) -> list[float]:
    try:
        found = rle.Rle.model_validate(mask)
        return list(region_of_mask(rle.decode(found)).bbox)
    except ValidationError as error:
        wrong = first_fault(error, "mask")
        raise AnnotationError(f"{wrong}; a mask is an object of size [height, width] and counts") from None
    except AnnotationError:
        raise
    except ValueError as error:
        raise AnnotationError(str(error)) from None


def _kind_for(task: Any) -> str:
    """The kind of region that a task edits, where it says so."""
    known = TASKS.get(task) if isinstance(task, str) else None
    return "background" if known and known.region == "background" else "object"


def _text(item: Mapping[str, Any], field: str) -> str:
    value = named(item, field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AnnotationError(f"its {field} is not a text")
    return value.strip() if field in SECONDS else _checked(value.strip(), field)


def _checked(text: str, field: str) -> str:
    """
    Raises:
        AnnotationError: it is no words, or no name.
    """
    why = (texts.fault(text) or no_words(text)) if field == "instruction" else texts.fault_of_name(text)
    if why:
        raise AnnotationError(f"its {field} {why}")
    return text
