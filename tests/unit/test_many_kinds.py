"""Several edits of a photo in one call: which kinds it is offered, what is asked, and what becomes of the replies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from comfy_nodes.core.instructions.instructions import Writing
from comfy_nodes.core.instructions.offering import KINDS, kinds_named, obstacle, offered
from comfy_nodes.core.instructions.scenes import Scene
from comfy_nodes.core.regions.annotation import Region
from comfy_nodes.core.verdicts import pixel_limits, pixels
from comfy_nodes.vlm.asking import Answer, Failure, Question
from comfy_nodes.vlm.questions import many_kinds

PHOTO = np.full((480, 640, 3), 90, np.uint8)
CUP = Region(class_name="cup", bbox=(20, 400, 60, 440))
VASE = Region(class_name="vase", bbox=(400, 100, 520, 260))
MAN = Region(class_name="man", bbox=(200, 20, 300, 400))
SKY = Region(class_name="sky", bbox=(0, 0, 640, 90), kind="background")


def edit(kind: str, english: str, chinese: str, things: Sequence[int] = (), **more: Any) -> dict[str, Any]:
    told = {"command": english, "target": "the photo as asked for", "things": list(things)}
    return {"kind": kind, "instruction": english, "chinese": chinese, **told, **more}


ZOOM = edit("Lens Zooming", "Zoom in on the vase.", "放大画面\uff0c聚焦花瓶。")
BLUE = edit("Color Alteration", "Paint the cup blue.", "把杯子涂成蓝色。", [2])
GONE = edit("Subject Removal", "Remove the vase.", "移除花瓶。", [1])
BIRD = edit("Subject Addition", "Add a bird on the cup.", "在杯子上添加一只鸟。", [2])
BOTH = edit(
    "Compound Operation Edits", "Paint the cup green and remove the vase.", "把杯子涂成绿色\uff0c并移除花瓶。", [2, 1]
)
NIGHT = edit("Tone Transformation", "Make it night.", "把照片变成夜晚。")


class Script:
    """A model that says what stands in a list, in order."""

    model = "scripted-vl"

    def __init__(self, *replies: Any):
        self._replies = list(replies)
        self.asked: list[Question] = []

    async def ask(self, questions: Sequence[Question]) -> list[Answer | Failure]:
        (question,) = questions
        self.asked.append(question)
        reply = self._replies.pop(0)
        if isinstance(reply, Failure):
            return [reply]
        assert question.reply is not None
        value = question.reply.model_validate({"edits": reply})
        return [Answer(json.dumps({"edits": reply}), value, self.model, question.prompt_version)]


def write(
    vlm: Script, names: str = "", regions: Sequence[Region] = (CUP, VASE), **more: Any
) -> list[Writing] | Failure:
    kinds = kinds_named(names)
    return asyncio.run(many_kinds.write(vlm, many_kinds.Choice(kinds, PHOTO, Scene(640, 480, (), regions), **more)))


def test_edits_carry_their_kind_their_languages_and_their_region() -> None:
    vlm = Script([ZOOM, BLUE, GONE, BOTH])
    found = write(vlm, seed=7, temperature=0.5, caption="A vase.\nOn a table.")
    assert isinstance(found, list)
    assert [(one.task, one.subtask.partition("/")[2], one.regions) for one in found] == [
        ("instruct", "Lens Zooming", ()), ("alter", "Color Alteration", (CUP,)), ("remove", "Subject Removal", (VASE,)),
        ("hybrid", "Compound Operation Edits", (CUP, VASE)),
    ]  # fmt: skip
    assert [(one.lang, one.instruction, one.other) for one in found] == [
        ("en", one["instruction"], one["chinese"]) for one in (ZOOM, BLUE, GONE, BOTH)
    ]
    assert [[step.region for step in one.steps] for one in found] == [[None], [0], [0], [0, 1]]
    assert {one.model for one in found} == {"scripted-vl"} and {one.prompt_id for one in found} == {"write-unicedit"}
    (question,) = vlm.asked
    assert (question.seed, question.temperature, len(question.images)) == (7, 0.5, 1)
    assert not (question.images[0] != PHOTO).any(), "nothing is drawn on the photo"
    assert (
        "Caption: A vase. On a table.\nThings in it: 1 the vase on the right of the image; 2 the small cup"
        in question.user
    )
    assert "Write 3 to 7 edits" in question.user and "$" not in question.user


def test_a_photo_is_told_the_kinds_that_it_is_offered_alone() -> None:
    vlm = Script([ZOOM, NIGHT])
    write(vlm, "Lens Zooming, Tone Transformation")
    user = vlm.asked[0].user
    assert [name for kind in KINDS.values() if f"- {(name := kind.name)}: " in user] == [
        "Lens Zooming",
        "Tone Transformation",
    ]
    assert "Write 2 edits of this photo" in user and "- `kind`: " in user


def test_the_other_language_may_be_the_one_to_train_on() -> None:
    found = write(Script([ZOOM, BLUE, GONE]), language="zh")
    assert isinstance(found, list)
    assert (found[0].lang, found[0].instruction, found[0].other) == ("zh", ZOOM["chinese"], ZOOM["instruction"])
    assert found[1].editor_prompt == "Paint the cup blue.", "editors are told English"


def test_an_addition_is_not_made_by_a_removal() -> None:
    found = write(Script([BIRD, ZOOM, BLUE]))
    assert isinstance(found, list)
    assert (found[0].task, found[0].steps, found[0].regions) == ("add", (), ())
    assert found[0].editor_prompt == "Add a bird on the cup."


def test_sound_edits_stay_when_others_are_asked_for_again() -> None:
    vlm = Script([ZOOM, {**BLUE, "kind": "Dyeing"}, GONE], [{**ZOOM, "instruction": "Zoom out a lot."}, BLUE])
    found = write(vlm)
    assert isinstance(found, list)
    assert [one.instruction for one in found] == [ZOOM["instruction"], GONE["instruction"], BLUE["instruction"]]
    again = vlm.asked[1].user
    assert "'Dyeing' is no kind of edit" in again and "2 edits can be used, and at least 3 are asked for" in again
    assert vlm.asked[1].seed != vlm.asked[0].seed


def test_one_broken_edit_among_enough_is_asked_for_once_more_and_then_left_out() -> None:
    broken = {**NIGHT, "kind": "Dyeing"}
    vlm = Script([ZOOM, BLUE, GONE, broken], [ZOOM, broken])
    found = write(vlm)
    assert isinstance(found, list) and len(found) == 3 and len(vlm.asked) == 2


def test_too_few_are_a_failure_and_a_service_that_dies_late_costs_nothing() -> None:
    vlm = Script([ZOOM], [ZOOM, ZOOM], [BLUE])
    failure = write(vlm)
    assert isinstance(failure, Failure) and len(vlm.asked) == 3
    assert failure.kind == "VlmWrongShape" and "2 edits can be used, and at least 3" in failure.message
    found = write(Script([ZOOM, BLUE, GONE, {**NIGHT, "kind": "?"}], Failure("VlmTimeout", "late")))
    assert isinstance(found, list) and len(found) == 3
    assert write(Script([ZOOM], Failure("VlmTimeout", "late"))) == Failure("VlmTimeout", "late")


def test_the_same_words_under_two_kinds_are_refused() -> None:
    twice = {**ZOOM, "kind": "Viewpoint Transformation"}
    vlm = Script([ZOOM, twice, BLUE, GONE], [ZOOM, BLUE, GONE])
    found = write(vlm)
    assert isinstance(found, list) and [one.subtask for one in found].count("unicedit/Viewpoint Transformation") == 0
    assert "the same instruction stands under two kinds" in vlm.asked[1].user


def test_things_that_words_do_not_tell_apart_are_not_listed() -> None:
    twin = CUP.model_copy(update={"bbox": (32.0, 400.0, 72.0, 440.0)})
    assert many_kinds.listed(Scene(640, 480, (), (CUP, twin, VASE, SKY))) == [VASE]


class TestOffering:
    @pytest.mark.parametrize(
        ("name", "regions", "why"),
        [
            ("Lens Zooming", (SKY,), ""),
            ("Subject Addition", (SKY,), ""),
            ("Subject Removal", (SKY,), "it needs 1 thing, and 0 is known"),
            ("Subject Removal", (CUP,), ""),
            ("Compound Operation Edits", (CUP,), "it needs 2 things, and 1 is known"),
            ("Multi-object Coordination", (CUP, VASE), ""),
            ("Relation Change", (CUP,), "it needs 2 things"),
            ("Portrait Editing", (CUP, VASE), "it needs a person"),
            ("Portrait Editing", (CUP, MAN), ""),
            ("Counting Change", (SKY,), "it needs things of one name, 9 at most"),
            ("Counting Change", (CUP,) * 10, "it needs things of one name, 9 at most"),
            ("Counting Change", (CUP,) * 9, ""),
        ],
    )
    def test_what_regions_allow(self, name: str, regions: tuple[Region, ...], why: str) -> None:
        said = obstacle(KINDS[f"unicedit/{name}"], regions)
        assert said.startswith(why) and bool(said) == bool(why)

    def test_a_photo_that_nobody_looked_at_is_offered_all(self) -> None:
        assert [kind.id for kind in kinds_named("") if obstacle(kind, ())] == []

    def test_the_seed_draws_them_evenly(self) -> None:
        drawn = [offered(kinds_named(""), (), 10, seed) for seed in range(200)]
        assert all(len(one) == 10 for one in drawn)
        assert offered(kinds_named(""), (), 10, 5) == offered(kinds_named(""), (), 10, 5)
        counts = [sum(kind in one for one in drawn) for kind in kinds_named("")]
        assert min(counts) > 60 and max(counts) < 125, "10 of 22 of 200 are 91"

    def test_names(self) -> None:
        found = kinds_named("unicedit/Relation Change\nLens Zooming,Style Transfer")
        assert [kind.name for kind in found] == ["Lens Zooming", "Style Transfer", "Relation Change"]
        with pytest.raises(
            ValueError, match="'Zoom' is none of the kinds that are written many at a time; they are Back"
        ):
            kinds_named("Zoom")
        with pytest.raises(ValueError, match=r"'scaleedit/1\.1_style_transfer' is none"):
            kinds_named("scaleedit/1.1_style_transfer")


def moved(scale: float, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """A patterned photo, and the same seen from nearer."""
    y, x = np.mgrid[:size, :size].astype(float)

    def drawn(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        waves = np.stack([np.sin(x / 5 + y / 17), np.cos(y / 7), np.sin((x + y) / 9)], axis=-1)
        return (waves * 60 + 120).astype(np.uint8)

    middle = size / 2
    return drawn(y, x), drawn(middle + (y - middle) / scale, middle + (x - middle) / scale)


@pytest.mark.parametrize(
    "name", ["Lens Zooming", "Viewpoint Transformation", "Counting Change", "Implicit Change Edits",
             "Multi-object Coordination", "Relation Change"],
)  # fmt: skip
def test_pixels_let_the_whole_photo_change_and_see_where_nothing_did(name: str) -> None:
    limits = pixel_limits.for_kind(pixel_limits.Limits(), "instruct", f"unicedit/{name}")
    before, after = moved(1.6)
    assert pixels.verify(before, after, limits=limits)[0].verdict == "keep"
    assert "no edit" in pixels.verify(before, before, limits=limits)[0].reason
    as_a_removal = pixel_limits.for_kind(pixel_limits.Limits(), "remove", "unicedit/Subject Removal")
    assert "changed all over" in pixels.verify(before, after, limits=as_a_removal)[0].reason
