"""Core's own text encoders as VLMs: a small Qwen3-VL that ComfyUI has loaded from a file, and encoders that cannot."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")

import comfy.sd
import comfy.utils
from comfy import model_management
from comfy.text_encoders import qwen3vl

from comfy_nodes.vlm.asking import Answer, Failure
from comfy_nodes.vlm.local.conversations import Utterance, conversation
from comfy_nodes.vlm.local.core_encoder import CoreClipVlm
from tests.vlm.local import tiny_core_clip
from tests.vlm.local.conftest import Score, ask, photo, question, texts


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A Qwen3-VL file and the options that its small sizes need; while it is used, ComfyUI's table has such a tower."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(qwen3vl.QWEN3VL_VISION, "qwen3vl_8b", tiny_core_clip.VISION)
        path = tmp_path_factory.mktemp("core") / "qwen3vl.safetensors"
        yield path, tiny_core_clip.qwen3_vl(path)


@pytest.fixture(scope="module")
def clip(file: tuple[Path, dict[str, Any]]) -> comfy.sd.CLIP:
    path, options = file
    return comfy.sd.load_clip([str(path)], model_options=options)


@pytest.fixture(scope="module")
def vlm(clip: comfy.sd.CLIP) -> CoreClipVlm:
    return CoreClipVlm(clip, 100_000)


def test_it_says_what_cores_own_node_says(vlm: CoreClipVlm, clip: comfy.sd.CLIP) -> None:
    """Without a system prompt the words and pictures are laid out as core's Generate Text lays them out."""
    from comfy_extras.nodes_textgen import TextGenerate

    pixels = torch.from_numpy(photo(1, 64, 96)).float()[None] / 255
    cores = TextGenerate.execute(clip, "What is {it}?", 8, {"sampling_mode": "off"}, image=pixels)
    (ours,) = ask(vlm, question("What is {it}?", photo(1, 64, 96), system="", max_tokens=8))
    assert ours.text == cores[0] and len(ours.text) == 8
    assert isinstance(ours, Failure)
    assert (ours.kind, ours.message) == (
        "VlmCutOff",
        "qwen3vl_8b: the reply was not finished after 8 tokens; raise max_tokens",
    )


def test_everything_that_is_read_counts(vlm: CoreClipVlm) -> None:
    one, two = photo(2, 64, 64) // 5, 255 - photo(3, 64, 96) // 5
    asked = [
        question("Before, after?", one, two),
        question("Before, after?", two, one),
        question("Before, after?", one),
        question("Before, after?"),
        question("Before, after?", one, system="You {count}."),
    ]
    said = texts(ask(vlm, *(replace(one, max_tokens=6) for one in asked)))
    assert len(set(said)) == len(said)


def test_seeds_repeat_and_differ(vlm: CoreClipVlm) -> None:
    drawn = [question("Draw.", temperature=1.0, seed=seed, max_tokens=6) for seed in (1, 1, 2)]
    one, same, other = texts(ask(vlm, *drawn))
    assert one == same != other


def test_words_stay_words(vlm: CoreClipVlm, clip: comfy.sd.CLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither braces nor the chat format's marks nor core's embeddings do anything in a question."""
    given = []
    tokenize = clip.tokenize
    monkeypatch.setattr(clip, "tokenize", lambda *a, **k: given.append(tokenize(*a, **k)) or given[-1])
    ask(vlm, question("{0} <|im_end|> <|image_pad|> (loud:1.5) embedding:face", photo(), system="{} {x}"))
    (row,) = given[0]["qwen3vl_8b"]
    text = clip.decode([token for token, _ in row if isinstance(token, int)], skip_special_tokens=False)
    assert text == (
        "<|im_start|>system\n{} {x}<|im_end|>\n<|im_start|>user\n<|vision_start|><|vision_end|>"
        "{0} < |im_end|> < |image_pad|> (loud:1.5) embedding :face<|im_end|>\n<|im_start|>assistant\n"
        "<think>\n\n</think>\n\n"
    )


@pytest.mark.parametrize(("size", "tokens"), [((64, 96), 6), ((640, 960), 96)])
def test_large_photos_are_scaled_down_and_tokens_are_counted(
    vlm: CoreClipVlm, clip: comfy.sd.CLIP, size: tuple[int, int], tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count is that of what the vision tower really gives. At most 100,000 pixels are 97 tokens."""
    seen = []
    network = clip.cond_stage_model.qwen3vl_8b.transformer
    look = network.preprocess_embed
    monkeypatch.setattr(network, "preprocess_embed", lambda *a, **k: seen.append(look(*a, **k)) or seen[-1])
    with_photo, without = (
        vlm._reply(conversation(one))
        for one in (question("", photo(0, *size), max_tokens=1), question("", max_tokens=1))
    )
    assert isinstance(with_photo, Utterance) and isinstance(without, Utterance)
    assert len(seen[0][0]) == tokens
    frame = 2  # <|vision_start|> and <|vision_end|>
    assert with_photo.usage.prompt_tokens - without.usage.prompt_tokens == tokens + frame
    assert with_photo.usage.completion_tokens == 1


def test_finished_replies_become_answers(
    vlm: CoreClipVlm, clip: comfy.sd.CLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random model never ends by itself, so what it says is put into its mouth; the rest is the real way."""
    said = []

    def generate(tokens: Any, **settings: Any) -> list[int]:
        said.append((tokens, settings))
        reply = ["no idea", '{"score": 4}'][len(said) - 1]
        return [*clip.tokenizer.qwen3vl_8b.tokenizer(reply)["input_ids"], 151645]

    monkeypatch.setattr(clip, "generate", generate)
    (result,) = ask(vlm, question("Score it.", photo(0, 64, 96), reply=Score, temperature=0.5, seed=9))
    assert isinstance(result, Answer)
    assert (result.value, result.text, result.model) == (Score(score=4), '{"score": 4}', "qwen3vl_8b")
    assert said[0][1] | {"do_sample": True, "temperature": 0.5, "seed": 9, "max_length": 12} == said[0][1]
    lengths = [len(next(iter(tokens.values()))[0]) + 5 for tokens, _ in said]  # 6 tokens show a photo, in one place
    assert result.usage.prompt_tokens == sum(lengths)
    again = clip.decode([token for token, _ in next(iter(said[1][0].values()))[0] if isinstance(token, int)])
    assert "assistant\nno idea" in again and "could not be used" in again


def test_a_cancel_ends_it_within_a_second(vlm: CoreClipVlm) -> None:
    """ComfyUI's server looks for cancels in its progress hook."""
    ask(vlm, question(max_tokens=1))
    comfy.utils.set_progress_bar_global_hook(
        lambda *_, **__: model_management.throw_exception_if_processing_interrupted()
    )
    try:
        started = time.monotonic()
        threading.Timer(0.5, model_management.interrupt_current_processing).start()
        with pytest.raises(model_management.InterruptProcessingException):
            ask(vlm, question(max_tokens=800))
        assert 0.4 < time.monotonic() - started < 1.5
    finally:
        comfy.utils.set_progress_bar_global_hook(None)


def test_free_really_frees(vlm: CoreClipVlm, clip: comfy.sd.CLIP) -> None:
    first = texts(ask(vlm, question("Look.", photo(), max_tokens=3)))
    assert vlm.patcher is clip.patcher and clip.patcher in model_management.loaded_models()
    model_management.unload_all_models()
    assert model_management.loaded_models() == []
    assert texts(ask(vlm, question("Look.", photo(), max_tokens=3))) == first


def test_a_qwen25_vl_encoder_is_refused_by_name(tmp_path: Path) -> None:
    options = tiny_core_clip.qwen25_vl(tmp_path / "qwen_2.5_vl_7b.safetensors")
    clip = comfy.sd.load_clip(
        [str(tmp_path / "qwen_2.5_vl_7b.safetensors")],
        clip_type=comfy.sd.CLIPType.QWEN_IMAGE,
        model_options=options,
    )
    with pytest.raises(ValueError, match=r"^clip holds Qwen25_7BVLI, a Qwen2\.5-VL text encoder, .* without the head"):
        CoreClipVlm(clip, 100_000)


def test_a_qwen3_vl_that_was_loaded_without_eyes_is_refused(file: tuple[Path, dict[str, Any]]) -> None:
    """As Load CLIP does with type flux2: the language model alone."""
    path, options = file
    small = {"qwen3_8b_model_config": options["qwen3vl_8b_model_config"]}
    clip = comfy.sd.load_clip([str(path)], clip_type=comfy.sd.CLIPType.FLUX2, model_options=small)
    with pytest.raises(ValueError, match=r"^clip holds Qwen3_8B, which cannot answer questions on images; connect"):
        CoreClipVlm(clip, 100_000)
