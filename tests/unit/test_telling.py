"""What editors are told: commands and captions, by task, operation, order and who wrote the words."""

from __future__ import annotations

import pytest

from comfy_nodes.core.telling import NOTHING_THERE, result_caption


@pytest.mark.parametrize(
    ("op", "words", "thing", "caption"),
    [
        ("replace", "Replace the rocket with a white lighthouse.", "rocket", "a white lighthouse"),
        ("replace", "Swap the small cup in the lower-left of the image for a green glass bottle", "cup", "a green glass bottle"),
        ("replace", "Turn the car into an old wooden cart!", "car", "an old wooden cart"),
        ("replace", "Put a bronze statue in place of the man.", "man", "a bronze statue"),
        ("replace", "Change the sky to a starry night sky.", "sky", "a starry night sky"),
        ("replace", "Get me something nicer.", "cup", ""),
        ("replace", "把火箭换成白色的灯塔。", "rocket", ""),
        ("replace", "Replace the cup with a vase and make the table blue.", "cup", ""),
        ("alter", "Make the dahlia deep blue.", "dahlia", "dahlia, deep blue"),
        ("alter", "Make the large dahlia in the center of the image deep blue.", "dahlia", "dahlia, deep blue"),
        ("alter", "Change the colour of the car to matte black.", "car", "car, matte black"),
        ("alter", "Paint the roof red", "roof", "roof, red"),
        ("alter", "Turn the wooden bench into a marble bench.", "bench", "a marble bench"),
        ("alter", "Make it blue.", "cup", "cup, blue"),
        ("alter", "Make it blue.", "", ""),
        ("alter", "Turn it into a marble bench.", "", "a marble bench"),
        ("alter", "Rust.", "gate", ""),
        ("background", "Change the background to a snowy forest.", "sky", "a snowy forest"),
        ("background", "Replace the wooden table with a marble counter.", "table", "a marble counter"),
        ("style", "Turn the photo into a watercolour painting.", "", "a watercolour painting"),
        ("style", "Redraw this photo in the style of ukiyo-e", "", "in the style of ukiyo-e"),
        ("style", "Make it look like a comic book", "", "a comic book"),
        ("remove", "Remove the cup.", "cup", NOTHING_THERE),
        ("add", "Add a cup.", "cup", NOTHING_THERE),
        ("extract", "Cut it out.", "cup", ""),
    ],
)  # fmt: skip
def test_a_typed_commands_result(op: str, words: str, thing: str, caption: str) -> None:
    assert result_caption(op, words, thing) == caption
