"""Articles of hard nouns: sounds that spelling hides, names that end like a plural and are none, stuff, abbreviations."""

from __future__ import annotations

import pytest

pytest.importorskip("inflect")

from comfy_nodes.core.instructions.english import article

NOUNS = {
    "a": (
        "unicorn uniform university unit ukulele European ewe euro utensil UFO USB-stick one-way-sign lens gas canvas bus "
        "glass dress cactus walrus virus campus platypus compass mattress tennis-racket bus-stop glass-of-water "
        "pair-of-shoes bunch-of-bananas cup-of-tea sheep fish deer series people-carrier hippopotamus rhinoceros thermos "
        "cloudy-sky waterfall sandcastle herb small-umbrella chess-board large-atlas bonsai menu taxi hovercraft"
    ),
    "an": (
        "hourglass hour atlas iris octopus umbrella heir heirloom honest-man ice-cream apple FBI-agent MRI SUV LED-lamp "
        "x-ray oasis ox elephant ostrich old-lens alias 8-ball ATM RV"
    ),
    "": (
        "people men women children feet mice geese teeth oxen police cattle glasses sunglasses scissors trousers jeans "
        "pants shorts clothes binoculars boats menus taxis kiwis potted-plants toys water sky sand snow grass furniture "
        "luggage bread rice equipment hair smoke traffic pizzas cameras sofas buses boxes"
    ),
}
CASES = [(name.replace("-", " ") if name not in ("x-ray", "8-ball") else name, word) for word, names in NOUNS.items() for name in names.split()]  # fmt: skip


def test_there_are_hard_nouns_enough() -> None:
    assert len(CASES) >= 100


@pytest.mark.parametrize(("noun", "word"), CASES)
def test_article(noun: str, word: str) -> None:
    assert article(noun) == word


@pytest.mark.parametrize("noun", ["cacti", "fungi", "lava", "the Eiffel Tower", "his hat", "a cup"])
def test_no_article_before_several_stuff_or_another_article(noun: str) -> None:
    assert article(noun) == ""
