"""The layout `wds`: webdataset tars of about 1 GB, one basename a sample.

A sample `KEY` is `KEY.input.png`, `KEY.output.png`, `KEY.json` (its columns) and `KEY.txt` (the instruction). Samples
with several images before or after the edit are in tars of their own, so that all samples of a tar have the same members.
Of a dialogue, or a photo with all its edits, the sample is `KEY.state0.png`, `KEY.state1.png` and so on, each picture once,
and `KEY.json`, whose `data` names them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..groups import STREAMS, Group, grouped, groups_of, pictures_of
from ..rows import PLAIN, Pair, Row
from .layout import CardPart, Layout, Shard, ShardFile, StoredRow
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
        if row.grouped_as:
            return f"{row.grouped_as}-{row.states}"
        counts = len(row.inputs), len(row.outputs)
        return "train" if counts == (1, 1) else "train-{}-to-{}".format(*counts)

    def open(self, folder: Path, stream: str, number: int) -> ShardFile:
        name = f"{stream}-{number:05d}.tar"
        return _GroupsFile(folder, name, within) if (within := grouped(stream)) else _WdsFile(folder, name)

    def found(self, folder: Path) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        for path in sorted(folder.glob("*.tar")):
            if name := re.fullmatch(self.names(), path.name):
                yield name[1], int(name[2]), (path.name,)

    def names(self) -> str:
        return rf"(train(?:-\d+-to-\d+)?|(?:{'|'.join(STREAMS)})-\d+)-(\d{{5}})\.tar"

    def index(self, folder: Path, shard: Shard) -> Iterator[tuple[str, int]]:
        with TarReader(folder / shard.files[0]) as tar:
            if within := grouped(shard.stream):
                for _, members in tar.groups(_key_of):
                    rows = _record(tar, _by_ending(members))[within]
                    yield from ((row["key"], members[0].place << 16 | number) for number, row in enumerate(rows))
            else:
                yield from tar.index(_key_of)

    def images(self, folder: Path, shard: Shard, place: int) -> tuple[list[bytes], list[bytes]]:
        if within := grouped(shard.stream):
            row = self._grouped(folder, shard, within, place, images=True)
            return list(row.inputs), list(row.outputs)
        with TarReader(folder / shard.files[0]) as tar:
            return _images(tar, next(_samples(tar, place)))

    def columns(self, folder: Path, shard: Shard, place: int) -> dict[str, Any]:
        if within := grouped(shard.stream):
            return self._grouped(folder, shard, within, place, images=False).columns
        with TarReader(folder / shard.files[0]) as tar:
            return _columns(tar, next(_samples(tar, place)))

    @staticmethod
    def _grouped(folder: Path, shard: Shard, within: str, place: int, images: bool) -> StoredRow:
        with TarReader(folder / shard.files[0]) as tar:
            sample = next(_samples(tar, place >> 16))
            return next(islice(_rows_of(tar, sample, within, images), place & 0xFFFF, None))

    def rows(self, folder: Path, shard: Shard, images: bool) -> Iterator[StoredRow]:
        with TarReader(folder / shard.files[0]) as tar:
            within = grouped(shard.stream)
            for sample in _samples(tar):
                if within:
                    yield from _rows_of(tar, sample, within, images)
                    continue
                yield StoredRow.of(_columns(tar, sample), *(_images(tar, sample) if images else ()))

    def card(self, folder: str, streams: Sequence[str]) -> list[CardPart]:
        together: dict[str, list[str]] = {}
        # `datasets` takes the columns of the first tar for all: the one with most pictures comes first.
        for stream in sorted(streams, key=_pictures, reverse=True):
            kind = stream.partition("-")[0] if grouped(stream) else stream
            together.setdefault(kind, []).append(stream)
        found = [
            CardPart(
                kind.removeprefix("train").removeprefix("-"),
                tuple(f"{folder}/{stream}-[0-9][0-9][0-9][0-9][0-9].tar" for stream in held),
                tuple(held),
            )
            for kind, held in sorted(together.items(), key=lambda one: (one[0] in STREAMS, one[0]))
        ]
        by_name = [one for one in found[:1] if one.name in STREAMS]
        # The first goes by the config's name; dialogues and photos by their own too.
        return [replace(found[0], name=""), *by_name, *found[1:]]

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


class _GroupsFile(ShardFile):
    """Samples that hold several rows."""

    def __init__(self, folder: Path, name: str, within: str):
        self._name, self._within = name, within
        self._tar = TarWriter(folder / name)

    def write(self, prepared: Sequence[Pair]) -> None:
        for group in groups_of(prepared):
            for number, image in enumerate(group.states()):
                self._tar.add(f"{group.key}.{_state(number)}", image)
            self._tar.add(f"{group.key}.json", self._json(group))

    def _json(self, group: Group) -> bytes:
        """What the sample says of itself. Its rows are JSON text, as `datasets` guesses types from the first few."""
        data = [
            {
                "input_images": [_state(one) for one in before],
                "output_images": [_state(one) for one in after],
                "prompt": pair.row.prompt,
            }
            for pair, (before, after) in zip(group.pairs, group.numbers(), strict=True)
        ]
        rows = f"[{','.join(pair.row.line for pair in group.pairs)}]"
        return json.dumps(
            {"key": group.key, **group.told(), "data": data, self._within: rows}, ensure_ascii=False
        ).encode()

    def close(self) -> tuple[str, ...]:
        self._tar.close()
        return (self._name,)


def _pictures(stream: str) -> int:
    """How many a sample of a stream of dialogues or photos has."""
    return int(stream.rpartition("-")[2]) if grouped(stream) else 0


def _state(number: int) -> str:
    return f"state{number}.png"


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


def _record(tar: TarReader, sample: dict[str, TarMember]) -> dict[str, Any]:
    """What a sample of several rows says of itself."""
    record: dict[str, Any] = json.loads(tar.read(sample["json"]))
    return {name: json.loads(value) if name in STREAMS.values() else value for name, value in record.items()}


def _rows_of(tar: TarReader, sample: dict[str, TarMember], within: str, images: bool) -> Iterator[StoredRow]:
    """The rows of such a sample."""
    record = _record(tar, sample)
    states = {name: tar.read(member) for name, member in sample.items() if name.endswith(".png")} if images else {}
    for row, edit in zip(record[within], record["data"], strict=True):
        yield StoredRow.of(row, *(pictures_of(edit, states) if images else ()))


def _samples(tar: TarReader, place: int = 0) -> Iterator[dict[str, TarMember]]:
    """Samples from a place on: members by what follows the key."""
    for _, members in tar.groups(_key_of, place):
        yield _by_ending(members)


def _by_ending(members: Sequence[TarMember]) -> dict[str, TarMember]:
    return {member.name.partition(".")[2]: member for member in members}


def _images(tar: TarReader, sample: dict[str, TarMember]) -> tuple[list[bytes], list[bytes]]:
    before, after = (
        [tar.read(member) for name, member in sample.items() if name.startswith(role)] for role in ("input", "output")
    )
    return before, after
