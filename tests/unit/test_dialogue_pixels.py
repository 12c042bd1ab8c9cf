"""Verify Dialogue's rule: pictures of a dialogue follow from one another, and who breaks it is named."""

from __future__ import annotations

import numpy as np
import pytest

from comfy_nodes.core.instructions.turns import Earlier, Turn
from comfy_nodes.core.regions import rle
from comfy_nodes.core.verdicts.dialogues import follows

SIZE = (12, 16)
PHOTO = np.full((*SIZE, 3), 100, dtype=np.uint8)


def place(left: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[2:8, left : left + 4] = True
    return mask


LEFT, RIGHT, FAR = place(0), place(4), place(10)


def painted(picture: np.ndarray, mask: np.ndarray, level: int) -> np.ndarray:
    made = picture.copy()
    made[mask] = level
    return made


def before(number: int, base: int, op: str, mask: np.ndarray | None) -> Earlier:
    return Earlier(number, base, op, "Do it.", None if mask is None else rle.encode(mask))


def turn(number: int, base: int, *earlier: Earlier) -> Turn:
    return Turn("0123456789abcdef", "version_backtracking", number, 3, base, "alter", earlier=earlier)


FIRST = painted(PHOTO, LEFT, 10)
SECOND = painted(FIRST, RIGHT, 200)
MADE = (before(1, 0, "replace", LEFT), before(2, 1, "replace", RIGHT))


def test_what_all_turns_left_alone_is_the_first_picture() -> None:
    found = follows(turn(3, 2, *MADE), PHOTO, SECOND, painted(SECOND, FAR, 30), FAR)
    assert (found.verdict, found.reason) == ("keep", "")
    assert found.values == {"dialogue.outside_max": 0.0, "dialogue.turns": 3.0}
    assert not found.voices, "it has not seen that anything was edited"


def test_a_turn_that_goes_back_has_only_the_turns_that_lead_there() -> None:
    back = turn(3, 1, *MADE)
    assert follows(back, PHOTO, FIRST, painted(FIRST, FAR, 30), FAR).values["dialogue.turns"] == 2.0
    found = follows(back, PHOTO, SECOND, painted(SECOND, FAR, 30), FAR)
    assert found.verdict == "reject"
    assert "turn 3 does not begin with the picture that turn 1 left" in found.reason
    assert "turn 2 had been there, which it takes back" in found.reason
    assert found.values["dialogue.outside_max"] == 100.0


def test_one_level_outside_of_its_mask_rejects_a_turn() -> None:
    made = painted(FIRST, RIGHT, 200)
    made[11, 15, 2] += 1
    found = follows(turn(2, 1, MADE[0]), PHOTO, FIRST, made, RIGHT)
    assert found.reason == "turn 2 changed what it is not about by up to 1 of 255 levels"
    assert found.verdict == "reject" and found.values["dialogue.outside_max"] == 1.0


def test_a_picture_that_wore_off_on_its_way_is_another_state() -> None:
    worn = FIRST.copy()
    worn[0, 0] += 3
    found = follows(turn(2, 1, MADE[0]), PHOTO, worn, painted(worn, RIGHT, 200), RIGHT)
    assert found.verdict == "reject" and "by up to 3 of 255 levels where no turn edited it" in found.reason
    assert "takes back" not in found.reason


def test_state_0_of_an_added_thing_is_the_picture_without_it() -> None:
    without = painted(PHOTO, LEFT, 60)
    added = before(1, 0, "add", LEFT)
    assert follows(turn(2, 1, added), without, PHOTO, painted(PHOTO, LEFT, 30), LEFT).verdict == "keep"
    assert follows(turn(3, 0, added), without, PHOTO, painted(PHOTO, RIGHT, 30), RIGHT).verdict == "reject"


def test_a_turn_about_the_whole_picture_leaves_nothing_to_compare() -> None:
    other = painted(PHOTO, ~LEFT, 7)
    assert follows(turn(2, 1, before(1, 0, "style", None)), PHOTO, other, PHOTO, None).verdict == "keep"


def test_pictures_of_other_sizes_say_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"16 x 12 and 8 x 12 pixels.*fit the photo before Take Turn"):
        follows(turn(1, 0), PHOTO, PHOTO[:, :8], PHOTO[:, :8], LEFT[:, :8])
    with pytest.raises(ValueError, match="the mask of turn 1 8 x 12"):
        follows(turn(2, 1, before(1, 0, "alter", LEFT[:, :8])), PHOTO, PHOTO, PHOTO, LEFT)
    with pytest.raises(ValueError, match="nobody says what turn 1 did"):
        follows(turn(2, 1), PHOTO, PHOTO, PHOTO, LEFT)
