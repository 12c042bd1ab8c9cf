"""Which commands make which picture of a pair: what an editor that follows instructions is told, and about which regions.

A row is read from the picture before to the picture after, and so are commands. An addition that a writer wrote about
a thing in the photo is the exception: the photo is its picture after, and the one before is made by a removal. Take Edit
Step hands this out; `captions` is for models that paint what is described.
"""

from __future__ import annotations

from dataclasses import dataclass

from .instructions import USER, Step, Writing


@dataclass(frozen=True)
class Commands:
    """What an editor is told of the photo; plain English where a writer wrote it."""

    after: str
    """Makes the picture after; empty where the photo is that picture."""
    before: str
    """Makes the picture before; empty where the photo is that picture."""


def commands(writing: Writing | None, number: int, instruction: str) -> Commands:
    """The commands of an operation, counted from 1; number 0 is all of them, each on its side.

    Args:
        writing: what a writer or a person left; None where there is only `instruction`.
    """
    steps = writing.steps if writing else ()
    whole = (writing.editor_prompt if writing else "") or instruction
    chosen = steps[number - 1 : number] if number else steps
    removals = [step.editor_prompt for step in chosen if by_removal(writing, step)]
    if len(chosen) == len(steps) and not removals:
        # In one sentence, as its writer or a rewriter put it.
        return Commands(whole, "")
    return Commands(
        " ".join(step.editor_prompt for step in chosen if not by_removal(writing, step)), " ".join(removals)
    )


def regions_about(writing: Writing | None, number: int, count: int) -> tuple[int, ...]:
    """Numbers of the regions that an operation is about, of number 0 all of them.

    Args:
        count: how many regions the sample has; an instruction that nobody took apart is about the first.
    """
    steps = writing.steps if writing else ()
    chosen = steps[number - 1 : number] if number else steps
    named = [step.region for step in chosen] if steps else [0]
    return tuple(dict.fromkeys(one for one in named if one is not None and one < count))


def by_removal(writing: Writing | None, step: Step) -> bool:
    """Whether an operation's command takes away what the row says was added. A person's words are obeyed as they are."""
    return step.op == "add" and writing is not None and writing.model != USER
