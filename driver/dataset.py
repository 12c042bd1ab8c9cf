"""Rows to parquet: kept ones in `data/`, all others in `rejected/`, in the input's order, and the card.

Shards are written beside their place and moved there when all are whole. Rows of an earlier
finish come out of the shards that are there, new ones out of the spool.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comfy_nodes.core.records import EditRecord, SavedFile

from .failures import RunError
from .journal import Journal
from .spool import Spool, disk_error

SHARD_BYTES = 480_000_000
"""Largest shard; the hub's viewer wants less than 500 MB."""

GROUP_BYTES = 90_000_000
"""Largest row group; the hub's viewer wants less than 100 MB."""

CONFIGS = {"data": True, "rejected": False}
"""Folder of each config of the dataset, and whether its rows are the kept ones."""

_IMAGES = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
_RLE = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
_BOX = pa.list_(pa.float32())
_REGION = pa.struct([("op", pa.string()), ("class_name", pa.string()), ("bbox", _BOX), ("mask", _RLE)])
_MODEL = pa.struct([(name, pa.string()) for name in ("role", "name", "sha256", "revision", "licence")])

SCHEMA = pa.schema(
    [
        ("key", pa.string()), ("task", pa.string()), ("subtask", pa.string()), ("slot", pa.string()),
        ("lang", pa.string()), ("input_images", _IMAGES), ("output_images", _IMAGES), ("prompt", pa.string()),
        ("initial_prompt", pa.string()), ("restated_prompt", pa.string()), ("editor_prompt", pa.string()),
        ("verdict", pa.string()), ("reject_reason", pa.string()),
        ("scores", pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))),
        ("judge", pa.struct([("model", pa.string()), ("prompt_version", pa.string()), ("reply", pa.string())])),
        ("class_name", pa.string()), ("bbox", _BOX), ("mask", _RLE), ("regions", pa.list_(_REGION)),
        ("edit_mask", _RLE), ("models", pa.list_(_MODEL)), ("source_id", pa.string()), ("source_path", pa.string()),
        ("source_sha256", pa.string()), ("source_licence", pa.string()), ("source_url", pa.string()), ("crop", _BOX),
        ("workflow", pa.string()), ("workflow_sha256", pa.string()), ("stage_sha256", pa.string()),
        ("profile", pa.string()), ("seed", pa.int64()), ("attempt", pa.int32()), ("width", pa.int32()),
        ("height", pa.int32()), ("schema_version", pa.int32()),
    ]
)  # fmt: skip
"""The columns of design section 3, in its order."""


def _features(kind: pa.DataType) -> Any:
    """An Arrow type as `datasets` describes it, in the words that releases before 4 read too."""
    if kind == _IMAGES:
        return {"_type": "Sequence", "feature": {"_type": "Image"}}
    if pa.types.is_list(kind):
        inner = _features(kind.value_type)
        return [inner] if pa.types.is_struct(kind.value_type) else {"_type": "Sequence", "feature": inner}
    if pa.types.is_struct(kind):
        return {field.name: _features(field.type) for field in kind}
    return {"_type": "Value", "dtype": {"double": "float64", "float": "float32"}.get(str(kind), str(kind))}


def _leaves(name: str, kind: pa.DataType) -> list[str]:
    """Parquet's names of the leaf columns below a field."""
    if pa.types.is_list(kind):
        return _leaves(f"{name}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{name}.{field.name}", field.type)]
    return [name]


_METADATA = {"huggingface": json.dumps({"info": {"features": {f.name: _features(f.type) for f in SCHEMA}}})}
_BYTES = [f"{name}.list.element.bytes" for name in ("input_images", "output_images")]
_OTHERS = [leaf for field in SCHEMA for leaf in _leaves(field.name, field.type) if leaf not in _BYTES]


@dataclass(frozen=True)
class RunFacts:
    """What all rows of a run share."""

    workflow: str
    workflow_sha256: str
    edit_sha256: str
    """Of the part of the graph that decides pixels and words."""
    profile: str

    def stage_sha256(self, record: EditRecord) -> str:
        """Hash of all that decides this row's pixels and words."""
        regions = [region.model_dump(mode="json", include={"op", "class_name", "bbox"}) for region in record.regions]
        parts = [self.edit_sha256, record.source_sha256, record.seed, regions]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def write_dataset(journal: Journal, spool: Spool, output: Path, work: Path, facts: RunFacts) -> None:
    """Writes all finished rows and empties the spool.

    Args:
        output: the run's folder.
        work: a folder on the same disk for what isn't whole yet.

    Raises:
        RunError: the disk is full.
    """
    try:
        for folder, kept in CONFIGS.items():
            earlier = _Shards([output / name for name in CONFIGS])
            fresh = work / f"{folder}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            writer = _ShardWriter(fresh)
            for text, attempt in journal.records(kept):
                record = EditRecord.model_validate_json(text)
                writer.write(_row(record, attempt, facts, spool, earlier))
            writer.close()
        for folder in CONFIGS:
            _replace(output / folder, work / f"{folder}.new", work / f"{folder}.old")
    except OSError as error:
        raise disk_error(error, output) from None
    spool.clear()


def restore(output: Path, work: Path) -> None:
    """Puts back shards that a run was killed over while it replaced them."""
    for folder in CONFIGS:
        old = work / f"{folder}.old"
        if old.exists() and not (output / folder).exists():
            old.rename(output / folder)


def write_table(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """A small table beside the dataset, such as `failed.parquet`, replaced in one step."""
    temporary = path.with_suffix(".part")
    try:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)
        temporary.rename(path)
    except OSError as error:
        raise disk_error(error, path.parent) from None


FAILED_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("key", "source_id", "stage", "node", "error_type", "message")]
    + [("attempts", pa.int32())]
)

TELEMETRY_SCHEMA = pa.schema(
    [("key", pa.string()), ("state", pa.string()), ("server", pa.string())]
    + [(name, pa.int32()) for name in ("attempts", "submissions", "faults")]
    + [(name, pa.float64()) for name in ("queued_at", "finished_at", "execution_s", "transfer_s")]
)


class _ShardWriter:
    """Writes rows into numbered shards. How many there will be is known at the end: then they get their names."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._parts: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self._group: list[dict[str, Any]] = []
        self._group_bytes = 0
        self._shard_bytes = 0

    def write(self, row: dict[str, Any]) -> None:
        size = sum(len(image["bytes"]) for name in ("input_images", "output_images") for image in row[name])
        if self._group and self._group_bytes + size > GROUP_BYTES:
            self._flush()
        if self._shard_bytes + self._group_bytes + size > SHARD_BYTES:
            self._close_shard()
        self._group.append(row)
        self._group_bytes += size

    def close(self) -> None:
        self._close_shard()
        if not self._parts:
            # A folder without rows still has the columns.
            self._open()
            self._close_shard()
        for number, part in enumerate(self._parts):
            part.rename(self._folder / f"train-{number:05d}-of-{len(self._parts):05d}.parquet")

    def _open(self) -> pq.ParquetWriter:
        path = self._folder / f"part-{len(self._parts):05d}.parquet"
        self._parts.append(path)
        self._writer = pq.ParquetWriter(
            path,
            SCHEMA.with_metadata(_METADATA),
            # PNGs don't get smaller, and dictionaries of them only cost memory.
            compression=dict.fromkeys(_OTHERS, "SNAPPY") | dict.fromkeys(_BYTES, "NONE"),
            use_dictionary=_OTHERS,
            write_page_index=True,
        )
        return self._writer

    def _flush(self) -> None:
        if self._group:
            writer = self._writer or self._open()
            writer.write_table(pa.Table.from_pylist(self._group, schema=SCHEMA))
            self._shard_bytes += self._group_bytes
            self._group, self._group_bytes = [], 0

    def _close_shard(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
        self._writer, self._shard_bytes = None, 0


class _Shards:
    """Images of rows that an earlier finish wrote, by key. Remembers one row group, as rows come in order."""

    def __init__(self, folders: list[Path]):
        self._places: dict[str, tuple[Path, int, int]] = {}
        for folder in folders:
            for path in sorted(folder.glob("*.parquet")):
                with pq.ParquetFile(path) as file:
                    for group in range(file.num_row_groups):
                        keys = file.read_row_group(group, columns=["key"])["key"].to_pylist()
                        self._places.update({key: (path, group, row) for row, key in enumerate(keys)})
        self._group: tuple[Path, int] | None = None
        self._table: pa.Table | None = None

    def images(self, key: str, column: str) -> list[dict[str, Any]]:
        """
        Raises:
            RunError: no shard has the row.
        """
        if key not in self._places:
            raise RunError(f"the images of {key} are neither spooled nor in a shard: delete this output folder", 1)
        path, group, row = self._places[key]
        if self._group != (path, group):
            with pq.ParquetFile(path) as file:
                self._table = file.read_row_group(group, columns=["input_images", "output_images"])
            self._group = (path, group)
        assert self._table is not None
        return list(self._table[column][row].as_py())


def _row(record: EditRecord, attempt: int, facts: RunFacts, spool: Spool, earlier: _Shards) -> dict[str, Any]:
    row = record.model_dump(mode="json")
    row["input_images"] = _images(record.key, "input", record.input_images, spool, earlier)
    row["output_images"] = _images(record.key, "output", record.output_images, spool, earlier)
    first = row["regions"][0] if row["regions"] else {}
    return {
        **row,
        **{name: first.get(name) for name in ("class_name", "bbox", "mask")},
        "workflow": facts.workflow,
        "workflow_sha256": facts.workflow_sha256,
        "stage_sha256": facts.stage_sha256(record),
        "profile": facts.profile,
        "attempt": attempt,
    }


def _images(key: str, role: str, files: tuple[SavedFile, ...], spool: Spool, earlier: _Shards) -> list[dict[str, Any]]:
    found = [spool.get(key, role, number) for number in range(len(files))]
    if None in found:
        return earlier.images(key, f"{role}_images")
    return [{"bytes": data, "path": f"{key}-{role}{number}.png"} for number, data in enumerate(found)]


def _replace(place: Path, fresh: Path, old: Path) -> None:
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    try:
        fresh.rename(place)
    except BaseException:  # also Ctrl-C: the rows of an earlier finish lie nowhere else
        restore(place.parent, old.parent)
        raise
    shutil.rmtree(old, ignore_errors=True)
