"""The first look through the runs that a release is made of: one note of each kept row, with hashes of its pictures.

Everything that is decided is decided over these notes; `writing.py` then goes through the rows once more, in the same
order. Memory grows with the rows, by some 2 kB each, not with their pictures.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
from PIL import Image

from comfy_nodes.core.keys import checked_key
from comfy_nodes.core.models import Model
from comfy_nodes.core.photo_filter import perceptual_hash
from comfy_nodes.core.photos import open_photo
from comfy_nodes.core.weights.records import Policy

from ..bounded_json import loads
from ..dataset.binding import png_size
from ..dataset.dataset import dataset_digest, finished_parts, part_facts, reading
from ..dataset.layouts.layout import layout_named
from ..dataset.rows import IMAGE_COLUMNS, PLAIN
from ..errors import RunError
from ..graph.licences import unfit
from ..report.terms import photo_forbids

Found = TypeVar("Found")

_WORKERS = os.cpu_count() or 1

DIGEST = 16
"""Bytes of a row's digest. Ours."""

SUMMARY = "summary.json"
"""A run's figures, in its folder."""


class Look(NamedTuple):
    """What a picture looks like."""

    bits: int
    """Its perceptual hash, 64 bits."""
    pixels: bytes
    """SHA-256 of its size and its pixels."""

    @classmethod
    def of(cls, data: pa.Buffer) -> Look:
        """
        Raises:
            PhotoError: it is no picture that can be read.
        """
        return cls.of_image(open_photo(data.to_pybytes(), "a picture"))

    @classmethod
    def of_image(cls, image: Image.Image) -> Look:
        """
        Args:
            image: mode RGB, upright.
        """
        pixels = hashlib.sha256(f"{image.width}x{image.height} ".encode() + image.tobytes()).digest()
        return cls(perceptual_hash(image), pixels)


class Note(NamedTuple):
    """What is decided by of a row."""

    run: int
    """Which of the runs it is of, from 0."""
    key: str
    task: str
    subtask: str
    source_id: str
    source_url: str
    source: bytes
    """SHA-256 of its photo's file; of its id where the row has none."""
    inputs: tuple[bytes, ...]
    """SHA-256 of each picture before the edit; the first one shows the photo."""
    outputs: tuple[bytes, ...]
    digest: bytes
    """Changes with anything in the row, pictures too; not with its layout."""
    stage: str
    unfit: str
    """Why its licences do not allow it; empty where they do."""
    dialogue: str = ""
    """The dialogue that it is a turn of; empty where it is none."""


@dataclass
class Index:
    """The kept rows of the runs, in their order."""

    runs: tuple[Path, ...]
    datasets: tuple[str, ...]
    """`dataset_digest` of each run."""
    notes: list[Note] = field(default_factory=list)
    looks: dict[bytes, Look] = field(default_factory=dict)
    """Of pictures before the edit, by their SHA-256; none where nobody asked for them."""


def _check_done(run: Path) -> None:
    """
    Raises:
        RunError: samples of the run still wait: what is released is released for good.
    """
    try:
        told = loads((run / SUMMARY).read_text("utf-8"))
    except (OSError, ValueError):
        return  # whether it is a dataset is looked at where it is read
    waiting = told.get("pending") if isinstance(told, dict) else None
    if waiting:
        raise RunError(
            f"{run}: {waiting} of its samples are not done yet, and a release is for good: run the command that makes it again, "
            "until all are"
        )


def look_through(runs: Sequence[Path], policy: Policy, looks: bool) -> Index:
    """
    Args:
        runs: finished runs' folders.
        policy: which licences a row is noted as unfit for.
        looks: whether to look at pictures, too, and not only at their bytes: takes a hundred times as long.

    Raises:
        ShardDamaged: rows are missing or damaged.
        RunError: a folder holds no finished dataset.
    """
    for run in runs:
        _check_done(run)
    found = Index(tuple(runs), tuple(map(dataset_digest, runs)))
    pool = ThreadPoolExecutor(_WORKERS, "pictures")
    try:
        for number, run in enumerate(runs):

            def note(rows: pa.Table, number: int = number) -> list[Note]:
                return _notes(found, rows, number, policy, looks, pool)

            for notes in over_rows(run, note):
                found.notes += notes
    finally:
        pool.shutdown(cancel_futures=True)  # who stops it does not wait for a row group's pictures
    return found


def over_rows(run: Path, use: Callable[[pa.Table], Found]) -> Iterator[Found]:
    """What `use` makes of a finished run's kept rows, some of them at a time, whatever their layout.

    Args:
        use: gets tables of `SCHEMA` in the rows' order; may raise ValueError where they are damaged.

    Raises: as `look_through`.
    """
    for part in finished_parts(run):
        facts = part_facts(part)
        layout = layout_named(facts.layout)
        for shard in facts.configs["data"].shards:
            with reading(part, "data", shard):
                yield from map(use, layout.tables(part.config("data"), shard) if shard.rows else ())


def _notes(index: Index, rows: pa.Table, run: int, policy: Policy, looks: bool, pool: Executor) -> list[Note]:
    """
    Raises:
        ValueError: a row is damaged.
    """
    columns = rows.select(PLAIN.names).to_pylist()
    keys = [checked_key(row["key"]) for row in columns]
    before, after = (pictures_in(rows[name], keys) for name in IMAGE_COLUMNS)
    pictures = [(key, one) for key, *ends in zip(keys, before, after, strict=True) for end in ends for one in end]
    hashes = pool.map(_checked, pictures)
    notes = []
    for row, inputs, outputs in zip(columns, before, after, strict=True):
        told = tuple(next(hashes) for _ in inputs), tuple(next(hashes) for _ in outputs)
        notes.append(_note(row, run, *told, policy))
    if looks:
        shown = {
            one: data
            for note, row in zip(notes, before, strict=True)
            for one, data in zip(note.inputs, row, strict=True)
        }
        new = {one: data for one, data in shown.items() if one not in index.looks}
        index.looks.update(zip(new, pool.map(Look.of, new.values()), strict=True))
    return notes


def _note(row: dict[str, Any], run: int, inputs: tuple[bytes, ...], outputs: tuple[bytes, ...], policy: Policy) -> Note:
    source = row["source_sha256"] or ""
    return Note(
        run=run,
        key=row["key"],
        task=sys.intern(row["task"]),
        subtask=sys.intern(row["subtask"] or ""),
        source_id=row["source_id"] or "",
        source_url=row["source_url"] or "",
        source=bytes.fromhex(source) if source else hashlib.sha256((row["source_id"] or row["key"]).encode()).digest(),
        inputs=inputs,
        outputs=outputs,
        digest=_digest(row, (*inputs, b"", *outputs)),
        stage=row["stage_sha256"] or "",
        unfit=_unfit(row, policy),
        dialogue=(row["turn"] or {}).get("dialogue", ""),
    )


def _unfit(row: dict[str, Any], policy: Policy) -> str:
    models = (Model(**one) for one in row["models"] or ())
    return unfit(models, policy) or photo_forbids(row["source_licence"] or "", policy)


def _digest(row: dict[str, Any], pictures: Sequence[bytes]) -> bytes:
    """Columns that say nothing are left out: some layouts have an empty text for them, and earlier versions had fewer."""
    said = {name: value for name, value in row.items() if value is not None and value != "" and value != []}
    text = json.dumps(said, sort_keys=True, ensure_ascii=False).encode()
    return hashlib.blake2b(b"".join((text, *pictures)), digest_size=DIGEST).digest()


def pictures_in(column: pa.ChunkedArray, keys: Sequence[str]) -> list[list[pa.Buffer]]:
    """The pictures of each row before or after the edit, as they lie in memory.

    Raises:
        ValueError: a row has none.
    """
    found: list[list[pa.Buffer]] = []
    for chunk in column.chunks:
        flat = iter([one.as_buffer() for one in chunk.flatten().field("bytes")])
        found += [[next(flat) for _ in range(number or 0)] for number in chunk.value_lengths().to_pylist()]
    for key, row in zip(keys, found, strict=True):
        if not row or any(one is None for one in row):
            raise ValueError(f"row {key} lacks a picture")
    return found


def _checked(picture: tuple[str, pa.Buffer]) -> bytes:
    """SHA-256 of a row's picture.

    Raises:
        ValueError: it is not whole; the message names the row.
    """
    key, buffer = picture
    data = buffer.to_pybytes()
    try:
        png_size(data)
    except ValueError as error:
        raise ValueError(f"a picture of row {key} is no whole PNG: {error}") from None
    return hashlib.sha256(data).digest()
