"""What every grounder does alike: from a detector's raw boxes to the ones that are kept, image by image.

A grounder finds what a vocabulary names in photos. Its detector gives `Candidates`; thresholds, non-maximum
suppression, area limits, count and order are applied here, so that they mean the same for all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from torchvision.ops import nms

from ..wires.box_formats import Detection
from .managed import ManagedModule

Order = Literal["score", "size", "left to right"]

MAX_CANDIDATES = 30_000
"""Candidates that go into suppression, the best by score; ultralytics' own limit."""

KEPT_VOCABULARIES = 64
"""How many vocabularies stay embedded: 1,000 names of 512 numbers take 2 MB."""


@dataclass(frozen=True)
class BoxRules:
    """Which candidates are kept. The defaults are ImgEdit's (its repository's stage 4 and YOLO-World's demo)."""

    score: float = 0.005
    """Least confidence, exclusive, 0 to 1."""
    overlap: float = 0.5
    """Of two boxes that overlap more (intersection over union, 0 to 1), the weaker one goes."""
    per_class: bool = True
    """Whether only boxes of one name suppress each other. ImgEdit's release suppresses across names."""
    limit: int = 100
    """Most boxes for an image, the best by score."""
    min_area: float = 0.0
    max_area: float = 1.0
    """Share of the photo that a box may cover, 0 to 1."""
    order: Order = "score"


@dataclass(frozen=True)
class Candidates:
    """A detector's raw boxes in one photo."""

    boxes: torch.Tensor
    """float [N, 4]: x1, y1, x2, y2 in the photo's pixels, not clipped to it."""
    scores: torch.Tensor
    """float [N], 0 to 1."""
    labels: torch.Tensor
    """int [N]: positions in the vocabulary."""


class Grounder(ABC):
    """A detector that takes its vocabulary as text."""

    _managed: ManagedModule[Any]

    @property
    def patcher(self) -> ModelPatcher:
        """The detector in ComfyUI's memory manager, which looks for this name."""
        return self._managed.patcher

    @abstractmethod
    def candidates(self, images: Sequence[np.ndarray], vocabulary: Sequence[str], score: float) -> Iterator[Candidates]:
        """Raw boxes for each image in turn, at least those that score above `score`."""

    def detect(
        self, images: Sequence[np.ndarray], vocabulary: Sequence[str], rules: BoxRules | None = None
    ) -> list[list[Detection]]:
        """The boxes of each image: as many lists as images, in their order, empty where nothing is found.

        Args:
            images: uint8 [H, W, 3] in RGB; sizes may differ.
            vocabulary: what to look for, at least one name, each once.

        Raises:
            ValueError: the vocabulary is empty.
            managed.OutOfMemory: a model did not fit; all are unloaded.
        """
        if not vocabulary:
            raise ValueError("the vocabulary is empty: give at least one name to look for")
        rules = rules or BoxRules()
        return [
            select(found, vocabulary, image.shape[1], image.shape[0], rules)
            for image, found in zip(images, self.candidates(images, vocabulary, rules.score), strict=True)
        ]


Embedded = TypeVar("Embedded")


class Vocabularies(Generic[Embedded]):
    """The embeddings of the last `KEPT_VOCABULARIES` vocabularies that were asked for."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, ...], Embedded] = OrderedDict()

    def of(self, names: Sequence[str], embed: Callable[[tuple[str, ...]], Embedded]) -> Embedded:
        """The embeddings of `names`, made by `embed` where they are not known."""
        key = tuple(names)
        if key not in self._known:
            self._known[key] = embed(key)
        self._known.move_to_end(key)
        while len(self._known) > KEPT_VOCABULARIES:
            self._known.popitem(last=False)
        return self._known[key]


def select(found: Candidates, vocabulary: Sequence[str], width: int, height: int, rules: BoxRules) -> list[Detection]:
    """The candidates that are kept, clipped to the photo of width x height pixels."""
    places, boxes = chosen(found, width, height, rules)
    scores, labels = found.scores.float().cpu()[places].tolist(), found.labels.cpu()[places].tolist()
    return [
        Detection(tuple(box), vocabulary[label], score)
        for box, label, score in zip(boxes.tolist(), labels, scores, strict=True)
    ]


def chosen(found: Candidates, width: int, height: int, rules: BoxRules) -> tuple[torch.Tensor, torch.Tensor]:
    """Which candidates are kept: their places among those found, int [N], and their boxes clipped to the photo, float [N, 4].

    Suppression comes first (as in ultralytics, on boxes not yet clipped), then area, then the limit, then the order.
    Boxes without area inside the photo are dropped.
    """
    sure = (found.scores > rules.score).nonzero().flatten()
    best = sure[found.scores[sure].argsort(descending=True, stable=True)[:MAX_CANDIDATES]]
    boxes, scores, labels = found.boxes[best], found.scores[best], found.labels[best]
    if not len(boxes):
        return best.cpu(), boxes.float().cpu()
    apart = boxes.double()  # so that far apart still means exact with a thousand names
    if rules.per_class:
        span = apart.max() - apart.min() + 1
        apart = apart + labels.double().unsqueeze(1) * span
    kept = nms(apart, scores.double(), rules.overlap)
    boxes = boxes[kept].float().cpu()
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, height)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (width * height)
    wanted = (area > 0) & (area >= rules.min_area) & (area <= rules.max_area)
    index = wanted.nonzero().flatten()[: rules.limit]
    if rules.order == "size":
        index = index[area[index].argsort(descending=True, stable=True)]
    elif rules.order == "left to right":
        index = index[boxes[index, 0].argsort(stable=True)]
    return best[kept].cpu()[index], boxes[index]
