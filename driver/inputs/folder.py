"""Photos as files of their own: a folder of them with sidecar files beside each.

`<stem>.mask.png` marks the region, `<stem>.ref.png` is a reference picture, `<stem>.frame2.png` a second frame,
`<stem>.edited.png` an edit that was made already, `<stem>.txt` the instruction; where two photos share a stem, `<name>.mask.png` says which one is meant. Holds the names of one folder at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO
from unicodedata import normalize

from comfy_nodes.core import photos
from comfy_nodes.core.regions.annotation import Annotation, AnnotationError, parse_annotation

from .. import bounded_json
from ..places import Locator, name_of, path_of
from . import foreign
from .photo import Photo, Places, Skip
from .records import named
from .storage import FolderNames, Storage, listed, unreadable
from .words import MAX_BYTES, NoWords, captioned, words_in

MASK_SUFFIX = ".mask.png"
SIDECARS = {
    MASK_SUFFIX: "mask",
    ".ref.png": "reference picture",
    ".frame2.png": "second frame",
    ".edited.png": "finished edit",
}
"""What a picture is to the photo that it lies beside, by the end of its name."""


class PhotoFiles:
    """Photos that are files: locators are their paths in a folder."""

    def __init__(self, storage: Storage):
        self.distant = storage.remote
        self.places = Places()
        self._storage = storage

    def open(self, file: Locator) -> BinaryIO:
        return self._storage.open(path_of(file))

    def stamp(self, file: Locator) -> str:
        return self._storage.stamp(path_of(file))

    def read(self, file: Locator) -> bytes:
        return self._storage.read(path_of(file))


class FolderReader(PhotoFiles):
    """A folder of photos with sidecars."""

    def __init__(self, storage: Storage):
        super().__init__(storage)
        self._foreign: dict[str, str] = {}

    def remedy(self, photo: Photo) -> str:
        path = PurePosixPath(name_of(photo.file))
        name = photos.readable(path.stem) + MASK_SUFFIX
        foreign = self._beside(str(photo.file).rpartition("/")[0])
        return f"put {name} beside it (white is the object), or give an ImgEdit annotation with --input{foreign}"

    def _beside(self, folder: str) -> str:
        """What another program's annotations in a folder are, or in the input's own, for the end of a sentence."""
        if folder not in self._foreign:
            names = [f"{folder}/{name}" if folder else name for name in listed(self._storage, folder).names]
            found = foreign.beside(self._storage, names)
            self._foreign[folder] = f"; {photos.readable(found)}" if found else self._beside("") if folder else ""
        return self._foreign[folder]

    def photos(self, task: str, edited: bool = False, skip: Skip | None = None) -> Iterator[Photo]:
        """In the order of names, a sub-folder's photos at its name's place."""
        yield from self._folder("", skip or Skip())

    def _folder(self, folder: str, skip: Skip) -> Iterator[Photo]:
        listing = listed(self._storage, folder)
        here = _Listing(listing)
        for name in listing.names:
            path = f"{folder}/{name}" if folder else name
            if name in listing.folders:
                yield from self._folder(path, skip)
            elif (sidecar := _sidecar(name)) and not here.has_photo(name.removesuffix(sidecar)):
                if not skip.pass_one():
                    yield _orphan(path, SIDECARS[sidecar.lower()])
            elif not sidecar and _is_photo(name) and not skip.pass_one():
                yield self._photo(path, name, here)

    def _photo(self, path: str, name: str, here: _Listing) -> Photo:
        stem = PurePosixPath(name).stem
        folder = path[: len(path) - len(name)]
        problem = instruction = ""

        def beside(end: str) -> str:
            found = next((one for owner in (name, stem) if (one := here.find(owner + end, name))), "")
            return folder + found if found else ""

        mask = beside(MASK_SUFFIX)
        if mask and not here.find(name + MASK_SUFFIX, name) and here.photos_of(stem) > 1:
            problem = photos.readable(f"several photos are called {stem}: name this one's mask {name}{MASK_SUFFIX}")
        told, unread = None, False
        try:
            told = self._told(path, beside(".json"))
            text = beside(".txt") if told is None else ""
            instruction = self._words(text) if text else ""
        except (NoWords, AnnotationError) as error:
            problem = str(error)
        except OSError as error:
            problem, unread = f"{photos.readable(name_of(text))}: {unreadable(error)}", True
        return Photo(
            file=path,
            source_id=photos.readable(path),
            annotation=told,
            problem=problem,
            unread=unread,
            instruction=instruction,
            mask=mask,
            reference=beside(".ref.png"),
            frame2=beside(".frame2.png"),
            edited=beside(".edited.png"),
        )

    def _words(self, file: str) -> str:
        with self._storage.open(file) as opened:
            return words_in(opened.read(MAX_BYTES + 1), photos.readable(name_of(file)))

    def _told(self, path: str, file: str) -> Annotation | None:
        """What img2dataset has written of the photo; None where it has not. Other JSON beside photos is no input."""
        if not file:
            return None
        try:
            with self._storage.open(file) as opened:
                item = bounded_json.loads(opened.read(MAX_BYTES).decode())
        except (OSError, ValueError):
            return None
        if not captioned(item):
            return None
        told = {"path": path, "cap": item["caption"], "source_url": item["url"]}
        return parse_annotation(told | {"source_licence": named(item, "source_licence")})


class _Listing:
    """Quick answers about the names of one folder; no set of them, as there may be millions."""

    def __init__(self, listing: FolderNames):
        self._names = listing.names
        self._folders = listing.folders
        forms: dict[str, list[str]] = {}
        for name in listing.names:
            if not name.isascii():
                forms.setdefault(normalize("NFC", name), []).append(name)
        self._forms = {form: names[0] for form, names in forms.items() if len(names) == 1}
        self._stems = {PurePosixPath(form).stem for form in self._forms if _is_photo(form)}

    def has(self, name: str) -> bool:
        place = bisect_left(self._names, name)
        return place < len(self._names) and self._names[place] == name and name not in self._folders

    def find(self, name: str, photo: str) -> str:
        """A file of this name that belongs to a photo, and may be written in another Unicode form than it; "" for none.

        Where several photos differ by their form alone, each has what is written as it is.
        """
        if self.has(name):
            return name
        alone = not name.isascii() and normalize("NFC", photo) in self._forms
        found = self._forms.get(normalize("NFC", name), "") if alone else ""
        return found if self.has(found) else ""

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
        if (_is_photo(owner) and self.find(owner, owner)) or self.photos_of(owner) > 0:
            return True
        return normalize("NFC", owner) in self._stems


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
