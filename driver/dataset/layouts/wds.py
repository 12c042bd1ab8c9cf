"""The layout `wds`: webdataset tars of about 1 GB, one basename a sample.

A sample `KEY` is `KEY.input.png`, `KEY.output.png`, `KEY.json` (its columns) and `KEY.txt` (the instruction). Samples
with several images before or after the edit are in tars of their own, so that all samples of a tar have the same members.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..rows import PLAIN, Pair, Row
from .layout import Layout, Shard, ShardFile, StoredRow
from .tars import TarMember, TarReader, TarWriter

_NESTED = [field.name for field in PLAIN if pa.types.is_nested(field.type)]
_TEXTS = [field.name for field in PLAIN if pa.types.is_string(field.type)]
_AS_TEXT = {*_NESTED, *_TEXTS}


class WdsLayout(Layout):
    name = "wds"
    shard_size = 1_000_000_000
    """About what the hub advises for webdatasets."""
    group_size = 32_000_000

    def settings(self) -> list[Any]:
        return [str(PLAIN)]

    def stream(self, row: Row) -> str:
        counts = len(row.inputs), len(row.outputs)
        return "train" if counts == (1, 1) else "train-{}-to-{}".format(*counts)

    def open(self, folder: Path, stream: str, number: int) -> ShardFile:
        return _WdsFile(folder, f"{stream}-{number:05d}.tar")

    def found(self, folder: Path) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        for path in sorted(folder.glob("*.tar")):
            if name := re.fullmatch(self.names(), path.name):
                yield name[1], int(name[2]), (path.name,)

    def names(self) -> str:
        return r"(train(?:-\d+-to-\d+)?)-(\d{5})\.tar"

    def index(self, folder: Path, shard: Shard) -> Iterator[tuple[str, int]]:
        with TarReader(folder / shard.files[0]) as tar:
            yield from tar.index(_key_of)

    def images(self, folder: Path, shard: Shard, place: int) -> tuple[list[bytes], list[bytes]]:
        with TarReader(folder / shard.files[0]) as tar:
            return _images(tar, next(_samples(tar, place)))

    def columns(self, folder: Path, shard: Shard, place: int) -> dict[str, Any]:
        with TarReader(folder / shard.files[0]) as tar:
            return _columns(tar, next(_samples(tar, place)))

    def rows(self, folder: Path, shard: Shard, images: bool) -> Iterator[StoredRow]:
        with TarReader(folder / shard.files[0]) as tar:
            for sample in _samples(tar):
                yield StoredRow.of(_columns(tar, sample), *(_images(tar, sample) if images else ()))

    def card(self, config: str, streams: Sequence[str]) -> list[tuple[str, str]]:
        return [
            (stream.removeprefix("train"), f"{config}/{stream}-[0-9][0-9][0-9][0-9][0-9].tar") for stream in streams
        ]

    def empty_features(self) -> list[dict[str, Any]]:
        columns = [{"name": field.name, "dtype": "string" if field.name in _AS_TEXT else "int64"} for field in PLAIN]
        kinds = {"__key__": "string", "__url__": "string", "input.png": "image", "output.png": "image", "txt": "string"}
        return [*({"name": name, "dtype": kind} for name, kind in kinds.items()), {"name": "json", "struct": columns}]


class _WdsFile(ShardFile):
    def __init__(self, folder: Path, name: str):
        self._name = name
        self._tar = TarWriter(folder / name)

    def write(self, prepared: Sequence[Pair]) -> None:
        for pair in prepared:
            for role, images in (("input", pair.inputs), ("output", pair.outputs)):
                for number, image in enumerate(images):
                    self._tar.add(f"{pair.row.key}.{_member(role, number)}", image)
            self._tar.add(f"{pair.row.key}.json", _flat(pair.row.line))
            self._tar.add(f"{pair.row.key}.txt", pair.row.prompt.encode())

    def close(self) -> tuple[str, ...]:
        self._tar.close()
        return (self._name,)


def _key_of(name: str) -> str:
    return name.partition(".")[0]


def _member(role: str, number: int) -> str:
    return f"{role}{number or ''}.png"


def _flat(line: str) -> bytes:
    """A row's columns with types that are the same in every sample, which is what `datasets` guesses them from.

    Lists and structs are JSON text, absent texts are empty.
    """
    columns = json.loads(line)
    nested = {name: json.dumps(columns[name], ensure_ascii=False) for name in _NESTED}
    texts = {name: columns[name] or "" for name in _TEXTS}
    return json.dumps({name: (columns | texts | nested)[name] for name in PLAIN.names}, ensure_ascii=False).encode()


def _columns(tar: TarReader, sample: dict[str, TarMember]) -> dict[str, Any]:
    """The other way round."""
    columns: dict[str, Any] = json.loads(tar.read(sample["json"]))
    return columns | {name: json.loads(columns[name]) for name in _NESTED if name in columns}


def _samples(tar: TarReader, place: int = 0) -> Iterator[dict[str, TarMember]]:
    """Samples from a place on: members by what follows the key."""
    for _, members in tar.groups(_key_of, place):
        yield {member.name.partition(".")[2]: member for member in members}


def _images(tar: TarReader, sample: dict[str, TarMember]) -> tuple[list[bytes], list[bytes]]:
    before, after = (
        [tar.read(member) for name, member in sample.items() if name.startswith(role)] for role in ("input", "output")
    )
    return before, after
