"""Tar files of many small members: written front to back without anything that differs between two runs, read by place.

Only the standard library's header format is used; its own writer copies every member in pieces of 16 kB.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class TarMember:
    """A file in a tar."""

    name: str
    place: int
    """Where its header begins."""
    start: int
    """Where its content begins."""
    size: int


class TarWriter:
    """A tar that is being written. Members have no time, no owner and mode 644."""

    def __init__(self, path: Path):
        self._file = path.open("wb")

    def add(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self._file.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))
        self._file.write(data)
        self._file.write(bytes(-len(data) % _BLOCK))

    def close(self) -> None:
        with self._file:
            end = self._file.tell() + 2 * _BLOCK
            self._file.write(bytes(2 * _BLOCK + -end % tarfile.RECORDSIZE))


class TarReader:
    """A tar read member by member, without remembering them."""

    def __init__(self, path: Path):
        self._file = path.open("rb")

    def __enter__(self) -> TarReader:
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:  # fmt: skip
        self._file.close()

    def members(self, place: int = 0) -> Iterator[TarMember]:
        """The members from a header's place on.

        Raises:
            tarfile.ReadError: the file is damaged or cut off.
        """
        self._file.seek(place)
        with tarfile.open(fileobj=self._file, mode="r:") as tar:
            while (info := tar.next()) is not None:
                yield TarMember(info.name, info.offset, info.offset_data, info.size)
                tar.members = []  # type: ignore[attr-defined]  # otherwise all of them stay in memory

    def index(self, key_of: Callable[[str], str]) -> Iterator[tuple[str, int]]:
        """Keys of members that stand together, and the place of the first of each.

        Args:
            key_of: gives a member's key by its name.
        """
        for key, members in groupby(self.members(), lambda one: key_of(one.name)):
            yield key, next(members).place

    def groups(self, key_of: Callable[[str], str], place: int = 0) -> Iterator[tuple[str, list[TarMember]]]:
        """Keys with all their members, from a header's place on."""
        for key, members in groupby(self.members(place), lambda one: key_of(one.name)):
            yield key, list(members)

    def read(self, member: TarMember) -> bytes:
        self._file.seek(member.start)
        return self._file.read(member.size)
