"""Diffusers Edit over tiny pipelines: seeds, batches, cancel, memory, and what is refused before anything is loaded."""

from __future__ import annotations

import inspect
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("comfy", reason="needs ComfyUI's source: set COMFYUI_PATH")
pytest.importorskip("diffusers", reason="needs diffusers: pip install diffusers")

import diffusers
import folder_paths
from comfy import model_management

from comfy_nodes.models import diffusers_editors, diffusers_folders
from comfy_nodes.models.checkpoints import CheckpointError
from comfy_nodes.models.managed import OutOfMemory
from comfy_nodes.nodes.diffusers_editing import DiffusersEdit, LoadDiffusersEditor
from tests.models import tiny_editors

COMMIT = "0123456789abcdef0123456789abcdef01234567"
STEPS = 2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models/diffusers of this module, with one pipeline of each kind."""
    folder = tmp_path_factory.mktemp("diffusers")
    folder_paths.add_model_folder_path("diffusers", str(folder), is_default=True)
    tiny_editors.instruct(folder / "instruct")
    tiny_editors.inpaint(folder / "inpaint")
    tiny_editors.text_to_image(folder / "words")
    return folder


@pytest.fixture(scope="module")
def instruct(home: Path) -> Any:
    return load("instruct")


@pytest.fixture(scope="module")
def inpaint(home: Path) -> Any:
    return load("inpaint")


def load(model: str, revision: str = "", pipeline: str = "as saved", dtype: str = "float32", **more: Any) -> Any:
    return LoadDiffusersEditor.execute(model, revision, pipeline, dtype, **{"allow_download": False, **more})[0]


def photos(count: int, height: int = 16, width: int = 24) -> torch.Tensor:
    return torch.rand((count, height, width, 3), generator=torch.Generator().manual_seed(7))


def edit(editor: Any, image: torch.Tensor, seed: int = 1, **more: Any) -> torch.Tensor:
    settings = {"prompt": "make it red", "steps": STEPS, "guidance": -1.0, "strength": -1.0} | more
    with torch.inference_mode():  # as ComfyUI runs nodes
        return DiffusersEdit.execute(image=image, editor=editor, seed=seed, **settings)[0]


def loaded_bytes() -> int:
    return sum(model.loaded_size() for model in model_management.loaded_models())


def test_the_same_seed_gives_the_same_picture_and_another_one_another(instruct: Any) -> None:
    image = photos(1)
    first = edit(instruct, image)
    assert first.shape == image.shape and first.dtype == torch.float32
    assert torch.equal(first, edit(instruct, image))
    assert not torch.equal(first, edit(instruct, image, seed=2))
    assert not torch.equal(first, edit(instruct, image, prompt="make it blue"))
    assert not torch.equal(first, edit(instruct, image, image_guidance=5.0))


def test_a_batch_is_its_pictures_one_by_one_each_with_its_own_seed(instruct: Any) -> None:
    image = photos(2)
    both = edit(instruct, image, seed=5)
    assert torch.equal(both[:1], edit(instruct, image[:1], seed=5))
    assert torch.equal(both[1:], edit(instruct, image[1:], seed=6))
    assert not torch.equal(edit(instruct, image[1:], seed=5), both[1:])


def test_an_inpaint_pipeline_gets_the_mask(inpaint: Any) -> None:
    image, mask = photos(1), torch.zeros((1, 16, 24))
    mask[:, 4:12, 4:12] = 1
    edited = edit(inpaint, image, mask=mask)
    assert edited.shape == image.shape  # not the 512 x 512 of its class, nor the 64 x 64 of its UNet
    assert not torch.equal(edited, edit(inpaint, image, mask=1 - mask))
    assert not torch.equal(edited, edit(inpaint, image, mask=mask, strength=0.5))
    assert edit(inpaint, image, mask=torch.cat([mask, mask])).shape[0] == 2


def test_weights_of_a_text_pipeline_can_inpaint(home: Path) -> None:
    with pytest.raises(CheckpointError, match=r"StableDiffusionPipeline takes no image.*set pipeline to inpaint"):
        load("words")
    assert edit(load("words", pipeline="inpaint"), photos(1), mask=torch.ones((1, 16, 24))).shape == (1, 16, 24, 3)
    assert edit(load("words", pipeline="image to image"), photos(1), strength=0.5).shape == (1, 16, 24, 3)


def test_its_parts_are_in_the_memory_manager_and_free_unloads_them(instruct: Any) -> None:
    assert loaded_bytes() == 0
    first = edit(instruct, photos(1))
    names = {type(model.model).__name__ for model in model_management.loaded_models()}
    assert names == {f"{part} of instruct" for part in ("unet", "vae", "text_encoder")}
    assert loaded_bytes() > 100_000
    assert instruct.patcher in model_management.loaded_models()  # so that ComfyUI's output cache knows it
    model_management.unload_all_models()  # what /free with unload_models calls
    assert loaded_bytes() == 0
    assert torch.equal(first, edit(instruct, photos(1)))


def test_a_part_is_loaded_before_it_computes_and_not_before(instruct: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real = model_management.load_models_gpu

    def noted(patchers: Any, memory_required: float = 0) -> None:
        order.extend(type(one.model).__name__.split()[0] for one in patchers)
        assert memory_required == diffusers_editors.BYTES_PER_PIXEL * 4 * 16 * 24
        real(patchers, memory_required=memory_required)

    monkeypatch.setattr(model_management, "load_models_gpu", noted)
    edit(instruct, photos(1))
    assert order == ["text_encoder", "vae", "unet"]


def test_a_cancel_ends_the_edit_after_the_step(instruct: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, int]] = []

    def bar(_pictures: int) -> Any:
        def on_step(done: int, total: int) -> None:
            steps.append((done, total))
            model_management.interrupt_current_processing()

        return lambda _number: on_step

    monkeypatch.setattr(diffusers_editors, "progress", bar)
    with pytest.raises(model_management.InterruptProcessingException):
        edit(instruct, photos(2))
    assert steps == [(1, STEPS)]
    assert not model_management.processing_interrupted()


def test_the_bar_counts_all_steps_of_all_pictures(inpaint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    class Bar:
        def __init__(self, total: int) -> None:
            assert total == 2

        def update_absolute(self, value: int, total: int) -> None:
            seen.append((value, total))

    monkeypatch.setattr(diffusers_editors, "ProgressBar", Bar)
    edit(inpaint, photos(2), mask=torch.ones((1, 16, 24)), strength=0.5, steps=4)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]  # half of the steps of each


def test_out_of_memory_unloads_everything_and_says_so(instruct: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(instruct, photos(1))

    def full(*_: Any, **__: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(instruct._pipeline.vae.decoder, "forward", full)
    with pytest.raises(OutOfMemory, match=r"^instruct: out of memory\. [^\n]+$"):
        edit(instruct, photos(1))
    assert model_management.loaded_models() == []


@pytest.mark.parametrize(
    ("which", "asked", "message"),
    [
        ("instruct", {"mask": torch.ones((1, 16, 24))}, "takes none; wire the mask to Blend Edit"),
        ("instruct", {"strength": 0.5}, "strength: StableDiffusionInstructPix2PixPipeline has no strength"),
        ("inpaint", {}, "mask: StableDiffusionInpaintPipeline needs one"),
        ("instruct", {"image": photos(1, 17, 24)}, "24 x 17 is no multiple of 8.*Fit Photo to Size"),
    ],
)
def test_what_a_pipeline_does_not_take_is_named(
    which: str, asked: dict[str, Any], message: str, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(ValueError, match=message):
        edit(request.getfixturevalue(which), **{"image": photos(1), **asked})
    assert loaded_bytes() == 0, "nothing was computed"


@pytest.mark.parametrize(
    ("pipeline", "given"),
    [
        ("FluxKontextPipeline", {"width": 1184, "height": 880, "max_area": 1184 * 880, "guidance_scale": 2.5}),
        ("QwenImageEditPipeline", {"width": 1184, "height": 880, "guidance_scale": 2.5}),
        ("FluxFillPipeline", {"width": 1184, "height": 880, "guidance_scale": 2.5}),
        ("StableDiffusionXLInpaintPipeline", {"width": 1184, "height": 880, "guidance_scale": 2.5}),
    ],
)
def test_what_other_pipelines_would_be_called_with(pipeline: str, given: dict[str, Any]) -> None:
    """Those that are too large to make here, by their real signatures."""
    takes = frozenset(inspect.signature(getattr(diffusers, pipeline).__call__).parameters)
    request = diffusers_editors.EditRequest("make it red", seed=1, steps=20, guidance=2.5)
    called = diffusers_editors.call_arguments(takes, pipeline, request, "mask_image" in takes, 1184, 880)
    assert called.keys() <= takes and {"image", "callback_on_step_end"} <= takes
    assert called.pop("generator").initial_seed() == 1
    assert called == {"prompt": "make it red", "num_inference_steps": 20, **given}


class TestWhatIsLoaded:
    @pytest.fixture(autouse=True)
    def no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> None:
            raise AssertionError("a connection was tried")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)

    def test_a_hub_id_is_not_downloaded_unasked(self, home: Path) -> None:
        with pytest.raises(CheckpointError, match=r"not on this machine.*turn on allow_download, or put the pipeline"):
            load("nobody/nothing-of-this-name", COMMIT)

    @pytest.mark.parametrize("revision", ["", "main", "v1.0", COMMIT[:10]])
    def test_a_hub_id_needs_its_commit(self, home: Path, revision: str) -> None:
        with pytest.raises(CheckpointError, match="revision: nobody/nothing is a hub id and needs its commit"):
            load("nobody/nothing", revision, allow_download=True)

    @pytest.mark.parametrize("model", ["", "nothing", "../instruct", "/etc"])
    def test_a_folder_that_is_not_there(self, home: Path, model: str) -> None:
        with pytest.raises(CheckpointError, match=r"there are .*inpaint.*: give a folder"):
            load(model)

    @pytest.fixture
    def copy(self, home: Path) -> Any:
        folder = home / "group" / "copy"
        shutil.copytree(home / "instruct", folder)
        yield folder
        shutil.rmtree(folder)

    def test_pickles_are_refused(self, copy: Path) -> None:
        weights = next((copy / "unet").glob("*.safetensors"))
        weights.rename(weights.with_suffix(".bin"))
        with pytest.raises(CheckpointError, match=r"copy: the weights of its unet are pickles"):
            load("group/copy")

    def test_code_of_its_own_is_not_run(self, copy: Path) -> None:
        ran = copy / "ran"
        code = f"open({str(ran)!r}, 'w')\n"
        for name in ("pipeline.py", "unet/mine.py", "Mine.py"):
            (copy / name).write_text(code)
        index = json.loads((copy / "model_index.json").read_text())
        for change in (
            {"_class_name": ["pipeline", "Mine"]},
            {"_class_name": "Mine"},
            {"_class_name": "ConfigMixin"},
            {"unet": ["mine", "UNet"]},
            {"unet": ["os", "system"]},
        ):
            (copy / "model_index.json").write_text(json.dumps(index | change))
            with pytest.raises(CheckpointError, match=r"is not run|not imported"):
                load("group/copy")
        assert not ran.exists()

    def test_broken_folders_are_named_in_one_line(self, copy: Path) -> None:
        weights = next((copy / "unet").glob("*.safetensors"))
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(CheckpointError, match=r"^copy: cannot be loaded \([^\n]+\)$"):
            load("group/copy")
        (copy / "model_index.json").write_text("{")
        with pytest.raises(CheckpointError, match=r"its model_index.json cannot be read"):
            load("group/copy")

    def test_quantised_weights_are_refused(self, copy: Path) -> None:
        config = json.loads((copy / "unet" / "config.json").read_text())
        (copy / "unet" / "config.json").write_text(json.dumps(config | {"quantization_config": {}}))
        with pytest.raises(CheckpointError, match="its unet is quantised"):
            load("group/copy")

    def test_a_missing_library_is_named(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
        with pytest.raises(RuntimeError, match=r"is not installed.*pip install 'diffusers>="):
            diffusers_folders.library()

    def test_a_library_that_is_too_old_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(diffusers, "__version__", "0.39.2")
        with pytest.raises(RuntimeError, match=r"diffusers 0\.39\.2 is too old"):
            diffusers_folders.library()
