"""Tiny random SAM 2 checkpoints: hub format of 64 pixels, and the original package's smallest with its hub twin."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from transformers import Sam2Config, Sam2Model


def hub(folder: Path, seed: int = 5) -> Path:
    """A SAM 2 of 90,000 parameters that sees 64 x 64 pixels, with image processor."""
    from transformers import Sam2ImageProcessor

    torch.manual_seed(seed)
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [64, 64],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 1, 1],
        "blocks_per_stage": [1, 1, 2, 1],
        "global_attention_blocks": [3],
        "window_size_per_stage": [4, 4, 4, 4],
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
    }
    decoder = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32}
    prompts = {"hidden_size": 32, "image_size": 64}
    model = Sam2Model(
        Sam2Config(vision_config=vision, mask_decoder_config=decoder, prompt_encoder_config=prompts)
    ).eval()
    _liven(model.mask_decoder)
    model.save_pretrained(folder)
    size = {"height": 64, "width": 64}
    Sam2ImageProcessor(size=size, mask_size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def original(file: Path) -> dict[str, torch.Tensor]:
    """SAM 2.1 tiny from the package's own configuration, saved as its makers save it; gives its state dict."""
    import sam2
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    torch.manual_seed(6)
    config = OmegaConf.load(Path(sam2.__file__).parent / "configs" / "sam2.1" / "sam2.1_hiera_t.yaml")
    config.model.image_encoder.neck.position_encoding.warmup_cache = False
    model = instantiate(config.model, _recursive_=True)
    _liven(model.sam_mask_decoder)
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.normal_(std=0.02)
    torch.save({"model": model.state_dict()}, file)
    return model.state_dict()


def twin(tensors: dict[str, torch.Tensor], folder: Path, side: int) -> Path:
    """An original tiny SAM 2.1's image part as a hub-format folder, by transformers' naming, for side x side pixels."""
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": {"model_type": "sam2_hiera_det_model", "image_size": [side, side]},
        "backbone_feature_sizes": [[side // stride] * 2 for stride in (4, 8, 16)],
    }
    model = Sam2Model(Sam2Config(vision_config=vision, prompt_encoder_config={"image_size": side}))
    model.load_state_dict(_hub_names(tensors))
    model.save_pretrained(folder)
    return folder


def _liven(decoder: torch.nn.Module) -> None:
    """Random weights give flat masks; this makes each prompt's differ, and stable in SAM's sense."""
    with torch.no_grad():
        for number, head in enumerate(decoder.output_hypernetworks_mlps):
            for weight in head.parameters():
                weight.mul_(4).add_(0.02 * number)


_RENAMED = (
    (r"^sam_", ""),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^image_encoder\.trunk", "vision_encoder.backbone"),
    (r"^image_encoder\.neck\.convs\.(\d)\.conv", r"vision_encoder.neck.convs.\1"),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"\.norm(\d|_final_attn)\.", r".layer_norm\1."),
    (r"\.out_proj\.", ".o_proj."),
    (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
    (r"mask_downscaling\.0", "mask_embed.conv1"),
    (r"mask_downscaling\.1", "mask_embed.layer_norm1"),
    (r"mask_downscaling\.3", "mask_embed.conv2"),
    (r"mask_downscaling\.4", "mask_embed.layer_norm2"),
    (r"mask_downscaling\.6", "mask_embed.conv3"),
    (r"output_upscaling\.0", "upscale_conv1"),
    (r"output_upscaling\.1", "upscale_layer_norm"),
    (r"output_upscaling\.3", "upscale_conv2"),
    (r"(mlps\.\d|_head)\.layers\.0", r"\1.proj_in"),
    (r"(mlps\.\d|_head)\.layers\.1", r"\1.layers.0"),
    (r"(mlps\.\d|_head)\.layers\.2", r"\1.proj_out"),
    (r"\.mlp\.layers\.0", ".mlp.proj_in"),
    (r"\.mlp\.layers\.1", ".mlp.proj_out"),
)

_VIDEO = ("memory_", "maskmem_", "obj_ptr_", "no_obj_", "no_mem_pos_enc", "mask_downsample")
"""What follows objects through videos; the image model has none of it."""


def _hub_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    named, points = {}, []
    for name, tensor in tensors.items():
        if name.startswith(_VIDEO):
            continue
        if "point_embeddings" in name:
            points.append(tensor)
            continue
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        named[name] = tensor
    named["prompt_encoder.point_embed.weight"] = torch.cat(points)
    named["shared_image_embedding.positional_embedding"] = named["prompt_encoder.shared_embedding.positional_embedding"]
    return named
