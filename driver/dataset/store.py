"""A place in a store, as fsspec opens it: `s3://`, `gs://`, `memory://` and what else there is a package for.

Files of ours have names that follow from their content and are never renamed or overwritten; small lists of them have
fixed names and are written in one step. What they say is `publish.py`'s.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from comfy_nodes.core.keys import PathInside
from comfy_nodes.core.whole_files import write_whole

from ..disk import disk_errors
from ..errors import RunError

_DIGITS = 16
"""Hexadecimal digits of a file's SHA-256 in its name. Ours."""

_OURS = re.compile(rf"-([0-9a-f]{{{_DIGITS}}})(\.[^/.]+)?\Z")
"""How names of ours in a store end: nothing else is ever removed there."""

_AT_ONCE = 256
"""Small files that are asked for at once. Ours."""

_BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs"}
"""Stores without folders, where making one makes the bucket that it is in: one of a mistyped name."""


def _our_name(name: str) -> str:
    if not _OURS.search(name):
        raise ValueError("not a name of a published file")
    return name


OurName = Annotated[PathInside, AfterValidator(_our_name)]
"""The name of a published file, below the URL."""


def name_by_hash(path: PurePosixPath, sha256: str) -> str:
    """The name that a file of a run's folder gets in a store."""
    return str(path.with_name(f"{path.stem}-{sha256[:_DIGITS]}{path.suffix}"))


class StoredFile(BaseModel):
    """A file of a published run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: PathInside
    """In the run's folder."""
    name: PathInside
    """In the store, below the URL; ends in the first digits of its hash."""
    size: int
    sha256: str

    @model_validator(mode="after")
    def _is_named_by_its_hash(self) -> StoredFile:
        found = _OURS.search(self.name)
        if found is None or found[1] != self.sha256[:_DIGITS]:
            raise ValueError("not named by its hash")
        return self


class Store:
    """A place in a store."""

    def __init__(self, url: str, option: str = "--output"):
        """
        Args:
            option: which one named it, for errors.

        Raises:
            RunError: no package for this kind of store is installed.
        """
        self._url, self._option = url, option
        try:
            import fsspec  # type: ignore[import-untyped]

            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise RunError(f"{option} {url}: {error}; install the fsspec package of this kind of store") from None
        self._root = self._root.rstrip("/")

    def text(self, name: str) -> str | None:
        """A small file; None where there is none."""
        with self._named(name):
            self._files.invalidate_cache()
            try:
                return bytes(self._files.cat_file(self._place(name))).decode()
            except FileNotFoundError:
                return None

    def texts(self, names: Collection[str]) -> Iterator[tuple[str, str]]:
        """Small files with their names; those that are gone meanwhile are left out."""
        waiting = sorted(names)
        for first in range(0, len(waiting), _AT_ONCE):
            places = {self._place(name): name for name in waiting[first : first + _AT_ONCE]}
            with self._named(next(iter(places.values()))):
                found = self._files.cat(list(places), on_error="return")
            for place, name in places.items():
                if isinstance(found[place], FileNotFoundError):
                    continue
                with self._named(name):
                    if isinstance(found[place], Exception):
                        raise found[place]
                    yield name, bytes(found[place]).decode()

    def names(self, folder: str) -> list[str]:
        """What lies in a folder, by name below the URL; in the place itself where its name is empty."""
        with self._named(folder):
            self._files.invalidate_cache()
            try:
                found = self._files.ls(self._place(folder), detail=False)
            except FileNotFoundError:
                return []
            return [f"{folder}/{place.rstrip('/').rpartition('/')[2]}".lstrip("/") for place in found]

    def ours_in(self, folder: str) -> set[str]:
        """What of it was put there under a name that follows from its content."""
        return {name for name in self.names(folder) if _OURS.search(name)}

    @contextmanager
    def ours(self, name: str) -> Iterator[None]:
        """
        Raises:
            RunError: what the block reads from a list of this name is none of ours.
        """
        try:
            yield
        except ValueError:
            raise RunError(f"{self._option} {self._url}: its {name} is not one of ours; choose another place") from None

    def put(self, local: Path, file: StoredFile) -> None:
        """Brings a file, unless it is there."""
        with self._named(file.name):
            place = self._place(file.name)
            self._refuse_links(file.name)
            if self._size(place) != file.size:
                self._make_folder(place.rpartition("/")[0])
                self._files.put_file(str(local), place)
                if (size := self._size(place)) != file.size:
                    raise OSError(f"{file.size} bytes were sent, {size} are there")

    def digest(self, name: str) -> str:
        """SHA-256 of a file, read piece by piece; empty where there is none."""
        with self._named(name):
            self._files.invalidate_cache()
            try:
                with self._files.open(self._place(name), "rb") as file:
                    return hashlib.file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:
                return ""

    def get(self, file: StoredFile, local: Path) -> None:
        """Takes a small file out of the store, whole or not at all."""
        with self._named(file.name):
            self._refuse_links(file.name)
            data = bytes(self._files.cat_file(self._place(file.name)))
            if hashlib.sha256(data).hexdigest() != file.sha256:
                raise OSError("it is not what was sent")
        with disk_errors(local.parent):
            write_whole(local, data)

    def put_text(self, name: str, text: str) -> None:
        """Writes a small file in one step: readers find the old one or the new one."""
        with self._named(name):
            folder = name.rpartition("/")[0]
            self._refuse_links(folder)
            self._make_folder(self._place(folder).rstrip("/"))
            if not _is_local(self._files):
                self._files.pipe_file(self._place(name), text.encode())  # object stores take a whole object or nothing
                return
            write_whole(Path(self._place(name)), text)

    def remove(self, names: set[str]) -> None:
        with self._named("old files"):
            self._files.invalidate_cache()
            for name in sorted(names):
                self._refuse_links(name)
                if self._files.exists(self._place(name)):
                    self._files.rm_file(self._place(name))

    def _refuse_links(self, name: str) -> None:
        """A local store's folders may have other writers, and a link there leads out of it."""
        if _is_local(self._files):
            for inside in (PurePosixPath(name), *PurePosixPath(name).parents):
                if str(inside) != "." and Path(self._place(str(inside))).is_symlink():
                    raise OSError(f"{inside} is a link; remove it")

    def _make_folder(self, place: str) -> None:
        if not _protocols(self._files) & _BUCKETS:
            self._files.makedirs(place, exist_ok=True)

    def _size(self, place: str) -> int | None:
        self._files.invalidate_cache()
        try:
            return int(self._files.info(place)["size"])
        except FileNotFoundError:
            return None

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """Turns what a store raises into one line."""
        try:
            yield
        except Exception as error:  # stores raise what their clients raise
            why = str(error).strip().partition("\n")[0]
            raise RunError(
                f"{self._option} {self._url}/{what}: the store refused ({type(error).__name__}: {why}); what was published before is "
                "still whole; see to the store and run the same command again",
                1,
            ) from None


def _is_local(files: Any) -> bool:
    return "file" in _protocols(files)


def _protocols(files: Any) -> set[str]:
    return {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)
