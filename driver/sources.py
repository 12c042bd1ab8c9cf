"""Where samples come from: a folder of photos with sidecar files, or ImgEdit's annotation JSON.

Turns inputs into samples in a fixed order, or into failures with a reason; nothing is passed over
without a word. Reads headers only, pixels are read when their turn comes.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from comfy_nodes.core import photos
from comfy_nodes.core.annotation import (
    Annotation,
    AnnotationError,
    Region,
    align,
    parse_annotation,
    region_of_mask,
)
from comfy_nodes.core.eligibility import refusals
from comfy_nodes.core.keys import sample_key
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import SampleFailure
from comfy_nodes.core.tasks import ANNOTATE, Task

from .failures import RunError

BUNDLED = Path(__file__).resolve().parent.parent / "samples" / "annotation.jsonl"
MASK_SUFFIX = ".mask.png"
REFERENCE_SUFFIX = ".ref.png"

Regions = Literal["all", "one"]


@dataclass(frozen=True)
class Sample:
    """One edit to be made."""

    key: str
    file: str
    """The photo's file, relative to the source's root."""
    annotation: Annotation
    """Aligned with the photo, with the one region that is edited. Its path is the source's id."""
    instruction: str = ""


@dataclass(frozen=True)
class Unusable:
    """An input that gives no sample, and why."""

    key: str
    source_id: str
    failure: SampleFailure


Planned = Sample | Unusable


@dataclass(frozen=True)
class _Photo:
    """A photo of an input with what its author says of it."""

    file: str
    source_id: str
    annotation: Annotation | None = None
    problem: str = ""
    instruction: str = ""
    mask: Path | None = None
    ungrounded: str = ""
    """Why the annotate stage found no region either."""

    @property
    def unmarked(self) -> bool:
        """Whether nobody marked a region in it."""
        marked = self.annotation and (self.annotation.regions or self.annotation.refusals)
        return not (self.problem or self.mask or marked)


@dataclass(frozen=True)
class Grounding:
    """What the annotate stage found in photos without a region."""

    annotations: dict[str, Annotation] = field(default_factory=dict)
    """By source id."""
    reasons: dict[str, str] = field(default_factory=dict)
    """By source id: why a photo could not be annotated."""
    unavailable: str = ""
    """Why none could."""

    def applied(self, photo: _Photo) -> _Photo:
        """The photo with the regions that were found in it."""
        if not photo.unmarked:
            return photo
        found = self.annotations.get(photo.source_id)
        if found is None:
            return replace(photo, ungrounded=self.reasons.get(photo.source_id, self.unavailable))
        return replace(photo, annotation=found, ungrounded="" if found.regions else "the annotate stage found nothing")


class Source:
    """An input of the driver."""

    def __init__(self, path: Path, image_root: Path | None = None):
        """
        Args:
            path: a folder, or an ImgEdit annotation `.json` or `.jsonl`.
            image_root: what the annotation's paths are relative to; its own folder if None.

        Raises:
            RunError: missing, or of an unknown kind.
        """
        if not path.exists():
            raise RunError(f"--input {path}: there is no such file or folder")
        if not path.is_dir() and path.suffix.lower() not in (".json", ".jsonl"):
            raise RunError(f"--input {path}: give a folder of photos, or an ImgEdit annotation .json or .jsonl")
        if image_root is not None and not image_root.is_dir():
            raise RunError(f"--image-root {image_root}: there is no such folder")
        self._path = path
        self.root = (path if path.is_dir() else image_root or path.parent).resolve()

    def unmarked(self) -> Iterator[Planned]:
        """Photos that nobody marked a region in, as samples of the annotate stage."""
        for photo in self._photos():
            if photo.unmarked:
                yield from self._samples(photo, ANNOTATE, "all", 0)

    def plan(self, task: Task, regions: Regions, seed: int, grounding: Grounding | None = None) -> Iterator[Planned]:
        """Samples in the input's order; a folder's is by name.

        Args:
            task: decides which regions are eligible.
            regions: `all`, a sample for each eligible region; `one`, one picked by the seed.
            seed: for picking.
            grounding: what the annotate stage found in photos without a region.

        Raises:
            RunError: not JSON, or no photos in it.
        """
        seen: Counter[str] = Counter()
        for photo in self._photos():
            grounded = grounding.applied(photo) if grounding else photo
            for planned in self._samples(grounded, task, regions, seed):
                seen[planned.key] += 1
                if seen[planned.key] > 1:
                    why = "the same photo and region stand in the input twice; only the first is edited"
                    yield _unusable(photo, "DuplicateSample", why, f"{planned.key}#{seen[planned.key]}")
                else:
                    yield planned
        if not seen:
            raise RunError(f"--input {self._path}: no photos in it; give a folder with photos or an ImgEdit annotation")

    def _photos(self) -> Iterator[_Photo]:
        return _folder(self.root) if self._path.is_dir() else _annotated(self._path, self.root)

    def _samples(self, photo: _Photo, task: Task, regions: Regions, seed: int) -> Iterator[Planned]:
        try:
            if photo.problem:
                raise AnnotationError(photo.problem)
            annotation = _aligned(self.root / photo.file, photo)
        except (PhotoError, AnnotationError) as error:
            yield _unusable(photo, type(error).__name__, str(error))
            return
        if task.region == "none":
            whole = replace(annotation, regions=())
            yield Sample(sample_key(photo.source_id, None, task.name), photo.file, whole, photo.instruction)
            return
        eligible, reasons = _eligible(annotation, task)
        if not eligible:
            yield _unusable(photo, "NoRegion", _no_region(photo, reasons))
            return
        for reason in annotation.refusals:
            yield _unusable(photo, "AnnotationError", reason, f"{photo.source_id}#{reason}")
        if regions == "one":
            eligible = [random.Random(f"{seed}/{photo.source_id}").choice(eligible)]
        for region in eligible:
            one = replace(annotation, regions=(region,), refusals=())
            yield Sample(sample_key(photo.source_id, region, task.name), photo.file, one, photo.instruction)


def _folder(folder: Path) -> Iterator[_Photo]:
    files = _files(folder)
    images = [
        path
        for path in files
        if path.suffix.lower() in photos.SUFFIXES and not path.name.lower().endswith((MASK_SUFFIX, REFERENCE_SUFFIX))
    ]
    stems = Counter(path.with_suffix("") for path in images)
    orphans = {path for path in files if path.name.lower().endswith(MASK_SUFFIX)}
    for path in images:
        own, shared = path.with_name(path.name + MASK_SUFFIX), path.with_name(path.stem + MASK_SUFFIX)
        orphans -= {own, shared}
        problem = ""
        if stems[path.with_suffix("")] > 1 and shared.exists() and not own.exists():
            problem = photos.readable(f"several photos are called {path.stem}: name this one's mask {own.name}")
        relative = path.relative_to(folder).as_posix()
        yield _Photo(
            file=relative,
            source_id=photos.readable(relative),
            problem=problem,
            instruction=_text(path),
            mask=own if own.exists() else shared if shared.exists() else None,
        )
    for path in sorted(orphans):
        name = photos.readable(path.relative_to(folder).as_posix())
        why = f"{name}: a mask without its photo; name it after a photo that lies beside it, or remove it"
        yield _Photo(file=name, source_id=name, problem=why)


def _files(folder: Path) -> list[Path]:
    """All files below a folder by name, but for hidden ones and those in hidden folders."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent) / name for name in names if not name.startswith(".")]
    return sorted(found)


def _unreadable(error: OSError) -> None:
    raise RunError(f"--input {error.filename}: cannot be read ({error.strerror}); check its permissions")


def _annotated(source: Path, root: Path) -> Iterator[_Photo]:
    for number, item in enumerate(_items(source)):
        try:
            annotation = parse_annotation(item)
        except AnnotationError as error:
            name = photos.readable(f"{source.name}[{number}]")
            yield _Photo(file="", source_id=name, problem=f"{name}: {error}")
            continue
        path = photos.readable(annotation.path)
        file = _inside(root, annotation.path)
        yield _Photo(
            file=file or "",
            source_id=photos.readable(file) if file else Path(path).name,
            annotation=annotation,
            problem="" if file else f"{Path(path).name}: its path leaves the image root; give --image-root",
        )


def _inside(root: Path, path: str) -> str | None:
    """The path relative to `root`, without detours; None where it leaves it. Links inside `root` may lead anywhere."""
    try:
        places = (Path(os.path.normpath(root / path)), (root / path).resolve())
    except ValueError:  # a zero byte, or half a character
        return None
    return next((one.relative_to(root).as_posix() for one in places if one.is_relative_to(root)), None)


def _items(source: Path) -> Iterator[Any]:
    """The annotations of a file: a JSON line each, a JSON list, one object, or ImgEdit's {key: object}."""
    try:
        if source.suffix.lower() == ".jsonl":
            with source.open(encoding="utf-8-sig") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield _json(line, f"{source}, line {number}")
            return
        content = _json(source.read_text(encoding="utf-8-sig"), str(source))
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"--input {source}: cannot be read as UTF-8 text ({error})") from None
    for item in content if isinstance(content, list) else [content]:
        if isinstance(item, dict) and item and "path" not in item and all(isinstance(v, dict) for v in item.values()):
            yield from item.values()
        else:
            yield item


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"--input {where}: not JSON ({error})") from None


def _text(photo: Path) -> str:
    """The instruction beside a photo, if there is one."""
    for path in (photo.with_name(photo.name + ".txt"), photo.with_name(photo.stem + ".txt")):
        if path.is_file():
            return path.read_text(encoding="utf-8-sig", errors="replace").strip()
    return ""


def _aligned(path: Path, photo: _Photo) -> Annotation:
    """The photo's annotation in the photo's upright pixels."""
    try:
        with path.open("rb") as file:
            header = photos.read_header(file, photo.source_id)
    except OSError as error:
        raise PhotoError(f"{photo.source_id}: cannot be read ({error.strerror}); check path and permissions") from None
    if photo.annotation is not None:
        named = replace(photo.annotation, path=photo.source_id)
        return align(named, header.size, header.orientation)
    bare = Annotation(path=photo.source_id, size=None, regions=())
    if photo.mask is None:
        return align(bare, header.size, header.orientation)
    name = photos.readable(photo.mask.name)
    mask = photos.open_mask(photos.read_bytes(photo.mask), name)
    aligned = align(replace(bare, regions=(region_of_mask(mask),)), header.size, header.orientation)
    if aligned.refusals:
        raise AnnotationError(f"{name}: {aligned.refusals[0]}")
    return aligned


def _eligible(annotation: Annotation, task: Task) -> tuple[list[Region], list[str]]:
    """Regions that the task may use, and why it may not use the others."""
    assert annotation.size is not None
    eligible: list[Region] = []
    reasons = list(annotation.refusals)
    refused = refusals(annotation.regions, task, *annotation.size)
    for number, (region, why) in enumerate(zip(annotation.regions, refused, strict=True)):
        if why:
            reasons.append(f"region {number} ({region.class_name or region.kind}): {why}")
        else:
            eligible.append(region)
    return eligible, reasons


def _no_region(photo: _Photo, reasons: list[str]) -> str:
    if reasons:
        return "no usable region: " + "; ".join(reasons)
    why = f"; {photo.ungrounded}" if photo.ungrounded else ""
    if photo.annotation is not None:
        return f"the annotation lists no region for this photo{why}: add one to segmentation.object, or leave the photo out"
    mask = photos.readable(Path(photo.file).stem) + MASK_SUFFIX
    return (
        f"the photo has no region{why}: put {mask} beside it (white is the object), "
        "or give an ImgEdit annotation with --input"
    )


def _unusable(photo: _Photo, error_type: str, message: str, key_of: str | None = None) -> Unusable:
    key = sample_key(key_of or photo.source_id, None, "input")
    return Unusable(key, photo.source_id, SampleFailure("input", error_type, message))
