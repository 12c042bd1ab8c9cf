"""Hub-format folders of vision-language models: what is checked before, and how weights and processor are read.

`transformers_vlm.LocalVlm` looks at the folder when its node runs and loads when the first question comes. Everything is read from
the folder: no hub, no code that a folder brings along, weights as safetensors only.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from comfy import model_management
from safetensors import SafetensorError
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as ARCHITECTURES

from ...models.checkpoints import FROM_FOLDER, CheckpointError, check_names, model_type, one_line
from ...models.managed import DTYPES, ManagedModule

_BROKEN = (OSError, ValueError, TypeError, KeyError, RuntimeError, ImportError, SafetensorError, pickle.UnpicklingError)


@dataclass(frozen=True)
class Loaded:
    """A model with what turns words and pictures into its inputs."""

    managed: ManagedModule[Any]
    processor: Any
    tokenizer: Any
    context: int | None
    """Most tokens of prompt and reply together, where config.json says."""
    bytes_per_token: int
    """About what each token of a batch takes while the model works, in bytes."""


def check(folder: Path) -> None:
    """Refuses early what could not be loaded later.

    Raises:
        CheckpointError: no image-text-to-text model, or quantised, or not as safetensors, or without a chat template.
    """
    found = model_type(folder)
    if found not in ARCHITECTURES:
        raise CheckpointError(
            f"{folder.name}: its config.json says {found or 'no model_type'}, which this transformers does not know as "
            "a model that reads images and writes text"
        )
    quantised = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "unknown") if isinstance(quantised, dict) else "unknown"
        raise CheckpointError(
            f"{folder.name}: its weights are quantised ({method}), which ComfyUI's memory manager cannot move; take the "
            "unquantised ones, or serve this folder and use Load VLM (endpoint profile)"
        )
    if not any(folder.glob("*.safetensors")):
        raise CheckpointError(f"{folder.name}: holds no .safetensors; get the weights in that form")


def load(folder: Path, dtype: str, min_pixels: int, max_pixels: int) -> Loaded:
    """Reads weights and processor.

    Args:
        dtype: a key of `DTYPES`, or `auto` for what the device computes fastest.
        min_pixels: images of fewer pixels are scaled up to this, of more than `max_pixels` down to that, where the
            architecture has no input size of its own.

    Raises:
        CheckpointError: broken or missing files, or weights that do not fit config.json.
    """
    processor, tokenizer = _processor(folder, min_pixels, max_pixels)
    try:
        read: Any = AutoModelForImageTextToText.from_pretrained(
            str(folder), use_safetensors=True, output_loading_info=True, dtype=_dtype(dtype), **FROM_FOLDER
        )
    except _BROKEN as error:
        raise CheckpointError(f"{folder.name}: {one_line(error)}") from None
    model, notes = read
    check_names(folder.name, type(model).__name__, notes["missing_keys"], (), len(model.state_dict()))
    if notes.get("mismatched_keys"):
        raise CheckpointError(f"{folder.name}: its weights have other sizes than config.json says")
    text = model.config.get_text_config()
    return Loaded(
        ManagedModule(model, f"VLM {folder.name}"),
        processor,
        tokenizer,
        getattr(text, "max_position_embeddings", None),
        _bytes_per_token(text, model.dtype.itemsize),
    )


def _processor(folder: Path, min_pixels: int, max_pixels: int) -> tuple[Any, Any]:
    try:
        processor = AutoProcessor.from_pretrained(str(folder), **FROM_FOLDER)
        # A second reading, as the whole processor would hand the bounds on to its tokenizer too, and that to every call.
        processor.image_processor = AutoImageProcessor.from_pretrained(
            str(folder), min_pixels=min_pixels, max_pixels=max_pixels, **FROM_FOLDER
        )
        tokenizer = processor.tokenizer
    except (*_BROKEN, AttributeError) as error:
        raise CheckpointError(f"{folder.name}: its processor cannot be read ({one_line(error)})") from None
    if not processor.chat_template:
        raise CheckpointError(
            f"{folder.name}: has no chat template, so it is a base model; take the one for conversations (-Instruct)"
        )
    # transformers makes an empty tokenizer where the file of its vocabulary is missing.
    if "score 1" not in tokenizer.decode(tokenizer.encode("score 1", add_special_tokens=False)):
        raise CheckpointError(f"{folder.name}: its tokenizer knows no words; get tokenizer.json again")
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor, tokenizer


def _dtype(name: str) -> torch.dtype:
    if name != "auto":
        return DTYPES[name]
    device = model_management.get_torch_device()
    return torch.bfloat16 if model_management.should_use_bf16(device) else torch.float32


def _bytes_per_token(config: Any, itemsize: int) -> int:
    """Keys and values of all layers, and the widest activations of one. Ours."""
    heads = config.num_attention_heads
    keys = getattr(config, "num_key_value_heads", None) or heads
    width = keys * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    return int(itemsize * (2 * config.num_hidden_layers * width + 4 * config.intermediate_size))
