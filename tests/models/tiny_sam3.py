"""A SAM 3.1 of core's own classes, small: what Load Checkpoint gives, without a checkpoint.

Core reads none of its sizes from the weights: 32 layers of 1024 channels on 1008 x 1008 pixels, more than a billion numbers,
which take a CPU minutes. So the same classes are made small here, with random weights.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch

WIDTH, CHANNELS, SIDE = 64, 32, 112
"""Channels of the two encoders and of the detector; pixels of the side of the square that it sees."""

SIZES = {
    "embed_dim": WIDTH,
    "d_model": CHANNELS,
    "depth": 2,
    "img_size": SIDE,
    "pretrain_img_size": SIDE // 2,
    "window_size": 4,
    "global_att_blocks": (1,),
}

READER = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "num_attention_heads": 4, "num_hidden_layers": 1}


def sam3(seed: int = 3) -> tuple[Any, Any]:
    """MODEL and CLIP; on a few words it scores some queries above one half and some below."""
    from comfy import model_management, sd
    from comfy.model_patcher import CoreModelPatcher
    from comfy.supported_models import SAM31
    from comfy.text_encoders import sam3_clip

    torch.manual_seed(seed)
    config = SAM31({"image_model": "SAM31", "dtype": torch.float32, **SIZES})
    model = config.get_model({})
    with mock.patch.dict(sam3_clip.SAM3_CLIP_CONFIG, READER):
        clip = sd.CLIP(config.clip_target(), model_options={"dtype": torch.float32})
    for network in (model.diffusion_model, clip.cond_stage_model):
        _liven(network)
    device = model_management.get_torch_device()
    patcher = CoreModelPatcher(model, load_device=device, offload_device=model_management.unet_offload_device())
    return patcher, clip


def _liven(network: torch.nn.Module) -> None:
    """Random weights, so large that what a word says and a pixel shows reaches the scores."""
    for name, weight in network.named_parameters():
        with torch.no_grad():
            if weight.dim() > 1:
                weight.normal_(0, 1.5 / weight[0].numel() ** 0.5)
            else:
                weight.fill_(1.0 if name.endswith("weight") else 0.0)
