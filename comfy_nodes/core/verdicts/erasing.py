"""Whether something new stands where a thing was erased: which edits are asked about it, and what an answer comes to.

An editor that is to erase often paints another thing in the place. Verify Edit and Judge Edit ask a model; none is asked
here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ..instructions.checks import Unfit
from ..instructions.shapes import Reply
from .verdicts import SAYS, Scores, combine

NEW_THINGS = "erased.new_things"
"""The score that holds how many were found."""

Erased = Literal["before", "after"]
"""The picture that a thing was erased from."""

_NOTHING = re.compile(
    r"(?:there (?:is|are|was|were) )?(?:n/a|none|no|nothing|(?:nothing|none|no (?:visible |obvious )?(?:new|other|additional|things?|objects?))"
    r"(?: (?!but|except|other than|apart|besides)\w+)*)|(?:没有|无)(?:任何|明显|出现|发现|看到|新增|增加|添加)*(?:新的?)?(?:物体|东西|事物)?",
    re.IGNORECASE,
)
"""What models write into a list that should be empty."""


class NewThings(Reply):
    """What is there and was not."""

    new: list[str]


def erased_from(task: str, ops: Sequence[str] = ()) -> Erased | None:
    """Which picture of a pair something was erased from; None where nothing was.

    The picture before an addition is made by erasing what is added.

    Args:
        ops: the edit's operations, where they are known apart.
    """
    done = {*ops} or {task}
    return "after" if "remove" in done else "before" if done == {"add"} else None


def nothing_new(reply: NewThings) -> Scores:
    """The verdict on an answer.

    Raises:
        Unfit: it names things and says that there are none, or repeats the dots of the prompt's example.
    """
    said = [" ".join(one.split()).strip(" .。") for one in reply.new]
    if any(one.strip() and not name for one, name in zip(reply.new, said, strict=True)):
        raise Unfit("new holds dots in a name's place")
    things = [*{one.lower(): one for one in said if one and not _NOTHING.fullmatch(one)}.values()]
    if things and any(_NOTHING.fullmatch(one) for one in said if one):
        raise Unfit(f"new names {'; '.join(things)} and says that there is nothing")
    values = {NEW_THINGS: float(len(things))}
    if things:
        return Scores(values, "reject", f"something new stands where a thing was erased: {'; '.join(things)}")
    return Scores(values, "keep")


def with_look(found: Scores, looked: Scores, verifier: str) -> Scores:
    """A verifier's verdict with what it saw in the erased thing's place.

    Args:
        verifier: whose score `<verifier>.keep` is to say the same.
    """
    both = combine([found, looked])
    values = {name: value for name, value in both.values.items() if name != f"{verifier}.keep"}
    said = {f"{verifier}.keep": SAYS[both.verdict]} if both.verdict in SAYS else {}
    return replace(both, values=values | said, voices=found.voices if said else ())
