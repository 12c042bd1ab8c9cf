"""Add Mask as Region: what a soft mask becomes, and that it stands behind the regions of before."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")

from comfy_nodes.nodes.mask_regions import AddMaskRegion
from comfy_nodes.wires import boxes as wire

HEIGHT, WIDTH = 40, 60


def soft(*marked: bool) -> torch.Tensor:
    """A mask for each: 0.8 in a rectangle, where it marks anything, and 0.4 around it."""
    masks = torch.full((len(marked), HEIGHT, WIDTH), 0.4)
    for mask, wanted in zip(masks, marked, strict=True):
        mask[10:20, 30:50] = 0.8 if wanted else 0.4
    return masks


def box(label: str) -> dict[str, Any]:
    return wire.of_corners((1, 2, 3, 4), label, 0.7)


def test_a_soft_mask_becomes_a_box_with_its_mean_as_score() -> None:
    boxes, masks = AddMaskRegion.execute(" ground ", 0.5, mask=soft(True)).result
    assert boxes == [[{"x": 30, "y": 10, "width": 20, "height": 10, "label": "ground", "score": pytest.approx(0.8)}]]
    assert torch.equal(masks, (soft(True) > 0.5).float())


def test_it_stands_behind_those_of_its_photo() -> None:
    known = torch.stack([torch.full((HEIGHT, WIDTH), value) for value in (0.1, 0.2, 0.3)])
    boxes, masks = AddMaskRegion.execute(
        "g", 0.5, [[box("a"), box("b")], [box("c")], []], known, soft(True, False, True)
    ).result
    assert [[one["label"] for one in frame] for frame in boxes] == [["a", "b", "g"], ["c"], ["g"]]
    assert torch.equal(masks[:, 0, 0], torch.tensor([0.1, 0.2, 0.0, 0.3, 0.0])), "masks in the boxes' order"
    assert torch.equal(masks[:, 15, 40], torch.tensor([0.1, 0.2, 1.0, 0.3, 1.0]))


def test_nothing_marked_and_nothing_known_is_one_empty_mask() -> None:
    boxes, masks = AddMaskRegion.execute("g", 0.5, [[]], torch.zeros(1, HEIGHT, WIDTH), soft(False)).result
    assert boxes == [[]] and masks.shape == (1, HEIGHT, WIDTH) and not masks.any()


@pytest.mark.parametrize(
    ("masks", "why"),
    [(None, "1 boxes, but 0 masks"), (torch.ones(2, HEIGHT, WIDTH), "1 boxes, but 2 masks"), (torch.ones(1, 5, 5), "different sizes")],
)  # fmt: skip
def test_masks_that_are_not_the_boxes(masks: torch.Tensor | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        AddMaskRegion.execute("g", 0.5, [[box("a")]], masks, soft(True))


def test_without_a_mask_the_others_are_passed_on() -> None:
    """As where the nodes that make it are muted."""
    masks = torch.ones(1, HEIGHT, WIDTH)
    assert AddMaskRegion.execute("g", 0.5, [[box("a")]], masks).result == ([[box("a")]], masks)
    boxes, none = AddMaskRegion.execute("g", 0.5).result
    assert boxes == [[]] and not none.any()
