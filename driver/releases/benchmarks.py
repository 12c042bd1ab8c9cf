"""Pictures of benchmarks that a user has on disk, and which rows show one of them.

A benchmark is a folder: picture files at any depth, and picture columns of parquet files as the hub has them. A row is
left out where its photo is a benchmark's file, byte for byte, or where a picture before its edit has the same pixels or
looks the same, by perceptual hash: as the benchmark's, or as what is left of it when it is cropped to a size that editors
work at. Other crops, and mirrored copies, are not found.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from comfy_nodes.core.photo_filter import KONTEXT_BUCKETS, HashIndex, PhotoRules, crop_share, perceptual_hash
from comfy_nodes.core.photos import SUFFIXES, PhotoError, open_photo

from ..errors import RunError
from .index import Index, Look

NEAR = PhotoRules.max_distance or 0
"""In how many of 64 bits perceptual hashes may differ where nobody says it: as photos of an input that count as one."""

_PACKED = (".tar", ".tgz", ".gz", ".zip", ".7z", ".rar", ".arrow")
"""How files end that may hold pictures and are not looked into."""

_AT_ONCE = 32
"""Pictures, or rows of a parquet file, that are held at once. Ours."""


@dataclass
class Benchmark:
    """A folder of a benchmark's pictures."""

    name: str
    pictures: int = 0
    unread: list[str] = field(default_factory=list)
    """Pictures that cannot be read, with the reason."""


@dataclass
class Benchmarks:
    """The pictures of all benchmarks that were given."""

    near: int
    benchmarks: list[Benchmark] = field(default_factory=list)
    _files: dict[bytes, str] = field(default_factory=dict)
    _pixels: dict[bytes, str] = field(default_factory=dict)
    _alike: HashIndex = field(init=False)

    def __post_init__(self) -> None:
        self._alike = HashIndex(self.near)

    @classmethod
    def at(cls, folders: Sequence[Path], near: int) -> Benchmarks:
        """
        Args:
            near: in how many bits perceptual hashes may differ.

        Raises:
            RunError: a folder is none, or has no picture that can be read.
        """
        found = cls(near)
        with ThreadPoolExecutor(os.cpu_count() or 1, "benchmarks") as pool:
            for folder in folders:
                if not folder.is_dir():
                    raise RunError(f"--against {folder}: no such folder; name one with a benchmark's pictures")
                one = Benchmark(folder.resolve().name)
                found.benchmarks.append(one)
                pictures = _pictures(folder, one.unread)
                while some := list(islice(pictures, _AT_ONCE)):
                    for picture in pool.map(_Picture.of, some):
                        if picture.problem:
                            one.unread.append(picture.problem)
                        else:
                            one.pictures += 1
                            found._add(f"{one.name}/{picture.name}", picture)
                if not one.pictures:
                    why = f"; {one.unread[0]}" if one.unread else ""
                    raise RunError(f"--against {folder}: holds no picture that can be read{why}")
        return found

    def _add(self, name: str, picture: _Picture) -> None:
        self._files.setdefault(picture.file, name)
        if picture.pixels not in self._pixels:
            self._pixels[picture.pixels] = name
            for bits in picture.alike:
                self._alike.add(bits, name)

    def rows(self, index: Index) -> dict[int, str]:
        """The rows that show a benchmark's picture, with the reason."""
        seen: dict[bytes, str] = {}
        found = {}
        for number, note in enumerate(index.notes if self.benchmarks else ()):
            if same := self._files.get(note.source):
                found[number] = f"its photo is {same}"
                continue
            for picture in note.inputs:
                if picture not in seen:
                    seen[picture] = self._shown(picture, index.looks[picture])
                if seen[picture]:
                    found[number] = seen[picture]
                    break
        return found

    def _shown(self, picture: bytes, look: Look) -> str:
        if same := self._files.get(picture) or self._pixels.get(look.pixels):
            return f"shows the pixels of {same}"
        twin = self._alike.find(look.bits)
        return f"looks like {twin.name} ({twin.distance} of 64 bits differ)" if twin else ""


@dataclass(frozen=True)
class _Picture:
    """A picture of a benchmark."""

    name: str
    file: bytes
    """SHA-256."""
    pixels: bytes = b""
    """As of `Look`."""
    alike: tuple[int, ...] = ()
    """Perceptual hashes: of the whole, and of its crops."""
    problem: str = ""
    """Why it cannot be read."""

    @classmethod
    def of(cls, named: tuple[str, bytes]) -> _Picture:
        """
        Args:
            named: its name, and its file.
        """
        name, data = named
        file = hashlib.sha256(data).digest()
        try:
            image = open_photo(data, name)
        except PhotoError as error:
            return cls(name, file, problem=str(error))
        look = Look.of_image(image)
        alike = dict.fromkeys((look.bits, *(perceptual_hash(image.crop(box)) for box in _crops(image.size))))
        return cls(name, file, look.pixels, tuple(alike))


def _crops(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Centre crops of a picture to the sizes that editors work at, as far as UnicEdit's rule allows them."""
    for wide, high in KONTEXT_BUCKETS:
        if 0 < crop_share(size, (wide, high)) <= (PhotoRules.max_crop or 0):
            width, height = min(size[0], round(size[1] * wide / high)), min(size[1], round(size[0] * high / wide))
            left, top = (size[0] - width) // 2, (size[1] - height) // 2
            yield left, top, left + width, top + height


def _pictures(folder: Path, unread: list[str]) -> Iterator[tuple[str, bytes]]:
    """The pictures below a folder, with their names in it.

    Args:
        unread: gets what may hold pictures and is not looked into.

    Raises:
        RunError: a file cannot be read.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        suffix = path.suffix.lower()
        if suffix in _PACKED:
            unread.append(f"{name}: is not looked into; unpack it, or save it as parquet")
        if not path.is_file() or suffix not in (*SUFFIXES, ".parquet"):
            continue
        try:
            if suffix == ".parquet":
                yield from _in_parquet(path, name)
            else:
                yield name, path.read_bytes()
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"--against {folder}: {name} cannot be read ({error}); mend it or move it away") from None


def _in_parquet(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    with pq.ParquetFile(path) as file:
        names = [one.name for one in file.schema_arrow if _holds_pictures(one.type)]
        row = 0
        for batch in file.iter_batches(_AT_ONCE, columns=names) if names else ():
            for values in batch.to_pylist():
                for column in names:
                    yield from ((f"{name} row {row} {column}", data) for data in _bytes_in(values[column]))
                row += 1


def _holds_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _holds_pictures(kind.value_type)
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _bytes_in(value: object) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        yield from _bytes_in(value.get("bytes"))
    elif isinstance(value, list):
        for one in value:
            yield from _bytes_in(one)
