"""FLUX.2 klein with a hidden size of 128, and its autoencoder with a decoder of a quarter of its width.

ComfyUI reads a FLUX.2 model's sizes from its tensors. The sizes of its text encoder, Qwen3 4B, are fixed, and so is the
least number of tokens that it is given (512): a stand-in of the same interface takes its place, CLIP-L by the SD3
loader, whose words are as wide as T5's (tiny_flux).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.models.tiny_flux import HIDDEN, TEXT, vae_shapes
from tests.models.tiny_weights import comfy_modules, filled, folded, save, shapes

LATENT = 32
"""Channels of the autoencoder; the model sees squares of 2 x 2 of them as one."""

MODEL, ENCODER, VAE = "flux-2-klein-4b-fp8.safetensors", "clip_l.pt", "flux2-vae.pt"
"""Names that the loaders are told: `klein` is a safetensors file, the others are folded, which only torch.save keeps."""


def klein(file: Path) -> Path:
    """A FLUX.2 klein state dict: one modulation for all blocks, no pooled text, no guidance."""
    comfy_modules()
    import comfy.ops
    from comfy.ldm.flux.model import Flux

    wanted = shapes(
        lambda: Flux(
            in_channels=4 * LATENT,
            out_channels=4 * LATENT,
            vec_in_dim=None,
            context_in_dim=TEXT,
            hidden_size=HIDDEN,
            mlp_ratio=3.0,
            num_heads=1,
            depth=1,
            depth_single_blocks=1,
            axes_dim=[32, 32, 32, 32],
            theta=2000,
            patch_size=1,
            qkv_bias=False,
            guidance_embed=False,
            txt_ids_dims=[3],
            global_modulation=True,
            mlp_silu_act=True,
            ops_bias=False,
            default_ref_method="index",
            ref_index_scale=10.0,
            dtype=torch.float16,
            operations=comfy.ops.disable_weight_init,
        )
    )
    return save(filled(wanted, 21), file)


def vae(file: Path) -> Path:
    """FLUX.2's autoencoder: FLUX's with 32 channels, whose latents are scaled by a mean and a variance that it brings."""
    comfy_modules()
    from comfy.ldm.models.autoencoder import AutoencoderKL

    scaling = {"bn.running_mean": torch.zeros(4 * LATENT), "bn.running_var": torch.ones(4 * LATENT)}
    return save(folded(vae_shapes(AutoencoderKL, LATENT), 22) | scaling, file)


def edit(*images: str, steps: int = 2) -> dict[str, Any]:
    """An edit of the first picture by klein in the API format, the others being references.

    The nodes and their settings are those of ComfyUI's template image_flux2_klein_image_edit_4b_distilled.

    Args:
        images: names in ComfyUI's input folder.
    """
    graph: dict[str, Any] = {
        "model": _node("UNETLoader", unet_name=MODEL, weight_dtype="default"),
        "clip": _node("CLIPLoader", clip_name=ENCODER, type="sd3", device="default"),
        "vae": _node("VAELoader", vae_name=VAE),
        "words": _node("CLIPTextEncode", clip=["clip", 0], text="Make it red."),
    }
    told = ["words", 0]
    for number, name in enumerate(images):
        graph[f"image{number}"] = _node("LoadImage", image=name)
        graph[f"latent{number}"] = _node("VAEEncode", pixels=[f"image{number}", 0], vae=["vae", 0])
        graph[f"told{number}"] = _node("ReferenceLatent", conditioning=told, latent=[f"latent{number}", 0])
        told = [f"told{number}", 0]
    return graph | {
        "zero": _node("ConditioningZeroOut", conditioning=told),
        "size": _node("GetImageSize", image=["image0", 0]),
        "empty": _node("EmptyFlux2LatentImage", width=["size", 0], height=["size", 1], batch_size=1),
        "sigmas": _node("Flux2Scheduler", steps=steps, width=["size", 0], height=["size", 1]),
        "guider": _node("CFGGuider", model=["model", 0], positive=told, negative=["zero", 0], cfg=1.0),
        "noise": _node("RandomNoise", noise_seed=1),
        "sampler": _node("KSamplerSelect", sampler_name="euler"),
        "sampled": _node(
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["sampler", 0],
            sigmas=["sigmas", 0],
            latent_image=["empty", 0],
        ),
        "edited": _node("VAEDecode", samples=["sampled", 0], vae=["vae", 0]),
        "save": _node("SaveImage", images=["edited", 0], filename_prefix="klein"),
    }


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
