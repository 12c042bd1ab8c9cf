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
from tests.models import tiny_flux, tiny_sam2, tiny_sdxl

SIZE = (97, 83)
"""Width and height of the photo: no multiple of anything, so that a shifted pixel shows."""

CROP = 96
"""What crops are scaled to, in place of 768 and 1024: the photo's own size, so that none is stretched back."""

FOLDED: dict[str, tuple[str, str, Callable[[Path], Path]]] = {
    "EditPairsLoadSam2.model": ("sam2/sam2.1-hiera-large", "sam2.1-hiera-large", tiny_sam2.hub),
    "VAELoader.vae_name": ("vae/ae.pt", "ae.pt", tiny_flux.vae),
    "DualCLIPLoader.clip_name1": ("text_encoders/clip_l.pt", "clip_l.pt", tiny_flux.clip_l),
    "CLIPVisionLoader.clip_name": ("clip_vision/sigclip.pt", "sigclip.pt", tiny_flux.sigclip),
    "StyleModelLoader.style_model_name": ("style_models/redux.pt", "redux.pt", tiny_flux.redux),
    "CheckpointLoaderSimple.ckpt_name": ("checkpoints/sdxl.ckpt", "sdxl.ckpt", tiny_sdxl.checkpoint),
    "ControlNetLoader.control_net_name": ("controlnet/canny.pt", "canny.pt", tiny_sdxl.canny),
}
"""Input, file below models, value, maker. Folded weights are no safetensors, so their names differ from the graphs'."""

SAFETENSORS: dict[str, Callable[[Path], Path]] = {
    "flux1-fill-dev.safetensors": tiny_flux.fill,
    "flux1-dev-kontext_fp8_scaled.safetensors": tiny_flux.kontext,
    "qwen_image_edit_fp8_e4m3fn.safetensors": tiny_flux.kontext,
}
"""Diffusion models under the graphs' own names. Qwen-Image's width and its text encoder's 7 billion parameters are
fixed in ComfyUI; a FLUX model stands in for it, so that test shows the wiring and not the family."""

CHANGED = {name: value for name, (_file, value, _make) in FOLDED.items()} | {
    # CLIP-L alone, as wide as T5-XXL, of which there is no small one
    "DualCLIPLoader.clip_name2": "clip_l.pt",
    "DualCLIPLoader.type": "sd3",
    "CLIPLoader.clip_name": "clip_l.pt",
    "CLIPLoader.type": "sd3",
    "KSampler.steps": "2",
    "EditPairsCropAroundMask.size": str(CROP),
    "EditPairsFitSize.size": "crop to multiple",
}
"""All that a test changes in a graph: weights and sizes."""


def make_checkpoints(models: Path) -> None:
    """Writes all tiny checkpoints below ComfyUI's models folder."""
    for file, _value, make in FOLDED.values():
        make(models / file)
    for name, make in SAFETENSORS.items():
        make(models / "diffusion_models" / name)


def tiny(api: Api) -> list[str]:
    """What `--set` is told, so that a graph takes tiny weights."""
    wanted = []
    for address, value in CHANGED.items():
        class_type, field = address.split(".")
        nodes = [number for number, node in api.items() if node["class_type"] == class_type]
        if address == "EditPairsFitSize.size":  # what makes room for a crop leaves so small a photo as it is
            nodes = [number for number in nodes if api[number]["inputs"]["size"] not in sizes.ROOM]
        wanted += [f"#{number}.{field}={value}" for number in nodes]
    return wanted


def bound(name: str, object_info: dict[str, Any], *settings: str) -> BatchGraph:
    """A workflow with tiny weights, ready to take a sample."""
    api = WorkflowFile.read(WORKFLOWS / f"{name}.json").to_api(object_info)
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
        query = urllib.parse.urlencode({key: image[key] for key in ("filename", "subfolder", "type")})
        with urllib.request.urlopen(f"{self.url}/view?{query}", timeout=30) as response:
            return np.asarray(Image.open(io.BytesIO(response.read())).convert("RGB"))


def run(url: str, graph: BatchGraph, seed: int = 5, **values: Any) -> Pair:
    """Has ComfyUI run a graph for one sample.

    Raises:
        AssertionError: ComfyUI refused it, or a node failed; with its words.
    """
    given = {"region_index": 0, "class_name": "", "instruction": "", "annotation": "", **values}
    prompt = graph.prompt(given, seed, f"full/{graph.task}")
    job = helpers.post(url, "/prompt", {"prompt": prompt})
    assert not job.get("node_errors"), job
    done = helpers.until(lambda: helpers.get(url, f"/history/{job['prompt_id']}"), "the prompt's end", 240, 0.1)
    entry = done[job["prompt_id"]]
    failed = dict(entry["status"]["messages"]).get("execution_error")
    assert failed is None, f"{failed['node_type']}: {failed['exception_message']}"
    return Pair(url, entry["outputs"][graph.sink]["editpairs"][0])
