"""Photos whose owners want them out: their rows leave, and so does everything that was made of them.

A list is a text file of source ids, URLs or SHA-256 of photos, one a line; it travels in each release, and holds for all
that follow. What is found by an id is kept by its SHA-256 as well, so that the photo is known again under another name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from comfy_nodes.core.photo_filter import HashIndex

from ..errors import RunError
from .index import Index, Note

LIST = "takedown.txt"

TAKEN_DOWN = "taken down"
MADE_OF_ONE = "made of a photo that was taken down"

LIKE_ONE = "looks like a photo that was taken down"

_SHA256 = re.compile("[0-9a-f]{64}")


def read_list(text: str) -> set[str]:
    """The entries of a list; empty lines and those that begin with # are none."""
    lines = (line.strip() for line in text.splitlines())
    return {line.lower() if _SHA256.fullmatch(line.lower()) else line for line in lines if line and line[0] != "#"}


def read_list_file(path: Path) -> set[str]:
    """
    Raises:
        RunError: it cannot be read, or names nothing.
    """
    try:
        found = read_list(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(
            f"--without {path}: cannot be read ({error}); give a text file with a source id a line"
        ) from None
    if not found:
        raise RunError(f"--without {path}: names nothing; write a source id, a URL or a SHA-256 on each line")
    return found


def list_text(entries: Iterable[str]) -> str:
    return "".join(f"{entry}\n" for entry in sorted(entries))


@dataclass(frozen=True)
class TakenDown:
    """What a list comes to."""

    entries: frozenset[str]
    """The list that travels: what was given, and the SHA-256 of photos that were found by it."""
    rows: dict[int, str]
    """Rows that leave, with the reason."""
    unknown: frozenset[str]
    """Entries that were given now and that no row has, here or in the release before."""

    @classmethod
    def of(
        cls,
        index: Index,
        given: Set[str],
        carried: Set[str],
        known: Mapping[str, Set[str]],
        near: int | None,
    ) -> TakenDown:
        """
        Args:
            given: entries of the list that was given.
            carried: those of earlier releases.
            known: SHA-256 of the photos of the release before, by their source ids and URLs.
            near: of perceptual hashes of one photo, in how many bits they may differ; None where only what is equal counts.
        """
        entries = given | carried
        wanted = set(entries).union(*(known[entry] for entry in entries if entry in known))
        search = _Search(index, wanted, HashIndex(near) if near is not None else None)
        while (
            wanted and search.grew()
        ):  # a row that leaves may have been made into another, and a photo have several names
            pass
        return cls(frozenset(search.hashes), search.rows, frozenset(given - search.met - known.keys()))


class _Search:
    """Rows that leave, as far as they are found."""

    def __init__(self, index: Index, wanted: Set[str], alike: HashIndex | None):
        self._index, self._alike = index, alike
        self.rows: dict[int, str] = {}
        self.met: set[str] = set()
        """Entries that rows have."""
        self.hashes = {*wanted}
        """Entries, and the SHA-256 of the photos of these rows."""
        self._pictures = {bytes.fromhex(entry) for entry in wanted if _SHA256.fullmatch(entry)}

    def grew(self) -> bool:
        """Looks through all rows; whether one more leaves."""
        before = len(self.rows)
        for number, note in enumerate(self._index.notes):
            if number not in self.rows:
                self._look_at(number, note)
        return len(self.rows) > before

    def _look_at(self, number: int, note: Note) -> None:
        if names := self.hashes.intersection(_names(note)):
            self.met |= names
            self._take_down(number, note, TAKEN_DOWN)
        elif note.source in self._pictures or not self._pictures.isdisjoint(note.inputs):
            self.rows[number] = MADE_OF_ONE
            self._pictures.update(note.outputs)
            if note.source in self._pictures or note.inputs[0] in self._pictures:
                self._pictures.add(note.source)
                self.hashes.add(note.source.hex())
        elif self._alike and self._alike.find(self._index.looks[note.inputs[0]].bits):
            self._take_down(number, note, LIKE_ONE)

    def _take_down(self, number: int, note: Note, why: str) -> None:
        self.rows[number] = why
        self._pictures |= {note.source, note.inputs[0], *note.outputs}
        self.hashes.add(note.source.hex())
        if self._alike:
            self._alike.add(self._index.looks[note.inputs[0]].bits, note.key)


def _names(note: Note) -> tuple[str, ...]:
    return note.source_id, note.source_url, note.source.hex()
