"""Which operation words ask for, and what becomes of an edit whose instruction was restated into another task."""

from __future__ import annotations

import pytest

from comfy_nodes.core.instructions.operations import misasked, operation_of, restated_task
from comfy_nodes.core.verdicts.claims import Verified, filed
from comfy_nodes.core.verdicts.verdicts import Scores, combine


@pytest.mark.parametrize(
    ("text", "operation"),
    [
        ("Remove the cup.", "remove"),
        ("Please take the cup away.", "remove"),
        ("Remove the cup and the plate.", "remove"),
        ("Could you replace the cup with a vase?", "replace"),
        ("Change the cup to a vase.", "replace"),
        ("Put a vase in place of the cup.", "replace"),
        ("Put a vase on the table.", "add"),
        ("Give the man a hat.", "add"),
        ("Paint a bird on the wall.", "add"),
        ("Paint the wall blue.", "alter"),
        ("Change the car to bright red.", "alter"),
        ("Turn the car into a red one.", "alter"),
        ("Change the wooden table into a marble table.", "alter"),
        ('Change the text on the sign to "OPEN".', "alter"),
        ("Replace the background with a beach.", "background"),
        ("Remove the background.", "extract"),
        ("Turn the photo into a pencil sketch.", "style"),
        ("Remove the cup and add a vase.", "hybrid"),
        ("Remove the cup, adding a vase.", "hybrid"),
        ("Remove the cup, replacing it with a vase.", "replace"),
        ("Remove the cup, leaving the plate.", "remove"),
        ("Make the cup disappear.", "remove"),
        ("Raise the man's hand.", ""),
        ("A cup on a table.", ""),
        ("移除杯子。", "remove"),
        ("把杯子换成花瓶。", "replace"),
        ("把背景换成海滩。", "background"),
        ("在桌上添加一个杯子。", "add"),
        ("把杯子的颜色改成蓝色。", "alter"),
    ],
)
def test_what_words_ask_for(text: str, operation: str) -> None:
    assert operation_of(text, "en" if text.isascii() else "zh") == operation


@pytest.mark.parametrize(
    ("task", "initial", "restated", "other"),
    [
        ("remove", "Remove the cup.", "Replace the cup with a vase.", "replace"),
        ("remove", "Remove the cup.", "Remove the cup and the plate.", ""),
        ("replace", "Replace the cup with a vase.", "Remove the cup.", "remove"),
        ("replace", "Replace the cup with a vase.", "Change the colour of the cup to blue.", "alter"),
        ("add", "Add a cup.", "Add a cup and remove the plate.", "hybrid"),
        ("alter", "Make the cup blue.", "Make the cup green.", ""),
        ("background", "Change the sky.", "Replace the sky with a sunset.", ""),
        ("style", "Turn the photo into a sketch.", "Make the colours warmer.", ""),
        ("motion", "Raise the arm.", "Make the man raise both arms.", ""),
        ("instruct", "Remove the cup.", "Replace the cup with a vase.", ""),
        ("content_memory", "Remove the cup.", "Replace the cup with a vase.", ""),
        # A person's own way of saying the task stays that task.
        ("alter", "Replace the red paint with blue paint.", "Replace the red paint with green paint.", ""),
        ("remove", "Remove the cup.", "Raise the hand.", ""),
    ],
)
def test_another_task(task: str, initial: str, restated: str, other: str) -> None:
    assert restated_task(task, initial, restated, "en") == other


VERIFIED = Verified(Scores({"verify.keep": 1.0}, "keep", restated="Replace the cup with a vase."), "Replace the cup with a vase.", "")  # fmt: skip


def test_it_relabels_or_rejects_as_chosen() -> None:
    relabelled = filed(VERIFIED, "remove", "Remove the cup.", "relabel").scores
    assert (relabelled.verdict, relabelled.task) == ("keep", "replace")
    together = combine([Scores({}, "keep"), relabelled, Scores({"judge.keep": 1.0}, "keep")])
    assert (together.restated, together.task) == ("Replace the cup with a vase.", "replace")

    rejected = filed(VERIFIED, "remove", "Remove the cup.", "reject")
    assert (rejected.scores.verdict, rejected.scores.restated, rejected.instruction) == ("reject", "", "")
    assert "replace in the place of remove" in rejected.scores.reason
    assert rejected.scores.values["verify.keep"] == 0.0

    assert filed(VERIFIED, "replace", "Replace the cup with a jug.", "reject") is VERIFIED


@pytest.mark.parametrize("restated", ["Move the cup to the left.", "Cover the cup with a cloth.", "Raise the hand."])
def test_a_restatement_that_does_not_say_its_task_is_unscored(restated: str) -> None:
    told = Verified(Scores({"verify.keep": 1.0}, "keep", restated=restated), restated, "")
    found = filed(told, "remove", "Remove the cup.", "relabel")
    assert (found.scores.verdict, found.scores.restated, found.instruction) == ("unscored", "", "")
    assert "does not say to remove" in found.scores.reason and "verify.keep" not in found.scores.values
    assert filed(told, "alter", "Make the cup blue.", "relabel") is told
    vanished = Verified(Scores({}, "keep", restated="Make the cup vanish."), "Make the cup vanish.", "")
    assert filed(vanished, "remove", "Remove the cup.", "relabel") is vanished
    own = "Let the cup be gone."
    assert filed(told, "remove", own, "relabel") is told, "a person's own words say the task in a way of their own"


@pytest.mark.parametrize(
    ("task", "text", "other"),
    [
        ("remove", "Add a cup.", "add"),
        ("remove", "Do not remove the cup.", "nothing"),
        ("remove", "别移除杯子。", "nothing"),
        ("remove", "Please take the cup away.", ""),
        ("remove", "Entferne die Tasse.", ""),
        ("add", "Remove the cup.", "remove"),
    ],
)
def test_what_a_persons_words_ask_for_in_the_place_of_the_task(task: str, text: str, other: str) -> None:
    assert misasked(task, text, "en" if "cup" in text or "Tasse" in text else "zh") == other
