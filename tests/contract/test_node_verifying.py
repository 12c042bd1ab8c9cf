"""Verify Pixels for editors that redraw the whole picture: where the edit was meant, and what else changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch, which ComfyUI brings, is not installed")

REGION = np.s_[40:72, 48:96]


@pytest.fixture
def verify(pack: Any) -> Callable[..., Any]:
    defaults = {"min_changed": 0.05, "max_outside": 0}
    return lambda **inputs: pack.call("EditPairsVerifyPixels", **{**defaults, **inputs})


@pytest.fixture
def picture() -> np.ndarray:
    """A picture with shapes of 8 pixels and some grain, float [H, W, 3]."""
    rng = np.random.default_rng(1)
    shapes = rng.uniform(0.2, 0.8, (16, 20, 3)).repeat(8, axis=0).repeat(8, axis=1)
    return np.clip(shapes + rng.normal(0, 0.01, shapes.shape), 0, 1)


def batch(*arrays: np.ndarray) -> Any:
    return torch.from_numpy(np.stack(arrays)).float()


def test_a_batch_of_edits_against_the_region(verify: Callable[..., Any], picture: np.ndarray) -> None:
    region = np.zeros(picture.shape[:2])
    region[REGION] = 1
    done, elsewhere = picture.copy(), picture.copy()
    done[REGION] = 1 - picture[REGION] * 0.2
    elsewhere[96:120, 120:150] = 0
    shifted = np.roll(picture, 1, axis=1)

    scores, masks, boxes = verify(
        source=batch(picture), edited=batch(done, elsewhere, shifted), region_mask=batch(region)
    )[0:3]

    assert [one.verdict for one in scores] == ["keep", "reject", "reject"]
    assert [one.reason.split(":")[0] for one in scores] == ["", "edited in the wrong place", "no edit"]
    assert scores[2].values["pixel.shift_x"] == pytest.approx(1, abs=0.25)
    assert masks.shape == (3, *picture.shape[:2]) and masks.dtype == torch.float32
    assert [(box["x"], box["y"], box["width"], box["height"]) for box in boxes[0]] == [(48, 40, 48, 32)]
    assert len(boxes[1]) == 1 and boxes[2] == []
    assert torch.equal(masks[0], batch(region)[0]) and not masks[2].any()


@pytest.mark.parametrize("limits", [{"min_covered": 0.2}, {"max_extra": 0.1}, {"min_total": 0.0}])
def test_limits_reach_the_verdict(verify: Callable[..., Any], picture: np.ndarray, limits: dict[str, float]) -> None:
    region = np.zeros(picture.shape[:2])
    region[REGION] = 1
    edited = picture.copy()
    rows = slice(40, 56) if "min_covered" in limits else slice(40, 72)
    edited[rows, 48:96] = 1 - picture[rows, 48:96] * 0.2
    if "max_extra" in limits:
        edited[96:120, 120:150] = 0
    inputs = {"source": batch(picture), "edited": batch(edited), "region_mask": batch(region)}
    strict = {"min_total": 0.9} if "min_total" in limits else {}
    assert verify(**inputs, **strict)[0][0].verdict == "reject"
    assert verify(**inputs, **limits)[0][0].verdict == "keep"


def test_a_region_of_another_size_is_refused(verify: Callable[..., Any], picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match="the mask is 30 x 20, the image 160 x 128"):
        verify(source=batch(picture), edited=batch(picture), region_mask=torch.ones(1, 20, 30))


def test_a_sample_without_a_region_says_nothing_of_the_place(verify: Callable[..., Any], picture: np.ndarray) -> None:
    edited = picture.copy()
    edited[REGION] = 0
    scores, *_ = verify(
        source=batch(picture), edited=batch(edited), region_mask=torch.zeros(1, *picture.shape[:2])
    ).result
    assert scores[0].verdict == "keep"


def test_the_samples_kind_of_edit_sets_the_limits(pack: Any, verify: Callable[..., Any], picture: np.ndarray) -> None:
    """A new word on a sign changes a small part of it; a removal that does as little is half done."""
    annotation, sockets = pack.part("core.regions.annotation"), pack.part("wires.sockets")
    region, edited = np.zeros(picture.shape[:2]), picture.copy()
    region[32:104, 40:128] = 1
    edited[60:76, 60:90] = 1 - picture[60:76, 60:90] * 0.2
    inputs = {"source": batch(picture), "edited": batch(edited), "region_mask": batch(region)}

    def said(task: str, subtask: str = "", instruction: str = "") -> str:
        origin = annotation.Provenance(
            key="k", source_id="a.png", source_path="a.png", source_sha256="0" * 64, subtask=subtask
        )
        sample = sockets.EditSample(
            source=batch(picture), task=task, region=None, instruction=instruction, seed=1, provenance=origin
        )
        return verify(**inputs, sample=sample)[0][0].reason.split(":")[0]

    assert said("alter", "unicedit/Text Modification") == ""
    assert said("remove") == "half done"
    assert said("instruct", instruction="Change the word on the sign.") == ""
    assert said("instruct", instruction="Remove the sign.") == "half done"
