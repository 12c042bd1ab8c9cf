"""The nodes around SAM 2: B images in, B results out, whatever was found in them."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("comfy", reason="needs ComfyUI's source: set COMFYUI_PATH")

from comfy import model_management

from comfy_nodes.models import sam2_models
from comfy_nodes.nodes.segmenting import LoadSam2, RefineMask, SegmentBoxesSam2
from tests.models import tiny_sam2

BOX = {"x": 4, "y": 6, "width": 30, "height": 20, "label": "cup", "score": 0.5, "metadata": {"note": 1.0}}
FAR = {"x": 500, "y": 6, "width": 30, "height": 20, "label": "far"}


@pytest.fixture(scope="module")
def sam2(weights: Path) -> sam2_models.Segmenter:
    return LoadSam2.execute(tiny_sam2.hub(weights / "sam2-tiny-nodes").name)[0]


def photos(count: int, height: int = 40, width: int = 60) -> torch.Tensor:
    return torch.rand((count, height, width, 3), generator=torch.Generator().manual_seed(7))


def segment(sam2: Any, image: torch.Tensor, boxes: Any, masks: str = "individual", **more: Any) -> tuple[Any, Any]:
    out = SegmentBoxesSam2.execute(image, sam2, masks, False, boxes=boxes, **more)
    return out[0], out[1]


@pytest.mark.parametrize("pattern", list(product((0, 1, 3), repeat=3)), ids=str)
def test_every_pattern_of_empty_and_full_images(sam2: sam2_models.Segmenter, pattern: tuple[int, ...]) -> None:
    image = photos(3)
    boxes = [[{**BOX, "x": 4 + 7 * number, "label": f"{at}.{number}"} for number in range(count)] for at, count in enumerate(pattern)]  # fmt: skip
    masks, passed = segment(sam2, image, boxes)
    assert [[box["label"] for box in one] for one in passed] == [[box["label"] for box in one] for one in boxes]
    assert masks.shape == (max(1, sum(pattern)), 40, 60)
    united, _ = segment(sam2, image, boxes, "united")
    assert united.shape == (3, 40, 60)
    start = 0
    for at, count in enumerate(pattern):
        own = masks[start : start + count] if count else torch.zeros((1, 40, 60))
        assert torch.equal(united[at], own.amax(dim=0))
        start += count


def test_the_score_is_sams_and_goes_under_its_own_name(sam2: sam2_models.Segmenter) -> None:
    _, passed = segment(sam2, photos(1), [[BOX]])
    box = passed[0][0]
    assert box["score"] == 0.5 and box["metadata"]["note"] == 1.0
    assert isinstance(box["metadata"]["sam_iou"], float)
    assert BOX["metadata"] == {"note": 1.0}  # what came in is not written to


def test_a_box_outside_the_image_has_an_empty_mask_and_no_score(sam2: sam2_models.Segmenter) -> None:
    masks, passed = segment(sam2, photos(1), [[FAR, BOX, {**BOX, "x": -20, "width": 900}]])
    assert masks.shape[0] == 3 and not masks[0].any()
    assert "sam_iou" not in passed[0][0]["metadata"] and "sam_iou" in passed[0][1]["metadata"]
    assert passed[0][2]["x"] == -20


@pytest.mark.parametrize("boxes", [BOX, [BOX], [[BOX]]], ids=["one", "a list", "a list per image"])
def test_every_form_of_boxes_that_core_sends(sam2: sam2_models.Segmenter, boxes: Any) -> None:
    masks, passed = segment(sam2, photos(2), boxes, "united")
    assert masks.shape[0] == 2 and len(passed) == 2  # one list of boxes serves all images


def test_images_of_different_sizes_come_one_by_one(sam2: sam2_models.Segmenter) -> None:
    """As a list ComfyUI sends each by itself."""
    for height, width in ((40, 60), (90, 30), (33, 200), (2, 2)):
        masks, _ = segment(sam2, photos(1, height, width), [[{**BOX, "x": 0, "y": 0}]])
        assert masks.shape == (1, height, width)


def test_points_alone_mark_one_object(sam2: sam2_models.Segmenter) -> None:
    masks, passed = segment(sam2, photos(1), None, positive_points='[{"x": 20, "y": 20}]')
    assert masks.shape == (1, 40, 60)
    if masks.any():
        rows, columns = np.nonzero(masks[0].numpy())
        box = passed[0][0]
        assert (box["x"], box["y"]) == (columns.min(), rows.min())
        assert (box["width"], box["height"]) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
    masks, passed = segment(sam2, photos(2), None, negative_points='[{"x": 20, "y": 20}]')
    assert not masks.any() and passed == [[], []]


def test_wrong_boxes_end_in_one_line(sam2: sam2_models.Segmenter) -> None:
    for boxes in ([[{"x": 1}]], [["a"]], [[{**BOX, "x": float("nan")}]], 3):
        with pytest.raises(ValueError, match="not a BOUNDING_BOX") as caught:
            segment(sam2, photos(1), boxes)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="batches of different sizes"):
        segment(sam2, photos(3), [[BOX], [BOX]])


def test_cancel_ends_before_the_next_image(sam2: sam2_models.Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = sam2.segment

    def segment_then_cancel(*given: Any) -> Any:
        seen.append(1)
        model_management.interrupt_current_processing()
        return real(*given)

    monkeypatch.setattr(sam2, "segment", segment_then_cancel)
    with pytest.raises(model_management.InterruptProcessingException):
        segment(sam2, photos(5), [[BOX]])
    assert seen == [1]


def test_refine_takes_every_mask_in_its_order() -> None:
    ring = torch.zeros((40, 100))
    ring[5:30, 5:30] = 0.3
    ring[10:12, 10:12] = 0
    ring[38, 90] = 1
    masks = torch.stack([ring, torch.zeros_like(ring), torch.ones_like(ring)])
    refined = RefineMask.execute(masks, 5.0, 1.0, 0.0, 0.0)[0]
    assert refined.shape == masks.shape
    assert refined[0].sum() == 25 * 25
    assert not refined[1].any() and refined[2].all()
    grown = RefineMask.execute(ring, 5.0, 1.0, 5.0, 0.0)[0]
    assert grown.shape == (1, 40, 100) and grown[0, 17, 31] == 1 and grown[0, 17, 32] == 0
    soft = RefineMask.execute(ring, 5.0, 1.0, -5.0, 5.0)[0]
    assert 0 < soft[0, 17, 6] < 1


def test_an_empty_batch_of_masks_stays_one() -> None:
    assert RefineMask.execute(torch.zeros((0, 4, 4)), 5.0, 1.0, 0.0, 0.0)[0].shape == (0, 4, 4)
