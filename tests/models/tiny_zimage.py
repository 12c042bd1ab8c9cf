"""Z-Image at its own width, which ComfyUI fixes, with one layer: 0.9 billion weights, folded into a few kilobytes."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.models.tiny_weights import comfy_modules, folded, save, shapes

DIM, WORDS = 3840, 2560
"""Channels of Z-Image, and how wide the words of its encoder are, Qwen3 4B (ComfyUI's model_detection.py and z_image.py)."""


def z_image(file: Path) -> Path:
    """A Z-Image state dict, as `torch.save` writes it."""
    comfy_modules()
    import comfy.ops
    from comfy.ldm.lumina.model import NextDiT

    wanted = shapes(
        lambda: NextDiT(
            patch_size=2,
            in_channels=16,
            dim=DIM,
            cap_feat_dim=WORDS,
            n_layers=1,
            qk_norm=True,
            n_heads=30,
            n_kv_heads=30,
            axes_dims=[32, 48, 48],
            axes_lens=[1536, 512, 512],
            rope_theta=256.0,
            ffn_dim_multiplier=8.0 / 3.0,
            z_image_modulation=True,
            time_scale=1000.0,
            pad_tokens_multiple=32,
            dtype=torch.float16,
            operations=comfy.ops.disable_weight_init,
        )
    )
    return save(folded(wanted, 31), file)
