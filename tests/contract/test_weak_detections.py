"""What a detector only whispers is kept apart in the annotation: nobody names, counts, draws, protects or edits it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch, which ComfyUI brings, is not installed")

SIDE = 90


def box(x: int, y: int, side: int, label: str, score: float, **scores: float) -> dict[str, Any]:
    return {"x": x, "y": y, "width": side, "height": side, "label": label, "score": score, "metadata": scores}


CUP = box(40, 40, 30, "cup", 0.9)
PHANTOMS = [box(30, 30, 12, "cup", 0.02), box(48, 30, 8, "cup", 0.006), box(30, 46, 14, "cup", 0.05, clip_score=0.4)]
SKY = box(0, 0, SIDE, "sky", 0.03, clip_score=0.56)
"""Detectors of things are unsure of backgrounds; CLIP is not."""


@pytest.fixture
def annotate(pack: Any, folders: Path) -> Callable[..., dict[str, Any]]:
    """The annotation that Save Annotation leaves of boxes in a photo."""
    Image.new("RGB", (SIDE, SIDE), (40, 90, 60)).save(folders / "input" / "cup.png")
    sample = pack.call("EditPairsLoadSample", image="cup.png", task="annotate", region_index=0, seed=0)[0]

    def saved(**inputs: Any) -> dict[str, Any]:
        result = pack.call("EditPairsSaveAnnotation", sample=sample, **inputs)
        annotation: dict[str, Any] = result.ui["editpairs"][0]["annotation"]
        return annotation

    return saved


@pytest.fixture
def load(pack: Any) -> Callable[[dict[str, Any]], Any]:
    def loaded(item: dict[str, Any], task: str = "remove", index: int = 0) -> Any:
        inputs = {"image": "cup.png", "task": task, "region_index": index, "seed": 0, "annotation": json.dumps(item)}
        return pack.call("EditPairsLoadSample", **inputs)[0]

    return loaded


def test_weak_boxes_are_saved_apart(annotate: Any) -> None:
    item = annotate(object_boxes=[[PHANTOMS[0], CUP, *PHANTOMS[1:]]], background_boxes=[[SKY]])
    assert [one["score"] for one in item["segmentation"]["object"]] == [0.9]
    assert [one["class_name"] for one in item["segmentation"]["background"]] == ["sky"]
    assert [one["score"] for one in item["weak"]["object"]] == [0.02, 0.006, 0.05]
    assert item["weak"]["background"] == []
    assert (item["obj_count"], item["bg_count"]) == ({"cup": 1}, {"sky": 1})
    assert item["tags"] == {"object": [], "background": []}, "nobody tagged the photo"
    assert {"path", "cap", "resolution"} <= set(item)
    assert "weak" not in annotate(object_boxes=[[CUP]])


@pytest.mark.parametrize("whose", ["ours", "a file without `weak`"])
def test_a_sample_does_not_know_them(whose: str, annotate: Any, load: Any, pack: Any) -> None:
    item = annotate(object_boxes=[[CUP, *PHANTOMS]], background_boxes=[[SKY]])
    if whose != "ours":
        item["segmentation"]["object"] += item.pop("weak")["object"]
    sample = load(item)
    assert [one.class_name for one in sample.others] == ["sky"]
    scene = pack.part("edit_samples.written").scene_of(sample)
    assert scene.the(0, "cup", "en") == "the cup in the center of the image", "not the largest of four"
    background = load(item, "background", 1)  # behind the one object that is there
    everything = torch.ones((1, SIDE, SIDE))
    _, _, protected = pack.call("EditPairsProtectSubjects", sample=background, mask=everything, grow=0.0)
    assert protected.sum() == 30 * 30, "the cup's box alone"


def test_whoever_says_so_takes_all_for_things(annotate: Any, load: Any) -> None:
    item = annotate(object_boxes=[[CUP, *PHANTOMS]], exists=0.0)
    assert len(item["segmentation"]["object"]) == 4
    assert len(load(item).others) == 3, "the reader keeps to the file's own threshold"


MARKED = {"class_name": "lid", "bbox": [0, 0, 20, 20]}
FOUND = {"class_name": "cup", "bbox": [40, 40, 70, 70], "score": 0.8, "eligibility": {"remove": "an old reason"}}
EARLIER = {
    "path": "cup.png", "resolution": {"width": SIDE, "height": SIDE}, "cap": ["A cup."], "short_cap": "A cup.", "mine": [1],
    "segmentation": {"object": [MARKED, FOUND], "background": []}, "weak": {"object": [FOUND], "background": []},
    "tags": {"object": ["cup"], "background": []}, "reference": "ref.png", "routes": {"accepted": {"remove": "it suits"}},
}  # fmt: skip


def test_what_a_photo_brings_along_is_carried_on(load: Any, pack: Any, folders: Path) -> None:
    Image.new("RGB", (SIDE, SIDE), (40, 90, 60)).save(folders / "input" / "cup.png")

    def saved(**inputs: Any) -> dict[str, Any]:
        result = pack.call("EditPairsSaveAnnotation", sample=load(EARLIER, "annotate"), **inputs)
        annotation: dict[str, Any] = result.ui["editpairs"][0]["annotation"]
        return annotation

    def names(item: dict[str, Any]) -> list[str]:
        return [one["class_name"] for one in item["segmentation"]["object"]]

    untouched = saved()
    for name in ("cap", "short_cap", "mine", "weak", "tags", "reference", "routes"):
        assert untouched[name] == EARLIER[name], name
    assert names(untouched) == ["lid", "cup"]
    assert untouched["segmentation"]["object"][1]["eligibility"]["remove"] != "an old reason"
    jug = {**CUP, "label": "jug"}
    assert names(saved(background_boxes=[[SKY]])) == ["lid", "cup"], "nobody looked for things"
    again = saved(object_boxes=[[CUP, jug]])
    assert names(again) == ["lid", "cup", "jug"] and again["segmentation"]["object"][1]["score"] == 0.9
    assert "weak" not in again, "what was too weak before is looked at anew"
    beside = saved(object_boxes=[[CUP, jug]], earlier_regions="add")
    assert names(beside) == ["lid", "cup", "jug"] and beside["segmentation"]["object"][1]["score"] == 0.8
    assert saved(caption="Another.")["cap"] == ["Another."]


def test_boxes_on_a_wire_are_sifted_for_words(annotate: Any, load: Any, pack: Any) -> None:
    sample = load(annotate(object_boxes=[[CUP]]))
    scene = pack.part("edit_samples.written").scene_of(sample, [[CUP, *PHANTOMS]])
    assert scene.the(0, "cup", "en") == "the cup in the center of the image"


def test_weak_boxes_are_not_drawn(pack: Any) -> None:
    photo = torch.full((1, SIDE, SIDE, 3), 0.5)

    def drawn(found: list[dict[str, Any]], **more: float) -> np.ndarray:
        return pack.call("EditPairsDrawRegions", image=photo, boxes=[found], **more)[0].numpy()

    np.testing.assert_array_equal(drawn([CUP, *PHANTOMS]), drawn([CUP]))
    assert (drawn([CUP, *PHANTOMS], exists=0.0) != drawn([CUP])).any()
