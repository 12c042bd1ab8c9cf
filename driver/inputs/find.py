"""What an `--input` is: which files it consists of, of which one kind they are, and where the photos lie.

Called by `Source` before anything is read, so that a wrong path ends the run before a server is started for it.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from comfy_nodes.core import photos

from ..dataset.parts import NAME
from ..errors import RunError
from . import foreign
from .captions import are_captions, lists_photos
from .storage import FolderNames, LocalStorage, Storage, listed, locate, matches, unreadable, walk

InputKind = Literal["photos", "json", "parquet", "tar", "regions", "captions"]

PLANNER = 3
"""Raised whenever the same input would be planned otherwise than before."""

_KINDS: dict[str, InputKind] = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".tar": "tar"}
_GIVE = (
    "give a folder of photos, an ImgEdit annotation .json or .jsonl, another program's annotations, .parquet, a "
    "webdataset .tar, or a folder of these; of captions a .txt or .jsonl"
)


class HoldsItsPhotos(RunError):
    """An image root is given for an input whose photos lie in it."""


PHOTOS_FILE = "photos.jsonl"
"""In a folder: says of the photos in it where they come from. `--workflow synthesize` and `pool.py find` leave one."""

_LOOKED_AT = 1000
"""Files that are looked through for what a folder without photos holds."""


@dataclass(frozen=True)
class Input:
    """An input of one kind."""

    given: str
    """As the user wrote it."""
    kind: InputKind
    storage: Storage
    chosen: tuple[str, ...]
    """Its files by name in `storage`; empty for a folder: then all files of its kind in `below` are."""
    below: str
    photos: Storage
    """What paths in its files are relative to."""
    program: str = ""
    """Whose annotations they are, of a program that `foreign.READ` names; "" for our own."""

    @property
    def single(self) -> bool:
        """Whether it is one file: where that is broken, nothing is left to read."""
        return len(self.chosen) == 1

    def files(self) -> Iterator[str]:
        """Its files in order."""
        if self.chosen:
            yield from self.chosen
        else:
            yield from (name for name in walk(self.storage, self.below) if self._is_one(name))

    def _is_one(self, name: str) -> bool:
        if self.program:
            return name.lower().endswith(foreign.READ[self.program])
        return _kind(name) == self.kind

    def refuse_output(self, output: Path) -> None:
        """
        Raises:
            RunError: what a run leaves in this folder would be read as input the next time.
        """
        if self.chosen:
            root = self.given.partition("**")[0] if "**" in self.given else ""
        else:
            root = posixpath.join(self.storage.root, self.below) if isinstance(self.storage, LocalStorage) else ""
        if root and output.resolve().is_relative_to(Path(root).resolve()):
            raise RunError(f"--output {output}: lies in --input {self.given}; choose a folder outside of it")

    def fingerprint(self) -> str:
        """Hash that changes with the files and where the photos are looked for; photos that files name are not looked at.

        Raises:
            RunError: a file is gone or cannot be looked at.
        """
        found = hashlib.sha256(f"{PLANNER}\0{self.kind}\0{self.photos.root}".encode("utf-8", "surrogateescape"))
        try:
            for name in self.chosen:
                _add(found, name, self.storage.stamp(name))
            if not self.chosen:
                _add_folder(found, self.storage, self.below)
        except OSError as error:
            raise RunError(f"--input {self.given}: {unreadable(error)}") from None
        return found.hexdigest()


def find_input(path: str | Path, image_root: str | Path | None) -> Input:
    """Looks what lies at a path or URL.

    Args:
        path: a folder, a file, or a pattern of files (`*`, `?`, `[ab]`, `**`, `{00..07}`, `{a,b}`).
        image_root: folder or URL that paths in its files are relative to; their own folder if None.

    Raises:
        RunError: missing, of an unknown kind, or of several.
    """
    given = str(path)
    root = _image_root(image_root)
    found = locate(given)
    if found and not found[1]:
        return _folder(given, found[0], root)
    storage, names = (found[0], (found[1],)) if found else _matched(given)
    kinds = {_kind(name) for name in names}
    if kinds <= {None, "json"} and (program := _read_program(storage, names)):
        if program == "YOLO" and names[0].endswith(".txt"):
            raise RunError(f"--input {given}: {foreign.beside(storage, list(names))}")
        if program == "YOLO":  # its data.yaml: labels lie in the folders beside it
            names = ()
        return _input(given, "regions", storage, names, "", root, program)
    if kinds <= {None, "json"} and are_captions(storage, names):
        if root:
            raise RunError(f"--image-root: {given} holds captions, which lie nowhere; leave --image-root out")
        return _input(given, "captions", storage, names, "", None)
    if None in kinds or "photos" in kinds:
        packed = any(name.endswith((".tar.gz", ".tgz", ".tar.zst", ".jsonl.gz")) for name in names)
        theirs = foreign.beside(storage, list(names))
        raise RunError(f"--input {given}: " + ("unpack it first; " if packed else "") + (theirs or _GIVE))
    if len(kinds) > 1:
        raise _mixed(given, Counter(_kind(name) for name in names))
    (kind,) = kinds
    assert kind is not None
    return _input(given, kind, storage, names, "", root)


def _folder(given: str, storage: Storage, root: Storage | None) -> Input:
    top = listed(storage, "")
    if PHOTOS_FILE in top.names and root is None and lists_photos(storage, PHOTOS_FILE):
        return _input(given, "json", storage, (PHOTOS_FILE,), "", None)
    # A dataset as on the hub and as a run leaves it has its rows in data/; what was rejected lies beside that.
    carded = "data" in top.folders and "README.md" in top.names
    shards = carded and _holds_shards(listed(storage, "data"))
    below = "data" if shards else ""
    kinds = Counter(_kind(name) for name in walk(storage, below))
    held: list[InputKind] = [kind for kind in ("photos", "parquet", "tar") if kinds[kind]]
    if held in ([], ["photos"]) and (program := _folder_program(storage)):
        return _input(given, "regions", storage, (), below, root, program)
    if kinds["json"] and (not held or (root and held == ["photos"])):
        return _input(given, "json", storage, (), below, root)
    if len(held) > 1:
        raise _mixed(given, kinds)
    if not held:
        theirs = foreign.beside(storage, list(islice(walk(storage, below), _LOOKED_AT)))
        raise RunError(f"--input {given}: no photos in it; {theirs or _GIVE}")
    return _input(given, held[0], storage, (), below, root)


def _folder_program(storage: Storage) -> str:
    """The program whose annotations a folder's are; "" where masks lie beside its photos, which say more."""
    names = list(islice(walk(storage), _LOOKED_AT))
    return "" if any(name.lower().endswith(".mask.png") for name in names) else _read_program(storage, names)


def _read_program(storage: Storage, names: Sequence[str]) -> str:
    found = foreign.program_of(storage, list(names))
    return found[0] if found and found[0] in foreign.READ else ""


def _holds_shards(found: FolderNames) -> bool:
    """Whether a dataset's folder holds its files, or, of a run of many shards, a folder for each of these."""
    return any(_kind(name) in ("parquet", "tar") for name in found.names) or any(map(NAME.fullmatch, found.folders))


def _input(
    given: str,
    kind: InputKind,
    storage: Storage,
    names: tuple[str, ...],
    below: str,
    root: Storage | None,
    program: str = "",
) -> Input:
    if root and kind in ("photos", "tar"):
        raise HoldsItsPhotos(f"--image-root: {given} holds its photos itself; leave --image-root out")
    if isinstance(storage, LocalStorage):
        storage.picked = frozenset(names)
    return Input(given, kind, storage, names, below, root or storage, program)


def _matched(given: str) -> tuple[Storage, tuple[str, ...]]:
    """The files of a pattern, with the folder that all of them lie in."""
    found = [(one, locate(one)) for one in matches(given)]
    missing = [one for one, place in found if place is None]
    if not found or missing:
        which = f" ({missing[0]})" if missing and missing != [given] else ""
        raise RunError(f"--input {given}: there is no such file or folder{which}")
    places = [place for _, place in found if place is not None]
    root = posixpath.commonpath([storage.root for storage, _ in places])
    whole = [posixpath.join(storage.root, name) for storage, name in places]
    return places[0][0].at(root), tuple(posixpath.relpath(one, root) for one in whole)


def _image_root(path: str | Path | None) -> Storage | None:
    if path is None:
        return None
    found = locate(str(path))
    if found is None or found[1]:
        raise RunError(f"--image-root {path}: there is no such folder")
    return found[0]


def _kind(name: str) -> InputKind | None:
    stem, dot, end = name.rpartition(".")  # not a Path: it is asked for every file of a folder
    suffix = dot + end.lower() if stem else ""
    return "photos" if suffix in photos.SUFFIXES else _KINDS.get(suffix)


def _mixed(given: str, kinds: Counter[InputKind | None]) -> RunError:
    names = {"photos": "photos", "json": ".json files", "parquet": ".parquet files", "tar": ".tar files"}
    held = " and ".join(f"{kinds[kind]} {name}" for kind, name in names.items() if kinds[kind])  # type: ignore[index]
    return RunError(f"--input {given}: holds {held}; give one kind, such as '{given.rstrip('/')}/*.parquet'")


def _add_folder(found: hashlib._Hash, storage: Storage, folder: str) -> None:
    for name, stamp in storage.stamps(folder):
        path = f"{folder}/{name}" if folder else name
        if stamp is None:
            _add_folder(found, storage, path)
        else:
            _add(found, path, stamp)


def _add(found: hashlib._Hash, name: str, stamp: str) -> None:
    found.update(f"{name}\0{stamp}\n".encode("utf-8", "surrogateescape"))
