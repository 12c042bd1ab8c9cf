"""What made an edit, read from the graph that made it: image processing of ours, a second frame, or anything else.

Save Edit Pair asks here before it believes pixels, the driver before a run. A graph is in ComfyUI's API format. What is
not known to leave pixels alone counts as a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from ..graph_names import Graph
from ..tasks import BY_TASK

Making = Literal["classical", "frames", "model"]
"""`classical`: by nodes of ours that say what they did; `frames`: a second photo, nothing painted; `model`: anything else."""

CLASSICAL = frozenset(
    {
        "EditPairsClassicalInpaint", "EditPairsClassicalRecolour", "EditPairsClassicalReplace", "EditPairsClassicalHybrid",
        "EditPairsClassicalBackground", "EditPairsClassicalStyle", "EditPairsCutOutOnWhite",
    }
)  # fmt: skip
"""Nodes that edit without a model."""

PAINTING = frozenset({"EditPairsDiffusersEdit"})
"""Nodes of ours that have a model paint. The rest of ours paints nothing of its own, which a test holds against their
outputs."""

SECOND = "EditPairsLoadSecondImage"

_OF_MASKS = frozenset(
    {
        "GrowMask", "FeatherMask", "InvertMask", "ThresholdMask", "MaskComposite", "SolidMask", "CropMask", "GetImageSize",
        "PrimitiveInt", "PrimitiveFloat", "PrimitiveString", "PrimitiveStringMultiline", "PrimitiveBoolean",
    }
)  # fmt: skip
"""Core's nodes that say where and how, and paint nothing."""


def making_of(graph: Graph | None, sink: str | None) -> Making:
    """What made the pairs that a Save Edit Pair gets.

    Args:
        graph: with the sink in it; None where nobody says, which counts as a model.
        sink: its id.
    """
    if graph is None or sink is None or sink not in graph:
        return "model"
    inputs = graph[sink]["inputs"]
    behind = list(_behind(graph, [inputs.get("edited"), inputs.get("source")]))
    if not behind or not all(_is_known(node) for node in behind):
        return "model"
    roles = {node["inputs"].get("role") for node in behind if node["class_type"] == SECOND}
    classical = any(node["class_type"] in CLASSICAL for node in behind)
    if classical and roles <= {"reference", "start", f"start{BY_TASK}"}:
        return "classical"
    return "frames" if roles == {"frame2"} and not classical else "model"


def _is_known(node: Any) -> bool:
    """Whether a node paints nothing, or says what it paints."""
    name: str = node["class_type"]
    return name in _OF_MASKS or (name.startswith("EditPairs") and name not in PAINTING)


def _behind(graph: Graph, ends: list[Any]) -> Iterator[Any]:
    """The nodes that these inputs depend on."""
    seen: set[str] = set()
    waiting = [end[0] for end in ends if _is_link(end)]
    while waiting:
        node_id = waiting.pop()
        if node_id in seen:
            continue
        seen.add(node_id)
        node = graph.get(node_id, {"class_type": "", "inputs": {}})
        yield node
        waiting += [value[0] for value in node["inputs"].values() if _is_link(value)]


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
