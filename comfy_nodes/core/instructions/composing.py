"""How a model's reply becomes an instruction: our words for size and place put in, then checked word by word.

Writers call `finish` with what was answered; it knows nothing of who answered or how it was asked.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from ..regions.lettering import words_of_name
from ..tasks import task_named
from ..taxonomy import Kind
from . import checks, shapes
from .checks import Unfit
from .classical import OPERATIONS
from .english import article
from .instructions import Step, Writing
from .repairs import repaired
from .scenes import Scene
from .turn_checks import LEAST_TURNS, check_plan, thing_put_in
from .wording import Language

ENDINGS = '.!?"\u3002\uff01\uff1f\u201d\u300d'
"""What may end a sentence, Chinese marks and closing quotes among it."""


def operations(task: str, seed: int, turns: int = 0) -> tuple[str, ...]:
    """The operations of a sample's steps, in order; the seed picks among those that ImgEdit allows for the task.

    Args:
        turns: of a dialogue how many; 0 for the task's own number.
    """
    pick = random.Random(f"editpairs/operations/{seed}")
    if task == "hybrid":
        return tuple(pick.sample(OPERATIONS, 2))
    count = turns or task_named(task).turns
    if task == "content_memory":
        return tuple(pick.choices(("replace", "alter"), k=count))
    if task == "content_understanding":
        last = pick.choice(("remove", "replace"))
        if count == LEAST_TURNS:
            return "add", pick.choice(("alter", "replace"))
        return "add", "alter", *pick.choices(("alter", "replace"), k=count - 3), last
    if task == "version_backtracking":
        if count == LEAST_TURNS:
            return "replace", "alter"
        return "add", "replace", "alter", *pick.choices(("alter", "replace"), k=count - 3)
    return (task,)


def states(task: str, ops: Sequence[str], seed: int) -> tuple[int, ...]:
    """The state that each step begins with; rounds that go back, go back behind the last one."""
    if task != "version_backtracking":
        return tuple(range(len(ops)))
    if len(ops) == LEAST_TURNS:
        return 0, 0
    pick = random.Random(f"editpairs/states/{seed}")
    return 0, 1, 1, *(pick.randrange(1, number) for number in range(3, len(ops)))


def finish(
    kind: Kind,
    edit: shapes.Reply,
    scene: Scene,
    language: Language,
    ops: tuple[str, ...],
    has_reference: bool = False,
    bases: tuple[int, ...] = (),
) -> Writing:
    """A model's reply as an instruction: placeholders filled by our words, and every check passed.

    Args:
        edit: of `kind`'s shape.
        ops: of `operations`.
        has_reference: whether a reference picture shows the new object (task visual).
        bases: of `states`; of a dialogue with its own number of rounds there is one choice.

    Returns:
        The instruction; who wrote it is for the caller to add.

    Raises:
        NothingToEdit: what it is to change is not there.
        Unfit: it breaks a rule, such as `WrongLanguage`; the message is what the model is told when asked again.
    """
    edit = repaired(edit, language)
    if isinstance(edit, shapes.AddEdit):
        return _added(edit, scene, language)
    if isinstance(edit, shapes.HybridEdit):
        return _hybrid(edit, scene, language, ops)
    if isinstance(edit, shapes.ContentMemory):
        return _memory(edit, scene, language, ops)
    if isinstance(edit, shapes.Opening | shapes.Swapped):
        return _dialogue(kind.task, edit, scene, language, ops, bases or states(kind.task, ops, 0))
    if isinstance(edit, shapes.RiddleEdit):
        return _riddle(edit, scene, language, ops[0])
    if isinstance(edit, shapes.ObjectEdit):
        return _single(kind, edit, scene, language, ops[0], has_reference)
    return _whole(kind, edit, language, ops[0])


def _single(
    kind: Kind, edit: shapes.ObjectEdit, scene: Scene, language: Language, op: str, has_reference: bool
) -> Writing:
    marked = scene.regions[0].class_name or ""
    if isinstance(edit, shapes.TextEdit):
        checks.check_old_words(edit.reads, edit.instruction, edit.command)
        checks.check_read(edit.reads, words_of_name(marked))
    checks.check_request(edit.instruction)
    free = op == "background" and re.search("background|背景", edit.instruction, re.IGNORECASE)
    instruction = _about(edit.instruction, ("[OBJECT]",) if not free else (), scene, edit.object, language)
    checks.check_operation(instruction, "replace" if op == "visual" else op, language)
    command = _command(edit.command, scene, edit.object_en, 0, required=not free)
    # Of an edit of words that are marked themselves, it is the thing that bears them.
    checks.check_name(edit.object_en, "" if isinstance(edit, shapes.TextEdit) and words_of_name(marked) else marked)
    _check_result(kind, op, edit, language, has_reference)
    step = Step(op, edit.object_en, 0, command, target_of(edit.target))
    return Writing(instruction, language, step.target, command, (step,))


def _check_result(kind: Kind, op: str, edit: shapes.ObjectEdit, language: Language, has_reference: bool) -> None:
    if op == "remove":
        checks.check_absent(edit.target, edit.object_en, "what is left behind")
    elif isinstance(edit, shapes.TextEdit):
        checks.check_new_words(edit.reads, edit.target, edit.instruction, edit.command)
    elif op in ("replace", "alter", "background") and kind.prompt != "write-size":
        checks.check_result(edit.command, edit.target, edit.object_en)
        if language == "en":
            checks.check_result(edit.instruction, edit.target, edit.object_en, "instruction")
    if op == "replace":
        checks.check_absent(edit.target, edit.object_en, "the new thing")
    if (
        op == "visual"
        and has_reference
        and not re.search("reference|second|参考|第二", edit.instruction, re.IGNORECASE)
    ):
        raise Unfit(f"it does not speak of the reference image: {edit.instruction!r}")


def _added(edit: shapes.AddEdit, scene: Scene, language: Language) -> Writing:
    step = _erasing(edit, edit.instruction, edit.target, scene, language)
    return Writing(step.instruction, language, step.target, step.editor_prompt, (replace(step, instruction=""),))


def _erasing(edit: shapes.Addition, text: str, target: str, scene: Scene, language: Language) -> Step:
    """The step that adds a thing: its instruction, and the command that erases it from the photo."""
    checks.check_placeholders(text, ("[OBJECT]", "[PLACE]"))
    checks.check_no_place(text, language)
    checks.check_name(edit.object_en, scene.regions[0].class_name)
    checks.check_absent(target, edit.object_en, "what is seen without the thing")
    filled = _prepared(text, language).replace("[OBJECT]", scene.new(0, edit.article, edit.object, language))
    instruction = sentence(filled.replace("[PLACE]", scene.place(0, language)), language)
    checks.check_operation(instruction, "add", language)
    return Step("add", edit.object_en, 0, _removal(scene, 0, edit.object_en), target_of(target), instruction)


def _hybrid(edit: shapes.HybridEdit, scene: Scene, language: Language, ops: tuple[str, ...]) -> Writing:
    checks.check_placeholders(edit.instruction, ("[OBJECT1]", "[OBJECT2]"))
    checks.check_no_place(edit.instruction, language)
    filled = _prepared(edit.instruction, language)
    steps = []
    for number, (op, part) in enumerate(zip(ops, (edit.first, edit.second), strict=True)):
        checks.check_name(part.object_en, scene.regions[number].class_name)
        checks.check_verb(edit.instruction, op, language)
        phrase = scene.the(number, part.object, language)
        if op == "add" and language == "en":
            phrase = f"{scene.new(number, article(part.object), part.object, language)} {scene.place(number, language)}"
        filled = filled.replace(f"[OBJECT{number + 1}]", phrase)
        steps.append(_part(op, part.object_en, part, scene, number, number))
    instruction = sentence(filled, language)
    return Writing(instruction, language, steps[0].target, " ".join(one.editor_prompt for one in steps), tuple(steps))


def _memory(edit: shapes.ContentMemory, scene: Scene, language: Language, ops: tuple[str, ...]) -> Writing:
    premise = sentence(edit.premise, language)
    steps = []
    for number, (op, turn) in enumerate(zip(ops, shapes.rounds(edit).values(), strict=True)):
        checks.check_name(turn.object_en, scene.regions[number].class_name)
        text = _about(turn.instruction, ("[OBJECT]",), scene, turn.object, language, number)
        checks.check_operation(text, op, language)
        checks.check_premise(edit.premise, turn.instruction, turn.target, language)
        steps.append(replace(_part(op, turn.object_en, turn, scene, number, number), instruction=text))
    return _turns("content_memory", steps, scene, language, premise)


def _dialogue(
    task: str,
    edit: shapes.Opening | shapes.Swapped,
    scene: Scene,
    language: Language,
    ops: tuple[str, ...],
    bases: tuple[int, ...],
) -> Writing:
    """Rounds about one thing, which the first one names."""
    steps: list[Step] = []
    names = [edit.object_en]  # of the thing, in each state
    for number, (op, base, turn) in enumerate(zip(ops, bases, shapes.rounds(edit).values(), strict=True), 1):
        if isinstance(edit, shapes.Opening) and number == 1:
            step = _erasing(edit, turn.instruction, turn.target, scene, language)
        elif number == 1:
            checks.check_name(edit.object_en, scene.regions[0].class_name)
            text = _about(turn.instruction, ("[OBJECT]",), scene, edit.object, language)
            checks.check_operation(text, op, language)
            step = replace(_part(op, edit.object_en, turn, scene, 0, base), instruction=text)
        else:
            step = _round(op, edit.object, names[base], turn, scene, language, number, base)
        steps.append(step)
        names.append(thing_put_in(step) if op == "replace" else names[base])
    return _turns(task, steps, scene, language)


def _round(
    op: str, first: str, name: str, turn: shapes.Round, scene: Scene, language: Language, number: int, base: int
) -> Step:
    """A round that does not name its thing.

    Args:
        first: what the first round called it, in the instruction's language.
        name: what it is called in the state that the round begins with, in English.
    """
    text = sentence(turn.instruction, language)
    for known in (first, name) if language == "en" else (first,):
        checks.check_absent(text, known, f"round {number}")
    if base == number - 1:
        checks.check_operation(text, op, language)
        checks.check_pronoun(text, language)
    else:
        checks.check_goes_back(text, language)
        if op == "alter":
            checks.check_look(turn.command)
        else:
            checks.check_operation(text, op, language)
    region = scene.regions[0]
    if not checks.names(name, region.class_name or ""):
        region = region.model_copy(update={"class_name": name})
    here = replace(scene, regions=(region,))
    return replace(_part(op, name, turn, here, 0, base), instruction=text)


def _riddle(edit: shapes.RiddleEdit, scene: Scene, language: Language, op: str) -> Writing:
    if "[OBJECT]" in edit.instruction:
        raise Unfit("the riddle itself does not use [OBJECT]; only the command does")
    instruction = sentence(edit.instruction, language)
    command = _command(edit.command, scene, edit.object_en, 0)
    checks.check_name(edit.object_en, scene.regions[0].class_name)
    checks.check_result(edit.command, edit.target, edit.object_en)
    checks.check_riddle(instruction)
    if op == "replace":
        checks.check_absent(instruction, edit.object if language == "zh" else edit.object_en, "the riddle")
    elif language == "en":
        checks.check_unsaid(instruction, edit.command, edit.target, edit.object_en)
    step = Step(op, edit.object_en, 0, command, target_of(edit.target))
    return Writing(instruction, language, step.target, command, (step,))


def _whole(kind: Kind, edit: shapes.Reply, language: Language, op: str) -> Writing:
    assert isinstance(edit, shapes.FreeEdit | shapes.MotionEdit)
    instruction = sentence(edit.instruction, language)
    (checks.check_riddle if kind.rubric == "reasoning" else checks.check_request)(instruction)
    checks.check_one_picture(instruction)
    if isinstance(edit, shapes.WholeEdit):
        checks.check_mentions(instruction, edit.name, "the new look")
    command = sentence(edit.command, "en")
    if kind.prompt == "write-implicit" and language == "en":
        checks.check_unsaid(instruction, command, edit.target, "")
    step = Step(op, "", None, command, target_of(edit.target))
    return Writing(instruction, language, step.target, command, (step,))


def _part(op: str, noun: str, part: shapes.Part | shapes.Round, scene: Scene, number: int, base: int) -> Step:
    """A step of a sample with several: its command and its result agree with its operation."""
    if op in ("add", "remove"):
        checks.check_absent(part.target, noun, "what is seen without the thing")
    else:
        checks.check_result(part.command, part.target, noun)
    if op == "add":
        command = _removal(scene, number, noun)
    else:
        command = _command(part.command, scene, noun, number)
        checks.check_operation(command, op, "en")
    return Step(op, noun, number, command, target_of(part.target), base=base)


def _turns(task: str, steps: Sequence[Step], scene: Scene, language: Language, premise: str = "") -> Writing:
    lines = [premise, *(step.instruction for step in steps)]
    made = Writing(
        instruction="\n".join(line for line in lines if line),
        lang=language,
        target=steps[0].target,
        editor_prompt=" ".join(step.editor_prompt for step in steps),
        steps=tuple(steps),
        premise=premise,
    )
    check_plan(task, replace(made, regions=scene.regions))
    return made


def _about(text: str, wanted: tuple[str, ...], scene: Scene, noun: str, language: Language, number: int = 0) -> str:
    """A checked sentence about one region."""
    checks.check_placeholders(text, wanted)
    checks.check_no_place(text, language)
    phrase = scene.the(number, noun, language)
    return sentence(_prepared(text, language).replace("[OBJECT]", phrase), language)


def _command(text: str, scene: Scene, noun: str, number: int, required: bool = True) -> str:
    text = re.sub(r"\[OBJECT[12]\]", "[OBJECT]", text)
    if required and "[OBJECT]" not in text:
        raise Unfit(f"[OBJECT] does not stand in the command: {text!r}")
    checks.check_placeholders(text, ())
    return sentence(_prepared(text, "en").replace("[OBJECT]", scene.the(number, noun, "en")), "en")


def _removal(scene: Scene, number: int, noun: str) -> str:
    return f"Remove {scene.the(number, noun, 'en')}."


def target_of(text: str) -> str:
    """A description for an image generator: English, and no sentence."""
    checks.check_clean(text)
    checks.check_language(text, "en")
    return text


def sentence(text: str, language: Language) -> str:
    """The text as it is kept, after the checks that every text has to pass.

    Raises:
        Unfit: one of them failed.
    """
    text = re.sub(r" {2,}", " ", text.strip())
    checks.check_clean(text)
    checks.check_language(text, language)
    checks.check_length(text, language)
    text = text[0].upper() + text[1:]
    if text[-1] in ENDINGS:
        return text
    return text + ("。" if language == "zh" else ".")


def _prepared(text: str, language: Language) -> str:
    """A sentence before our words go in: in its language, and without the articles that models put around placeholders
    although told not to."""
    checks.check_language(re.sub(r"\[\w+\]", "", text), language)
    text = re.sub(r"\b(?:the|an?) (?=\[OBJECT)", "", text, flags=re.IGNORECASE)
    return re.sub(r"\b(?:at|in|on) (?=\[PLACE\])", "", text, flags=re.IGNORECASE)
