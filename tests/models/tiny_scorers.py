"""A tiny CLIP with both encoders, and aesthetic heads in LAION's layout."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from tests.models.tiny import _clip_tokenizer


def clip(folder: Path, dimensions: int = 24) -> Path:
    """CLIP of two layers of 32 channels on each side, for 32 x 32 pixels, with OpenAI's own tokenizer."""
    torch.manual_seed(9)
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**layers, "image_size": 32, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=layers, vision_config=vision, projection_dim=dimensions)).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    _clip_tokenizer(folder)
    return folder


def head(file: Path, dimensions: int = 24) -> Path:
    """An aesthetic head as LAION's training saves it: five linear layers with dropout between some."""
    torch.manual_seed(10)
    parts = [
        torch.nn.Linear(dimensions, 16), torch.nn.Dropout(0.2), torch.nn.Linear(16, 12), torch.nn.Dropout(0.2),
        torch.nn.Linear(12, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 4), torch.nn.Linear(4, 1),
    ]  # fmt: skip
    model = torch.nn.Module()
    model.layers = torch.nn.Sequential(*parts)
    torch.save(model.state_dict(), file)
    return file
