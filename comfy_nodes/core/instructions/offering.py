"""Which kinds of edit a photo is offered, where its writer may choose among many: what its regions allow, drawn by the seed.

The writer of many kinds asks here, and so does the driver, which keeps quotas. A photo without regions is offered all:
the model sees it. Knows names and boxes, no pixels and no models.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from ..regions.annotation import Region
from ..regions.people import about_people
from ..tasks import task_named
from ..taxonomy import TAXONOMY, Kind, Scheme

SCHEME: Scheme = "unicedit"
"""Whose kinds are written many at a time: UnicEdit-10M asks for three to seven edits of a photo in one call (paper)."""

KINDS: dict[str, Kind] = {kind.id: kind for kind in TAXONOMY.values() if kind.scheme == SCHEME}

OFFERED = 10
"""Kinds that a photo is offered where nobody says which. Ours: more than are written, so that the model can leave out what
does not suit, and fewer than all, or it would write the same few for every photo."""

MAX_COUNT = 9
"""Most things of one name whose number an edit changes: models count no further. Ours."""

_THINGS = {"write-hybrid": 2, "write-coordination": 2, "write-relation": 2, "write-spatial": 2}
"""How many things a kind needs to be there, by its prompt; others need one where their task edits a thing. Ours."""


def kinds_named(text: str) -> tuple[Kind, ...]:
    """The kinds that a list names, in the table's order; all of them where it is empty.

    Args:
        text: names such as `Lens Zooming` or ids such as `unicedit/Lens Zooming`, by commas or a line each.

    Raises:
        ValueError: it names another one.
    """
    wanted = {name if "/" in name else f"{SCHEME}/{name}" for name in re.split(r"\s*[,\n]\s*", text.strip()) if name}
    if unknown := sorted(wanted - set(KINDS)):
        raise ValueError(
            f"{unknown[0].removeprefix(f'{SCHEME}/')!r} is none of the kinds that are written many at a time; they are "
            f"{', '.join(kind.name for kind in KINDS.values())}"
        )
    return tuple(kind for name, kind in KINDS.items() if not wanted or name in wanted)


def obstacle(kind: Kind, regions: Iterable[Region]) -> str:
    """Why a photo with these regions cannot be offered a kind; empty where it can, or where nobody looked for regions."""
    known = list(regions)
    things = [one for one in known if one.kind == "object"]
    needed = _THINGS.get(kind.prompt, 0)
    task = task_named(kind.task)
    if not needed and task.region == "object" and task.name != "add":
        needed = 1
    if not known:
        return ""
    if len(things) < needed:
        return f"it needs {needed} thing{'s' if needed > 1 else ''}, and {len(things)} is known of the photo"
    if kind.prompt == "write-portrait" and not about_people([one.plain_name for one in things]):
        return "it needs a person, and none is known of the photo"
    counts = Counter(one.plain_name for one in things if one.plain_name)
    if kind.prompt == "write-count" and not any(number <= MAX_COUNT for number in counts.values()):
        return f"it needs things of one name, {MAX_COUNT} at most, and none are known of the photo"
    return ""


def offered(kinds: Sequence[Kind], regions: Sequence[Region], most: int, seed: int) -> list[Kind]:
    """Those of the kinds that a photo is offered, `most` of them, drawn by the seed; in the kinds' order."""
    suited = [kind for kind in kinds if not obstacle(kind, regions)]
    drawn = random.Random(f"editpairs/offered/{seed}").sample(suited, min(most, len(suited)))
    return [kind for kind in suited if kind in drawn]
