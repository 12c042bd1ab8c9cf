"""Detection: ours against ultralytics called directly on the same weights, and what remembering a vocabulary saves."""

from __future__ import annotations

import atexit
import functools
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measures import seconds

PHOTOS = 6
ROUNDS = 5
NAMES = [f"thing number {number}" for number in range(80)]
"""As many names as COCO has, ultralytics' default vocabulary size."""

SCALES = {"s": [0.33, 0.50, 1024]}
"""YOLO-World s, the smallest that its makers publish."""


def detect_vs_library() -> float:
    """Seconds that ultralytics' predictor takes for some photos of 960 x 1280 over ours, same thresholds and size.

    Both have their vocabulary embedded beforehand, and gradients off the way ComfyUI and ultralytics turn them off. The
    median of rounds that take turns.
    """
    import torch

    detector, selection = _detector()
    library = _library()
    photos = list(np.random.default_rng(0).integers(0, 256, (PHOTOS, 960, 1280, 3), dtype=np.uint8))
    turned = [np.ascontiguousarray(photo[..., ::-1]) for photo in photos]

    def theirs() -> None:
        for photo in turned:
            library.predict(photo, conf=selection.score, iou=selection.overlap, max_det=selection.limit, verbose=False)

    @torch.inference_mode()
    def ours() -> None:
        detector.detect(photos, NAMES, selection)

    ratios = [seconds(theirs) / seconds(ours) for _ in range(ROUNDS + 1)]
    return statistics.median(ratios[1:])


def text_cache_speedup() -> float:
    """Seconds for a photo whose vocabulary is new over seconds for one whose vocabulary is known."""
    detector, selection = _detector()
    photo = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    detector.detect([photo], NAMES, selection)
    ratios = []
    for number in range(ROUNDS):
        new = [f"{name} of round {number}" for name in NAMES]
        first = seconds(lambda names=new: detector.detect([photo], names, selection))
        ratios.append(first / seconds(lambda names=new: detector.detect([photo], names, selection)))
    return statistics.median(ratios)


@functools.cache
def _weights() -> tuple[Path, Path]:
    """YOLO-World s with random weights, and a CLIP text encoder of ViT-B/32's depth and width; gone at exit."""
    import tests.models.conftest  # noqa: F401  (makes ComfyUI's modules importable, on the CPU)
    from tests.models import tiny

    folder = Path(tempfile.mkdtemp(prefix="editpairs-ground-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    tiny.clip_text(folder / "clip", width=512, layers=12, heads=8)
    return folder / "clip", tiny.yolo_world(folder / "yolo.pt", SCALES)


def _detector() -> tuple[Any, Any]:
    clip, yolo = _weights()
    from comfy_nodes.models.checkpoints import read
    from comfy_nodes.models.clip_text import ClipText
    from comfy_nodes.models.detections import Selection
    from comfy_nodes.models.yolo_world import YoloWorld

    return YoloWorld(read(yolo), ClipText(clip)), Selection()


def _library() -> Any:
    clip, yolo = _weights()
    from ultralytics import YOLOWorld

    from comfy_nodes.models.clip_text import ClipText

    library = YOLOWorld(str(yolo))
    library.model.txt_feats = ClipText(clip).embed(NAMES).unsqueeze(0).clone()
    library.model.model[-1].nc = len(NAMES)
    library.model.names = dict(enumerate(NAMES))
    return library
