"""Follow Region and Verify Dialogue: where a turn's thing is, and whether its pictures follow from the first one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

HEIGHT, WIDTH = 12, 16
PHOTO = torch.full((1, HEIGHT, WIDTH, 3), 0.5)


def marked(left: int, right: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[2:10, left:right] = True
    return mask


def tensor(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask).float()[None]


CARRIED, NEAR, FAR, NOTHING = marked(2, 10), marked(4, 9), marked(10, 16), marked(0, 0)


@pytest.fixture
def turn(pack: Any) -> Any:
    """Turn 2 of a dialogue whose first turn put another thing into the region."""
    annotation, turns = pack.part("core.regions.annotation"), pack.part("core.instructions.turns")
    first = turns.Earlier(1, 0, "replace", "Put a vase there.", pack.part("core.regions.rle").encode(CARRIED))
    about = turns.Turn("0" * 16, "content_understanding", 2, 3, 1, "alter", mask_from="carried", earlier=(first,))
    origin = annotation.Provenance(key="k", source_id="a.png", source_path="a.png", source_sha256="0")
    region = annotation.region_of_mask(CARRIED, "vase")
    return pack.part("wires.sockets").EditSample(PHOTO, "alter", region, "Paint it blue.", 0, origin, turn=about)


def follow(pack: Any, sample: Any, mask: np.ndarray, found: np.ndarray | None) -> tuple[Any, np.ndarray]:
    given = pack.call(
        "EditPairsFollowRegion", sample=sample, mask=tensor(mask), found=None if found is None else tensor(found)
    ).result
    return given[0], given[1][0].numpy() > 0


def test_a_changed_thing_is_looked_for(pack: Any, turn: Any) -> None:
    asks = pack.nodes["EditPairsFollowRegion"].check_lazy_status
    assert asks(sample=turn, mask=tensor(CARRIED), found=None) == ["found"]
    sample, mask = follow(pack, turn, CARRIED, NEAR)
    assert np.array_equal(mask, NEAR) and sample.turn.mask_from == "regrounded"
    assert sample.region.bbox == (4, 2, 9, 10) and sample.region.class_name == "vase"
    assert np.array_equal(pack.part("core.regions.rle").decode(sample.region.mask), NEAR)


@pytest.mark.parametrize("found", [FAR, NOTHING, None])
def test_what_is_another_thing_leaves_the_mask_carried(pack: Any, turn: Any, found: np.ndarray | None) -> None:
    sample, mask = follow(pack, turn, CARRIED, found)
    assert np.array_equal(mask, CARRIED) and sample is turn


def test_a_thing_as_the_photo_has_it_is_not_looked_for(pack: Any, turn: Any) -> None:
    asks = pack.nodes["EditPairsFollowRegion"].check_lazy_status
    untouched = replace(turn, turn=replace(turn.turn, mask_from="photo"))
    assert asks(sample=untouched, mask=tensor(CARRIED), found=None) == []
    assert follow(pack, untouched, CARRIED, NEAR)[0] is untouched
    assert asks(sample=untouched, mask=tensor(NOTHING), found=None) == ["found"], "only its box is known"
    sample, mask = follow(pack, untouched, NOTHING, FAR)
    assert np.array_equal(mask, FAR) and sample.turn.mask_from == "photo"


def test_a_muted_segmenter_and_a_failed_sample_ask_nothing(pack: Any, turn: Any) -> None:
    asks = pack.nodes["EditPairsFollowRegion"].check_lazy_status
    assert asks(sample=turn, mask=tensor(CARRIED)) == []
    failed = replace(turn, failure=pack.part("core.records").SampleFailure("edit", "Gone", "it is gone"))
    assert asks(sample=failed, mask=tensor(NOTHING), found=None) == []
    assert follow(pack, failed, NOTHING, None)[0] is failed


def verified(pack: Any, sample: Any, start: torch.Tensor, edited: torch.Tensor, mask: np.ndarray) -> Any:
    return pack.call(
        "EditPairsVerifyDialogue", sample=sample, start=start, edited=edited, edit_mask=tensor(mask)
    ).result[0]


def test_a_turn_is_held_against_the_first_picture(pack: Any, turn: Any) -> None:
    start, edited = PHOTO.clone(), PHOTO.clone()
    start[0, 4, 4], edited[0, 4, 5] = 0, 1
    (found,) = verified(pack, turn, start, edited, NEAR)
    assert (found.verdict, found.values["dialogue.outside_max"]) == ("keep", 0)
    edited[0, 0, 0] = 0
    (found,) = verified(pack, turn, start, edited, NEAR)
    assert found.verdict == "reject" and found.reason.startswith("turn 2 changed")
    start[0, 0, 0] = 0
    assert verified(pack, turn, start, PHOTO, NEAR)[0].reason.startswith("turn 2 does not begin with the picture")


def test_only_a_turn_has_a_dialogue(pack: Any, turn: Any) -> None:
    with pytest.raises(ValueError, match="wire Take Turn's sample"):
        verified(pack, replace(turn, turn=None), PHOTO, PHOTO, NEAR)
    failed = replace(turn, turn=None, failure=pack.part("core.records").SampleFailure("edit", "Gone", "it is gone"))
    assert verified(pack, failed, PHOTO, PHOTO, NEAR)[0].verdict == "unscored"
