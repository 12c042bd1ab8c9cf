"""SAM 3 (Meta 2025) through ComfyUI's own implementation: what words name, found and cut out in one go.

Core's Load Checkpoint gives the weights, whose memory core manages. Three things are done otherwise than in core's node SAM3
Detect. A photo goes through the image encoder once for all words (5.6 TFLOP by its layers' shapes, and 0.42 for each word),
not once for each. Its pixels go in as -1 to 1, as in training (transformers, image_processing_sam3.py: mean and deviation
0.5), where core's node leaves them at 0 to 1. And a box's score is that of its query times the presence of the word in the
photo, as the model's makers have it (transformers, modeling_sam3.py); core's node leaves presence out, and so may find what
is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from comfy import model_management
from comfy.ldm.sam3.detector import SAM3Model
from comfy.text_encoders.sam3_clip import SAM3ClipModelWrapper
from comfy.utils import common_upscale
from torch.nn import functional

from ..wires.batches import each
from ..wires.box_formats import Detection
from .detections import BoxRules, Candidates, Vocabularies, chosen
from .managed import out_of_memory_explained

SYNTAX = str.maketrans(",:()", "    ")
"""What core's prompt reader takes for the end of a prompt, a count or a weight."""

Encoded = list[tuple[int, torch.Tensor, torch.Tensor]]
"""For each word that has a letter: its place in the vocabulary, its embedding [1, T, C], which of its tokens count [1, T]."""

_known: WeakKeyDictionary[Any, Vocabularies[Encoded]] = WeakKeyDictionary()
"""By text encoder. Of a run's photos all but the first have the vocabulary of the one before."""


@dataclass(frozen=True)
class Found:
    """What was found in one photo."""

    detections: list[Detection]
    masks: np.ndarray
    """bool [N, H, W], one for each detection."""


class Sam3:
    """Core's MODEL and CLIP of one SAM 3 checkpoint."""

    def __init__(self, model: Any, clip: Any) -> None:
        """
        Raises:
            ValueError: another model's.
        """
        if not isinstance(model.model.diffusion_model, SAM3Model) or not _reads_words(clip):
            raise ValueError(
                "model and clip are not SAM 3's: wire both from a Load Checkpoint with sam3.1_multiplex_fp16.safetensors"
            )
        self._patcher, self._clip = model, clip

    def find(self, images: torch.Tensor, vocabulary: Sequence[str], rules: BoxRules) -> Iterator[Found]:
        """What the vocabulary names in each photo in turn.

        Args:
            images: IMAGE [B, H, W, C].

        Raises:
            ValueError: no word has a letter or digit.
            managed.OutOfMemory: the model did not fit; all are unloaded.
        """
        with out_of_memory_explained("SAM 3"), torch.no_grad():
            words = _known.setdefault(self._clip, Vocabularies()).of(vocabulary, self._encoded)
            model_management.load_model_gpu(self._patcher)
            for image in each(images):
                height, width = image.shape[:2]
                found, masks = self._candidates(image, words, rules.score)
                places, boxes = chosen(found, width, height, rules)
                cut = [_upscaled(masks[place], height, width) for place in places.tolist()]
                yield _whole(found, places, boxes, cut, vocabulary)

    def _candidates(self, image: torch.Tensor, words: Encoded, score: float) -> tuple[Candidates, torch.Tensor]:
        """All boxes above a score in one photo [H, W, C], and logits of their masks, float [N, h, w]."""
        detector = self._patcher.model.diffusion_model.detector
        device, dtype = model_management.get_torch_device(), self._patcher.model.get_dtype()
        encoder = detector.backbone["vision_backbone"]
        side = encoder.trunk.img_size
        square = common_upscale(image[None, ..., :3].movedim(-1, 1), side, side, "bilinear", crop="disabled")
        features, positions, _, _ = encoder((square * 2 - 1).to(device=device, dtype=dtype))
        height, width = image.shape[:2]
        scale = torch.tensor([width, height, width, height], device=device)
        parts = []
        for label, text, counts in words:
            model_management.throw_exception_if_processing_interrupted()
            prompt = detector.backbone["language_backbone"]["resizer"](text.to(device=device, dtype=dtype))
            boxes, logits, masks, decoded = detector._detect(features, positions, prompt, counts.to(device).bool())
            scores = logits[0].float().sigmoid() * decoded["presence"][0].float().sigmoid()
            sure = scores > score
            labels = torch.full((int(sure.sum()),), label, device=device)
            parts.append((boxes[0][sure].float() * scale, scores[sure], labels, masks[0][sure].float()))
        boxes, scores, labels, masks = (torch.cat(columns) for columns in zip(*parts, strict=True))
        return Candidates(boxes, scores, labels), masks

    def _encoded(self, names: tuple[str, ...]) -> Encoded:
        """Each name by itself: core's own reading of a list keeps neither names nor their order apart."""
        encoded = []
        for label, name in enumerate(names):
            words = " ".join(name.translate(SYNTAX).split())
            if not any(map(str.isalnum, words)):
                continue
            # A name that fills the text (32 tokens) is cut.
            tokens = {key: batches[:1] for key, batches in self._clip.tokenize(words).items()}
            read = self._clip.encode_from_tokens(tokens, return_dict=True)
            encoded.append((label, read["cond"].cpu(), read["attention_mask"].cpu()))
        if not encoded:
            raise ValueError("no name of the vocabulary has a letter or digit in it")
        return encoded


def _reads_words(clip: Any) -> bool:
    return clip is not None and isinstance(clip.cond_stage_model, SAM3ClipModelWrapper)


def _upscaled(logits: torch.Tensor, height: int, width: int) -> np.ndarray:
    """bool [height, width] of one mask's logits [h, w]. One by one, so that many on a large photo don't fill the memory."""
    scaled = functional.interpolate(logits[None, None], size=(height, width), mode="bilinear", align_corners=False)
    mask: np.ndarray = (scaled[0, 0] > 0).cpu().numpy()
    return mask


def _whole(
    found: Candidates, places: torch.Tensor, boxes: torch.Tensor, cut: list[np.ndarray], vocabulary: Sequence[str]
) -> Found:
    """The kept candidates whose masks mark something."""
    scores, labels = found.scores.cpu()[places].tolist(), found.labels.cpu()[places].tolist()
    kept = [
        (Detection(tuple(box), vocabulary[label], score), mask)
        for box, label, score, mask in zip(boxes.tolist(), labels, scores, cut, strict=True)
        if mask.any()
    ]
    return Found([one for one, _ in kept], np.array([mask for _, mask in kept], dtype=bool))
