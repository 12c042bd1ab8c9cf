"""Rows to shards: which rows share one, which shards of an earlier finish stay as they are, and the list of them all.

Where a shard ends follows from its own rows alone, so the same rows give the same shards, byte for byte, and a run that
goes on rewrites only what changed. `dataset.py` calls it for each config; how a shard lies on disk is the layout's.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from comfy_nodes.core.whole_files import move_whole

from ..disk import make_durable
from .groups import gathered
from .layouts.layout import Layout, Shard, ShardFile
from .rows import Pair, Row

CONFIGS = {"data": True, "rejected": False}
"""Folder of each config of the dataset, and whether its rows are the kept ones."""

_DIGEST = 16


class ConfigFacts(BaseModel):
    """What a config holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    size: int
    tasks: dict[str, int]
    shards: tuple[Shard, ...]


class DatasetFacts(BaseModel):
    """`shards.json`: what the dataset holds, written when all of it is in place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal["hf", "imgedit", "wds"]
    settings: str
    """Hash of all that decides a shard's bytes beside its rows."""
    configs: dict[str, ConfigFacts]
    seal: str = ""
    """Hash of all else here, so that a list that was changed is noticed; nothing in lists of earlier versions."""

    @model_validator(mode="after")
    def _is_sealed(self) -> DatasetFacts:
        if self.configs.keys() != {"data", "rejected"} or self.seal not in ("", seal_of(self)):
            raise ValueError("changed after it was written")
        return self

    def sealed(self) -> DatasetFacts:
        return self.model_copy(update={"seal": seal_of(self)})


def seal_of(listing: BaseModel) -> str:
    """Hash of all that a list says but its seal."""
    return hashlib.sha256(listing.model_dump_json(exclude={"seal"}).encode()).hexdigest()


def settings_digest(layout: Layout) -> str:
    sizes = layout.shard_size, layout.group_size, layout.group_rows
    return hashlib.sha256(repr([layout.name, layout.form, *sizes, *layout.settings()]).encode()).hexdigest()


@dataclass
class Former:
    """The shards of an earlier finish of the same layout, to be kept where their rows are still the same."""

    folder: Path
    shards: dict[tuple[str, int], Shard]
    listed: int
    """When their list was written: nanoseconds since 1970."""
    _digests: dict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    _begins: dict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))

    @classmethod
    def of(cls, folder: Path, facts: ConfigFacts, listed: int) -> Former:
        return cls(folder, {(shard.stream, shard.number): shard for shard in facts.shards}, listed)

    @property
    def whole(self) -> bool:
        """Whether all of them lie there as they were written, by their files' sizes and times."""
        return all(map(self._lies_there, self.shards.values()))

    def look_at(self, rows: Iterable[Row], layout: Layout) -> None:
        """Takes note of all rows that there are now: 17 bytes each."""
        last: dict[str, str] = {}
        for row in gathered(rows):
            stream = layout.stream(row)
            self._digests[stream] += row.digest()
            self._begins[stream].append(row.sample != last.get(stream))
            last[stream] = row.sample

    def kept(self, stream: str, number: int, first: int, full: int) -> Shard | None:
        """The shard that may stand here, holding rows from the `first` of its stream on.

        Args:
            full: size at which a shard is closed.
        """
        shard = self.shards.get((stream, number))
        if shard is None or not self._lies_there(shard):
            return None
        end = first + shard.rows
        digests = self._digests[stream]
        whole = end * _DIGEST == len(digests) or (shard.size >= full and self._begins[stream][end : end + 1] == b"\1")
        same = hashlib.sha256(digests[first * _DIGEST : end * _DIGEST]).hexdigest() == shard.rows_digest
        return shard if whole and same else None

    def _lies_there(self, shard: Shard) -> bool:
        """Whether a shard's files are there, as long as they were, and nobody wrote to them since they were listed."""
        found = [self.folder / name for name in shard.files]
        if not all(path.is_file() for path in found):
            return False
        stats = [path.stat() for path in found]
        untouched = all(one.st_mtime_ns <= self.listed for one in stats)
        return untouched and shard.lengths in ((), tuple(one.st_size for one in stats))


def write_config(
    rows: Iterable[Row], fill: Callable[[Row], Pair | None], layout: Layout, folder: Path, former: Former | None
) -> ConfigFacts:
    """Writes a config's shards into an empty folder.

    Args:
        rows: in the order in which they are to lie.
        fill: gets a row's images; None where they are lost, which leaves the row out.
        former: what of an earlier finish may be kept; it has looked at the same rows.
    """
    tasks: Counter[str] = Counter()
    with _Writing() as writing:
        streams: dict[str, _Stream] = {}
        for row in gathered(rows):
            name = layout.stream(row)
            if name not in streams:
                streams[name] = _Stream(name, layout, folder, former, writing)
            streams[name].add(row, fill)
            tasks[row.task] += 1
        if not streams:
            streams[layout.empty_stream] = _Stream(layout.empty_stream, layout, folder, former, writing)
            streams[layout.empty_stream].add_nothing()
        for stream in streams.values():
            stream.close()
        writing.wait()
    shards = tuple(
        _named(shard, layout, folder, stream) for _, stream in sorted(streams.items()) for shard in stream.shards
    )
    size = sum(shard.size for shard in shards)
    return ConfigFacts(rows=tasks.total(), size=size, tasks=dict(sorted(tasks.items())), shards=shards)


class _Stream:
    """A sequence of shards that is being written."""

    def __init__(self, name: str, layout: Layout, folder: Path, former: Former | None, writing: _Writing):
        self._name, self._layout, self._folder, self._former, self._writing = name, layout, folder, former, writing
        self.shards: list[Shard] = []
        self._row = 0
        self._pass_over = 0
        self._last_sample = ""
        self._open: _OpenShard | None = None

    def add(self, row: Row, fill: Callable[[Row], Pair | None]) -> None:
        self._row += 1
        if self._pass_over:
            self._pass_over -= 1
            return
        if row.sample != self._last_sample and self._open is not None:
            # Only between two samples: the rows of one may belong together.
            if self._open.size >= self._layout.shard_size:
                self.close()
            elif self._open.holds(self._layout.group_size, self._layout.group_rows):
                self._open.flush()
        self._last_sample = row.sample
        if self._open is None:
            kept = self._former and self._former.kept(
                self._name, len(self.shards), self._row - 1, self._layout.shard_size
            )
            if kept:
                self._keep(kept)
                return
            self._open = self._begin()
        if pair := fill(row):
            self._open.add(pair)

    def add_nothing(self) -> None:
        self._open = self._begin()

    def close(self) -> None:
        if self._open is not None:
            self._open.flush()
            self._writing.do(self._open.end, self.shards)
            self._writing.wait()
            self._open = None

    def _begin(self) -> _OpenShard:
        number = len(self.shards)
        return _OpenShard(
            self._name, number, self._folder, self._layout.open(self._folder, self._name, number), self._writing
        )

    def _keep(self, shard: Shard) -> None:
        assert self._former is not None
        names = tuple(self._layout.written_name(name) for name in shard.files)
        for there, here in zip(shard.files, names, strict=True):
            (self._folder / here).parent.mkdir(exist_ok=True)
            link(self._former.folder / there, self._folder / here)
        self.shards.append(shard.model_copy(update={"files": names}))
        self._pass_over = shard.rows - 1


class _OpenShard:
    """One shard that is being written, in groups of rows."""

    def __init__(self, stream: str, number: int, folder: Path, file: ShardFile, writing: _Writing):
        self._stream, self._number, self._folder, self._file, self._writing = stream, number, folder, file, writing
        self._group: list[Pair] = []
        self._digest = hashlib.sha256()
        self._rows = 0
        self._group_size = 0
        self.size = 0

    def holds(self, size: int, rows: int) -> bool:
        """Whether as much waits to be written."""
        return self._group_size >= size or len(self._group) >= rows

    def add(self, pair: Pair) -> None:
        self._digest.update(pair.row.digest())
        self._group.append(pair)
        self._rows += 1
        self.size += pair.size
        self._group_size += pair.size

    def flush(self) -> None:
        """Has the rows so far written while the next ones are fetched."""
        if self._group:
            self._writing.do(self._file.write, self._file.prepare(self._group))
            self._group, self._group_size = [], 0

    def end(self, shards: list[Shard]) -> None:
        names = self._file.close()
        for name in names:
            make_durable(self._folder / name)
        shards.append(
            Shard(
                stream=self._stream,
                number=self._number,
                files=names,
                lengths=tuple((self._folder / name).stat().st_size for name in names),
                rows=self._rows,
                size=self.size,
                rows_digest=self._digest.hexdigest(),
            )
        )


class _Writing:
    """A thread beside this one for one piece of work at a time. An error in it comes up with the next piece."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "shards")
        self._running: Future[Any] | None = None

    def __enter__(self) -> _Writing:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def do(self, work: Callable[..., Any], *arguments: Any) -> None:
        self.wait()
        self._running = self._pool.submit(work, *arguments)

    def wait(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.result()


def _named(shard: Shard, layout: Layout, folder: Path, stream: _Stream) -> Shard:
    """Gives a shard's files the names that they keep."""
    names = tuple(layout.final_name(name, len(stream.shards)) for name in shard.files)
    for written, final in zip(shard.files, names, strict=True):
        if written != final:
            move_whole(folder / written, folder / final)
    return shard.model_copy(update={"files": names})


def link(there: Path, here: Path) -> None:
    """The same file under a second name; a copy where the disk knows no such thing."""
    try:
        here.hardlink_to(there)
    except OSError:
        shutil.copyfile(there, here)
        make_durable(here)
