"""Records of our own datasets that hold several rows and each of their pictures once: dialogues, and photos with their edits.

A row is a pair of its own to whoever judges it again; the record is one item of the input, so that no dialogue is torn. To
all others the record is its first photo. The readers of parquet and of webdatasets find the pictures; `dataset/groups.py`
says how such records are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pyarrow as pa

from comfy_nodes.core import photos
from comfy_nodes.core.keys import sample_key, turn_key
from comfy_nodes.core.regions.annotation import Annotation, AnnotationError

from ..dataset.groups import STREAMS
from ..places import Cell, Locator, OfInput
from .photo import Photo
from .records import NAMES, read_record

STATES = "states"
"""The column of a record's pictures."""

EDITS = "data"
"""The column that says which of them each row shows."""

_KNOWN = {name for names in NAMES.values() for name in names}
"""What is read of a row that is not judged again."""


def rows_column(names: Sequence[str]) -> str:
    """What holds the rows of records with these columns; "" where their rows stand alone."""
    return next((one for one in STREAMS.values() if {one, STATES, EDITS} <= set(names)), "")


@dataclass(frozen=True)
class Record:
    """A record that was read."""

    name: str
    """What to call it."""
    rows: Sequence[Mapping[str, Any]]
    edits: Sequence[Mapping[str, Any]]
    places: Mapping[str, Locator]
    """Where its pictures lie, by their names."""
    held: Mapping[str, bytes]
    """Those that the reader could not help reading."""

    def photos(self, edited: bool) -> Iterator[Photo]:
        """The photos of its rows; without `edited` that of the first alone."""
        try:
            pairs = list(zip(self.rows, self.edits, strict=True))
            for number, (row, edit) in enumerate(islice(pairs, len(pairs) if edited else 1)):
                yield replace(self._photo(row, edit, edited), items=0 if number else 1)
        except (AnnotationError, LookupError, TypeError, ValueError) as error:
            yield Photo(file="", source_id=self.name, problem=f"{self.name}: is no whole record of ours ({error})")

    def _photo(self, row: Mapping[str, Any], edit: Mapping[str, Any], edited: bool) -> Photo:
        key = photos.readable(str(row["key"]))
        before, after = edit["input_images"], edit["output_images"]
        said = {name: value for name, value in row.items() if edited or name in _KNOWN}
        told = read_record({**said, "path": key, "reference": None})
        return Photo(
            file=self.places[before[0]],
            source_id=key,
            annotation=told.annotation,
            reference=self.places[before[1]] if len(before) > 1 else "",
            edited=self.places[after[0]] if edited else "",
            data=self.held.get(before[0]),
            place=f"{self.name}/{key}",
            **told.told(),
        )


def record_of(batch: pa.RecordBatch, at: int, shard: str, row: int, suffix: str) -> Record:
    """A record of a parquet shard.

    Args:
        batch: has its columns.
        at: its place in the batch.
        row: its place in the shard.
        suffix: of its pictures, without a dot.
    """
    within = rows_column(batch.schema.names)
    states = batch.column(STATES)[at].as_py()
    places = {one["path"]: Cell(shard, row, STATES, number, suffix) for number, one in enumerate(states)}
    rows, edits = (batch.column(name)[at].as_py() for name in (within, EDITS))
    return Record(photos.readable(f"{shard}#{row}"), rows, edits, places, {one["path"]: one["bytes"] for one in states})


def judged_again(photo: Photo, annotation: Annotation, task: str) -> tuple[str, Annotation]:
    """The key of a sample of an edit that was made already, and its annotation. Turns of one dialogue are those of one here
    too, wherever their rows lie.

    Args:
        task: the graph's.
    """
    turn = (annotation.carried or {}).get("turn")
    if not (photo.place and isinstance(turn, Mapping)):
        # Two rows of one dataset may have one id, where each is an edit of one photo.
        return sample_key(photo.place or str(photo.file), None, task, photo.slot), annotation
    begin = f"{photo.file.input}//" if isinstance(photo.file, OfInput) else ""
    dialogue = sample_key(f"{begin}{turn['dialogue']}", None, task, photo.slot)
    carried = {**(annotation.carried or {}), "turn": {**turn, "dialogue": dialogue}}
    return turn_key(dialogue, turn["number"]), replace(annotation, carried=carried)
