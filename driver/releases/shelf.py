"""Where releases stand side by side: a folder, or a place in a store, with a folder for each version.

A version that is there is never written to. A new one is built beside them and takes its name when it is whole; in a store
its manifest comes last, and what has none is no release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

from comfy_nodes.core.whole_files import move_whole, write_whole

from ..dataset.ownership import remove_marked
from ..dataset.store import Store, StoredFile
from ..disk import disk_errors, make_durable
from ..errors import RunError
from ..report.page import CARD
from .manifest import MANIFEST, Manifest, ReleasedFile, Version, read_manifest
from .tables import INDEX, PHOTOS, Released, read_index, read_photos
from .takedown import LIST, read_list

_PART = ".release.part"
_MARK = ".unfinished"
"""In the folder that a release is built in: says that it is ours."""

_LOCK = ".release.lock"


@dataclass(frozen=True)
class Earlier:
    """A release, as later ones are held against it."""

    manifest: Manifest
    rows: dict[str, Released]
    photos: dict[bytes, str]
    """Splits of photos and pictures, by SHA-256."""
    takedown: frozenset[str]

    @property
    def version(self) -> Version:
        return Version.of(self.manifest.version)


class Place:
    """A folder, here or in a store, that a release is read from, or several stand in."""

    def __init__(self, where: str | Path, option: str):
        """
        Args:
            option: which one named it, for errors.

        Raises:
            RunError: the store cannot be used.
        """
        self.where = str(where)
        self.store = Store(self.where, option) if "://" in self.where else None
        self._option = option

    def text(self, name: str) -> str | None:
        """A small file; None where there is none.

        Raises:
            RunError: it cannot be read.
        """
        if self.store is not None:
            return self.store.text(name)
        try:
            return (Path(self.where) / name).read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{self._option} {self.where}: {name} cannot be read ({error})") from None

    def versions(self) -> list[Version]:
        """The releases that are whole, the oldest version first."""
        if self.store is not None:
            names = [name.rpartition("/")[2] for name in self.store.names("")]
        else:
            folder = Path(self.where)
            names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        found = sorted(version for name in names if (version := _version_of(name)))
        return [version for version in found if self.text(f"{version.folder}/{MANIFEST}") is not None]

    def manifest(self, version: Version | None = None) -> Manifest:
        """
        Args:
            version: None where the place itself is the release.

        Raises:
            RunError: there is no release, or it was changed.
        """
        name = f"{version.folder}/{MANIFEST}" if version else MANIFEST
        text = self.text(name)
        if text is None:
            raise RunError(f"{self._option} {self.where}: no release lies there ({name} is missing)")
        return read_manifest(text, f"{self._option} {self.where}")

    def release(self, version: Version | None = None) -> Earlier:
        """
        Args, Raises: as of `manifest`; also where one of its tables is not as it says.
        """
        manifest = self.manifest(version)
        below = f"{version.folder}/" if version else ""
        with TemporaryDirectory(prefix="editpairs-") as kept:
            index, photos = (self._table(manifest, name, below, Path(kept)) for name in (INDEX, PHOTOS))
            rows = {row.key: row for row in read_index(index)}
            splits = read_photos(photos)
        return Earlier(manifest, rows, splits, self.takedown(manifest, below))

    def takedown(self, manifest: Manifest, below: str) -> frozenset[str]:
        """
        Raises:
            RunError: the list that travels in a release is missing or was changed.
        """
        text = self.text(f"{below}{LIST}") or ""
        (file,) = (file for file in manifest.files if file.path == LIST)
        if hashlib.sha256(text.encode()).hexdigest() != file.sha256:
            raise self._changed(manifest, LIST)
        return frozenset(read_list(text))

    def _table(self, manifest: Manifest, name: str, below: str, kept: Path) -> Path:
        """A table of a release, here."""
        file = next((one for one in manifest.files if one.path.startswith(f"{name}-")), None)
        if file is None:
            raise self._changed(manifest, name)
        if self.store is not None:
            self.store.get(stored(file, below), kept / name)
            return kept / name
        path = Path(self.where) / below / file.path
        if not path.is_file() or digest_of(path) != file.sha256:
            raise self._changed(manifest, file.path)
        return path

    def _changed(self, manifest: Manifest, name: str) -> RunError:
        return RunError(
            f"{self._option} {self.where}: {name} of release {manifest.version} is missing or was changed; take the release "
            "from where it came from again"
        )


def _version_of(name: str) -> Version | None:
    try:
        return Version.of(name) if name.startswith("v") else None
    except ValueError:
        return None


def stored(file: ReleasedFile, below: str) -> StoredFile:
    """A file of a release in a store that has the release's folder.

    Args:
        below: the release's folder there, with its `/`; empty where it is the place itself.
    """
    return StoredFile(path=file.path, name=f"{below}{file.path}", size=file.size, sha256=file.sha256)


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_folder(folder: Path) -> None:
    """
    Raises:
        RunError: a folder holds something else than releases.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunError(f"--output {folder}: is a file; name a folder for releases")
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and not (_version_of(path.name) and (path / MANIFEST).is_file()):
            raise RunError(f"--output {folder}: holds {path.name}, which is no release; choose a new or empty folder")


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """An empty folder beside the releases of `folder` to build one in; gone at the end, unless it was put in its place.

    Raises:
        RunError: another command builds one there, or the disk cannot be written to.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK, blocking=False)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(f"--output {folder}: another command makes a release there; wait for it") from None
        with lock:
            part = folder / _PART
            _clear(part)
            part.mkdir()
            write_whole(part / _MARK, "")
            try:
                yield part
            finally:
                _clear(part)


def _clear(part: Path) -> None:
    """Removes what a command left that was killed.

    Raises:
        RunError: somebody else left it there.
    """
    if not part.exists() and not part.is_symlink():
        return
    mark = next((name for name in (_MARK, MANIFEST) if (part / name).is_file()), "")
    if part.is_symlink() or (any(part.iterdir()) and not mark):
        raise RunError(f"{part}: lies where a release is built, and none left it there; move it away")
    remove_marked(part, mark or _MARK)
    if part.exists():
        part.rmdir()


def put_in_place(part: Path, folder: Path, version: Version) -> Path:
    """Gives a release that was built its name; from then on it is there.

    Raises:
        RunError: a release of that version is there.
        OSError: it cannot be moved.
    """
    place = folder / version.folder
    if place.exists():
        raise RunError(f"--output {folder}: holds release {version}, which is never written to; leave --version out")
    (part / _MARK).unlink()
    make_durable(part)
    move_whole(part, place)
    make_durable(folder)
    return place


def forget(folder: Path, version: Version) -> None:
    """Removes a release that was built here for a store and never came to be whole there."""
    place = folder / version.folder
    if place.exists():
        remove_marked(place, MANIFEST)


def publish(release: Path, manifest: Manifest, url: str) -> None:
    """Brings a release into a store: its files, then its manifest. What another attempt left is removed before that.

    Raises:
        RunError: the store refused; the same command goes on.
    """
    store = Store(url)
    below = f"{Version.of(manifest.version).folder}/"
    texts = CARD, LIST
    for file in manifest.files:
        if file.path not in texts:
            store.put(release / file.path, stored(file, below))
    ours = {f"{below}{file.path}" for file in manifest.files}
    store.remove({name for folder in ("", "data") for name in store.ours_in(f"{below}{folder}".rstrip("/"))} - ours)
    for name in texts:
        store.put_text(f"{below}{name}", (release / name).read_text("utf-8"))
    store.put_text(f"{below}{MANIFEST}", manifest.text())
