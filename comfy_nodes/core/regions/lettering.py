"""Words as regions of a photo: how one is called, `text "OPEN"`, which an instruction can name as it stands, and how a
photo's line keeps what a reader found, apart from things.

Read Text leaves them in the line as `ocr`; edits of text take them from there, writers name them, Check Text reads them
again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from .. import boxes
from ..validation import first_fault
from . import rle
from .annotation import AnnotationError, Region

OCR = "ocr"
"""The key in a photo's line: a list of lines of words, empty where the photo was read and bears none."""

_NAME = re.compile(r'text "(?P<words>[^"]+)"', re.IGNORECASE)


def name_of_words(words: str) -> str:
    """The region's name; double quotes among the words become single ones."""
    return 'text "{}"'.format(words.replace('"', "'"))


def words_of_name(name: str) -> str:
    """The words that a region of this name is; empty where it is something else."""
    found = _NAME.fullmatch(name.strip())
    return found["words"] if found else ""


@dataclass(frozen=True)
class _Read:
    """A line of words as it stands there."""

    words: str
    bbox: boxes.Box
    """(x1, y1, x2, y2) in pixels of the upright photo, as those of regions."""
    score: float | None = None
    mask: rle.Rle | None = None


_READ = TypeAdapter(list[_Read])


def ocr_of(lines: Iterable[Region]) -> list[dict[str, Any]]:
    """What a photo's line says of lines of words, which are regions by name."""
    found = [_Read(words_of_name(one.class_name or ""), one.bbox, one.score, one.mask) for one in lines]
    noted: list[dict[str, Any]] = _READ.dump_python(found, mode="json")
    return noted


def words_read(line: Mapping[str, Any]) -> tuple[Region, ...] | None:
    """The lines of words in a photo as regions; None where nobody read it.

    Args:
        line: what the photo's line says beside regions.

    Raises:
        AnnotationError: its `ocr` is not what Read Text leaves.
    """
    if OCR not in line:
        return None
    try:
        found = _READ.validate_python(line[OCR])
    except ValidationError as error:
        raise AnnotationError(f"{first_fault(error, OCR)}; Read Text (OCR) leaves a list of words with bbox") from None
    return tuple(
        Region(class_name=name_of_words(one.words), bbox=one.bbox, score=one.score, mask=one.mask) for one in found
    )
