"""Photos that are near-duplicates of what stands before them in the input: told by perceptual hashes, the first one stays.

OpenCV's pHash of the upright photo, 64 bits; two photos are taken for one whose hashes differ in few of them, as they are or
mirrored. Hashes lie in a database of the run's folder, each made once, so that a run that goes on reads no photo again.
Whoever asks goes through the input in its order; looking up takes the same time and memory however many came before.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from comfy_nodes.core import photos
from comfy_nodes.core.photos import PhotoError

from ..errors import RunError
from ..places import Locator
from ..samples import Planned
from .photo import Photo

NEAR = 6
"""Bits in which two hashes may differ that are taken for one photo's. Ours, by the bundled photos: saved as JPEG down to
quality 20, as WebP, or at a quarter of their size they differ in 2 at most, without 2 % of their borders in 6; of 184,000
pairs of other pictures the first two that show different things differ in 9."""

MOST = 8
"""More are other pictures. Ours, see `NEAR`."""

SIDE = 32
"""Pixels a side that the hash is made of (OpenCV's pHash)."""

BITS = 64

THREADS = min(8, os.cpu_count() or 1)
"""Photos that are decoded at the same time, at most. Ours."""

LARGE = 32_000_000
"""Photos of more pixels are decoded one after the other, as a decoder may hold 6 bytes for each. Ours."""

HELD = 64 << 20
"""Bytes of photos, which their readers could not help reading, that are held ahead. Ours."""

_PART = 128
"""Hashes in one piece of a slot: 2 KB, so that adding one copies little. Ours."""

_PARTS = 1 << 24
"""Pieces that a slot may have."""

_ENTRY = np.dtype([("hash", "<u8"), ("photo", "<i8")])

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (bands INTEGER NOT NULL, id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS photo (
    id INTEGER PRIMARY KEY, file TEXT NOT NULL UNIQUE, stamp TEXT NOT NULL, hash BLOB, mirrored BLOB, source_id TEXT NOT NULL,
    shard INTEGER, place INTEGER, repeats TEXT NOT NULL DEFAULT '', slotted INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS by_shard ON photo (shard) WHERE shard IS NOT NULL;
CREATE TABLE IF NOT EXISTS slot (part INTEGER PRIMARY KEY, hashes BLOB NOT NULL);
"""
"""`slot` holds the hashes of photos that stay by the bits of each band, in pieces; whoever finds one there looks at `photo`."""


_FIND = f"SELECT hashes FROM json_each(?) JOIN slot ON part BETWEEN value AND value + {_PARTS - 1}"
"""What lies in slots, by the first pieces that they may have."""


class Hashes(NamedTuple):
    """A photo's hash, and that of its mirror image."""

    own: int
    mirrored: int


class Looked(NamedTuple):
    """A photo of an input, whose turn it is."""

    photo: Photo
    planned: list[Planned]
    """What it gives."""
    counts: bool
    """Whether it may stand for its copies, or be one."""


def hashes_of(data: bytes, name: str) -> Hashes:
    """
    Raises:
        PhotoError: it is no photo.
        RunError: OpenCV cannot do it.
    """
    small = photos.open_small(data, name, SIDE)
    return Hashes(_phash(small), _phash(np.ascontiguousarray(small[:, ::-1])))


def _phash(small: np.ndarray) -> int:
    try:
        import cv2

        return int.from_bytes(cv2.img_hash.pHash(small).tobytes(), "big")
    except (ImportError, AttributeError):
        raise RunError("--near: this OpenCV has no img_hash; pip install opencv-contrib-python-headless") from None


class NearDuplicates:
    """The photos of a run's input that were seen so far, by how they look."""

    def __init__(self, path: Path | None, near: int):
        """
        Args:
            path: the database; None for one that is gone at the end.
            near: bits in which two hashes may differ that are taken for one photo's.

        Raises:
            RunError: `near` is too large, or the file is no such database.
        """
        if not 0 <= near <= MOST:
            raise RunError(
                f"--near {near}: give 0 to {MOST}; hashes that differ in more bits of {BITS} are other photos'"
            )
        _phash(np.zeros((SIDE, SIDE), np.uint8))
        self._path, self._near, self._bands = path, near, _Bands(near)
        self._lock, self._one_large = threading.Lock(), threading.Lock()

    @cached_property
    def _db(self) -> sqlite3.Connection:
        """The database, opened when the first photo is looked at; slots of another distance are emptied.

        Raises:
            RunError: the file is no such database.
        """
        db = sqlite3.connect(self._path or "", isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(_TABLES)
            if db.execute("SELECT bands FROM meta").fetchone() != (self._bands.number,):
                db.execute("BEGIN IMMEDIATE")
                known = db.execute("SELECT id FROM meta").fetchone()
                db.execute("DELETE FROM meta")
                db.execute(
                    "INSERT INTO meta VALUES (?, ?)", (self._bands.number, known[0] if known else uuid.uuid4().hex)
                )
                db.execute("DELETE FROM slot")
                db.execute("UPDATE photo SET shard = NULL, place = NULL, slotted = 0")
                db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            db.close()
            raise RunError(f"{self._path}: cannot be used ({error}); remove it: it is made again") from None
        return db

    @property
    def id(self) -> str:
        """Another one where nothing is known any more of what was seen.

        Raises:
            RunError: the file is no such database.
        """
        with self._lock:
            return str(self._db.execute("SELECT id FROM meta").fetchone()[0])

    def close(self) -> None:
        if "_db" in vars(self):
            self._db.close()

    def told(
        self, found: Iterator[Looked], shard: int, read: Callable[[Locator], bytes], stamp: Callable[[Locator], str]
    ) -> Iterator[tuple[Looked, str]]:
        """Photos, each with what is said of it where it repeats an earlier one that counts; "" where it does not.

        Args:
            found: all photos of a shard, in its order; earlier shards were gone through before.
            shard: its number; 0 where the input is not cut.
            read, stamp: as of `Reader`.
        """
        with self._lock:
            self._db.execute("UPDATE photo SET shard = NULL, place = NULL WHERE shard = ?", (shard,))
        ahead: deque[tuple[Looked, str, Future[Hashes | None] | None]] = deque()
        place = 0
        with ThreadPoolExecutor(THREADS, "hash-photo") as pool:

            def first() -> tuple[Looked, str]:
                nonlocal place
                looked, stamped, hashed = ahead.popleft()
                place += 1
                repeats = self._decided(looked.photo, stamped, hashed.result(), shard, place) if hashed else ""
                return looked, repeats

            try:
                for looked in found:
                    ahead.append(
                        (looked, *(self._begun(looked.photo, pool, read, stamp) if looked.counts else ("", None)))
                    )
                    while len(ahead) > 2 * THREADS or sum(len(one.photo.data or b"") for one, _, _ in ahead) > HELD:
                        yield first()
                while ahead:
                    yield first()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _begun(
        self,
        photo: Photo,
        pool: ThreadPoolExecutor,
        read: Callable[[Locator], bytes],
        stamp: Callable[[Locator], str],
    ) -> tuple[str, Future[Hashes | None] | None]:
        """A photo's stamp, and its hash, which is being made unless it is known; of one that is not there none."""
        try:
            stamped = stamp(photo.file)
        except OSError:
            return "", None  # what is wrong is said when its turn comes
        with self._lock:
            row = self._db.execute(
                "SELECT hash, mirrored FROM photo WHERE file = ? AND stamp = ?", (str(photo.file), stamped)
            )
            known = row.fetchone()
        if known:
            done: Future[Hashes | None] = Future()
            done.set_result(Hashes(*(int.from_bytes(one, "big") for one in known)) if known[0] else None)
            return stamped, done
        return stamped, pool.submit(self._hashed, photo, read)

    def _hashed(self, photo: Photo, read: Callable[[Locator], bytes]) -> Hashes | None:
        with suppress(OSError, PhotoError):  # what is wrong is said when its turn comes
            data = photo.data if photo.data is not None else read(photo.file)
            width, height = photos.read_header(io.BytesIO(data), photo.source_id).size
            with self._one_large if width * height > LARGE else nullcontext():
                return hashes_of(data, photo.source_id)
        return None

    def _decided(self, photo: Photo, stamped: str, hashes: Hashes | None, shard: int, place: int) -> str:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                repeats = self._decide(photo, stamped, hashes, shard, place)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        return repeats

    def _decide(self, photo: Photo, stamped: str, hashes: Hashes | None, shard: int, place: int) -> str:
        """What is said of a photo that repeats another; "" where it is the first."""
        row = self._db.execute(
            "SELECT id, shard, place, repeats, slotted, stamp FROM photo WHERE file = ?", (str(photo.file),)
        ).fetchone()
        if row and row[1] is not None and (row[1], row[2]) < (shard, place):
            return str(row[3])  # the same file, told of a second time
        repeats = self._repeated(hashes, shard, place) if hashes else ""
        slotted = bool(row and row[4] and row[5] == stamped)
        packed = [one.to_bytes(8, "big") for one in hashes] if hashes else [None, None]
        values = (stamped, *packed, photo.source_id, shard, place, repeats, slotted)
        if row:
            number = int(row[0])
            self._db.execute(
                "UPDATE photo SET stamp = ?, hash = ?, mirrored = ?, source_id = ?, shard = ?, place = ?, repeats = ?, "
                "slotted = ? WHERE id = ?",
                (*values, number),
            )
        else:
            cursor = self._db.execute(
                "INSERT INTO photo (stamp, hash, mirrored, source_id, shard, place, repeats, slotted, file) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, str(photo.file)),
            )
            number = int(cursor.lastrowid or 0)
        if hashes and not repeats and not slotted:
            self._slot(hashes.own, number)
        return repeats

    def _repeated(self, hashes: Hashes, shard: int, place: int) -> str:
        """The earliest photo that one repeats, in words; "" for none."""
        best: tuple[tuple[int, int], str] | None = None
        for value, how in ((hashes.own, ""), (hashes.mirrored, "mirrored, ")):
            for number in self._candidates(value):
                row = self._db.execute(
                    "SELECT shard, place, hash, source_id FROM photo WHERE id = ? AND shard IS NOT NULL AND repeats = ''",
                    (number,),
                ).fetchone()
                if row is None or (row[0], row[1]) >= (shard, place):
                    continue
                bits = (int.from_bytes(row[2], "big") ^ value).bit_count()
                if bits <= self._near and (best is None or (row[0], row[1]) < best[0]):
                    best = (row[0], row[1]), f"it repeats {row[3]} ({how}{bits} of {BITS} bits differ)"
        return best[1] if best else ""

    def _candidates(self, value: int) -> list[int]:
        """Photos whose hashes were near when they were taken down."""
        pieces = self._db.execute(_FIND, (json.dumps([slot * _PARTS for slot in self._bands.probes(value)]),))
        entries = np.frombuffer(b"".join(one for (one,) in pieces), _ENTRY)
        near = np.bitwise_count(entries["hash"] ^ np.uint64(value)) <= self._near
        return [int(one) for one in np.unique(entries["photo"][near])]

    def _slot(self, value: int, number: int) -> None:
        """Takes down the hash of a photo that stays."""
        entry = np.array([(value, number)], _ENTRY).tobytes()
        for slot in self._bands.slots(value):
            first = slot * _PARTS
            last = self._db.execute(
                "SELECT part, hashes FROM slot WHERE part BETWEEN ? AND ? ORDER BY part DESC LIMIT 1",
                (first, first + _PARTS - 1),
            ).fetchone()
            if last and len(last[1]) < _PART * _ENTRY.itemsize:
                self._db.execute("UPDATE slot SET hashes = ? WHERE part = ?", (last[1] + entry, last[0]))
            else:
                self._db.execute("INSERT INTO slot VALUES (?, ?)", (last[0] + 1 if last else first, entry))
        self._db.execute("UPDATE photo SET slotted = 1 WHERE id = ?", (number,))


class _Bands:
    """A hash cut into bands. Two that differ in few bits differ in at least one band in none, or in one bit of it: exact, and
    only few hashes are looked at for it."""

    def __init__(self, near: int):
        self.number = max(3, near // 2 + 1)
        ends = [round(BITS * one / self.number) for one in range(self.number + 1)]
        self._bands = [(BITS - end, (1 << end - start) - 1) for start, end in pairwise(ends)]
        """By how many bits a hash is shifted for each, and which are left then."""
        flips = near // self.number
        self._flips = [[0, *(1 << bit for bit in range(mask.bit_length() * flips))] for _, mask in self._bands]

    def slots(self, value: int) -> list[int]:
        """A number for each band and its bits."""
        return [band << 24 | (value >> shift & mask) for band, (shift, mask) in enumerate(self._bands)]

    def probes(self, value: int) -> list[int]:
        """The slots of all hashes that may be near."""
        return [slot ^ flip for slot, flips in zip(self.slots(value), self._flips, strict=True) for flip in flips]
