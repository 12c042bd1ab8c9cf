"""Names that detectors and captions have for people. Edits of people are watched and offered by them."""

from __future__ import annotations

import re
from collections.abc import Sequence

PEOPLE = frozenset(
    re.findall(
        r"\w+",
        "person people man men woman women boy boys girl girls child children kid kids baby face faces head hair human "
        "lady guy player rider worker bride groom crowd",
    )
)
"""Names of people and what belongs to their faces: an edit of one may change who it is. Ours."""


def about_people(names: Sequence[str]) -> bool:
    """Whether an edit is about people, so that who they are may change."""
    words = {word for name in names for word in re.findall(r"[a-z]+", name.casefold())}
    return bool(words & PEOPLE)
