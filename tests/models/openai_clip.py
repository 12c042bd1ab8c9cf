"""OpenAI's CLIP text half as its package computes it, written anew: what ultralytics imports as `clip`.

ultralytics fetches that package from git, which tests cannot. This stands in for it in `sys.modules`, so that
ultralytics' own code (`WorldModel.set_classes`, `text_model.CLIP`) runs unchanged: byte-pair tokens from OpenAI's merge
list, zeros as padding, PyTorch's own multi-head attention, QuickGELU, the state at the highest token projected.
"""

from __future__ import annotations

import html
import types
from itertools import pairwise
from pathlib import Path

import regex
import torch
from safetensors.torch import load_file

START, END = "<|startoftext|>", "<|endoftext|>"
WORD = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)


class Tokens:
    """Byte-pair encoding with OpenAI's merges."""

    def __init__(self, merges: Path) -> None:
        visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
        hidden = [byte for byte in range(256) if byte not in visible]
        letters = [*map(chr, visible), *(chr(256 + number) for number in range(len(hidden)))]
        self.letter = dict(zip([*visible, *hidden], letters, strict=True))
        pairs = [tuple(line.split()) for line in merges.read_text(encoding="utf-8").splitlines()[1:] if line.strip()]
        words = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in pairs), START, END]
        self.number = {word: number for number, word in enumerate(words)}
        self.rank = {pair: rank for rank, pair in enumerate(pairs)}

    def __call__(self, texts: str | list[str], context_length: int = 77, truncate: bool = False) -> torch.Tensor:
        texts = [texts] if isinstance(texts, str) else texts
        rows = torch.zeros(len(texts), context_length, dtype=torch.int)
        for row, text in zip(rows, texts, strict=True):
            ids = [self.number[START], *self.encode(text), self.number[END]]
            if len(ids) > context_length:
                assert truncate
                ids = [*ids[: context_length - 1], self.number[END]]
            row[: len(ids)] = torch.tensor(ids)
        return rows

    def encode(self, text: str) -> list[int]:
        text = " ".join(html.unescape(html.unescape(text)).split()).lower()
        ids = []
        for word in WORD.findall(text):
            parts = [self.letter[byte] for byte in word.encode("utf-8")]
            parts[-1] += "</w>"
            while len(parts) > 1:
                rank, place = min((self.rank.get(pair, 10**9), place) for place, pair in enumerate(pairwise(parts)))
                if rank == 10**9:
                    break
                parts[place : place + 2] = ["".join(parts[place : place + 2])]
            ids += [self.number[part] for part in parts]
        return ids


class TextTransformer(torch.nn.Module):
    """CLIP's text half with the weights of a transformers folder, in OpenAI's own formulation."""

    def __init__(self, folder: Path, heads: int) -> None:
        super().__init__()
        self.weights = {
            name.removeprefix("text_model."): tensor for name, tensor in load_file(folder / "model.safetensors").items()
        }
        self.heads = heads

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        weights = self.weights
        x = weights["embeddings.token_embedding.weight"][tokens.long()]
        x = x + weights["embeddings.position_embedding.weight"][: tokens.shape[1]]
        layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layers."))
        for number in range(layers):
            x = self._block(x, f"encoder.layers.{number}.")
        x = self._norm(x, "final_layer_norm")
        return x[torch.arange(len(x)), tokens.argmax(dim=-1)] @ weights["text_projection.weight"].T

    def _block(self, x: torch.Tensor, at: str) -> torch.Tensor:
        weights, width = self.weights, x.shape[-1]
        names = [f"{at}self_attn.{part}_proj" for part in "qkv"]
        hidden = torch.full((x.shape[1], x.shape[1]), float("-inf")).triu(1)
        seen = self._norm(x, at + "layer_norm1").transpose(0, 1)
        attended, _ = torch.nn.functional.multi_head_attention_forward(
            seen, seen, seen, width, self.heads,
            torch.cat([weights[f"{name}.weight"] for name in names]), torch.cat([weights[f"{name}.bias"] for name in names]),
            None, None, False, 0.0,
            weights[f"{at}self_attn.out_proj.weight"], weights[f"{at}self_attn.out_proj.bias"],
            training=False, need_weights=False, attn_mask=hidden,
        )  # fmt: skip
        x = x + attended.transpose(0, 1)
        inner = self._linear(self._norm(x, at + "layer_norm2"), at + "mlp.fc1")
        return x + self._linear(inner * torch.sigmoid(1.702 * inner), at + "mlp.fc2")

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.nn.functional.layer_norm(
            x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        )


def package(folder: Path, merges: Path, heads: int = 2) -> types.ModuleType:
    """The module that ultralytics imports as `clip`, whatever size it asks for."""
    module = types.ModuleType("clip")
    module.tokenize = Tokens(merges)
    module.load = lambda size, device, download_root: (TextTransformer(folder, heads), None)
    return module
