"""What an edit costs on each route, computed from shapes: `python benchmarks/cost.py [--json]` prints the table of
docs/tasks.md.

A route is a workflow: passes of its networks (`cost_networks.py` counts one) at the sizes that its graph gives them,
times steps, times two where guidance needs a second pass. `gpu.py` measures the same routes; nothing is measured here.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import cost_networks as networks
from benchmarks.cost_networks import Pass
from comfy_nodes.core.weights.routes import ROUTES

EFFICIENCY = 0.5
"""Share of a card's published rate that these networks reach. Ours: what large products and attention reach in PyTorch
lies between 0.4 and 0.7."""

CONTEXT = 0.8e9
"""Bytes that CUDA and PyTorch hold on a card before the first model. Ours."""


@dataclass(frozen=True)
class Card:
    """A card by its maker's published dense rates, with sums in fp32."""

    name: str
    bf16: float
    """FLOP/s."""
    fp8: float
    bandwidth: float
    """Bytes a second."""
    memory: float


CARDS = (
    Card("RTX 4090, 24 GB", 165.2e12, 330.3e12, 1.008e12, 24e9),
    Card("H100 SXM", 989.4e12, 1978.9e12, 3.35e12, 80e9),
    Card("H200", 989.4e12, 1978.9e12, 4.8e12, 141e9),
)
"""NVIDIA's Ada architecture whitepaper v2, appendix A, H100 whitepaper, table 2, and H200 data sheet."""


@dataclass(frozen=True)
class Work:
    """Passes of one network in an edit."""

    network: str
    """The file of its weights, as the model table names it; they lie in memory once, whatever they are used for."""
    one: Pass
    passes: float = 1
    stored: float = 2
    """Bytes of a parameter in the file."""
    fp8: bool = False
    """Whether ComfyUI multiplies its weights as fp8 (comfy/ops.py, mixed_precision_ops): of diffusion models in scaled
    fp8, not of text encoders."""

    @property
    def flops(self) -> float:
        return self.passes * self.one.flops

    @property
    def weights(self) -> float:
        """Bytes."""
        return self.one.parameters * self.stored

    def seconds(self, card: Card) -> float:
        """At the card's rates, times the efficiency; no pass is faster than its weights are read."""
        linear = self.one.linear / (card.fp8 if self.fp8 else card.bf16)
        computed = (linear + self.one.other / card.bf16) / EFFICIENCY
        return self.passes * max(computed, self.weights / card.bandwidth)


@dataclass(frozen=True)
class Way:
    """A workflow, or a variant of one, as its graph is set."""

    tasks: tuple[str, ...]
    workflow: str
    """Of the first task; the others' differ in their names and in what the editor is told."""
    works: Callable[[int], tuple[Work, ...]]
    """From the passes of one run of the sampler."""
    steps: int = 0
    guidance: float = 1.0
    """cfg: 1 is one pass a step, anything else two."""
    source: str = ""
    """Where steps and guidance were read."""
    against: str = ""
    """The workflow of profile `full` for the same task; "" where no model edits there."""
    variant: str = ""

    @property
    def passes(self) -> int:
        """Of the diffusion model in one run of its sampler."""
        return self.steps * (1 if self.guidance == 1 else 2)


@dataclass(frozen=True)
class Cost:
    """What one edit takes."""

    works: tuple[Work, ...]

    @property
    def flops(self) -> float:
        return sum(one.flops for one in self.works)

    def seconds(self, card: Card) -> float:
        return sum(one.seconds(card) for one in self.works)

    @property
    def kept(self) -> float:
        """Bytes where all models stay on the card, with the largest pass's tensors."""
        each = {(one.network, one.one.parameters): one.weights for one in self.works}
        return CONTEXT + sum(each.values()) + max((one.one.alive for one in self.works), default=0)

    @property
    def least(self) -> float:
        """Bytes where one model at a time is there and the others wait in main memory."""
        return CONTEXT + max((one.weights + one.one.alive for one in self.works), default=0)


# Sizes: a picture of 1024 x 1024 is 64 x 64 tokens in FLUX and Qwen-Image. Tokens of text are what ComfyUI fills up to.

SIDE, TOKENS = 1024, 64 * 64
T5_TOKENS = 256
"""comfy/text_encoders/flux.py: T5XXLTokenizer's min_length."""
KLEIN_TOKENS = 512
"""comfy/text_encoders/flux.py: KleinTokenizer's min_length."""
LONGCAT_TOKENS = 512
"""comfy/text_encoders/longcat_image.py: max_length, to which an instruction is filled up."""
LONGCAT_TEMPLATE = 70
"""Tokens of its template, which are encoded and then cut off. Ours."""
QWEN_TOKENS = 120
"""Of the template and an instruction of a sentence. Ours."""
QWEN_PICTURE = 14 * 14
"""comfy_extras/nodes_qwen.py: the encoder sees 384 x 384, a token for 28 x 28 pixels."""
LONGCAT_PICTURE = 37 * 37
"""comfy_extras/nodes_qwen.py, TextEncodeQwenImageEdit: 1024 x 1024."""
REDUX_TOKENS = 27 * 27
"""Of sigclip_vision_patch14_384."""


def _fill(passes: int, edits: int = 1) -> tuple[Work, ...]:
    """FLUX.1 Fill on a crop of a megapixel; its conditioning encodes crop and masked crop."""
    return (
        _sam2(edits),
        *_flux_text(edits),
        Work("flux1-fill-dev.safetensors", networks.flux1(TOKENS, T5_TOKENS, 384), passes * edits),
        *_vae("FLUX.1", SIDE, SIDE, encodes=2 * edits, decodes=edits),
    )


def _redux(passes: int) -> tuple[Work, ...]:
    """FLUX.1 Fill on a crop of 768 beside the reference, which Redux describes."""
    return (
        _sam2(2),
        *_flux_text(1),
        Work("sigclip_vision_patch14_384.safetensors", networks.siglip()),
        Work("flux1-fill-dev.safetensors", networks.flux1(2 * 48 * 48, T5_TOKENS + REDUX_TOKENS, 384), passes),
        *_vae("FLUX.1", 1536, 768, encodes=2, decodes=1),
    )


def _kontext(passes: int) -> tuple[Work, ...]:
    return (
        *_flux_text(1),
        Work(
            "flux1-dev-kontext_fp8_scaled.safetensors",
            networks.flux1(2 * TOKENS, T5_TOKENS, 64),
            passes,
            stored=1,
            fp8=True,
        ),
        *_vae("FLUX.1", SIDE, SIDE, encodes=1, decodes=1),
    )


def _sam2(times: int = 1) -> Work:
    return Work("sam2.1-hiera-large", networks.sam2(), times, stored=4)


def _flux_text(times: int) -> tuple[Work, ...]:
    return Work("t5xxl_fp16.safetensors", networks.t5(T5_TOKENS), times), Work(
        "clip_l.safetensors", networks.clip_text(768, 12), times
    )


def _sdxl(passes: int, led: float, encodes: int, segments: bool) -> tuple[Work, ...]:
    """
    Args:
        led: share of the steps in which the ControlNet takes part.
        encodes: of the VAE.
    """
    found = (
        Work("sd_xl_base_1.0.safetensors", networks.clip_text(768, 12), 2),
        Work("sd_xl_base_1.0.safetensors", networks.clip_text(1280, 32), 2),
        Work("sd_xl_base_1.0.safetensors", networks.sdxl(SIDE // 8), passes),
        Work("controlnet-canny-sdxl-1.0.safetensors", networks.sdxl_controlnet(SIDE // 8), passes * led),
        *_vae("SDXL", SIDE, SIDE, encodes=encodes, decodes=1),
    )
    return ((_sam2(),) if segments else ()) + found


def _klein(passes: int, references: int = 1, edits: int = 1, segments: int = 0) -> tuple[Work, ...]:
    """FLUX.2 klein: the picture that it makes and its references, a megapixel each.

    Args:
        segments: passes of SAM 2.1 where photos have boxes and no masks.
    """
    pictures = 1 + references
    found = (
        Work("qwen_3_4b.safetensors", networks.qwen3(KLEIN_TOKENS), edits),
        Work(
            "flux-2-klein-4b-fp8.safetensors",
            networks.klein(pictures * TOKENS, KLEIN_TOKENS),
            passes * edits,
            stored=1,
            fp8=True,
        ),
        *_vae("FLUX.2", SIDE, SIDE, encodes=references * edits, decodes=edits),
    )
    return ((_sam2(segments),) if segments else ()) + found


def _qwen(passes: int, texts: int) -> tuple[Work, ...]:
    """Qwen-Image-Edit: its text encoder sees the photo, too."""
    tokens = QWEN_TOKENS + QWEN_PICTURE
    return (
        Work("qwen_2.5_vl_7b_fp8_scaled.safetensors", networks.qwen_eyes(28), texts, stored=1),
        Work("qwen_2.5_vl_7b_fp8_scaled.safetensors", networks.qwen_vl(tokens), texts, stored=1),
        Work(
            "qwen_image_edit_2511_fp8mixed.safetensors", networks.qwen_image(64, 2, tokens), passes, stored=1, fp8=True
        ),
        *_vae("Qwen-Image", SIDE, SIDE, encodes=1 + texts, decodes=1),
    )


def _longcat(passes: int) -> tuple[Work, ...]:
    return (
        Work("qwen_2.5_vl_7b_fp8_scaled.safetensors", networks.qwen_eyes(74), 2, stored=1),
        Work(
            "qwen_2.5_vl_7b_fp8_scaled.safetensors",
            networks.qwen_vl(LONGCAT_TEMPLATE + LONGCAT_PICTURE + LONGCAT_TOKENS),
            2,
            stored=1,
        ),
        Work(
            "longcat_image_edit_bf16.safetensors",
            networks.longcat(2 * TOKENS, LONGCAT_PICTURE + LONGCAT_TOKENS),
            passes,
        ),
        *_vae("FLUX.1", SIDE, SIDE, encodes=3, decodes=1),
    )


_VAES = {
    "FLUX.1": "ae.safetensors",
    "FLUX.2": "flux2-vae.safetensors",
    "Qwen-Image": "qwen_image_vae.safetensors",
    "SDXL": "sd_xl_base_1.0.safetensors",
}


def _vae(name: str, width: int, height: int, encodes: int, decodes: int) -> tuple[Work, ...]:
    passes = {False: encodes, True: decodes}
    return tuple(
        Work(_VAES[name], networks.vae(name, width, height, decode), count) for decode, count in passes.items()
    )


REPLY_TOKENS = 200
"""Of a judge. Ours."""
QUESTION_TOKENS = 500
"""Of the rubric. Ours."""


def _judge(_passes: int) -> tuple[Work, ...]:
    """Qwen2.5-VL-7B looks at two pictures of a megapixel and answers, a pass for each token."""
    asked = 2 * 37 * 37 + QUESTION_TOKENS
    return (
        Work("Qwen2.5-VL-7B-Instruct", networks.qwen_eyes(74), 2),
        Work("Qwen2.5-VL-7B-Instruct", networks.qwen_vl(asked)),
        Work("Qwen2.5-VL-7B-Instruct", networks.qwen_vl(1), REPLY_TOKENS),
    )


def _regions(_passes: int) -> tuple[Work, ...]:
    """SAM 2.1 on a photo, and CLIP L/14 on eight regions of it."""
    return _sam2(), Work("clip-vit-large-patch14", networks.clip_image(), 8, stored=4)


_KLEIN_CARD = "ComfyUI's template image_flux2_klein_image_edit_4b_distilled: Flux2Scheduler 4, CFGGuider 1"
_FILL_CARD = "ComfyUI's template flux_fill_inpaint_example: 20 steps, cfg 1"
_KONTEXT_CARD = "ComfyUI's template flux_kontext_dev_basic: 20 steps, cfg 1"
_QWEN_CARD = "ComfyUI's template image_qwen_image_edit_2511, whose note repeats the model's card: 40 steps, cfg 4; 4 and 1 with the LoRA"
_LONGCAT_CARD = "ComfyUI's template image_longcat_image_edit: 50 steps, cfg 4.5"

FAST = "4-step LoRA"

WAYS = (
    Way(
        ("add", "remove", "replace"),
        "remove-open",
        lambda passes: _klein(passes, segments=1),
        4,
        1,
        _KLEIN_CARD,
        "remove",
    ),
    Way(("alter",), "alter-open", lambda passes: _klein(passes, segments=1), 4, 1, _KLEIN_CARD, "alter"),
    Way(("background",), "background-open", lambda passes: _klein(passes, segments=1), 4, 1, _KLEIN_CARD, "background"),
    Way(("hybrid",), "hybrid-open", lambda passes: _klein(passes, edits=2, segments=2), 4, 1, _KLEIN_CARD, "hybrid"),
    Way(
        ("visual",), "visual-open", lambda passes: _klein(passes, references=2, segments=2), 4, 1, _KLEIN_CARD, "visual"
    ),
    Way(("style",), "style-open", _klein, 4, 1, _KLEIN_CARD, "style"),
    Way(("instruct",), "instruct-open", _klein, 4, 1, _KLEIN_CARD, "instruct"),
    Way(("instruct",), "instruct-qwen", lambda passes: _qwen(passes, texts=1), 4, 1, _QWEN_CARD, "instruct", FAST),
    Way(("instruct",), "instruct-qwen", lambda passes: _qwen(passes, texts=2), 40, 4, _QWEN_CARD, "instruct"),
    Way(
        ("instruct",),
        "instruct-longcat",
        _longcat,
        50,
        4.5,
        _LONGCAT_CARD,
        "instruct",
    ),
    Way(("add", "remove", "replace"), "remove", _fill, 20, 1, _FILL_CARD),
    Way(("background",), "background", _fill, 20, 1, _FILL_CARD),
    Way(("hybrid",), "hybrid", lambda passes: _fill(passes, edits=2), 20, 1, _FILL_CARD),
    Way(("visual",), "visual", _redux, 20, 1, _FILL_CARD),
    Way(("alter",), "alter", lambda passes: _sdxl(passes, 0.9, 2, True), 30, 6, "the graph's note"),
    Way(("style",), "style", lambda passes: _sdxl(passes, 0.7, 1, False), 21, 5, "the graph's note"),
    Way(("instruct",), "instruct", _kontext, 20, 1, _KONTEXT_CARD),
    Way(("annotate",), "annotate-open", _regions),
    Way(("verify",), "verify", _judge),
)
"""The open routes first, the default of a task before its others. `extract` and `motion` edit with no model; of what finds
regions and subjects, detectors and BiRefNet are not counted."""


@functools.cache
def cost(way: Way) -> Cost:
    return Cost(way.works(way.passes))


def workflows_of(way: Way) -> tuple[str, ...]:
    """The workflows that cost the same: of each of its tasks (`remove-open`, `add-open`, ...), or its own."""
    task, dash, profile = way.workflow.partition("-")
    if task not in way.tasks or task == "instruct":
        return (way.workflow,)
    return tuple(f"{one}{dash}{profile}" for one in way.tasks)


def way_of(workflow: str, variant: str = "") -> Way | None:
    """What a workflow costs; None where it is not in the table."""
    return next((way for way in WAYS if workflow in workflows_of(way) and way.variant == variant), None)


def markdown() -> str:
    """The table of docs/tasks.md."""
    titles = ["task", "workflow", "licence", "steps x passes", "TFLOP", "GB: all kept / one at a time"]
    titles += [f"s on {card.name}" for card in CARDS] + ["times less than `full`: FLOPs, H100"]
    lines = [f"| {' | '.join(titles)} |", "|---|---|---|---|" + "---:|" * (len(titles) - 4)]
    return "\n".join([*lines, *map(line, WAYS)]) + "\n"


def line(way: Way) -> str:
    """The table's row of a way."""
    found = cost(way)
    variant = f", {way.variant}" if way.variant else ""
    cells = [
        ", ".join(way.tasks),
        f"`{way.workflow}`{variant}",
        _licences(way.workflow),
        f"{way.steps} x {way.passes // way.steps}" if way.steps else "-",
        f"{found.flops / 1e12:.0f}",
        f"{found.kept / 1e9:.0f} / {found.least / 1e9:.0f}",
        *(f"{found.seconds(card):.2f}" for card in CARDS),
        _cheaper(way, found),
    ]
    return f"| {' | '.join(cells)} |"


def _cheaper(way: Way, found: Cost) -> str:
    """How many times less than the `full` route it takes: FLOPs, and time on an H100."""
    if not way.against:
        return "-"
    other = next(cost(one) for one in WAYS if one.workflow == way.against)
    return f"{other.flops / found.flops:.1f}, {other.seconds(CARDS[1]) / found.seconds(CARDS[1]):.1f}"


def _licences(workflow: str) -> str:
    """Of all weights that it names; "-" where a profile names the model."""
    weights = [weights for route in ROUTES if route.workflow == workflow for weights in route.weights]
    return ", ".join(dict.fromkeys(one.licence.name for one in weights)) or "-"


def figures() -> list[dict[str, Any]]:
    """The same for a program: FLOPs, bytes and seconds."""
    return [
        {
            "workflow": way.workflow,
            "variant": way.variant,
            "flops": cost(way).flops,
            "kept_bytes": cost(way).kept,
            "least_bytes": cost(way).least,
            "seconds": {card.name: cost(way).seconds(card) for card in CARDS},
        }
        for way in WAYS
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compute what an edit costs on each route, from shapes.")
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of the table")
    logging.disable(logging.WARNING)  # diffusers warns of casting, which makes no difference to shapes
    print(json.dumps(figures()) if parser.parse_args().json else markdown(), end="")
