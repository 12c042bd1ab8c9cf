"""What one stage of a recipe hands to the next: lines of ImgEdit's annotation JSON, which also say where in the recipe's input
the photo lies, and rows of edit pairs.

Lines are written by `pipeline/lines.py`, rows by `dataset/`; `recipe/following.py` reads both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from .. import places
from ..bounded_json import loads
from ..dataset.commits import Commit
from ..dataset.parts import Part
from ..errors import RunError
from ..samples import SECONDS, Sample
from .annotation import photo_of
from .find import Input
from .groups import rows_column
from .parquet import ParquetReader
from .photo import Photo
from .storage import LocalStorage

PICTURES = "editpairs_pictures"
"""In a line that is handed on: locators of the photo and of what belongs to it, by role."""

PASSED = ("keep", "unscored")
"""Verdicts of pairs that a later stage judges; what pixels or a judge rejected stays behind."""

_PHOTO = "file"

_ROLES = (_PHOTO, *(role for role in SECONDS if role != "edited"))


def handed_on(line: dict[str, Any], sample: Sample) -> dict[str, Any]:
    """A line as the next stage of a recipe reads it.

    Args:
        sample: what it was made of. Words of its photo's author are handed on where no stage has written others.
    """
    found = {role: places.to_json(file) for role in _ROLES if (file := getattr(sample, role))}
    words = {"instruction": sample.instruction} if sample.instruction and not line.get("instruction") else {}
    return {**line, **words, PICTURES: found}


def photos_of_lines(part: Part) -> Iterator[Photo]:
    """The photos of a shard of lines.

    Raises:
        RunError: its file is gone or damaged.
    """
    name = part.lines.name
    for number, text in enumerate(_text(part).splitlines()):
        try:
            value = loads(text.decode())
            pictures: dict[str, Any] = {role: places.from_json(one) for role, one in value.pop(PICTURES).items()}
        except (ValueError, LookupError, TypeError, AttributeError):
            raise _damaged(part) from None
        photo = photo_of(value, f"{name}, line {number + 1}", lambda path: path)
        yield photo if photo.problem else replace(photo, **pictures)


def photos_of_rows(part: Part, commit: Commit, task: str) -> Iterator[Photo]:
    """The pairs of a shard of rows that are kept or unscored, in the order of these. What was rejected stays behind.

    Args:
        task: whose photos are asked for, as readers have it.
    """
    assert commit.dataset
    storage = LocalStorage(part.output)
    for config, held in commit.dataset.configs.items():
        names = [f"{config}/{part.name}/{file}" for shard in held.shards for file in shard.files]
        for file in names if held.rows else ():
            passed = _passed(part.output / file)
            reader = ParquetReader(Input(file, "parquet", storage, (file,), "", storage))
            for photo in reader.photos(task, edited=True):
                if not photo.row or photo.row in passed:
                    yield photo


def _passed(shard: Path) -> set[str]:
    """Keys of the rows of a shard that a later stage judges."""
    with pq.ParquetFile(shard) as file:
        within = rows_column(file.schema_arrow.names)
        begin = f"{within}.list.element." if within else ""
        found = file.read(columns=[f"{begin}key", f"{begin}verdict"])
    rows = found.to_pylist()
    every = (row for record in rows for row in record[within]) if within else rows
    return {row["key"] for row in every if row["verdict"] in PASSED}


def told(commit: Commit) -> tuple[int, str]:
    """How many photos or pairs a shard hands on, and a hash that changes with them."""
    if commit.dataset is None:
        return commit.totals.counts.get("keep", 0), commit.statistics
    number = sum(commit.totals.counts.get(verdict, 0) for verdict in PASSED)
    return number, hashlib.sha256(commit.dataset.model_dump_json(exclude={"seal"}).encode()).hexdigest()


def figures(part: Part) -> str:
    """What a commit says of a shard's lines, as JSON.

    Raises:
        RunError: they are gone.
    """
    return json.dumps({"lines_sha256": hashlib.sha256(_text(part)).hexdigest()})


def _text(part: Part) -> bytes:
    try:
        return part.lines.read_bytes()
    except OSError:
        raise _damaged(part) from None


def _damaged(part: Part) -> RunError:
    return RunError(
        f"{part.lines}: is missing or damaged; remove it and run the same command again: it is written anew", 1
    )


def pairs_in(folder: Path) -> ParquetReader:
    """A reader of the pictures in all rows of a run's folder."""
    storage = LocalStorage(folder)
    return ParquetReader(Input(str(folder), "parquet", storage, (), "", storage))
