"""Several samples in one prompt: what depends on the sample is there once for each, everything else is shared.

ComfyUI runs prompts one after another, so a call to an endpoint idles the GPU unless other samples of the same prompt
can go on meanwhile. Knows graphs, not servers; called by the worker that posts and by whoever reads its errors.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comfy_nodes.core.graph_names import ENDPOINT_LOADER

from .model_stages import Sizes, gate, stages
from .workflow import Api, BatchGraph, ancestors, is_link


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
        """Whether packing can pay: something waits for an endpoint, or models would be exchanged for each sample."""
        self.seeded = not is_link(graph.api[graph.source]["inputs"].get("seed"))
        """Whether records have the sample's seed, and not one that the artist wired to the source."""

    def prompt(self, fillings: Sequence[Filling]) -> Api:
        """The prompt for these samples, in their order."""
        filled = [self._graph.prompt(one.values, one.seed, one.folder, one.seconds) for one in fillings]
        if len(filled) == 1:
            return filled[0]
        packed = {node_id: node for node_id, node in filled[0].items() if node_id not in self._dependent}
        packed = copy.deepcopy(packed)
        for slot, api in enumerate(filled):
            for node_id in self._dependent & api.keys():
                node = api[node_id]
                packed[slotted(slot, node_id)] = {**node, "inputs": self._inputs(node["inputs"], slot)}
        if self._stages:
            gate(packed, self._stages, len(fillings), slotted)
        return packed

    def sink(self, slot: int, count: int) -> str:
        """Id of a sample's sink in a prompt of `count` samples."""
        return self._graph.sink if count == 1 else slotted(slot, self._graph.sink)

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
        object_info[api[node_id]["class_type"]].get("api_node") or _asks_endpoint(api, api[node_id]["inputs"])
        for node_id in among
    )


def _asks_endpoint(api: Api, inputs: dict[str, Any]) -> bool:
    return any(is_link(value) and api[value[0]]["class_type"] == ENDPOINT_LOADER for value in inputs.values())
