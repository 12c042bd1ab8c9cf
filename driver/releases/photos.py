"""Which rows are of one photo, and in which split it is.

Rows are of one photo where its file is the same, whatever of it they show, where a picture before the edit is the same, a
reference too, or where the edit of one is what another edits. With a distance of perceptual hashes, also where such
pictures look the same. A photo's split follows from a hash of it, so that the same photo gets the same split everywhere;
and once released it keeps it, whatever is asked for later.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comfy_nodes.core.photo_filter import HashIndex

from .index import Index, Note
from .manifest import SPLITS

TIED = "ties photos together that are in two splits of an earlier release"


class _Sets:
    """Things that belong together (union-find), named by the smallest of theirs."""

    def __init__(self) -> None:
        self._above: dict[bytes, bytes] = {}

    def __contains__(self, one: bytes) -> bool:
        return one in self._above

    def of(self, one: bytes) -> bytes:
        above = self._above.setdefault(one, one)
        while above != (higher := self._above[above]):
            self._above[one] = higher
            one, above = above, higher
        return above

    def join(self, one: bytes, other: bytes) -> None:
        first, second = sorted((self.of(one), self.of(other)))
        self._above[second] = first


@dataclass(frozen=True)
class Photos:
    """The photos of rows, by a name for each row: equal for rows of one."""

    own: tuple[bytes, ...]
    """Of the photo that a row edits."""
    tied: tuple[bytes, ...]
    """Of all photos that must be in one split with it: references tie photos together."""

    @classmethod
    def of(cls, index: Index, near: int | None) -> Photos:
        """
        Args:
            near: of perceptual hashes, in how many bits they may differ; None where only what is equal counts.
        """
        own = _joined(index, near, references=False)
        return cls(own, _joined(index, near, True) if any(note.inputs[1:] for note in index.notes) else own)


def _joined(index: Index, near: int | None, references: bool) -> tuple[bytes, ...]:
    sets = _Sets()
    for note in index.notes:
        for one in note.inputs if references else note.inputs[:1]:
            sets.join(note.source, one)
    for note in index.notes:
        for one in note.outputs:
            if one in sets:
                sets.join(note.source, one)
    if near is not None:
        _join_alike(sets, index, near)
    return tuple(sets.of(note.source) for note in index.notes)


def _join_alike(sets: _Sets, index: Index, near: int) -> None:
    """Joins what looks the same of the pictures that are in the sets."""
    known = HashIndex(near)
    first: dict[int, bytes] = {}
    for picture, look in sorted(one for one in index.looks.items() if one[0] in sets):
        if look.bits not in first:
            for twin in known.near(look.bits):
                sets.join(first[int(twin.name)], picture)
            first[look.bits] = picture
            known.add(look.bits, str(look.bits))
        sets.join(first[look.bits], picture)


def split_of(photo: bytes, shares: Sequence[float]) -> str:
    """The split of a photo that no release has.

    Args:
        photo: what it is called.
        shares: of each of `SPLITS`, as far as given; they need not add up to anything.
    """
    place = int.from_bytes(hashlib.sha256(b"split " + photo).digest()[:8]) / 2**64 * sum(shares)
    for split, share in zip(SPLITS, shares, strict=False):
        place -= share
        if place < 0:
            return split
    return SPLITS[0]


def splits(
    index: Index, photos: Photos, shares: Sequence[float], earlier: Mapping[bytes, str]
) -> tuple[list[str], dict[int, str]]:
    """The splits of rows.

    Args:
        shares: as of `split_of`.
        earlier: the splits of pictures and photos that were released, by their SHA-256.

    Returns:
        The split of each row, and rows that can be in none, with the reason.
    """
    kept: dict[bytes, set[str]] = defaultdict(set)
    for note, photo in zip(index.notes, photos.tied, strict=True):
        if known := [earlier[one] for one in shown(note) if one in earlier]:
            kept[photo].update(known)
    found, refused = [], {}
    for number, (note, photo) in enumerate(zip(index.notes, photos.tied, strict=True)):
        several = kept.get(photo, ())
        if len(several) > 1:
            own = {earlier[one] for one in shown(note) if one in earlier}
            if note.source not in earlier or len(own) > 1:
                refused[number] = TIED
            found.append(earlier.get(note.source, SPLITS[0]))
        else:
            found.append(next(iter(several), None) or split_of(photo, shares))
    return found, refused


def shown(note: Note) -> tuple[bytes, ...]:
    """SHA-256 of a row's photo and of its pictures before the edit."""
    return (note.source, *note.inputs)
