"""The nodes, in this process: what goes in and out, whatever the pattern of empty and full images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")

import folder_paths

from comfy_nodes.core.regions.annotation import Provenance
from comfy_nodes.models import folders
from comfy_nodes.models.detections import BoxRules, Candidates, Grounder, select
from comfy_nodes.nodes.converting import BBoxToBoxes, BoxesToBBox, BoxesToSegs, SegsToBoxes
from comfy_nodes.nodes.drawing import DrawRegions
from comfy_nodes.nodes.grounding import DetectObjects, LoadGrounder, LoadYoloWorld
from comfy_nodes.wires.sockets import EditSample
from tests.models import tiny

WIDTH, HEIGHT = 100, 80


class Stub(Grounder):
    """Finds what a photo's top left pixel says: that many boxes, one below the other."""

    @property
    def patcher(self) -> Any:
        raise NotImplementedError

    def candidates(self, images: Sequence[np.ndarray], vocabulary: Sequence[str], score: float) -> Iterator[Candidates]:
        for image in images:
            many = int(image[0, 0, 0])
            top = torch.arange(many).float() * 12
            boxes = torch.stack((torch.full((many,), 5.0), top, torch.full((many,), 40.0), top + 10), 1)
            yield Candidates(boxes, torch.linspace(0.9, 0.2, many), torch.arange(many) % len(vocabulary))


def photos(counts: Sequence[int]) -> torch.Tensor:
    batch = torch.zeros(len(counts), HEIGHT, WIDTH, 3)
    for image, many in zip(batch, counts, strict=True):
        image[0, 0, 0] = many / 255
    return batch


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8))
def test_b_images_give_b_lists_in_order(counts: list[int]) -> None:
    boxes, count = DetectObjects.execute(Stub(), photos(counts), "cat, dog", 0.1, 0.5).result
    assert [len(found) for found in boxes] == counts
    assert count == sum(counts)
    for found in boxes:
        assert [box["label"] for box in found] == [("cat", "dog")[number % 2] for number in range(len(found))]
        assert [box["score"] for box in found] == sorted((box["score"] for box in found), reverse=True)


def sample(**line: Any) -> EditSample:
    origin = Provenance(key="0" * 32, source_id="a", source_path="a", source_sha256="")
    return EditSample(photos([2]), "annotate", None, "", 0, origin, further=line)


def test_a_photos_own_tags_take_the_vocabularys_place() -> None:
    tagged = sample(tags={"object": ["pot, black", "lid"], "background": ["wall"]})

    def found(vocabulary: str = "cat, dog", **more: Any) -> list[str]:
        boxes, _ = DetectObjects.execute(Stub(), photos([2]), vocabulary, 0.1, 0.5, **more).result
        return [box["label"] for box in boxes[0]]

    assert found(sample=tagged) == ["pot, black", "lid"]
    assert found(sample=tagged, tags="background") == ["wall", "wall"]
    assert found(sample=sample()) == found(sample=sample(tags={"object": []})) == ["cat", "dog"]
    things = sample(tags={"object": ["lid"], "background": []})
    assert found(sample=things, tags="background") == [], "a photo that was tagged has no other backgrounds"
    assert found("", sample=sample()) == []


@settings(max_examples=8, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=4))
def test_b_images_give_b_lists_with_the_real_model(whole: RealModel, hits: list[bool]) -> None:
    """The threshold lies between what the model gives for two photos, so every pattern can be asked for."""
    batch = torch.stack([whole.hit if one else whole.miss for one in hits])
    boxes, count = DetectObjects.execute(whole.grounder, batch, "cat, dog", whole.between, 0.5).result
    assert [bool(found) for found in boxes] == hits
    assert count == sum(map(len, boxes))


@dataclass(frozen=True)
class RealModel:
    grounder: Grounder
    hit: torch.Tensor
    miss: torch.Tensor
    between: float


@pytest.fixture(scope="module")
def whole(yolo_file: Path, clip_folder: Path) -> RealModel:
    """Of some photos of noise, light and dark, the two that the model is surest and least sure about."""
    assert yolo_file.name in folders.files("yolo_world") and clip_folder.name in folders.hub_folders("text_encoders")
    (grounder,) = LoadYoloWorld.execute(yolo_file.name, clip_folder.name, 96).result
    noise = np.random.default_rng(1).random((6, HEIGHT, WIDTH, 3), dtype=np.float32)
    batch = torch.from_numpy(noise * np.linspace(0, 1, 6, dtype=np.float32).reshape(-1, 1, 1, 1))
    boxes, _ = DetectObjects.execute(grounder, batch, "cat, dog", 0.0, 0.5).result
    best = [found[0]["score"] for found in boxes]
    low, high = int(np.argmin(best)), int(np.argmax(best))
    assert best[high] - best[low] > 1e-3
    return RealModel(grounder, batch[high], batch[low], (best[low] + best[high]) / 2)


def test_loads_hub_folders(weights: Path) -> None:
    tiny.owlv2(weights / "some" / "owl")
    assert "some/owl" in folders.hub_folders("grounding")
    (grounder,) = LoadGrounder.execute("some/owl").result
    boxes, count = DetectObjects.execute(grounder, photos([0, 0]), "cat", 0.0, 1.0).result
    assert len(boxes) == 2 and count == sum(map(len, boxes))


def test_lookups_know_every_registered_folder(tmp_path: Path, weights: Path) -> None:
    """Also those of extra_model_paths.yaml, which a models directory joined by hand would miss."""
    (tmp_path / "elsewhere.safetensors").write_bytes(b"")
    (tmp_path / "README.md").write_bytes(b"")
    (tmp_path / "config.json").write_bytes(b"{}")
    folder_paths.add_model_folder_path("yolo_world", str(tmp_path))
    assert "elsewhere.safetensors" in folders.files("yolo_world", "ultralytics")
    assert not {"README.md", "config.json"} & set(folders.files("yolo_world"))
    assert folders.file_path("elsewhere.safetensors", "ultralytics", "yolo_world") == tmp_path / "elsewhere.safetensors"
    with pytest.raises(FileNotFoundError, match=r"^there is no lost\.pt \(looked for lost\.pt in [^\n]+\)$"):
        folders.file_path("lost.pt", "yolo_world")
    with pytest.raises(FileNotFoundError, match=r"^there is no lost "):
        folders.hub_path("lost", "grounding")
    with pytest.raises(FileNotFoundError):
        folders.hub_path("../../etc", "grounding")


def test_selection() -> None:
    boxes = torch.tensor(
        [[0, 0, 50, 40], [1, 1, 51, 41], [60, 0, 100, 80], [-20, 70, 10, 90], [10, 10, 10, 20]]
    ).float()
    found = Candidates(boxes, torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5]), torch.tensor([0, 1, 1, 0, 0]))

    def labels(**rules: Any) -> list[tuple[str, float]]:
        return [(one.label, round(one.score, 2)) for one in select(found, ["a", "b"], WIDTH, HEIGHT, BoxRules(**rules))]

    assert labels() == [("a", 0.9), ("b", 0.8), ("b", 0.7), ("a", 0.6)]
    assert labels(per_class=False) == [("a", 0.9), ("b", 0.7), ("a", 0.6)]
    assert labels(per_class=False, overlap=1.0) == labels()
    assert labels(score=0.7) == [("a", 0.9), ("b", 0.8)]
    assert labels(limit=1) == [("a", 0.9)]
    assert labels(order="size") == [("b", 0.7), ("a", 0.9), ("b", 0.8), ("a", 0.6)]
    assert labels(order="left to right", limit=3) == [("a", 0.9), ("b", 0.8), ("b", 0.7)]
    assert labels(min_area=0.3) == [("b", 0.7)] and labels(max_area=0.02) == [("a", 0.6)]
    assert select(found, ["a", "b"], WIDTH, HEIGHT, BoxRules())[-1].box == (0.0, 70.0, 10.0, 80.0)
    none = Candidates(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    assert select(none, ["a"], WIDTH, HEIGHT, BoxRules()) == []


def test_names_far_down_a_long_vocabulary_suppress_each_other_all_the_same() -> None:
    """Boxes of one pixel's difference at the 1,000th name: float32 offsets, ultralytics' way, lose such differences."""
    boxes = torch.tensor([[100.0, 100.0, 102.0, 102.0], [101.0, 100.0, 103.0, 102.0], [104.0, 100.0, 106.0, 102.0]])
    found = Candidates(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([999, 999, 999]))
    names = [str(number) for number in range(1000)]
    assert [len(select(found, names, 200, 200, BoxRules(overlap=limit))) for limit in (0.32, 0.34)] == [2, 3]


def test_wrong_widgets_are_one_line() -> None:
    with pytest.raises(ValueError, match=r"^the vocabulary is empty"):
        DetectObjects.execute(Stub(), photos([1]), " ,\n", 0.1, 0.5)
    with pytest.raises(ValueError, match=r"^min_area \(0.5\) is above max_area \(0.1\)"):
        DetectObjects.execute(Stub(), photos([1]), "cat", 0.1, 0.5, min_area=0.5, max_area=0.1)


def test_conversions_between_nodes() -> None:
    boxes, _ = DetectObjects.execute(Stub(), photos([2, 0]), "cat, dog", 0.1, 0.5).result
    (corners,) = BoxesToBBox.execute(boxes, "xyxy", "a list per image").result
    assert corners == [[[5.0, 0.0, 40.0, 10.0], [5.0, 12.0, 40.0, 22.0]], []]
    (back,) = BBoxToBoxes.execute(corners, "xyxy", "thing").result
    assert [len(found) for found in back] == [2, 0] and back[0][0]["label"] == "thing" and "score" not in back[0][0]
    (flat,) = BoxesToBBox.execute(boxes[:1], "xywh", "one flat list").result
    assert flat == [[5.0, 0.0, 35.0, 10.0], [5.0, 12.0, 35.0, 10.0]]
    with pytest.raises(ValueError, match=r"^one flat list can't tell 2 images apart"):
        BoxesToBBox.execute(boxes, "xywh", "one flat list")
    (segs,) = BoxesToSegs.execute(boxes, photos([2, 0])).result
    assert [len(regions) for _, regions in segs] == [2, 0]
    found, masks = SegsToBoxes.execute(segs[0]).result
    assert found[0] == boxes[0] and masks.shape == (2, HEIGHT, WIDTH) and masks[0].sum() == 350
    found, masks = SegsToBoxes.execute(segs[1]).result
    assert found == [[]] and masks.shape == (1, HEIGHT, WIDTH) and not masks.any()


def test_masks_go_to_the_boxes_they_belong_to() -> None:
    boxes, _ = DetectObjects.execute(Stub(), photos([1, 0, 2]), "cat", 0.1, 0.5).result
    masks = torch.zeros(3, HEIGHT, WIDTH)
    for number, mask in enumerate(masks):
        mask[number] = 1
    (segs,) = BoxesToSegs.execute(boxes, photos([1, 0, 2]), masks, 100.0).result
    rows = [[int(np.flatnonzero(seg.cropped_mask.any(1))[0]) for seg in regions] for _, regions in segs]
    assert rows == [[0], [], [1, 2]]
    with pytest.raises(ValueError, match=r"^2 masks for 3 boxes in 3 images"):
        BoxesToSegs.execute(boxes, photos([1, 0, 2]), masks[:2])
    with pytest.raises(ValueError, match=r"^the mask is 4 x 3, the image 100 x 80"):
        BoxesToSegs.execute(boxes, photos([1, 0, 2]), torch.ones(3, 3, 4))


@pytest.mark.parametrize("masks", [None, torch.ones(3, HEIGHT, WIDTH), torch.ones(2, HEIGHT, WIDTH)])
def test_draws_a_batch_and_shows_it(masks: torch.Tensor | None) -> None:
    batch = photos([3, 0])
    boxes, _ = DetectObjects.execute(Stub(), batch, "cat", 0.1, 0.5).result
    output = DrawRegions.execute(batch, boxes, masks)
    (drawn,) = output.result
    assert drawn.shape == batch.shape
    assert not torch.equal(drawn[0], batch[0])
    assert torch.equal(drawn[1], batch[1]) is (masks is None or len(masks) == 3)
    assert len(output.ui.as_dict()["images"]) == 2


def test_draws_where_nothing_was_found() -> None:
    batch = photos([0])
    (drawn,) = DrawRegions.execute(batch, [[]], torch.zeros(1, HEIGHT, WIDTH)).result
    assert torch.equal(drawn, batch)
