"""Where an input's files lie: on a local disk, or behind any URL that fsspec opens.

The readers of inputs list, open and read files through it and never learn which of the two it is. What a library
behind fsspec raises comes out as OSError; local files take no detour through fsspec.
"""

from __future__ import annotations

import errno
import io
import os
import posixpath
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

from ..errors import RunError

READ_AHEAD = 1 << 18
"""Bytes that are fetched at once of a file behind a URL: the headers of most photos lie in the first. Ours."""

_STAMPS = ("ETag", "etag", "checksum", "blob_id", "mtime", "LastModified", "last_modified", "updated", "created")
"""What file systems call the mark that changes with a file."""


MAX_BYTES = 2 << 30
"""The largest file that is read as a picture. Ours."""


class Refused(OSError):
    """A file that is not read, whatever its permissions; the message says why and what to do."""


@dataclass(frozen=True)
class FolderNames:
    """What lies in one folder, hidden files and folders left out."""

    names: list[str]
    """Of files and folders, sorted."""
    folders: frozenset[str]
    """Which of them are folders."""


class Storage(Protocol):
    """A folder with all that lies below it; names are relative to it, with `/` between their parts."""

    root: str
    remote: bool
    """Whether every look at a file is a request over a network."""

    def at(self, root: str) -> Self:
        """Another folder of the same disk or server."""

    def open(self, name: str) -> BinaryIO:
        """The file, seekable. Raises OSError."""

    def read(self, name: str) -> bytes:
        """The file's bytes. Raises OSError."""

    def names(self, folder: str) -> FolderNames:
        """What lies in a folder; "" is the root. Raises OSError."""

    def stamps(self, folder: str) -> Iterator[tuple[str, str | None]]:
        """What lies in a folder, sorted: names, and for each file a mark that changes with it. Raises OSError."""

    def stamp(self, name: str) -> str:
        """The mark of one file. Raises OSError."""

    def inside(self, path: str) -> str | None:
        """A path relative to the root, without detours; None where it leaves the root."""


class LocalStorage:
    """A folder on a disk. Opens plain files that lie in it; a link out of it is not followed, as whoever packed the
    folder would read whatever its user may."""

    remote = False

    def __init__(self, root: Path):
        self.folder = root.resolve()
        self.root = str(self.folder)
        self._prefix = self.root.rstrip("/") + "/"
        self._open_to = (self._prefix, *_blobs(self.folder))
        self._real = lru_cache(16)(os.path.realpath)  # photos of a folder are asked for in a row
        self.picked: frozenset[str] = frozenset()
        """Files that the user named one by one: these may be links to anywhere."""

    def at(self, root: str) -> Self:
        return type(self)(Path(root))

    def open(self, name: str) -> BinaryIO:
        path = self._prefix + name
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            mode, real = os.stat(path).st_mode, os.path.realpath(path)  # noqa: PTH116  # a million of them
        else:
            real = self._real(os.path.dirname(path)) + "/"  # noqa: PTH120
        # A pipe that nobody writes to would never open, and opening a device may do something.
        _check_plain(mode)
        if name not in self.picked and not real.startswith(self._open_to):
            raise Refused("it is a link out of the folder; put the file itself there")
        return open(path, "rb", opener=_open_at_once)

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise Refused(f"it is larger than {MAX_BYTES >> 30} GB, which no picture is")
            return file.read()

    def names(self, folder: str) -> FolderNames:
        names: list[str] = []
        folders: set[str] = set()
        with os.scandir(self._prefix + folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not entry.is_dir():
                    names.append(entry.name)
                elif not entry.is_symlink():  # one that leads upwards would never end
                    names.append(entry.name)
                    folders.add(entry.name)
        names.sort()
        return FolderNames(names, frozenset(folders))

    def stamps(self, folder: str) -> Iterator[tuple[str, str | None]]:
        listing = self.names(folder)
        for name in listing.names:
            try:
                yield name, None if name in listing.folders else self.stamp(f"{folder}/{name}" if folder else name)
            except FileNotFoundError:  # a link to nowhere
                yield name, "gone"

    def stamp(self, name: str) -> str:
        found = os.stat(self._prefix + name)  # noqa: PTH116  # a million of them: twice as fast as a Path's
        return f"{found.st_size}/{found.st_mtime_ns}"

    def inside(self, path: str) -> str | None:
        """A path that leads into the root through a link is inside as well."""
        try:
            if b"\0" in os.fsencode(path):
                return None
        except UnicodeEncodeError:  # half a character
            return None
        path = path if path.startswith("/") else self._prefix + path
        whole = os.path.normpath(path)
        if not whole.startswith(self._prefix):
            whole = os.path.realpath(path)
        return whole[len(self._prefix) :] if whole.startswith(self._prefix) else None


class RemoteStorage:
    """A folder behind a URL."""

    remote = True

    def __init__(self, system: Any, root: str):
        self.system = system
        self.root = root.rstrip("/")

    def at(self, root: str) -> Self:
        return type(self)(self.system, root)

    def open(self, name: str) -> BinaryIO:
        with _os_errors():
            file = self.system.open(self._whole(name), "rb", block_size=READ_AHEAD)
        return io.BufferedReader(_RemoteFile(file), READ_AHEAD)

    def read(self, name: str) -> bytes:
        with _os_errors():
            return bytes(self.system.cat_file(self._whole(name)))

    def names(self, folder: str) -> FolderNames:
        entries = self._entries(folder)
        folders = frozenset(name for name, one in entries.items() if one["type"] == "directory")
        return FolderNames(sorted(entries), folders)

    def stamps(self, folder: str) -> Iterator[tuple[str, str | None]]:
        for name, one in sorted(self._entries(folder).items()):
            yield name, None if one["type"] == "directory" else _stamp(one)

    def stamp(self, name: str) -> str:
        with _os_errors():
            return _stamp(self.system.info(self._whole(name)))

    def inside(self, path: str) -> str | None:
        try:
            path.encode()
        except UnicodeEncodeError:
            return None
        # Of a web address the scheme stays in the root, and its two slashes are no detour.
        scheme, mark, root = self.root.rpartition("://")
        if "://" in path:
            whole = self.system._strip_protocol(path).removeprefix(scheme + mark)
        else:
            whole = posixpath.join(root, path.replace("#", "%23") if scheme else path)
        whole = posixpath.normpath(whole)
        return whole[len(root) + 1 :] if whole.startswith(root + "/") and "\0" not in whole else None

    def _entries(self, folder: str) -> dict[str, dict[str, Any]]:
        whole = self._whole(folder)
        with _os_errors():
            listed = self.system.ls(whole, detail=True)
        # Object stores may list a folder's own marker among what lies in it.
        named = {one["name"].rstrip("/").rpartition("/")[2]: one for one in listed if one["name"].rstrip("/") != whole}
        return {name: one for name, one in named.items() if name and not name.startswith(".")}

    def _whole(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root


class _RemoteFile(io.RawIOBase):
    """A file of fsspec whose errors are OSErrors."""

    def __init__(self, file: Any):
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _os_errors():
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def locate(path: str) -> tuple[Storage, str] | None:
    """The folder that a path or URL is or lies in, and the file's name there, "" for a folder; None: not there.

    Raises:
        RunError: nothing here opens such a URL.
    """
    local = _local(path)
    if local is not None:
        if local.is_dir():
            return LocalStorage(local), ""
        return (LocalStorage(local.parent), local.name) if local.exists() else None
    system, whole = _system(path)
    try:
        with _os_errors():
            if system.isfile(whole):
                folder, _, name = whole.rpartition("/")
                return RemoteStorage(system, folder), name
            return (RemoteStorage(system, whole), "") if system.isdir(whole) else None
    except OSError as error:
        raise RunError(f"--input {path}: cannot be reached ({said(error)}); check the URL and your access") from None


def matches(pattern: str) -> list[str]:
    """The paths or URLs that a pattern names: `{00..07}` and `{a,b}` in the order written, `*`, `?`, `[a-c]` and `**`
    in the order of names."""
    import bracex

    found: dict[str, None] = {}
    for one in bracex.expand(pattern, limit=0):
        if not re.search(r"[*?\[]", one):
            found[one] = None
            continue
        local = _local(one)
        system, whole = _system(one if local is None else str(local))
        try:
            with _os_errors():
                names = sorted(system.glob(whole))
        except OSError as error:
            raise RunError(f"--input {one}: cannot be listed ({said(error)}); check the URL and your access") from None
        found |= dict.fromkeys(names if local is not None else map(system.unstrip_protocol, names))
    return list(found)


def walk(storage: Storage, folder: str = "") -> Iterator[str]:
    """All files below a folder, by name; hidden ones, those in hidden folders and those behind linked folders left out.

    Raises:
        RunError: a folder that cannot be listed.
    """
    listing = listed(storage, folder)
    for name in listing.names:
        path = f"{folder}/{name}" if folder else name
        if name in listing.folders:
            yield from walk(storage, path)
        else:
            yield path


def listed(storage: Storage, folder: str) -> FolderNames:
    """What lies in a folder.

    Raises:
        RunError: it cannot be listed.
    """
    try:
        return storage.names(folder)
    except OSError as error:
        where = f"{storage.root}/{folder}" if folder else storage.root
        raise RunError(f"--input {where}: {unreadable(error)}") from None


def unreadable(error: OSError) -> str:
    """What is to be said of a file that cannot be read, and what to do."""
    return f"cannot be read ({said(error)})" + ("" if isinstance(error, Refused) else "; check path and permissions")


def said(error: OSError) -> str:
    """What an error says, without paths and URLs: these may hold what is nobody's business."""
    if error.strerror:
        return error.strerror
    text = re.sub(r"\S*(://|/)\S*", "…", str(error).partition("\n")[0])
    return text or type(error).__name__


def _check_plain(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise Refused("it is a pipe, a device or a socket; give a file")


def _open_at_once(path: str, flags: int) -> int:
    """A file's descriptor, without waiting for a writer if it has become a pipe in the meantime."""
    opened = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _check_plain(os.fstat(opened).st_mode)
    except OSError:
        os.close(opened)
        raise
    return opened


def _blobs(folder: Path) -> Iterator[str]:
    """Where the hub's cache keeps the files that the links in one of its snapshots lead to."""
    for parent in folder.parents:
        if parent.name == "snapshots" and (parent.parent / "blobs").is_dir():
            yield f"{parent.parent / 'blobs'}/"


def _local(path: str) -> Path | None:
    """A path of this machine, also one written as `file://`; None for other URLs. What is there is a path, however it looks."""
    if path.startswith(("file://", "local://")):
        return Path(path.partition("://")[2])
    return Path(path) if not ("://" in path or "::" in path) or os.path.lexists(path) else None


def _system(url: str) -> tuple[Any, str]:
    import fsspec  # type: ignore[import-untyped]

    try:
        system, whole = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(f"--input {url}: nothing here opens such a URL ({reason}); pip install what it names") from None
    return system, whole.rstrip("/")


@contextmanager
def _os_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:  # each file system of fsspec brings the errors of its own HTTP library
        raise OSError(f"{type(error).__name__}: {error}") from None


def _stamp(info: dict[str, Any]) -> str:
    marks = [f"{name}={info[name]}" for name in _STAMPS if info.get(name) is not None]
    return "/".join([str(info.get("size")), *marks])
