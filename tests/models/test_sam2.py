"""SAM 2 from both formats: equal results, honest errors, and memory that comes back."""

from __future__ import annotations

import gc
import json
import shutil
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("comfy", reason="needs ComfyUI's source: set COMFYUI_PATH")

from comfy import model_management
from safetensors.torch import save_file

from comfy_nodes.imaging.opencv import MissingLibrary
from comfy_nodes.models import sam2_models
from comfy_nodes.models.checkpoints import CheckpointError
from comfy_nodes.models.managed import OutOfMemory, size_of
from comfy_nodes.models.queries import MaskPrompt
from tests.models import tiny_sam2

PROMPTS = [
    MaskPrompt((10, 10, 60, 50)),
    MaskPrompt((5, 20, 30, 70)),
    MaskPrompt((40, 30, 110, 75), ((60.0, 50.0, True), (45.0, 70.0, False))),
    MaskPrompt(points=((80.0, 20.0, True),)),
]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """uint8 [80, 120, 3]: blocks of colour."""
    return np.random.default_rng(3).integers(0, 256, (8, 12, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)


@pytest.fixture(scope="module")
def hub_folder(weights: Path) -> Path:
    return tiny_sam2.hub(weights / "sam2-tiny-hub")


@pytest.fixture
def segmenter(hub_folder: Path) -> sam2_models.Segmenter:
    return sam2_models.load(hub_folder.name)


@pytest.fixture(scope="module")
def original(weights: Path) -> Iterator[tuple[Path, dict[str, torch.Tensor]]]:
    pytest.importorskip("sam2", reason="needs the sam2 package: python install.py")
    file = weights / "sam2.1_hiera_tiny.pt"
    yield file, tiny_sam2.original(file)
    file.unlink()


def test_both_libraries_give_the_same_on_the_same_weights(
    original: Any, photo: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 256 pixels instead of 1024, which is all that the weights don't decide and sixteen times quicker on a CPU."""
    from omegaconf import OmegaConf

    file, tensors = original
    real = OmegaConf.load
    monkeypatch.setattr(OmegaConf, "load", lambda path: OmegaConf.merge(real(path), {"model": {"image_size": 256}}))
    twins = sam2_models.load(file.name), sam2_models.load_hub(tiny_sam2.twin(tensors, tmp_path / "twin", 256))
    assert [model._network.side for model in twins] == [256, 256]
    for multimask in (False, True):
        ours, theirs = (model.segment(photo, PROMPTS, multimask) for model in twins)
        np.testing.assert_allclose(ours.sam_iou, theirs.sam_iou, atol=1e-4)
        assert ours.masks.shape == theirs.masks.shape == (4, 80, 120)
        assert (ours.masks != theirs.masks).mean() < 1e-3
        assert all(0 < mask.mean() < 1 for mask in ours.masks)


def test_an_original_checkpoint_loads_from_safetensors_too(original: Any, tmp_path: Path) -> None:
    _, tensors = original
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "sam2.safetensors")
    loaded = sam2_models.load_original(tmp_path / "sam2.safetensors")._managed._module.state_dict()
    assert all(torch.equal(loaded[name], tensors[name]) for name in loaded)
    assert not any(name.startswith("memory_") for name in loaded)


def test_all_four_sizes_of_both_versions_are_told_apart() -> None:
    sam2 = pytest.importorskip("sam2", reason="needs the sam2 package: python install.py")
    from omegaconf import OmegaConf

    from comfy_nodes.models.checkpoints import Checkpoint

    configs = Path(sam2.__file__).parent / "configs"
    for version in ("2", "2.1"):
        for size in ("t", "s", "b+", "l"):
            name = f"sam{version}/sam{version}_hiera_{size}.yaml"
            trunk = OmegaConf.load(configs / name).model.image_encoder.trunk
            blocks = range(sum(trunk.get("stages", [2, 3, 16, 3])))
            tensors = {f"image_encoder.trunk.blocks.{number}.norm1.weight": torch.zeros(1) for number in blocks}
            tensors["image_encoder.trunk.patch_embed.proj.weight"] = torch.zeros(trunk.get("embed_dim", 96), 3, 7, 7)
            if version == "2.1":
                tensors["no_obj_embed_spatial"] = torch.zeros(1, 64)
            assert sam2_models._config_of(Checkpoint("x.pt", tensors)) == name


def test_ours_is_the_librarys(hub_folder: Path, segmenter: sam2_models.Segmenter, photo: np.ndarray) -> None:
    """transformers' own processor scales 8-bit pixels, ours floats: at most a level apart, hardly a pixel."""
    from transformers import Sam2Model, Sam2Processor
    from transformers.models.sam2.image_processing_sam2 import Sam2ImageProcessor

    processor = Sam2Processor(Sam2ImageProcessor.from_pretrained(hub_folder))
    model = Sam2Model.from_pretrained(hub_folder).eval()
    boxes = [prompt.box for prompt in PROMPTS[:2]]
    inputs = processor(images=photo, input_boxes=[[list(map(float, box)) for box in boxes]], return_tensors="pt")
    with torch.no_grad():
        found = model(**inputs, multimask_output=False)
    masks = processor.post_process_masks(found.pred_masks, inputs["original_sizes"])[0][:, 0].numpy()
    ours = segmenter.segment(photo, PROMPTS[:2])
    np.testing.assert_allclose(ours.sam_iou, found.iou_scores[0, :, 0].numpy(), atol=5e-3)
    assert (ours.masks != masks).mean() < 0.01


def test_one_box_is_a_batch_of_one(segmenter: sam2_models.Segmenter, photo: np.ndarray) -> None:
    """The reference fails on exactly one box (D10)."""
    together = segmenter.segment(photo, PROMPTS)
    for number, prompt in enumerate(PROMPTS):
        alone = segmenter.segment(photo, [prompt])
        assert alone.masks.shape == (1, 80, 120)
        np.testing.assert_allclose(alone.sam_iou[0], together.sam_iou[number], atol=1e-5)
        assert (alone.masks[0] != together.masks[number]).mean() < 1e-3


def test_boxes_go_through_the_decoder_together(
    segmenter: sam2_models.Segmenter, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for step in ("encode", "decode"):
        real = getattr(segmenter._network, step)
        monkeypatch.setattr(segmenter._network, step, lambda *a, s=step, r=real: calls.append(s) or r(*a))
    many = [MaskPrompt((x, x, x + 20, x + 20)) for x in range(0, 50, 2)]
    assert segmenter.segment(photo, many).masks.shape == (25, 80, 120)
    assert calls == ["encode", "decode"]
    assert segmenter.segment(photo, []).masks.shape == (0, 80, 120)
    assert calls == ["encode", "decode"]


def test_multimask_takes_the_mask_that_sam_trusts_most(
    segmenter: sam2_models.Segmenter, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.full((1, 3, 16, 16), -1.0)
    logits[:, 1] = 1.0
    monkeypatch.setattr(segmenter._network, "decode", lambda *_: (logits, torch.tensor([[0.2, 0.9, 0.5]])))
    found = segmenter.segment(photo, PROMPTS[:1], multimask=True)
    assert found.masks.all() and found.sam_iou.tolist() == [pytest.approx(0.9)]


def test_a_video_folder_gives_its_image_part(hub_folder: Path, photo: np.ndarray, tmp_path: Path) -> None:
    """The published folders say `sam2_video` and hold the memory's weights beside the image model's."""
    from safetensors.torch import load_file

    config = json.loads((hub_folder / "config.json").read_text())
    config |= {"model_type": "sam2_video", "architectures": ["Sam2VideoModel"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors = load_file(hub_folder / "model.safetensors")
    save_file({**tensors, "memory_attention.layer_norm.weight": torch.ones(4)}, tmp_path / "model.safetensors", {"format": "pt"})  # fmt: skip
    video, image = sam2_models.load_hub(tmp_path), sam2_models.load_hub(hub_folder)
    assert (video.segment(photo, PROMPTS).masks == image.segment(photo, PROMPTS).masks).all()


def test_choices_leave_out_a_folders_own_weights(hub_folder: Path, weights: Path) -> None:
    (hub_folder / "sam2.1_hiera_small.pt").touch()
    import folder_paths

    folder_paths.filename_list_cache.clear()
    listed = sam2_models.choices()
    (hub_folder / "sam2.1_hiera_small.pt").unlink()
    assert hub_folder.name in listed
    assert f"{hub_folder.name}/model.safetensors" not in listed
    assert f"{hub_folder.name}/sam2.1_hiera_small.pt" in listed


def test_a_deleted_folder_leaves_the_list(weights: Path, tmp_path: Path) -> None:
    import folder_paths

    folder_paths.add_model_folder_path("sam2", str(tmp_path))
    (tmp_path / "sam2.1_hiera_small.pt").touch()
    assert "sam2.1_hiera_small.pt" in sam2_models.choices()
    shutil.rmtree(tmp_path)
    assert "sam2.1_hiera_small.pt" not in sam2_models.choices()


def test_wrong_files_end_in_one_line(hub_folder: Path, tmp_path: Path) -> None:
    cut, other, sized = tmp_path / "cut.pt", tmp_path / "other.pt", tmp_path / "sized.safetensors"
    torch.save({"model": {"a.weight": torch.zeros(2, 2)}}, other)
    cut.write_bytes(other.read_bytes()[:300])
    save_file({"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(7, 3, 7, 7)}, sized)
    for file, words in (
        (cut, "cut.pt"),
        (other, "is not an original SAM 2 checkpoint"),
        (sized, "a SAM 2 of unknown size (0 blocks, 7 wide)"),
        (hub_folder / "model.safetensors", "choose its folder, with config.json in it"),
    ):
        with pytest.raises(CheckpointError) as caught:
            sam2_models.load_original(file)
        assert words in str(caught.value) and "\n" not in str(caught.value)


def test_an_original_of_another_shape_is_refused(original: Any, tmp_path: Path) -> None:
    _, tensors = original
    torch.save({"model": {n: t for n, t in tensors.items() if "iou_token" not in n}}, tmp_path / "less.pt")
    with pytest.raises(CheckpointError, match=r"less\.pt: is not a SAM2Base: 1 of"):
        sam2_models.load_original(tmp_path / "less.pt")


def test_hub_folders_of_another_kind_or_broken_are_refused(hub_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "owlv2"}')
    with pytest.raises(CheckpointError, match="says owlv2, not sam2"):
        sam2_models.load_hub(tmp_path)
    (tmp_path / "config.json").write_bytes((hub_folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((hub_folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(CheckpointError) as caught:
        sam2_models.load_hub(tmp_path)
    assert "\n" not in str(caught.value)


def test_without_the_package_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sam2", None)
    blocks = {f"image_encoder.trunk.blocks.{number}.norm1.weight": torch.zeros(1) for number in range(12)}
    save_file({"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(96, 3, 7, 7), **blocks}, tmp_path / "t.sft")
    with pytest.raises(MissingLibrary, match=r"python install.py") as caught:
        sam2_models.load_original(tmp_path / "t.sft")
    assert "\n" not in str(caught.value)


def test_out_of_memory_in_the_encoder_frees_everything_and_says_so(
    segmenter: sam2_models.Segmenter, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(segmenter._network, "encode", fails)
        with pytest.raises(OutOfMemory, match="SAM2: out of memory") as caught:
            segmenter.segment(photo, PROMPTS)
    assert "\n" not in str(caught.value)
    assert model_management.current_loaded_models == []
    assert segmenter.segment(photo, PROMPTS).masks.any()


def test_free_returns_the_memory(hub_folder: Path, photo: np.ndarray) -> None:
    """Counted by ComfyUI's manager: the weights' bytes while loaded, none after what `/free` calls.

    On the CPU the weights are in one place, loaded or not; that they are gone with the last reference is seen by a
    weak one.
    """

    def counted() -> int:
        return sum(model.model_loaded_memory() for model in model_management.current_loaded_models)

    before = counted()
    segmenter = sam2_models.load_hub(hub_folder)
    segmenter.segment(photo, PROMPTS)
    module = segmenter._managed._module
    assert counted() - before == size_of(module) > 100_000
    assert segmenter.patcher in [model.model for model in model_management.current_loaded_models]
    model_management.unload_all_models()
    assert counted() == 0
    weight = weakref.ref(next(module.parameters()))
    del segmenter, module
    gc.collect()
    assert weight() is None


def test_masks_of_many_boxes_are_scaled_up_a_few_at_a_time(
    segmenter: sam2_models.Segmenter, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = sam2_models.functional.interpolate
    monkeypatch.setattr(
        sam2_models.functional, "interpolate", lambda x, *a, **k: sizes.append(len(x)) or real(x, *a, **k)
    )
    segmenter.segment(photo, [MaskPrompt((1, 1, 60, 60))] * 20)
    assert max(sizes) == sam2_models.MASKS_AT_ONCE
