"""Tiny random text encoders in the single-file form that ComfyUI loads: a Qwen3-VL and a Qwen2.5-VL.

ComfyUI tells architectures by names and a few widths, and takes a language model's sizes from `model_options`; the
vision tower's it keeps in a table, which tests have to replace to load a small one.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

VISION = {"hidden_size": 128, "intermediate_size": 64, "depth": 3, "deepstack_visual_indexes": [0, 1, 2]}
"""For `QWEN3VL_VISION["qwen3vl_8b"]`. What it has in common with the real one: 16 heads, patches of 16 pixels."""

LANGUAGE = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
"""Three layers would do for the pictures; heads have 128 channels and the vocabulary 151,936 words, as in the real one."""


def qwen3_vl(file: Path) -> dict[str, Any]:
    """A Qwen3-VL of 20 million parameters, nearly all of them its vocabulary; gives the `model_options` to load it with.

    It says letters that depend on all that it reads, and never ends a reply by itself. `VISION` has to be in place.
    """
    from comfy.text_encoders import qwen3vl

    options = {"qwen3vl_8b_model_config": dict(LANGUAGE), "dtype": torch.float32}
    network = qwen3vl.te(model_type="qwen3vl_8b")(dtype=torch.float32, model_options=options).qwen3vl_8b.transformer
    torch.manual_seed(8)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight.normal_(0, 0.2) if weight.ndim > 1 else weight.fill_(float("norm" in name and "weight" in name))
        head = network.model.lm_head.weight
        letters = [ord(letter) - ord("!") for letter in string.ascii_letters]
        spoken = head[letters].clone()
        head.zero_()
        head[letters] = spoken
    renamed = {
        "model.language_model." + name.removeprefix("model.") if name.startswith("model.") else f"model.{name}": tensor
        for name, tensor in network.state_dict().items()
    }
    renamed["lm_head.weight"] = renamed.pop("model.language_model.lm_head.weight")
    save_file({name: tensor.contiguous() for name, tensor in renamed.items()}, file)
    return options


def qwen25_vl(file: Path) -> dict[str, Any]:
    """What ComfyUI tells a Qwen2.5-VL 7B by, and nothing more; gives the `model_options` to load it with."""
    save_file({"model.layers.0.self_attn.k_proj.bias": torch.zeros(512)}, file)
    return {"qwen25_7b_model_config": {**LANGUAGE, "num_hidden_layers": 1, "num_key_value_heads": 4}}
