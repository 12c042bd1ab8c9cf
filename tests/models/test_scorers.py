"""CLIP and aesthetic scores against the libraries' own, the nodes around them, and weights that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("comfy", reason="needs ComfyUI's source: set COMFYUI_PATH")

from comfy import model_management
from PIL import Image
from safetensors.torch import save_file

from comfy_nodes.core.instructions.routing import name_of, routable, routed_kinds
from comfy_nodes.core.instructions.scenes import Scene
from comfy_nodes.core.regions.annotation import Provenance, Region
from comfy_nodes.models import scorers
from comfy_nodes.models.checkpoints import CheckpointError
from comfy_nodes.models.managed import OutOfMemory, size_of
from comfy_nodes.nodes.filtering import FilterPhoto
from comfy_nodes.nodes.grounding import DetectObjects
from comfy_nodes.nodes.regions import LoadRegionScorer, ScoreRegions, SelectRegions
from comfy_nodes.nodes.saving_stages import SaveAnnotation
from comfy_nodes.wires.sockets import EditSample
from tests.models import tiny_scorers

NAMES = ["red cup", "a very long name " * 30, "dog"]


@pytest.fixture(scope="module")
def clip_folder(weights: Path) -> Path:
    return tiny_scorers.clip(weights / "clip-both")


@pytest.fixture(scope="module")
def head_file(weights: Path) -> Path:
    return tiny_scorers.head(weights / "sac+logos+ava1-l14-linearMSE.pth")


@pytest.fixture(scope="module")
def scorer(clip_folder: Path, head_file: Path) -> scorers.RegionScorer:
    return LoadRegionScorer.execute(clip_folder.name, head_file.name)[0]


def square(seed: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def smooth(seed: int, height: int, width: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def library(folder: Path, images: list[np.ndarray]) -> tuple[torch.Tensor, Any, Any]:
    """Unit image vectors through transformers' own processor, and the model and tokenizer."""
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    model = CLIPModel.from_pretrained(folder).eval()
    pixels = CLIPImageProcessor.from_pretrained(folder)(images=images, return_tensors="pt").pixel_values
    with torch.no_grad():
        found = model.get_image_features(pixel_values=pixels)
    return torch.nn.functional.normalize(found.pooler_output, dim=-1), model, AutoTokenizer.from_pretrained(folder)


def test_the_clip_score_is_clipscore_of_transformers(scorer: scorers.RegionScorer, clip_folder: Path) -> None:
    crops = [square(seed) for seed in range(3)]
    images, model, tokenizer = library(clip_folder, crops)
    texts = [f"A photo depicts {name.strip()}" for name in NAMES]
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=77, return_tensors="pt")
    with torch.no_grad():
        words = torch.nn.functional.normalize(model.get_text_features(**tokens).pooler_output, dim=-1)
    expected = (2.5 * (images * words).sum(dim=1).clamp(min=0)).tolist()
    assert scorer.clip_scores(crops, NAMES) == pytest.approx(expected, abs=1e-4)
    assert any(score > 0 for score in expected)


def test_the_aesthetic_score_is_the_heads_on_the_unit_vector(
    scorer: scorers.RegionScorer, clip_folder: Path, head_file: Path
) -> None:
    crops = [smooth(1, 32, 32), smooth(2, 64, 96), smooth(3, 200, 70)]
    images, _, _ = library(clip_folder, crops)
    layers = torch.load(head_file, weights_only=True)
    values = images
    for number in (0, 2, 4, 6, 7):
        values = values @ layers[f"layers.{number}.weight"].T + layers[f"layers.{number}.bias"]
    assert scorer.aesthetic_scores(crops) == pytest.approx(values[:, 0].tolist(), abs=2e-3)


def test_without_a_head_or_a_name_there_is_no_score(clip_folder: Path) -> None:
    plain = LoadRegionScorer.execute(clip_folder.name, "none")[0]
    assert plain.aesthetic_scores([square(1)]) == [None]
    scores = plain.clip_scores([square(1), square(1)], [" ", "cup"])
    assert scores[0] is None and isinstance(scores[1], float)
    assert plain.clip_scores([], []) == []


def test_a_long_crop_is_seen_whole() -> None:
    """The rocket: its ends are in the input, its surroundings are not."""
    crop = np.zeros((280, 74, 3), dtype=np.uint8)
    crop[:20], crop[-20:] = (255, 0, 0), (0, 0, 255)
    seen = scorers._padded(crop, 64)
    middle = seen[:, :, 32]
    assert middle[0, 1] > 0.9 and middle[2, -2] > 0.9
    assert torch.allclose(seen[:, 30, 2], torch.tensor(scorers.MEAN))


def test_each_name_is_embedded_once(scorer: scorers.RegionScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = scorer._clip.get_text_features
    monkeypatch.setattr(
        scorer._clip, "get_text_features", lambda **given: calls.append(len(given["input_ids"])) or real(**given)
    )
    scorer.clip_scores([square(1)] * 3, ["fox", "fox", "owl"])
    scorer.clip_scores([square(2)] * 2, ["owl", "fox"])
    assert calls == [2]


def test_weights_that_do_not_fit_end_in_one_line(clip_folder: Path, tmp_path: Path) -> None:
    cut, conv, wide, two = (tmp_path / name for name in ("cut.pth", "conv.safetensors", "wide.pth", "two.safetensors"))
    cut.write_bytes(tiny_scorers.head(tmp_path / "head.pth").read_bytes()[:900])
    save_file({"0.weight": torch.zeros(3, 24, 1, 1), "0.bias": torch.zeros(3)}, conv)
    tiny_scorers.head(wide, 768)
    save_file({"weight": torch.zeros(2, 24), "bias": torch.zeros(2)}, two)
    for file, words in (
        (cut, "cut.pth"), (conv, "is not a linear layer"), (two, "is no aesthetic head"),
        (wide, "layers.0.weight takes embeddings of 768, but gets 24: this head was made for another CLIP"),
    ):  # fmt: skip
        with pytest.raises(CheckpointError) as caught:
            scorers.load_paths(clip_folder, file)
        assert words in str(caught.value) and "\n" not in str(caught.value)


def test_laions_older_linear_head_loads_too(clip_folder: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.full((1, 24), 0.5), "bias": torch.tensor([3.0])}, tmp_path / "linear.pth")
    rated = scorers.load_paths(clip_folder, tmp_path / "linear.pth").aesthetic_scores([square(1)])
    assert rated[0] == pytest.approx(3, abs=2.5)


def test_only_clips_with_both_encoders_are_offered(clip_folder: Path, weights: Path) -> None:
    (weights / "other").mkdir(exist_ok=True)
    (weights / "other" / "config.json").write_text('{"model_type": "owlv2"}')
    save_file({"a": torch.zeros(1)}, weights / "other" / "model.safetensors")
    assert clip_folder.name in scorers.clip_choices()
    assert "other" not in scorers.clip_choices()
    with pytest.raises(CheckpointError, match="says owlv2, not clip"):
        scorers.load("other", None)


def test_out_of_memory_in_the_encoder_is_said(scorer: scorers.RegionScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(scorer._clip, "get_image_features", fails)
    with pytest.raises(OutOfMemory, match="RegionScorer: out of memory"):
        scorer.aesthetic_scores([square(1)])
    assert model_management.current_loaded_models == []


def test_free_returns_the_memory(scorer: scorers.RegionScorer) -> None:
    scorer.aesthetic_scores([square(1)])
    counted = [model.model_loaded_memory() for model in model_management.current_loaded_models]
    assert counted == [size_of(scorer._managed._module)]
    model_management.unload_all_models()
    assert model_management.current_loaded_models == []


def box(x: float, y: float, width: float, height: float, label: str = "", **more: Any) -> dict[str, Any]:
    return {"x": x, "y": y, "width": width, "height": height, "label": label, **more}


def test_score_regions_writes_two_names_beside_the_others(scorer: scorers.RegionScorer) -> None:
    image = torch.from_numpy(np.stack([smooth(1, 60, 80), smooth(2, 60, 80)])).float() / 255
    boxes = [
        [box(0, 0, 30, 30, "cup", score=0.4, metadata={"sam_iou": 0.9}), box(900, 0, 9, 9, "far"), box(5, 5, 9, 9)],
        [],
    ]
    scored, aesthetics = ScoreRegions.execute(image, scorer, boxes).args
    first, far, unnamed = scored[0]
    assert set(first["metadata"]) == {"sam_iou", "clip_score", "aes_score"} and first["score"] == 0.4
    assert far["metadata"] == {} and set(unnamed["metadata"]) == {"aes_score"}
    assert scored[1] == [] and len(aesthetics) == 2
    whole = scorer.aesthetic_scores([smooth(1, 60, 80)])
    assert aesthetics[0] == pytest.approx(whole[0], abs=1e-4)


def test_the_crop_is_tight_around_the_mask(scorer: scorers.RegionScorer) -> None:
    pixels = smooth(4, 60, 80)
    mask = torch.zeros((1, 60, 80))
    mask[0, 10:30, 20:60] = 1
    image = torch.from_numpy(pixels).float()[None] / 255
    scored, _ = ScoreRegions.execute(image, scorer, [[box(0, 0, 80, 60, "cup")]], mask).args
    expected = scorer.clip_scores([pixels[10:30, 20:60]], ["cup"])
    assert scored[0][0]["metadata"]["clip_score"] == pytest.approx(expected[0], abs=1e-5)


def select(image: torch.Tensor, boxes: Any, **more: Any) -> Any:
    given = {"kind": "object", "choose": "all", "seed": 0, **more}
    return SelectRegions.execute(image, boxes, **given).args


def test_select_regions_keeps_masks_with_their_boxes_over_a_batch() -> None:
    image = torch.zeros((3, 50, 50, 3))
    good = {"metadata": {"clip_score": 0.9}}
    boxes = [[box(0, 0, 20, 20, "cup", **good), box(0, 0, 2, 2, "pin", **good)], [], [box(9, 9, 25, 25, "dog", **good)]]
    masks = torch.zeros((3, 50, 50))
    masks[0, :20, :20], masks[1, :2, :2], masks[2, 9:30, 9:30] = 1, 1, 1
    kept, kept_masks, report = select(image, boxes, masks=masks)
    assert [[one["label"] for one in photo] for photo in kept] == [["cup"], [], ["dog"]]
    assert torch.equal(kept_masks, masks[[0, 2]])
    assert report.splitlines() == [
        "photo 1, cup 1: kept",
        "photo 1, pin 2: covers 0.16 % of the photo; it has to cover more than 1 %",
        "photo 2, no regions",
        "photo 3, dog 1: kept",
    ]
    with pytest.raises(ValueError, match="3 boxes, but 2 masks"):
        select(image, boxes, masks=masks[:2])


def test_every_number_is_a_widget() -> None:
    image, one = torch.zeros((1, 100, 100, 3)), [[box(0, 0, 50, 100, "wall", metadata={"clip_score": 0.57})]]
    assert select(image, one)[0] == [[]]
    assert len(select(image, one, object_min_clip=0.57)[0][0]) == 1
    assert len(select(image, one, kind="background")[0][0]) == 1
    assert select(image, one, kind="background", background_above_share=50.0)[0] == [[]]
    nothing = select(image, [[]])
    assert nothing[0] == [[]] and nothing[1].shape == (1, 100, 100) and not nothing[1].any()


def test_filter_photo_judges_a_list_of_different_sizes() -> None:
    def photo(seed: int, height: int, width: int) -> torch.Tensor:
        return torch.from_numpy(smooth(seed, height, width)).float()[None] / 255

    first = photo(1, 130, 140)
    given = [first, photo(2, 90, 140), torch.cat([photo(3, 130, 140), first]), photo(4, 120, 900)]
    settings = {"above_aesthetic": [4.75], "above_short_side": [100], "max_crop": [20.0], "max_distance": [4]}
    images, passed, reasons, samples = FilterPhoto.execute(given, aesthetic=[5.0, 5.0, None, 5.0, 5.0], **settings).args
    assert [tuple(one.shape[1:3]) for one in images] == [(130, 140), (90, 140), (130, 140), (130, 140), (120, 900)]
    assert passed == [True, False, True, False, False]
    assert [reason.split(":")[0] for reason in reasons] == ["", "small", "", "duplicate", "crop"]
    assert "photo 1" in reasons[3] and samples == []
    assert FilterPhoto.execute([first], aesthetic=[4.75], **settings).args[1] == [False]
    with pytest.raises(ValueError, match="5 photos, but 2 aesthetic scores"):
        FilterPhoto.execute(given, aesthetic=[5.0, 5.0], **settings)


def test_a_photo_that_does_not_pass_ends_its_sample() -> None:
    photo = torch.zeros((1, 90, 140, 3))
    origin = Provenance(key="0" * 32, source_id="a", source_path="a", source_sha256="")
    sample = EditSample(photo, "annotate", None, "", 0, origin)
    settings = {"above_aesthetic": [0.0], "max_crop": [100.0], "max_distance": [-1]}
    *_, [same] = FilterPhoto.execute([photo], above_short_side=[80], sample=[sample], **settings).args
    assert same is sample
    *_, [ended] = FilterPhoto.execute([photo], above_short_side=[1280], sample=[sample], **settings).args
    assert ended.failure.skipped and ended.failure.error_type == "PhotoTooSmall"
    assert ended.failure.message == "the photo has a shorter side of 90 px; more than 1280 px is needed"
    assert SaveAnnotation.check_lazy_status(ended, object_boxes=None) == [], "nothing is looked for in it"
    assert SaveAnnotation.check_lazy_status(sample, object_boxes=None) == ["object_boxes"]
    with pytest.raises(ValueError, match="1 photos, but 2 samples"):
        FilterPhoto.execute([photo], above_short_side=[0], sample=[sample, sample], **settings)


def test_a_sample_without_a_region_is_routed_by_its_boxes() -> None:
    sky = Region(class_name="sky", kind="background", bbox=(0, 0, 100, 50))
    cup, dog = (Region(class_name=name, bbox=(x, 60, x + 20, 80)) for name, x in (("cup", 5), ("dog", 70)))
    tasks = ["remove", "background", "hybrid", "style"]
    kinds = routed_kinds(tasks)
    assert routable(kinds, Scene(100, 100, (), [sky, cup, dog])) == (kinds, {})
    fitting, unfit = routable(kinds, Scene(100, 100, (), [cup]))
    assert [name_of(one) for one in fitting] == ["remove", "style"] and set(unfit) == {"background", "hybrid"}
    assert routable(routed_kinds(["remove"]), Scene(100, 100))[1] == {"remove": "the sample has no region"}


def test_a_vocabulary_that_is_wired_may_be_empty() -> None:
    boxes, count = DetectObjects.execute(None, torch.zeros((2, 9, 9, 3)), "", 0.1, 0.5).args
    assert (boxes, count) == ([[], []], 0)
    assert DetectObjects.validate_inputs(None) is True and DetectObjects.validate_inputs("cup") is True
    assert "vocabulary is empty" in DetectObjects.validate_inputs(" ")
