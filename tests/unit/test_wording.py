"""Places and sizes in words, against answers that are known from how each box was made."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_nodes.core.instructions.scenes import Scene
from comfy_nodes.core.instructions.wording import TEMPLATE_VERSION, article, instruction, location, reference, size_word
from comfy_nodes.core.regions.annotation import Region

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


@pytest.mark.parametrize(
    ("task", "seed", "sentence"),
    [
        ("add", 0, "Add a small cup in the lower-left of the image."),
        ("add", 1, "Put a small cup in the lower-left of the image."),
        ("add", 2, "Insert a small cup in the lower-left of the image."),
        ("extract", 0, "Extract the small cup in the lower-left of the image onto a plain white background."),
        (
            "extract",
            3,
            "Cut out the small cup in the lower-left of the image and show it alone on a plain white background.",
        ),
    ],
)
def test_tasks_whose_sentence_is_true_by_construction(task: str, seed: int, sentence: str) -> None:
    assert instruction(task, cup((10, 400, 60, 450)), 640, 480, seed) == sentence


def test_changed_sentences_get_a_new_version() -> None:
    """Records name the version. Who changes a sentence gives the next number and updates this list."""
    sentences = [
        instruction(task, cup((250, 200, 400, 300)), 640, 480, seed)
        for task in ("remove", "add", "extract")
        for seed in range(4)
    ]
    digest = hashlib.sha256("\n".join(sentences).encode()).hexdigest()[:12]
    assert {TEMPLATE_VERSION: digest} == {"1": "f2553615c669"}


@pytest.mark.parametrize(
    ("noun", "word"),
    [("cup", "a"), ("umbrella", "an"), ("orange cup", "an"), ("boats", ""), ("glass", "a"), ("bus", "a")],
)
def test_articles(noun: str, word: str) -> None:
    assert article(noun) == word


CHINESE = [
    "图像左上方",
    "图像顶部",
    "图像右上方",
    "图像左侧",
    "图像中央",
    "图像右侧",
    "图像左下方",
    "图像底部",
    "图像右下方",
]


@pytest.mark.parametrize(("box", "size", "place"), BOXES[::7])
def test_chinese_places_are_the_same_places(box: Box, size: tuple[int, int], place: str) -> None:
    assert location(box, *size, "zh") == dict(zip(PLACES.values(), CHINESE, strict=True))[place]


ROW: list[Box] = [(0, 0, 30, 30), (60, 0, 90, 30), (120, 0, 150, 30), (180, 0, 210, 30)]
"""Four boxes beside each other, in the upper-left ninth of a photo of 900 x 300 pixels."""


def named(box: Box, others: list[Box], size: tuple[int, int], language: str = "en") -> str | None:
    found = reference(cup(box), [cup(other) for other in others], *size, language)  # type: ignore[arg-type]
    return found and found.phrase("cup" if language == "en" else "杯子", language)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "english", "chinese"),
    [
        (0, "the leftmost cup", "最左边的杯子"),
        (1, "the second cup from the left", "左起第二个杯子"),
        (2, "the third cup from the left", "左起第三个杯子"),
        (3, "the rightmost cup", "最右边的杯子"),
    ],
)
def test_things_in_a_row_are_counted_off(number: int, english: str, chinese: str) -> None:
    assert named(ROW[number], ROW, (900, 300)) == english
    assert named(ROW[number], ROW, (900, 300), "zh") == chinese


@pytest.mark.parametrize(
    ("number", "english", "chinese"),
    [(0, "the topmost cup", "最上面的杯子"), (1, "the second cup from the top", "上起第二个杯子"),
     (3, "the bottommost cup", "最下面的杯子")],
)  # fmt: skip
def test_things_in_a_column_are_counted_down(number: int, english: str, chinese: str) -> None:
    column = [(y1, x1, y2, x2) for x1, y1, x2, y2 in ROW]
    assert named(column[number], column, (300, 900)) == english
    assert named(column[number], column, (300, 900), "zh") == chinese


def test_things_around_one_place_are_told_apart_by_size() -> None:
    small, middle, large = (145, 145, 155, 155), (140, 140, 162, 162), (130, 130, 170, 170)
    assert named(large, [small], (300, 300)) == "the larger cup"
    assert named(small, [large], (300, 300)) == "the smaller cup"
    assert named(large, [small, middle], (300, 300)) == "the largest cup"
    assert named(small, [middle, large], (300, 300), "zh") == "最小的杯子"
    assert named(middle, [small, large], (300, 300)) is None


@pytest.mark.parametrize(
    "others",
    [
        [],
        [(250, 250, 280, 280)],  # in another ninth
        [(11, 11, 39, 39)],  # the same thing, found once more
    ],
)
def test_a_thing_that_is_alone_in_its_place_is_named_by_it(others: list[Box]) -> None:
    assert named((10, 10, 40, 40), others, (300, 300)) == "the small cup in the upper-left of the image"
    assert named((10, 10, 40, 40), others, (300, 300), "zh") == "图像左上方的小杯子"


@pytest.mark.parametrize(
    ("box", "noun", "the", "new"),
    [
        ((10, 10, 290, 290), "杯子", "图像中央的大杯子", "一个大杯子"),
        ((10, 10, 290, 290), "大丽花", "图像中央的大丽花", "一个大丽花"),
        ((10, 10, 290, 290), "小提琴", "图像中央的小提琴", "一个小提琴"),
        ((140, 140, 160, 160), "小猫", "图像中央的小猫", "一个小猫"),
        ((100, 100, 200, 200), "大丽花", "图像中央的大丽花", "一个大丽花"),
    ],
)
def test_no_size_stands_before_a_chinese_name_that_begins_with_one(box: Box, noun: str, the: str, new: str) -> None:
    scene = Scene(300, 300, (Region(class_name=noun, bbox=box),))
    assert (scene.the(0, noun, "zh"), scene.new(0, "一个", noun, "zh")) == (the, new)


def test_other_names_do_not_matter() -> None:
    others = [Region(class_name="plate", bbox=(12, 0, 42, 30)), Region(class_name=None, bbox=(20, 0, 50, 30))]
    found = reference(cup((0, 0, 30, 30)), others, 300, 300)
    assert found and found.after == "in the upper-left of the image"
    assert reference(cup((0, 0, 30, 30)), [Region(class_name="CUP ", bbox=(5, 5, 38, 38))], 300, 300) is None


def test_too_many_are_not_counted() -> None:
    many = [(x, 0.0, x + 5.0, 5.0) for x in range(0, 105, 15)]
    assert named(many[0], many[:6], (290, 290)) == "the leftmost cup"
    assert named(many[0], many, (290, 290)) is None


@pytest.mark.parametrize("task", ["replace", "style", "background"])
def test_other_tasks_say_what_to_do_instead(task: str) -> None:
    with pytest.raises(ValueError, match=f"not for {task}: type the instruction"):
        instruction(task, cup((0, 0, 5, 5)), 640, 480, 0)


def test_a_template_tells_one_of_two_cups_apart() -> None:
    """Both are on the left, so that "the small cup on the left" fits either."""
    upper, middle = cup((20, 60, 60, 100)), cup((30, 200, 70, 240))
    assert instruction("remove", middle, 640, 480, 0, [upper, middle]) == "Remove the bottommost cup."
    assert instruction("remove", upper, 640, 480, 0, [upper, middle]).startswith(
        "Remove the small cup in the upper-left"
    )
    assert instruction("add", middle, 640, 480, 0, [upper, middle]) == "Add a small cup on the left of the image."


def test_what_no_words_tell_apart_has_no_sentence() -> None:
    twins = [cup((20, 60, 60, 100)), cup((40, 66, 80, 106))]
    with pytest.raises(ValueError, match="tells this cup apart"):
        instruction("remove", twins[0], 640, 480, 0, twins)


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 2, st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=6), st.integers(0, 5))  # fmt: skip
def test_what_is_said_fits_one_region_alone(places: list[tuple[int, int, int, int]], chosen: int) -> None:
    regions = [cup((60 * x, 40 * y, 60 * x + 30 * w, 40 * y + 20 * h)) for x, y, w, h in places]
    region = regions[chosen % len(regions)]
    found = reference(region, regions, 720, 480)
    if found is None:
        return
    words, name = found.phrase("cup", "en"), region.class_name
    third = [
        (min(2, int((b[0] + b[2]) / 480)), min(2, int((b[1] + b[3]) / 320))) for b in (one.bbox for one in regions)
    ]
    others = [at for one, at in zip(regions, third, strict=True) if one.bbox != region.bbox and _apart(one, region)]
    own = third[regions.index(region)]
    assert name == "cup"
    if "on the left of" in words or "on the right of" in words:
        assert all(column != own[0] for column, _ in others)
    elif "at the top" in words or "at the bottom" in words:
        assert all(row != own[1] for _, row in others)
    elif " of the image" in words:
        assert own not in others


def _apart(one: Region, other: Region) -> bool:
    """Not the same thing found twice."""
    a, b = one.bbox, other.bbox
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return shared / (sum(areas) - shared) < 0.7
