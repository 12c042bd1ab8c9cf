"""The pictures of rows that are to be written: out of the spool, or out of the shards that an earlier finish left.

`dataset.py` asks for them. A damaged shard has none; what its rows lack is made again.
"""

from __future__ import annotations

import errno
import hashlib
import tarfile
from array import array
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from .layouts.layout import Layout, Shard, layout_named
from .parts import Part
from .rows import Encoded, Pair, Row
from .shards import CONFIGS, DatasetFacts
from .spool import Spool

DAMAGE = (OSError, ValueError, TypeError, LookupError, StopIteration, tarfile.TarError, pa.ArrowException)
"""What reading a damaged shard may raise."""


class Images:
    """Finds the images of rows: in the spool, else in the shards of an earlier finish. Only those that a row's record
    names by their hashes are its own."""

    def __init__(self, spool: Spool, part: Part, earlier: DatasetFacts | None):
        self._spool = spool
        self._part = part
        self._earlier = earlier
        self._places: _Places | None = None
        self.lost: list[str] = []
        """Keys of the rows whose images were in neither."""

    def fill(self, row: Row) -> Pair | None:
        before = [self._spool.get(row.key, "input", number) for number in range(len(row.inputs))]
        after = [self._spool.get(row.key, "output", number) for number in range(len(row.outputs))]
        if pair := _matched(row, before, after):
            return pair
        self._places = self._places or _Places(self._part, self._earlier)
        pair = _matched(row, *self._places.images(row.key))
        if pair is None:
            self.lost.append(row.key)
        return pair


def _matched(row: Row, before: Sequence[Encoded | None], after: Sequence[Encoded | None]) -> Pair | None:
    """A row with its images, if these are what its record says."""
    inputs, outputs = ([one for one in images if one is not None] for images in (before, after))
    for images, hashes in ((inputs, row.inputs), (outputs, row.outputs)):
        if tuple(hashlib.sha256(one).hexdigest() for one in images) != hashes:
            return None
    return Pair(row, inputs, outputs)


class _Places:
    """Where rows lie in shards. About 35 bytes a row, as there may be millions. A damaged shard has no rows."""

    def __init__(self, part: Part, facts: DatasetFacts | None):
        self._part = part
        self._layout: Layout | None = layout_named(facts.layout) if facts else None
        self._shards: list[tuple[str, Shard]] = []
        places, keys, owners = [np.array([], np.int64)], [np.array([], "S")], [np.array([], np.int32)]
        for config in CONFIGS:
            for shard in facts.configs[config].shards if facts else ():
                found = self._look(config, shard)
                owners.append(np.full(len(found[0]), len(self._shards), np.int32))
                self._shards.append((config, shard))
                keys.append(found[0])
                places.append(found[1])
        joined = np.concatenate(keys)
        del keys
        order = np.argsort(joined)
        self._keys, self._places, self._owners = (
            joined[order],
            np.concatenate(places)[order],
            np.concatenate(owners)[order],
        )

    def _look(self, config: str, shard: Shard) -> tuple[np.ndarray, np.ndarray]:
        """A shard's keys, and their places."""
        assert self._layout is not None
        keys, places = [], array("q")
        try:
            for key, place in self._layout.index(self._part.config(config), shard) if shard.rows else ():
                keys.append(key.encode())
                places.append(place)
        except DAMAGE as error:
            raise_if_unreadable(error)
        return np.array(keys, "S"), np.array(places, np.int64)[: len(keys)]

    def images(self, key: str) -> tuple[list[bytes], list[bytes]]:
        """A row's images; none where no shard has it, or a damaged one."""
        at = int(np.searchsorted(self._keys, np.bytes_(key.encode())))
        if at == len(self._keys) or self._keys[at] != key.encode():
            return [], []
        config, shard = self._shards[int(self._owners[at])]
        assert self._layout is not None
        try:
            return self._layout.images(self._part.config(config), shard, int(self._places[at]))
        except DAMAGE as error:
            raise_if_unreadable(error)
            return [], []


def raise_if_unreadable(error: BaseException) -> None:
    """A file that is damaged or gone is one thing; a disk that does not answer must not cost rows."""
    if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
        raise error
