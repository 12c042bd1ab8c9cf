"""Names to embeddings: equal to ultralytics' own way, once per vocabulary."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")

from comfy_nodes.models.checkpoints import CheckpointError
from comfy_nodes.models.clip_text import BATCH, ClipText
from comfy_nodes.models.detections import KEPT_VOCABULARIES
from driver.comfyui.own import find_comfyui
from tests.models import openai_clip, tiny

NAMES = [
    "cat", "A red double-decker bus", "  dining   table ", "pot, black", "it's a dog's bowl", "1,000 apples (2024)",
    "Straße", "咖啡杯", "naïve café", "salt &amp; pepper", "tree " * 100, "x", "!?", "don\u2019t", "iPhone15Pro-Max", "l'été",
]  # fmt: skip


@pytest.fixture
def text(clip_folder: Path) -> ClipText:
    return ClipText(clip_folder)


def test_equals_what_ultralytics_computes(text: ClipText, clip_folder: Path, yolo_file: Path) -> None:
    """`WorldModel.set_classes` and `text_model.CLIP` run unchanged; only the package that they would fetch is ours."""
    from ultralytics import YOLOWorld

    package = openai_clip.package(clip_folder, find_comfyui() / "comfy" / "sd1_tokenizer" / "merges.txt")
    straight = [name.replace("\u2019", "'") for name in NAMES]  # what ftfy, which OpenAI's package calls first, does
    model = YOLOWorld(yolo_file).model
    with patch.dict(sys.modules, {"clip": package}):
        sys.modules.pop("ultralytics.nn.text_model", None)
        model.set_classes(straight)
    sys.modules.pop("ultralytics.nn.text_model", None)
    ours = text.embed(NAMES)
    assert model.txt_feats.shape == (1, len(NAMES), 512)
    assert torch.allclose(model.txt_feats[0], ours, atol=2e-6)
    assert torch.allclose(ours.norm(dim=-1), torch.ones(len(NAMES)), atol=1e-6)
    assert len({tuple(row) for row in ours.tolist()}) == len(NAMES)


def test_encodes_a_vocabulary_once(text: ClipText) -> None:
    with patch.object(text, "_encode", wraps=text._encode) as encode:
        first = text.embed(["cat", "dog"])
        assert text.embed(["cat", "dog"]) is first
        assert encode.call_count == 1
        text.embed(["dog", "cat"])
        assert encode.call_count == 2


def test_forgets_the_vocabulary_that_was_not_used_for_longest(text: ClipText) -> None:
    with patch.object(text, "_encode", side_effect=lambda names: torch.zeros(len(names), 512)) as encode:
        for number in range(KEPT_VOCABULARIES):
            text.embed([f"name {number}"])
        text.embed(["name 0"])
        text.embed(["one more"])
        text.embed(["name 0"])
        assert encode.call_count == KEPT_VOCABULARIES + 1
        text.embed(["name 1"])
        assert encode.call_count == KEPT_VOCABULARIES + 2


def test_embeds_a_thousand_names_in_batches(text: ClipText) -> None:
    names = [f"thing number {number}" for number in range(1000)]
    embedded = text.embed(names)
    assert embedded.shape == (1000, 512)
    assert torch.allclose(embedded[BATCH : BATCH + 1], text.embed(names[BATCH : BATCH + 1]), atol=1e-5)


def test_refuses_other_folders_in_one_line(clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^owl: its config.json says owlv2, not clip_text_model$"):
        ClipText(tiny.owlv2(tmp_path / "owl"))
    with pytest.raises(CheckpointError, match=r"^empty: its config.json cannot be read"):
        (tmp_path / "empty").mkdir()
        ClipText(tmp_path / "empty")
    shutil.copytree(clip_folder, tmp_path / "no-words")
    for file in (tmp_path / "no-words").iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            file.unlink()
    with pytest.raises(CheckpointError, match=r"^no-words: its tokenizer cannot be read \([^\n]+\)$"):
        ClipText(tmp_path / "no-words")
    shutil.copytree(clip_folder, tmp_path / "cut")
    whole = (tmp_path / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"^cut: [^\n]+$"):
        ClipText(tmp_path / "cut")
