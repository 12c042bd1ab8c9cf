"""A graph with one source and one sink, bound to samples: prompts with their values, seeds and folders."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from comfy_nodes.core.graph_names import ENDPOINT_LOADER
from comfy_nodes.core.tasks import BY_TASK, Task

from ..errors import RunError, about
from ..samples import Plans
from . import dynamic_prompts
from .api import (
    CHOOSING_CLASS,
    CLASSICAL_TURNS,
    EDIT_SINK,
    PROTECT_CLASS,
    SECOND_CLASS,
    SINK_CLASSES,
    SOURCE_CLASS,
    TURN_CLASS,
    Api,
    ancestors,
    driven,
    idle,
    is_link,
)
from .checks import check
from .file import WorkflowFile
from .schemas import flagged_seed, inputs_by_name

RESTATER = "EditPairsVerifyEdit"
"""The verifier whose words become the instruction."""


@dataclass(frozen=True)
class BatchGraph:
    """A graph with one source and one sink, ready to take samples."""

    api: Api
    source: str
    sink: str
    seeds: tuple[str, ...]
    """Addresses of seed inputs elsewhere in the graph that get the sample's seed."""
    left_out: tuple[str, ...]
    """Nodes that no sink needs, as `Class #id`."""
    drawn: tuple[tuple[str, str], ...] = ()
    """Texts with alternatives, which are drawn for each sample, as node and input."""

    @classmethod
    def bind(
        cls, api: Api, object_info: dict[str, Any], file: WorkflowFile | None = None, together: Sequence[Api] = ()
    ) -> BatchGraph:
        """Finds the end nodes and keeps what the sink needs.

        Args:
            file: where the graph comes from, so that an end that is switched off there can be named.
            together: all graphs of its run, as `check` takes them.

        Raises:
            RunError: not exactly one source and one sink, or they aren't connected.
        """
        with about(file.named if file else ""):
            sink = _only(api, SINK_CLASSES, "Save Edit Pair (or Save Annotation, Save Instructions, Save Photo)", file)
            source = _only(api, frozenset({SOURCE_CLASS}), "Load Edit Sample", file)
            needed = ancestors(api, sink)
            if source not in needed:
                raise RunError(f"{api[sink]['class_type']} #{sink} does not depend on Load Edit Sample: wire them")
            kept = {node_id: node for node_id, node in api.items() if node_id in needed}
            left_out = tuple(
                f"{node['class_type']} #{node_id}" for node_id, node in api.items() if node_id not in needed
            )
            check(kept, object_info, together)
            seeds = tuple(f"#{node_id}.{name}" for node_id, name in seed_inputs(kept, object_info) if node_id != source)
            drawn = tuple((one, name) for one in _order(kept, sink) for name in dynamic_prompts.marks(kept[one]))
            return cls(kept, source, sink, seeds, left_out, drawn)

    @property
    def task(self) -> str:
        """The task that the source node names."""
        return str(self.api[self.source]["inputs"]["task"])

    @property
    def words(self) -> str | None:
        """The instruction in the source node, where no node between source and sink writes one; None where one may."""
        inputs = self.api[self.sink]["inputs"]
        given = self.api[self.source]["inputs"].get("instruction", "")
        origin = inputs.get("sample")
        while is_link(origin) and self.api[origin[0]]["class_type"] == SECOND_CLASS:
            origin = self.api[origin[0]]["inputs"].get("sample")
        straight = is_link(origin) and origin[0] == self.source and not inputs.get("instruction")
        return given.strip() if self.sink_class == EDIT_SINK and straight and isinstance(given, str) else None

    @property
    def sink_class(self) -> str:
        """One of `SINK_CLASSES`: what a finished prompt gives."""
        return str(self.api[self.sink]["class_type"])

    def seconds(self) -> dict[str, str]:
        """Nodes that load a picture which belongs to the photo: role by node id."""
        return {
            node_id: str(node["inputs"]["role"]).removesuffix(BY_TASK)
            for node_id, node in self.api.items()
            if node["class_type"] == SECOND_CLASS and not is_link(node["inputs"].get("image"))
        }

    def needed(self, task: Task) -> frozenset[str]:
        """Roles of pictures that a sample of a task cannot be without."""
        roles = self.seconds().items()
        return frozenset(role for node_id, role in roles if role in (self.api[node_id]["inputs"]["role"], task.second))

    @property
    def plans(self) -> Plans | None:
        """How dialogues are planned whose turns it makes one at a time; None where it makes none."""
        for node in self.api.values():
            if node["class_type"] == TURN_CLASS:
                turns, language = (node["inputs"].get(name) for name in ("turns", "language"))
                classes = {one["class_type"] for one in self.api.values()}
                return Plans(
                    turns if isinstance(turns, int) and turns else None,
                    "zh" if language == "zh" else "en",
                    frozenset(op for name, op in CLASSICAL_TURNS.items() if name in classes),
                )
        return None

    @property
    def chooses_kinds(self) -> bool:
        """Whether its writer chooses among kinds of edit, which it is offered for each photo."""
        return any(node["class_type"] == CHOOSING_CLASS for node in self.api.values())

    @property
    def keeps_off(self) -> bool:
        """Whether it needs the masks of what is not edited."""
        return any(node["class_type"] == PROTECT_CLASS for node in self.api.values())

    def prompt(self, values: dict[str, Any], seed: int, folder: str, seconds: Mapping[str, str] | None = None) -> Api:
        """The graph for one sample. Nodes that are the same for all samples are the graph's own: nobody may change them.

        Args:
            values: the source node's inputs (`SAMPLE_INPUTS` but the seed); inputs that the artist wired stay wired.
            seed: goes into the source node and every free seed; alternatives are drawn with it.
            folder: where the sink saves.
            seconds: uploaded pictures that belong to the photo, by role.
        """
        written: dict[str, dict[str, Any]] = defaultdict(dict)
        inputs = self.api[self.source]["inputs"]
        for name, value in {**values, "seed": seed}.items():
            if not is_link(inputs.get(name)):
                written[self.source][name] = value
        for node_id, role in self.seconds().items():
            if seconds and role in seconds:
                written[node_id]["image"] = seconds[role]
        for address in self.seeds:
            node_id, name = address.removeprefix("#").split(".", 1)
            written[node_id][name] = seed
        for (node_id, name), text in self._draw(seed):
            written[node_id][name] = text
        written[self.sink]["folder"] = folder
        return {node_id: _with(node, written.get(node_id)) for node_id, node in self.api.items()}

    def _draw(self, seed: int) -> Iterator[tuple[tuple[str, str], str]]:
        """What is drawn with a seed, by node and input. Ids play no part in it, as they play none in the stage hash."""
        met: Counter[str] = Counter()
        for node_id, name in self.drawn:
            text = self.api[node_id]["inputs"][name]
            yield (node_id, name), dynamic_prompts.draw(text, seed, met[text])
            met[text] += 1

    def booked(self, run: str, budget_usd: float | None) -> BatchGraph:
        """The graph with its calls to services booked on a run's account.

        Args:
            budget_usd: the most that they may cost together; None for no bound.
        """
        api = copy.deepcopy(self.api)
        for node in api.values():
            if node["class_type"] == ENDPOINT_LOADER:
                node["inputs"].update(run=run, budget_usd=budget_usd or 0.0)
        return replace(self, api=api)

    def profiles(self) -> dict[str, int]:
        """How many nodes ask each VLM profile about every sample."""
        asked: Counter[str] = Counter()
        for node in self.api.values():
            for value in node["inputs"].values():
                if is_link(value) and self.api[value[0]]["class_type"] == ENDPOINT_LOADER:
                    asked[str(self.api[value[0]]["inputs"].get("profile", ""))] += 1
        return dict(asked)

    def canonical(self) -> list[Any]:
        """The graph without ids, titles and what differs from sample to sample: what the stage hash is made of."""
        return _canonical(self.api, self.sink, self.seeds)

    def edit_sha256(self) -> str:
        """Hash of the part that decides pixels and words; other verifiers and their thresholds are not in it."""
        part = self.edit_part()
        others = [_canonical(part, node_id, self.seeds) for node_id in part if node_id in self._restaters()]
        return _digest([_canonical(part, self.sink, self.seeds), *sorted(others, key=_digest)])

    def edit_part(self) -> Api:
        """The nodes that decide pixels and words: what the sink's image and words depend on, and who restates these."""
        part = {**self.api, self.sink: _unscored(self.api[self.sink])}
        kept = ancestors(part, self.sink)
        for node_id in self._restaters():
            if node_id not in kept:
                part[node_id] = _unscored(part[node_id])
        kept = kept.union(*(ancestors(part, node_id) for node_id in self._restaters()))
        return {node_id: node for node_id, node in part.items() if node_id in kept}

    def _restaters(self) -> list[str]:
        return [node_id for node_id, node in self.api.items() if node["class_type"] == RESTATER]


def _with(node: dict[str, Any], written: dict[str, Any] | None) -> dict[str, Any]:
    """A node with other inputs; texts that are drawn are drawn by then."""
    if written is None:
        return node
    filled = {**node, "inputs": {**node["inputs"], **written}}
    if dynamic_prompts.marks(node):
        filled["_meta"] = {name: one for name, one in node["_meta"].items() if name != dynamic_prompts.DRAWN}
    return filled


def _unscored(node: dict[str, Any]) -> dict[str, Any]:
    """A node without what verifiers before it found."""
    return {**node, "inputs": {name: one for name, one in node["inputs"].items() if not name.startswith("scores")}}


def _only(api: Api, classes: frozenset[str], display: str, file: WorkflowFile | None) -> str:
    found = [node_id for node_id, node in api.items() if node["class_type"] in classes]
    if len(found) == 1:
        return found[0]
    if found:
        raise RunError(f"the workflow has {len(found)} {display} nodes (#{', #'.join(found)}): keep one of them")
    off = "; ".join(file.switched_off(classes)) if file else ""
    todo = f"{off}: switch it on and save the workflow" if off else "a graph needs one to be batched"
    raise RunError(f"the workflow has no {display} node{' that runs' if off else ''}: {todo}")


def seed_inputs(api: Api, object_info: dict[str, Any]) -> list[tuple[str, str]]:
    """Unwired inputs that the server flags as changing by themselves and that are seeds, as node and input."""
    return [
        (node_id, name)
        for node_id, node in api.items()
        for name, spec in inputs_by_name(object_info.get(node["class_type"], {})).items()
        if flagged_seed(spec) and name in node["inputs"] and not is_link(node["inputs"][name])
        if _is_seed(api, node_id, name)
    ]


def _is_seed(api: Api, node_id: str, name: str) -> bool:
    """Whether a number that may change by itself is a seed: it is called so, or is handed on to what is called so.
    Core's primitive numbers carry the same flag, whatever they count."""
    if "seed" in name:
        return True
    into = [
        one
        for other in api.values()
        for one, value in other["inputs"].items()
        if is_link(value) and value[0] == node_id
    ]
    return bool(into) and all("seed" in one for one in into)


def _canonical(api: Api, sink: str, seeds: tuple[str, ...]) -> list[Any]:
    """Nodes in the order in which they are reached from the sink, or another node, links as positions in that order.

    What the driver fills in is left out: sample inputs, the sink's folder, accounts of services, and free seeds; and what
    counts by hand alone.
    """
    order = _order(api, sink)
    nodes: list[Any] = [None] * len(order)
    for node_id, place in order.items():
        node = api[node_id]
        skipped = {address.split(".", 1)[1] for address in seeds if address.startswith(f"#{node_id}.")}
        skipped |= {*driven(node["class_type"]), *idle(node["class_type"])}
        nodes[place] = [
            node["class_type"],
            {
                name: ["link", order[value[0]], value[1]] if is_link(value) else _plain(value)
                for name, value in sorted(node["inputs"].items())
                if is_link(value) or name not in skipped
            },
        ]
    return nodes


def _order(api: Api, sink: str) -> dict[str, int]:
    """The sink's place among the nodes that it depends on, and theirs: a node stands behind what its inputs come from."""

    def origins(node_id: str) -> Iterator[str]:
        return (value[0] for _name, value in sorted(api[node_id]["inputs"].items()) if is_link(value))

    order: dict[str, int] = {}
    seen, path = {sink}, [(sink, origins(sink))]
    while path:
        node_id, rest = path[-1]
        if (origin := next(rest, None)) is None:
            path.pop()
            order[node_id] = len(order)
        elif origin not in seen:
            seen.add(origin)
            path.append((origin, origins(origin)))
    return order


def _plain(value: Any) -> Any:
    """A widget's value as ComfyUI takes it: it makes 1.0 of a FLOAT's 1, and both are the same graph."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
