"""Reading ImgEdit's annotation JSON: which regions a photo has, in the photo's own pixels.

One object per photo: `path, cap, resolution, tags, segmentation{object, background}` with regions of
`class_name, bbox, mask, score, clip_score, aes_score` (ImgEdit's fields). What is
unusable is refused region by region with a reason, so one broken mask does not cost the photo.

A detector that listens for whispers (0.005) names things that are not there. What is too weak to be taken for a thing is
kept apart, in a further object `weak` of the same two lists, and nobody edits, names, counts or protects it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from .. import boxes, photos, texts
from ..keys import Key
from ..models import Model
from ..validation import first_fault
from . import line, rle

RegionKind = Literal["object", "background"]
KINDS: tuple[RegionKind, ...] = ("object", "background")

EXISTS = 0.1
"""From this detector's score on a region is taken for a thing. Ours: OWLv2's default in transformers, and about where
YOLO-World's boxes begin to be worth looking at; its authors' demo starts at 0.05, ultralytics at 0.25."""

NAMED: dict[RegionKind, float] = {"object": 0.6, "background": 0.55}
"""From this CLIPScore on, which is 2.5 times the cosine, a region is taken for what its name says, however weakly it was
detected. Ours, for ViT-L/14 and not calibrated on photos: cosines of 0.24 and 0.22. ImgEdit's 0.8 and 0.7 are cosines of
0.32 and 0.28, which few crops reach."""

WEAK = "weak"
"""The key of what is too weak. An annotation that has it was sifted already, by whatever threshold."""

OFFERED = "offered_kinds"
"""The key under which the driver tells a writer the kinds of edit that a photo is offered."""

UPSTREAM, UPSTREAM_MODELS = "upstream_sha256", "upstream_models"
"""The keys under which lines of the annotate and the write stage carry their stage's hash, and the models that took part
up to there."""


class AnnotationError(ValueError):
    """An annotation that cannot be used at all; the message says what is wrong with it."""


class Region(BaseModel):
    """A part of a photo that an edit can be about.

    `bbox` is (x1, y1, x2, y2) in pixels, x2 and y2 exclusive. `mask` covers the whole photo.
    Four scores, four names, null where nobody measured it: `score` is the detector's confidence (in
    other people's files whatever they called so), `clip_score` the similarity of the crop to the
    name, `aes_score` the crop's aesthetic score, `sam_iou` what SAM predicts its mask's IoU to be.
    `eligibility` holds by task why it may not use the region, None where it may. The last two are ours.
    """

    model_config = ConfigDict(frozen=True)

    class_name: str | None
    kind: RegionKind = "object"
    bbox: boxes.Box
    mask: rle.Rle | None = None
    score: float | None = None
    clip_score: float | None = None
    aes_score: float | None = None
    sam_iou: float | None = None
    eligibility: dict[str, str | None] | None = None

    def area_share(self, width: int, height: int) -> float:
        """Share of a width x height photo that the box covers, 0 to 1."""
        return boxes.area(self.bbox) / (width * height)

    @property
    def plain_name(self) -> str:
        """The name as names are compared; empty where it has none."""
        return (self.class_name or "").strip().casefold()


class Provenance(BaseModel):
    """Where a sample comes from; the driver sends it along and every record carries it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Key
    task: str = ""
    """What the sample is filed under, where its graph takes any task."""
    slot: str = ""
    subtask: str = ""
    source_id: str
    source_path: str
    source_sha256: str
    source_licence: str | None = None
    source_url: str | None = None


@dataclass(frozen=True)
class Annotation:
    """One photo's annotation."""

    path: str
    size: tuple[int, int] | None
    """(width, height) in pixels that the boxes and masks refer to; None where the author left it out."""
    regions: tuple[Region, ...]
    refusals: tuple[str, ...] = ()
    """One line for each region that cannot be used."""
    source_licence: str | None = None
    source_url: str | None = None
    captions: tuple[str, ...] = ()
    """Its `cap`: what is said to be on the photo."""
    points: tuple[str, ...] = ()
    """Its `reasoning_points`: what a right edit shows, of an instruction that has to be reasoned about."""
    offered: tuple[str, ...] = ()
    """The kinds of edit that the driver asks for, where a writer may choose among several."""
    provenance: Provenance | None = None
    writing: dict[str, Any] | None = None
    """What the write stage wrote for these regions, as `core.instructions` reads it."""
    carried: dict[str, Any] | None = None
    """Fields of a finished edit's record that are to stay as they are, as `core.records` reads them."""
    weak: int = 0
    """How many more detections there are, too weak to be taken for things."""
    upstream: str = ""
    """Hash of the stage that left the annotation: what it found or wrote, and with what. Empty where none did."""
    models: tuple[Model, ...] = ()
    """What took part in that stage and those before it."""
    further: Mapping[str, Any] = field(default_factory=dict)
    """What else its line says, by name; `line` knows some of it, and all of it is carried on."""

    @property
    def all_models(self) -> tuple[Model, ...]:
        """The same, with who wrote, and with what made an edit that is there already."""
        writer = self.writing.get("model") if isinstance(self.writing, dict) else None
        wrote = (Model(role="writer", name=writer),) if isinstance(writer, str) and writer else ()
        return (*self.models, *wrote, *_models((self.carried or {}).get("models") or (), self.path, "models"))


_MODELS = TypeAdapter(tuple[Model, ...])


def sift(regions: Iterable[Region], least: float = EXISTS) -> tuple[list[Region], list[Region]]:
    """What is taken for a thing, and what is too weak for that.

    Args:
        least: the detector's score that suffices. What no detector has scored, its author vouches for.
    """
    found: tuple[list[Region], list[Region]] = [], []
    for region in regions:
        found[not is_thing(region.score, region.clip_score, region.kind, least)].append(region)
    return found


def is_thing(score: float | None, clip_score: float | None, kind: RegionKind = "object", least: float = EXISTS) -> bool:
    """`sift` of one region, by its scores."""
    return score is None or score >= least or (clip_score is not None and clip_score >= NAMED[kind])


def parse_annotation(item: Any) -> Annotation:
    """Reads one photo's annotation.

    Args:
        item: a decoded JSON object in ImgEdit's schema. Extra keys that are read are `weak`, `reasoning_points`,
            `offered_kinds`, `source_licence`, `source_url`, `upstream_sha256`, `upstream_models`, the write stage's `writing`, and the driver's
            own `carried` and `editpairs`; all others become `further`.

    Raises:
        AnnotationError: not an object, or `segmentation` or `resolution` of another shape.
    """
    if not isinstance(item, dict):
        raise AnnotationError(f"an annotation is a JSON object with path and segmentation, not {_kind_of(item)}")
    path = item.get("path")
    if not isinstance(path, str) or not path:
        raise AnnotationError("the annotation has no path (a non-empty string)")
    size = _size(item.get("resolution"), path)
    regions, refusals = _regions(item.get("segmentation"), size, path)
    weak = _count(item[WEAK]) if WEAK in item else 0
    if WEAK not in item:
        regions, unsure = sift(regions)
        weak = len(unsure)
    return Annotation(
        path=path,
        size=size,
        regions=tuple(regions),
        refusals=tuple(refusals),
        source_licence=_optional_text(item, "source_licence"),
        source_url=_optional_text(item, "source_url"),
        captions=line.captions(item.get("cap")),
        points=_lines(item.get("reasoning_points"), path, "reasoning_points"),
        offered=_lines(item.get(OFFERED), path, OFFERED),
        provenance=_provenance(item.get("editpairs")),
        writing=item.get("writing"),
        carried=item.get("carried"),
        weak=weak,
        upstream=_optional_text(item, UPSTREAM) or "",
        models=_models(item.get(UPSTREAM_MODELS, ()), path, UPSTREAM_MODELS),
        further=line.further(item),
    )


def to_json(annotation: Annotation, provenance: Provenance | None = None) -> dict[str, Any]:
    """The annotation in ImgEdit's schema; with the driver's provenance, what travels to `Load Edit Sample`."""
    item: dict[str, Any] = {
        **annotation.further,
        "path": annotation.path,
        "segmentation": segmentation(annotation.regions),
    }
    if sift(annotation.regions)[1]:
        item.setdefault(WEAK, segmentation(()))  # another threshold took them for things
    known = {
        "resolution": annotation.size and {"width": annotation.size[0], "height": annotation.size[1]},
        "source_licence": annotation.source_licence,
        "source_url": annotation.source_url,
        "cap": list(annotation.captions) or None,
        "reasoning_points": list(annotation.points) or None,
        OFFERED: list(annotation.offered) or None,
        "writing": annotation.writing,
        "carried": annotation.carried,
        UPSTREAM: annotation.upstream or None,
        UPSTREAM_MODELS: [one.model_dump(exclude_none=True) for one in annotation.models] or None,
        "editpairs": provenance and provenance.model_dump(mode="json"),
    }
    return item | {name: value for name, value in known.items() if value is not None}


def segmentation(regions: Iterable[Region]) -> dict[str, Any]:
    """Regions as `segmentation` and `weak` hold them, a list for each kind."""
    lists: dict[str, Any] = {kind: [] for kind in KINDS}
    for region in regions:
        mask = region.mask and {"size": list(region.mask.size), "counts": region.mask.counts}
        item = {"class_name": region.class_name, "bbox": list(region.bbox), "mask": mask}
        item |= {name: getattr(region, name) for name in ("score", "clip_score", "aes_score")}
        item |= {name: value for name in ("sam_iou", "eligibility") if (value := getattr(region, name)) is not None}
        lists[region.kind].append(item)
    return lists


def align(annotation: Annotation, size: tuple[int, int], exif_orientation: int) -> Annotation:
    """Brings boxes and masks into the pixels of the upright photo.

    An annotation made on the stored pixels of an EXIF-rotated photo is recognised by its size (or its
    masks' size) and turned with the photo; of a photo turned by a half, which keeps its size, it is
    taken to be upright, as ImgEdit's own is. Boxes are clipped to the photo.

    Args:
        size: (width, height) of the upright photo in pixels.
        exif_orientation: 1 to 8.

    Returns:
        The annotation with `size` set; regions that don't fit are moved to `refusals`.
    """
    stored = (size[1], size[0]) if exif_orientation >= 5 else size
    regions: list[Region] = []
    refusals = list(annotation.refusals)
    rle.measure(region.mask for region in annotation.regions if region.mask)
    for number, region in enumerate(annotation.regions):
        try:
            regions.append(_align_region(region, annotation.size, size, stored, exif_orientation))
        except ValueError as error:
            refusals.append(f"{_label(region.class_name, number)}: {error}")
    return replace(annotation, size=size, regions=tuple(regions), refusals=tuple(refusals))


def region_of_mask(mask: np.ndarray, class_name: str | None = None) -> Region:
    """The region that a mask [H, W] marks; its box is tight around the mask.

    Raises:
        AnnotationError: nothing is marked.
    """
    box = boxes.box_of(mask)
    if box is None:
        raise AnnotationError("the mask marks nothing (white is the object)")
    return Region(class_name=class_name, bbox=box, mask=rle.encode(mask))


def _align_region(
    region: Region,
    annotated: tuple[int, int] | None,
    size: tuple[int, int],
    stored: tuple[int, int],
    exif_orientation: int,
) -> Region:
    """
    Raises:
        ValueError: it does not fit the photo, or its mask is broken.
    """
    mask_size = (region.mask.size[1], region.mask.size[0]) if region.mask else None
    frame = mask_size or annotated or size
    if annotated and mask_size and annotated != mask_size:
        raise AnnotationError(f"its mask is {_by(mask_size)}, the annotation's resolution {_by(annotated)}")
    if frame not in (size, stored):
        raise AnnotationError(f"annotated on {_by(frame)} pixels, but the photo has {_by(size)}")
    if frame != size:
        region = _turn(region, stored, exif_orientation)
    x1, y1, x2, y2 = region.bbox
    width, height = size
    clipped = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        raise AnnotationError(f"its box {list(region.bbox)} has no area inside the photo of {_by(size)}")
    if region.mask is not None:
        try:
            marked = region.mask.area
        except ValueError as error:
            raise AnnotationError(str(error)) from None
        if not marked:
            raise AnnotationError("its mask marks nothing")
    return region if clipped == region.bbox else region.model_copy(update={"bbox": clipped})


def _turn(region: Region, stored: tuple[int, int], exif_orientation: int) -> Region:
    """A quarter turn of mask and box: the box's corners travel through the same transposition as pixels."""
    width, height = stored
    x1, y1, x2, y2 = region.bbox
    new_x1, new_x2 = (height - y2, height - y1) if exif_orientation in (6, 7) else (y1, y2)
    new_y1, new_y2 = (width - x2, width - x1) if exif_orientation in (7, 8) else (x1, x2)
    mask = region.mask and rle.encode(photos.turn_like(rle.decode(region.mask), exif_orientation))
    return region.model_copy(update={"bbox": (new_x1, new_y1, new_x2, new_y2), "mask": mask})


def _regions(segmentation: Any, size: tuple[int, int] | None, path: str) -> tuple[list[Region], list[str]]:
    if segmentation is None:
        return [], []
    if not isinstance(segmentation, dict):
        raise AnnotationError(f"{path}: segmentation is {_kind_of(segmentation)}, not an object with lists of regions")
    box_format = segmentation.get("box_format", "xyxy")
    if box_format != "xyxy":
        raise AnnotationError(f"{path}: box_format is {box_format!r}; only xyxy is read")
    unknown = set(segmentation) - {*KINDS, "box_format"}
    regions: list[Region] = []
    refusals = [f"segmentation group {name!r}: unknown, use object or background" for name in sorted(unknown)]
    for kind in KINDS:
        entries = segmentation.get(kind) or []
        if not isinstance(entries, list):
            raise AnnotationError(f"{path}: segmentation.{kind} is {_kind_of(entries)}, not a list of regions")
        for entry in entries:
            try:
                regions.append(_region(entry, kind, size))
            except AnnotationError as error:
                name = entry.get("class_name") if isinstance(entry, dict) else None
                refusals.append(f"{_label(name, len(regions) + len(refusals))}: {error}")
    return regions, refusals


def _count(weak: Any) -> int:
    lists = [weak.get(kind) for kind in KINDS] if isinstance(weak, dict) else []
    return sum(len(one) for one in lists if isinstance(one, list))


def _region(entry: Any, kind: RegionKind, size: tuple[int, int] | None) -> Region:
    if not isinstance(entry, dict):
        raise AnnotationError(f"a region is a JSON object, not {_kind_of(entry)}")
    class_name = entry.get("class_name")
    if class_name is not None and (not isinstance(class_name, str) or not class_name.strip()):
        raise AnnotationError("class_name is not the name of a class (a non-empty string)")
    if class_name and (why := texts.fault_of_name(class_name)):
        raise AnnotationError(f"class_name {why}; write one name in one line")
    mask = entry.get("mask")
    if isinstance(mask, str) and mask:
        # ImgEdit stores the counts alone; the size is the photo's resolution.
        if size is None:
            raise AnnotationError("its mask has no size and the annotation no resolution")
        mask = {"size": (size[1], size[0]), "counts": mask}
    try:
        region = Region.model_validate({**entry, "kind": kind, "class_name": class_name, "mask": mask or None})
    except ValidationError as error:
        raise AnnotationError(first_fault(error)) from None
    if not all(math.isfinite(value) for value in region.bbox):
        raise AnnotationError(f"bbox {list(region.bbox)} holds a number that is not finite")
    return region


def _models(value: Any, path: str, name: str) -> tuple[Model, ...]:
    try:
        return _MODELS.validate_python(value)
    except ValidationError as error:
        raise AnnotationError(f"{path}: {name} lists no models ({first_fault(error)})") from None


def _size(resolution: Any, path: str) -> tuple[int, int] | None:
    if resolution is None:
        return None
    try:
        width, height = int(resolution["width"]), int(resolution["height"])
    except (TypeError, KeyError, ValueError, OverflowError):
        raise AnnotationError(f"{path}: resolution is not an object with width and height in pixels") from None
    if width < 1 or height < 1:
        raise AnnotationError(f"{path}: resolution {width} x {height} has no area")
    return width, height


def _provenance(item: Any) -> Provenance | None:
    if item is None:
        return None
    try:
        return Provenance.model_validate(item)
    except ValidationError as error:
        raise AnnotationError(first_fault(error, "editpairs")) from None


def _optional_text(item: dict[str, Any], field: str) -> str | None:
    value = item.get(field)
    if value is not None and not isinstance(value, str):
        raise AnnotationError(f"{item['path']}: {field} is {_kind_of(value)}, not a string")
    if value is not None and (why := texts.fault_of_name(value, texts.MAX_WORDS)):
        raise AnnotationError(f"{item['path']}: {field} {why}")
    return value


def _lines(given: Any, path: str, name: str) -> tuple[str, ...]:
    """A list of texts, or a text with one to a line, as UnicBench's reasoning points are found."""
    found = given.splitlines() if isinstance(given, str) else [] if given is None else given
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise AnnotationError(f"{path}: {name} is {_kind_of(given)}, not a list of texts")
    for one in found:
        if why := texts.fault(one):
            raise AnnotationError(f"{path}: {name} {why}")
    return tuple(one.strip() for one in found if one.strip())


def _label(class_name: object, number: int) -> str:
    return f"region {number}" + (f" ({class_name})" if isinstance(class_name, str) and class_name else "")


def _kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
