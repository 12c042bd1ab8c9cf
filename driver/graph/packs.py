"""Several samples in one prompt: what depends on the sample is there once for each, everything else is shared.

ComfyUI runs prompts one after another, so a call to an endpoint idles the GPU unless other samples of the same prompt
can go on meanwhile. Knows graphs, not servers; called by the worker that posts and by whoever reads its errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

from comfy_nodes.core.branches import CHOOSER, inputs_of_others
from comfy_nodes.core.graph_names import ENDPOINT_LOADER

from .api import Api, ancestors, is_link
from .bound import BatchGraph
from .schemas import costs_credits, output_of


@dataclass(frozen=True)
class Filling:
    """What one sample puts into the graph."""

    values: dict[str, Any]
    """The source node's inputs, but for the seed."""
    seed: int
    folder: str
    """Where its sink saves."""
    seconds: Mapping[str, str] = field(default_factory=dict)
    """Uploaded pictures that belong to its photo, by role."""
    op: str = ""
    """Its operation, where a graph that has a branch for each is to run that one; "" where only the graph finds out."""


class Packer:
    """Builds prompts of one graph for any number of samples."""

    def __init__(self, graph: BatchGraph, object_info: dict[str, Any], sizes: Sizes, memory: int):
        """
        Args:
            object_info: the server's node schemas.
            sizes: bytes of model files by name, as far as the server tells.
            memory: bytes that models may take together on the server's device.
        """
        self._graph = graph
        self._dependent = dependent(graph)
        staged = stages(graph.api, self._dependent, object_info, sizes)
        self._stages = staged if staged.bytes > memory else None
        """Where each node stands between heavy models; None where all of them fit together."""
        self.gains = self._stages is not None or calls_endpoint(graph.api, self._dependent, object_info)
        """Whether packing pays for long edits too: something waits for an endpoint, or models would be exchanged for each
        sample."""
        self.seeded = not is_link(graph.api[graph.source]["inputs"].get("seed"))
        """Whether records have the sample's seed, and not one that the artist wired to the source."""

    def prompt(self, fillings: Sequence[Filling]) -> Api:
        """The prompt for these samples, in their order."""
        filled = [self._filled(one) for one in fillings]
        if len(filled) == 1:
            return filled[0]
        packed = {node_id: node for node_id, node in filled[0].items() if node_id not in self._dependent}
        for slot, api in enumerate(filled):
            for node_id in self._dependent & api.keys():
                node = api[node_id]
                packed[slotted(slot, node_id)] = {**node, "inputs": self._inputs(node["inputs"], slot)}
        if self._stages:
            run = frozenset().union(
                *(ancestors(packed, slotted(slot, self._graph.sink)) for slot in range(len(filled)))
            )
            gate(packed, self._stages, len(fillings), slotted, run)
        return packed

    def _filled(self, one: Filling) -> Api:
        """The prompt for a sample alone, with the branches cut off that its operation does not need. What was on them stays
        in the prompt, of which records say what stands behind it, and is not run."""
        api = self._graph.prompt(one.values, one.seed, one.folder, one.seconds)
        others = inputs_of_others(one.op)
        return {
            node_id: {**node, "inputs": {name: value for name, value in node["inputs"].items() if name not in others}}
            if others and node["class_type"] == CHOOSER
            else node
            for node_id, node in api.items()
        }

    def sink_ran(self, slot: int, ran: Set[str]) -> bool:
        """Whether a sample's sink is among the nodes that ran, in a prompt for it alone or for several."""
        return self._graph.sink in ran or slotted(slot, self._graph.sink) in ran

    def _inputs(self, inputs: dict[str, Any], slot: int) -> dict[str, Any]:
        return {
            name: [slotted(slot, value[0]), value[1]] if is_link(value) and value[0] in self._dependent else value
            for name, value in inputs.items()
        }


def slotted(slot: int, node_id: str) -> str:
    """A node's id in a pack, for the sample in this place."""
    return f"s{slot}/{node_id}"


def slot_of(node_id: str) -> int | None:
    """Which sample of a pack a node belongs to; None of a shared node, and of all nodes of a prompt for one sample."""
    prefix, slash, _rest = node_id.partition("/")
    return int(prefix[1:]) if slash and prefix[:1] == "s" and prefix[1:].isdecimal() else None


def dependent(graph: BatchGraph) -> frozenset[str]:
    """Nodes that differ from sample to sample: what the source, the sink, free seeds and drawn texts reach downstream."""
    roots = {graph.source, graph.sink, *(address.removeprefix("#").split(".", 1)[0] for address in graph.seeds)}
    roots |= {node_id for node_id, _name in graph.drawn}
    return frozenset(node_id for node_id in graph.api if ancestors(graph.api, node_id) & roots)


def calls_endpoint(api: Api, among: frozenset[str], object_info: dict[str, Any]) -> bool:
    """Whether a node of `among` waits for somebody outside: a VLM endpoint, or any node that says it calls an API."""
    return any(
        costs_credits(object_info[api[node_id]["class_type"]]) or _asks_endpoint(api, api[node_id]["inputs"])
        for node_id in among
    )


def _asks_endpoint(api: Api, inputs: dict[str, Any]) -> bool:
    return any(is_link(value) and api[value[0]]["class_type"] == ENDPOINT_LOADER for value in inputs.values())


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


def gate(packed: Api, staged: Stages, count: int, slotted: Callable[[int, str], str], run: Set[str]) -> None:
    """Puts gates into a pack of `count` samples, in place.

    Args:
        run: the nodes that sinks depend on; what is on a branch that its sample does not need is not among them, and must
            not be waited for.
    """
    waited: list[list[Any]] = []
    for level in range(1, max(staged.levels.values()) + 1):
        enters = [one for one in staged.heavy if staged.levels[one] == level]
        leaves = [one for one in staged.heavy if staged.levels[one] == level - 1]
        names = [slotted(slot, one) for one in sorted(leaves) for slot in range(count)]
        waited = [[name, 0] for name in names if name in run] or waited
        if not waited:
            continue
        # ComfyUI lets a node grow 100 inputs: longer waits are a chain of gates.
        token: list[Any] | None = None
        for number, begin in enumerate(range(0, len(waited), 99)):
            part = waited[begin : begin + 99] + ([token] if token else [])
            name = f"gate{level}-all{number}"
            packed[name] = _gate(part[0], part[1:])
            token = [name, 0]
        for slot in range(count):
            for node_id in enters:
                if slotted(slot, node_id) not in run:
                    continue
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
        for origin, slot in filter(is_link, api[waiting.pop()]["inputs"].values()):
            if origin not in dependent and output_of(object_info[api[origin]["class_type"]], slot) not in _DATA:
                waiting.append(origin)
                found |= {name for name in api[origin]["inputs"].values() if isinstance(name, str) and name in sizes}
    return frozenset(found)
