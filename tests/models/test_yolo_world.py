"""YOLO-World: ours against ultralytics' own predictor on the same weights, and what files it refuses."""

from __future__ import annotations

import copy
import json
import socket
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")

from comfy import model_management

from comfy_nodes.imaging.opencv import MissingLibrary
from comfy_nodes.models import yolo_architecture, yolo_world
from comfy_nodes.models.checkpoints import Checkpoint, CheckpointError, PickledRecord, read
from comfy_nodes.models.clip_text import ClipText
from comfy_nodes.models.detections import BoxRules
from comfy_nodes.models.yolo_world import YoloWorld, letterbox
from comfy_nodes.wires.box_formats import Detection
from tests.models import tiny

NAMES = ["cat", "a red bus", "dining table", "sky"]
SIZES = [(120, 200), (200, 120), (97, 101), (640, 480), (33, 1000), (1000, 31), (1, 1), (64, 64)]


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def text(clip_folder: Path) -> ClipText:
    return ClipText(clip_folder)


@pytest.fixture(scope="module")
def detector(yolo_file: Path, text: ClipText) -> YoloWorld:
    return YoloWorld(read(yolo_file), text, 320)


@pytest.fixture(scope="module")
def library(yolo_file: Path, text: ClipText) -> Any:
    """ultralytics' own YOLOWorld, with the embeddings set where its text encoder would set them."""
    from ultralytics import YOLOWorld

    model = YOLOWorld(str(yolo_file))
    model.model.txt_feats = text.embed(NAMES).unsqueeze(0).clone()
    model.model.model[-1].nc = len(NAMES)
    model.model.names = dict(enumerate(NAMES))
    return model


def as_detections(result: Any) -> list[Detection]:
    boxes = result.boxes
    rows = zip(boxes.xyxy.tolist(), boxes.cls.tolist(), boxes.conf.tolist(), strict=True)
    return [Detection(tuple(box), NAMES[int(label)], score) for box, label, score in rows]


def assert_same(ours: list[Detection], theirs: list[Detection]) -> None:
    """Equal but for the last bits of a float, and for the order of equal scores."""
    theirs = [one for one in theirs if one.box[0] < one.box[2] and one.box[1] < one.box[3]]  # we drop flat boxes
    assert len(ours) == len(theirs)
    assert np.allclose([one.score for one in ours], [one.score for one in theirs], atol=1e-5)

    def key(one: Detection) -> tuple[Any, ...]:
        return round(one.score, 3), one.label, *(round(value, 1) for value in one.box)

    for mine, other in zip(sorted(ours, key=key), sorted(theirs, key=key), strict=True):
        assert mine.label == other.label
        assert np.allclose(mine.box, other.box, atol=0.01)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("overlap", "per_class"), [(0.5, True), (0.7, False)])
def test_equals_ultralytics_own_predictor(
    detector: YoloWorld, library: Any, size: tuple[int, int], overlap: float, per_class: bool
) -> None:
    """The library takes BGR as OpenCV does; ours takes RGB, so equality means that the channels are in order."""
    image = photo(*size)
    theirs = library.predict(
        image[..., ::-1], imgsz=320, conf=0.01, iou=overlap, agnostic_nms=not per_class, max_det=1000, verbose=False
    )
    ours = detector.detect([image], NAMES, BoxRules(0.01, overlap, per_class, 1000))
    assert_same(ours[0], as_detections(theirs[0]))
    swapped = detector.detect([image[..., ::-1]], NAMES, BoxRules(0.01, overlap, per_class, 1000))
    assert min(size) == 1 or swapped != ours


def test_a_batch_equals_its_photos_one_by_one(detector: YoloWorld) -> None:
    photos = [photo(*size) for size in SIZES]
    together = detector.detect(photos, NAMES, BoxRules(0.01))
    assert together == [detector.detect([one], NAMES, BoxRules(0.01))[0] for one in photos]
    assert all(0 <= x1 < x2 <= one.shape[1] and 0 <= y1 < y2 <= one.shape[0]
               for one, found in zip(photos, together, strict=True) for x1, y1, x2, y2 in (box.box for box in found))  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_letterbox_equals_ultralytics(size: tuple[int, int]) -> None:
    from ultralytics.data.augment import LetterBox

    image = photo(*size)
    framed, _, _ = letterbox(image, 320)
    assert np.array_equal(framed, LetterBox((320, 320), auto=True, stride=32)(image=image))
    assert not np.array(framed.shape[:2]).__mod__(32).any()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("recipe", [True, False])
def test_safetensors_equal_the_pickle(tmp_path: Path, text: ClipText, version: int, recipe: bool) -> None:
    """Without a recipe the size has to be a published one; n is the smallest (3.7 and 4.2 million parameters)."""
    scales = None if recipe else {"n": [0.33, 0.25, 1024]}
    pickled = tiny.yolo_world(tmp_path / "w.pt", scales, version)
    plain = tiny.as_safetensors(pickled, tmp_path / "w.safetensors", recipe)
    image, selection = photo(60, 90), BoxRules(0.01)
    found = [YoloWorld(read(file), text, 128).detect([image], NAMES, selection)[0] for file in (pickled, plain)]
    assert found[0] == found[1] and found[0]


def test_every_published_size_is_recognised_by_its_shapes() -> None:
    """ultralytics' own recipes at each scale, built without memory for the weights."""
    pytest.importorskip("ultralytics")
    library = Path(sys.modules["ultralytics"].__file__).parent
    for second, file in yolo_architecture.KNOWN.items():
        for width, scale in yolo_architecture.SCALE_OF_WIDTH.items():
            shapes = {
                yolo_architecture.FIRST_LAYER: torch.empty(width, 3, 3, 3),
                "model.12.attn.gl.weight": torch.empty(1),
                "model.22.cv3.0.0.conv.weight": torch.empty(80, 1),
                f"model.22.cv4.0.{'norm.weight' if second else 'bias'}": torch.empty(1),
            }
            recipe = yolo_architecture.recipe_of(Checkpoint("w", shapes), library)
            assert recipe["scale"] == scale and recipe["nc"] == 80
            assert 64 * recipe["scales"][scale][1] == width, file
            assert ("ImagePoolingAttn" in str(recipe)) is not second


def test_a_thousand_names_and_names_with_commas(detector: YoloWorld) -> None:
    names = ["pot, black", *(f"thing number {number}" for number in range(999))]
    found = detector.detect([photo(64, 64)], names, BoxRules(0.0, limit=1000))[0]
    assert len(found) > 10 and len({one.label for one in found}) > 5
    assert {one.label for one in found} <= set(names)
    with pytest.raises(ValueError, match="vocabulary is empty"):
        detector.detect([photo(64, 64)], [])


def test_vocabularies_take_turns_without_traces(detector: YoloWorld) -> None:
    image = photo(64, 64)
    first = detector.detect([image], NAMES, BoxRules(0.01))
    one = detector.detect([image], ["cat"], BoxRules(0.01))
    assert {found.label for found in one[0]} == {"cat"}
    assert detector.detect([image], NAMES, BoxRules(0.01)) == first


def test_models_are_counted_freed_and_come_back(detector: YoloWorld) -> None:
    image = photo(64, 64)
    before = detector.detect([image], NAMES, BoxRules(0.01))
    held = sum(model.loaded_size() for model in model_management.loaded_models())
    assert detector.patcher in model_management.loaded_models()
    assert held >= detector.patcher.model_size() > 2_000_000
    model_management.unload_all_models()
    assert model_management.loaded_models() == [] and detector.patcher.loaded_size() == 0
    assert detector.detect([image], NAMES, BoxRules(0.01)) == before


def test_a_cancel_ends_it_within_one_photo(detector: YoloWorld) -> None:
    detector.detect([photo(64, 64)], NAMES)  # so that the names are embedded
    looked = []

    def look(image: np.ndarray, side: int) -> Any:
        looked.append(image)
        model_management.interrupt_current_processing()
        return letterbox(image, side)

    with patch.object(yolo_world, "letterbox", look), pytest.raises(model_management.InterruptProcessingException):
        detector.detect([photo(64, 64)] * 5, NAMES)
    assert len(looked) == 1


def test_building_leaves_the_users_seed_alone(yolo_file: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    yolo_world.build(read(yolo_file))
    assert torch.equal(torch.rand(3), expected)


def test_nothing_goes_to_the_network(
    yolo_file: Path, clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fresh import, a load and a detection with every way to the network closed and watched."""
    asked: list[Any] = []

    def closed(*address: Any, **_: Any) -> None:
        asked.append(address)
        raise OSError("closed")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, closed)
    monkeypatch.setattr(socket, "getaddrinfo", closed)
    monkeypatch.delenv("YOLO_OFFLINE", raising=False)
    monkeypatch.delenv("YOLO_AUTOINSTALL", raising=False)
    gone = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "ultralytics"}
    try:
        found = YoloWorld(read(yolo_file), ClipText(clip_folder), 64).detect([photo(64, 64)], NAMES, BoxRules(0.01))
        settings = sys.modules["ultralytics.utils"]
        assert settings.ONLINE is False and settings.AUTOINSTALL is False
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "ultralytics"]:
            del sys.modules[name]
        sys.modules.update(gone)
    assert found[0] and asked == []
    assert "YOLO_OFFLINE" not in __import__("os").environ


def test_missing_package_is_one_line(yolo_file: Path) -> None:
    gone = {name: None for name in list(sys.modules) if name.partition(".")[0] == "ultralytics"}
    checkpoint = read(yolo_file)
    install = r"^YOLO-World needs the package ultralytics \(AGPL-3.0\)[^\n]+python install.py"
    with patch.dict(sys.modules, {**gone, "ultralytics": None}), pytest.raises(MissingLibrary, match=install):
        yolo_world.build(checkpoint)
    polars = ModuleNotFoundError("No module named 'polars'", name="polars")
    broken = r"^ultralytics does not load \(No module named 'polars'\)[^\n]+$"
    with (
        patch.object(yolo_world.importlib, "import_module", side_effect=polars),
        pytest.raises(MissingLibrary, match=broken),
    ):
        yolo_world.build(checkpoint)


def with_recipe(checkpoint: Checkpoint, **changes: Any) -> Checkpoint:
    module = PickledRecord()
    module.yaml = {**copy.deepcopy(checkpoint.module.yaml), **changes}  # type: ignore[attr-defined, union-attr]
    return Checkpoint(checkpoint.name, checkpoint.tensors, module=module)


def test_a_recipe_runs_nothing(yolo_file: Path, tmp_path: Path) -> None:
    """ultralytics would evaluate `activation`, and look layer names up among its own functions."""
    good = read(yolo_file)
    mark = tmp_path / "it-ran"
    yolo_world.build(with_recipe(good, activation=f"open({str(mark)!r}, 'w')"))
    assert not mark.exists()
    head = good.module.yaml["head"]
    for layer in (
        [-1, 1, "torch_safe_load", [str(tmp_path / "evil.pt")]],
        [-1, 1, "nn.Module", []],
        [-1, 1, "Conv", [f"open({str(mark)!r}, 'w')"]],
        [-1, 10**9, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [10**9, 3, 2]],
        [-1, 1, ["Conv"], []],
        "Conv",
    ):
        with pytest.raises(CheckpointError, match=r"^tiny-worldv2.pt: [^\n]+$"):
            yolo_world.build(with_recipe(good, head=[layer, *head]))
    assert not mark.exists()
    for changes in (
        {"backbone": None},
        {"nc": "x"},
        {"scales": {"n": ["a"]}},
        {"scale": "q"},
        {"head": [[-1, 1, "Conv", [8]]]},
    ):
        with pytest.raises(CheckpointError, match=r"^tiny-worldv2.pt: [^\n]+$"):
            yolo_world.build(with_recipe(good, **changes))


def test_refuses_other_architectures(yolo_file: Path, clip_folder: Path, tmp_path: Path, text: ClipText) -> None:
    from ultralytics import YOLO

    YOLO("yolov8n.yaml").save(tmp_path / "yolov8n.pt")
    with pytest.raises(CheckpointError, match=r"^yolov8n.pt: is not a YOLO-World: its recipe [^\n]*Detect"):
        yolo_world.build(read(tmp_path / "yolov8n.pt"))
    with pytest.raises(CheckpointError, match=r"^model.safetensors: is not an ultralytics YOLO-World"):
        yolo_world.build(read(clip_folder / "model.safetensors"))
    save_file(read(yolo_file).tensors, tmp_path / "tiny.safetensors")
    with pytest.raises(CheckpointError, match=r"^tiny.safetensors: is of no known size"):
        yolo_world.build(read(tmp_path / "tiny.safetensors"))
    half = {name: tensor for number, (name, tensor) in enumerate(read(yolo_file).tensors.items()) if number % 2}
    save_file(half, tmp_path / "half.safetensors", {"yaml": json.dumps(read(yolo_file).module.yaml)})
    with pytest.raises(
        CheckpointError, match=r"^half.safetensors: is not a WorldModel: \d+ of \d+ weights are missing"
    ):
        yolo_world.build(read(tmp_path / "half.safetensors"))
    with pytest.raises(CheckpointError, match=r"^clip-768: gives 768 numbers a name, tiny-worldv2.pt takes 512"):
        YoloWorld(read(yolo_file), ClipText(tiny.clip_text(tmp_path / "clip-768", 768)))
