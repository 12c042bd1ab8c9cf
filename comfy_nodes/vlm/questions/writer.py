"""Asks a model for edit instructions: the picture with its regions marked in, checked instructions out.

Nodes call `write` with what they know of a sample. A reply that breaks a rule is sent back once with the reason; what
is still broken then is a failure, as data. No torch, no ComfyUI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...core.instructions.checks import Unfit
from ...core.instructions.composing import finish, operations, states
from ...core.instructions.instructions import Writing
from ...core.instructions.scenes import Scene
from ...core.instructions.shapes import MAX_EDITS, SHAPES, Edits, dialogue, several
from ...core.instructions.turn_checks import LEAST_TURNS
from ...core.instructions.wording import Language, location
from ...core.regions.drawing import DrawnRegion, draw
from ...core.regions.lettering import words_of_name
from ...core.tasks import task_named
from ...core.taxonomy import Kind
from ..asking import Answer, Failure, Question, Vlm
from .asking_again import MAX_ASKED, again, line, unfit
from .prompt_files import prompt

LANGUAGE_NAMES: dict[Language, str] = {"en": "English", "zh": "Chinese (simplified characters)"}
NOTHING = "none given"
"""What stands in a prompt where a fact is not known."""

MAX_LINES = 40
"""Most lines of words that a prompt names. Ours."""

TOKENS_BASE, TOKENS_PER_EDIT, TURNS_PER_EDIT = 512, 512, 3
"""Most tokens of a reply: ImgEdit allows 1024 for one edit, and so does this, for one of up to three turns. Ours above that."""

SHORT, ROUNDS = "-short", "-rounds"
"""What a kind's prompt is called for a dialogue of another number of turns: a version backtracking of two, and all others."""


@dataclass(frozen=True)
class Assignment:
    """What is to be written about."""

    kind: Kind
    photo: np.ndarray
    """uint8 [H, W, 3], nothing drawn on it."""
    scene: Scene
    """The photo's size and its regions, those that are edited apart from the others."""
    language: Language = "en"
    count: int = 1
    """How many instructions, 1 to `MAX_EDITS`; fewer come back where a model writes fewer that are usable."""
    caption: str = ""
    seed: int = 0
    temperature: float = 0.0
    other_picture: np.ndarray | None = None
    """uint8 [H, W, 3]: the reference of task visual, the second frame of task motion."""
    turns: int = 0
    """Of a dialogue how many turns, `LEAST_TURNS` to `MOST_TURNS`; 0 for the kind's own number."""

    @property
    def ops(self) -> tuple[str, ...]:
        """The steps' operations, in order."""
        return operations(self.kind.task, self.seed, self.turns)

    @property
    def states(self) -> tuple[int, ...]:
        """The state that each step begins with."""
        return states(self.kind.task, self.ops, self.seed)


async def write(vlm: Vlm, assignment: Assignment) -> list[Writing] | Failure:
    """One to `count` instructions, different from each other.

    Returns:
        A failure where the model did not answer, or three times with nothing usable: `VlmWrongLanguage` where that was all
        that was wrong, else `VlmWrongShape`.

    Raises:
        NothingToEdit: the model does not see what the edit is to change.
    """
    assert 1 <= assignment.count <= MAX_EDITS
    question = _question(assignment)
    found: list[Writing] = []
    first = question
    for tried in range(MAX_ASKED):
        (answer,) = await vlm.ask([question])
        if isinstance(answer, Failure):
            return found or answer
        written, problems = _read(answer, question, assignment)
        found = _different([*found, *written])[: assignment.count]
        if len(found) == assignment.count or (tried and found):
            return found
        problems = problems or [Unfit(f"there are {len(found)} different edits instead of {assignment.count}")]
        failure = unfit(problems, answer)
        question = replace(again(first, problems), seed=question.seed + 1)
    return failure


def marked(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """The photo with a frame around each edited region, numbered where there are two: uint8 [H, W, 3]."""
    numbered = len(scene.regions) > 1
    regions = [DrawnRegion(one.bbox, str(number) if numbered else "") for number, one in enumerate(scene.regions, 1)]
    return draw(photo, regions) if regions else photo


def facts(scene: Scene, caption: str) -> dict[str, object]:
    """What is known of a photo, as prompts name it."""
    names = [one.class_name or "a thing without a name" for one in scene.regions]
    own = {name.casefold() for name in names}
    others = dict.fromkeys(one.class_name for one in scene.others if one.class_name)
    return {
        "width": scene.width,
        "height": scene.height,
        "caption": line(caption) or NOTHING,
        "marked": "; ".join(f"{number} {line(name)}" for number, name in enumerate(names, 1))
        if len(names) > 1
        else line("; ".join(names)) or NOTHING,
        "others": ", ".join(line(name) for name in others if name.casefold() not in own) or NOTHING,
        "things": ", ".join(line(name) for name in others if not words_of_name(name)) or NOTHING,
        "words": _words(scene),
    }


def _words(scene: Scene) -> str:
    """What a reader of words found, and where."""
    if scene.words is None:
        return NOTHING
    told = [
        f'"{line(words_of_name(one.class_name or ""))}" {location(one.bbox, scene.width, scene.height)}'
        for one in scene.words
    ]
    more = [f"and {len(told) - MAX_LINES} more lines"] if len(told) > MAX_LINES else []
    return "; ".join([*told[:MAX_LINES], *more]) or "none"


def _question(assignment: Assignment) -> Question:
    kind, scene = assignment.kind, assignment.scene
    images = [marked(assignment.photo, scene)]
    if assignment.other_picture is not None:
        images.append(assignment.other_picture)
    task, ops = task_named(kind.task), assignment.ops
    own = len(ops) == task.turns or task.turns == 1
    values = facts(scene, assignment.caption) | {
        "language": LANGUAGE_NAMES[assignment.language],
        "number": "one edit"
        if assignment.count == 1
        else f"{assignment.count} edits that clearly differ from each other",
        "operations": _operations(assignment) if task.turns > 1 or task.regions > 1 else ops[0],
        "reference": "It is the second picture." if len(images) > 1 else "It is not made yet: think of one.",
    }
    if not own:
        again = ", ".join(f'"round{number}": {{the same keys as round2}}' for number in range(3, len(ops) + 1))
        values |= {"turns": len(ops), "further": f", {again}" if again else ""}
    return prompt(_prompt(kind, len(ops), own)).question(
        values,
        reply=several(SHAPES[kind.shape] if own else dialogue(kind.shape, len(ops))),
        images=images,
        max_tokens=TOKENS_BASE + TOKENS_PER_EDIT * assignment.count * -(-len(ops) // TURNS_PER_EDIT),
        temperature=assignment.temperature,
        seed=assignment.seed,
    )


def _prompt(kind: Kind, turns: int, own: bool) -> str:
    """The prompt for so many turns."""
    if own:
        return kind.prompt
    return kind.prompt + (SHORT if kind.task == "version_backtracking" and turns == LEAST_TURNS else ROUNDS)


def _operations(assignment: Assignment) -> str:
    """The steps' operations, and from which version those begin that go back; of a kind's own number its prompt says so."""
    told = []
    for number, (op, state) in enumerate(zip(assignment.ops, assignment.states, strict=True), 1):
        back = assignment.turns not in (0, task_named(assignment.kind.task).turns) and state < number - 1
        told.append(f"{number} {op}" + (f" from the version after round {state}" if back and state else ""))
    return ", ".join(told)


def _read(answer: Answer, question: Question, assignment: Assignment) -> tuple[list[Writing], list[Unfit]]:
    """The usable edits of an answer, and why the others are not."""
    assert isinstance(answer.value, Edits)
    written, problems = [], []
    for edit in answer.value.edits:
        try:
            writing = finish(
                assignment.kind,
                edit,
                assignment.scene,
                assignment.language,
                assignment.ops,
                has_reference=assignment.other_picture is not None,
                bases=assignment.states,
            )
        except Unfit as problem:
            problems.append(problem)
            continue
        written.append(
            replace(
                writing,
                regions=assignment.scene.regions,
                model=answer.model,
                prompt_id=question.prompt_id,
                prompt_version=answer.prompt_version,
                reply=answer.text,
            )
        )
    return written, problems


def _different(written: Sequence[Writing]) -> list[Writing]:
    """Without repetitions, in order."""
    by_words: dict[str, Writing] = {}
    for one in written:
        by_words.setdefault(one.instruction.casefold(), one)
    return list(by_words.values())
