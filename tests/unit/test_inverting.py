"""Edits turned round, joined and said in other words: each sentence is read again by a reader that did not make it."""
# ruff: noqa: RUF001

from __future__ import annotations

from typing import Any

import pytest

from comfy_nodes.core.instructions import changes as told
from comfy_nodes.core.instructions import plans
from comfy_nodes.core.instructions.changes import Edit, Look, Untold, read_changes
from comfy_nodes.core.instructions.inverting import AMBIGUOUS, NO_CHANGE, NO_FORMER_COLOUR, joined, worded
from comfy_nodes.core.instructions.rewording import NO_REQUEST, WAYS, reworded, without_before
from comfy_nodes.core.instructions.wording import LANGUAGES, Language
from comfy_nodes.core.regions.annotation import Region
from tests.unit.derive_making import Read, read

SIZE = (300, 300)
CUP = Region(class_name="cup", bbox=(10, 110, 90, 190))
BALL = Region(class_name="ball", bbox=(210, 110, 290, 190))
SKY = Region(class_name="sky", bbox=(0, 0, 300, 100), kind="background")
PLACED = "the cup on the left of the image"


def edit(op: str, words: str, *regions: Region, before: str = "red", after: str = "", **more: Any) -> Edit:
    ops = ("alter", "remove") if op == "hybrid" else (op,) * len(regions)
    language = more.pop("language", "en")
    return Edit(
        op, words, language, tuple(zip(ops, regions, strict=False)), (Look(before, after),) * len(regions), **more
    )


def turned(one: Edit, *others: Region) -> str:
    return worded([change.turned() for change in read_changes(one)], others, SIZE, one.language).words


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (edit("remove", f"Take {PLACED} away.", CUP), [Read("add", "red cup", "on the left")]),
        (edit("add", "Put a red cup on the left.", CUP, after="red"), [Read("remove", "cup", "on the left")]),
        (edit("replace", f"Swap {PLACED} for an old vase.", CUP), [Read("replace", "old vase", "on the left", "red cup")]),
        (edit("replace", "Turn it into a vase.", CUP), [Read("replace", "vase", "on the left", "red cup")]),
        (edit("visual", f"Replace {PLACED} with the object in the second image.", CUP),
         [Read("replace", "object", "on the left", "red cup")]),
        (edit("alter", f"Paint {PLACED} bright blue.", CUP), [Read("alter", "cup", "on the left", "red")]),
        (edit("alter", "Make it blue.", CUP, before="grey"), [Read("alter", "cup", "on the left", "grey")]),
        (edit("background", "Replace the sky with an orange sunset sky.", SKY, before="blue"),
         [Read("background", "an orange sunset sky", "", "a blue sky")]),
        (edit("style", "Turn the photo into pixel art with large pixels."),
         [Read("style", "pixel art with large pixels", "", "a natural colour photo")]),
        (edit("style", "Turn the photo into a pencil sketch.", black_and_white=True),
         [Read("style", "a pencil sketch", "", "a black-and-white photo")]),
        (edit("hybrid", f"Change the colour of {PLACED} to blue and remove the ball on the right of the image.", CUP, BALL),
         [Read("alter", "cup", "on the left", "red"), Read("add", "red ball", "on the right")]),
    ],
)  # fmt: skip
def test_an_edit_is_turned_round_by_its_operation(one: Edit, wanted: list[Read]) -> None:
    assert read(turned(one)) == wanted


@pytest.mark.parametrize(
    ("op", "words", "wanted"),
    [
        ("remove", "移除图像左侧的杯子。", "在图像左侧添加一个红色的杯子。"),
        ("add", "在图像左侧添加一个杯子。", "移除图像左侧的杯子。"),
        ("replace", "把图像左侧的杯子换成一个花瓶。", "把图像左侧的花瓶换成红色的杯子。"),
        ("alter", "把图像左侧的杯子的颜色改成蓝色。", "把图像左侧的杯子的颜色改成红色。"),
        ("style", "把照片变成铅笔素描。", "把画面从铅笔素描变成自然色彩的照片的风格。"),
    ],
)
def test_in_chinese_too_though_the_region_has_an_english_name(op: str, words: str, wanted: str) -> None:
    assert turned(edit(op, words, *([CUP] if op != "style" else []), language="zh")) == wanted


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (edit("extract", f"Cut out {PLACED}.", CUP), "what was around an extracted thing cannot be told in words"),
        (edit("motion", "Make the cup fall over."), "what moved cannot be told backwards"),
        (edit("alter", f"Make {PLACED} look old.", CUP), told.NO_COLOUR),
        (edit("alter", f"Paint {PLACED} blue.", CUP, before=""), NO_FORMER_COLOUR),
        (edit("alter", "Paint the red cup blue.", CUP.model_copy(update={"class_name": "red cup"})), NO_FORMER_COLOUR),
        (edit("remove", "Remove it.", CUP.model_copy(update={"class_name": "yellow cup"}), before="blue"), told.OTHER_COLOUR),
        (edit("alter", "Paint the man blue.", CUP.model_copy(update={"class_name": "man"})), NO_FORMER_COLOUR),
        (edit("alter", f"Remove {PLACED}.", CUP), told.NO_OPERATION),
        (edit("remove", "Something nicer, please.", CUP), told.NO_OPERATION),
        (edit("replace", f"Replace {PLACED} with a vase and a lamp.", CUP), told.NO_THING),
        (edit("replace", "Replace what stands there with a vase.", CUP), told.NO_THING),
        (edit("background", "Replace the background with a wall.", SKY.model_copy(update={"class_name": "background"})),
         told.NO_BACKGROUND),
        (edit("background", "Replace the sky with a blue sky.", SKY, before="blue"), told.NO_BACKGROUND),
        (edit("style", "Turn the photo into a sketch.", captions=("An oil painting of a lake.",)), told.NO_STYLE),
        (edit("style", "Turn the picture into a sketch."), told.NO_STYLE),
        (edit("remove", "移除左边那个。", CUP, language="zh"), told.NO_NAME),
    ],
)  # fmt: skip
def test_what_words_do_not_tell_is_left_out(one: Edit, why: str) -> None:
    with pytest.raises(Untold) as found:
        turned(one)
    assert str(found.value) == why


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("op", ["alter", "replace"])
@pytest.mark.parametrize("forms", [plans._BACK, plans._BY_PRONOUN])
def test_every_later_turn_of_a_plan_is_read(
    forms: dict[str, dict[Language, tuple[str, ...]]], op: str, language: Language
) -> None:
    cup = CUP if language == "en" else CUP.model_copy(update={"class_name": "杯子"})
    values = {"en": {"colour": "blue", "thing": "a vase"}, "zh": {"colour": "蓝色", "thing": "一个花瓶"}}[language]
    wanted = {
        "en": {"alter": f"Change the colour of {PLACED} to blue.", "replace": f"Replace {PLACED} with a vase."},
        "zh": {"alter": "把图像左侧的杯子的颜色改成蓝色。", "replace": "把图像左侧的杯子换成花瓶。"},
    }[language][op]
    for form in forms[op][language]:
        for when in plans._ORDINALS[language]:
            found = read_changes(edit(op, form.format(**values, when=when), cup, language=language))
            assert worded(found, (), SIZE, language).words == wanted


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("forms", [plans._FIRST, plans._FURTHER])
def test_a_premise_says_what_things_become(forms: dict[Language, tuple[str, ...]], language: Language) -> None:
    name, the = {"en": ("cup", PLACED), "zh": ("杯子", "图像左侧的杯子")}[language]
    cup = CUP.model_copy(update={"class_name": name})
    wanted = {"en": "Change the colour of {} to red.", "zh": "把{}的颜色改成红色。"}[language].format(the)
    for form in forms[language]:
        for premise in plans._PREMISES[language]:
            colour = {"en": "turquoise", "zh": "青绿色"}[language]
            one = edit("alter", form.format(the=the), cup, language=language, premise=premise.format(colour=colour))
            (change,) = read_changes(one)
            assert change.after and change.after.colour == "turquoise" and turned(one) == wanted


@pytest.mark.parametrize(
    ("words", "premise"),
    [
        ("Recolour the cup.", "Paint everything blue or red."),
        ("Recolour the cup.", "Nothing may become blue."),
        ("Make the cup look old.", "Everything becomes blue."),
        ("Recolour the cup.", "Everything becomes wooden."),
    ],
)
def test_a_premise_is_not_guessed_from(words: str, premise: str) -> None:
    with pytest.raises(Untold, match=told.NO_COLOUR):
        read_changes(edit("alter", words, CUP, premise=premise))


@pytest.mark.parametrize(
    ("words", "language", "wanted"),
    [
        ("Change the colour of the cup, too.", "en", "Change the colour of the cup."),
        ("Now recolour the cup.", "en", "Recolour the cup."),
        ("Add a sign that says 'me too'.", "en", "Add a sign that says 'me too'."),
        ("也改变杯子的颜色。", "zh", "改变杯子的颜色。"),
        ("再给杯子换一种颜色。", "zh", "给杯子换一种颜色。"),
    ],
)
def test_what_stands_alone_points_at_nothing_before(words: str, language: Language, wanted: str) -> None:
    assert without_before(words, language) == wanted


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("移除图像左侧的大丽花。", "在图像左侧添加一个红色的大丽花。"),
        ("移除图像左侧的小提琴。", "在图像左侧添加一个红色的小提琴。"),
        ("移除图像左侧的大杯子。", "在图像左侧添加一个红色的杯子。"),
    ],
)
def test_a_chinese_name_keeps_the_size_word_that_it_begins_with(words: str, wanted: str) -> None:
    assert turned(edit("remove", words, CUP, language="zh")) == wanted


def near(shift: int) -> Region:
    """One of several cups that stand close together."""
    return CUP.model_copy(update={"bbox": (20 + shift, 120, 40 + shift, 140)})


def test_another_thing_of_the_name_is_never_meant() -> None:
    one = edit("add", "Add a cup on the left.", CUP, after="red")
    right = CUP.model_copy(update={"bbox": (15, 40, 95, 120)})
    assert turned(one, right) == "Remove the bottommost cup."
    with pytest.raises(Untold, match=AMBIGUOUS):
        turned(edit("add", "Add a cup.", near(0), after="red"), near(10))


def test_two_edits_of_one_thing_are_one() -> None:
    gone = read_changes(edit("remove", f"Remove {PLACED}.", CUP))
    blue = read_changes(edit("alter", f"Paint {PLACED} blue.", CUP))
    vase = read_changes(edit("replace", f"Replace {PLACED} with a vase.", CUP))
    back = [change.turned() for change in gone]
    assert read(worded(joined(back, blue), (), SIZE, "en").words) == [Read("add", "blue cup", "on the left")]
    assert read(worded(joined([blue[0].turned()], vase), (), SIZE, "en").words) == [
        Read("replace", "cup", "on the left", "vase")
    ]
    with pytest.raises(Untold, match=NO_CHANGE):
        joined(blue, [blue[0].turned()])


def test_a_painted_thing_is_not_called_by_the_colour_in_its_name() -> None:
    cup = CUP.model_copy(update={"class_name": "yellow cup"})
    gone = read_changes(edit("remove", "Remove it.", cup, before="yellow"))
    blue = read_changes(edit("alter", "Make it blue.", cup, before="yellow"))
    assert worded(blue, (), SIZE, "en").words == "Change the colour of the yellow cup on the left of the image to blue."
    for changes in (joined([gone[0].turned()], blue), joined([blue[0].turned()], gone)):
        with pytest.raises(Untold, match=told.OTHER_COLOUR):
            worded(changes, (), SIZE, "en")


def test_two_edits_of_two_things_are_a_hybrid() -> None:
    cup = [change.turned() for change in read_changes(edit("remove", f"Remove {PLACED}.", CUP))]
    ball = read_changes(edit("alter", "Paint the ball green.", BALL))
    found = worded(joined(cup, ball), (), SIZE, "en")
    assert found.task == "hybrid" and [op for op, _ in found.regions] == ["add", "alter"]
    assert read(found.words) == [Read("add", "red cup", "on the left"), Read("alter", "ball", "on the right", "green")]


@pytest.mark.parametrize(
    ("op", "words"),
    [
        ("remove", f"Erase {PLACED}."),
        ("add", "Insert a cup on the left of the image."),
        ("replace", f"Replace {PLACED} with an old vase."),
        ("alter", f"Change the colour of {PLACED} to blue."),
    ],
)
def test_other_words_ask_for_the_same(op: str, words: str) -> None:
    found = [reworded(way, words, "en", op, True, ["cup"]) for way in WAYS]
    assert len({words, *found}) == 4
    assert [len(found[0]), len(words), len(found[1])] == sorted([len(found[0]), len(words), len(found[1])])
    wanted = read(words.replace("Erase", "Remove").replace("Insert", "Add"))
    assert [read(one) for one in (found[0], found[2])] == [wanted, wanted]
    assert found[1].startswith("Please ") and "leave everything else" in found[1] and found[2].endswith("please?")


def test_chinese_words_have_three_others() -> None:
    words = "把图像左侧的杯子的颜色改成蓝色。"
    assert [reworded(way, words, "zh", "alter", True) for way in WAYS] == [
        "把左侧的杯子改成蓝色。",
        "请把图像左侧的杯子的颜色改成蓝色，画面的其余部分保持原样。",
        "麻烦帮我把左侧的杯子改成蓝色，可以吗？",
    ]


@pytest.mark.parametrize("words", ["The cup is gone. Remove it.", "A cup on the left.", "Could you remove it?"])
def test_what_is_no_plain_request_keeps_its_words(words: str) -> None:
    with pytest.raises(Untold, match=NO_REQUEST):
        reworded("long", words, "en", "remove", True)


def test_a_whole_picture_says_nothing_of_the_rest() -> None:
    found = reworded("long", "Turn the photo into a pencil sketch.", "en", "style", False)
    assert "leave" not in found
