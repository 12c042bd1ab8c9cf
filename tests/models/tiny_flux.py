"""FLUX.1 Fill and Kontext with a hidden size of 128, and what goes with them: VAE, CLIP-L, Redux and its image encoder.

ComfyUI reads a FLUX model's sizes from its tensors, so one block of each kind is enough. CLIP-L and SigLIP have sizes
of their own that it does not read; they are folded (tiny_weights).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tests.models.tiny_weights import comfy_modules, filled, folded, save, shapes

HIDDEN = 128
LATENT = 16
TEXT = 4096
POOLED = 2048
"""What ComfyUI's SD3 text encoder gives with CLIP-L alone: as wide as T5's words, and as CLIP-L's and CLIP-G's sentences.
FLUX takes any width of the latter, so a FLUX model runs without the 4.7 billion parameters of T5-XXL."""


def fill(file: Path) -> Path:
    """A FLUX.1 Fill state dict: the latent, the masked photo's latent and 64 mask channels come in."""
    return _flux(file, in_channels=2 * LATENT + 64, seed=11)


def kontext(file: Path) -> Path:
    """A FLUX.1 Kontext state dict, which has the shape of FLUX.1 dev."""
    return _flux(file, in_channels=LATENT, seed=12)


def longcat(file: Path, text: int = TEXT) -> Path:
    """A LongCat-Image-Edit state dict: FLUX's without pooled words and guidance.

    Args:
        text: the words' width. With 3584, that of its encoder, of which there is no small one, ComfyUI takes it for
            LongCat; with another one for FLUX.
    """
    return _flux(file, LATENT, 18, vec_in_dim=None, context_in_dim=text, guidance_embed=False)


def lora(file: Path) -> Path:
    """A LoRA of rank 4 on what a model of this module gives out of its one double block's attention."""
    key = "diffusion_model.double_blocks.0.img_attn.proj"
    wanted = {f"{key}.lora_A.weight": torch.Size((4, HIDDEN)), f"{key}.lora_B.weight": torch.Size((HIDDEN, 4))}
    return save({name: 30 * tensor for name, tensor in filled(wanted, 17).items()}, file)


def _flux(file: Path, in_channels: int, seed: int, **other: Any) -> Path:
    comfy_modules()
    import comfy.ops
    from comfy.ldm.flux.model import Flux

    sizes = {
        "in_channels": in_channels,
        "out_channels": LATENT,
        "vec_in_dim": POOLED,
        "context_in_dim": TEXT,
        "hidden_size": HIDDEN,
        "mlp_ratio": 4.0,
        "num_heads": 1,
        "depth": 1,
        "depth_single_blocks": 1,
        "axes_dim": [16, 56, 56],
        "theta": 10000,
        "patch_size": 2,
        "qkv_bias": True,
        "guidance_embed": True,
        "txt_ids_dims": [],
    }
    operations = comfy.ops.disable_weight_init
    wanted = shapes(lambda: Flux(**{**sizes, **other}, dtype=torch.float16, operations=operations))
    return save(filled(wanted, seed), file)


def vae(file: Path, channels: int = LATENT) -> Path:
    """FLUX's (16 channels) autoencoder or SDXL's (4): ComfyUI fixes the encoder's width and reads the decoder's."""
    comfy_modules()
    from comfy.ldm.models.autoencoder import AutoencoderKL

    return save(folded(vae_shapes(AutoencoderKL, channels), 13), file)


def vae_shapes(autoencoder: type[torch.nn.Module], channels: int) -> dict[str, torch.Size]:
    """Tensors of the autoencoder of Stable Diffusion and FLUX with a decoder of a quarter of its width."""
    settings = {
        "double_z": True,
        "z_channels": channels,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    return shapes(lambda: autoencoder(ddconfig=settings, embed_dim=channels, decoder_ddconfig={**settings, "ch": 32}))


def clip_l(file: Path) -> Path:
    """CLIP-L's text half at its own size."""
    comfy_modules()
    import comfy.ops
    import comfy.sd1_clip
    from comfy.clip_model import CLIPTextModel

    config = json.loads((Path(comfy.sd1_clip.__file__).parent / "sd1_clip_config.json").read_text(encoding="utf-8"))
    wanted = shapes(lambda: CLIPTextModel(config, torch.float16, "meta", comfy.ops.disable_weight_init))
    return save(folded(wanted, 14), file)


def sigclip(file: Path) -> Path:
    """SigLIP's image half at the size of sigclip_vision_patch14_384."""
    comfy_modules()
    import comfy.clip_vision
    import comfy.ops

    config = json.loads(
        (Path(comfy.clip_vision.__file__).parent / "clip_vision_siglip_384.json").read_text(encoding="utf-8")
    )
    model = comfy.clip_vision.IMAGE_ENCODERS[config["model_type"]]
    return save(folded(shapes(lambda: model(config, torch.float16, "meta", comfy.ops.disable_weight_init)), 15), file)


def redux(file: Path) -> Path:
    """Redux at its own size: from SigLIP's 1152 numbers to 4096 for FLUX."""
    comfy_modules()
    from comfy.ldm.flux.redux import ReduxImageEncoder

    return save(folded(shapes(ReduxImageEncoder), 16), file)
