"""Each node of the pack stands in a graph or a blueprint that is shipped, wired, so that nothing is named in vain."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
GRAPHS = sorted([*(REPOSITORY / "workflows").glob("*.json"), *(REPOSITORY / "subgraphs").glob("*.json")])

MUTED = 2
OTHERS_SOCKETS = "converts to or from another pack's sockets, which no graph of ours has"
EXCEPTIONS = {
    "EditPairsBoxesToBBox": OTHERS_SOCKETS,
    "EditPairsBBoxToBoxes": OTHERS_SOCKETS,
    "EditPairsBoxesToSegs": OTHERS_SOCKETS,
    "EditPairsSegsToBoxes": OTHERS_SOCKETS,
    "EditPairsGatePack": "the driver puts it between the stages of a packed prompt",
}
ALTERNATIVES = {
    "EditPairsLoadVlmLocal": "muted beside the endpoint's loader in write.json: one of the three is wired",
    "EditPairsLoadVlmCore": "the same",
}


def scopes(graph: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield graph
    yield from graph.get("definitions", {}).get("subgraphs", [])


def nodes() -> Iterator[tuple[str, bool]]:
    """Type of each node of each graph, and whether it is wired up and not muted."""
    for path in GRAPHS:
        for scope in scopes(json.loads(path.read_text(encoding="utf-8"))):
            for node in scope["nodes"]:
                linked = [*(node.get("inputs") or []), *(node.get("outputs") or [])]
                wired = any(one.get("link") is not None or one.get("links") for one in linked)
                yield node["type"], wired and node["mode"] != MUTED


def ids() -> set[str]:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "comfy_nodes" / "nodes").glob("*.py"))
    return set(re.findall(r'node_id="(EditPairs\w+)"', text))


def test_each_node_stands_in_a_graph() -> None:
    there = {kind for kind, _ in nodes()}
    wired = {kind for kind, used in nodes() if used}
    assert ids() - there == set(EXCEPTIONS), "give it a place in a graph or a blueprint, or take it out"
    assert (ids() & there) - wired == set(ALTERNATIVES)


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_both_ends_of_a_link_know_it(path: Path) -> None:
    for scope in scopes(json.loads(path.read_text(encoding="utf-8"))):
        known = {node["id"]: node for node in scope["nodes"]}
        for raw in scope["links"]:
            number, origin, out, target, into = raw[:5] if isinstance(raw, list) else [*raw.values()][:5]
            if origin in known:
                assert number in known[origin]["outputs"][out]["links"]
            if target in known:
                assert known[target]["inputs"][into]["link"] == number
