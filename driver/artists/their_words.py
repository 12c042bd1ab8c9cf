"""Which widgets of somebody's graph hold the words that say what is wanted, read from its wiring.

A sampler's conditioning tells; where no sampler is, the text inputs of the nodes between photo and result do. Used by
`adopt.py` alone, on what `their_graph.py` knows of the graph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..graph.api import is_link
from ..graph.schemas import settings_of
from .their_graph import ANY, Graph

_AGAINST = re.compile(r"neg|uncond|system", re.IGNORECASE)
"""Inputs that say what is not wanted, or how a language model is to answer."""

_FOR = ("positive", "conditioning", "cond1")
"""Inputs of samplers and guiders that say what is wanted, in ComfyUI's own nodes."""

_NAMED = ("prompt", "text", "instruction")
"""Names of text inputs that hold what is wanted even where they take one line."""

_HELD = ("string", "value")
"""Names of text inputs of nodes that hold a text for others."""


@dataclass(frozen=True)
class WordsInput:
    """A widget for words."""

    node: str
    name: str
    words: str
    answered: bool = False
    """Whether a language model answers these words, and what it answers is the prompt."""


def words_of(graph: Graph, way: set[str]) -> list[WordsInput]:
    """The widgets that take the instruction; none where the graph takes no words.

    Args:
        way: the nodes that the result depends on.
    """
    samplers = [node_id for node_id in graph.api if node_id in way and graph.is_sampler(node_id)]
    reading = _Reading(graph)
    found = [one for sampler in samplers for one in reading.positive(sampler, "", set())]
    if not found:
        ends = [one for one in graph.api if one in way and "STRING" not in graph.outputs(one)]
        found = [one for node_id in ends for one in reading.texts(node_id, strict=True)]
    unique = {(one.node, one.name): one for one in found}
    choices = _choices(list(unique.values()))
    if not choices:
        return []
    unsure = len(choices) > 1 or any(one.answered for inputs in choices.values() for one in inputs)
    shown = {key: graph.described(inputs[0].node, inputs[0].words) for key, inputs in choices.items()}
    chosen = graph.choose("instruction", "which prompt takes the instruction?", shown, none=unsure)
    return [] if chosen == "none" else choices[chosen]


def _choices(found: list[WordsInput]) -> dict[str, list[WordsInput]]:
    """What may take the instruction, by what is answered: a node, or one of its inputs where these say different things.

    An empty input beside one with words is none: what an artist left empty stays so.
    """
    nodes: dict[str, list[WordsInput]] = {}
    for one in found:
        nodes.setdefault(one.node, []).append(one)
    choices: dict[str, list[WordsInput]] = {}
    for node, inputs in nodes.items():
        said = {one.words: [other for other in inputs if other.words == one.words] for one in inputs}
        spoken = {words: same for words, same in said.items() if words.strip()} or said
        for same in spoken.values():
            choices[node if len(spoken) == 1 else f"{node}.{same[0].name}"] = same
    return choices


class _Reading:
    """Goes up a graph's wires to the words."""

    def __init__(self, graph: Graph):
        self._graph = graph

    def positive(self, node_id: str, output: str, seen: set[tuple[str, str]]) -> Iterator[WordsInput]:
        """The words that reach a sampler as what is wanted.

        Args:
            output: name of the output that the way comes from.
        """
        if (node_id, output) in seen:
            return
        seen.add((node_id, output))
        links = [(name, link) for name, link in self._graph.links(node_id)
                 if self._graph.kind(link) in ("CONDITIONING", "GUIDER")]  # fmt: skip
        same = [one for one in links if one[0] == output]
        wanted = [one for one in links if one[0] in _FOR] or [one for one in links if not _AGAINST.search(one[0])]
        for _name, link in same or wanted:
            yield from self.positive(link[0], self._graph.output_name(link), seen)
        if not links:
            yield from self.texts(node_id)

    def texts(self, node_id: str, strict: bool = False) -> Iterator[WordsInput]:
        """The widgets that a node's words come from: its own, or those of nodes that its text inputs are wired to.

        Args:
            strict: wired inputs count only where they are made for a text, and not for a name or a number.
        """
        values = self._graph.api[node_id]["inputs"]
        for name, spec in self._graph.inputs(node_id):
            value, last = values.get(name), name.rpartition(".")[2]
            if spec[:1] != ["STRING"] or value is None or _AGAINST.search(name):
                continue
            held = () if strict else _HELD
            meant = _multiline(spec) or last in (*_NAMED, *held)
            if is_link(value):
                if (meant or not strict) and value[0] in self._graph.api:
                    yield from self._held(value[0], set())
            elif meant:
                yield WordsInput(node_id, name, str(value))

    def _held(self, node_id: str, seen: set[str]) -> Iterator[WordsInput]:
        """The words behind a wired text; what stands beside wired words, such as a trigger word, is the graph's own."""
        if node_id in seen:
            return
        seen.add(node_id)
        wired = [(self._graph.kind(link), link) for _, link in self._graph.links(node_id)]
        further = [link for kind, link in wired if kind in ("STRING", *ANY)]
        answered = any(kind in ("IMAGE", "CLIP", "MODEL") for kind, _ in wired)
        texts = self.texts(node_id) if not further else (one for link in further for one in self._held(link[0], seen))
        for one in texts:
            yield replace(one, answered=True) if answered else one


def _multiline(spec: list[Any]) -> bool:
    return bool(settings_of(spec).get("multiline"))
