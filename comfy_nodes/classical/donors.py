"""The bundled things on white ground that can be put in another's place: what they are called and under which licence.

Classical Replace and Classical Hybrid draw from them by seed. Knows no nodes.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ..core import photos
from .paste import CutOut, Unpasteable, cut_out

_FOLDER = Path(__file__).resolve().parents[2] / "samples"


@dataclass(frozen=True)
class Donor:
    """A bundled cut-out: its English name, its thing, and the terms of the photo that it comes from."""

    name: str
    thing: CutOut
    licence: str


def names() -> list[str]:
    """The things' names in their file's order."""
    return [str(entry["class_name"]) for entry in _entries()]


def named(name: str) -> Donor:
    """The donor called `name`, one of `names()`."""
    entry = next(one for one in _entries() if one["class_name"] == name)
    path = _FOLDER / str(entry["path"])
    picture = photos.open_photo(photos.read_bytes(path), path.name)
    return Donor(name, cut_out(np.asarray(picture)), str(entry["source_licence"]))


def in_turn(seed: int, unlike: str | None) -> list[str]:
    """The donors' names in an order by seed, without those that bear the replaced thing's name.

    Raises:
        Unpasteable: all of them do.
    """
    old = (unlike or "").casefold().strip()
    fitting = [name for name in names() if not old or (old not in name.casefold() and name.casefold() not in old)]
    if not fitting:
        raise Unpasteable(
            f"every bundled thing bears the name {unlike!r}, and a thing does not replace its like: choose a donor"
        )
    return random.Random(f"editpairs/donor/{seed}").sample(fitting, len(fitting))


@cache
def _entries() -> list[dict[str, object]]:
    lines = (_FOLDER / "references" / "references.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
