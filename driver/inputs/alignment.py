"""From a photo of an input to its regions in its own upright pixels, and to those that a task may edit.

Reads headers and masks, never a photo's pixels. Called by `Source` for each photo.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import replace

from comfy_nodes.core import photos
from comfy_nodes.core.photos import Header, PhotoError
from comfy_nodes.core.regions.annotation import Annotation, AnnotationError, Region, align, region_of_mask
from comfy_nodes.core.regions.eligibility import pairs, refusals
from comfy_nodes.core.tasks import Task

from ..places import Locator, name_of
from .photo import Photo, Reader
from .storage import unreadable


def aligned(photo: Photo, reader: Reader, seconds: Collection[str]) -> Annotation:
    """The photo's annotation in the photo's upright pixels.

    Args:
        seconds: roles of pictures beside it that are taken, and so are looked at too.

    Raises:
        PhotoError: the photo, its mask or a picture that belongs to it cannot be used, for what the header shows.
        AnnotationError: the mask marks nothing, or does not fit.
    """
    header = header_of(photo, reader)
    for role in seconds:
        if second := getattr(photo, role):
            header_of(Photo(file=second, source_id=photos.readable(name_of(second))), reader)
    known = photo.annotation or Annotation(path=photo.source_id, size=None, regions=())
    if known.path != photo.source_id:
        known = replace(known, path=photo.source_id)
    if not photo.mask:
        return align(known, header.size, header.orientation)
    name = photos.readable(name_of(photo.mask))
    data = read(photo.mask, reader)
    mask = photos.open_mask(data, name)
    # A mask that was turned by its own EXIF is upright already.
    turn = header.orientation if photos.read_header(io.BytesIO(data), name).orientation == 1 else 1
    try:
        marked = region_of_mask(mask, photo.class_name)
    except AnnotationError as error:
        raise AnnotationError(f"{name}: {error}") from None
    one = align(replace(known, size=None, regions=(marked,), refusals=()), header.size, turn)
    if one.refusals:
        raise AnnotationError(f"{name}: {one.refusals[0]}")
    return one


def read(file: Locator, reader: Reader) -> bytes:
    """The bytes of what a locator names.

    Raises:
        PhotoError: missing or not readable.
    """
    try:
        return reader.read(file)
    except FileNotFoundError:
        why = "the file is missing; check the path in the annotation or the folder"
        raise PhotoError(f"{photos.readable(name_of(file))}: {why}") from None
    except OSError as error:
        raise PhotoError(f"{photos.readable(name_of(file))}: {unreadable(error)}") from None


def edits(
    annotation: Annotation, task: Task, together: bool, about: Collection[int] = ()
) -> tuple[list[tuple[Region, ...]], list[str]]:
    """What the task may edit, each with the regions of one edit, and why it may not use the other regions.

    Args:
        together: whether the annotation's regions were chosen for one edit; then it is all of them or none.
        about: numbers of the regions that a plan of this edit is about, so that it matters nothing whether the task may use
            another one; none where it names none.
    """
    assert annotation.size is not None
    eligible: list[Region] = []
    reasons = list(annotation.refusals)
    refused = refusals(annotation.regions, task, *annotation.size)
    count = 1 + max(about, default=len(annotation.regions) - 1)  # a plan counts from the first one
    for number, (region, why) in enumerate(zip(annotation.regions[:count], refused[:count], strict=True)):
        if why and (number in about or not about):
            reasons.append(f"region {number} ({region.class_name or region.kind}): {why}")
        else:
            eligible.append(region)
    if annotation.weak and not eligible:
        reasons.append(f"{annotation.weak} detections are too weak to be taken for things")
    if together:
        return ([tuple(eligible)] if eligible and not reasons else []), reasons
    if task.regions < 2:
        return [(region,) for region in eligible], reasons
    found: list[tuple[Region, ...]] = [
        (eligible[first], eligible[second]) for first, second in pairs(eligible, *annotation.size)
    ]
    if eligible and not found:
        reasons.append(f"{task.name} needs two regions apart from each other, of different names")
    return found, reasons


def header_of(photo: Photo, reader: Reader) -> Header:
    """
    Raises:
        PhotoError: the photo cannot be used, for what its header shows.
    """
    if photo.data is not None:
        return photos.read_header(io.BytesIO(photo.data), photo.source_id)
    try:
        with reader.open(photo.file) as file:
            return photos.read_header(file, photo.source_id)
    except OSError as error:
        raise PhotoError(f"{photo.source_id}: {unreadable(error)}") from None
