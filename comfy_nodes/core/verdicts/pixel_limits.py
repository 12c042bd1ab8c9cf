"""What pixels an edit has to change and may change, by its operation: the one table of limits for Verify Pixels.

Every number is ours. It must not know how changes are found.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..taxonomy import TAXONOMY

MARGIN = "pixel.margin"
"""The score that says how far an edit is from the nearest of its limits, in shares of that limit: -1 to 1, below 0 where it
is broken and so rejected."""

CHANGED_LEVELS = 8
"""A pixel counts as changed when a channel differs by more than this many of 255 levels. Ours:
above JPEG and VAE noise on flat areas, below any visible repainting."""

MIN_CHANGED = 0.05
"""Least share of the mask that has to change for an edit to have happened. Ours."""

MIN_COVERED = 0.6
"""Least share of the region that a finished edit changes. Ours."""

MAX_EXTRA = 0.002
"""Largest share of the picture that may change beyond the region and its margin: a square with a side of 4.5 % of a
square picture's. Ours."""

MAX_SHADOW = 0.02
"""The same of what joins the region's own change beside or below its lower half. Ours: shadows and reflections of things
take 0.2 to 1.5 % of a picture."""

SHADOW_RATIO = 2.0
"""A shadow is at most this many times as large as its thing's region. Ours: that of a sun 27 degrees high."""

MAX_SPREAD = 0.65
"""Largest share of the picture's fields, 8 x 8 of them, that an edit of one thing reaches, where nobody says where it is.
Ours."""

MAX_UNREST = 6.0
"""How many times as much as a good codec leaves even the quietest third of the picture may differ by where one thing is edited:
above it, most of it was drawn anew. Ours: JPEG of quality 30 leaves 3."""

MIN_RESTYLED = 0.05
"""Least share of the picture that changes when all of it was to. Ours: re-encoding, shifts and VAEs change none of it, a
gentle brush changes a tenth in the mean over patches."""


@dataclass(frozen=True)
class Limits:
    """What an edit has to keep to. Shares are 0 to 1."""

    min_changed: float = MIN_CHANGED
    """Least share of the region, or else of the edit mask, that has to change; 0 asks for no change at all."""
    max_outside: int = 0
    """Largest difference outside the edit mask, 0 to 255 levels."""
    levels: int = CHANGED_LEVELS
    """A pixel counts as changed above this difference, 0 to 254 levels."""
    min_covered: float = MIN_COVERED
    """Least share of the region that has to change for the edit to be finished."""
    max_extra: float = MAX_EXTRA
    """Largest share of the picture that may change beyond the region and its margin."""
    min_total: float = 0.0
    """Least share of the whole picture that has to change, as for another style."""
    max_shadow: float = MAX_SHADOW
    """Largest share of the picture that a shadow or a reflection may take along, beyond the region and its margin."""
    max_spread: float = 1.0
    """Largest share of the picture's fields that a change may reach where there is no region."""
    recolours: bool = False
    """Whether the whole picture's colours are to change, so that a colour drift is the edit."""


@dataclass(frozen=True)
class Demand:
    """What an operation changes of its region and beside it."""

    covered: float = MIN_COVERED
    """Least share of the region that a finished edit changes."""
    shadow: float = 0.0
    """Largest share of the picture that a shadow or a reflection takes along."""
    spread: float = MAX_SPREAD
    """Largest share of the picture's fields that it reaches where no region is known."""
    recolours: bool = False


_THING = Demand(shadow=MAX_SHADOW)
_PART = Demand(covered=0.03)
_SURFACE = Demand(covered=0.25, shadow=MAX_SHADOW)
_PICTURE = Demand(spread=1.0, recolours=True)
_ANYWHERE = Demand(covered=0.0, shadow=MAX_SHADOW, spread=1.0)

DEMANDS: dict[str, Demand] = {
    "add": _THING,
    "remove": _THING,
    "replace": _THING,
    "visual": _THING,
    "hybrid": replace(_THING, covered=0.25),
    "alter": replace(_PART, shadow=MAX_SHADOW),
    "portrait": _PART,
    "beautify": _PART,
    **dict.fromkeys(
        ("text", "poster-text", "interface-text", "object-text", "building-text"), replace(_PART, covered=0.005)
    ),
    "size": replace(_PART, shadow=MAX_SHADOW),
    "colour": _SURFACE,
    "material": _SURFACE,
    "texture": _SURFACE,
    "background": Demand(spread=1.0),
    "motion": Demand(covered=0.0, shadow=MAX_SHADOW, spread=1.0),
    "instruct": Demand(covered=0.0, spread=1.0),
    "extract": Demand(spread=1.0),
    "zoom": _ANYWHERE,
    "viewpoint": _ANYWHERE,
    "count": _ANYWHERE,
    "coordination": _ANYWHERE,
    "relation": _ANYWHERE,
    "implicit": replace(_ANYWHERE, recolours=True),
    "style": _PICTURE,
    "tone": _PICTURE,
}
"""By the kind of edit, as its prompt is called after `write-`, or else by its task. Ours: a new word is a part of its sign, a
letter a part of the word; a recoloured car keeps its windows and tyres; a removed or a new thing is most of its region."""


def demand(task: str, subtask: str = "") -> Demand | None:
    """What a sample's kind of edit changes; None where nobody knows it."""
    kind = TAXONOMY.get(subtask) or TAXONOMY.get(f"imgedit/{task}")
    if kind is None:
        return None
    by_prompt = DEMANDS.get(kind.prompt.removeprefix("write-"))
    return by_prompt or DEMANDS.get(kind.task)


def for_kind(limits: Limits, task: str, subtask: str = "") -> Limits:
    """The limits as they hold for a kind of edit: less is asked where it changes less, and less is let pass beside it."""
    wanted = demand(task, subtask)
    if wanted is None:
        return limits
    return replace(
        limits,
        min_changed=min(limits.min_changed, wanted.covered) if wanted.covered else limits.min_changed,
        min_covered=min(limits.min_covered, wanted.covered),
        max_shadow=min(limits.max_shadow, wanted.shadow),
        max_spread=min(limits.max_spread, wanted.spread),
        min_total=min(limits.min_total, MIN_RESTYLED) if wanted.recolours else limits.min_total,
        recolours=wanted.recolours,
    )
