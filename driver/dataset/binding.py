"""Whether records are their sample's, and pictures their record's.

Called by whoever brings records home, from a server or from a folder: nothing that a sink left is believed. Fetches
nothing itself.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from PIL import Image
from pydantic import BaseModel, ValidationError

from comfy_nodes.core.instructions.instructions import InstructionRecord
from comfy_nodes.core.records import AnnotationRecord, EditRecord, PhotoRecord, SavedFile
from comfy_nodes.core.regions.annotation import AnnotationError, parse_annotation

Role = Literal["input", "output"]
Written = EditRecord | AnnotationRecord | InstructionRecord


class Unfit(Exception):
    """What was saved cannot be a row; one line says why."""


class Foreign(Unfit):
    """It is another sample's."""


class Damaged(Unfit):
    """A file is not what its record says."""


@dataclass(frozen=True)
class Origin:
    """What each record of a sample says of where it comes from."""

    key: str
    task: str
    source_path: str
    source_sha256: str
    seed: int | None
    """None where the graph takes another than the sample's."""
    folder: str
    """Where the sink was told to save, below the output folder."""


_Record = TypeVar("_Record", bound=BaseModel)
_Picture = TypeVar("_Picture", bytes, Path, bytes | Path)

_PNG_BEGIN = bytes.fromhex("89504e47 0d0a1a0a 0000000d 49484452")
"""A PNG's signature, and length and name of its first chunk, IHDR, which begins with width and height (PNG specification,
third edition, 5.2 and 11.2.1)."""

_PNG_END = bytes.fromhex("00000000 49454e44 ae426082")
"""The last chunk of every PNG, IEND (ibid., 11.2.5)."""


def records_of(returned: Sequence[Any], kind: type[_Record]) -> list[_Record]:
    """What a sink returned, as records.

    Raises:
        Unfit: it is something else.
    """
    try:
        return [kind.model_validate(item) for item in returned]
    except ValidationError as error:
        raise Unfit(invalid(error)) from None


def invalid(error: ValidationError) -> str:
    """What is wrong with a record, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "it"
    return f"not a record as this version of EditPairs reads it ({where}: {first['msg']})"


def bind(records: Sequence[Written], origin: Origin) -> None:
    """Sees that records are those of a sample, all of them, and usable later.

    Raises:
        Foreign: one is another sample's.
        Unfit: an annotation in one cannot be read.
    """
    several = len(records) > 1
    for number, record in enumerate(records):
        wanted: dict[str, Any] = {"key": f"{origin.key}~{number}" if several else origin.key}
        found: dict[str, Any] = {"key": record.key}
        if isinstance(record, EditRecord):
            names = ("task", "source_path", "source_sha256", *(("seed",) if origin.seed is not None else ()))
            wanted |= {name: getattr(origin, name) for name in names}
            found |= {name: getattr(record, name) for name in names}
            found["task"] = record.made_as or record.task  # a restated instruction may have given it another
            files: tuple[SavedFile, ...] = record.input_images + record.output_images
        else:
            wanted |= {"path": origin.source_path, "source_sha256": origin.source_sha256}
            found |= {name: record.annotation.get(name) for name in ("path", "source_sha256")}
            _readable(record.annotation)
            files = (record.file,)
        for name, value in wanted.items():
            if found[name] != value:
                raise Foreign(
                    f"a record of another sample came back: its {name} is {found[name]!r:.80}, not {value!r:.80}"
                )
        for file in files:
            if (file.subfolder, file.type) != (origin.folder, "output"):
                raise Foreign(f"a record of another sample came back: its files lie in {file.subfolder!r:.120}")


def _readable(annotation: Mapping[str, Any]) -> None:
    try:
        parse_annotation(annotation)
    except AnnotationError as error:
        raise Unfit(f"its annotation cannot be read: {error}") from None


def pictures(
    record: EditRecord, read: Callable[[SavedFile], _Picture]
) -> Iterator[tuple[Role, int, SavedFile, _Picture]]:
    """A record's pictures, one after the other, each whole and as its record says: role, place, address and what `read`
    gives.

    Args:
        read: gets a file's bytes; or its path, where it is of a sink on this machine: then it is a whole PNG of the right
            size, and its hash is left to whoever makes a row of it, as `dataset.py` does.

    Raises:
        Unfit: they are no pair of equal size, or a mask has another.
        Damaged: a file is not the one that was saved.
    """
    if len(record.output_images) != 1 or len(record.input_images) not in (1, 2):
        found = f"{len(record.input_images)} before and {len(record.output_images)} after the edit"
        raise Unfit(f"the record has {found}; a pair is the photo, perhaps a reference, and one edited picture")
    _masks_fit(record)
    roles: dict[Role, tuple[SavedFile, ...]] = {"input": record.input_images, "output": record.output_images}
    for role, images in roles.items():
        for number, image in enumerate(images):
            picture = read(image)
            size = _size_of_file(picture, image) if isinstance(picture, Path) else _size(picture, image)
            if number == 0 and size != (record.width, record.height):
                raise Unfit(
                    f"the record says {record.width} x {record.height}, {image.filename} is {size[0]} x {size[1]}: "
                    "before and after need one size"
                )
            yield role, number, image, picture


def whole_photo(record: PhotoRecord, picture: bytes | Path) -> bytes | Path:
    """A photo's picture, seen to be the one that was saved, and of the size that its record says.

    Args:
        picture: its bytes, or where it lies on this machine.

    Raises:
        Unfit: it has another size.
        Damaged: it is another file, or broken.
        FileNotFoundError: it is gone.
    """
    size = _size(picture.read_bytes() if isinstance(picture, Path) else picture, record.file)
    said = parse_annotation(record.annotation).size
    if size != said:
        raise Unfit(f"the record says {said}, {record.file.filename} is {size[0]} x {size[1]}")
    return picture


def _masks_fit(record: EditRecord) -> None:
    masks = {"edit_mask": record.edit_mask}
    masks |= {f"regions.{number}.mask": region.mask for number, region in enumerate(record.regions)}
    for name, mask in masks.items():
        if mask is None:
            continue
        if mask.size != (record.height, record.width):
            raise Unfit(f"{name} is {mask.size[1]} x {mask.size[0]}, the picture {record.width} x {record.height}")
        try:
            _ = mask.area
        except ValueError as error:
            raise Unfit(f"{name}: {error}") from None


def _size(data: bytes, image: SavedFile) -> tuple[int, int]:
    """(width, height) of a picture that is what was saved, and a whole PNG."""
    if hashlib.sha256(data).hexdigest() != image.sha256:
        raise Damaged(f"{image.filename} is not what was saved: its hash is another")
    try:
        return png_size(data)
    except ValueError as error:
        raise Damaged(f"{image.filename} is no whole PNG ({error})") from None


def _size_of_file(path: Path, image: SavedFile) -> tuple[int, int]:
    """(width, height) of a PNG that begins and ends as one.

    Raises:
        FileNotFoundError: it is gone.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise Damaged(f"{image.filename} is no file")
        with path.open("rb") as file:
            head = file.read(len(_PNG_BEGIN) + 8)
            file.seek(-len(_PNG_END), os.SEEK_END)
            if not head.startswith(_PNG_BEGIN) or file.read() != _PNG_END:
                raise Damaged(f"{image.filename} is no whole PNG (its beginning or its end is missing)")
            return int.from_bytes(head[-8:-4], "big"), int.from_bytes(head[-4:], "big")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(f"{image.filename} is no whole PNG ({error})") from None


def png_size(data: bytes) -> tuple[int, int]:
    """(width, height) of a whole PNG.

    Raises:
        ValueError: it is none, or a byte of it was changed.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as opened:
            opened.verify()  # its chunks and their checksums; decoding the pixels would take longer than all else here
            return opened.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from None
