"""Which YOLO-World a checkpoint is, as the recipe that ultralytics builds its models from.

A recipe that came with a file is not trusted: ultralytics looks its layer names up among its own functions and runs
its `activation` as Python. So a file's recipe is copied piece by piece, and only layers and arguments that YOLO-World
has are let through. A file without one (safetensors) is recognised by its shapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .checkpoints import Checkpoint, CheckpointError

Recipe = dict[str, Any]

DEFAULT_SIDE = 640
"""Pixels of the longer side in the network: the paper's and ultralytics' default."""

LAYERS = frozenset({"Conv", "C2f", "SPPF", "nn.Upsample", "Concat", "C2fAttn", "ImagePoolingAttn", "WorldDetect"})
WORDS = frozenset({"None", "True", "False", "nc", "nearest"})
"""Layers and word arguments in ultralytics' `yolov8-world.yaml` and `yolov8-worldv2.yaml`."""

MOST_LAYERS = 100
LARGEST_ARGUMENT = 8192
MOST_BLOCKS = 300
MOST_SOURCES = 8
"""Bounds that a real recipe is far from (24 layers, 1024 channels, 30 blocks with all repeats at all depths, 3 sources of
a layer): ours. Weights and pictures of features have bounds of their own in `yolo_world`."""

SCALE_OF_WIDTH = {16: "n", 32: "s", 48: "m", 64: "l", 80: "x"}
"""Channels of the first convolution to the scale's letter: 64 times the `scales` widths in ultralytics' files."""

KNOWN = {False: "cfg/models/v8/yolov8-world.yaml", True: "cfg/models/v8/yolov8-worldv2.yaml"}
"""ultralytics' own recipes, inside its package, by whether they are of the second version."""

FIRST_LAYER = "model.0.conv.weight"


def recipe_of(checkpoint: Checkpoint, library: Path) -> Recipe:
    """The recipe of a checkpoint: its own (a `.pt`'s `yaml`, or safetensors metadata `yaml`), or the known one it fits.

    Args:
        library: the folder of the package ultralytics, for the known ones.

    Raises:
        CheckpointError: not an ultralytics YOLO-World, or a recipe with parts that none has.
    """
    if checkpoint.module is not None:
        return checked(getattr(checkpoint.module, "yaml", None), checkpoint.name)
    if "yaml" in checkpoint.metadata:
        try:
            return checked(json.loads(checkpoint.metadata["yaml"]), checkpoint.name)
        except ValueError as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"{checkpoint.name}: its metadata `yaml` is not JSON") from None
    return _recognised(checkpoint, library)


def checked(given: Any, name: str) -> Recipe:
    """A copy of a file's recipe with nothing in it but what YOLO-World needs.

    Raises:
        CheckpointError: it is no recipe, or has a layer, word or size that no YOLO-World has.
    """
    if not isinstance(given, Mapping):
        raise CheckpointError(f"{name}: comes without ultralytics' model recipe (`yaml`)")
    recipe: Recipe = {"nc": _whole(given.get("nc", 80), name)}
    scales = given.get("scales")
    if scales:
        scale = given.get("scale") or next(iter(scales))  # empty where a file's name does not tell: then the first
        if not isinstance(scales, Mapping) or not isinstance(scale, str) or scale not in scales:
            raise CheckpointError(f"{name}: its recipe names the scale {scale!r:.80} and does not describe it")
        recipe |= {"scales": {scale: _numbers(scales[scale], name)}, "scale": scale}
    else:
        recipe |= {key: _numbers([given.get(key, 1.0)], name)[0] for key in ("depth_multiple", "width_multiple")}
    for part in ("backbone", "head"):
        rows = given.get(part)
        if not isinstance(rows, list) or not rows or len(rows) > MOST_LAYERS:
            raise CheckpointError(f"{name}: its recipe has no {part}")
        recipe[part] = [_layer(row, name) for row in rows]
    depth = recipe["scales"][recipe["scale"]][0] if scales else recipe["depth_multiple"]
    blocks = sum(max(round(row[1] * depth), 1) for row in (*recipe["backbone"], *recipe["head"]))
    if blocks > MOST_BLOCKS:
        raise CheckpointError(f"{name}: its recipe has {blocks:.4g} blocks, more than any YOLO-World")
    if recipe["head"][-1][2] != "WorldDetect":
        raise CheckpointError(
            f"{name}: is not a YOLO-World: its recipe ends in {recipe['head'][-1][2]}, not WorldDetect"
        )
    return recipe


def _layer(row: Any, name: str) -> list[Any]:
    if not isinstance(row, list | tuple) or len(row) != 4:
        raise CheckpointError(
            f"{name}: its recipe has a layer that is not [from, repeats, layer, arguments]: {row!r:.80}"
        )
    source, repeats, layer, arguments = row
    if not isinstance(layer, str) or layer not in LAYERS:
        raise CheckpointError(f"{name}: is not a YOLO-World: its recipe has the layer {layer!r:.80}")
    if not isinstance(repeats, int) or not 1 <= repeats <= MOST_BLOCKS or not isinstance(arguments, list | tuple):
        raise CheckpointError(f"{name}: its recipe repeats {layer} {repeats!r:.80} times")
    return [_argument(source, name), repeats, layer, [_argument(one, name) for one in arguments]]


def _argument(value: Any, name: str) -> Any:
    if (
        isinstance(value, list | tuple)
        and len(value) <= MOST_SOURCES
        and not any(isinstance(one, list) for one in value)
    ):
        return [_argument(one, name) for one in value]
    if value is None or isinstance(value, bool) or (isinstance(value, str) and value in WORDS):
        return value
    if isinstance(value, int | float) and abs(value) <= LARGEST_ARGUMENT:
        return value
    raise CheckpointError(f"{name}: its recipe has the argument {value!r:.80}, which no YOLO-World has")


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, int) or not 1 <= value <= LARGEST_ARGUMENT:
        raise CheckpointError(f"{name}: its recipe has {value!r:.80} classes")
    return value


def _numbers(values: Any, name: str) -> list[float]:
    if not isinstance(values, list | tuple) or not all(
        isinstance(value, int | float) and 0 < value <= LARGEST_ARGUMENT for value in values
    ):
        raise CheckpointError(f"{name}: its recipe's scale is {values!r:.80}")
    return list(values)


def _recognised(checkpoint: Checkpoint, library: Path) -> Recipe:
    tensors, name = checkpoint.tensors, checkpoint.name
    heads = sorted(key for key in tensors if ".cv3.0.0.conv.weight" in key)
    if FIRST_LAYER not in tensors or len(heads) != 1 or not any(".attn.gl." in key for key in tensors):
        raise CheckpointError(
            f"{name}: is not an ultralytics YOLO-World (no {FIRST_LAYER}, or no head that takes text)"
        )
    scale = SCALE_OF_WIDTH.get(tensors[FIRST_LAYER].shape[0])
    if scale is None:
        raise CheckpointError(
            f"{name}: is of no known size (n, s, m, l, x); safetensors of others need ultralytics' recipe as JSON in "
            "their metadata under `yaml`"
        )
    second = any(".cv4.0.norm." in key for key in tensors)
    known = yaml.safe_load((library / KNOWN[second]).read_text(encoding="utf-8"))
    classes = tensors[heads[0]].shape[0]  # the head is as wide as max(its input, min(classes, 100)), so this fits
    return checked(known | {"nc": classes, "scale": scale}, name)
