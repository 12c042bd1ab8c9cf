"""A workflow in ComfyUI's API format: the classes that the driver knows by name, and walks along its links."""

from __future__ import annotations

import difflib
from typing import Any

from comfy_nodes.core.graph_names import ENDPOINT_LOADER

Api = dict[str, dict[str, Any]]
"""ComfyUI's API format: {node id: {class_type, inputs, _meta}}; an input is a value or [node id, output]."""

SOURCE_CLASS = "EditPairsLoadSample"
SECOND_CLASS = "EditPairsLoadSecondImage"
TURN_CLASS = "EditPairsTakeTurn"
CLASSICAL_TURNS = {"EditPairsClassicalRecolour": "alter", "EditPairsClassicalReplace": "replace"}
"""Nodes that make a turn without a model, and the turn's operation; not all that a turn may ask for is in their power."""
PROTECT_CLASS = "EditPairsProtectSubjects"
CHOOSING_CLASS = "EditPairsWriteManyKinds"

EDIT_SINK = "EditPairsSavePair"
ANNOTATION_SINK = "EditPairsSaveAnnotation"
INSTRUCTION_SINK = "EditPairsSaveInstructions"
PHOTO_SINK = "EditPairsSavePhoto"
SINK_CLASSES = frozenset({EDIT_SINK, ANNOTATION_SINK, INSTRUCTION_SINK, PHOTO_SINK})

SAMPLE_INPUTS = ("image", "annotation", "region_index", "class_name", "instruction", "seed")
"""What the driver fills into the source node for each sample."""

VLM_INPUTS = ("run", "budget_usd")
"""What the driver fills into nodes that ask a service: whose account a call is booked on, and what it may cost."""

_DRIVEN = {
    SOURCE_CLASS: SAMPLE_INPUTS,
    SECOND_CLASS: ("image",),
    ENDPOINT_LOADER: VLM_INPUTS,
    **{sink: ("folder",) for sink in SINK_CLASSES},
}


_BY_HAND = {TURN_CLASS: ("turn", "turns", "language", "folder")}
"""What counts where a person plays a graph. In a batch samples bring it: the driver has planned by some of it."""


def ancestors(api: Api, node_id: str) -> set[str]:
    """The node and all that it depends on."""
    found: set[str] = set()
    waiting = [node_id]
    while waiting:
        current = waiting.pop()
        if current in found or current not in api:
            continue
        found.add(current)
        waiting += [value[0] for value in api[current]["inputs"].values() if is_link(value)]
    return found


def is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def driven(class_type: str) -> tuple[str, ...]:
    """Inputs of a class that the driver fills in."""
    return _DRIVEN.get(class_type, ())


def idle(class_type: str) -> tuple[str, ...]:
    """Inputs of a class that decide nothing in a batch, where samples bring what they would."""
    return _BY_HAND.get(class_type, ())


def title_of(node: dict[str, Any]) -> str:
    """What the artist called the node; its class where the file does not say."""
    meta = node.get("_meta")
    return str((meta.get("title") if isinstance(meta, dict) else None) or node["class_type"])


def guess(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
