"""Which heavy models a graph's nodes need, in which order, and gates between them in a packed prompt.

ComfyUI runs the chains of a pack sample by sample, so a pack of 16 that needs three models would exchange them 48
times where memory holds one. With gates all samples go through a stage before any of them enters the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from .workflow import Api, is_link

GATE = "EditPairsGatePack"

Sizes = dict[str, int]
"""Bytes of model files by the name that loaders use."""

_DATA = frozenset(
    (
        "*", "IMAGE", "MASK", "LATENT", "CONDITIONING", "STRING", "INT", "FLOAT", "BOOLEAN", "COMBO", "BOUNDING_BOX",
        "SIGMAS", "NOISE", "AUDIO", "VIDEO", "CLIP_VISION_OUTPUT", "EDITPAIRS_SAMPLE", "EDITPAIRS_SCORES",
    )
)  # fmt: skip
"""Types that hold results. Whoever takes one needs no model for it; every other type is taken for one that does."""


@dataclass(frozen=True)
class Stages:
    """A graph's nodes by the heavy models that they need."""

    levels: dict[str, int]
    """By id of each sample-dependent node: how many exchanges of models lie before it."""
    heavy: frozenset[str]
    """Nodes among these that need a model."""
    bytes: int
    """What all models take together; 0 where there is one stage only, or sizes aren't known."""


def stages(api: Api, dependent: frozenset[str], object_info: dict[str, Any], sizes: Sizes) -> Stages:
    """Finds a graph's stages.

    Args:
        dependent: nodes that are there once for each sample; the others are shared.
    """
    models = {one: _models(api, one, dependent, object_info, sizes) for one in api if one in dependent}
    waits = {one: {v[0] for v in api[one]["inputs"].values() if is_link(v)} & dependent for one in models}
    order = TopologicalSorter(waits)
    order.prepare()
    levels: dict[str, int] = {}
    level, held, ready = 0, frozenset[str](), list(order.get_ready())
    while ready:
        # What needs no other model than the one that is held goes first; when nothing is left, the next model's stage begins.
        fits = next((one for one in ready if models[one] <= held or not held), None)
        if fits is None:
            level, held, fits = level + 1, frozenset(), ready[0]
        held = held or models[fits]
        levels[fits] = level
        ready.remove(fits)
        order.done(fits)
        ready += order.get_ready()
    heavy = frozenset(one for one, needed in models.items() if needed)
    names = frozenset[str]().union(*models.values())
    return Stages(levels, heavy, sum(sizes[name] for name in names) if level else 0)


def gate(packed: Api, staged: Stages, count: int, slotted: Callable[[int, str], str]) -> None:
    """Puts gates into a pack of `count` samples, in place."""
    for level in range(1, max(staged.levels.values()) + 1):
        enters = [one for one in staged.heavy if staged.levels[one] == level]
        leaves = [one for one in staged.heavy if staged.levels[one] == level - 1]
        waited = [[slotted(slot, one), 0] for one in sorted(leaves) for slot in range(count)]
        # ComfyUI lets a node grow 100 inputs: longer waits are a chain of gates.
        token: list[Any] | None = None
        for number, begin in enumerate(range(0, len(waited), 99)):
            part = waited[begin : begin + 99] + ([token] if token else [])
            name = f"gate{level}-all{number}"
            packed[name] = _gate(part[0], part[1:])
            token = [name, 0]
        for slot in range(count):
            for node_id in enters:
                inputs = packed[slotted(slot, node_id)]["inputs"]
                links = [name for name, value in inputs.items() if is_link(value)]
                link = max(links, key=lambda name: _of_slot(inputs[name][0], slot, slotted))
                name = f"gate{level}-{slot}-{node_id}"
                packed[name] = _gate(inputs[link], [token])
                inputs[link] = [name, 0]


def _gate(value: Any, after: list[Any]) -> dict[str, Any]:
    return {"class_type": GATE, "inputs": {"value": value, **{f"after.after{i}": one for i, one in enumerate(after)}}}


def _of_slot(node_id: str, slot: int, slotted: Callable[[int, str], str]) -> bool:
    return node_id.startswith(slotted(slot, ""))


def _models(
    api: Api, node_id: str, dependent: frozenset[str], object_info: dict[str, Any], sizes: Sizes
) -> frozenset[str]:
    """Names of the model files behind a node's inputs, through shared nodes that patch or combine models."""
    found: set[str] = set()
    waiting = [node_id]
    while waiting:
        inputs = api[waiting.pop()]["inputs"]
        for value in inputs.values():
            if is_link(value) and value[0] not in dependent and _type(api, value, object_info) not in _DATA:
                waiting.append(value[0])
                found |= {name for name in api[value[0]]["inputs"].values() if isinstance(name, str) and name in sizes}
    return frozenset(found)


def _type(api: Api, link: list[Any], object_info: dict[str, Any]) -> str:
    outputs = object_info[api[link[0]]["class_type"]].get("output", [])
    kind = outputs[link[1]] if link[1] < len(outputs) else "*"
    return kind if isinstance(kind, str) else "COMBO"
