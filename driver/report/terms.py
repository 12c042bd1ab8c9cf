"""What may be done with a dataset as a whole, by what its rows say of their photos' and models' licences.

The strictest model counts, and all that photos ask, in plain words; what nobody stated counts as a question. No legal
advice: the dataset card, which shows it, says so. No row is looked at here; `figures` counts them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from comfy_nodes.core.models import NO_MODELS, said_to_train
from comfy_nodes.core.weights.records import Policy
from comfy_nodes.core.weights.table import find


class TookPart(NamedTuple):
    """A model as rows name it."""

    role: str
    name: str
    licence: str
    """Empty where it is unknown."""

    @classmethod
    def of(cls, model: Mapping[str, str | None]) -> TookPart:
        """An entry of a row's `models`."""
        return cls(model["role"] or "", model["name"] or "", model["licence"] or "")

    @property
    def outputs_may_train(self) -> str:
        """`yes`, `no` or `unclear`, by what a service's operator said or the model table; empty where neither knows."""
        row = find(self.name)
        return said_to_train(self.licence) or (row.licence.trains if row else "")

    @property
    def commercial(self) -> str:
        """The same of commercial use, by the model table alone: nobody says it of services."""
        row = find(self.name)
        return row.licence.commercial if row else ""


_NO_EDITS = "edits of them must not be passed on (no derivatives)"
_RESERVED = "all rights are reserved: ask the owner before they are passed on"
_NON_COMMERCIAL = "non-commercial use only"

_PHOTO_TERMS = (
    (r"\bnd\b|no.?deriv", _NO_EDITS),
    (r"all rights reserved", _RESERVED),
    (r"\bnc\b|non.?commercial|research", _NON_COMMERCIAL),
    (r"\bsa\b|share.?alike", "who passes edits on does so under the same licence"),
    (
        r"\bcc by\b|\blicenses by\b|attribution",
        "who passes them on names the authors and the licence, and says that they were changed",
    ),
    (r"cc0|public domain|\bpdm\b|no known copyright", "any use"),
)
"""What a photo's licence asks, by what stands in its name: Creative Commons' abbreviations, of which one may have several."""

_TO_BE_READ = "read it: EditPairs does not know this licence"
_UNSTATED = "nobody stated one: ask before they are passed on"
_ANY_USE = _PHOTO_TERMS[-1][1]
_ORDER = (_UNSTATED, _TO_BE_READ, *(words for _, words in _PHOTO_TERMS))


@dataclass(frozen=True)
class Terms:
    """What a dataset's licences come to."""

    training: str
    """Whether other models may be trained on it, as far as the models that made it go."""
    commercial: str
    """Whether its models may be used commercially."""
    photos: str
    """What the photos' licences ask together."""
    models: list[tuple[TookPart, int]]
    """With the rows that each took part in."""
    sources: list[tuple[str, str, int]]
    """Photos' licences, what each asks, and rows."""

    @classmethod
    def of(cls, models: Mapping[TookPart, int], photos: Mapping[str, int]) -> Terms:
        """
        Args:
            models: rows by model.
            photos: rows by the photo's licence; empty where none is stated.
        """
        asked = [
            (licence, _photo_terms(licence), rows)
            for licence, rows in sorted(photos.items(), key=lambda one: (-one[1], one[0]))
        ]
        said = {words for _, several, _ in asked for words in several}
        said -= {_ANY_USE} if len(said) > 1 else set()
        counted = sorted(models.items(), key=lambda one: (-one[1], one[0]))
        took_part = [one for one, _ in counted if one.name not in NO_MODELS]
        return cls(
            training=_strictest([(one, one.outputs_may_train) for one in took_part]),
            commercial=_strictest([(one, one.commercial) for one in took_part]),
            photos="; ".join(words for words in _ORDER if words in said),
            models=[(one, rows) for one, rows in counted if one.name not in NO_MODELS],
            sources=[(licence, "; ".join(several), rows) for licence, several, rows in asked],
        )


@lru_cache(4096)
def photo_forbids(licence: str, policy: Policy) -> str:
    """Why a photo's licence rules a row out; empty where it does not, or where nobody stated one that is known here.

    Args:
        policy: as of `graph.licences.check_licences`. Edits are passed on with either but `any`.
    """
    ruled_out = {
        "any": set[str](),
        "train": {_NO_EDITS, _RESERVED},
        "commercial": {_NO_EDITS, _RESERVED, _NON_COMMERCIAL},
    }
    why = next((words for words in _photo_terms(licence) if words in ruled_out[policy]), "")
    return why and f"is of a photo under {licence}: {why}"


def _photo_terms(licence: str) -> list[str]:
    if not licence:
        return [_UNSTATED]
    plain = re.sub(r"[^a-z0-9]+", " ", licence.lower())
    return [words for pattern, words in _PHOTO_TERMS if re.search(pattern, plain)] or [_TO_BE_READ]


def _strictest(said: list[tuple[TookPart, str]]) -> str:
    """`no` where one says no, else what is open, else `yes`; with those that say it."""
    for answer, words in (("no", "no"), ("unclear", "unclear"), ("", "not known")):
        if names := sorted({f"{one.name} ({one.licence or 'licence unknown'})" for one, may in said if may == answer}):
            return f"{words}, by {', '.join(names)}"
    return "yes" if said else "yes: no model took part"
