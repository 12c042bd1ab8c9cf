"""A checkpoint of the SDXL family and its canny ControlNet, as small as ComfyUI's detection allows.

It tells SDXL and its distillates apart by 320 channels, the width of the text and the number of transformer blocks at
each step: KOALA-700M has the fewest. Its text encoders are CLIP-L and CLIP-G at their own sizes, folded (tiny_weights).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tests.models.tiny_flux import vae_shapes
from tests.models.tiny_weights import comfy_modules, folded, save, shapes

UNET: dict[str, Any] = {
    "image_size": 32,
    "in_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [1, 1, 1],
    "transformer_depth": [0, 2, 5],
    "channel_mult": [1, 1, 1],
    "transformer_depth_middle": -2,
    "use_linear_in_transformer": True,
    "context_dim": 2048,
    "adm_in_channels": 2816,
    "num_classes": "sequential",
    "num_head_channels": 64,
    "use_spatial_transformer": True,
    "legacy": False,
    "dtype": torch.float16,
    "device": "meta",
}
"""KOALA-700M's numbers of blocks, with one width for all steps and nothing in the middle."""


def checkpoint(file: Path) -> Path:
    """U-Net, text encoders and VAE in one file, under the names that Stability AI gave them."""
    comfy_modules()
    import comfy.ops
    import comfy.sd1_clip
    from comfy.clip_model import CLIPTextModel
    from comfy.ldm.models.autoencoder import AutoencoderKL
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    plain = comfy.ops.disable_weight_init
    home = Path(comfy.sd1_clip.__file__).parent
    wanted = _under(
        "model.diffusion_model.",
        shapes(lambda: UNetModel(**UNET, out_channels=4, transformer_depth_output=[0] * 6, operations=plain)),
    )
    wanted |= _under("first_stage_model.", vae_shapes(AutoencoderKL, 4))
    for place, config in (
        ("0.transformer.", "sd1_clip_config.json"),
        ("1.model.transformer.", "clip_config_bigg.json"),
    ):
        read = json.loads((home / config).read_text(encoding="utf-8"))
        text = shapes(lambda read=read: CLIPTextModel(read, torch.float16, "meta", plain))
        wanted |= _under(f"conditioner.embedders.{place}", text)
    return save(folded(wanted, 21), file)


def canny(file: Path) -> Path:
    """A ControlNet for that U-Net."""
    comfy_modules()
    import comfy.ops
    from comfy.cldm.cldm import ControlNet

    plain = comfy.ops.disable_weight_init
    return save(folded(shapes(lambda: ControlNet(**UNET, hint_channels=3, operations=plain)), 22), file)


def _under(prefix: str, wanted: dict[str, torch.Size]) -> dict[str, torch.Size]:
    return {prefix + name: shape for name, shape in wanted.items()}
