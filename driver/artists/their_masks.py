"""What somebody's graph does with masks: whether it edits inside one, takes away what one marks, or hands on transparency.

Read from the wiring that `their_graph.py` knows. Used by `adopt.py` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from comfy_nodes.core.instructions.operations import operation_of

from .their_graph import IMAGE, MASK, Graph

_ALPHA = re.compile("alpha", re.IGNORECASE)
"""Inputs whose mask says how transparent a picture is, by name."""

_CUTTER = re.compile(r"remove.*background|background.*remov|rembg", re.IGNORECASE)
"""Classes that make a picture's background transparent, by name."""

_ERASER = re.compile(r"eras|object.*remov|remov.*object|lama", re.IGNORECASE)
"""Classes that take away what a mask marks, by name."""

_SAME = re.compile(r"scale|resize|crop|pad|batch", re.IGNORECASE)
"""Classes that leave a picture as transparent as it was, by name."""

Mask = tuple[str, int]
"""An output that a mask comes from: node and number."""


def masks_of(graph: Graph, way: set[str], source: str) -> list[Mask]:
    """The outputs that masks of somebody's own come from: the photo's loader, files of masks, painters.

    Args:
        way: the nodes that the result depends on.
    """
    loaders = [source, *graph.painted(way)]
    return [(node_id, slot) for node_id in loaders for slot in graph.used(node_id, MASK, way)]


def editors(graph: Graph, way: set[str], masks: list[Mask]) -> list[str]:
    """The nodes that edit a picture inside of these masks; none where a mask is only carried along as transparency."""
    found = []
    for mask in masks:
        found += [node_id for node_id, name in _takers(graph, way, mask, set()) if not _ALPHA.search(name)]
    return list(dict.fromkeys(found))


def erases(graph: Graph, inside: list[str], words: list[str]) -> bool:
    """Whether what is in the mask goes: by the editor's name or the words, or as an inpainter gets none.

    Args:
        inside: the nodes that edit inside the mask.
    """
    if any(_ERASER.search(graph.api[node_id]["class_type"]) for node_id in inside):
        return True
    return not words or any("remove" in (operation_of(one, "en"), operation_of(one, "zh")) for one in words)


def cut_out(graph: Graph, result: tuple[str, str], masks: list[Mask]) -> bool:
    """Whether the result is what a graph cut out: a picture with a transparency that did not come with the photo."""
    link: Any = graph.api[result[0]]["inputs"][result[1]]
    for _ in graph.api:  # a way is no longer than that
        node_id, wired = link[0], graph.links(link[0])
        pictures = [one for _, one in wired if graph.kind(one) == IMAGE]
        alphas = [one for name, one in wired if graph.kind(one) == MASK and _ALPHA.search(name)]
        class_type = graph.api[node_id]["class_type"]
        if alphas:
            return not any(carrier in masks for carrier in _carriers(graph, alphas[0], set()))
        if _CUTTER.search(class_type):
            return graph.kind(link) == IMAGE
        if len(pictures) != 1 or not _SAME.search(class_type):
            return False
        link = pictures[0]
    return False


def _takers(graph: Graph, way: set[str], mask: Mask, seen: set[Mask]) -> Iterator[tuple[str, str]]:
    """Nodes, and their inputs, that a mask goes into behind those that only change the mask."""
    if mask in seen:
        return
    seen.add(mask)
    for node_id in [one for one in graph.api if one in way]:
        for name, link in graph.links(node_id):
            if (link[0], link[1]) != mask:
                continue
            slots = range(len(graph.outputs(node_id)))
            if slots and all(graph.kind((node_id, slot)) == MASK for slot in slots):
                for slot in slots:
                    yield from _takers(graph, way, (node_id, slot), seen)
            else:
                yield node_id, name


def _carriers(graph: Graph, link: Any, seen: set[Mask]) -> Iterator[Mask]:
    """Where a mask comes from, going up nodes that only change masks."""
    mask = (link[0], link[1])
    if mask in seen:
        return
    seen.add(mask)
    wired = [one for _, one in graph.links(link[0]) if graph.kind(one) == MASK]
    if not wired:
        yield mask
    for one in wired:
        yield from _carriers(graph, one, seen)
