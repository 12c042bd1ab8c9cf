"""Random weights in the shape of a ComfyUI model, as files in the formats that its loaders read.

The other tiny_*.py of diffusion models say which model at which size; here is how its tensors are made and written.
A model is built on torch's meta device, so that only its shapes cost anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import prod
from pathlib import Path

import torch
from safetensors.torch import save_file

from driver.comfyui.own import find_comfyui

State = dict[str, torch.Tensor]

SPREAD = 0.03
"""Standard deviation of weights: large enough to change a picture, small enough for half precision."""


def comfy_modules() -> None:
    """Makes ComfyUI's own modules importable, on the CPU."""
    source = str(find_comfyui())
    if source not in sys.path:
        sys.path.insert(0, source)
    from comfy.cli_args import args

    args.cpu = True  # has to be said before comfy.model_management is imported


def shapes(build: Callable[[], torch.nn.Module]) -> dict[str, torch.Size]:
    """The names and shapes of a model's tensors.

    Args:
        build: makes the model; it runs on the meta device.
    """
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in build().state_dict().items()}


def filled(wanted: dict[str, torch.Size], seed: int) -> State:
    """Half-precision weights, random and each for itself; what scales a norm is 1."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.ones(shape, dtype=torch.float16)
        if _scales(name, shape)
        else (torch.randn(shape, generator=generator) * SPREAD).half()
        for name, shape in wanted.items()
    }


def folded(wanted: dict[str, torch.Size], seed: int) -> State:
    """The same for models whose size ComfyUI fixes: all tensors are views into one strip of random numbers.

    Rows overlap, so a model of any size needs a few megabytes on disk. Only `torch.save` keeps it that way.
    """
    longest = max(prod(shape[1:]) + shape[0] for shape in wanted.values() if shape)
    strip = (torch.randn(longest, generator=torch.Generator().manual_seed(seed)) * SPREAD).half()
    ones = torch.ones(1, dtype=torch.float16)
    return {name: ones.expand(shape) if _scales(name, shape) else _view(strip, shape) for name, shape in wanted.items()}


def save(state: State, file: Path) -> Path:
    """Writes safetensors, or what `torch.save` writes where the name says so."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
    else:
        torch.save(state, file)
    return file


def _view(strip: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    if not shape:
        return strip[0]
    inner = [prod(shape[place + 1 :]) for place in range(1, len(shape))]
    return strip.as_strided(shape, (1, *inner))


def _scales(name: str, shape: torch.Size) -> bool:
    return len(shape) == 1 and name.endswith((".weight", ".scale", ".gamma"))
