"""The service that looks at pictures: each of our questions put to it through our own client, and read by our own checks."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from comfy_nodes.core.instructions.scenes import Scene
from comfy_nodes.core.instructions.wording import Language
from comfy_nodes.core.regions.annotation import Region
from comfy_nodes.core.taxonomy import TAXONOMY, WRITABLE
from comfy_nodes.core.verdicts.rubrics import TABLE
from comfy_nodes.vlm.asking import Failure
from comfy_nodes.vlm.endpoint.client import connect
from comfy_nodes.vlm.questions import judge, many_kinds, observer, verifier
from comfy_nodes.vlm.questions.edited_pair import EditedPair
from comfy_nodes.vlm.questions.writer import Assignment, write
from tests.vlm.client.questions import WriteProfile
from tests.vlm.seeing import Seeing

HEIGHT, WIDTH = 240, 320
CUP = Region(class_name="cup", bbox=(40, 60, 120, 180))
"""A red thing on the left of a blue photo."""
DOG = Region(class_name="dog", bbox=(200, 60, 280, 180))
PHOTO = np.full((HEIGHT, WIDTH, 3), (40, 80, 200), np.uint8)
PHOTO[60:180, 40:120] = (200, 30, 30)
PHOTO[60:180, 200:280] = (110, 70, 40)
GREEN = PHOTO.copy()
GREEN[60:180, 40:120] = (50, 140, 60)


def ask(write_profile: WriteProfile, asking: Any) -> Any:
    """What comes of asking the service."""
    with Seeing() as service:
        write_profile("service", service.url)
        return asyncio.run(asking(connect("service")))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_all_kinds_are_written(language: Language, write_profile: WriteProfile) -> None:
    async def written(vlm: Any) -> dict[str, Any]:
        found = {}
        for name in WRITABLE:
            kind = TAXONOMY[name]
            edited = (CUP, DOG) if kind.task in ("hybrid", "content_memory") else (CUP,)
            other = PHOTO if kind.task == "motion" else None
            scene = Scene(WIDTH, HEIGHT, edited, (DOG,))
            found[name] = await write(vlm, Assignment(kind, PHOTO, scene, language, other_picture=other))
        return found

    found = ask(write_profile, written)
    assert {name: one for name, one in found.items() if isinstance(one, Failure)} == {}


def test_several_edits_differ(write_profile: WriteProfile) -> None:
    assignment = Assignment(TAXONOMY["imgedit/replace"], PHOTO, Scene(WIDTH, HEIGHT, (CUP,), (DOG,)), count=5)
    written = ask(write_profile, lambda vlm: write(vlm, assignment))
    assert len({one.instruction for one in written}) == 5


def test_one_call_writes_several_kinds(write_profile: WriteProfile) -> None:
    kinds = [kind for kind in TAXONOMY.values() if kind.scheme == "unicedit"]
    choices = [
        many_kinds.Choice(tuple(kinds[start : start + 7]), PHOTO, Scene(WIDTH, HEIGHT, (), (CUP, DOG)), "en", 3, 7)
        for start in (0, 7, 14)
    ]

    async def written(vlm: Any) -> Any:
        return [await many_kinds.write(vlm, one) for one in choices]

    found = ask(write_profile, written)
    assert [one if isinstance(one, Failure) else len(one) for one in found] == [7, 7, 7]


def test_a_photo_is_told(write_profile: WriteProfile) -> None:
    async def told(vlm: Any) -> Any:
        said = await observer.caption(vlm, PHOTO, "en", 0)
        routed = [await observer.route(vlm, one, Scene(WIDTH, HEIGHT, (CUP,)), [TAXONOMY["imgedit/remove"], TAXONOMY["imgedit/add"]], said.dense, 0)
                  for one in (PHOTO, np.zeros_like(PHOTO))]  # fmt: skip
        return said, await observer.nouns(vlm, PHOTO, said.dense, 0), routed

    said, nouns, (both, none) = ask(write_profile, told)
    assert "blue" in said.short
    assert nouns.objects and nouns.backgrounds and not nouns.dropped
    assert list(both.accepted) == ["remove", "add"] and list(none.rejected) == ["remove", "add"]


def test_a_pair_is_judged_by_what_changed(write_profile: WriteProfile) -> None:
    asked = [EditedPair(PHOTO, after, "Make the cup yellow.", "en") for after in (GREEN, PHOTO)]
    asked.append(EditedPair(PHOTO, GREEN, "把杯子变成绿色。", "zh"))

    async def heard(vlm: Any) -> Any:
        cases = [judge.Case(pair, rubric) for rubric in TABLE.values() for pair in asked[:2]]
        return await verifier.verify(vlm, asked), await judge.judge(vlm, cases)

    (other, same, right), scores = ask(write_profile, heard)
    assert (other.scores.verdict, other.instruction) == ("keep", "Make the cup green.")
    assert same.scores.verdict == "reject"
    assert (right.scores.verdict, right.instruction) == ("keep", "把杯子变成绿色。")
    assert {one.verdict for one in scores[::2]} == {"keep"} and {one.verdict for one in scores[1::2]} == {"reject"}
