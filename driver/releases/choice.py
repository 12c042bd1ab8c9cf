"""Which rows of more than enough are taken: quotas by task or kind, and at most so many of one photo.

The same rows and the same seed give the same choice. What is rarest against its quota chooses first; within it photos take
turns; and what an earlier release has goes before what is new, so that releases differ by no more than they must.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from comfy_nodes.core.tasks import TASKS
from comfy_nodes.core.taxonomy import TAXONOMY

from ..errors import RunError
from .index import Note

OVER_QUOTA = "more than the quota of its kind"
OVER_SOURCE = "more than --max-per-source of one photo"


def read_quotas(text: str) -> dict[str, int]:
    """Reads `remove=1000,unicedit/Texture Editing=50`.

    Raises:
        RunError: no such task or kind, one that stands twice, or a number that is none.
    """
    found: dict[str, int] = {}
    for part in text.split(","):
        name, equals, number = (one.strip() for one in part.partition("="))
        if not equals or not number.isdigit() or not int(number):
            raise RunError(f"--quota {part.strip()}: write it as TASK=N or KIND=N with a number of 1 or more")
        if name not in TASKS and name not in TAXONOMY:
            near = difflib.get_close_matches(name, [*TASKS, *TAXONOMY], n=3, cutoff=0.3)
            raise RunError(f"--quota {name}: no task or kind; the nearest names are {', '.join(near) or 'none'}")
        if name in found:
            raise RunError(f"--quota {name}: stands there twice; name each once")
        found[name] = int(number)
    return found


@dataclass(frozen=True)
class Choice:
    """What was chosen."""

    refused: dict[int, str]
    """Rows that are too many, with the reason."""
    taken: dict[str, int]
    """Rows that each quota got."""


def choose(
    notes: Sequence[Note],
    photos: Sequence[bytes],
    open_rows: Iterable[int],
    quotas: Mapping[str, int],
    most: int | None,
    seed: int,
    earlier: Collection[str],
) -> Choice:
    """
    Args:
        photos: the photo of each row.
        open_rows: the rows to choose among.
        quotas: rows wanted by task or kind; a kind's rows are none of its task's. All of what is not named are wanted.
        most: rows of one photo; None for as many as there are.
        earlier: keys of the rows of the release before.
    """
    by_quota: dict[str, list[int]] = defaultdict(list)
    for number in open_rows:
        by_quota[_quota_of(notes[number], quotas)].append(number)
    per_photo: Counter[bytes] = Counter()
    refused: dict[int, str] = {}
    taken = dict.fromkeys(quotas, 0)
    for name in sorted(by_quota, key=lambda name: (len(by_quota[name]) / quotas.get(name, 1), name)):
        ranked = sorted(by_quota[name], key=lambda number: _lot(notes[number], seed, earlier))
        room = quotas.get(name, len(ranked))
        for number in _in_turns(ranked, photos, notes, earlier):
            if most is not None and per_photo[photos[number]] >= most:
                refused[number] = OVER_SOURCE
            elif not room:
                refused[number] = OVER_QUOTA
            else:
                room -= 1
                per_photo[photos[number]] += 1
        if name in quotas:
            taken[name] = quotas[name] - room
    return Choice(refused, taken)


def _quota_of(note: Note, quotas: Collection[str]) -> str:
    """The quota that a row falls under; of none the kind."""
    return note.subtask if note.subtask in quotas else note.task if note.task in quotas else f" {note.task}"


def _lot(note: Note, seed: int, earlier: Collection[str]) -> tuple[bool, bytes]:
    return note.key not in earlier, hashlib.sha256(f"{seed} {note.key}".encode()).digest()


def _in_turns(
    ranked: Iterable[int], photos: Sequence[bytes], notes: Sequence[Note], earlier: Collection[str]
) -> list[int]:
    """Rows of the release before, then the first of each photo, then the second, and so on."""
    turn: Counter[bytes] = Counter()
    found = []
    for place, number in enumerate(ranked):
        turn[photos[number]] += 1
        found.append((notes[number].key not in earlier, turn[photos[number]], place, number))
    return [number for *_, number in sorted(found)]
