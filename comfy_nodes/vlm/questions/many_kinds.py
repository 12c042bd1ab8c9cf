"""Asks a model for several edits of a photo in one call, each of another kind, in English and Chinese.

The node of many kinds calls `write`. What breaks a rule is sent back with the reason; edits that are sound stay, and a
photo that never got enough of them is a failure, as data. No torch, no ComfyUI.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from ...core.instructions.checks import Unfit
from ...core.instructions.instructions import Writing
from ...core.instructions.many_kinds import finish
from ...core.instructions.offering import KINDS, SCHEME
from ...core.instructions.scenes import Scene
from ...core.instructions.shapes import Edits, KindEdit, of_kinds
from ...core.instructions.wording import Language
from ...core.regions.annotation import Region
from ...core.taxonomy import Kind
from ..asking import Answer, Failure, Question, Vlm
from .asking_again import MAX_ASKED, again, line, unfit
from .prompt_files import prompt
from .writer import NOTHING, TOKENS_BASE, TOKENS_PER_EDIT

PROMPT = f"write-{SCHEME}"
"""Id of the prompt: a line for each kind, of which a photo is told those that it is offered."""

LEAST, MOST = 3, 7
"""How many edits of a photo: UnicEdit-10M (paper)."""

MAX_THINGS = 12
"""Most things of a photo that are listed, the largest. Ours: a longer list is not read to its end."""

_KIND = re.compile(r"- (?P<name>[^:\n]+): .*\n?")
"""A kind's line in the prompt."""


@dataclass(frozen=True)
class Choice:
    """What may be written about a photo."""

    kinds: Sequence[Kind]
    """Those that it is offered."""
    photo: np.ndarray
    """uint8 [H, W, 3]."""
    scene: Scene
    """The photo's size, and its things among `others`."""
    language: Language = "en"
    """That of the instruction; the other one of English and Chinese stands beside it."""
    least: int = LEAST
    most: int = MOST
    caption: str = ""
    seed: int = 0
    temperature: float = 0.0

    @property
    def number(self) -> tuple[int, int]:
        """How many edits are asked for, at least and at most: no more than there are kinds."""
        most = min(self.most, len(self.kinds))
        return min(self.least, most), most


async def write(vlm: Vlm, choice: Choice) -> list[Writing] | Failure:
    """Edits of different kinds, as many as `choice` asks for.

    Returns:
        A failure where the model did not answer, or three answers had too few that are usable.
    """
    things = listed(choice.scene)
    question = first = _question(choice, things)
    least, most = choice.number
    found: dict[str, Writing] = {}
    for tried in range(MAX_ASKED):
        (answer,) = await vlm.ask([question])
        if isinstance(answer, Failure):
            return list(found.values()) if len(found) >= least else answer
        problems = _read(answer, question, choice, things, found)
        if len(found) < least:
            problems.append(Unfit(f"{len(found)} edits can be used, and at least {least} are asked for"))
        if not problems or (tried and len(found) >= least):
            return list(found.values())[:most]
        failure = unfit(problems, answer)
        question = replace(again(first, problems), seed=question.seed + 1)
    return failure


def listed(scene: Scene) -> list[Region]:
    """The things of a photo that words tell apart from each other, the largest first."""
    known = [one for one in scene.others if one.kind == "object" and one.plain_name]
    known.sort(key=lambda one: -one.area_share(scene.width, scene.height))
    return [one for one in known if scene.told(one)][:MAX_THINGS]


def _question(choice: Choice, things: Sequence[Region]) -> Question:
    scene, made = choice.scene, prompt(PROMPT)
    offered = {kind.name for kind in choice.kinds}
    user = _KIND.sub(lambda one: one[0] if one["name"] in offered or one["name"] not in _NAMES else "", made.user)
    least, most = choice.number
    named = [f"{number} {line(scene.told(one))}" for number, one in enumerate(things, 1)]
    return replace(made, user=user).question(
        {
            "width": scene.width,
            "height": scene.height,
            "caption": line(choice.caption) or NOTHING,
            "things": "; ".join(named) or NOTHING,
            "number": f"{least} to {most} edits" if least < most else f"{most} edit{'s' if most > 1 else ''}",
        },
        reply=of_kinds(tuple(sorted(_NAMES)), most),
        images=[choice.photo],
        max_tokens=TOKENS_BASE + TOKENS_PER_EDIT * most,
        temperature=choice.temperature,
        seed=choice.seed,
    )


_NAMES = frozenset(kind.name for kind in KINDS.values())


def _read(
    answer: Answer, question: Question, choice: Choice, things: Sequence[Region], found: dict[str, Writing]
) -> list[Unfit]:
    """Puts an answer's usable edits into `found`, by kind, and gives what is wrong with the others. What an earlier answer
    gave stays."""
    problems: list[Unfit] = []
    said: set[str] = set()
    for edit in cast(Edits, answer.value).edits:
        try:
            one = finish(cast(KindEdit, edit), choice.kinds, things, choice.language)
            if one.subtask in said:
                raise Unfit(f"there are two edits of the kind {one.subtask.partition('/')[2]}")
            if any(
                one.instruction.casefold() == other.instruction.casefold()
                for other in found.values()
                if other.subtask != one.subtask
            ):
                raise Unfit(f"the same instruction stands under two kinds: {one.instruction!r}")
        except Unfit as problem:
            problems.append(problem)
            continue
        said.add(one.subtask)
        found.setdefault(
            one.subtask,
            replace(
                one,
                model=answer.model,
                prompt_id=question.prompt_id,
                prompt_version=answer.prompt_version,
                reply=answer.text,
            ),
        )
    return problems
