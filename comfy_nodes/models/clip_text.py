"""Text embeddings for YOLO-World, from a CLIP text encoder in hub format (OpenAI's ViT-B/32).

ultralytics' own way to them installs a package from git when it is first used. This one gives the same numbers with
transformers, which ComfyUI brings: OpenAI's tokens (HTML entities resolved, lower case, 77 at most, the rest cut off),
the projected state at the end-of-text token, divided by its length. Of OpenAI's cleaning by the package ftfy only the
straightening of quotes is done, so names in broken encodings may differ.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import CLIPTextModelWithProjection

from ..wires.batches import each
from .checkpoints import load_pretrained, load_tokenizer
from .detections import Vocabularies
from .managed import ManagedModule

BATCH = 80
"""Names encoded at a time, ultralytics' own number."""

STRAIGHT_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})


class ClipText:
    """Names to embeddings, each vocabulary once."""

    def __init__(self, folder: Path) -> None:
        """Loads a hub-format folder: OpenAI's whole CLIP, or its text half alone.

        Raises:
            CheckpointError: the folder is broken, or holds something else.
        """
        model = load_pretrained(CLIPTextModelWithProjection, folder, related=("clip",))
        self._tokenizer = load_tokenizer(folder)
        self.name = folder.name
        self.dimensions: int = model.config.projection_dim
        self._longest: int = model.config.max_position_embeddings
        self._managed = ManagedModule(model, f"CLIP text encoder {folder.name}")
        self._known: Vocabularies[torch.Tensor] = Vocabularies()

    def embed(self, names: Sequence[str]) -> torch.Tensor:
        """float32 [len(names), dimensions] on the CPU, each row of length 1.

        A vocabulary is encoded together, as ultralytics does it, so the numbers don't depend on what was asked before.
        """
        return self._known.of(names, self._encode)

    def _encode(self, names: tuple[str, ...]) -> torch.Tensor:
        tokens = self._tokenizer(
            [_cleaned(name) for name in names],
            padding="max_length",
            max_length=self._longest,
            truncation=True,
            return_tensors="pt",
        )
        rows = []
        with self._managed.on_device() as model:
            for ids in each(tokens.input_ids.split(BATCH)):
                rows.append(model(input_ids=ids.to(self._managed.device)).text_embeds.float().cpu())
        embedded = torch.cat(rows)
        lengths: torch.Tensor = embedded.norm(p=2, dim=-1, keepdim=True)
        return embedded / lengths


def _cleaned(name: str) -> str:
    """The name as OpenAI's tokenizer cleans it before it lowers the case; twice, as there."""
    return html.unescape(html.unescape(name.translate(STRAIGHT_QUOTES)))
