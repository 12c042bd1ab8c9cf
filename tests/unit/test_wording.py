"""Places and sizes in words, against answers that are known from how each box was made."""

from __future__ import annotations

import itertools

import pytest

from comfy_nodes.core.annotation import Region
from comfy_nodes.core.wording import instruction, location, size_word

Box = tuple[float, float, float, float]

PLACES = {
    ("upper", "left"): "in the upper-left of the image",
    ("upper", "middle"): "at the top of the image",
    ("upper", "right"): "in the upper-right of the image",
    ("middle", "left"): "on the left of the image",
    ("middle", "middle"): "in the center of the image",
    ("middle", "right"): "on the right of the image",
    ("lower", "left"): "in the lower-left of the image",
    ("lower", "middle"): "at the bottom of the image",
    ("lower", "right"): "in the lower-right of the image",
}
DOWN = {"upper": 1 / 6, "middle": 1 / 2, "lower": 5 / 6}
"""Middles of the thirds, as a share of the photo's height."""
ACROSS = {"left": 1 / 6, "middle": 1 / 2, "right": 5 / 6}
"""The same across its width."""

PHOTOS = [(1000, 1000), (300, 1200), (1200, 300), (640, 427), (427, 640), (4000, 90)]
"""(width, height); the tall and wide ones tell x from y."""

OFFSETS = [(0.0, 0.0), (0.12, 0.0), (-0.12, 0.05), (0.0, 0.14), (0.15, -0.15)]
"""How far a box's middle lies from its third's, as shares of width and height; a third reaches 1/6."""

SPREADS = [(0.02, 0.02), (0.3, 0.04)]
"""Half width and half height of a box, as shares of the photo's."""

BOXES = [
    pytest.param(
        (
            (ACROSS[across] + dx - half_width) * width,
            (DOWN[down] + dy - half_height) * height,
            (ACROSS[across] + dx + half_width) * width,
            (DOWN[down] + dy + half_height) * height,
        ),
        (width, height),
        place,
        id=f"{width}x{height}-{down}-{across}-{dx:+}-{dy:+}-{half_width}",
    )
    for (width, height), ((down, across), place), (dx, dy), (half_width, half_height) in itertools.product(
        PHOTOS, PLACES.items(), OFFSETS, SPREADS
    )
]


def test_there_are_boxes_enough() -> None:
    assert len(BOXES) >= 200


@pytest.mark.parametrize(("box", "size", "place"), BOXES)
def test_location_of_made_boxes(box: Box, size: tuple[int, int], place: str) -> None:
    assert location(box, *size) == place


@pytest.mark.parametrize(
    ("box", "size", "place"),
    [
        # By eye: the bundled rocket stands in the middle, a little low.
        ((284, 126, 358, 406), (640, 427), "in the center of the image"),
        # The same box: 150 of 900 across is left and 220 of 300 down low; 150 of 300 the middle and 220 of 900 high.
        ((120, 150, 180, 290), (900, 300), "in the lower-left of the image"),
        ((120, 150, 180, 290), (300, 900), "at the top of the image"),
        # A tall photo: 800 of 900 down is low, 20 of 300 across is left.
        ((0, 700, 40, 900), (300, 900), "in the lower-left of the image"),
        ((700, 0, 900, 40), (900, 300), "in the upper-right of the image"),
        # The whole photo, and single pixels in its corners.
        ((0, 0, 640, 480), (640, 480), "in the center of the image"),
        ((0, 0, 1, 1), (640, 480), "in the upper-left of the image"),
        ((639, 0, 640, 1), (640, 480), "in the upper-right of the image"),
        ((0, 479, 1, 480), (640, 480), "in the lower-left of the image"),
        ((639, 479, 640, 480), (640, 480), "in the lower-right of the image"),
        ((0, 0, 1, 1), (1, 1), "in the center of the image"),
    ],
)
def test_location_by_hand(box: Box, size: tuple[int, int], place: str) -> None:
    assert location(box, *size) == place


@pytest.mark.parametrize("share", [1 / 3, 2 / 3])
def test_a_middle_on_the_border_of_two_thirds_counts_to_the_later(share: float) -> None:
    x = 900 * share
    assert location((x - 10, 0, x + 10, 20), 900, 300) == PLACES["upper", "middle" if share < 0.5 else "right"]
    assert location((0, x - 10, 20, x + 10), 300, 900) == PLACES["middle" if share < 0.5 else "lower", "left"]


@pytest.mark.parametrize(
    ("share", "word"), [(0.0001, "small"), (0.0199, "small"), (0.02, ""), (0.1, ""), (0.25, ""), (0.2501, "large"),
                        (1.0, "large")])  # fmt: skip
def test_size_words(share: float, word: str) -> None:
    assert size_word(share) == word


@pytest.mark.parametrize(("width", "height"), [(1000, 100), (100, 1000)])
def test_shares_count_both_sides(width: int, height: int) -> None:
    region = Region(class_name="cup", bbox=(10, 20, 60, 70))
    assert region.area_share(width, height) == pytest.approx(0.025)


def cup(box: Box, class_name: str | None = "cup") -> Region:
    return Region(class_name=class_name, bbox=box)


@pytest.mark.parametrize(
    ("seed", "sentence"),
    [
        (0, "Remove the small cup in the lower-left of the image."),
        (1, "Erase the small cup in the lower-left of the image."),
        (2, "Take away the small cup in the lower-left of the image."),
        (3, "Delete the small cup in the lower-left of the image."),
        (4, "Remove the small cup in the lower-left of the image."),
        (2**53 - 1, "Delete the small cup in the lower-left of the image."),
    ],
)
def test_the_seed_picks_the_sentence(seed: int, sentence: str) -> None:
    assert instruction("remove", cup((10, 400, 60, 450)), 640, 480, seed) == sentence


def test_words_of_a_sentence() -> None:
    assert instruction("remove", cup((0, 0, 320, 240)), 640, 480, 0) == "Remove the cup in the upper-left of the image."
    large = cup((0, 0, 640, 480), "coffee table")
    assert instruction("remove", large, 640, 480, 0) == "Remove the large coffee table in the center of the image."
    assert instruction("remove", cup((250, 200, 400, 300), None), 640, 480, 0).startswith("Remove the object in the")


@pytest.mark.parametrize("task", ["add", "style", "background"])
def test_other_tasks_say_what_to_do_instead(task: str) -> None:
    with pytest.raises(ValueError, match=f"not for {task}: type the instruction"):
        instruction(task, cup((0, 0, 5, 5)), 640, 480, 0)
