"""A tiny random Qwen2.5-VL as a hub-format folder, with a byte-level tokenizer, written by the library that writes real ones."""

from __future__ import annotations

import string
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
)
"""The special tokens of Qwen2.5-VL that matter here."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen's chat format, without its tools and without a system prompt of its own."""

LAST_OF_PROMPT = "Ċ"
"""The line break after `assistant`, as the vocabulary spells it."""


def qwen25_vl(folder: Path, seed: int = 7, recital: Sequence[str] | None = None, context: int = 4096) -> Path:
    """A Qwen2.5-VL of 90,000 parameters: a token to a byte, photos in patches of 14 pixels like the real one's.

    Args:
        recital: what it answers to everything, in pieces that differ, each of which becomes a token. Without one it
            says random letters, which depend on all that it reads, and never ends a reply by itself.
        context: most tokens of prompt and reply together.
    """
    tokenizer = byte_tokenizer(recital or ())
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [1],
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    if recital is None:
        _say_letters(model)
    else:
        _recite(model, tokenizer.convert_tokens_to_ids([LAST_OF_PROMPT, *recital, "<|im_end|>"]))
    model.generation_config = GenerationConfig(
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]],
        pad_token_id=ids["<|endoftext|>"],
        do_sample=True,
        temperature=1e-6,
        repetition_penalty=1.05,
    )
    model.save_pretrained(folder)
    Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor(), chat_template=CHAT_TEMPLATE
    ).save_pretrained(folder)
    return folder


def byte_tokenizer(words: Sequence[str] = ()) -> Qwen2Tokenizer:
    """Qwen's tokenizer with a token for each byte, and one for each of `words`."""
    vocabulary = {letter: number for number, letter in enumerate(bytes_to_unicode().values())}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[], eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.add_tokens(list(words))
    return tokenizer


def _say_letters(model: torch.nn.Module) -> None:
    """Weights large enough for the prompt to matter, and a head that knows letters only."""
    letters = [ord(letter) - ord("!") for letter in string.ascii_letters]
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(6)
        spoken = model.lm_head.weight[letters].clone()
        model.lm_head.weight.zero_()
        model.lm_head.weight[letters] = spoken


def _recite(model: torch.nn.Module, tokens: list[int]) -> None:
    """Each token calls the next: layers that add nothing, and a direction of its own for each token."""
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.language_model.embed_tokens.weight.zero_()
        model.lm_head.weight.zero_()
        for direction, (token, following) in enumerate(pairwise(tokens)):
            model.model.language_model.embed_tokens.weight[token, direction] = 1.0
            model.lm_head.weight[following, direction] = 10.0
