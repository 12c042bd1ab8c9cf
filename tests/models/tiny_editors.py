"""Tiny random pipelines of diffusers, saved by diffusers itself as safetensors: a UNet of 32 channels, a VAE of 8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTokenizer

from tests.models import tiny


def instruct(folder: Path) -> Path:
    """InstructPix2Pix: an image in, no mask."""
    return _saved(StableDiffusionInstructPix2PixPipeline, folder, 8, image_encoder=None)


def inpaint(folder: Path) -> Path:
    """Stable Diffusion Inpaint: image and mask in."""
    return _saved(StableDiffusionInpaintPipeline, folder, 9)


def text_to_image(folder: Path) -> Path:
    """Stable Diffusion: takes no image."""
    return _saved(StableDiffusionPipeline, folder, 4)


def _saved(pipeline_class: Any, folder: Path, channels: int, **more: Any) -> Path:
    words = tiny.clip_text(folder.parent / f"{folder.name}-words")
    torch.manual_seed(5)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
    )
    pipeline_class(
        vae=vae,
        text_encoder=CLIPTextModel.from_pretrained(words),
        tokenizer=CLIPTokenizer.from_pretrained(words),
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        **more,
    ).save_pretrained(folder)
    return folder
