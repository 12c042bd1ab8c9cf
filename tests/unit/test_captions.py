"""Captions read out of plain commands: the new thing alone, and nothing where the words could be read in two ways."""

from __future__ import annotations

import pytest

from comfy_nodes.core.instructions.captions import caption


@pytest.mark.parametrize(
    ("op", "command", "seen"),
    [
        ("replace", "Replace the rocket with a white lighthouse.", "a white lighthouse"),
        ("replace", "Please swap the red cup on the left for a green glass bottle", "a green glass bottle"),
        ("replace", "Turn the rocket into a tree.", "a tree"),
        ("replace", "Put a vase of tulips in place of the rocket.", "a vase of tulips"),
        ("replace", "replace the rocket by an oak instead", "an oak"),
        ("background", "Change the background to a beach at sunset.", "a beach at sunset"),
        ("background", "Replace the background with a snowy forest.", "a snowy forest"),
        ("alter", "Make the old rocket red.", "rocket, red"),
        ("alter", "Change the color of the rocket to dark blue.", "rocket, dark blue"),
        ("alter", "Change the rocket's material to polished wood", "rocket, polished wood"),
        ("alter", "Paint the rocket in black and white stripes.", "rocket, black and white stripes"),
    ],
)
def test_plain_commands(op: str, command: str, seen: str) -> None:
    assert caption(op, command, "rocket") == seen


@pytest.mark.parametrize(
    ("op", "command"),
    [
        ("replace", "Replace the man with a hat with a dog."),
        ("replace", "Replace the rocket with something else."),
        ("replace", "Replace it with another one."),
        ("replace", "Replace the rocket with a tree and remove the cup."),
        ("replace", "Substitute a tree for the rocket."),
        ("replace", "把火箭换成一座白色灯塔。"),
        ("replace", "I'd love to see a lighthouse here."),
        ("replace", "Remove the rocket."),
        ("replace", ""),
        ("alter", "Make it look like what the queen would ride in."),
        ("alter", "Make the rocket on the left glow."),
        ("alter", "Change the car to go to the rocket color"),
        ("remove", "Replace the rocket with a tree."),
        ("motion", "Turn the man into a dancer."),
    ],
)
def test_what_words_do_not_tell(op: str, command: str) -> None:
    assert caption(op, command, "rocket") == ""
