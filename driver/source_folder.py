"""Photos as files of their own: a folder of them with sidecar files beside each.

`<stem>.mask.png` marks the region, `<stem>.ref.png` is a reference picture, `<stem>.frame2.png` a second frame,
`<stem>.edited.png` an edit that was made already, `<stem>.txt` the instruction; where two photos share a stem, `<name>.mask.png` says which one is meant. Holds the names of one folder at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from comfy_nodes.core import photos

from .source_photo import Photo
from .source_storage import Names, Storage, listed, said

MASK_SUFFIX = ".mask.png"
SIDECARS = {
    MASK_SUFFIX: "mask",
    ".ref.png": "reference picture",
    ".frame2.png": "second frame",
    ".edited.png": "finished edit",
}
"""What a picture is to the photo that it lies beside, by the end of its name."""


class Files:
    """Photos that are files: locators are their names in a folder."""

    def __init__(self, storage: Storage):
        self.distant = storage.remote
        self._storage = storage

    def open(self, file: str) -> BinaryIO:
        return self._storage.open(file)

    def stamp(self, file: str) -> str:
        return self._storage.stamp(file)

    def read(self, file: str) -> bytes:
        return self._storage.read(file)


class FolderReader(Files):
    """A folder of photos with sidecars."""

    def remedy(self, photo: Photo) -> str:
        name = photos.readable(PurePosixPath(photo.file).stem) + MASK_SUFFIX
        return f"put {name} beside it (white is the object), or give an ImgEdit annotation with --input"

    def photos(self, task: str, edited: bool = False) -> Iterator[Photo]:
        """In the order of names, a sub-folder's photos at its name's place."""
        yield from self._folder("")

    def _folder(self, folder: str) -> Iterator[Photo]:
        listing = listed(self._storage, folder)
        here = _Listing(listing)
        for name in listing.names:
            path = f"{folder}/{name}" if folder else name
            if name in listing.folders:
                yield from self._folder(path)
            elif (sidecar := _sidecar(name)) and not here.has_photo(name.removesuffix(sidecar)):
                yield _orphan(path, SIDECARS[sidecar.lower()])
            elif not sidecar and _is_photo(name):
                yield self._photo(path, name, here)

    def _photo(self, path: str, name: str, here: _Listing) -> Photo:
        stem = PurePosixPath(name).stem
        folder = path[: len(path) - len(name)]
        own, shared = name + MASK_SUFFIX, stem + MASK_SUFFIX
        problem = ""
        mask = own if here.has(own) else shared if here.has(shared) else ""
        if mask == shared and here.photos_of(stem) > 1:
            problem = photos.readable(f"several photos are called {stem}: name this one's mask {own}")

        def beside(end: str) -> str:
            return next((folder + one + end for one in (name, stem) if here.has(one + end)), "")

        text = next((one + ".txt" for one in (name, stem) if here.has(one + ".txt")), "")
        try:
            instruction = self._text(folder + text) if text else ""
        except OSError as error:
            instruction, problem = "", photos.readable(f"{text}: cannot be read ({said(error)}); check its permissions")
        return Photo(
            file=path,
            source_id=photos.readable(path),
            problem=problem,
            instruction=instruction,
            mask=folder + mask if mask else "",
            reference=beside(".ref.png"),
            frame2=beside(".frame2.png"),
            edited=beside(".edited.png"),
        )

    def _text(self, file: str) -> str:
        return self.read(file).decode("utf-8-sig", "replace").strip()


class _Listing:
    """Quick answers about the names of one folder; no set of them, as there may be millions."""

    def __init__(self, listing: Names):
        self._names = listing.names
        self._folders = listing.folders

    def has(self, name: str) -> bool:
        place = bisect_left(self._names, name)
        return place < len(self._names) and self._names[place] == name and name not in self._folders

    def photos_of(self, stem: str) -> int:
        """How many photos are called `stem`."""
        found = 0
        for place in range(bisect_left(self._names, stem + "."), len(self._names)):
            name = self._names[place]
            if not name.startswith(stem + "."):
                break
            found += PurePosixPath(name).stem == stem and _is_photo(name) and name not in self._folders
        return found

    def has_photo(self, owner: str) -> bool:
        """Whether a sidecar's owner is there: a photo of that name or stem."""
        return (_is_photo(owner) and self.has(owner)) or self.photos_of(owner) > 0


def _is_photo(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in photos.SUFFIXES and not _sidecar(name)


def _sidecar(name: str) -> str:
    """Which kind of picture beside a photo a name is for, by its end as written; "" for none."""
    lower = name.lower()
    return next((name[-len(end) :] for end in SIDECARS if lower.endswith(end)), "")


def _orphan(path: str, kind: str) -> Photo:
    name = photos.readable(path)
    why = f"{name}: a {kind} without its photo; name it after a photo that lies beside it, or remove it"
    return Photo(file=name, source_id=name, problem=why)
