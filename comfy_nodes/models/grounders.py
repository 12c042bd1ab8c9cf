"""Grounding DINO (Liu et al. 2023) and OWLv2 (Minderer et al. 2023) through transformers, from hub-format folders.

Both give the boxes of transformers' own post-processing. Labels differ on purpose for Grounding DINO: transformers
returns whatever tokens lit up (`cat dog`), which is no name of the vocabulary; here each box has the name whose tokens
score best, and that score.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    GroundingDinoForObjectDetection,
    Owlv2ForObjectDetection,
)

from ..wires.batches import each
from .checkpoints import FROM_FOLDER, CheckpointError, load_pretrained, model_type, one_line
from .detections import Candidates, Grounder, Vocabularies
from .managed import ManagedModule

PROMPT = "a photo of a {}"
"""What OWLv2 reads for a name: the form in its makers' and transformers' examples."""


def load_grounder(folder: Path) -> Grounder:
    """The grounder in a hub-format folder, by its `model_type`.

    Raises:
        CheckpointError: broken files, or an architecture that is no grounder.
    """
    kinds = {"grounding-dino": GroundingDino, "owlv2": Owlv2}
    found = model_type(folder)
    if found not in kinds:
        raise CheckpointError(
            f"{folder.name}: is a {found or 'folder of no known type'}, not one of {', '.join(kinds)}"
        )
    return kinds[found](folder)


MOST_ELONGATED = 8
"""Longer side over shorter that Grounding DINO gets to see: a narrower strip has fewer places than the model has queries
(900), which fails in transformers. Ours."""


class GroundingDino(Grounder):
    """Grounding DINO: reads photo and names together, as many names at a time as fit into its text."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            CheckpointError: the folder is broken, or holds something else.
        """
        model = load_pretrained(GroundingDinoForObjectDetection, folder)
        self._image_processor, self._tokenizer = _processors(folder)
        self._most_tokens: int = model.config.max_text_len
        self._managed = ManagedModule(model, f"Grounding DINO {folder.name}")

    def candidates(self, images: Sequence[np.ndarray], vocabulary: Sequence[str], score: float) -> Iterator[Candidates]:
        """For each of the model's queries its best name of each prompt."""
        prompts = list(self._prompts(vocabulary))
        with self._managed.on_device() as model:
            for image in each(images):
                framed = _widened(image)
                seen = self._image_processor(images=framed, return_tensors="pt").to(self._managed.device)
                parts = [self._look(model, seen, prompt, framed.shape) for prompt in prompts]
                yield Candidates(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    def _look(
        self, model: Any, seen: Any, prompt: tuple[list[int], list[tuple[int, slice]]], shape: tuple[int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        tokens, places = prompt
        ids = torch.tensor([tokens], device=self._managed.device)
        output = model(
            pixel_values=seen.pixel_values,
            pixel_mask=seen.pixel_mask,
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            token_type_ids=torch.zeros_like(ids),
        )
        likely = output.logits[0].sigmoid()
        by_name = torch.stack([likely[:, place].max(1).values for _, place in places], 1)
        scores, best = by_name.max(1)
        labels = torch.tensor([label for label, _ in places], device=best.device)[best]
        height, width = shape[:2]
        return _corners(output.pred_boxes[0], width, height), scores, labels

    def _prompts(self, vocabulary: Sequence[str]) -> Iterator[tuple[list[int], list[tuple[int, slice]]]]:
        """The vocabulary as token lists `[CLS] name . name . [SEP]`, with (label, where its tokens stand) for each.

        A name that fills the text alone is cut; one without a letter or digit is left out.
        """
        start, stop = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        dot = self._tokenizer.convert_tokens_to_ids(".")
        room = self._most_tokens - 3
        tokens: list[int] = [start]
        places: list[tuple[int, slice]] = []
        for label, name in enumerate(vocabulary):
            words = " ".join(name.lower().translate(str.maketrans(".?", "  ")).split())
            ids = (
                self._tokenizer(words, add_special_tokens=False).input_ids[:room]
                if words.strip(string.punctuation)
                else []
            )
            if not ids:
                continue
            if len(tokens) + len(ids) + 2 > self._most_tokens:
                yield [*tokens, stop], places
                tokens, places = [start], []
            places.append((label, slice(len(tokens), len(tokens) + len(ids))))
            tokens += [*ids, dot]
        if not places and len(tokens) == 1:
            raise ValueError("no name of the vocabulary has a letter or digit in it")
        yield [*tokens, stop], places


class Owlv2(Grounder):
    """OWLv2: names and photos apart, so each vocabulary is embedded once."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            CheckpointError: the folder is broken, or holds something else.
        """
        model = load_pretrained(Owlv2ForObjectDetection, folder)
        self._image_processor, self._tokenizer = _processors(folder)
        self._most_tokens: int = model.config.text_config.max_position_embeddings
        self._managed = ManagedModule(model, f"OWLv2 {folder.name}")
        self._known: Vocabularies[torch.Tensor] = Vocabularies()

    def candidates(self, images: Sequence[np.ndarray], vocabulary: Sequence[str], score: float) -> Iterator[Candidates]:
        """For each patch of the photo its best name."""
        with self._managed.on_device() as model:
            names = self._known.of(vocabulary, partial(self._embedded, model)).to(self._managed.device)
            for image in each(images):
                pixels = self._image_processor(images=image, return_tensors="pt").pixel_values.to(self._managed.device)
                features, _ = model.image_embedder(pixel_values=pixels)
                patches = features.flatten(1, 2)
                logits, _ = model.class_predictor(patches, names.unsqueeze(0))
                scores, labels = logits[0].sigmoid().max(1)
                side = max(image.shape[:2])  # it frames photos as squares, at their lower and right border
                yield Candidates(_corners(model.box_predictor(patches, features)[0], side, side), scores, labels)

    def _embedded(self, model: Any, names: tuple[str, ...]) -> torch.Tensor:
        tokens = self._tokenizer(
            [PROMPT.format(name) for name in names],
            padding="max_length",
            max_length=self._most_tokens,
            truncation=True,
            return_tensors="pt",
        ).to(self._managed.device)
        pooled = model.owlv2.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
        embedded = model.owlv2.text_projection(pooled)
        unit: torch.Tensor = embedded / embedded.norm(p=2, dim=-1, keepdim=True)
        return unit.cpu()


def _widened(image: np.ndarray) -> np.ndarray:
    """The photo, a narrow strip with black added at its lower or right border."""
    least = -(-max(image.shape[:2]) // MOST_ELONGATED)
    missing = [(0, max(least - side, 0)) for side in image.shape[:2]]
    return np.pad(image, [*missing, (0, 0)]) if any(after for _, after in missing) else image


def _processors(folder: Path) -> tuple[Any, Any]:
    try:
        return (
            AutoImageProcessor.from_pretrained(str(folder), **FROM_FOLDER),
            AutoTokenizer.from_pretrained(str(folder), **FROM_FOLDER),
        )
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder.name}: its tokenizer or image processor cannot be read ({one_line(error)})"
        ) from None


def _corners(boxes: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Boxes [N, 4] of middle and size, as shares, as corners in pixels."""
    middle, size = boxes[:, :2], boxes[:, 2:]
    return torch.cat((middle - size / 2, middle + size / 2), 1) * boxes.new_tensor([width, height, width, height])
