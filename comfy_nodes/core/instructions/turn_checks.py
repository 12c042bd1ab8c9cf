"""Whether a plan of several turns can be carried out and understood, whoever wrote it. `turns` gives it to all others.

It reads words, as `checks` does: names, pronouns and what says that a turn goes back, and proves nothing beyond them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from .. import texts
from . import checks
from .captions import caption
from .checks import Unfit
from .classical import COLOURS, DONORS, OPERATIONS, colour_in, colours_in, thing_in
from .instructions import Step, Writing
from .wording import Language

LEAST_TURNS, MOST_TURNS = 2, 5
"""How deep a dialogue may be; ImgEdit's have 2 or 3 turns. Ours."""

_VERSIONS: dict[Language, tuple[str, ...]] = {
    "en": (
        r"\bat the (?:very )?(?:start|beginning)\b|\buntouched\b",
        r"\b(?:first|1st)\b|\b(?:round|step|turn|version) (?:1|one)\b",
        r"\b(?:second|2nd)\b|\b(?:round|step|turn|version) (?:2|two)\b",
        r"\b(?:third|3rd)\b|\b(?:round|step|turn|version) (?:3|three)\b",
    ),
    "zh": ("最开始|一开始", "第一|第1", "第二|第2", "第三|第3"),
}
"""How versions are counted in words, by the state that they are; none goes back to the fourth."""
_ORIGINAL = re.compile(r"\b(?:original|initial)(?:ly)?\b|最初|原来|原始", re.IGNORECASE)

_OF_MEMORY = ("replace", "alter")
"""What a premise about looks can hold for; ImgEdit's content memory has no others."""


def leading_to(steps: Sequence[Step], state: int) -> list[int]:
    """Numbers of the turns that lead from state 0 to a state, in order."""
    found: list[int] = []
    while state > 0:
        found.append(state)
        state = steps[state - 1].base
    return found[::-1]


def thing_put_in(step: Step) -> str:
    """The name of what a replacement puts in, by its target: no article, and nothing behind a comma."""
    name = re.sub(r"^(?:an?|the|some) ", "", step.target.split(",")[0].strip(" ."), flags=re.IGNORECASE)
    if len(name) > texts.MAX_NAME:
        name = name[: texts.MAX_NAME].rpartition(" ")[0]
    return name or step.object or "thing"


def check_plan(task: str, writing: Writing) -> None:
    """Whether a plan is one of its task: its turns follow from one another, and each can be carried out and understood.

    Raises:
        Unfit: it is not; the message names the turn.
    """
    steps = writing.steps
    if not LEAST_TURNS <= len(steps) <= MOST_TURNS:
        raise Unfit(f"a dialogue has {LEAST_TURNS} to {MOST_TURNS} turns, and this plan has {len(steps)}")
    if task == "content_memory" and not writing.premise.strip():
        raise Unfit("a content memory has a premise, and this plan has none")
    _check_texts(premise=writing.premise)
    for number, step in enumerate(steps, 1):
        try:
            _check_texts(
                instruction=step.instruction, target=step.target, editor_prompt=step.editor_prompt, object=step.object
            )
            _check_order(task, number, step)
            _check_region(writing, number, step)
            _check_possible(writing, step)
            _check_reference(writing, number, step)
            if task == "content_memory":
                _check_premise(writing, step)
        except Unfit as problem:
            raise type(problem)(f"turn {number}: {problem}") from None
    if task == "version_backtracking" and not any(step.base < number for number, step in enumerate(steps)):
        raise Unfit("no turn goes back: one of a version backtracking begins with an earlier state (base)")


class NotClassical(Unfit):
    """A plan that takes a model."""


def check_classical(writing: Writing, ops: Collection[str]) -> None:
    """Whether graphs without weights can make what a plan asks for, as far as its words tell.

    Args:
        ops: the operations that are made without a model.

    Raises:
        NotClassical: they cannot; the message names the turn.
    """
    for number, step in enumerate(writing.steps, 1):
        if step.op not in ops:
            continue
        if step.op == "alter" and not colour_in(step.target):
            can = f"it takes a model; without one a thing gets one colour, said in English: {', '.join(COLOURS)} ('a blue cup')"
        elif step.op == "replace" and not thing_in(step.target):
            can = f"it takes a model; without one the bundled things are put in, by their English names: {', '.join(DONORS)}"
        else:
            continue
        raise NotClassical(f"turn {number}: its target is {step.target!r}, and {can}")


def _check_texts(**said: str) -> None:
    """Each is a line that can be kept; lines of users have not been looked into yet."""
    for name, text in said.items():
        if why := texts.fault_of_name(text, texts.MAX_WORDS):
            raise Unfit(f"its {name} {why}")


def _check_order(task: str, number: int, step: Step) -> None:
    allowed = _OF_MEMORY if task == "content_memory" else OPERATIONS
    if step.op not in allowed:
        raise Unfit(f"{step.op!r} is none of its operations; they are {', '.join(allowed)}")
    if step.op == "add" and number > 1:
        raise Unfit("only the first turn adds, as the added thing is taken from the photo")
    if not 0 <= step.base < number:
        raise Unfit(f"it begins with state {step.base}, and there are states 0 to {number - 1}")
    if step.base != number - 1 and task != "version_backtracking":
        raise Unfit(f"it begins with state {step.base}, and turns of this task build on the one before ({number - 1})")


def _check_region(writing: Writing, number: int, step: Step) -> None:
    """The region exists, in the state, too."""
    if step.region is None or not 0 <= step.region < len(writing.regions):
        raise Unfit(f"it is about region {step.region}, and the plan has {len(writing.regions)} regions")
    name = writing.regions[step.region].class_name or "thing"
    before = leading_to(writing.steps, step.base)
    if any(_about(writing, one, step) and writing.steps[one - 1].op == "remove" for one in before):
        raise Unfit(f"the {name} is gone: an earlier turn removed it")
    added = number > 1 and writing.steps[0].op == "add" and writing.steps[0].region == step.region
    if added and 1 not in before:
        raise Unfit(f"in the state that it begins with the {name} is not there yet: turn 1 adds it")


def _about(writing: Writing, number: int, step: Step) -> bool:
    return writing.steps[number - 1].region == step.region


def _check_possible(writing: Writing, step: Step) -> None:
    """Its result can be told, and is not there already."""
    if step.op not in ("replace", "alter"):
        return
    shown = _result(step)
    if not shown:
        raise Unfit(f"nothing says what is to be seen after it (target): {step.instruction!r}")
    for number in leading_to(writing.steps, step.base):
        past = writing.steps[number - 1]
        if _about(writing, number, step) and past.op == step.op and _result(past).casefold() == shown.casefold():
            raise Unfit(f"it changes nothing, as turn {number} made the same: {shown!r}")


def _result(step: Step) -> str:
    return step.target or caption(step.op, step.editor_prompt, step.object)


def _check_reference(writing: Writing, number: int, step: Step) -> None:
    """Somebody who hears the turns in order knows which thing is meant, and in which version."""
    text, language = step.instruction, writing.lang
    if not text.strip():
        raise Unfit("it has no instruction of its own")
    checks.check_language(text, language)
    goes_back = step.base < number - 1
    if goes_back:
        checks.check_goes_back(text, language)
        _check_version(writing, number, step)
    if _named(writing, step) or (goes_back and len({one.region for one in writing.steps[:number]}) == 1):
        return
    if language == "en" or (number > 1 and len({one.region for one in writing.steps}) == 1):
        checks.check_pronoun(text, language)
        if number == 1:
            raise Unfit(f"it does not name its thing, and nothing was spoken of before: {text!r}")
        if {one.region for one in writing.steps[: number - 1]} != {step.region}:
            raise Unfit(f"its pronoun may mean each of several things that were spoken of: {text!r}")


def _check_version(writing: Writing, number: int, step: Step) -> None:
    """The version that the words go back to is the one that the step begins with: one that is counted, else the one
    before the last turn, as in `undo that`."""
    # The first one that has the thing: what an addition left, else the start.
    first = 1 if writing.steps[0].op == "add" else 0
    counted = _VERSIONS[writing.lang]
    said = {state for state, words in enumerate(counted) if re.search(words, step.instruction, re.IGNORECASE)}
    if _ORIGINAL.search(step.instruction):
        said.add(first)
    meant = said or {writing.steps[number - 2].base}
    only_one = number == first + 2  # that it can go back to, so that a further number does no harm
    if step.base not in meant or (len(meant) > 1 and not only_one):
        told = ", ".join(map(str, sorted(meant)))
        raise Unfit(f"it goes back to version {step.base}, and its words mean version {told}: {step.instruction!r}")


def _named(writing: Writing, step: Step) -> bool:
    """Whether the instruction names its thing as it is called in the state.

    Raises:
        Unfit: it names one that was replaced.
    """
    assert step.region is not None
    first = writing.regions[step.region].class_name or ""
    now, gone = first, []
    for number in leading_to(writing.steps, step.base):
        past = writing.steps[number - 1]
        if past.region == step.region and past.op == "replace":
            gone.append(now)
            now = thing_put_in(past)
    called = [step.object] if step.object and not gone else []
    if any(_says(step.instruction, name) for name in (now, *called)):
        return True
    for name in gone:
        if _says(step.instruction, name):
            raise Unfit(f"it names the {name}, which was replaced: {step.instruction!r}")
    return False


def _says(text: str, name: str) -> bool:
    if not name:
        return False
    return checks.names(text, name) if checks.stems(name) else name in text


def _check_premise(writing: Writing, step: Step) -> None:
    """The premise's colour shows in the target, in whichever language each is said."""
    wished, shown = colours_in(writing.premise), colours_in(_result(step))
    if writing.lang == "zh" and wished and not wished & shown:
        raise Unfit(f"the premise {writing.premise!r} does not show in the target {step.target!r}")
    in_chinese = sorted(one for one in shown if one not in _result(step).casefold())
    checks.check_premise(writing.premise, step.instruction, " ".join((_result(step), *in_chinese)), writing.lang)
