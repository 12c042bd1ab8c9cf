"""A finished run's folder to where `--output` points with a URL: `s3://`, `gs://`, `memory://` and what else fsspec opens.

Files go there under names that follow from their content and are never renamed or overwritten; `manifest.json` is written
last and in one step. Whoever follows it sees one finish or the next, never half of one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, model_validator

from comfy_nodes.core.keys import PathInside
from comfy_nodes.core.whole_files import write_whole

from ..errors import RunError

MANIFEST = "manifest.json"

PENDING = "pending.json"
"""Names what an upload brings, while it lasts: what one that broke off left is found by it."""

LOCAL_ONLY = (".work", "run.sqlite", "annotate.sqlite", "images")
"""How names begin that stay on the local disk: journals, what isn't whole, what exports took out of the shards."""

_DIGITS = 16
"""Hexadecimal digits of a file's SHA-256 in its name. Ours."""

_OURS = re.compile(rf"-([0-9a-f]{{{_DIGITS}}})(\.[^/.]+)?\Z")
"""How names of ours in a store end: nothing else is ever removed there."""


def _our_name(name: str) -> str:
    if not _OURS.search(name):
        raise ValueError("not a name of a published file")
    return name


_PENDING = TypeAdapter(frozenset[Annotated[PathInside, AfterValidator(_our_name)]])


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


class Manifest(BaseModel):
    """`manifest.json`: all files of a published run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[StoredFile, ...]


def publish(folder: Path, url: str) -> Manifest:
    """Brings a finished run's folder into a store. What lies there already is not sent again; what the run no longer has is
    removed at the end.

    Args:
        folder: the run's local folder.
        url: where to; a folder of its own in the store.

    Raises:
        RunError: the store cannot be used, or a file in it is not what was sent. What was published before is still whole.
    """
    store = _Store(url)
    former = store.manifest()
    known = {(file.sha256, file.size): file.name for file in former.files} if former else {}
    files = [_described(path, folder, known) for path in _files(folder)]
    leftovers = store.pending() | ({file.name for file in former.files} if former else set())
    store.put_text(PENDING, json.dumps(sorted({file.name for file in files} | leftovers)))
    for file in files:
        store.put(folder / file.path, file)
    manifest = Manifest(files=tuple(files))
    store.put_text(MANIFEST, manifest.model_dump_json(indent=1) + "\n")
    store.remove(leftovers - {file.name for file in files})
    store.remove({PENDING})
    return manifest


class _Store:
    """A place in a store, as fsspec opens it."""

    def __init__(self, url: str):
        self._url = url
        try:
            import fsspec  # type: ignore[import-untyped]

            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise RunError(f"--output {url}: {error}; install the fsspec package of this kind of store") from None
        self._root = self._root.rstrip("/")

    def manifest(self) -> Manifest | None:
        text = self._text(MANIFEST)
        with self._ours(MANIFEST):
            return None if text is None else Manifest.model_validate_json(text)

    def pending(self) -> set[str]:
        text = self._text(PENDING)
        with self._ours(PENDING):
            return set() if text is None else set(_PENDING.validate_json(text))

    @contextmanager
    def _ours(self, name: str) -> Iterator[None]:
        try:
            yield
        except ValueError:
            raise RunError(f"--output {self._url}: its {name} is not one of ours; choose another place") from None

    def put(self, local: Path, file: StoredFile) -> None:
        """Brings a file, unless it is there."""
        with self._named(file.name):
            place = self._place(file.name)
            self._refuse_links(file.name)
            if self._size(place) != file.size:
                self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
                self._files.put_file(str(local), place)
                if (size := self._size(place)) != file.size:
                    raise OSError(f"{file.size} bytes were sent, {size} are there")

    def put_text(self, name: str, text: str) -> None:
        """Writes a small file in one step: readers find the old one or the new one."""
        with self._named(name):
            self._files.makedirs(self._root, exist_ok=True)
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
            for inside in (PurePosixPath(name), *PurePosixPath(name).parents[:-1]):
                if Path(self._place(str(inside))).is_symlink():
                    raise OSError(f"{inside} is a link; remove it")

    def _text(self, name: str) -> str | None:
        with self._named(name):
            self._files.invalidate_cache()
            try:
                return bytes(self._files.cat_file(self._place(name))).decode()
            except FileNotFoundError:
                return None

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
                f"--output {self._url}/{what}: the store refused ({type(error).__name__}: {why}); what was published before is "
                "still whole; see to the store and run the same command again",
                1,
            ) from None


def _is_local(files: Any) -> bool:
    return "file" in ((files.protocol,) if isinstance(files.protocol, str) else files.protocol)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if inside.parts[0].startswith(LOCAL_ONLY) or inside.name.startswith("."):
            continue
        if path.is_symlink():
            raise RunError(f"{path}: is a link, which is not published; remove it and run the same command again", 1)
        if path.is_file():
            yield path


def _described(path: Path, folder: Path, known: dict[tuple[str, int], str]) -> StoredFile:
    inside = PurePosixPath(path.relative_to(folder).as_posix())
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = path.stat().st_size
    # Also under its earlier name: shards are numbered anew when there are more of them.
    name = known.get((digest, size)) or str(inside.with_name(f"{inside.stem}-{digest[:_DIGITS]}{inside.suffix}"))
    try:
        return StoredFile(path=str(inside), name=name, size=size, sha256=digest)
    except ValueError:
        raise RunError(f"{str(path)!r}: cannot be published under this name; rename it or move it away", 1) from None
