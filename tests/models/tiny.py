"""Tiny random checkpoints in the real file formats, written by the libraries that write the real ones."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    SwinConfig,
)

from driver.comfyui.own import find_comfyui

TINY_SCALES = {"n": [0.33, 0.125, 1024]}
"""An eighth of the published widths: 1.4 million parameters, most of them in the text branches."""


def clip_text(folder: Path, dimensions: int = 512, width: int = 32, layers: int = 2, heads: int = 2) -> Path:
    """CLIP's text half with OpenAI's own tokenizer (ComfyUI carries its files)."""
    torch.manual_seed(1)
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=dimensions,
    )
    CLIPTextModelWithProjection(config).save_pretrained(folder)
    _clip_tokenizer(folder)
    return folder


def yolo_world(file: Path, scales: dict[str, list[float]] | None = None, version: int = 2) -> Path:
    """YOLO-World saved by ultralytics itself: a pickle of the whole module, in half precision."""
    # the model classes log where their settings are; keep them out of the user's home
    os.environ.setdefault("YOLO_CONFIG_DIR", str(file.parent))
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    from ultralytics import YOLOWorld

    torch.manual_seed(2)
    library = YOLOWorld(_recipe(file.with_suffix(".yaml"), scales or TINY_SCALES, version))
    _liven(library.model)
    library.save(file)
    return file


def as_safetensors(checkpoint: Path, file: Path, recipe: bool = True) -> Path:
    """A `.pt` of `yolo_world` as safetensors, with or without ultralytics' recipe in the metadata."""
    from comfy_nodes.models import checkpoints

    read = checkpoints.read(checkpoint)
    tensors = {name: tensor.contiguous() for name, tensor in read.tensors.items()}
    save_file(tensors, file, {"yaml": json.dumps(read.module.yaml)} if recipe else None)
    return file


def grounding_dino(folder: Path) -> Path:
    """Grounding DINO with a Swin of 16 channels and a BERT of one layer."""
    torch.manual_seed(3)
    backbone = SwinConfig(
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 1],
        num_heads=[1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3"],
    )
    text = BertConfig(vocab_size=1100, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        num_queries=30,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_feature_levels=3,
        max_text_len=64,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    BertTokenizer(_bert_words(folder)).save_pretrained(folder)
    return folder


def owlv2(folder: Path) -> Path:
    """OWLv2 with one layer of 32 channels on each side."""
    torch.manual_seed(4)
    text = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**text, "image_size": 64, "patch_size": 16}
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=32)
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    Owlv2ImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    _clip_tokenizer(folder, longest=16)
    return folder


def _recipe(file: Path, scales: dict[str, list[float]], version: int) -> Path:
    """ultralytics' own recipe of YOLO-World with other scales."""
    import ultralytics
    import yaml

    name = "yolov8-worldv2.yaml" if version == 2 else "yolov8-world.yaml"
    known = yaml.safe_load((Path(ultralytics.__file__).parent / "cfg/models/v8" / name).read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump({**known, "scales": scales, "scale": next(iter(scales))}), encoding="utf-8")
    return file


def _liven(model: torch.nn.Module) -> None:
    """Random weights see next to nothing and say it everywhere alike; this makes boxes and scores differ."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.05, 0.4)
            module.bias.data.normal_(0, 0.2)
    for head in model.model[-1].cv4:
        head.bias.data.fill_(-2.0)
        head.logit_scale.data.fill_(0.5)
    for branch in model.model[-1].cv2:
        branch[-1].weight.data.normal_(0, 0.3)


def _clip_tokenizer(folder: Path, longest: int = 77) -> None:
    source = find_comfyui() / "comfy" / "sd1_tokenizer"
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(source / name, folder / name)
    CLIPTokenizer.from_pretrained(folder, model_max_length=longest).save_pretrained(folder)


def _bert_words(folder: Path) -> str:
    """A BERT vocabulary of letters, with the special tokens where Grounding DINO looks for them (101, 102, 1012, 1029)."""
    places = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789,-'"]
    words = iter(["cat", "dog", "bus", "red", *letters, *(f"##{letter}" for letter in letters)])
    lines = [places[number] if number in places else next(words, f"[unused{number}]") for number in range(1100)]
    file = folder / "vocab.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)
