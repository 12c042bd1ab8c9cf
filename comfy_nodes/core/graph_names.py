"""What a graph names that is not in it: weights, pictures and VLM profiles, by what stands in widgets.

The driver asks here what licences bind a graph, the server what content stands behind the names. A graph is in
ComfyUI's API format: {node id: {class_type, inputs}}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

Graph = Mapping[str, Mapping[str, Any]]

ENDPOINT_LOADER = "EditPairsLoadVlmEndpoint"

ENDINGS = frozenset({".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf"})
"""How names of weight files end: ComfyUI's `supported_pt_extensions` (folder_paths.py, 0.30), and GGUF."""

FOLDER_INPUTS = {
    "EditPairsLoadYoloWorld": ("text_encoder",),
    "EditPairsLoadGrounder": ("model",),
    "EditPairsLoadSam2": ("model",),
    "EditPairsLoadRegionScorer": ("clip",),
    "EditPairsLoadImageEmbedder": ("model",),
    "EditPairsLoadVlmLocal": ("model",),
    "EditPairsLoadDiffusersEditor": ("model",),
    "DiffusersLoader": ("model_path",),
}
"""Widgets that name a folder in hub format, or a repository of the hub."""

NO_MODEL = "none"
"""A loader's choice of no model at all."""

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
SAMPLED = ("EditPairsLoadSample", "EditPairsLoadSecondImage")


def weights_named(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A node's widgets that name weights: input and value."""
    folders = FOLDER_INPUTS.get(node["class_type"], ())
    for name, value in node["inputs"].items():
        if not isinstance(value, str) or value == NO_MODEL:
            continue
        if name in folders or PurePosixPath(value).suffix.lower() in ENDINGS:
            yield name, value


def pictures_named(node: Mapping[str, Any]) -> Iterator[str]:
    """A node's widgets that name a picture; those of ours take another one for each sample."""
    if node["class_type"] in SAMPLED:
        return
    for value in node["inputs"].values():
        if isinstance(value, str) and PurePosixPath(value.partition(" [")[0]).suffix.lower() in PICTURES:
            yield value


def profiles_named(graph: Graph) -> set[str]:
    """VLM profiles that its loaders name."""
    loaders = (node for node in graph.values() if node["class_type"] == ENDPOINT_LOADER)
    return {name for node in loaders if isinstance(name := node["inputs"].get("profile"), str)}
