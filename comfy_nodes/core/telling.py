"""What an editor is told of an edit: commands for those that follow instructions, captions for those that paint a region.

Take Edit Step and Pick Style hand this out. A row is read from the picture before to the picture after, and so are
commands. An addition that a writer wrote about a thing in the photo is the exception: the photo is its picture after,
and the one before is made by a removal. No pictures and no models here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .instruction_checks import stems
from .instructions import USER, Step, Writing

NOTHING_THERE = "an empty place where nothing stands, the plain background simply goes on"
"""Caption of a place that a thing was taken from, where nobody described it. Ours."""

ERASING = ("add", "remove")
"""Operations that are painted as the ground behind their thing."""

_MOST_WORDS = 30
"""Longer than this, what stands behind the verb is no description of one thing. Ours."""

_PLACE = r"(?:in|on|at|to) the [\w\s-]{3,20}?\b(?:of|in) the (?:image|photo|picture|frame|scene)\b"
_INTO = r"(?:turn|transform|convert|make|change|alter|redraw|repaint|render|restyle|reimagine|draw|paint)\b.*?"
_RESULTS: dict[str, tuple[str, ...]] = {
    "replace": (
        r"(?:replace|swap|substitute|exchange|switch|trade)\b.*?\b(?:with|for|by)\s+(?P<new>.+)",
        r"(?:put|place|set)\s+(?P<new>.+?)\s+(?:in place of|instead of|where)\b.*",
        rf"{_INTO}\b(?:into|to|to be)\s+(?P<new>.+)",
    ),
    "background": (
        r"(?:replace|swap|exchange|change|switch)\b.*?\b(?:with|for|by|to|into)\s+(?P<new>.+)",
        rf"{_INTO}\b(?:into|to)\s+(?P<new>.+)",
        r"(?:put|place|set|move|show)\b.*?\b(?:in front of|against|before)\s+(?P<new>.+)",
    ),
    "style": (
        rf"{_INTO}\b(?:into|to|as|like)\s+(?P<new>.+)",
        r"(?:make|render|paint|draw)\s+(?:it|this|(?:the|this) (?:photo|picture|image|scene))\s+(?P<new>.+)",
        rf"{_INTO}\b(?P<new>in (?:the|an?) (?:\S+ ){{0,5}}style\b.*)",
        r"(?:apply|give)\b.*?\b(?P<new>(?:an?|the) (?:\S+ ){0,6}(?:style|look)\b.*)",
    ),
}
"""How people say what comes in a thing's place."""

_CHANGED = (
    rf"{_INTO}\b(?:into|to)\s+(?P<new>.+)",
    r"(?:make|paint|colou?r|dye|tint|turn|give|let)\b\s+(?:(?:it|them|this|that)\s+)?(?P<new>.+)",
)
"""How people say what a thing is to look like; the thing itself may stand before it."""

_ANOTHER_ORDER = re.compile(
    r"\b(?:and|then|but|while)\s+(?:then\s+|also\s+)?(?:add|remove|erase|delete|replace|make|change|turn|keep|leave|put|paint|move)\b",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^(?:the|an?|its?|their)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class Told:
    """One operation as an editor is told of it; all words are English where a writer wrote them."""

    op: str
    """What the row shows: add, remove, replace, …; of several in one, the sample's task."""
    object: str
    region: int | None
    """Number of the sample's region; None where the edit is about the whole photo."""
    command: str
    """What makes the picture after out of the photo; empty where the photo is that picture."""
    removal: str
    """What makes the picture before out of the photo; empty where the photo is that picture."""
    target: str
    """What is to be seen in the painted region; empty where nobody says and nothing tells."""


def told(
    writing: Writing | None, number: int, task: str, instruction: str, thing: str, regions: int
) -> tuple[Told, tuple[int, ...]]:
    """One operation of an edit, counted from 1, and the numbers of the regions that it is about.

    Number 0 is the whole edit in one, and so is an instruction that nobody took apart.

    Args:
        writing: what a writer or a person left; None where there is only `instruction`.
        task: the sample's.
        thing: name of the sample's first region; empty where it has none.
        regions: how many regions the sample has.

    Raises:
        ValueError: the edit has no such operation.
    """
    steps = writing.steps if writing else ()
    if number > max(1, len(steps)):
        count = max(1, len(steps))
        raise ValueError(
            f"the edit has {count} step{'s' if count > 1 else ''}, and step {number} is asked for: "
            "have Write Instruction (VLM) write one for this task"
        )
    if writing is None or not steps:
        command = (writing.editor_prompt if writing else "") or instruction
        steps = (Step(task, thing, 0 if regions else None, command, writing.target if writing else ""),)
    chosen = steps if not number else steps[number - 1 : number]
    forward = [step.editor_prompt for step in chosen if not by_removal(writing, step)]
    if writing and len(forward) == len(steps):
        # In one sentence, as its writer or a rewriter put it.
        forward = [writing.editor_prompt or " ".join(forward)]
    removals = [step.editor_prompt for step in chosen if by_removal(writing, step)]
    first = chosen[0]
    several = len(chosen) > 1
    about = tuple(dict.fromkeys(step.region for step in chosen if step.region is not None and step.region < regions))
    return Told(
        task if several else first.op,
        first.object,
        about[0] if about else None,
        " ".join(forward),
        " ".join(removals),
        first.target or result_caption(first.op, first.editor_prompt or instruction, first.object),
    ), about


def result_caption(op: str, words: str, thing: str) -> str:
    """What is to be seen after an edit, from an English command of a person: `Replace the rocket with a white
    lighthouse.` gives `a white lighthouse`, `Make the dahlia deep blue.` gives `dahlia, deep blue`.

    Args:
        thing: what the command is about, for operations that keep it; empty where nobody named it.

    Returns:
        A caption; empty where the words are of another kind, so that nothing is painted from a guess.
    """
    if op in ERASING:
        return NOTHING_THERE
    words = re.sub(_PLACE, "", " ".join(words.split()), flags=re.IGNORECASE).strip(" .!")
    if not words.isascii() or _ANOTHER_ORDER.search(words):
        return ""
    for pattern in _RESULTS.get(op, _CHANGED if op == "alter" else ()):
        found = re.fullmatch(pattern, " ".join(words.split()), re.IGNORECASE)
        if found:
            new = found["new"].strip(" ,")
            result = _kept(thing, new) if op == "alter" else new
            return result if len(result.split()) <= _MOST_WORDS else ""
    return ""


def no_caption(told_one: Told) -> str:
    """Why a model that paints from a caption cannot carry an operation out."""
    return (
        f"this graph's model paints from a description of the result and obeys no command, and {told_one.command!r} "
        "does not say what is to be seen afterwards: have Write or Rewrite Instruction (VLM) describe it, or type it as "
        "'Replace the cup with a blue vase.' or 'Make the cup blue.'"
    )


def by_removal(writing: Writing | None, step: Step) -> bool:
    """Whether an operation's command takes away what the row says was added. A person's words are obeyed as they are."""
    return step.op == "add" and writing is not None and writing.model != USER


def _kept(thing: str, new: str) -> str:
    """A thing as it looks after an edit that keeps it."""
    if not thing:
        # `into a red one` could be anything: only a noun phrase of its own says what is seen.
        return new if re.match(r"an? ", new, re.IGNORECASE) else ""
    if stems(thing) and stems(thing) <= stems(new):
        # `the dahlia deep blue`: what stands behind the thing is what it looks like.
        before, _, behind = new.casefold().rpartition(thing.casefold())
        look = (behind or _ARTICLE.sub("", before)).strip(" ,")
        return f"{thing}, {look}" if look and behind else new
    # Words that name another thing are not about this one.
    return "" if new.casefold().startswith("the ") else f"{thing}, {new}"
