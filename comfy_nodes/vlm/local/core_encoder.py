"""A vision-language model that ComfyUI has loaded itself, as a text encoder: `Load VLM (core text encoder)` makes one.

Of core's encoders Qwen3-VL is asked, whose `generate` reads pictures where they stand and has the head that writes.
Loading, memory, progress bar and cancelling are core's. Everything is computed in the thread that asks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy.text_encoders.llama import Qwen25_3B, Qwen25_7BVLI
from comfy.text_encoders.qwen3vl import Qwen3VLClipModel
from PIL import Image

from ...models.managed import out_of_memory_explained
from ..asking import Answer, Failure, Question, Usage
from ..images import fitted
from .conversations import Conversation, Utterance, answers

TOP_K, TOP_P = 20, 0.8
"""What bounds a draw: generation_config.json of Qwen3-VL-Instruct."""

SIDE = 32
"""Pixels of an image's side that become one token's side: Qwen3-VL's patches of 16, two by two."""

_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


class CoreClipVlm:
    """Answers with a `CLIP` that holds a whole Qwen3-VL."""

    def __init__(self, clip: CLIP, max_pixels: int) -> None:
        """
        Args:
            max_pixels: larger images are scaled down to this many pixels.

        Raises:
            ValueError: an encoder that cannot write, or cannot see; the message names it.
        """
        stage = clip.cond_stage_model
        part = getattr(stage, str(getattr(stage, "clip", "")), None)
        network = getattr(part, "transformer", None)
        if isinstance(network, Qwen25_7BVLI | Qwen25_3B):
            raise ValueError(
                f"clip holds {type(network).__name__}, a Qwen2.5-VL text encoder, which ComfyUI loads without the head "
                "that writes; use Load VLM (local weights), or a Qwen3-VL text encoder"
            )
        if not isinstance(part, Qwen3VLClipModel):
            raise ValueError(
                f"clip holds {type(network or stage).__name__}, which cannot answer questions on images; "
                "connect a Qwen3-VL text encoder (4B or 8B), loaded with type qwen_image"
            )
        self.model = stage.clip_name
        self._clip = clip
        self._ends: list[int] = part.transformer.model.config.stop_tokens
        self._max_pixels = max_pixels

    @property
    def patcher(self) -> ModelPatcher:
        """What ComfyUI's memory manager and output cache know the model by."""
        return self._clip.patcher

    async def ask(self, questions: Sequence[Question]) -> list[Answer | Failure]:
        """See `asking.Vlm`. One question after the other: core's `generate` takes one.

        Raises:
            OutOfMemory: the question does not fit; every model has been unloaded by then.
        """
        return answers(questions, lambda asked: [self._reply(one) for one in asked], self.model)

    def _reply(self, asked: Conversation) -> Utterance | Failure:
        model_management.throw_exception_if_processing_interrupted()
        images = [self._pixels(image) for image in asked.images]
        before, text = _chat(asked)
        tokens = self._clip.tokenize(text, images=images, llama_template=before, thinking=False)
        (row,) = next(iter(tokens.values()))
        shown = sum(isinstance(token[0], dict) for token in row)
        if shown != len(images):
            return Failure("VlmBadRequest", f"this encoder's tokenizer takes {shown} of {len(images)} images")
        with out_of_memory_explained(self.model):
            said = self._clip.generate(
                tokens,
                do_sample=asked.temperature > 0,
                max_length=asked.max_tokens,
                temperature=asked.temperature,
                top_k=TOP_K,
                top_p=TOP_P,
                repetition_penalty=1.0,
                seed=asked.seed,
            )
        usage = Usage(len(row) - shown + sum(map(_tokens_of, images)), len(said))
        return Utterance(self._clip.decode(said), said[-1] in self._ends, usage)

    def _pixels(self, image: np.ndarray) -> torch.Tensor:
        """float [1, H, W, 3], 0 to 1, within the pixel budget."""
        picture = Image.fromarray(image)
        size = fitted(picture.width, picture.height, self._max_pixels)
        if size != picture.size:
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255)[None]


def _chat(asked: Conversation) -> tuple[str, str]:
    """The conversation as Qwen's chat format with a `{}` for its last text, and that text.

    Core's tokenizer puts the two together, and adds what its kind of Qwen wants before a reply.
    """
    *earlier, last = asked.turns
    told = "".join(f"<|im_start|>{turn.role}\n{_shown(turn.images)}{_plain(turn.text)}<|im_end|>\n" for turn in earlier)
    told = told.replace("{", "{{").replace("}", "}}")
    return f"{told}<|im_start|>{last.role}\n{_shown(last.images)}{{}}<|im_end|>\n<|im_start|>assistant\n", _plain(
        last.text
    )


def _shown(images: Sequence[np.ndarray]) -> str:
    return _IMAGE * len(images)


def _plain(text: str) -> str:
    """Words that stay words: neither the chat format's marks nor core's way of calling an embedding."""
    return text.replace("<|", "< |").replace("embedding:", "embedding :")


def _tokens_of(image: torch.Tensor) -> int:
    height, width = image.shape[1:3]
    return round(height / SIDE) * round(width / SIDE)
