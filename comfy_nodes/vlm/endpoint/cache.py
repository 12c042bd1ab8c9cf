"""Replies that were paid for, on disk, so that no question is asked twice: one file for all servers of this machine.

The client looks here before it asks, writes the moment a usable reply arrives, and claims a question while it asks it,
so that other servers wait for the reply and don't pay for it as well. Failures are not kept. A file that is damaged is
set aside and begun anew; one that cannot be used costs a warning and the replies in it, never an answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from ...core.services import places
from ...core.services.profiles import Profile
from ...core.whole_files import move_whole
from ..asking import Question
from .pictures import Picture

FILE = "replies.sqlite"

REQUEST_VERSION = 1
"""Goes up when the same question is put to services in other words, so that old replies are not taken for new ones."""

MOST_REPLIES = 500_000
"""The oldest beyond these are dropped when the file is opened: about 1 GB at 2 KB a reply. Ours."""

LEASE_S = 20.0
"""How long a claim lasts without a sign of life; a server that was killed blocks its questions no longer. Ours."""
HEARTBEAT_S = 5.0
POLL_S = 0.25
SHAPES = 256
"""Shapes whose schema is kept; making one takes most of a millisecond. Ours."""
BUSY_S = 5.0
"""Seconds that a writer waits for another process's write, which takes milliseconds. Ours."""

_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
  key TEXT PRIMARY KEY, at REAL NOT NULL, model TEXT NOT NULL, prompt_id TEXT NOT NULL, text TEXT NOT NULL, value TEXT
);
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL);
"""

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class CachedReply:
    """What is kept of an answer."""

    model: str
    text: str
    value: str | None
    """JSON of `Answer.value`."""


def key(profile: Profile, question: Question, pictures: Sequence[Picture]) -> str:
    """What makes two questions the same: service, model, all that is sent, and the version of the prompt.

    The service's address is part of it, since two of them may serve different weights under one name. The profile's
    name, its key, prices and limits are not.

    Args:
        pictures: the question's.
    """
    asked = {
        "request": REQUEST_VERSION,
        **profile.deciding(),
        "prompt": (question.prompt_id, question.prompt_version),
        "text": (question.system, question.user),
        "images": [picture.digest for picture in pictures],
        "reply": _schema(question.reply) if question.reply else None,
        "sampling": (question.max_tokens, question.temperature, question.seed),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


@lru_cache(maxsize=SHAPES)
def _schema(shape: type[BaseModel]) -> Any:
    return shape.model_json_schema()


class ReplyCache:
    """One file of replies and of claims on questions that are being asked. Used from one thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._owner = uuid.uuid4().hex
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._held: set[str] = set()
        self._heartbeat: asyncio.Task[None] | None = None
        self._warned = False

    def get(self, key: str) -> CachedReply | None:
        def look(db: sqlite3.Connection) -> CachedReply | None:
            row = db.execute("SELECT model, text, value FROM replies WHERE key = ?", (key,)).fetchone()
            return CachedReply(*row) if row else None

        return self._do(look)

    def put(self, key: str, prompt_id: str, reply: CachedReply) -> None:
        def write(db: sqlite3.Connection) -> None:
            row = (key, time.time(), reply.model, prompt_id, reply.text, reply.value)
            db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?)", row)

        self._do(write)

    @asynccontextmanager
    async def claim(self, key: str) -> AsyncIterator[CachedReply | None]:
        """The reply, if it is there or another server that is asking right now gets it; else None, and whoever asks
        meanwhile waits for this block to end. Waits for another server once: if that one fails, all ask themselves."""
        first = None
        while not (found := self.get(key)):
            holder = self._take(key)
            first = first or holder
            if holder in (None, self._owner) or holder != first:
                break
            await asyncio.sleep(POLL_S)
        if found or holder != self._owner:
            yield found
            return
        self._held.add(key)
        if self._heartbeat is None or self._heartbeat.done():
            self._heartbeat = asyncio.ensure_future(self._keep_alive())
        try:
            # The reply may have come between the look and the claim.
            yield self.get(key)
        finally:
            self._held.discard(key)
            self._do(lambda db: db.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, self._owner)))

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _take(self, key: str) -> str | None:
        """Who holds the claim after we have tried to take it; None where claims cannot be kept."""

        def take(db: sqlite3.Connection) -> str | None:
            now = time.time()
            taken = db.execute(
                "INSERT INTO claims VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
                "SET owner = excluded.owner, until = excluded.until WHERE until < ? RETURNING owner",
                (key, self._owner, now + LEASE_S, now),
            ).fetchone()
            row = taken or db.execute("SELECT owner FROM claims WHERE key = ?", (key,)).fetchone()
            # Given back between these two: free again, and tried again.
            return str(row[0]) if row else "nobody"

        return self._do(take)

    async def _keep_alive(self) -> None:
        def renew(db: sqlite3.Connection) -> None:
            db.execute("UPDATE claims SET until = ? WHERE owner = ?", (time.time() + LEASE_S, self._owner))

        while self._held:
            await asyncio.sleep(HEARTBEAT_S)
            self._do(renew)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Runs `work`, on a new file if this one is damaged; None where the disk does not let us."""
        for attempt in (1, 2):
            try:
                return work(self._open())
            except (sqlite3.OperationalError, OSError) as error:
                self._warn(f"{self._file} cannot be used, replies are not kept: {error}")
                return None
            except sqlite3.DatabaseError as error:
                # Its subclasses are mistakes of ours; the class itself is how SQLite reports a damaged file.
                if attempt == 2 or type(error) is not sqlite3.DatabaseError:
                    raise
                self._set_aside(error)
        return None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            if self._file.exists():
                self._inode = self._file.stat().st_ino
            db = places.open_database(self._file, BUSY_S)
            try:
                self._inode = self._file.stat().st_ino
                db.executescript(_TABLES)
                db.execute("DELETE FROM replies WHERE rowid <= (SELECT max(rowid) FROM replies) - ?", (MOST_REPLIES,))
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        self.close()
        try:
            # Another server may have done so already; its new file is not ours to move.
            if self._file.stat().st_ino != self._inode:
                return
            aside = self._file.with_name(f"{self._file.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
            move_whole(self._file, aside)
            for ending in ("-wal", "-shm"):
                self._file.with_name(self._file.name + ending).unlink(missing_ok=True)
        except OSError as trouble:
            self._warn(f"{self._file} is damaged ({error}) and cannot be moved away: {trouble}")
        else:
            _log.error(
                "EditPairs: the VLM cache is damaged (%s); it is now %s, and a new one begins", error, aside.name
            )

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("EditPairs: %s", message)


_opened: dict[Path, ReplyCache] = {}


def open_cache() -> ReplyCache:
    """This machine's replies."""
    file = places.cache_folder() / FILE
    return _opened.setdefault(file, ReplyCache(file))
