"""What the tests of the full graphs share: tiny checkpoints under the names that loaders list, and running a graph once.

A graph is the artist's file, converted and bound as the driver does it. What a test changes in it goes through the
driver's own `--set`.
"""

from __future__ import annotations

import io
import json
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from comfy_nodes.core.instructions.instructions import Step
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Annotation, Region, region_of_mask, to_json
from comfy_nodes.edit_samples import sizes
from driver.graph.api import Api
from driver.graph.bound import BatchGraph
from driver.graph.checks import apply_settings
from driver.graph.file import WORKFLOWS, WorkflowFile
from tests.e2e import helpers
from tests.models import tiny_flux, tiny_klein, tiny_sam2, tiny_sdxl

SIZE = (97, 83)
"""Width and height of the photo: no multiple of anything, so that a shifted pixel shows."""

CROP = 96
"""What crops are scaled to, in place of 768 and 1024: the photo's own size, so that none is stretched back."""

FOLDED: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "sam2.1-hiera-large": ("sam2/sam2.1-hiera-large", tiny_sam2.hub),
    "ae.safetensors": ("vae/ae.pt", tiny_flux.vae),
    "flux2-vae.safetensors": ("vae/flux2-vae.pt", tiny_klein.vae),
    "clip_l.safetensors": ("text_encoders/clip_l.pt", tiny_flux.clip_l),
    "sigclip_vision_patch14_384.safetensors": ("clip_vision/sigclip.pt", tiny_flux.sigclip),
    "flux1-redux-dev.safetensors": ("style_models/redux.pt", tiny_flux.redux),
    "sd_xl_base_1.0.safetensors": ("checkpoints/sdxl.ckpt", tiny_sdxl.checkpoint),
    "controlnet-canny-sdxl-1.0.safetensors": ("controlnet/canny.pt", tiny_sdxl.canny),
}
"""The graphs' name, file below models and its maker. Folded weights are no safetensors, so they have names of their own."""

SAFETENSORS: dict[str, Callable[[Path], Path]] = {
    "flux1-fill-dev.safetensors": tiny_flux.fill,
    "flux1-dev-kontext_fp8_scaled.safetensors": tiny_flux.kontext,
    "flux-2-klein-4b-fp8.safetensors": tiny_klein.klein,
    "qwen_image_edit_2511_fp8mixed.safetensors": tiny_klein.klein,
    "longcat_image_edit_bf16.safetensors": tiny_flux.longcat,
}
"""Diffusion models under the graphs' own names. The widths of Qwen-Image and of LongCat's words are fixed in ComfyUI, as
are the 7 billion parameters of their text encoder: klein stands in for the one, which knows its way with references, and
a LongCat at the width of words that there is for the other. So their tests show the wiring and not the family."""

LORAS: dict[str, Callable[[Path], Path]] = {
    "Qwen-Image-Edit-2511-Lightning-4steps-V1.0-bf16.safetensors": tiny_flux.lora,
}
"""LoRAs under the graphs' own names, for what stands in for their models."""

LINKED_STEPS = ("Steps", "Steps when fast")
"""Titles of what says the number of steps where a switch chooses it."""

STAND_INS = {
    "t5xxl_fp16.safetensors": "clip_l.pt",
    "qwen_3_4b.safetensors": "clip_l.pt",
    "qwen_2.5_vl_7b_fp8_scaled.safetensors": "clip_l.pt",
    "qwen_image_vae.safetensors": "flux2-vae.pt",
}
"""CLIP-L alone, as wide as T5-XXL, for encoders of which there is no small one; FLUX.2's autoencoder beside klein."""

NAMES = {name: Path(file).name for name, (file, _make) in FOLDED.items()} | STAND_INS
"""What loaders are told in place of what the graphs say."""

CHANGED = {
    "DualCLIPLoader.type": "sd3",
    "CLIPLoader.type": "sd3",
    "KSampler.steps": "2",
    "Flux2Scheduler.steps": "2",
    "EditPairsCropAroundMask.size": str(CROP),
    "EditPairsFitSize.size": "crop to multiple",
}
"""All that a test changes in a graph beside weights."""


def make_checkpoints(models: Path) -> None:
    """Writes all tiny checkpoints below ComfyUI's models folder."""
    for file, make in FOLDED.values():
        make(models / file)
    for name, make in SAFETENSORS.items():
        make(models / "diffusion_models" / name)
    for name, make in LORAS.items():
        make(models / "loras" / name)


def tiny(api: Api) -> list[str]:
    """What `--set` is told, so that a graph takes tiny weights."""
    wanted = [
        f"#{number}.{field}={NAMES[value]}"
        for number, node in api.items()
        for field, value in node["inputs"].items()
        if isinstance(value, str) and value in NAMES
    ]
    for address, value in CHANGED.items():
        class_type, field = address.split(".")
        nodes = [
            number
            for number, node in api.items()
            if node["class_type"] == class_type and not isinstance(node["inputs"].get(field), list)
        ]
        if address == "EditPairsFitSize.size":  # what makes room for a crop leaves so small a photo as it is
            nodes = [number for number in nodes if api[number]["inputs"]["size"] not in sizes.ROOM]
        wanted += [f"#{number}.{field}={value}" for number in nodes]
    steps = [number for number, node in api.items() if node.get("_meta", {}).get("title") in LINKED_STEPS]
    return wanted + [f"#{number}.value={CHANGED['KSampler.steps']}" for number in steps]


def bound(name: str, object_info: dict[str, Any], *settings: str) -> BatchGraph:
    """A workflow with tiny weights, ready to take a sample."""
    api = WorkflowFile.read(WORKFLOWS / f"{name}.json").to_api(object_info)
    for node in api.values():
        if node["class_type"] == "LoadBackgroundRemovalModel":
            node.update(class_type=helpers.SMALL[node["class_type"]], inputs={})
    apply_settings(api, [*tiny(api), *settings], object_info)
    return BatchGraph.bind(api, object_info)


@dataclass(frozen=True)
class Photo:
    """A photo in ComfyUI's input folder, and what is known of it."""

    name: str
    pixels: np.ndarray
    """uint8 [H, W, 3]."""

    def annotation(self, *regions: Region, steps: tuple[Step, ...] = ()) -> str:
        """What the driver would fill in: regions, and with steps an instruction that was written before."""
        height, width = self.pixels.shape[:2]
        line = to_json(Annotation(path=self.name, size=(width, height), regions=regions))
        if steps:
            done = [{**vars(step)} for step in steps]
            line["writing"] = {
                "instruction": "Do it.", "lang": "en", "target": steps[0].target, "model": "writer",
                "editor_prompt": steps[0].editor_prompt, "steps": done,
            }  # fmt: skip
        return json.dumps(line)


def photo(inputs: Path, name: str, number: int = 0) -> Photo:
    """A photo of coloured noise."""
    pixels = np.random.default_rng(number).integers(0, 256, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    inputs.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(inputs / name)
    return Photo(name, pixels)


def region(left: int, top: int, right: int, bottom: int, name: str = "disc", **more: Any) -> Region:
    """A rectangle of the photo as a region with a mask."""
    marked = np.zeros(SIZE[::-1], dtype=bool)
    marked[top:bottom, left:right] = True
    return region_of_mask(marked, name).model_copy(update=more)


def op(name: str, number: int, target: str = "a red ball") -> Step:
    """A step on the region of that number."""
    return Step(name, "disc", number, f"{name} it", target)


@dataclass(frozen=True)
class Pair:
    """What a graph saved."""

    url: str
    record: dict[str, Any]

    @cached_property
    def before(self) -> np.ndarray:
        return self.picture(self.record["input_images"][0])

    @cached_property
    def after(self) -> np.ndarray:
        return self.picture(self.record["output_images"][0])

    @cached_property
    def mask(self) -> np.ndarray:
        """bool [H, W]: the edit mask."""
        return rle.decode(rle.Rle.model_validate(self.record["edit_mask"]))

    def assert_kept_outside(self) -> None:
        """Equal bit for bit outside the edit mask, and another picture inside."""
        assert 0 < self.mask.sum() < self.mask.size
        assert np.array_equal(self.before[~self.mask], self.after[~self.mask])
        assert (self.before[self.mask] != self.after[self.mask]).any(axis=-1).mean() > 0.5

    def picture(self, image: dict[str, Any]) -> np.ndarray:
        """A saved picture, uint8 [H, W, 3]."""
        return picture(self.url, image)


def run(url: str, graph: BatchGraph, seed: int = 5, **values: Any) -> Pair:
    """Has ComfyUI run a graph for one sample.

    Raises:
        AssertionError: ComfyUI refused it, or a node failed; with its words.
    """
    given = {"region_index": 0, "class_name": "", "instruction": "", "annotation": "", **values}
    entry = finished(url, graph.prompt(given, seed, f"full/{graph.task}"))
    return Pair(url, entry["outputs"][graph.sink]["editpairs"][0])


def finished(url: str, prompt: dict[str, Any]) -> dict[str, Any]:
    """What ComfyUI's history says of a prompt that it was given and that ended well.

    Raises:
        AssertionError: ComfyUI refused it, or a node failed; with its words.
    """
    job = helpers.post(url, "/prompt", {"prompt": prompt})
    assert not job.get("node_errors"), job
    done = helpers.until(lambda: helpers.get(url, f"/history/{job['prompt_id']}"), "the prompt's end", 240, 0.1)
    entry = done[job["prompt_id"]]
    failed = dict(entry["status"]["messages"]).get("execution_error")
    assert failed is None, f"{failed['node_type']}: {failed['exception_message']}"
    return dict(entry)


def picture(url: str, image: dict[str, Any]) -> np.ndarray:
    """A picture that ComfyUI saved, uint8 [H, W, 3]."""
    query = urllib.parse.urlencode({key: image[key] for key in ("filename", "subfolder", "type")})
    with urllib.request.urlopen(f"{url}/view?{query}", timeout=30) as response:
        return np.asarray(Image.open(io.BytesIO(response.read())).convert("RGB"))
