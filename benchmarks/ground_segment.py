"""What segmenting costs: SAM 2 through our nodes' code against the library alone, and our RLE against pycocotools.

Functions for `ground.py`, each of which makes its own tiny random weights; times are the quickest of runs that take
turns, so that other work on the machine does not decide.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measures import seconds
from comfy_nodes.core.regions import rle
from driver.comfyui.own import find_comfyui

SIDE = 256
"""Pixels of the model's input: SAM 2.1 tiny's weights at a quarter of its 1024, for machines without a GPU."""


def segment_vs_library(boxes: int = 10, repeats: int = 8) -> float:
    """Images per second of ours over transformers' processor, model and post-processing, on a photo of 1024 x 768."""
    import torch
    from transformers import Sam2Model, Sam2Processor
    from transformers.models.sam2.image_processing_sam2 import Sam2ImageProcessor

    with tempfile.TemporaryDirectory() as folder:
        segmenter, path = _segmenter(Path(folder))
        photo, prompts = _photo(), _prompts(boxes)
        size = {"height": SIDE, "width": SIDE}
        processor = Sam2Processor(Sam2ImageProcessor(size=size, mask_size={"height": SIDE // 4, "width": SIDE // 4}))
        model = Sam2Model.from_pretrained(path).eval().to(segmenter.patcher.load_device)

        def library() -> Any:
            corners = [[[float(value) for value in prompt.box] for prompt in prompts]]
            inputs = processor(images=photo, input_boxes=corners, return_tensors="pt").to(model.device)
            with torch.no_grad():
                found = model(**inputs, multimask_output=False)
            return processor.post_process_masks(found.pred_masks.cpu(), inputs["original_sizes"].cpu())[0].numpy()

        ours, theirs = _fastest(lambda: segmenter.segment(photo, prompts), library, repeats)
    return theirs / ours


def boxes_batched_speedup(boxes: int = 10, repeats: int = 3) -> float:
    """Time of one call per box over the time of one call for all boxes of an image."""
    with tempfile.TemporaryDirectory() as folder:
        segmenter, _ = _segmenter(Path(folder))
        photo, prompts = _photo(), _prompts(boxes)
        together, apart = _fastest(
            lambda: segmenter.segment(photo, prompts),
            lambda: [segmenter.segment(photo, [prompt]) for prompt in prompts],
            repeats,
        )
    return apart / together


def rle_vs_pycocotools(repeats: int = 20) -> dict[str, float]:
    """Speed of our RLE over pycocotools' C code on a 1280 x 960 mask with a ragged edge; above 1 is faster."""
    from pycocotools import mask as coco

    rows, columns = np.mgrid[:960, :1280]
    noise = np.random.default_rng(1).normal(0, 4, (960, 1280))
    mask = (rows - 480) ** 2 + (columns - 640) ** 2 < (300 + noise) ** 2
    mask_bytes = np.asfortranarray(mask.astype(np.uint8))
    encoded, theirs = rle.encode(mask), coco.encode(mask_bytes)
    if encoded.counts.encode() != theirs["counts"] or not (rle.decode(encoded) == coco.decode(theirs)).all():
        raise RuntimeError("our RLE and pycocotools' differ")
    ours_in, theirs_in = _fastest(lambda: rle.encode(mask), lambda: coco.encode(np.asfortranarray(mask, np.uint8)), repeats)  # fmt: skip
    ours_out, theirs_out = _fastest(lambda: rle.decode(encoded), lambda: coco.decode(theirs).astype(bool), repeats)
    return {"encode": theirs_in / ours_in, "decode": theirs_out / ours_out}


def _segmenter(folder: Path) -> tuple[Any, Path]:
    """Our segmenter on random weights of SAM 2.1 tiny, and the hub-format folder with them."""
    _comfyui()
    import torch
    from transformers import Sam2Config, Sam2Model

    from comfy_nodes.models import sam2_models

    torch.manual_seed(1)
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": {"model_type": "sam2_hiera_det_model", "image_size": [SIDE, SIDE]},
        "backbone_feature_sizes": [[SIDE // stride] * 2 for stride in (4, 8, 16)],
    }
    Sam2Model(Sam2Config(vision_config=vision, prompt_encoder_config={"image_size": SIDE})).save_pretrained(folder)
    return sam2_models.load_hub(folder), folder


def _comfyui() -> None:
    """Makes ComfyUI's modules importable in this process, on the CPU where there is no GPU."""
    if str(find_comfyui()) not in sys.path:
        sys.path.insert(0, str(find_comfyui()))
    import torch
    from comfy.cli_args import args

    args.cpu = args.cpu or not torch.cuda.is_available()


def _photo() -> np.ndarray:
    """uint8 [768, 1024, 3]."""
    small = np.random.default_rng(2).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    return np.ascontiguousarray(small.repeat(8, 0).repeat(8, 1))


def _prompts(count: int) -> list[Any]:
    """Boxes across the photo."""
    from comfy_nodes.models.queries import Prompt

    return [Prompt((20.0 + 60 * number, 30.0 + 40 * number, 220.0 + 60 * number, 200.0 + 40 * number)) for number in range(count)]  # fmt: skip


def _fastest(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Seconds of each: the quickest of runs in turn, after one that is not counted. Other work only ever adds."""
    first(), second()
    times: tuple[list[float], list[float]] = ([], [])
    sides = list(zip((first, second), times, strict=True))
    for _ in range(repeats):
        sides.reverse()
        for run, measured in sides:
            measured.append(seconds(run))
    return min(times[0]), min(times[1])
