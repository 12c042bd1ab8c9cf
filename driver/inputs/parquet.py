"""Parquet inputs: one photo a row, as bytes in it or as a path, in one shard or many.

Reads forward in small batches. Memory is bounded by the largest page of a file's photo column, which its writer chose
(pyarrow's default: a row group's photos).
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from comfy_nodes.core import photos
from comfy_nodes.core.imgedit import task_of_shard
from comfy_nodes.core.records import CARRIED, PROMPTS
from comfy_nodes.core.regions.annotation import AnnotationError

from ..errors import RunError
from ..places import Cell, Locator, path_of
from ..samples import SECONDS
from .annotation import photo_of
from .find import Input
from .groups import EDITS, STATES, record_of, rows_column
from .objects import COLUMN, ROWS, BoxForms, Objects, objects_in
from .photo import InputError, Photo, Places, Skip
from .records import EDITED, GIVEN_SCORES, NAMES
from .regions.marked import Marked, whole_size, with_reasons
from .shares import Boxes
from .storage import Storage, said

IMAGES = (
    "image", "source_image", "src_image", "input_image", "input_images", "original_image", "photo",
    "jpg", "jpeg", "png", "webp", "image_path", "file_name", "path",
)  # fmt: skip
"""What a photo's column may be called; the first that is there counts. `source_image` is ScaleEdit's, `src_image`
UnicEdit's, `input_images` ImgEdit's and our own, `image` and `file_name` are those of `datasets`."""

IDS = ("key", "id", "__key__", "image_id", "source_id")
"""What the column of a row's id may be called. `key` is UnicEdit's and our own, `id` ScaleEdit's."""

BATCH_BYTES = 8_000_000
"""About how many bytes of photos are taken out of a page at once. Ours."""

BATCH_ROWS = 1024
"""The most rows that are. Ours."""

_BUFFER = 1 << 20
"""Bytes of a column that are read at once; without a buffer pyarrow reads a row group's."""

_OURS = "png"
"""How pictures of our own datasets end."""

_SIGNATURES = (
    (b"\xff\xd8", "jpg"), (b"\x89PNG", "png"), (b"GIF8", "gif"), (b"BM", "bmp"), (b"II", "tif"), (b"MM", "tif"),
)  # fmt: skip
"""How files of a format begin, for the end of an upload's name; RIFF and ISO files name theirs behind a length."""


class ParquetReader:
    """Parquet shards."""

    def __init__(self, given: Input, boxes: Boxes | None = None):
        """
        Args:
            boxes: the form of boxes in a column of objects; None where the boxes are to tell it.

        Raises:
            RunError: they do not.
        """
        self.distant = given.photos.remote and given.photos is not given.storage
        self._input, self._boxes = given, boxes
        self.places = Places()
        self._open = _Cursors()
        self._stamp = lru_cache(1)(given.storage.stamp)  # a shard's photos are asked for in a row
        with suppress(InputError):  # said when its turn comes
            first = next(given.files(), None)  # a stage of a recipe may have left nothing yet
            if first and objects_in(_opened(given.storage, first).schema_arrow):
                _ = self._box_form  # before anything is started for it

    @cached_property
    def _box_form(self) -> Boxes:
        """The form of boxes in columns of objects, by the first rows that have some."""
        forms = BoxForms()
        try:
            for objects, size in () if self._boxes else islice(self._objects(), ROWS):
                forms.add(objects, size)
                if forms.clear:
                    break
            return self._boxes or forms.form()
        except InputError as error:
            raise RunError(f"--input {self._input.given}: {error}") from None

    def _objects(self) -> Iterator[tuple[list[Any], tuple[int, int] | None]]:
        """The boxes of rows, each with its photo's size, where that is told."""
        for shard in self._input.files():
            with suppress(InputError):
                file = _opened(self._input.storage, shard)
                objects, columns = objects_in(file.schema_arrow), _columns(file, shard, False)
                if objects is None:
                    continue
                for group in range(file.num_row_groups):
                    sized = [one for one in ("width", "height") if one in file.schema_arrow.names]
                    names = [COLUMN, *(sized if len(sized) == 2 else [columns["image"]])]
                    for row in (one for batch in _batches(file, group, names, names[-1]) for one in batch.to_pylist()):
                        yield objects.drawn(row[COLUMN]), self._size(row, columns["image"])

    def _size(self, row: dict[str, Any], image: str) -> tuple[int, int] | None:
        if image not in row:
            return whole_size(row["width"], row["height"])
        data, path = _picture(row[image])
        place = self._input.photos.inside(path) if path else None
        try:
            with io.BytesIO(data) if data else self._input.photos.open(place or "") as file:
                return photos.read_header(file, "").size
        except (OSError, photos.PhotoError):
            return None

    def remedy(self, photo: Photo) -> str:
        return "fill its bbox (xyxy in pixels) or its mask, or leave the row out"

    def photos(self, task: str, edited: bool = False, skip: Skip | None = None) -> Iterator[Photo]:
        skip = skip or Skip()
        for shard in self._input.files():
            name = photos.readable(shard)
            try:
                file = _opened(self._input.storage, shard)
                columns = {} if rows_column(file.schema_arrow.names) else _columns(file, name, edited)
            except InputError as error:
                if self._input.single:
                    raise RunError(f"--input {self._input.given}: {error}") from None
                if not skip.pass_one():
                    yield Photo(file="", source_id=name, problem=str(error))
                continue
            task = task_of_shard(shard) if edited else ""
            if rows_column(file.schema_arrow.names):
                yield from self._records(file, shard, skip, edited)
                continue
            objects = None if edited else objects_in(file.schema_arrow)
            for photo in self._rows(file, shard, columns, skip, objects):
                yield replace(photo, task=photo.task or task)

    def open(self, file: Locator) -> BinaryIO:
        return io.BytesIO(self.read(file)) if isinstance(file, Cell) else self._input.photos.open(path_of(file))

    def stamp(self, file: Locator) -> str:
        if isinstance(file, Cell):
            return self._stamp(file.shard)
        return self._input.photos.stamp(path_of(file))

    def read(self, file: Locator) -> bytes:
        if not isinstance(file, Cell):
            return self._input.photos.read(path_of(file))
        try:
            cursor = self._open.cursors.get((file.column, file.number))
            if cursor is None or cursor.shard != file.shard:
                cursor = _Cursor(self._input.storage, file.shard, file.column)
                self._open.cursors[file.column, file.number] = cursor
            data, _ = _picture(cursor.value(file.row), file.number)
        except InputError as error:
            raise OSError(str(error)) from None
        if data is None:
            raise OSError("the row holds no photo any more")
        return data

    def _rows(
        self, file: pq.ParquetFile, shard: str, columns: dict[str, str], skip: Skip, objects: Objects | None
    ) -> Iterator[Photo]:
        if objects:
            columns = columns | {COLUMN: COLUMN}

        def photo(batch: pa.RecordBatch, place: int, row: int) -> Iterator[Photo]:
            values = {field: batch.column(name)[place].as_py() for field, name in columns.items()}
            yield self._photo(values, columns, shard, row, objects)

        yield from _items(file, shard, list(dict.fromkeys(columns.values())), columns["image"], skip, photo)

    def _records(self, file: pq.ParquetFile, shard: str, skip: Skip, edited: bool) -> Iterator[Photo]:
        """The photos of records that hold several rows."""
        columns = [rows_column(file.schema_arrow.names), EDITS, STATES]

        def photos_of(batch: pa.RecordBatch, place: int, row: int) -> Iterator[Photo]:
            yield from record_of(batch, place, shard, row, _OURS).photos(edited)

        yield from _items(file, shard, columns, STATES, skip, photos_of)

    def _photo(
        self, values: dict[str, Any], columns: dict[str, str], shard: str, row: int, objects: Objects | None
    ) -> Photo:
        images = values["image"]
        name = photos.readable(f"{shard}#{row}")
        cells = {field: _picture(values.pop(field, None)) for field in ("image", *SECONDS, "painted")}
        held = {
            field: Cell(shard, row, columns[field], 0, _suffix(data))
            for field, (data, _) in cells.items()
            if data is not None
        }
        if "reference" not in columns and isinstance(images, list) and len(images) > 1:
            # Of a row with two pictures before the edit, the second is what the edit is to show.
            cells["reference"] = _picture(images, 1)
            if (second := cells["reference"][0]) is not None:
                held["reference"] = Cell(shard, row, columns["image"], 1, _suffix(second))
        paths = {field: path for field, (_, path) in cells.items()}
        if "image" not in held and paths["image"] is None:
            return Photo(file="", source_id=name, problem=f"{name}: its {columns['image']} is empty")
        key = values.pop("id", None)
        told: dict[str, Any] = {"path": paths["image"] or name, **{role: paths[role] for role in SECONDS}}
        marked = Marked("", None)
        if objects:
            try:
                marked = objects.marked(values.pop(COLUMN), self._box_form)
                told["segmentation"] = {"object": marked.regions}
            except AnnotationError as error:
                return Photo(file=held.get("image", ""), source_id=name, problem=f"{name}: {error}")
        photo = with_reasons(photo_of(values | told, name, self._input.photos.inside, paths["painted"]), marked)
        if key is not None and not photo.problem:
            photo = replace(photo, source_id=photos.readable(str(key)))
        return replace(
            photo,
            file=held.get("image", photo.file),
            mask=held.get("painted", photo.mask),
            **{role: held.get(role, getattr(photo, role)) for role in SECONDS},
            data=cells["image"][0],
        )


def _items(
    file: pq.ParquetFile,
    shard: str,
    columns: list[str],
    image: str,
    skip: Skip,
    photos_of: Callable[[pa.RecordBatch, int, int], Iterator[Photo]],
) -> Iterator[Photo]:
    """The photos of a shard's rows.

    Args:
        image: the column of pictures.
        photos_of: gives those of a row: in a batch, at its place there, and in the shard.
    """
    start = 0
    for group in range(file.num_row_groups):
        row, end = start, start + file.metadata.row_group(group).num_rows
        start = end
        if skip.left >= end - row:
            skip.pass_some(end - row)
            continue
        try:
            for batch in _batches(file, group, columns, image):
                place = 0
                while place < batch.num_rows:
                    if passed := skip.pass_some(batch.num_rows - place):
                        place, row = place + passed, row + passed
                        continue
                    yield from photos_of(batch, place, row)
                    place, row = place + 1, row + 1
        except InputError as error:
            row += skip.pass_some(end - row)
            name = photos.readable(f"{shard}#{row}-{end - 1}")
            why = f"{photos.readable(shard)}: rows {row} to {end - 1} cannot be read ({error})"
            if row < end:
                yield Photo(file="", source_id=name, problem=why, items=end - row)


class _Cursors(threading.local):
    """What a thread has open: where it stands in a photo column, by its name and the picture's number in a cell."""

    def __init__(self) -> None:
        self.cursors: dict[tuple[str, int], _Cursor] = {}


@dataclass
class _Cursor:
    """Where a thread stands in a column of a shard. Forward it reads on, backward it begins the row group again."""

    storage: Storage
    shard: str
    column: str
    file: pq.ParquetFile = field(init=False)
    starts: list[int] = field(init=False)
    """First row of each row group, and the number of rows."""
    group: int = -1
    batches: Iterator[pa.RecordBatch] = field(default_factory=lambda: iter(()))
    batch: pa.RecordBatch | None = None
    first: int = 0
    """Row that the batch begins with."""

    def __post_init__(self) -> None:
        self.file = _opened(self.storage, self.shard)
        self.starts = [0]
        for group in range(self.file.num_row_groups):
            self.starts.append(self.starts[-1] + self.file.metadata.row_group(group).num_rows)

    def value(self, row: int) -> Any:
        """
        Raises:
            InputError: there is no such row, or it is damaged.
        """
        group = next((number for number, end in enumerate(self.starts[1:]) if row < end), None)
        if group is None or self.column not in self.file.schema_arrow.names:
            raise InputError("the shard has changed: the row is not there any more")
        if group != self.group or row < self.first:
            self.group, self.batch, self.first = group, None, self.starts[group]
            self.batches = _batches(self.file, group, [self.column], self.column)
        while self.batch is None or row >= self.first + self.batch.num_rows:
            if self.batch is not None:
                self.first += self.batch.num_rows
            self.batch = next(self.batches)
        return self.batch.column(self.column)[row - self.first].as_py()


def _opened(storage: Storage, shard: str) -> pq.ParquetFile:
    try:
        with _errors():
            return pq.ParquetFile(storage.open(shard), buffer_size=_BUFFER, pre_buffer=False)
    except InputError as error:
        name = photos.readable(shard)
        raise InputError(f"{name}: not a parquet file that can be read ({error}); copy it again") from None


def _batches(file: pq.ParquetFile, group: int, columns: list[str], image: str) -> Iterator[pa.RecordBatch]:
    facts = file.metadata.row_group(group)
    chunks = (facts.column(number) for number in range(facts.num_columns))
    size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.partition(".")[0] == image)
    rows = min(BATCH_ROWS, max(1, BATCH_BYTES * facts.num_rows // max(1, size)))
    with _errors():
        yield from file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False)


def _columns(file: pq.ParquetFile, name: str, edited: bool) -> dict[str, str]:
    """The column of each field that the shard has.

    Args:
        edited: whether edits that were made already are asked for.

    Raises:
        InputError: none holds photos.
    """
    schema = file.schema_arrow
    names = [*NAMES.items(), ("id", IDS)]
    found = {field: next((one for one in known if one in schema.names), "") for field, known in names}
    image = next((one for one in IMAGES if one in schema.names and _holds_pictures(schema.field(one).type)), None)
    if image is None:
        raise InputError(
            f"{name}: no column of photos among its columns ({_named(schema)}); a photo is bytes, a struct of bytes and "
            f"path, or a path, in a column called {', '.join(IMAGES)}"
        )
    if edited:
        found |= {name: name for name in (EDITED, *CARRIED, *PROMPTS.values(), *GIVEN_SCORES) if name in schema.names}
    else:
        found |= {"edited": "", "kind_of_edit": ""}
    for role in SECONDS:
        column = found[role]
        if column and not _holds_pictures(schema.field(column).type):
            raise InputError(f"{name}: column {column} is {schema.field(column).type}, which is no picture and no path")
    mask = found["mask"]
    if mask and _holds_pictures(schema.field(mask).type) and not _is_text(schema.field(mask).type):
        found |= {"mask": "", "painted": mask}
    return {"image": image} | {field: column for field, column in found.items() if column}


def _holds_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _holds_pictures(kind.value_type)
    if pa.types.is_struct(kind):
        return {"bytes", "path"} <= {one.name for one in kind}
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or _is_text(kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _picture(value: Any, number: int = 0) -> tuple[bytes | None, str | None]:
    """A cell's bytes or its path: of a list the first, or the one of that number."""
    if isinstance(value, list):
        value = value[number] if number < len(value) else None
    if isinstance(value, dict):
        value = value["bytes"] or value["path"]
    if isinstance(value, bytes):
        return value, None
    return None, value or None


def _named(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema) or "none"


def _suffix(data: bytes) -> str:
    if data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        return "avif" if data[8:12] in (b"avif", b"avis") else "heic"
    return next((suffix for start, suffix in _SIGNATURES if data.startswith(start)), "img")


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except pa.ArrowMemoryError:
        raise
    except OSError as error:  # pyarrow's own are OSErrors as well
        raise InputError(said(error)) from None
    except (pa.ArrowException, ValueError) as error:
        raise InputError(str(error).partition("\n")[0]) from None
