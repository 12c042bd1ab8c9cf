"""Conversations in, replies out: one batch through a transformers model, each row with limits and a seed of its own.

`transformers_vlm.LocalVlm` calls this with the model on its device. A row says the same whoever shares its batch, up to the
rounding of the arithmetic: sampled rows draw from their own generator. Nothing here knows of questions, JSON or memory.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import jinja2
import torch
from comfy import model_management
from PIL import Image
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from ...models.checkpoints import one_line
from ..asking import Usage
from .conversations import Conversation, Utterance


class Overflow(ValueError):
    """The weights' type is too narrow for the model, as float16 is for Qwen2.5-VL."""


class UnusablePrompt(ValueError):
    """The model's processor or its context cannot take this prompt; one line."""


def prepare(processor: Any, conversations: Sequence[Conversation], context: int | None) -> Any:
    """A batch of conversations, with equally many images each, as the model's input tensors on the CPU.

    Args:
        context: most tokens of prompt and reply together; None where the model does not say.

    Raises:
        UnusablePrompt: one of them cannot be read by this model.
    """
    try:
        texts = [
            processor.apply_chat_template(_messages(one), tokenize=False, add_generation_prompt=True)
            for one in conversations
        ]
        images = [[Image.fromarray(image) for image in one.images] for one in conversations]
        given = {"images": images} if conversations[0].images else {}
        inputs = processor(text=texts, padding=True, return_tensors="pt", **given)
    except (ValueError, TypeError, IndexError, KeyError, jinja2.TemplateError) as error:
        raise UnusablePrompt(f"the model cannot read this prompt: {one_line(error)}") from None
    longest = max(
        int(length) + one.max_tokens
        for length, one in zip(inputs["attention_mask"].sum(dim=1), conversations, strict=True)
    )
    if context is not None and longest > context:
        raise UnusablePrompt(
            f"prompt and reply may take {longest} tokens, and the model holds {context}: send smaller or fewer images"
        )
    return inputs


def answer(
    model: Any, tokenizer: Any, inputs: Any, conversations: Sequence[Conversation], progress: Callable[[int], None]
) -> list[Utterance]:
    """The replies to a prepared batch that lies on the model's device.

    Args:
        progress: told how many tokens each row has, after each token.

    Raises:
        comfy.model_management.InterruptProcessingException: the user cancelled; noticed at the next token.
        Overflow: the model computes no numbers.
    """
    width = inputs["input_ids"].shape[1]
    device = inputs["input_ids"].device
    limits = torch.tensor([one.max_tokens for one in conversations], device=device)
    config = _greedy(model, tokenizer, int(limits.max()))
    tokens = model.generate(
        **inputs,
        generation_config=config,
        logits_processor=LogitsProcessorList([_OwnDraws(conversations, model.generation_config, device)]),
        stopping_criteria=StoppingCriteriaList([_OwnLimits(limits, width, progress)]),
    )
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    return [
        _reply(tokenizer, row[: one.max_tokens], set(config.eos_token_id), length)
        for row, one, length in zip(tokens[:, width:].tolist(), conversations, lengths, strict=True)
    ]


def opening(model: Any, tokenizer: Any, inputs: Any) -> torch.Tensor:
    """Probabilities of each token of the vocabulary to open the reply, float32 [B, vocabulary], as the model gives them.

    Temperature, penalties and cuts of its generation_config.json are left out.
    """
    config = _greedy(model, tokenizer, 1)
    config.return_dict_in_generate = config.output_logits = True
    output = model.generate(**inputs, generation_config=config)
    logits: torch.Tensor = output.logits[0]
    return logits.float().softmax(dim=-1)


class _OwnDraws(LogitsProcessor):
    """Adds each row's own Gumbel noise, so that the likeliest token after it is a draw by the row's temperature."""

    def __init__(
        self, conversations: Sequence[Conversation], published: GenerationConfig, device: torch.device
    ) -> None:
        """
        Args:
            published: the model's own generation_config.json, whose `top_k` and `top_p` bound every draw.
        """
        self._rows = [
            (row, one.temperature, torch.Generator(device).manual_seed(one.seed))
            for row, one in enumerate(conversations)
            if one.temperature > 0
        ]
        self._cuts = LogitsProcessorList()
        if published.top_k:
            self._cuts.append(TopKLogitsWarper(published.top_k))
        if published.top_p is not None and published.top_p < 1:
            self._cuts.append(TopPLogitsWarper(published.top_p))
        self._checked = False

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if not self._checked and scores.isnan().any():
            raise Overflow("the model's numbers overflow in this dtype; choose bfloat16 or float32")
        self._checked = True
        scores = scores.float().clone()
        for row, temperature, generator in self._rows:
            own, warmed = input_ids[row : row + 1], scores[row : row + 1] / temperature
            cut = self._cuts(own, warmed)[0]
            noise = torch.empty_like(cut).exponential_(generator=generator).log()
            scores[row] = cut - noise
        return scores


class _OwnLimits(StoppingCriteria):
    """Ends each row at its own limit, and all of them when the user cancels."""

    def __init__(self, limits: torch.Tensor, width: int, progress: Callable[[int], None]) -> None:
        self._limits = limits
        self._width = width
        self._progress = progress

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        model_management.throw_exception_if_processing_interrupted()
        made = input_ids.shape[1] - self._width
        self._progress(made)
        return self._limits <= made


def _messages(conversation: Conversation) -> list[dict[str, Any]]:
    """The conversation in transformers' chat form."""
    return [
        {
            "role": turn.role,
            "content": [*({"type": "image"} for _ in turn.images), {"type": "text", "text": turn.text}],
        }
        for turn in conversation.turns
    ]


def _greedy(model: Any, tokenizer: Any, max_tokens: int) -> GenerationConfig:
    """The model's own settings, such as its repetition penalty, without its sampling, which `_OwnDraws` does."""
    config: GenerationConfig = copy.deepcopy(model.generation_config)
    config.do_sample, config.num_beams, config.max_new_tokens = False, 1, max_tokens
    # transformers' defaults: what is None would be filled in again from the model's own settings.
    config.temperature, config.top_k, config.top_p, config.min_p = 1.0, 50, 1.0, None
    ends = tokenizer.eos_token_id if config.eos_token_id is None else config.eos_token_id
    config.eos_token_id = [ends] if isinstance(ends, int) else list(ends)
    config.pad_token_id = config.eos_token_id[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return config


def _reply(tokenizer: Any, tokens: list[int], ends: set[int], prompt_tokens: int) -> Utterance:
    end = next((place for place, token in enumerate(tokens) if token in ends), None)
    said = tokens if end is None else tokens[:end]
    text = tokenizer.decode(said, skip_special_tokens=True)
    made = len(tokens) if end is None else end + 1
    return Utterance(text, end is not None, Usage(prompt_tokens, made))
