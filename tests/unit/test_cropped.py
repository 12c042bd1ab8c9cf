"""Commands about a crop: what they name is where the crop has it, and no word about the whole photo is left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comfy_nodes.core.instructions import cropped, wording
from comfy_nodes.core.instructions.checks import Unfit
from comfy_nodes.core.instructions.instructions import Step
from comfy_nodes.core.instructions.scenes import Scene
from comfy_nodes.core.regions.annotation import Region

SIZE = (1000, 600)
CUP = Region(class_name="cup", bbox=(100, 400, 200, 500))
CROP = (0, 350, 300, 550)
"""The cup is in its middle; in the photo it is in the lower-left."""
REMOVED = f"Remove the cup in the center of the image. {cropped.NOTHING_NEW}"


def told(step: Step, *others: Region, crop: tuple[float, float, float, float] = CROP, region: Region = CUP) -> str:
    return cropped.command(step, region, Scene(*SIZE, (region,), others), crop)


def step(op: str, words: str, target: str = "", thing: str = "cup") -> Step:
    return Step(op, thing, 0, words, target)


def test_a_thing_is_where_the_crop_has_it() -> None:
    photo = Scene(*SIZE, (CUP,)).the(0, "cup", "en")
    command = step("replace", f"Replace {photo} with a glass jar.")
    assert photo == "the small cup in the lower-left of the image"
    assert told(command) == f"Replace the cup in the center of the image with a glass jar. {cropped.MANNERS['replace']}"
    aside = (80.0, 300.0, 480.0, 700.0)  # it reaches over the photo's border
    assert told(command, crop=aside).startswith("Replace the cup on the left of the image with a glass jar.")


@pytest.mark.parametrize("op", ["remove", "add"])
def test_a_thing_is_taken_away_and_the_ground_is_named_where_it_is_known(op: str) -> None:
    assert told(step(op, "Get rid of the cup in the lower-left of the image.")) == REMOVED
    bare = told(step(op, "Remove it.", "the bare wooden table"))
    assert bare == "Remove the cup in the center of the image and reveal what is behind it: the bare wooden table."


def test_words_name_what_a_region_without_a_name_shows() -> None:
    nameless = CUP.model_copy(update={"class_name": None})
    assert told(step("remove", "Erase the mug", thing=""), region=nameless) == f"Erase the mug. {cropped.NOTHING_NEW}"
    for words in ("Erase the left mug.", ""):
        found = told(step("remove", words, thing=""), region=nameless)
        assert found == f"Remove the object in the center of the image. {cropped.NOTHING_NEW}"


def test_namesakes_count_where_the_crop_shows_them() -> None:
    far = CUP.model_copy(update={"bbox": (800, 400, 900, 500)})
    right = CUP.model_copy(update={"bbox": (220, 400, 290, 500)})
    command = step("remove", "Remove the leftmost cup.")
    assert told(command, far) == REMOVED
    assert told(command, right) == REMOVED, "in another third"
    left = CUP.model_copy(update={"bbox": (110, 400, 150, 500)})
    near = CUP.model_copy(update={"bbox": (155, 400, 195, 500)})
    assert told(command, near, region=left).startswith("Remove the leftmost cup.")
    square = CUP.model_copy(update={"bbox": (110, 410, 180, 480)})
    wider = CUP.model_copy(update={"bbox": (102, 416, 188, 474)})
    with pytest.raises(Unfit, match="several things in the crop are called cup"):
        told(command, wider, region=square)


def test_words_about_the_whole_photo_are_not_passed_on() -> None:
    typed = step("replace", "Replace the left cup with a vase.", "a vase")
    assert told(typed).startswith("Replace the cup in the center of the image with a vase.")
    look = step("alter", "Let the one on the left shine.", "a shining cup")
    assert told(look).startswith("Change the cup in the center of the image, so that this is seen: a shining cup.")
    with pytest.raises(Unfit, match=r"'Let the one on the left shine.' says where in the whole photo"):
        told(replace(look, target=""))


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("Make the cup deep blue", "Make the cup in the center of the image deep blue."),
        ("Something nicer, please!", "Something nicer, please!"),
        ("让杯子变蓝", "让杯子变蓝。"),
        ("Make the cupboard red.", "Make the cupboard red."),
    ],
)
def test_other_words_stay_as_they_are(words: str, kept: str) -> None:
    assert told(step("alter", words)) == f"{kept} {cropped.MANNERS['alter']}"


def test_a_background_is_everywhere_and_gets_light_and_perspective() -> None:
    sky = Region(class_name="sky", bbox=(0, 0, 1000, 300), kind="background")
    command = told(
        step("background", "Turn the sky into a starry night.", thing="sky"), region=sky, crop=(0, 0, 1000, 600)
    )
    assert command == f"Turn the sky into a starry night. {cropped.MANNERS['background']}"
    assert "light" in command and "perspective" in command


@pytest.mark.parametrize("before", ["", "small", "leftmost", "second"])
@pytest.mark.parametrize("after", ["", "at the top of the image", "from the left"])
def test_every_way_of_naming_a_thing_is_found(before: str, after: str) -> None:
    phrase = wording.Reference(before, after).phrase("cup", "en")
    assert wording.mention("cup").sub("it", f"Remove {phrase} now.") == "Remove it now."
