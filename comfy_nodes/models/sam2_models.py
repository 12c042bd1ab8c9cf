"""SAM 2 behind one door: hub-format folders through transformers, original checkpoints through the `sam2` package.

Both get the same pixels and prompts and give low-resolution logits, so what lies before and after a model is written
once: scaling to its input, prompts in its pixels, the choice among several masks, and scaling each mask up. All
prompts of an image go through the decoder in one call, and a single one is not treated apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from comfy import model_management
from torch.nn import functional

from ..imaging.opencv import MissingLibrary
from . import checkpoints, folders
from .managed import ManagedModule
from .queries import MaskPrompt

FOLDERS = ("sam2", "sams")
"""The model folder types that are searched."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, for red, green and blue, 0 to 1: what SAM 2 was trained with (sam2 package)."""

MASKS_AT_ONCE = 8
"""How many masks are scaled up together, so that a hundred boxes on a large photo don't fill the memory. Ours."""

_PACKAGE = (
    "the sam2 package is not installed, which original SAM 2 checkpoints need: run `python install.py`, "
    "or choose a hub-format folder, which needs no package"
)

_CONFIGS = {(96, 12): "t", (96, 16): "s", (112, 24): "b+", (144, 48): "l"}
"""The sam2 package's configurations by the image encoder's width and number of blocks."""


@dataclass(frozen=True)
class Cutouts:
    """The masks of one image, one for each prompt, in the prompts' order."""

    masks: np.ndarray
    """bool [N, H, W]."""
    sam_iou: np.ndarray
    """float32 [N]: the IoU, about 0 to 1, that SAM predicts its mask to have with the right one."""


class _Network(Protocol):
    """What the two libraries' models have in common. Tensors are on the model's device."""

    side: int
    """Width and height of its input in pixels."""

    def encode(self, pixels: torch.Tensor) -> Any:
        """Features of normalised pixels [1, 3, side, side]."""

    def decode(
        self, features: Any, boxes: torch.Tensor | None, points: torch.Tensor, labels: torch.Tensor, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [N, C, h, w] and predicted IoU [N, C] for N prompts; C is 3 with `multimask`, else 1.

        Args:
            boxes: [N, 4], (x1, y1, x2, y2) in input pixels.
            points: [N, P, 2] in input pixels; P may be 0 where there are boxes.
            labels: int [N, P], 1 on the object and 0 beside it.
        """


class Segmenter:
    """A SAM 2 model in ComfyUI's memory manager."""

    def __init__(self, module: torch.nn.Module, network: _Network, name: str) -> None:
        self.name = name
        self._network = network
        self._managed = ManagedModule(module, "SAM2")
        self.patcher = self._managed.patcher
        """What ComfyUI's memory manager and output cache know the model by."""

    def segment(self, image: np.ndarray, prompts: Sequence[MaskPrompt], multimask: bool = False) -> Cutouts:
        """One mask for each prompt.

        Args:
            image: uint8 [H, W, 3], RGB.
            multimask: let SAM draft three masks and take the one that it trusts most: for points and loose boxes.

        Raises:
            managed.OutOfMemory: in words, after ComfyUI has unloaded every model.
        """
        height, width = image.shape[:2]
        masks = np.zeros((len(prompts), height, width), dtype=bool)
        scores = np.zeros(len(prompts), dtype=np.float32)
        if not prompts:
            return Cutouts(masks, scores)
        with self._managed.on_device(), _reduced_precision(self._managed.device):
            features = self._network.encode(self._pixels(image))
            for numbers in _alike(prompts):
                logits, iou = self._decode(features, [prompts[number] for number in numbers], width, height, multimask)
                scores[numbers] = iou.float().cpu().numpy()
                for start in range(0, len(numbers), MASKS_AT_ONCE):
                    part = logits[start : start + MASKS_AT_ONCE].float()
                    full = functional.interpolate(part, (height, width), mode="bilinear", align_corners=False)
                    masks[numbers[start : start + MASKS_AT_ONCE]] = (full[:, 0] > 0).cpu().numpy()
        return Cutouts(masks, scores)

    def _decode(
        self, features: Any, prompts: Sequence[MaskPrompt], width: int, height: int, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The best mask's logits [N, 1, h, w] and its predicted IoU [N]; all prompts have the same form."""
        device, scale = self._managed.device, (self._network.side / width, self._network.side / height)
        to_input = torch.tensor(scale, device=device)
        boxes = None
        if prompts[0].box is not None:
            boxes = torch.tensor([prompt.box for prompt in prompts], dtype=torch.float32, device=device)
            boxes = boxes * to_input.repeat(2)
        dots = torch.tensor([prompt.points for prompt in prompts], dtype=torch.float32, device=device)
        dots = dots.reshape(len(prompts), len(prompts[0].points), 3)
        points, labels = dots[..., :2] * to_input, dots[..., 2].int()
        logits, iou = self._network.decode(features, boxes, points, labels, multimask)
        # Shapes are fixed by name, not squeezed: one prompt is a batch of one.
        logits, iou = logits.reshape(len(prompts), -1, *logits.shape[-2:]), iou.reshape(len(prompts), -1)
        best = iou.argmax(dim=1, keepdim=True)
        chosen = torch.take_along_dim(logits, best[:, :, None, None], dim=1)
        return chosen, iou.gather(1, best)[:, 0]

    def _pixels(self, image: np.ndarray) -> torch.Tensor:
        """The model's input [1, 3, side, side] from uint8 [H, W, 3]: scaled without keeping its shape, normalised."""
        device, side = self._managed.device, self._network.side
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None].float().div(255)
        pixels = functional.interpolate(pixels, (side, side), mode="bilinear", align_corners=False, antialias=True)
        mean, deviation = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, DEVIATION))
        return (pixels - mean) / deviation


def choices() -> list[str]:
    """Hub-format folders and original checkpoints, as a combo lists them; a folder's own weight files are left out."""
    hub = folders.hub_folders(*FOLDERS)
    originals = [
        file
        for file in folders.files(*FOLDERS)
        if Path(file).parent.as_posix() not in hub or not Path(file).name.startswith(("model", "pytorch_model"))
    ]
    return hub + originals


def load(choice: str) -> Segmenter:
    """The model behind one of `choices`.

    Raises:
        FileNotFoundError: it is not there.
        checkpoints.CheckpointError: broken, or another architecture.
        MissingLibrary: an original checkpoint without the sam2 package.
    """
    if choice in folders.hub_folders(*FOLDERS):
        return load_hub(folders.hub_path(choice, *FOLDERS))
    return load_original(folders.file_path(choice, *FOLDERS))


def load_hub(folder: Path) -> Segmenter:
    """A model from a hub-format folder (`Sam2Model`, or `Sam2VideoModel`, of which the image part is taken)."""
    from transformers import Sam2Model

    model = checkpoints.load_pretrained(Sam2Model, folder, related=("sam2_video",))
    return Segmenter(model, _Hub(model), folder.name)


def load_original(path: Path) -> Segmenter:
    """A model from a checkpoint of the original repository, SAM 2 or 2.1, in any of its four sizes."""
    checkpoint = checkpoints.read(path)
    config = _config_of(checkpoint)
    try:
        import sam2
        from hydra.utils import instantiate
        from omegaconf import OmegaConf
    except ImportError:
        raise MissingLibrary(_PACKAGE) from None
    # The file itself, as hydra's own search path belongs to whichever pack has set it first.
    layout = OmegaConf.load(Path(sam2.__file__).parent / "configs" / config).model
    # As the package's build_sam2 does: a mask that is not stable gives way to the best of three.
    layout.sam_mask_decoder_extra_args = {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    }
    layout.image_encoder.neck.position_encoding.warmup_cache = False
    model = checkpoints.load_into(instantiate(layout, _recursive_=True), checkpoint)
    # What follows objects through videos.
    model.memory_attention = model.memory_encoder = None
    return Segmenter(model, _Original(model), path.name)


class _Hub:
    """transformers' Sam2Model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        size = model.config.prompt_encoder_config.image_size
        self.side = size if isinstance(size, int) else size[0]

    def encode(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        levels: list[torch.Tensor] = self._model.get_image_embeddings(pixels)
        return levels

    def decode(
        self, features: Any, boxes: torch.Tensor | None, points: torch.Tensor, labels: torch.Tensor, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        dotted = points.shape[1] > 0
        found = self._model(
            image_embeddings=features,
            input_boxes=None if boxes is None else boxes[None],
            input_points=points[None] if dotted else None,
            input_labels=labels[None] if dotted else None,
            multimask_output=multimask,
        )
        return found.pred_masks[0], found.iou_scores[0]


class _Original:
    """The sam2 package's SAM2Base."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.side = model.image_size

    def encode(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        levels = list(self._model.forward_image(pixels)["backbone_fpn"])
        if self._model.directly_add_no_mem_embed:
            levels[-1] = levels[-1] + self._model.no_mem_embed.reshape(1, -1, 1, 1)
        # Its cache would stay on the device when the weights leave it.
        self._model.image_encoder.neck.position_encoding.cache.clear()
        return levels

    def decode(
        self, features: Any, boxes: torch.Tensor | None, points: torch.Tensor, labels: torch.Tensor, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if boxes is not None:
            # A box is two points with labels of their own.
            ends = torch.tensor([[2, 3]], dtype=labels.dtype, device=labels.device).repeat(len(boxes), 1)
            points = torch.cat((boxes.reshape(-1, 2, 2), points), dim=1)
            labels = torch.cat((ends, labels), dim=1)
        encoder = self._model.sam_prompt_encoder
        sparse, dense = encoder(points=(points, labels), boxes=None, masks=None)
        logits, iou, _, _ = self._model.sam_mask_decoder(
            image_embeddings=features[-1],
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            repeat_image=True,
            high_res_features=features[:-1],
        )
        return logits, iou


def _config_of(checkpoint: checkpoints.Checkpoint) -> str:
    """The sam2 package's configuration file for a checkpoint, relative to its `configs`.

    Raises:
        checkpoints.CheckpointError: no original SAM 2 checkpoint, or of an unknown size.
    """
    patches = checkpoint.tensors.get("image_encoder.trunk.patch_embed.proj.weight")
    if patches is None:
        hub = any(name.startswith("vision_encoder.backbone.") for name in checkpoint.tensors)
        advice = ", but weights in hub format: choose its folder, with config.json in it" if hub else ""
        raise checkpoints.CheckpointError(f"{checkpoint.name}: is not an original SAM 2 checkpoint{advice}")
    depth = len({name.split(".")[3] for name in checkpoint.tensors if name.startswith("image_encoder.trunk.blocks.")})
    size = _CONFIGS.get((patches.shape[0], depth))
    if size is None:
        raise checkpoints.CheckpointError(
            f"{checkpoint.name}: a SAM 2 of unknown size ({depth} blocks, {patches.shape[0]} wide); known are the "
            "tiny, small, base-plus and large ones"
        )
    version = "2.1" if "no_obj_embed_spatial" in checkpoint.tensors else "2"
    return f"sam{version}/sam{version}_hiera_{size}.yaml"


def _alike(prompts: Sequence[MaskPrompt]) -> Iterator[list[int]]:
    """The prompts' numbers in groups of one form: padding them to one would change what the model sees."""
    groups: dict[tuple[bool, int], list[int]] = {}
    for number, prompt in enumerate(prompts):
        groups.setdefault((prompt.box is None, len(prompt.points)), []).append(number)
    yield from groups.values()


@contextmanager
def _reduced_precision(device: torch.device) -> Iterator[None]:
    """bfloat16 arithmetic on GPUs that have it, as in ImgEdit's repository; full precision elsewhere."""
    wanted = device.type == "cuda" and model_management.should_use_bf16(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=wanted):
        yield
