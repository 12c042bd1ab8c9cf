"""Pairs of a dialogue that Save Edit Pair saved: the states that a later turn begins with, where a person plays it by hand."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..core import photos
from ..core.keys import Key, file_stem, turn_key
from ..core.records import EditRecord, SavedFile, read_json
from .saved import output_folder

_TURNS = re.compile(r"-(\d)-[0-9a-f]{12}\.json\Z")
"""How a turn's record ends, the turn counted from 0; see `OutputFiles.prefix`."""


@dataclass(frozen=True)
class SavedTurn:
    """A turn that was made, with the pictures before and after it."""

    record: EditRecord
    before: np.ndarray
    """uint8 [H, W, 3]."""
    after: np.ndarray


def turns_before(folder: str, dialogue: Key, bases: Sequence[int]) -> list[SavedTurn]:
    """The turns that lead to the next one, each the newest that was not rejected and that begins with the state it names.

    Args:
        folder: subfolder of ComfyUI's output folder.
        bases: with which state each of them begins.

    Raises:
        ValueError: one was not made yet, or its files are not what was saved.
    """
    made: list[SavedTurn] = []
    for number, base in enumerate(bases, 1):
        state = None if number == 1 else made[base - 1].after if base else made[0].before
        rejected = stale = False
        for record in _newest(folder, dialogue, number):
            if record.verdict == "reject":
                rejected = True
                continue
            before = _picture(record.input_images[0], number)
            if state is None or np.array_equal(before, state):
                made.append(SavedTurn(record, before, _picture(record.output_images[0], number)))
                break
            stale = True
        else:
            why = "the turns before it were made anew since" if stale else "it was rejected" if rejected else ""
            raise ValueError(
                f"run turn {number} first: there is no pair of it, of this photo, region and seed, in output/{folder}"
                + (f" that can be gone on from ({why})" if why else "")
            )
    return made


def fingerprint(folder: str, turn: int) -> str:
    """Hash of which pairs of earlier turns lie in the folder, so that a new one runs the turn again; any dialogue's count,
    as nobody knows the sample yet."""
    where = output_folder(folder)
    found = sorted(
        f"{path.name} {path.stat().st_mtime_ns}"
        for path in (where.iterdir() if turn > 1 and where.is_dir() else ())
        if (named := _TURNS.search(path.name)) and int(named[1]) < turn - 1
    )
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def _newest(folder: str, dialogue: Key, number: int) -> Iterator[EditRecord]:
    """A turn's records, the newest first."""
    stem = file_stem(turn_key(dialogue, number))
    paths = [path for path in output_folder(folder).glob(f"{stem}-*.json") if _TURNS.search(path.name)]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            record = EditRecord.model_validate(read_json(path.read_bytes()))
        except ValueError:
            raise ValueError(
                f"{path.name} in output/{folder} is no record any more: delete it and run turn {number}"
            ) from None
        if record.turn is not None and (record.turn.dialogue, record.turn.number) == (dialogue, number):
            yield record


def _picture(saved: SavedFile, number: int) -> np.ndarray:
    """A picture of a record, as it was saved; uint8 [H, W, 3]."""
    path = output_folder(saved.subfolder) / saved.filename
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != saved.sha256:
        what = "was changed since it was saved" if data else "is gone"
        raise ValueError(f"{path.name} of turn {number} {what}: run turn {number} again")
    return np.asarray(photos.open_photo(data, path.name))
