"""What editors that follow instructions are told: by task, operation, order and who wrote the words.

The words come from where they come from in a run: a model's reply made into an instruction, a person's sentence, a
template. What is looked at: which picture each command makes, and whether the row says the same.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from comfy_nodes.core.instructions import shapes as replies
from comfy_nodes.core.instructions.classical import OPERATIONS
from comfy_nodes.core.instructions.composing import finish
from comfy_nodes.core.instructions.instructions import USER, Step, Writing
from comfy_nodes.core.instructions.scenes import Scene
from comfy_nodes.core.instructions.telling import Commands, commands, regions_about
from comfy_nodes.core.regions.annotation import Region
from comfy_nodes.core.taxonomy import kind_of

CUP = Region(class_name="cup", bbox=(5, 40, 25, 60))
LAMP = Region(class_name="lamp", bbox=(70, 10, 95, 40))
SCENE = Scene(100, 100, (CUP, LAMP))

SAID = {
    "add": ("add [{}]", "Add [OBJECT].", "a bare wall"),
    "remove": ("remove [{}]", "Remove [OBJECT].", "a bare wall"),
    "replace": ("replace [{}] with a clay pot", "Replace [OBJECT] with a clay pot.", "a clay pot"),
    "alter": ("paint [{}] blue", "Paint [OBJECT] blue.", "a thing painted blue"),
}
"""What a model answers for an operation: its part of the sentence, the command, the target."""
NAMES = ("the cup on the left of the image", "the lamp in the upper-right of the image")


def command(op: str, number: int) -> str:
    """What an editor has to be told of the photo for an operation on the cup or the lamp."""
    name = NAMES[number]
    return {
        "add": f"Remove {name}.", "remove": f"Remove {name}.", "replace": f"Replace {name} with a clay pot.",
        "alter": f"Paint {name} blue.",
    }[op]  # fmt: skip


def hybrid(*ops: str) -> Writing:
    """An instruction of two operations as a model writes it."""
    parts = [
        replies.Part(object=name, object_en=name, command=SAID[op][1], target=SAID[op][2])
        for op, name in zip(ops, ("cup", "lamp"), strict=True)
    ]
    text = " and ".join(SAID[op][0].format(f"OBJECT{number}") for number, op in enumerate(ops, 1))
    edit = replies.HybridEdit(instruction=text, first=parts[0], second=parts[1])
    return replace(finish(kind_of("hybrid"), edit, SCENE, "en", ops), regions=SCENE.regions, model="a-model")


@pytest.mark.parametrize("ops", list(itertools.permutations(OPERATIONS, 2)), ids="-then-".join)
def test_two_operations_in_any_order(ops: tuple[str, str]) -> None:
    """What the row says was added is taken from the picture before, and everything else changes the picture after."""
    writing = hybrid(*ops)
    whole = commands(writing, 0, "")
    assert whole == Commands(
        after=" ".join(command(op, number) for number, op in enumerate(ops) if op != "add"),
        before=" ".join(command(op, number) for number, op in enumerate(ops) if op == "add"),
    )
    for number, op in enumerate(ops):
        step = commands(writing, number + 1, "")
        assert (step.before if op == "add" else step.after) == command(op, number)
        assert (step.after if op == "add" else step.before) == ""
        says = {"add": "add a", "remove": "remove the", "replace": "replace the", "alter": "paint the"}[op]
        assert f"{says} {('cup', 'lamp')[number]}" in writing.instruction.casefold()
    assert regions_about(writing, 0, 2) == (0, 1)


def single(op: str, model: str, editor_prompt: str) -> Writing:
    step = Step(op, "cup", 0, editor_prompt, "")
    return Writing(f"{op} it", "en", "", editor_prompt, (step,), regions=(CUP,), model=model)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("op", "who", "told", "after", "before"),
    [
        ("add", "a-model", "Remove the cup.", "", "Remove the cup."),
        ("add", "template", "Remove the cup.", "", "Remove the cup."),
        ("add", USER, "Add a red hat.", "Add a red hat.", ""),
        *(
            (op, who, f"{op} the cup", f"{op} the cup", "")
            for op in ("remove", "replace", "alter", "background", "motion", "style", "extract", "visual")
            for who in ("a-model", "template", USER)
        ),
    ],
)
def test_one_operation_by_whoever_wrote_it(op: str, who: str, told: str, after: str, before: str, number: int) -> None:
    """Only what was made by a removal is swapped; a person's own `add` is an addition."""
    assert commands(single(op, who, told), number, "") == Commands(after, before)


@pytest.mark.parametrize("number", [0, 1])
def test_words_that_nobody_took_apart(number: int) -> None:
    """As they stand in Load Edit Sample."""
    assert commands(None, number, "Add a red hat.") == Commands("Add a red hat.", "")
    assert regions_about(None, number, 1) == (0,)
    assert regions_about(None, number, 0) == ()


def test_plain_words_beside_a_persons_go_before_theirs() -> None:
    writing = replace(single("alter", USER, "让它变蓝"), editor_prompt="Make the cup blue.", rewriter="a-model")
    assert commands(writing, 0, "让它变蓝") == commands(writing, 1, "") == Commands("Make the cup blue.", "")
