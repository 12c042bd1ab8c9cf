"""Foreign modules (transformers', ultralytics', sam2's) inside ComfyUI's memory manager.

ComfyUI loads its own models layer by layer, which needs layers built from `comfy.ops`. Foreign ones have plain
layers, so they are loaded and unloaded whole: counted in `loaded_models()`, moved to the offload device when another
model needs room or somebody calls `/free`, and back when they are used again.

    encoder = ManagedModule(SomeModel(config), "CLIP ViT-B/32")
    with encoder.on_device() as module:
        for photo in each(photos):
            module(photo.to(encoder.device))
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher

Module = TypeVar("Module", bound=torch.nn.Module)

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
"""What a model is kept and computed in, by the names that widgets list."""

EVERYTHING = 1e32
"""Bytes: ComfyUI's own stand-in for no limit."""


class OutOfMemory(RuntimeError):
    """The device's memory did not suffice; every model has been unloaded by then."""


class ManagedModule(Generic[Module]):
    """One module that ComfyUI's memory manager counts, loads and unloads.

    Attributes:
        patcher: what the manager holds. ComfyUI's output cache looks for this name.
    """

    def __init__(self, module: Module, name: str, dtype: torch.dtype | None = None) -> None:
        """Takes the module over: in evaluation mode, without gradients, on the offload device.

        Args:
            name: for messages and ComfyUI's log.
            dtype: what to convert floating-point weights to; None leaves them.
        """
        offload = model_management.unet_offload_device()
        # Not `dtype=None`: some libraries' models take any dtype for one to convert to.
        options: dict[str, Any] = {"dtype": dtype} if dtype else {}
        module = module.eval().requires_grad_(False).to(device=offload, **options)
        self.name = name
        self._module = module
        self.patcher = _WholePatcher(
            _holder(module, name), model_management.get_torch_device(), offload, size=size_of(module)
        )

    @property
    def device(self) -> torch.device:
        """Where the module computes; its inputs belong there. Outside `on_device` it may lie elsewhere."""
        device: torch.device = self.patcher.load_device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The type of its first floating-point weight."""
        return next((weight.dtype for weight in self._module.parameters() if weight.is_floating_point()), torch.float32)

    @contextmanager
    def on_device(self, working_bytes: int = 0) -> Iterator[Module]:
        """The module, loaded, with gradients off.

        Args:
            working_bytes: memory that the work on it will take, beside the weights and ComfyUI's usual reserve.

        Raises:
            OutOfMemory: loading or the block ran out of memory. Every model is unloaded first.
        """
        with out_of_memory_explained(self.name), torch.no_grad():
            model_management.load_models_gpu([self.patcher], memory_required=working_bytes)
            yield self._module


@contextmanager
def out_of_memory_explained(name: str) -> Iterator[None]:
    """Turns running out of memory, on a GPU or on the CPU, into one line, after unloading every model."""
    try:
        yield
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # whose locals hold what filled the memory
        model_management.unload_all_models()
        model_management.soft_empty_cache()
        raise OutOfMemory(
            f"{name}: out of memory. Every model was unloaded; try smaller images, fewer at a time, or a smaller model"
        ) from None


def size_of(module: torch.nn.Module) -> int:
    """Bytes of a module's parameters and buffers, shared ones counted once."""
    tensors = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.nbytes for tensor in tensors.values())


class _Holder(torch.nn.Module):
    """Carries the manager's bookkeeping attributes, which some modules (transformers') do not let it set."""

    device: torch.device | None = None

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module


def _holder(module: torch.nn.Module, name: str) -> torch.nn.Module:
    """A holder whose class bears the name, since ComfyUI logs the class name of what it loads."""
    holder: _Holder = type(name, (_Holder,), {})(module)
    return holder


class _WholePatcher(ModelPatcher):  # type: ignore[misc]  # ComfyUI's, of which mypy knows nothing
    """A patcher that moves its module all at once: half a foreign module on another device cannot compute."""

    def partially_load(
        self, device_to: torch.device, extra_memory: float = 0, force_patch_weights: bool = False
    ) -> Any:
        return super().partially_load(device_to, EVERYTHING, force_patch_weights)

    def partially_unload(
        self, device_to: torch.device, memory_to_free: float = 0, force_patch_weights: bool = False
    ) -> int:
        return 0


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or model_management.is_oom(error):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
