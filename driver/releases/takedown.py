"""Photos whose owners want them out: their rows leave, and so does everything that was made of them.

A list is a text file of source ids, URLs or SHA-256 of photos, one a line; it travels in each release, and holds for all
that follow. What is found by an id is kept by its SHA-256 as well, so that the photo is known again under another name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from ..errors import RunError
from .index import Index, Note

LIST = "takedown.txt"

TAKEN_DOWN = "taken down"
MADE_OF_ONE = "made of a photo that was taken down"

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
    def of(cls, index: Index, given: Set[str], carried: Set[str], known: Mapping[str, Set[str]]) -> TakenDown:
        """
        Args:
            given: entries of the list that was given.
            carried: those of earlier releases.
            known: SHA-256 of the photos of the release before, by their source ids and URLs.
        """
        entries = given | carried
        wanted = set(entries).union(*(known[entry] for entry in entries if entry in known))
        if not wanted:
            return cls(frozenset(), {}, frozenset())
        rows: dict[int, str] = {}
        met: set[str] = set()
        pictures = {bytes.fromhex(entry) for entry in wanted if _SHA256.fullmatch(entry)}
        hashes = {*wanted}
        grew = True
        while grew:  # a row that leaves may have been made into another one, and a photo may have several names
            grew = False
            for number, note in enumerate(index.notes):
                if number in rows:
                    continue
                if names := hashes.intersection(_names(note)):
                    met |= names
                    rows[number] = TAKEN_DOWN
                    pictures |= {note.source, note.inputs[0], *note.outputs}
                    hashes.add(note.source.hex())
                    grew = True
                elif note.source in pictures or not pictures.isdisjoint(note.inputs):
                    rows[number] = MADE_OF_ONE
                    pictures.update(note.outputs)
                    if note.source in pictures or note.inputs[0] in pictures:
                        pictures.add(note.source)
                        hashes.add(note.source.hex())
                    grew = True
        return cls(frozenset(hashes), rows, frozenset(given - met - known.keys()))


def _names(note: Note) -> tuple[str, ...]:
    return note.source_id, note.source_url, note.source.hex()
