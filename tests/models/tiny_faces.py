"""A face landmarker in core's own architecture and file layout that takes pure magenta for a face, and a tiny DINOv2.

Core's landmarker is small as it is. Its weights here are written by hand: the detectors pass on where a picture is magenta,
and the mesh puts its landmarks on the same places of every find. It sees no real face.

In a square picture whose sides are a multiple of 128, a magenta square of a sixteenth of the side on that grid is one face.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import Dinov2Config, Dinov2Model

from driver.comfyui.own import find_comfyui

FACE = 0.3
"""A found face's width and height as a share of the picture's longer side."""

EYES_AND_MOUTH = {33: (62, 80), 133: (82, 80), 362: (110, 80), 263: (130, 80), 61: (78, 125), 291: (114, 125)}
"""Where the mesh puts its landmarks, x and y of 192; all others lie on a circle."""

LENGTH = 256
"""Sides of the pictures that are drawn here."""
CELL = LENGTH // 16
FACES = {"left": (4, 8), "right": (11, 8)}
"""Cells, across and down, in which faces' middles lie."""
HALF = int(LENGTH * FACE / 2)


def middle(name: str) -> tuple[int, int]:
    """Where a face's middle lies, across and down."""
    across, down = FACES[name]
    return CELL * across + CELL // 2, CELL * down + CELL // 2


def square(name: str) -> np.ndarray:
    """bool [H, W]: a face's box."""
    mask = np.zeros((LENGTH, LENGTH), bool)
    x, y = middle(name)
    mask[y - HALF : y + HALF, x - HALF : x + HALF] = True
    return mask


def drawn(**seeds: int) -> np.ndarray:
    """A picture with faces, each a pattern of its own around what the landmarker takes for a face."""
    picture = np.tile(np.linspace(60, 180, LENGTH)[:, None, None], (1, LENGTH, 3)).astype(np.uint8)
    for name, seed in seeds.items():
        pattern = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        pattern[..., 1] = np.maximum(pattern[..., 1], 120)  # no magenta
        x, y = middle(name)
        face = Image.fromarray(pattern).resize((2 * HALF, 2 * HALF), Image.Resampling.NEAREST)
        picture[y - HALF : y + HALF, x - HALF : x + HALF] = np.asarray(face)
        across, down = FACES[name]
        picture[CELL * down : CELL * (down + 1), CELL * across : CELL * (across + 1)] = (255, 0, 255)
    return picture


def landmarker(file: Path) -> Path:
    """`mediapipe_face_fp32.safetensors` as core's loader reads it."""
    # By its path: ComfyUI is not importable where only a server runs, and this file of it needs nothing of the rest.
    spec = importlib.util.spec_from_file_location(
        "face_landmarker", find_comfyui() / "comfy_extras" / "mediapipe" / "face_landmarker.py"
    )
    assert spec and spec.loader
    core = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(core)
    tensors: dict[str, torch.Tensor] = {}
    for variant in ("short", "full"):
        model = core.FaceLandmarker(detector_variant=variant)
        with torch.no_grad():
            for weight in model.parameters():
                weight.zero_()
            _sees_magenta(model.detector, variant)
            _lays_landmarks(model.mesh)
        for name, tensor in model.state_dict().items():
            if name.startswith("detector."):
                tensors[f"detector_{variant}.{name.removeprefix('detector.')}"] = tensor.clone()
            elif variant == "short":
                tensors[name] = tensor.clone()
    # What core draws and turns meshes by; nothing here looks at it.
    parts = [
        "left_eye",
        "right_eye",
        "left_eyebrow",
        "right_eyebrow",
        "face_oval",
        "lips",
        "irises",
        "nose",
        "tesselation",
    ]
    tensors |= {f"topology.{part}": torch.tensor([[0, 1]], dtype=torch.int32) for part in parts}
    tensors["canonical_vertices"] = torch.rand(468, 3, generator=torch.Generator().manual_seed(1))
    tensors["procrustes_indices"], tensors["procrustes_weights"] = torch.arange(3), torch.ones(3)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    return file


def dinov2(folder: Path) -> Path:
    """DINOv2 of two layers of 32 channels, patches as large as the real one's, its random weights large enough that other
    pictures get other vectors."""
    torch.manual_seed(11)
    layers = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.3}
    Dinov2Model(Dinov2Config(**layers, image_size=224, patch_size=14)).save_pretrained(folder)
    return folder


def _sees_magenta(detector: torch.nn.Module, variant: str) -> None:
    """Channel 0 is red and blue without green, from the stem to the scores; every find is a box of `FACE` there."""
    middle = detector.stem.kernel_size[0] // 2
    detector.stem.weight[0, :, middle, middle] = torch.tensor([1.0, -1.0, 1.0])
    detector.stem.bias[0] = -2.0
    if variant == "full":
        detector.cls_dw.bias.fill_(-10.0)  # sees nothing
        return
    detector.cls_16.weight[:, 0] = 20.0
    detector.cls_16.bias.fill_(-10.0)
    detector.cls_8.bias.fill_(-10.0)
    for anchor in range(2):
        # A middle, a size, and six points, of which the first two are the eyes; in pixels of 128.
        places = torch.tensor([0, 0, FACE, FACE, -0.1, -0.05, 0.1, -0.05, *([0.0] * 8)]) * 128
        detector.reg_16.bias[16 * anchor : 16 * (anchor + 1)] = places


def _lays_landmarks(mesh: torch.nn.Module) -> None:
    angles = torch.linspace(0, 2 * torch.pi, 478)
    marks = torch.stack([96 + 64 * angles.cos(), 96 + 64 * angles.sin(), torch.zeros(478)], dim=1)
    for number, (x, y) in EYES_AND_MOUTH.items():
        marks[number, 0], marks[number, 1] = x, y
    mesh.head_landmarks.bias.copy_(marks.reshape(-1))
    mesh.head_presence.bias.fill_(5.0)
