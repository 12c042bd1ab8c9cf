"""Loaders of vision-language models: weights on this machine, core's text encoders, services behind a profile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..core.services import profiles
from ..imaging.opencv import MissingLibrary
from ..models import folders
from ..models.managed import DTYPES
from ..wires.sockets import Vlm

if TYPE_CHECKING:
    from comfy.sd import CLIP

VLM_FOLDERS = ("LLM",)
"""Where other packs keep language models in hub format, too."""

MIN_PIXELS, MAX_PIXELS = 224 * 224, 1280 * 28 * 28
"""What images are scaled to lie between, in pixels: UnicBench's for its Qwen2.5-VL judge. ImgEdit's judge has 1,016,064
and 1,354,752."""

BATCH_SIZE = 4
"""Ours: photos of a megapixel take about 1,300 tokens each."""

MOST_PIXELS = 16_777_216


def _outputs() -> list[io.Output]:
    return [Vlm.Output("vlm", tooltip="For the nodes that write, tag and judge with a VLM.")]


class LoadVlmLocal(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsLoadVlmLocal",
            display_name="Load VLM (local weights)",
            category="editpairs",
            description="A vision-language model from a folder on this machine, such as Qwen2.5-VL or Qwen3-VL. Its weights are read when it is first asked.",
            search_aliases=[
                "qwen-vl",
                "qwen2.5-vl",
                "qwen3-vl",
                "vision language model",
                "caption model",
                "llm loader",
            ],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=folders.hub_folders(*VLM_FOLDERS),
                    tooltip="A hub-format folder (with config.json, .safetensors, tokenizer and processor files) in models/LLM, such as Qwen2.5-VL-7B-Instruct.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=["auto", *DTYPES],
                    default="auto",
                    tooltip="What the weights are kept and computed in. auto: bfloat16 where the GPU has it, else float32. float16 overflows with some models, Qwen2.5-VL among them.",
                ),
                io.Int.Input(
                    "batch_size",
                    default=BATCH_SIZE,
                    min=1,
                    max=256,
                    tooltip="Most questions that are answered together, also those of several nodes. More is faster and takes more memory; where that runs out, it is halved once.",
                ),
                io.Int.Input(
                    "min_pixels",
                    default=MIN_PIXELS,
                    min=784,
                    max=MOST_PIXELS,
                    step=784,
                    optional=True,
                    advanced=True,
                    tooltip="Smaller images are scaled up to this many pixels. 50,176 in UnicBench, 1,016,064 for ImgEdit's judge. Models with an input size of their own leave it aside.",
                ),
                io.Int.Input(
                    "max_pixels",
                    default=MAX_PIXELS,
                    min=784,
                    max=MOST_PIXELS,
                    step=784,
                    optional=True,
                    advanced=True,
                    tooltip="Larger images are scaled down to this many pixels. 1,003,520 in UnicBench, 1,354,752 for ImgEdit's judge. Models with an input size of their own leave it aside.",
                ),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls, model: str, dtype: str, batch_size: int, min_pixels: int = MIN_PIXELS, max_pixels: int = MAX_PIXELS
    ) -> io.NodeOutput:
        with _needed():
            from ..vlm.local.transformers_vlm import LocalVlm  # transformers' models take seconds to import

        if min_pixels > max_pixels:
            raise ValueError(f"min_pixels ({min_pixels}) is above max_pixels ({max_pixels}); swap them")
        folder = folders.hub_path(model, *VLM_FOLDERS)
        return io.NodeOutput(LocalVlm(folder, dtype, batch_size, min_pixels, max_pixels))


class LoadVlmCore(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsLoadVlmCore",
            display_name="Load VLM (core text encoder)",
            category="editpairs",
            description="Asks a Qwen3-VL that ComfyUI has loaded as a text encoder: one file, and ComfyUI's own memory handling and quantised weights.",
            search_aliases=["qwen3-vl", "clip to vlm", "text encoder vlm", "generate text", "vision language model"],
            inputs=[
                io.Clip.Input(
                    "clip",
                    tooltip="A Qwen3-VL text encoder (4B or 8B) from Load CLIP. Qwen2.5-VL encoders lack the head that writes, and are refused.",
                ),
                io.Int.Input(
                    "max_pixels",
                    default=MAX_PIXELS,
                    min=1024,
                    max=MOST_PIXELS,
                    step=1024,
                    optional=True,
                    advanced=True,
                    tooltip="Larger images are scaled down to this many pixels. 1,003,520 in UnicBench, 1,354,752 for ImgEdit's judge.",
                ),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(cls, clip: CLIP, max_pixels: int = MAX_PIXELS) -> io.NodeOutput:
        with _needed():
            from ..vlm.local.core_encoder import CoreClipVlm

        return io.NodeOutput(CoreClipVlm(clip, max_pixels))


class LoadVlmEndpoint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsLoadVlmEndpoint",
            display_name="Load VLM (endpoint profile)",
            category="editpairs",
            description="Asks a service with an OpenAI-compatible chat endpoint. The graph holds a profile's name; address and key stay with whoever runs ComfyUI.",
            search_aliases=[
                "openai",
                "vllm",
                "sglang",
                "ollama",
                "chat completions",
                "vision language model",
                "api vlm",
            ],
            inputs=[
                io.String.Input(
                    "profile",
                    default=profiles.DEFAULT,
                    tooltip="Name of a profile that the operator of this ComfyUI has set up. Never an address or a key: what stands in widgets is saved in every picture.",
                ),
                io.String.Input(
                    "run",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Whose account the questions are booked on. The batch driver fills it in; empty by hand.",
                ),
                io.Float.Input(
                    "budget_usd",
                    default=0.0,
                    min=0.0,
                    max=1_000_000.0,
                    step=0.5,
                    round=0.0001,
                    optional=True,
                    advanced=True,
                    tooltip="Most US dollars that the run may spend, over all its servers on this machine. 0: no bound. The batch driver fills it in.",
                ),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def validate_inputs(cls, profile: str | None = None) -> bool | str:
        return (profiles.problem(profile) if profile is not None else None) or True

    @classmethod
    def fingerprint_inputs(cls, profile: str | None = None, run: str = "", budget_usd: float = 0.0) -> str:
        """A changed profile is read anew. A hash: ComfyUI writes it into pictures and its history."""
        return profiles.find(profile).sha256() if profile is not None else ""

    @classmethod
    def execute(cls, profile: str, run: str = "", budget_usd: float = 0.0) -> io.NodeOutput:
        with _needed():
            from ..vlm.endpoint import client

        return io.NodeOutput(client.connect(profile, run, budget_usd))


@contextmanager
def _needed() -> Iterator[None]:
    """
    Raises:
        MissingLibrary: a package that the imports inside need is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingLibrary(
            f"the package {error.name} is not installed, which this node needs: run python install.py, "
            "or install requirements.txt of EditPairs"
        ) from None
