"""Scores of regions: does a crop show what its name says (CLIP), and is it pleasant to look at (aesthetic head).

The CLIP score is CLIPScore (Hessel et al. 2021, arXiv 2104.08718): 2.5 times the cosine between the crop's and the
text's embedding, 0 where that is negative; ImgEdit's thresholds of 0.8 and 0.7 are on this scale. The aesthetic score
is that of a small head on CLIP's image embedding, about 1 to 10 (LAION's improved-aesthetic-predictor on ViT-L/14).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from . import checkpoints, folders
from .managed import ManagedModule

CLIP_FOLDERS = ("clip_vision", "text_encoders", "grounding")
"""The model folder types that are searched for CLIP in hub format."""

HEAD_FOLDERS = ("aesthetic",)

CLIP_WEIGHT = 2.5
"""CLIPScore's factor, which brings cosines onto 0 to about 1 (Hessel et al. 2021, section 3)."""

PREFIX = "A photo depicts {}"
"""CLIPScore's wording (Hessel et al. 2021, section 3)."""

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of red, green and blue, 0 to 1, in CLIP's training images (OpenAI's CLIP)."""

IMAGES_AT_ONCE = 16
"""How many crops go through CLIP together. Ours."""

REMEMBERED_TEXTS = 4096
"""How many texts' embeddings are kept, some 3 KB each. Ours."""


class RegionScorer:
    """CLIP, with an aesthetic head or without, in ComfyUI's memory manager."""

    def __init__(self, clip: Any, tokenizer: Any, head: torch.nn.Module | None, name: str) -> None:
        self.name = name
        self._clip, self._tokenizer, self._head = clip, tokenizer, head
        parts = torch.nn.ModuleDict({"clip": clip} if head is None else {"clip": clip, "head": head})
        self._managed = ManagedModule(parts, "RegionScorer")
        self.patcher = self._managed.patcher
        """What ComfyUI's memory manager and output cache know the models by."""
        self._texts: dict[str, torch.Tensor] = {}

    def clip_scores(self, crops: Sequence[np.ndarray], names: Sequence[str]) -> list[float | None]:
        """CLIPScore of each crop against its own name, 0 to 2.5; None where the name is empty.

        The whole crop is seen: it is padded to a square in CLIP's mean colour, never cut.

        Args:
            crops: uint8 [h, w, 3] each, of any sizes.
        """
        named = [number for number, name in enumerate(names) if name.strip()]
        scores: list[float | None] = [None] * len(crops)
        if not named:
            return scores
        with self._managed.on_device():
            texts = self._text_features([PREFIX.format(names[number].strip()) for number in named])
            images = self._image_features([_padded(crops[number], self._side) for number in named])
            cosines = (images * texts).sum(dim=1)
        for number, cosine in zip(named, cosines.tolist(), strict=True):
            scores[number] = CLIP_WEIGHT * max(cosine, 0.0)
        return scores

    def aesthetic_scores(self, images: Sequence[np.ndarray]) -> list[float | None]:
        """Aesthetic score of each image, about 1 to 10; None for all without a head.

        As the head was trained: scaled by the shorter side and cut to the middle square.

        Args:
            images: uint8 [h, w, 3] each, of any sizes.
        """
        head = self._head
        if head is None or not images:
            return [None] * len(images)
        with self._managed.on_device():
            features = self._image_features([_centred(image, self._side) for image in images])
            return [float(score) for score in head(features).reshape(-1)]

    def embed_photo(self, image: np.ndarray) -> np.ndarray:
        """CLIP's unit vector, float32 [D], of a photo's middle square.

        Args:
            image: uint8 [h, w, 3].
        """
        with self._managed.on_device():
            found: np.ndarray = self._image_features([_centred(image, self._side)])[0].cpu().numpy()
        return found

    def embed_words(self, words: str) -> np.ndarray:
        """The same of words as they stand; what is more than CLIP's 77 tokens is cut off."""
        with self._managed.on_device():
            found: np.ndarray = self._text_features([words])[0].cpu().numpy()
        return found

    @property
    def _side(self) -> int:
        return int(self._clip.config.vision_config.image_size)

    def _image_features(self, squares: Sequence[torch.Tensor]) -> torch.Tensor:
        """Unit vectors [N, D] of images [3, side, side], 0 to 1."""
        device = self._managed.device
        mean, deviation = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, DEVIATION))
        parts = []
        for start in range(0, len(squares), IMAGES_AT_ONCE):
            pixels = (torch.stack(list(squares[start : start + IMAGES_AT_ONCE])).to(device) - mean) / deviation
            found = self._clip.get_image_features(pixel_values=pixels.to(self._managed.dtype))
            parts.append(_unit(found))
        return torch.cat(parts)

    def _text_features(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [N, D] of texts; each is embedded once."""
        new = sorted(set(texts) - self._texts.keys())
        if new:
            length = self._clip.config.text_config.max_position_embeddings
            tokens = self._tokenizer(
                new,
                padding=True,
                truncation=True,
                max_length=length,
                return_tensors="pt",
            )
            tokens = {name: tokens[name].to(self._managed.device) for name in ("input_ids", "attention_mask")}
            if len(self._texts) + len(new) > REMEMBERED_TEXTS:
                self._texts = {text: self._texts[text] for text in set(texts) & self._texts.keys()}
            self._texts.update(zip(new, _unit(self._clip.get_text_features(**tokens)).cpu(), strict=True))
        return torch.stack([self._texts[text] for text in texts]).to(self._managed.device)


def clip_choices() -> list[str]:
    """Hub-format folders that hold a CLIP with both encoders, as a combo lists them."""
    return [
        choice for choice in folders.hub_folders(*CLIP_FOLDERS) if _is_clip(folders.hub_path(choice, *CLIP_FOLDERS))
    ]


def head_choices() -> list[str]:
    """Files in the aesthetic folder, as a combo lists them."""
    return folders.files(*HEAD_FOLDERS)


def load(clip: str, head: str | None) -> RegionScorer:
    """The scorer of a choice out of `clip_choices` and one out of `head_choices`, or None for no aesthetic scores.

    Raises:
        FileNotFoundError: one is not there.
        checkpoints.CheckpointError: broken, another architecture, or a head for another CLIP.
    """
    return load_paths(
        folders.hub_path(clip, *CLIP_FOLDERS), None if head is None else folders.file_path(head, *HEAD_FOLDERS)
    )


def load_paths(clip: Path, head: Path | None) -> RegionScorer:
    """`load` of a folder and a file."""
    from transformers import CLIPModel

    model = checkpoints.load_pretrained(CLIPModel, clip)
    tokenizer = checkpoints.load_tokenizer(clip)
    return RegionScorer(model, tokenizer, load_head(head, model.config.projection_dim) if head else None, clip.name)


def load_head(path: Path, features: int) -> torch.nn.Module:
    """An aesthetic head: linear layers one after another, as many and as wide as the file says.

    LAION's improved-aesthetic-predictor has five (`layers.0` to `layers.7`, the dropouts between them counted), its
    older linear ones a single layer without a number. None has anything but dropout between the layers.

    Args:
        features: how wide the CLIP embedding is that it will get.

    Raises:
        checkpoints.CheckpointError: no such chain of layers, or one for embeddings of another width.
    """
    checkpoint = checkpoints.read(path)
    names = [re.fullmatch(r"(?:.*\.)?(\d+)\.weight|weight", name) for name in checkpoint.tensors]
    numbered = sorted((int(match[1] or 0), match.string) for match in names if match)
    layers: list[torch.nn.Module] = []
    width = features
    for _, name in numbered:
        weight, bias = checkpoint.tensors[name], checkpoint.tensors.get(name.removesuffix("weight") + "bias")
        if weight.dim() != 2 or bias is None or bias.shape != weight.shape[:1]:
            raise checkpoints.CheckpointError(f"{path.name}: {name} is not a linear layer: this is no aesthetic head")
        if weight.shape[1] != width:
            what = "embeddings" if not layers else "inputs"
            raise checkpoints.CheckpointError(
                f"{path.name}: {name} takes {what} of {weight.shape[1]}, but gets {width}: "
                "this head was made for another CLIP (LAION's for ViT-L/14)"
            )
        layer = torch.nn.Linear(width, weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers.append(layer)
        width = weight.shape[0]
    if width != 1 or len(checkpoint.tensors) != 2 * len(layers):
        raise checkpoints.CheckpointError(f"{path.name}: is no aesthetic head (linear layers down to one number)")
    return torch.nn.Sequential(*layers)


def _is_clip(folder: Path) -> bool:
    try:
        return checkpoints.model_type(folder) == "clip"
    except checkpoints.CheckpointError:
        return False


def _unit(found: Any) -> torch.Tensor:
    """Unit vectors of what CLIPModel gives: transformers 4 a tensor, 5 an object around it."""
    features = found if isinstance(found, torch.Tensor) else found.pooler_output
    return functional.normalize(features.float(), dim=-1)


def _padded(crop: np.ndarray, side: int) -> torch.Tensor:
    """[3, side, side], 0 to 1: the whole crop in the middle, CLIP's mean colour round it."""
    height, width = crop.shape[:2]
    scale = side / max(height, width)
    inside = _scaled(crop, max(1, round(height * scale)), max(1, round(width * scale)))
    top, left = (side - inside.shape[1]) // 2, (side - inside.shape[2]) // 2
    canvas = torch.tensor(MEAN)[:, None, None].repeat(1, side, side)
    canvas[:, top : top + inside.shape[1], left : left + inside.shape[2]] = inside
    return canvas


def _centred(image: np.ndarray, side: int) -> torch.Tensor:
    """[3, side, side], 0 to 1: the image's middle square."""
    height, width = image.shape[:2]
    scale = side / min(height, width)
    scaled = _scaled(image, max(side, int(height * scale)), max(side, int(width * scale)))
    top, left = (scaled.shape[1] - side) // 2, (scaled.shape[2] - side) // 2
    return scaled[:, top : top + side, left : left + side]


def _scaled(image: np.ndarray, height: int, width: int) -> torch.Tensor:
    """[3, height, width], 0 to 1, of uint8 [h, w, 3]; bicubic, as CLIP's own preprocessing."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float().div(255)
    scaled = functional.interpolate(pixels, (height, width), mode="bicubic", align_corners=False, antialias=True)
    return scaled[0].clamp(0, 1)
