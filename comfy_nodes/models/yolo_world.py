"""YOLO-World (Cheng et al. 2024) as ultralytics builds it, behind the grounder socket.

ultralytics (AGPL-3.0) is imported when the first model is loaded, never before, and only its model classes are used:
files are read by `checkpoints`, names embedded by `clip_text`, photos prepared and boxes chosen here, so nothing of it
downloads, installs or reports anything. What it gives equals its own predictor's on the same weights (tests).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import folder_paths
import numpy as np
import torch
from PIL import Image

from ..imaging.opencv import MissingLibrary
from ..wires.batches import each
from .checkpoints import Checkpoint, CheckpointError, check_fits, load_into, one_line
from .clip_text import ClipText
from .detections import Candidates, Grounder
from .managed import ManagedModule
from .yolo_architecture import DEFAULT_SIDE, recipe_of

STRIDE = 32
"""Sides of what goes into the network are multiples of this many pixels: those of its coarsest cell."""

MOST_NUMBERS = 2**29
"""In all layers' outputs together, for the 256 x 256 pixels that ultralytics tries a model with; the largest one that is
published has 1.2 * 10^8. Ours."""

PADDING = 114
"""Grey level of the borders, ultralytics' own."""

INSTALL = (
    "YOLO-World needs the package ultralytics (AGPL-3.0), which is not installed: run `python install.py` "
    "in EditPairs' folder, then restart ComfyUI"
)


class YoloWorld(Grounder):
    """A YOLO-World detector with its text encoder."""

    def __init__(self, checkpoint: Checkpoint, text: ClipText, side: int = DEFAULT_SIDE) -> None:
        """
        Args:
            side: pixels of the longer side that photos are scaled to, rounded up to a multiple of 32.

        Raises:
            CheckpointError: the file is not a YOLO-World, or the encoder's embeddings are of another length.
            MissingLibrary: ultralytics is not installed.
        """
        module = build(checkpoint)
        wanted = module.model[-1].cv3[0][-1].out_channels
        if wanted != text.dimensions:
            raise CheckpointError(
                f"{text.name}: gives {text.dimensions} numbers a name, {checkpoint.name} takes {wanted}: "
                "YOLO-World was trained with CLIP ViT-B/32"
            )
        self._text = text
        self._side = -(-max(side, STRIDE) // STRIDE) * STRIDE
        self._managed = ManagedModule(module, f"YOLO-World {checkpoint.name}", torch.float32)

    def candidates(self, images: Sequence[np.ndarray], vocabulary: Sequence[str], score: float) -> Iterator[Candidates]:
        """For each anchor of the network its best name, as ultralytics' predictor has it."""
        text = self._text.embed(vocabulary).unsqueeze(0)
        with self._managed.on_device() as module:
            module.model[-1].nc = len(vocabulary)
            text = text.to(self._managed.device)
            for image in each(images):
                framed, scale, offset = letterbox(image, self._side)
                pixels = torch.from_numpy(framed).to(self._managed.device).permute(2, 0, 1).unsqueeze(0)
                output = module.predict(pixels.contiguous().float().div_(255), txt_feats=text)
                yield _decoded(output[0] if isinstance(output, tuple) else output, scale, offset, score)


def build(checkpoint: Checkpoint) -> Any:
    """ultralytics' WorldModel with a checkpoint's weights, its batch normalisations folded into its convolutions.

    Raises:
        CheckpointError: the file is not a YOLO-World.
        MissingLibrary: ultralytics is not installed, or does not load.
    """
    model_class, library = _world_model()
    recipe = recipe_of(checkpoint, library)
    try:
        check_fits(_without_memory(model_class, recipe, checkpoint.name), checkpoint)
        with torch.random.fork_rng(devices=[]):  # building draws random weights; the user's seeds are not to feel it
            model = model_class(recipe, ch=3, nc=recipe["nc"], verbose=False)
    except CheckpointError:
        raise
    except Exception as error:  # of what a recipe from anywhere can say, much makes the library fail
        raise CheckpointError(f"{checkpoint.name}: its recipe does not build ({one_line(error)})") from None
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = True  # activations without a copy, as ultralytics' own loader has them
    return load_into(model, checkpoint).eval().fuse(verbose=False)


def _without_memory(model_class: Any, recipe: dict[str, Any], name: str) -> torch.nn.Module:
    """The model on torch's `meta` device: shapes alone, so that a recipe cannot ask for more memory than its file fills.

    Raises:
        CheckpointError: what its layers put out has more numbers than `MOST_NUMBERS`.
    """
    numbers = 0

    def count(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal numbers
        for one in output if isinstance(output, list | tuple) else [output]:
            numbers += one.numel() if isinstance(one, torch.Tensor) and one.is_meta else 0
        if numbers > MOST_NUMBERS:
            raise CheckpointError(f"{name}: its recipe makes larger pictures of features than any YOLO-World")

    hook = torch.nn.modules.module.register_module_forward_hook(count)  # ultralytics tries a model while it builds it
    try:
        with torch.device("meta"):
            return model_class(recipe, ch=3, nc=recipe["nc"], verbose=False)  # type: ignore[no-any-return]
    finally:
        hook.remove()


def letterbox(image: np.ndarray, side: int) -> tuple[np.ndarray, tuple[float, float], tuple[int, int]]:
    """A photo scaled so that its longer side is `side`, with grey borders up to multiples of 32.

    Args:
        image: uint8 [H, W, 3].

    Returns:
        The framed photo, uint8; (horizontal, vertical) scale; (left, top) border in pixels.
    """
    height, width = image.shape[:2]
    ratio = min(side / height, side / width)
    inner = max(round(width * ratio), 1), max(round(height * ratio), 1)
    if inner != (width, height):
        image = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    across, down = (side - inner[0]) % STRIDE / 2, (side - inner[1]) % STRIDE / 2
    left, top = round(across - 0.1), round(down - 0.1)
    right, bottom = round(across + 0.1), round(down + 0.1)
    framed = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(PADDING,) * 3)
    return framed, (inner[0] / width, inner[1] / height), (left, top)


def _decoded(output: torch.Tensor, scale: tuple[float, float], offset: tuple[int, int], score: float) -> Candidates:
    """Network output [1, 4 + names, anchors] (middle, size, scores) as candidates in the photo's pixels."""
    scores, labels = output[0, 4:].max(0)
    sure = scores > score
    middle, size = output[0, :2, sure].T, output[0, 2:4, sure].T
    corners = torch.cat((middle - size / 2, middle + size / 2), 1)
    shift = corners.new_tensor(offset).repeat(2)
    stretch = corners.new_tensor(scale).repeat(2)
    return Candidates((corners - shift) / stretch, scores[sure], labels[sure])


def _world_model() -> tuple[Any, Path]:
    """ultralytics' WorldModel class and the package's folder, imported such that ultralytics keeps to itself.

    Raises:
        MissingLibrary: ultralytics or something that it needs is missing.
    """
    try:
        with _kept_to_itself():
            tasks: Any = importlib.import_module("ultralytics.nn.tasks")
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "ultralytics":
            raise MissingLibrary(INSTALL) from None
        raise MissingLibrary(
            f"ultralytics does not load ({error}): run `python install.py` in EditPairs' folder",
        ) from None
    return tasks.WorldModel, Path(tasks.__file__).parent.parent


@contextmanager
def _kept_to_itself() -> Iterator[None]:
    """While ultralytics is imported: no look at the network, no installing, no settings in the home folder.

    It reads these variables once, at import. It also turns OpenCV's threads off and puts its own functions in the place
    of Pillow's and torch's, for everybody; that is undone.
    """
    settings = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    if "YOLO_CONFIG_DIR" not in os.environ:
        settings["YOLO_CONFIG_DIR"] = folder_paths.get_temp_directory()
    before, threads, opener, saver = dict(os.environ), cv2.getNumThreads(), Image.open, torch.save
    os.environ.update(settings)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        Image.open, torch.save = opener, saver
        for name in settings:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]
