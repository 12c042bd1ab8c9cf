"""What one pass of each network costs, counted on the real classes of diffusers and transformers at their published
configurations.

The networks stand on torch's `meta` device: shapes without values, so nothing is downloaded or computed. torch's own
counter counts the operations (a multiplication and an addition are two), and what is alive at once is summed up.
`cost.py` makes edits of it.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import FlopCounterMode

LINEAR = {"addmm", "mm"}
"""Products with weights: what cards that can do so multiply in fp8 where the weights are stored so."""


@dataclass(frozen=True)
class Pass:
    """One pass of a network."""

    linear: float
    """FLOPs of products with weights."""
    other: float
    """FLOPs of attention and convolutions."""
    parameters: int
    alive: int
    """Bytes of tensors that are alive at once at most, in bf16, without the weights."""

    @property
    def flops(self) -> float:
        return self.linear + self.other


class _Shapes(TorchFunctionMode):
    """What a network derives from sizes on the CPU joins its tensors on `meta`, and attention is PyTorch's
    memory-efficient kernel, as on a card: what `meta` takes by itself would hold the whole matrix of scores."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        if any(one.is_meta for one in tensors) and func is not torch.Tensor.__getitem__:
            args, kwargs = tree_map(
                lambda one: one.to("meta") if isinstance(one, torch.Tensor) else one, (args, kwargs)
            )
        return _attention(*args, **kwargs) if func is functional.scaled_dot_product_attention else func(*args, **kwargs)


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Counted without its mask, which takes no operation that the counter knows."""
    if enable_gqa:
        key, value = (one.repeat_interleave(query.shape[-3] // one.shape[-3], -3) for one in (key, value))
    return torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, None, False, 0.0, is_causal, scale=scale
    )[0]


class _Alive(TorchDispatchMode):
    """Sums up the storages that operations made and nothing has let go of yet."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self._known = {one.untyped_storage()._cdata for one in (*network.parameters(), *network.buffers())}
        self.now = self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            if isinstance(one, torch.Tensor):
                self._count(one.untyped_storage())
        return found

    def _count(self, storage: torch.UntypedStorage) -> None:
        mark, size = storage._cdata, storage.nbytes()
        if mark not in self._known:
            self._known.add(mark)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, mark, size)

    def _gone(self, mark: int, size: int) -> None:
        self._known.discard(mark)
        self.now -= size


def counted(build: Callable[[], Any], run: Callable[[Any], Any]) -> Pass:
    """
    Args:
        build: makes the network.
        run: makes one pass of it, on tensors of `of`.
    """
    with torch.device("meta"):
        network = build().to(torch.bfloat16).eval()
    with torch.no_grad(), _Shapes(), FlopCounterMode(display=False) as counter, _Alive(network) as alive:
        run(network)
    found = {str(name).rpartition(".")[2]: count for name, count in counter.get_flop_counts()["Global"].items()}
    linear = sum(count for name, count in found.items() if name in LINEAR)
    parameters = sum(one.numel() for one in network.parameters())
    return Pass(linear, counter.get_total_flops() - linear, parameters, alive.most)


def of(*shape: int) -> torch.Tensor:
    """A tensor of a shape, without values."""
    return torch.empty(*shape, dtype=torch.bfloat16, device="meta")


@functools.cache
def flux1(image: int, text: int, channels: int) -> Pass:
    """FLUX.1 [dev] and what was made of it. transformer/config.json of black-forest-labs/FLUX.1-Fill-dev (384 channels:
    latent, masked latent and mask) and FLUX.1-Kontext-dev (64): diffusers' defaults and `guidance_embeds`.

    Args:
        image: tokens of pictures, a reference's too; 16 x 16 pixels each.
        text: tokens of the text.
        channels: of a token.
    """
    from diffusers import FluxTransformer2DModel

    def run(network: Any) -> Any:
        places, words = of(image, 3), of(text, 3)
        given = {"pooled_projections": of(1, 768), "timestep": of(1), "guidance": of(1)}
        return network(of(1, image, channels), of(1, text, 4096), img_ids=places, txt_ids=words, **given)

    return counted(lambda: FluxTransformer2DModel(in_channels=channels, out_channels=64, guidance_embeds=True), run)


@functools.cache
def klein(image: int, text: int) -> Pass:
    """FLUX.2 [klein] 4B: transformer/config.json of black-forest-labs/FLUX.2-klein-4B."""
    from diffusers import Flux2Transformer2DModel

    def build() -> Any:
        return Flux2Transformer2DModel(
            num_layers=5,
            num_single_layers=20,
            num_attention_heads=24,
            joint_attention_dim=7680,
            guidance_embeds=False,
        )

    def run(network: Any) -> Any:
        places, words = of(image, 4), of(text, 4)
        return network(
            of(1, image, 128), of(1, text, 7680), timestep=of(1), img_ids=places, txt_ids=words, guidance=None
        )

    return counted(build, run)


@functools.cache
def qwen_image(side: int, pictures: int, text: int) -> Pass:
    """Qwen-Image-Edit-2511: transformer/config.json of Qwen/Qwen-Image-Edit-2511: diffusers' defaults and `zero_cond_t`.

    Args:
        side: tokens along a side of a square picture.
        pictures: the one that is made and its references.
    """
    from diffusers import QwenImageTransformer2DModel

    def run(network: Any) -> Any:
        shapes = [[(1, side, side)] * pictures]
        words = {"encoder_hidden_states": of(1, text, 3584), "encoder_hidden_states_mask": None}
        return network(of(1, pictures * side * side, 64), timestep=of(1), img_shapes=shapes, **words)

    return counted(lambda: QwenImageTransformer2DModel(zero_cond_t=True), run)


@functools.cache
def longcat(image: int, text: int) -> Pass:
    """LongCat-Image-Edit, 6 billion parameters: transformer/config.json of meituan-longcat/LongCat-Image-Edit."""
    from diffusers import LongCatImageTransformer2DModel

    def run(network: Any) -> Any:
        places, words = of(image, 3), of(text, 3)
        return network(of(1, image, 64), of(1, text, 3584), timestep=of(1), img_ids=places, txt_ids=words)

    return counted(lambda: LongCatImageTransformer2DModel(num_layers=10, num_single_layers=20), run)


_SDXL: dict[str, Any] = {
    "in_channels": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
}
"""unet/config.json of stabilityai/stable-diffusion-xl-base-1.0; the ControlNet's agrees."""


@functools.cache
def sdxl(side: int) -> Pass:
    """SDXL's UNet on a latent of side x side, 77 tokens of text."""
    from diffusers import UNet2DConditionModel

    def build() -> Any:
        up = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
        return UNet2DConditionModel(up_block_types=up, mid_block_type="UNetMidBlock2DCrossAttn", **_SDXL)

    return counted(build, lambda network: network(*_sdxl_inputs(side), added_cond_kwargs=_sdxl_added()))


@functools.cache
def sdxl_controlnet(side: int) -> Pass:
    """config.json of diffusers/controlnet-canny-sdxl-1.0."""
    from diffusers import ControlNetModel

    def run(network: Any) -> Any:
        return network(*_sdxl_inputs(side), of(1, 3, side * 8, side * 8), added_cond_kwargs=_sdxl_added())

    return counted(lambda: ControlNetModel(**_SDXL), run)


def _sdxl_inputs(side: int) -> tuple[torch.Tensor, ...]:
    return of(1, 4, side, side), of(1), of(1, 77, 2048)


def _sdxl_added() -> dict[str, torch.Tensor]:
    return {"text_embeds": of(1, 1280), "time_ids": of(1, 6)}


@functools.cache
def t5(text: int) -> Pass:
    """T5-XXL's encoder: config.json of google/t5-v1_1-xxl."""
    from transformers import T5Config, T5EncoderModel

    shape = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "vocab_size": 32128}
    config = T5Config(feed_forward_proj="gated-gelu", **shape)
    return counted(lambda: T5EncoderModel(config), lambda network: network(inputs_embeds=of(1, text, 4096)))


@functools.cache
def clip_text(width: int, layers: int) -> Pass:
    """One of SDXL's two text encoders on 77 tokens; CLIP-L (768 wide) is FLUX.1's, too. text_encoder and text_encoder_2 of
    stabilityai/stable-diffusion-xl-base-1.0: heads of 64."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=width // 64
    )
    words = torch.zeros(1, 77, dtype=torch.long, device="meta")
    return counted(lambda: CLIPTextModel(config), lambda network: network(input_ids=words))


@functools.cache
def clip_image() -> Pass:
    """The image encoder of CLIP L/14: config.json of openai/clip-vit-large-patch14."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    shape = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    config = CLIPVisionConfig(patch_size=14, image_size=224, **shape)
    return counted(lambda: CLIPVisionModel(config), lambda network: network(of(1, 3, 224, 224)))


@functools.cache
def siglip() -> Pass:
    """The image encoder that Redux takes: config.json of google/siglip-so400m-patch14-384."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    shape = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
    config = SiglipVisionConfig(patch_size=14, image_size=384, **shape)
    return counted(lambda: SiglipVisionModel(config), lambda network: network(of(1, 3, 384, 384)))


@functools.cache
def qwen3(text: int) -> Pass:
    """Qwen3-4B: config.json of Qwen/Qwen3-4B. All 36 layers, of which klein's text takes the ninth, 18th and 27th."""
    from transformers import Qwen3Config, Qwen3Model

    config = Qwen3Config(
        hidden_size=2560,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        intermediate_size=9728,
        head_dim=128,
        vocab_size=151936,
    )
    return counted(lambda: Qwen3Model(config), lambda network: network(inputs_embeds=of(1, text, 2560)))


@functools.cache
def qwen_vl(text: int) -> Pass:
    """The language model of Qwen2.5-VL-7B: config.json of Qwen/Qwen2.5-VL-7B-Instruct."""
    from transformers import Qwen2Config, Qwen2Model

    config = Qwen2Config(
        hidden_size=3584,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        intermediate_size=18944,
        vocab_size=152064,
    )
    return counted(lambda: Qwen2Model(config), lambda network: network(inputs_embeds=of(1, text, 3584)))


@functools.cache
def qwen_eyes(side: int) -> Pass:
    """The image encoder of Qwen2.5-VL-7B on a square picture.

    Args:
        side: of the picture in patches of 14 x 14 pixels; a multiple of 2.
    """
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

    shape = {"depth": 32, "hidden_size": 1280, "out_hidden_size": 3584, "intermediate_size": 3420, "num_heads": 16}
    config = Qwen2_5_VLVisionConfig(**shape)
    return counted(
        lambda: Qwen2_5_VisionTransformerPretrainedModel(config),
        lambda network: network(of(side * side, 3 * 2 * 14 * 14), grid_thw=torch.tensor([[1, side, side]])),
    )


VAES: dict[str, Callable[[], Any]] = {
    "FLUX.1": lambda: _kl(16),
    "FLUX.2": lambda: _named("AutoencoderKLFlux2")(),
    "Qwen-Image": lambda: _named("AutoencoderKLQwenImage")(),
    "SDXL": lambda: _kl(4),
}
"""vae/config.json of FLUX.1-dev and stable-diffusion-xl-base-1.0; the others are their classes' defaults."""


@functools.cache
def vae(name: str, width: int, height: int, decode: bool) -> Pass:
    """
    Args:
        name: of `VAES`.
        width: of the picture, pixels.
    """

    def run(network: Any) -> Any:
        video = (1,) if name == "Qwen-Image" else ()
        if not decode:
            return network.encode(of(1, 3, *video, height, width))
        channels = network.config.get("latent_channels", 16)
        return network.decode(of(1, channels, *video, height // 8, width // 8))

    return counted(VAES[name], run)


def _kl(channels: int) -> Any:
    down, up = ["DownEncoderBlock2D"] * 4, ["UpDecoderBlock2D"] * 4
    return _named("AutoencoderKL")(
        down_block_types=down,
        up_block_types=up,
        block_out_channels=[128, 256, 512, 512],
        layers_per_block=2,
        latent_channels=channels,
    )


def _named(name: str) -> Any:
    import diffusers

    return getattr(diffusers, name)


@functools.cache
def sam2(side: int = 1024) -> Pass:
    """The image encoder of SAM 2.1 large: config.json of facebook/sam2.1-hiera-large. Its mask decoder is not counted,
    which takes less than a hundredth of it."""
    from transformers import Sam2VisionConfig, Sam2VisionModel
    from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig

    backbone = Sam2HieraDetConfig(
        hidden_size=144,
        num_attention_heads=2,
        blocks_per_stage=[2, 6, 36, 4],
        embed_dim_per_stage=[144, 288, 576, 1152],
        num_attention_heads_per_stage=[2, 4, 8, 16],
        window_size_per_stage=[8, 4, 16, 8],
        global_attention_blocks=[23, 33, 43],
        window_positional_embedding_background_size=[7, 7],
    )
    config = Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=[1152, 576, 288, 144])
    return counted(lambda: Sam2VisionModel(config), lambda network: network(of(1, 3, side, side)))
