"""Plans of several turns: by template over the bundled photos, held by a reader of their sentences; and what is refused in any."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comfy_nodes.core.instructions.checks import Unfit
from comfy_nodes.core.instructions.classical import COLOURS, DONORS, colour_in, thing_in
from comfy_nodes.core.instructions.instructions import Step, Writing, written_in
from comfy_nodes.core.instructions.turn_checks import NotClassical, thing_put_in
from comfy_nodes.core.instructions.turns import (
    Earlier,
    Turn,
    check_classical,
    check_plan,
    dialogue_words,
    kept_turns,
    plan_by_template,
    region_after,
    turn_json,
    turn_of,
    turn_writing,
)
from comfy_nodes.core.instructions.wording import LANGUAGES, Language
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import AnnotationError, Region, parse_annotation
from tests.unit.plan_reading import Muddled, read

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "annotation.jsonl"
PHOTOS = [parse_annotation(json.loads(line)) for line in SAMPLES.read_text("utf-8").splitlines()]
KINDS = ("content_memory", "content_understanding", "version_backtracking")
PLANS = 100

SIZE = (640, 480)
CUP = Region(class_name="cup", bbox=(20, 400, 60, 440))
VASE = Region(class_name="vase", bbox=(420, 100, 520, 330))
LAMP = Region(class_name="lamp", bbox=(30, 40, 130, 160))
SPREAD = [
    Region(class_name=name, bbox=(left, 100.0, left + 60, 180))
    for name, left in (("cup", 10.0), ("vase", 140.0), ("lamp", 270.0), ("chair", 400.0), ("sofa", 530.0))
]


def bundled(task: str, language: Language) -> list[tuple[Writing, tuple[Region, ...], tuple[int, int]]]:
    """Plans over the bundled photos' things, of each depth; photos that allow none are passed over."""
    found = []
    for seed in range(100):
        for photo in PHOTOS:
            for region in (one for one in photo.regions if one.kind == "object"):
                assert photo.size
                others = [one for one in photo.regions if one is not region]
                try:
                    depth = (None, 2, 3, 4, 5)[(seed + len(found)) % 5]
                    plan = plan_by_template(task, [region], others, photo.size, seed, depth, language)
                except Unfit:
                    continue
                found.append((plan, photo.regions, photo.size))
                if len(found) == PLANS:
                    return found
    raise AssertionError(f"{len(found)} plans")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("task", KINDS)
def test_a_listener_follows_every_plan(task: str, language: Language) -> None:
    depths, ops = set(), set()
    for plan, regions, size in bundled(task, language):
        pictures = read(plan, regions, size)
        steps = plan.steps
        assert len(pictures) == len(steps) + 1
        assert all(0 <= step.base < number for number, step in enumerate(steps, 1)), "a state that was there before"
        assert all(step.editor_prompt.isascii() and step.target.isascii() for step in steps)
        assert bool(plan.premise) == (task == "content_memory")
        back = [number for number, step in enumerate(steps, 1) if step.base < number - 1]
        assert bool(back) == (task == "version_backtracking")
        if task == "content_memory":
            assert len({step.region for step in steps}) == len(steps), "each turn is about another thing"
        depths.add(len(steps))
        ops |= {step.op for step in steps}
    assert depths >= ({2, 3} if task == "content_memory" else {2, 3, 4, 5})
    assert (
        ops
        == {
            "content_memory": {"alter"},
            "content_understanding": {"add", "alter", "replace", "remove"},
            "version_backtracking": {"add", "alter", "replace"},
        }[task]
    )


def plan(task: str, turns: int | None = None, seed: int = 0, language: Language = "en") -> Writing:
    return plan_by_template(task, SPREAD[:1], SPREAD[1:], SIZE, seed, turns, language)


def turned(writing: Writing, number: int, **changes: Any) -> Writing:
    """The plan with one turn otherwise."""
    steps = list(writing.steps)
    steps[number - 1] = replace(steps[number - 1], **changes)
    lines = [writing.premise, *(step.instruction for step in steps)]
    return replace(writing, steps=tuple(steps), instruction="\n".join(one for one in lines if one))


@pytest.mark.parametrize("task", KINDS)
def test_a_listener_hears_what_is_wrong(task: str) -> None:
    """The reader can fail: of a plan that follows, any of these makes one that does not."""
    good = plan(task, 4 if task != "content_memory" else 3, 3)
    read(good, SPREAD, SIZE)
    broken = [
        turned(good, 3, base=0),
        turned(good, 2, instruction=good.steps[0].instruction),
        turned(good, 3, instruction="Make it darker than ever."),
        turned(good, 2, op="add"),
        turned(good, 2, target="nothing of the kind"),
    ]
    if task == "content_memory":
        broken.append(turned(good, 2, instruction="Now change its colour."))
    for one in broken:
        with pytest.raises((Muddled, ValueError)):
            read(one, SPREAD, SIZE)


def test_a_seed_decides() -> None:
    told = {plan(task, 4, seed).instruction for task in KINDS for seed in range(20)}
    assert len(told) > 30
    assert plan("content_understanding", 5, 7) == plan("content_understanding", 5, 7)


def test_deep_memories_take_a_thing_for_each_turn() -> None:
    deep = plan("content_memory", 5)
    assert [step.region for step in deep.steps] == [0, 1, 2, 3, 4] and len(deep.regions) == 5
    (colour,) = {colour_in(step.target) for step in deep.steps}
    assert colour in deep.premise and not any(colour in step.instruction for step in deep.steps)
    with pytest.raises(Unfit, match="a content memory of 3 turns takes 3 named things that lie apart, and 2 are known"):
        plan_by_template("content_memory", [CUP], [VASE], SIZE, 0, 3)


def test_of_two_turns_a_version_backtracking_adds_nothing() -> None:
    short = plan("version_backtracking", 2)
    assert [(step.op, step.base) for step in short.steps] == [("replace", 0), ("alter", 0)]
    assert "at the start" in short.steps[1].instruction


@pytest.mark.parametrize("task", KINDS)
def test_a_thing_with_a_chinese_name_is_spoken_of_in_chinese(task: str) -> None:
    """An editor is told nothing of it in English; classical edits find colour and thing in the target all the same."""
    cup, vase = (one.model_copy(update={"class_name": name}) for one, name in ((CUP, "杯子"), (VASE, "花瓶")))
    for depth in (2,) if task == "content_memory" else (2, 3, 4, 5):
        plan = plan_by_template(task, [cup], [vase], SIZE, 4, depth, "zh")
        assert len(plan.steps) == depth and plan.editor_prompt.strip() == plan.editor_prompt
        assert "杯子" in plan.steps[0].instruction and plan.steps[0].editor_prompt == ""
        assert all(colour_in(one.target) for one in plan.steps if one.op == "alter")
    with pytest.raises(Unfit, match="杯子"):
        plan_by_template(task, [cup], [vase], SIZE, 4, None, "en")


def test_what_templates_cannot_plan() -> None:
    nameless = CUP.model_copy(update={"class_name": None})
    with pytest.raises(Unfit, match="the region has no name"):
        plan_by_template("content_understanding", [nameless], [], SIZE, 0, None)
    with pytest.raises(Unfit, match="the sample has none"):
        plan_by_template("content_understanding", [], [VASE], SIZE, 0, None)
    with pytest.raises(Unfit, match="a dialogue has 2 to 5 turns, not 6"):
        plan_by_template("content_understanding", [CUP], [], SIZE, 0, 6)
    slim = Region(class_name="pole", bbox=(100, 10, 110, 400))
    with pytest.raises(Unfit, match="no bundled thing fits in the place of the pole"):
        plan_by_template("version_backtracking", [slim], [], SIZE, 0, None)
    man = CUP.model_copy(update={"class_name": "man with a red hat"})
    with pytest.raises(Unfit, match="'man with a red hat' says a colour that a turn would change"):
        plan_by_template("content_understanding", [man], [], SIZE, 0, None)
    twins = [CUP, CUP.model_copy(update={"bbox": (25, 405, 70, 450)})]
    with pytest.raises(Unfit, match="several things here are called cup"):
        plan_by_template("content_understanding", twins[:1], twins[1:], SIZE, 0, None)


def test_what_is_known_of_bundled_things_is_what_their_pictures_show() -> None:
    from comfy_nodes.classical import donors

    assert {name: donors.named(name).thing.mask.shape[::-1] for name in donors.names()} == {
        name: words.size for name, words in DONORS.items()
    }
    assert colour_in("an orange yellow galaxy") == "orange" and not colour_in("a copper kettle")
    assert all(colour_in(f"a {name} cup") == name for name in COLOURS)
    assert [colour_in(one) for one in ("A bright red vase.", "a red and blue vase", "a vase with a red rim", "a dark red vase")] == [
        "red", "", "", "",
    ]  # fmt: skip
    assert colour_in("a red vase with a blue rim") == ""
    assert [thing_in(one) for one in ("A dahlia.", "rocket", "a red rocket")] == ["dahlia", "rocket", ""]


# What is refused, whoever wrote it


def step(op: str, text: str, target: str = "", base: int = 0, region: int | None = 0) -> Step:
    return Step(op, "cup", region, "Do it.", target, text, base)


def writing(
    *steps: Step, premise: str = "", regions: tuple[Region, ...] = (CUP, VASE), lang: Language = "en"
) -> Writing:
    lines = [premise, *(one.instruction for one in steps)]
    return Writing("\n".join(lines).strip(), lang, steps=steps, premise=premise, regions=regions)


ADD = step("add", "Add a cup in the lower-left of the image.")
RED = step("alter", "Make it red.", "a red cup", 1)
JAR = step("replace", "Replace it with a jar.", "a jar", 1)
BACK = step("alter", "Undo that and make it blue.", "a blue cup", 1)
WISH = "From now on, all that changes is blue."
MEMORY = (
    step("alter", "Recolour the cup.", "a blue cup"),
    step("alter", "Recolour the vase, too.", "a blue vase", 1, 1),
)

FINE: list[tuple[str, Writing]] = [
    ("content_understanding", writing(ADD, RED)),
    ("content_understanding", writing(ADD, RED, step("remove", "Remove it.", base=2))),
    ("content_understanding", writing(ADD, JAR, step("alter", "Make the jar red.", "a red jar", 2))),
    ("version_backtracking", writing(ADD, JAR, BACK)),
    ("version_backtracking", writing(ADD, JAR, replace(BACK, instruction="Go back to the original and make it blue."))),
    ("version_backtracking", writing(ADD, JAR, replace(BACK, instruction="Make it blue in the first version, before the second."))),
    ("version_backtracking", writing(ADD, JAR, BACK, step("alter", "Go back to the original and make it red.", "a red cup", 1))),
    ("version_backtracking", writing(ADD, JAR, BACK, step("alter", "Back to the second version: make it red.", "a red jar", 2))),
    ("content_memory", writing(*MEMORY, premise=WISH)),
    ("content_memory", writing(step("alter", "给图像左下方的cup换一种颜色。", "a blue cup"),
                               step("alter", "给图像右侧的vase换一种颜色。", "a blue vase", 1, 1),
                               premise="改动的东西都变成蓝色。", lang="zh")),
    ("content_memory", writing(step("alter", "给图像左下方的cup换一种颜色。", "紫色的杯子"),
                               step("alter", "给图像右侧的vase换一种颜色。", "a purple vase", 1, 1),
                               premise="接下来所有修改的东西都变成紫色。", lang="zh")),
    ("content_memory", writing(replace(MEMORY[0], target="蓝色的杯子"), MEMORY[1], premise=WISH)),
]  # fmt: skip


@pytest.mark.parametrize(("task", "given"), FINE)
def test_plans_of_other_writers(task: str, given: Writing) -> None:
    check_plan(task, given)


def test_the_plan_in_the_documents_is_one() -> None:
    text = (SAMPLES.parents[1] / "docs" / "inputs.md").read_text("utf-8").partition("## Plans of several turns")[2]
    line = json.loads(text.partition("```json")[2].partition("```")[0])
    known = parse_annotation(line)
    assert known.writing
    given = written_in(known.writing, known.regions)
    check_plan(line["task"], given)
    assert given.instruction == line["instruction"] == "\n".join(step.instruction for step in given.steps)


REFUSED: list[tuple[str, Writing, str]] = [
    ("content_understanding", writing(ADD), "2 to 5 turns, and this plan has 1"),
    ("content_understanding", writing(*[ADD] * 6), "2 to 5 turns, and this plan has 6"),
    ("content_understanding", writing(ADD, replace(ADD, base=1)), "turn 2: only the first turn adds"),
    ("content_understanding", writing(ADD, replace(RED, op="style")), "turn 2: 'style' is none of its operations"),
    ("content_understanding", writing(ADD, replace(RED, base=2)), "turn 2: it begins with state 2, and there are states 0 to 1"),
    ("content_understanding", writing(ADD, replace(RED, base=-1)), "turn 2: it begins with state -1"),
    ("content_understanding", writing(ADD, replace(RED, base=0)), "turn 2: it begins with state 0, and turns of this task build on"),
    ("content_understanding", writing(ADD, replace(RED, region=2)), "turn 2: it is about region 2, and the plan has 2 regions"),
    ("content_understanding", writing(ADD, replace(RED, region=None)), "turn 2: it is about region None"),
    ("content_understanding", writing(ADD, step("remove", "Remove it.", base=1), replace(RED, base=2)),
     "turn 3: the cup is gone: an earlier turn removed it"),
    ("content_understanding", writing(ADD, replace(RED, target="")), r"turn 2: nothing says what is to be seen after it \(target\)"),
    ("content_understanding", writing(ADD, RED, replace(RED, base=2)), "turn 3: it changes nothing, as turn 2 made the same"),
    ("content_understanding", writing(ADD, replace(RED, instruction="")), "turn 2: it has no instruction of its own"),
    ("content_understanding", writing(ADD, replace(RED, instruction="Make it red.\nMake it blue.")), "turn 2: its instruction holds a line break"),
    ("content_understanding", writing(ADD, replace(RED, target="a red\0 cup")), "turn 2: its target holds control characters"),
    ("content_understanding", writing(ADD, RED, premise="All\nred."), "its premise holds a line break"),
    ("content_understanding", writing(ADD, replace(RED, instruction="让它变红。")), "turn 2: it is not in English"),
    ("content_understanding", writing(ADD, replace(RED, instruction="More red, please.")), "turn 2: it has no pronoun"),
    ("content_understanding", writing(replace(RED, base=0), JAR), "turn 1: it does not name its thing"),
    ("content_understanding", writing(ADD, replace(RED, instruction="Make the vase red.", target="a red vase", region=1),
                                      replace(JAR, base=2)), "turn 3: its pronoun may mean each of several things"),
    ("content_understanding", writing(ADD, JAR, step("alter", "Make the cup red.", "a red jar", 2)), "turn 3: it names the cup, which was replaced"),
    ("version_backtracking", writing(ADD, RED), "no turn goes back"),
    ("version_backtracking", writing(ADD, JAR, replace(BACK, base=0)), "turn 3: in the state that it begins with the cup is not there yet"),
    ("version_backtracking", writing(ADD, JAR, replace(BACK, instruction="Make it blue.")), "turn 3: it does not say that it goes back"),
    ("version_backtracking", writing(ADD, JAR, replace(BACK, instruction="Go back to the second version: make it blue.")),
     "turn 3: it goes back to version 1, and its words mean version 2"),
    ("version_backtracking", writing(ADD, JAR, BACK, step("alter", "Undo that and make it red.", "a red jar", 2)),
     "turn 4: it goes back to version 2, and its words mean version 1"),
    ("version_backtracking", writing(ADD, JAR, BACK, step("alter", "Like the first, not the second: make it red.", "a red cup", 1)),
     "turn 4: it goes back to version 1, and its words mean version 1, 2"),
    ("content_memory", writing(*MEMORY), "a content memory has a premise"),
    ("content_memory", writing(*MEMORY, premise="From now on, all that changes is green."), "turn 1: the premise .* does not show"),
    ("content_memory", writing(MEMORY[0], replace(MEMORY[1], instruction="Make the vase blue.")  , premise=WISH),
     "turn 2: the round repeats the premise"),
    ("content_memory", writing(step("alter", "给图像左下方的cup换一种颜色。", "绿色的杯子"),
                               step("alter", "给图像右侧的vase换一种颜色。", "青绿色的花瓶", 1, 1),
                               premise="改动的东西都变成青绿色。", lang="zh"), "turn 1: the premise .* does not show in the target '绿色的杯子'"),
    ("content_memory", writing(MEMORY[0], replace(MEMORY[1], op="remove"), premise=WISH), "turn 2: 'remove' is none of its operations"),
    ("content_memory", writing(MEMORY[0], replace(MEMORY[1], instruction="Recolour it.", region=1), premise=WISH),
     "turn 2: its pronoun may mean each of several things"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "given", "why"), REFUSED)
def test_what_is_refused_says_which_turn_and_why(task: str, given: Writing, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        check_plan(task, given)


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_classical_graphs_make_what_templates_plan(task: str, language: Language) -> None:
    for seed in range(8):
        check_classical(plan_by_template(task, [CUP], [VASE], SIZE, seed, None, language), ("alter", "replace"))


def test_what_no_classical_graph_makes_says_which_turn() -> None:
    for given, why in (
        (
            writing(ADD, replace(RED, target="红色的杯子")),
            "turn 2: its target is '红色的杯子', .* in English: red, orange",
        ),
        (
            writing(ADD, replace(RED, target="a red cup with a blue rim")),
            "turn 2: its target is 'a red cup with a blue rim'",
        ),
        (
            writing(ADD, RED, step("replace", "Replace it.", "a unicorn", 2)),
            "turn 3: its target is 'a unicorn', .* dahlia",
        ),
    ):
        check_plan("content_understanding", given)
        with pytest.raises(NotClassical, match=why):
            check_classical(given, ("alter", "replace"))
        check_classical(given, ())


# What a turn's sample has


def test_a_turn_alone() -> None:
    deep = plan("content_memory", 3)
    third = turn_writing(deep, 3)
    assert third.instruction == deep.steps[2].instruction and third.regions == deep.regions[2:]
    assert [(one.region, one.base) for one in third.steps] == [(0, 0)]
    assert (third.target, third.premise, third.model) == (deep.steps[2].target, deep.premise, "template")


def masked(region: Region) -> Region:
    mask = np.zeros((480, 640), dtype=bool)
    x1, y1, x2, y2 = map(int, region.bbox)
    mask[y1:y2, x1:x2] = True
    return region.model_copy(update={"mask": rle.encode(mask)})


def made(number: int, one: Step, box: tuple[int, int, int, int]) -> Earlier:
    mask = masked(Region(class_name=None, bbox=box)).mask
    return Earlier(number, one.base, one.op, one.instruction, mask)


def test_a_thing_that_was_put_in_lies_where_pixels_changed() -> None:
    given = replace(writing(ADD, JAR, BACK, step("alter", "Back to the second version: make it red.", "a red jar", 2)),
                    regions=(masked(CUP),))  # fmt: skip
    earlier = [made(1, ADD, (15, 395, 65, 445)), made(2, JAR, (10, 380, 70, 445))]
    assert region_after(given, 1, []) == region_after(given, 2, earlier[:1]) == (given.regions[0], "photo")
    assert region_after(given, 3, earlier) == (given.regions[0], "photo"), "it goes back behind the replacement"
    jar, mask_from = region_after(given, 4, [*earlier, made(3, BACK, (20, 400, 60, 440))])
    assert jar and (jar.class_name, jar.bbox, mask_from) == ("jar", (10, 380, 70, 445), "carried")
    assert jar.mask == earlier[1].edit_mask


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("a jar", "jar"),
        ("The old jar, half full.", "old jar"),
        ("", "cup"),
        ("a jar" + " of ink" * 60, "jar" + " of ink" * 28),
    ],
)
def test_a_thing_that_was_put_in_is_called_by_its_target(target: str, name: str) -> None:
    assert thing_put_in(step("replace", "Replace it.", target)) == name


def test_what_another_turn_cuts_off_is_left_out() -> None:
    given = replace(writing(replace(MEMORY[0], op="replace", target="a blue jar"), MEMORY[1], premise=WISH),
                    regions=(masked(CUP), masked(VASE)))  # fmt: skip
    first = given.steps[0]
    assert region_after(given, 2, [made(1, first, (10, 380, 70, 445))]) == (given.regions[1], "photo")
    vase, mask_from = region_after(given, 2, [made(1, first, (400, 90, 530, 150))])
    assert vase and (vase.bbox, mask_from) == ((420, 150, 520, 330), "carried")
    with pytest.raises(Unfit, match="turn 1 has changed most of what turn 2 is about, the vase"):
        region_after(given, 2, [made(1, first, (400, 90, 530, 300))])
    recoloured = replace(given, steps=MEMORY)
    assert region_after(recoloured, 2, [made(1, MEMORY[0], (400, 90, 530, 300))])[1] == "photo"


@pytest.mark.parametrize(
    ("task", "verdicts", "bases", "kept"),
    [
        ("content_memory", ["keep", "keep"], [0, 1], 2),
        ("content_memory", ["keep", "reject"], [0, 1], 0),
        ("content_understanding", ["keep", "keep", "unscored"], [0, 1, 2], 2),
        ("content_understanding", ["keep", "reject", "keep"], [0, 1, 2], 0),
        ("version_backtracking", ["keep", "keep", "reject"], [0, 1, 1], 0),
        ("version_backtracking", ["keep", "keep", "keep"], [0, 1, 1], 3),
        ("version_backtracking", ["keep", "keep", "keep", "reject"], [0, 1, 1, 2], 3),
        ("version_backtracking", ["keep", "keep"], [0, 0], 2),
        ("content_memory", [], [], 0),
    ],
)
def test_how_many_turns_make_a_dialogue(task: str, verdicts: list[str], bases: list[int], kept: int) -> None:
    assert kept_turns(task, verdicts, bases) == kept


def test_all_turns_in_words() -> None:
    assert dialogue_words(WISH, ["Recolour the cup.", "Recolour the vase."], "en").split("\n") == [
        f"Premise: {WISH}", "1. Recolour the cup.", "2. Recolour the vase.",
    ]  # fmt: skip
    assert dialogue_words("", ["移除杯子。"], "zh") == "1. 移除杯子。"


TURN = Turn("abc", "content_memory", 2, 3, 1, "alter", WISH, "carried", (made(1, MEMORY[0], (0, 0, 4, 4)),))


def test_a_turn_in_an_annotation() -> None:
    told = json.loads(json.dumps(turn_json(TURN)))
    assert turn_of(told) == TURN


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (lambda told: told.pop("of"), "turn.of: Field required"),
        (lambda told: told.update(number=0), "turn.number: "),
        (lambda told: told.update(of=6), "turn.of: "),
        (lambda told: told.update(mask_from="guessed"), "turn.mask_from: "),
        (lambda told: told.update(more=1), "turn.more: "),
        (lambda told: told["earlier"][0].pop("op"), "turn.earlier.0.op: "),
    ],
)
def test_a_turn_of_another_shape(break_it: Callable[[dict[str, Any]], Any], why: str) -> None:
    told = turn_json(TURN)
    break_it(told)
    with pytest.raises(AnnotationError, match=why):
        turn_of(told)


def test_a_thing_is_not_called_by_a_colour_that_it_has_no_more() -> None:
    galaxy = CUP.model_copy(update={"class_name": "small yellow galaxy"})
    plan = plan_by_template("content_understanding", [galaxy], [], SIZE, 0, 5)
    first = next(number for number, step in enumerate(plan.steps) if step.op == "alter")
    assert "yellow" in plan.steps[first].editor_prompt
    for step in plan.steps[first + 1 :]:
        assert "yellow" not in f"{step.object} {step.target} {step.editor_prompt}", step
