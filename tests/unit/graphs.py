"""Graphs of `workflows/` as their files have them, for tests of what is wired to what and of how it lies on the canvas."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"

GUTTER = 40
"""Pixels between nodes."""


def whole(name: str) -> dict[str, Any]:
    return dict(json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8")))


class Graph:
    def __init__(self, name: str) -> None:
        ui = whole(name)
        self.nodes: dict[int, dict[str, Any]] = {node["id"]: node for node in ui["nodes"]}
        self.links = {link[0]: link for link in ui["links"]}

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [node for node in self.nodes.values() if node["type"] == kind]

    def before(self, node: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
        """The node that an input comes from, and its output's name."""
        link = self.links[next(one["link"] for one in node["inputs"] if one["name"] == name)]
        origin = self.nodes[link[1]]
        return origin, origin["outputs"][link[2]]["name"]


def check_layout(name: str, back: tuple[str, ...] = ()) -> None:
    """Nodes with a gutter between them, wires from left to right, and Save Edit Pair as the last node.

    Args:
        back: classes of nodes whose wires may lead to the left, as they stand in a group with others.

    Raises:
        AssertionError: it is not so.
    """
    graph = whole(name)
    nodes = {node["id"]: node for node in graph["nodes"]}
    for one, other in itertools.combinations(nodes.values(), 2):
        assert _apart(one, other), f"{one['type']} {one['id']} and {other['type']} {other['id']}"
    for _, origin, _, target, *_ in graph["links"]:
        assert nodes[origin]["type"] in back or nodes[origin]["pos"][0] <= nodes[target]["pos"][0], (
            f"{nodes[origin]['type']} to {nodes[target]['type']}"
        )
    save = max(nodes.values(), key=lambda node: node["pos"][0])
    assert save["type"] == "EditPairsSavePair", "judges stand before it"


def _apart(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether there is a gutter between two nodes, beside or below."""
    return any(
        first["pos"][axis] + first["size"][axis] + GUTTER <= second["pos"][axis]
        for axis in (0, 1)
        for first, second in ((one, other), (other, one))
    )
