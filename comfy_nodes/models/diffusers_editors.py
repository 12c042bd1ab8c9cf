"""Edit and inpaint pipelines of diffusers in ComfyUI's memory manager: loaded part by part as they are used.

`Load Diffusers Editor` makes a `DiffusersEditor`, `Diffusers Edit` calls it. What a pipeline takes is read off its
`__call__`; nothing here knows of samples or masks beyond a picture. Parts come onto the device when they are first
called, so a text encoder makes room for what follows it, and `/free` takes all of them off.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from comfy.utils import ProgressBar
from PIL import Image
from safetensors import SafetensorError

from .checkpoints import CheckpointError, one_line
from .diffusers_folders import checked_class, library, locate
from .managed import DTYPES, ManagedModule, out_of_memory_explained

Use = Literal["as saved", "inpaint", "image to image"]

ENTRIES = ("encode", "decode", "generate", "get_image_features", "get_text_features")
"""Methods beside `forward` that pipelines call their parts by."""


BYTES_PER_PIXEL = 2178
"""What a VAE takes while it decodes, in values for each pixel of the picture: ComfyUI's estimate (comfy/sd.py,
`memory_used_decode`). Nothing else of a pipeline takes more beside its weights."""

_BROKEN = (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError, SafetensorError)


@dataclass(frozen=True)
class EditRequest:
    """What is asked of a pipeline beside picture and mask. None leaves a setting to the pipeline."""

    prompt: str
    seed: int
    steps: int
    guidance: float | None = None
    strength: float | None = None
    negative_prompt: str | None = None
    true_cfg: float | None = None
    image_guidance: float | None = None


SETTINGS = {
    "guidance": "guidance_scale",
    "strength": "strength",
    "negative_prompt": "negative_prompt",
    "true_cfg": "true_cfg_scale",
    "image_guidance": "image_guidance_scale",
}
"""Our names of optional settings, and the pipelines'."""


def load(
    model: str,
    revision: str,
    use: Use = "as saved",
    dtype: str = "auto",
    variant: str = "",
    allow_download: bool = False,
) -> DiffusersEditor:
    """Reads a pipeline. Arguments as in `diffusers_folders.locate`.

    Args:
        use: the pipeline as its folder names it, or its weights in the inpaint or image-to-image pipeline of its kind.
        dtype: a key of `DTYPES`, or `auto` for what the device computes fastest.

    Raises:
        CheckpointError: it is not there, not safe or not whole, or takes no image.
        MissingLibrary: diffusers is not installed.
    """
    folder = locate(model, revision, variant, allow_download)
    diffusers = library()
    pipeline_class = checked_class(folder)
    try:
        pipeline = pipeline_class.from_pretrained(
            str(folder),
            dtype=_dtype(dtype),
            variant=variant.strip() or None,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
        if use == "inpaint":
            pipeline = diffusers.AutoPipelineForInpainting.from_pipe(pipeline)
        elif use == "image to image":
            pipeline = diffusers.AutoPipelineForImage2Image.from_pipe(pipeline)
    except (*_BROKEN, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{folder.name}: cannot be loaded ({one_line(error)})") from None
    return DiffusersEditor(pipeline, model.strip())


class DiffusersEditor:
    """One pipeline that edits pictures.

    Attributes:
        name: for messages.
    """

    def __init__(self, pipeline: Any, name: str) -> None:
        """Takes the pipeline's parts over.

        Raises:
            CheckpointError: it takes no image.
        """
        self.name = name
        self._kind = type(pipeline).__name__
        self._takes = frozenset(inspect.signature(type(pipeline).__call__).parameters)
        if "image" not in self._takes:
            raise CheckpointError(
                f"{name}: {self._kind} takes no image, it makes pictures from words alone: set pipeline to inpaint or "
                "image to image, or take an editing model"
            )
        pipeline.set_progress_bar_config(disable=True)
        modules = {part: one for part, one in pipeline.components.items() if isinstance(one, torch.nn.Module)}
        self._parts = {part: ManagedModule(module, f"{part} of {name}") for part, module in modules.items()}
        for part, module in modules.items():
            _load_on_use(module, self._loader(self._parts[part]))
        device = model_management.get_torch_device()
        # A pipeline asks its first part where it lies, which here is wherever the memory manager left it.
        pipeline.__class__ = type(self._kind, (type(pipeline),), {"_execution_device": property(lambda _: device)})
        self._pipeline = pipeline
        self._working_bytes = 0

    @property
    def grid(self) -> int:
        """Pixels that a picture's sides must be multiples of; 1 where the pipeline does not say."""
        processor = getattr(self._pipeline, "image_processor", None)
        return int(processor.config.get("vae_scale_factor", 1)) if processor is not None else 1

    @property
    def patcher(self) -> ModelPatcher:
        """The largest part's: what ComfyUI's output cache knows a model by."""
        return max((part.patcher for part in self._parts.values()), key=lambda patcher: patcher.model_size())

    def edit(
        self, picture: np.ndarray, mask: np.ndarray | None, request: EditRequest, on_step: Callable[[int, int], None]
    ) -> np.ndarray:
        """One edited picture.

        Args:
            picture: uint8 [H, W, 3].
            mask: bool [H, W], what to edit; for pipelines that take one, and only for them.
            on_step: called after each step with (steps done, steps in all).

        Returns:
            uint8 [H, W, 3].

        Raises:
            ValueError: something is asked for that the pipeline does not take, a size that it would change, or a
                picture that its safety checker blacked out.
            OutOfMemory: every model is unloaded by then.
            comfy.model_management.InterruptProcessingException: the user cancelled.
        """
        height, width = picture.shape[:2]
        self._check_size(width, height)
        arguments = call_arguments(self._takes, self._kind, request, mask is not None, width, height)
        arguments["image"] = Image.fromarray(picture)
        if mask is not None:
            arguments["mask_image"] = Image.fromarray(mask.astype(np.uint8) * 255)
        if "callback_on_step_end" in self._takes:
            arguments["callback_on_step_end"] = _stepping(on_step, request.steps)
        itemsize = max(part.dtype.itemsize for part in self._parts.values())
        self._working_bytes = BYTES_PER_PIXEL * itemsize * width * height
        with out_of_memory_explained(self.name), torch.no_grad():
            result = self._pipeline(**arguments)
        if any(getattr(result, "nsfw_content_detected", None) or ()):
            raise ValueError(f"{self.name}: its safety checker blacked the picture out: take another prompt or seed")
        made = np.asarray(result.images[0].convert("RGB"))
        if made.shape != picture.shape:
            raise ValueError(
                f"{self.name}: the picture went in as {width} x {height} and came out as {made.shape[1]} x "
                f"{made.shape[0]}: put Fit Photo to Size before it, with a size of this model"
            )
        return made

    def _check_size(self, width: int, height: int) -> None:
        if width % self.grid or height % self.grid:
            raise ValueError(
                f"image: {width} x {height} is no multiple of {self.grid}, and {self._kind} would shift its pixels: "
                f"put Fit Photo to Size or Crop Around Mask before it, with multiple {max(8, self.grid)}"
            )

    def _loader(self, part: ManagedModule[Any]) -> Callable[[], None]:
        def make_ready() -> None:
            model_management.throw_exception_if_processing_interrupted()
            if part.patcher.loaded_size() == 0:
                model_management.load_models_gpu([part.patcher], memory_required=self._working_bytes)

        return make_ready


def call_arguments(
    takes: frozenset[str], kind: str, request: EditRequest, masked: bool, width: int, height: int
) -> dict[str, Any]:
    """What a pipeline is called with, beside the pictures and the callback.

    Args:
        takes: the names of its parameters.
        kind: its class, for messages.
        masked: whether there is a mask.

    Raises:
        ValueError: something is asked for that it does not take, or it needs a mask.
    """
    if masked and "mask_image" not in takes:
        raise ValueError(f"mask: {kind} takes none; wire the mask to Blend Edit behind it instead")
    if not masked and "mask_image" in takes:
        raise ValueError(f"mask: {kind} needs one, wire what is to be edited")
    arguments: dict[str, Any] = {"prompt": request.prompt, "num_inference_steps": request.steps}
    for ours, theirs in SETTINGS.items():
        value = getattr(request, ours)
        if value is None:
            continue
        if theirs not in takes:
            raise ValueError(f"{ours}: {kind} has no {theirs}; leave it at its default")
        arguments[theirs] = value
    sizes: Mapping[str, int] = {"width": width, "height": height, "max_area": width * height}
    arguments |= {name: value for name, value in sizes.items() if name in takes}
    # On the CPU, so that a seed means the same picture on every device.
    arguments["generator"] = torch.Generator("cpu").manual_seed(request.seed)
    return arguments


def _load_on_use(module: torch.nn.Module, make_ready: Callable[[], None]) -> None:
    """Has a part loaded before whatever a pipeline may call it by."""
    module.register_forward_pre_hook(lambda *_: make_ready())
    for entry in ENTRIES:
        method = getattr(module, entry, None)
        if callable(method):
            setattr(module, entry, _ready_first(method, make_ready))


def _ready_first(method: Callable[..., Any], make_ready: Callable[[], None]) -> Callable[..., Any]:
    def called(*arguments: Any, **options: Any) -> Any:
        make_ready()
        return method(*arguments, **options)

    return called


def _stepping(on_step: Callable[[int, int], None], steps: int) -> Callable[..., dict[str, Any]]:
    def callback(pipeline: Any, step: int, _timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        model_management.throw_exception_if_processing_interrupted()
        # Fewer than were asked for, where strength leaves the first ones out.
        on_step(step + 1, getattr(pipeline, "num_timesteps", steps))
        return kept

    return callback


def progress(pictures: int) -> Callable[[int], Callable[[int, int], None]]:
    """One progress bar over all steps of so many pictures: gives each picture, counted from 0, its `on_step`."""
    bar = ProgressBar(pictures)

    def of(number: int) -> Callable[[int, int], None]:
        return lambda done, steps: bar.update_absolute(number * steps + done, pictures * steps)

    return of


def _dtype(name: str) -> torch.dtype:
    if name != "auto":
        return DTYPES[name]
    device = model_management.get_torch_device()
    if model_management.should_use_bf16(device):
        return torch.bfloat16
    return torch.float16 if model_management.should_use_fp16(device) else torch.float32
