"""A row of the dataset: its columns, what a record makes of them, and rows as Arrow tables.

Layouts write these rows; nothing here knows of files. Arrow arrays are made from JSON text and plain buffers, as making
them from Python objects loads pandas and takes several times as long.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.json
from pydantic import ValidationError

from comfy_nodes.core.instructions.instructions import InstructionRecord
from comfy_nodes.core.keys import sample_key, turn_key
from comfy_nodes.core.models import Model, each_once
from comfy_nodes.core.records import AnnotationRecord, Basis, EditRecord
from comfy_nodes.core.tasks import INSTRUCT
from comfy_nodes.core.taxonomy import known_kind

from ..errors import RunError
from .binding import invalid

IMAGES = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
"""Encoded files with their names."""
_RLE = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
_BOX = pa.list_(pa.float32())
_REGION = pa.struct([("op", pa.string()), ("class_name", pa.string()), ("bbox", _BOX), ("mask", _RLE)])
_TURN = pa.struct(
    [
        ("dialogue", pa.string()), ("number", pa.int32()), ("of", pa.int32()), ("base", pa.int32()), ("op", pa.string()),
        ("premise", pa.string()), ("mask_from", pa.string()),
    ]
)  # fmt: skip
_MODEL = pa.struct([(name, pa.string()) for name in Model.model_fields])

SCHEMA = pa.schema(
    [
        ("key", pa.string()), ("task", pa.string()), ("subtask", pa.string()), ("slot", pa.string()),
        ("lang", pa.string()), ("input_images", IMAGES), ("output_images", IMAGES), ("prompt", pa.string()),
        ("initial_prompt", pa.string()), ("restated_prompt", pa.string()), ("editor_prompt", pa.string()),
        ("prompt_en", pa.string()), ("prompt_cn", pa.string()),
        ("verdict", pa.string()), ("reject_reason", pa.string()), ("vouched_by", pa.list_(pa.string())),
        ("scores", pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))),
        ("judge", pa.struct([("model", pa.string()), ("prompt_version", pa.string()), ("reply", pa.string())])),
        ("class_name", pa.string()), ("bbox", _BOX), ("mask", _RLE), ("regions", pa.list_(_REGION)),
        ("edit_mask", _RLE), ("models", pa.list_(_MODEL)), ("source_id", pa.string()), ("source_path", pa.string()),
        ("source_sha256", pa.string()), ("source_licence", pa.string()), ("source_url", pa.string()), ("crop", _BOX),
        ("workflow", pa.string()), ("workflow_sha256", pa.string()), ("stage_sha256", pa.string()),
        ("profile", pa.string()), ("seed", pa.int64()), ("attempt", pa.int32()), ("width", pa.int32()),
        ("height", pa.int32()), ("turn", _TURN), ("derived_kind", pa.string()), ("derived_from", pa.list_(pa.string())),
        ("schema_version", pa.int32()),
    ]
)  # fmt: skip
"""A row's columns, in their order."""

_DECIDING = {
    "task", "subtask", "lang", "editor_prompt", "source_sha256", "crop", "regions", "edit_mask", "seed", "width", "height",
}  # fmt: skip
"""Fields of a record that its pixels and words follow from, beside the instruction as it was before the edit."""

_DECIDING_TOO = {"turn", "derived_kind", "derived_from"}
"""The same of fields that most records do not have: only where they have them, so that all other hashes stay."""

IMAGE_COLUMNS = ("input_images", "output_images")

NO_COLUMNS = frozenset({"basis", "made_as", "made_as_subtask"})
"""Of a record, what only leads to columns."""

PLAIN = pa.schema([field for field in SCHEMA if field.name not in IMAGE_COLUMNS])
"""All columns but the images."""

UNSAID: Mapping[str, Any] = MappingProxyType(dict.fromkeys(PLAIN.names))
"""What a row says that was stored by a version which knew none of these columns."""


@dataclass(frozen=True)
class RunFacts:
    """What all rows of a run share."""

    workflow: str
    workflow_sha256: str
    edit_sha256: str
    """Of the part of the graph that decides pixels and words."""
    profile: str
    ingredients_sha256: str = ""
    """Of what stands behind that part: code, prompts, weights, VLM profiles. Empty where no server was asked."""
    models: tuple[Model, ...] = ()
    """Weights that the graph names."""
    others: Mapping[str, RunFacts] = field(default_factory=dict)
    """Of a run with several workflows, those of each by its task."""

    def of(self, task: str, subtask: str = "") -> RunFacts:
        """What holds for rows of a kind of edit: what holds for the workflow that makes it."""
        kind = known_kind(task, subtask)
        if INSTRUCT.name in self.others and (task not in self.others or (kind and kind.unlike)):
            return self.others[INSTRUCT.name]
        return self.others.get(task, self)

    def stage_sha256(self, record: EditRecord) -> str:
        """Hash of all that decides this row's pixels and words."""
        deciding = record.model_dump(mode="json", include=_DECIDING)
        deciding["instruction"] = record.initial_prompt or record.prompt
        deciding |= record.model_dump(mode="json", include=_DECIDING_TOO, exclude_defaults=True)
        return self._sha256(record.basis, deciding)

    def line_sha256(self, record: AnnotationRecord | InstructionRecord) -> str:
        """The same of a line that a stage before the edit leaves, in which all that it decides stands."""
        said = {name: value for name, value in record.annotation.items() if name != "path"}
        return self._sha256(record.basis, said)

    def _sha256(self, basis: Basis, deciding: dict[str, Any]) -> str:
        made_with = [self.edit_sha256, self.ingredients_sha256 or basis.ingredients, basis.upstream, basis.pictures]
        text = json.dumps([*made_with, deciding], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Row:
    """A row without its images."""

    key: str
    sample: str
    """What rows of one sample share: the key up to its `~`, and the attempt; of a dialogue's turns its key alone."""
    task: str
    prompt: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    """SHA-256 of each image."""
    line: str
    """All other columns as a JSON object."""
    group: str = ""
    """Key of the record that holds it and its neighbours, each of their pictures once; empty where it stands alone."""
    grouped_as: Literal["", "dialogues", "photos"] = ""
    """The stream of that record: a dialogue, or all rows of one photo."""
    states: int = 0
    """How many pictures the record holds; see `groups.gathered`."""

    @classmethod
    def of(cls, text: str, attempt: int, facts: RunFacts, photo: str = "") -> Row:
        """
        Args:
            text: a record, JSON, as the journal keeps it.
            attempt: which try at the sample gave it, from 1.
            photo: a key that all rows of its photo share, where these are to be one record. Where none is given, derived rows
                alone are, by their photo's id.

        Raises:
            RunError: this version does not read the record.
        """
        record = known_record(text)
        made_as = (record.made_as, record.made_as_subtask) if record.made_as else (record.task, record.subtask)
        facts = facts.of(*made_as)
        columns = record.model_dump(mode="json", exclude={*IMAGE_COLUMNS, *NO_COLUMNS})
        took_part = each_once((*record.models, *record.basis.models, *facts.models))
        columns["models"] = [model.model_dump(mode="json") for model in took_part]
        first = columns["regions"][0] if columns["regions"] else {}
        columns |= {name: first.get(name) for name in ("class_name", "bbox", "mask")}
        columns |= {
            "workflow": facts.workflow,
            "workflow_sha256": facts.workflow_sha256,
            "stage_sha256": facts.stage_sha256(record),
            "profile": facts.profile,
            "attempt": attempt,
            "derived_kind": record.derived_kind or None,
        }
        if record.derived_kind:
            photo = photo or sample_key(record.source_id, None, "photo")
        group = photo or (record.turn.dialogue if record.turn else "")
        return cls(
            key=record.key,
            sample=group or f"{key_stem(record.key)}/{attempt}",
            task=record.task,
            prompt=record.prompt,
            inputs=tuple(image.sha256 for image in record.input_images),
            outputs=tuple(image.sha256 for image in record.output_images),
            line=json.dumps(columns, ensure_ascii=False, separators=(",", ":")),
            group=group,
            grouped_as="photos" if photo else "dialogues" if group else "",
        )

    @classmethod
    def stored(cls, columns: Mapping[str, Any]) -> Row:
        """
        Args:
            columns: all of a row that was stored before, but for its images, whose hashes stand nowhere.
        """
        line = json.dumps(columns, ensure_ascii=False, separators=(",", ":"))
        return cls(columns["key"], columns["key"], columns["task"], columns["prompt"], (), (), line)

    def digest(self) -> bytes:
        """16 bytes that change with anything in the row, images too."""
        parts = "\n".join((self.line, *self.inputs, "", *self.outputs))
        return hashlib.blake2b(parts.encode(), digest_size=16).digest()


Encoded: TypeAlias = "bytes | pa.Buffer"
"""An image as an encoded file, as it was read."""

CHUNK = 500_000
"""Bytes of images from which they are not joined with those of the next row. Ours: copying less costs less than a chunk."""


@dataclass(frozen=True)
class Pair:
    """A row with its images as encoded files."""

    row: Row
    inputs: Sequence[Encoded]
    outputs: Sequence[Encoded]

    @property
    def size(self) -> int:
        """Bytes that it takes in a shard, closely enough."""
        return sum(map(len, self.inputs)) + sum(map(len, self.outputs)) + len(self.row.line)


def known_record(text: str) -> EditRecord:
    """A record as the journal keeps it.

    Raises:
        RunError: this version does not read it.
    """
    try:
        return EditRecord.model_validate_json(text)
    except ValidationError as error:
        raise RunError(f"the run's journal: {invalid(error)}; use the version that wrote it", 1) from None


def sample_of(record: EditRecord) -> str:
    """The key of the sample that a record is of: its own up to its `~`; of a turn, each of which is a sample, the turn's."""
    stem = key_stem(record.key)
    return turn_key(stem, record.turn.number) if record.turn else stem


def key_stem(key: str) -> str:
    """The part of a key that all records of one sample share."""
    return key.partition("~")[0]


def image_name(key: str, role: str, number: int) -> str:
    """An image's name in its row."""
    return f"{key}-{role}{number}.png"


def table(pairs: Sequence[Pair]) -> pa.Table:
    """Rows with their images as a table of `SCHEMA`."""
    columns = plain_table([pair.row.line for pair in pairs])
    images = {f"{role}_images": _images(pairs, role) for role in ("input", "output")}
    return pa.Table.from_arrays([images.get(name, columns[name] if name in PLAIN.names else None) for name in SCHEMA.names],
                                schema=SCHEMA)  # fmt: skip


def _images(pairs: Sequence[Pair], role: Literal["input", "output"]) -> pa.ChunkedArray:
    images = [pair.inputs if role == "input" else pair.outputs for pair in pairs]
    names = [
        [image_name(pair.row.key, role, number) for number in range(len(row))]
        for pair, row in zip(pairs, images, strict=True)
    ]
    return image_column(names, images)


def as_rows(found: pa.Table, path: Path) -> pa.Table:
    """Rows that were stored by this version, or by one before it that knew fewer columns, as a table of `SCHEMA`.

    Args:
        path: where they lie, for errors.

    Raises:
        RunError: they have columns that this version does not know.
    """
    if strange := set(found.column_names) - set(SCHEMA.names):
        raise RunError(
            f"{path}: has a column {min(strange)!r}, which this version does not know; use the one that wrote it"
        )
    columns = [
        found[field.name].cast(field.type) if field.name in found.column_names else pa.nulls(len(found), field.type)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def plain_table(lines: Sequence[str]) -> pa.Table:
    """Lines of JSON objects as a table of `PLAIN`."""
    if not lines:
        return PLAIN.empty_table()
    text = "\n".join(lines).encode()
    return pyarrow.json.read_json(
        pa.BufferReader(text),
        pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        pyarrow.json.ParseOptions(explicit_schema=PLAIN, unexpected_field_behavior="error"),
    ).combine_chunks()


def strings(values: Sequence[str]) -> pa.Array:
    return _from_bytes([value.encode() for value in values], pa.string())


def lists(values: pa.Array, lengths: Sequence[int]) -> pa.Array:
    """A list array whose lists hold the next so many of `values` each."""
    return pa.ListArray.from_arrays(_offsets(lengths), values)


def image_column(names: Sequence[Sequence[str]], images: Sequence[Sequence[Encoded]]) -> pa.ChunkedArray:
    """A column of `IMAGES`, in chunks of a few rows, so that large images are not copied on their way into a file.

    Args:
        names: of each row those of its images.
    """
    chunks, first, size = [], 0, 0
    for end, row in enumerate(images, 1):
        size += sum(map(len, row))
        if size >= CHUNK or end == len(images):
            chunks.append(_chunk(names[first:end], images[first:end]))
            first, size = end, 0
    return pa.chunked_array(chunks, IMAGES)


def _chunk(names: Sequence[Sequence[str]], images: Sequence[Sequence[Encoded]]) -> pa.Array:
    values = [
        _from_bytes([image for row in images for image in row], pa.binary()),
        strings([name for row in names for name in row]),
    ]
    return lists(pa.StructArray.from_arrays(values, fields=list(IMAGES.value_type)), [len(row) for row in images])


def _from_bytes(values: Sequence[Encoded], kind: pa.DataType) -> pa.Array:
    data = pa.py_buffer(values[0] if len(values) == 1 else b"".join(values))
    return pa.Array.from_buffers(
        kind, len(values), [None, _offsets([len(value) for value in values]).buffers()[1], data]
    )


def _offsets(lengths: Sequence[int]) -> pa.Array:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise OverflowError("one row's images are larger than 2 GB")
    return pa.Array.from_buffers(pa.int32(), len(offsets), [None, pa.py_buffer(offsets.astype(np.int32))])


def features(schema: pa.Schema) -> dict[str, Any]:
    """A schema as `datasets` describes it, in the words that releases before 4 read too."""
    return {field.name: _feature(field.type) for field in schema}


def _feature(kind: pa.DataType) -> Any:
    if kind == IMAGES:
        return {"_type": "Sequence", "feature": {"_type": "Image"}}
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return [inner] if pa.types.is_struct(kind.value_type) else {"_type": "Sequence", "feature": inner}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"_type": "Value", "dtype": {"double": "float64", "float": "float32"}.get(str(kind), str(kind))}
