"""Nodes that only the page knows: those that pass on are resolved, all others without a class on the server are kept apart.

The page's own and popular packs' (KJNodes, Easy-Use, rgthree) have nodes without any Python behind them. comfy-cli knows the
page's by name and stops at others. Called by `file.py` before and after it converts a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .api import Api
from .saved import (
    BYPASSED,
    INPUT_SIDE,
    MUTED,
    OUTPUT_SIDE,
    VALUE_NODE,
    Node,
    Origin,
    nodes_of,
    read_link,
    scopes_of,
    write_link,
)
from .ui import UiGraph

PACK = "pack"
"""In the `_meta` of a node that the server lacks: the pack that it comes from, by the name that ComfyUI-Manager knows."""

CORE = "comfy-core"
"""What stands for the pack in nodes of ComfyUI itself."""

REROUTE, SET, GET = "Reroute", "SetNode", "GetNode"
_PASSING = {
    REROUTE: REROUTE, "Reroute (rgthree)": REROUTE,
    SET: SET, "easy setNode": SET,
    GET: GET, "easy getNode": GET,
}  # fmt: skip
"""Classes that hand on what they are fed, by the class of the page or of KJNodes that does the same."""


def resolve(ui: dict[str, Any], object_info: dict[str, Any]) -> None:
    """Leads the graph's links, in place, past nodes that pass on, and takes away the values of nodes that the server lacks.

    A Get reads the Set of its name in the same graph or subgraph, as in KJNodes, and each copy of a subgraph its own.
    """
    root, *subgraphs = scopes_of(ui)
    known = {str(one.get("id")) for one in subgraphs} | object_info.keys() | {VALUE_NODE}
    for scope in (root, *subgraphs):
        passing: dict[str, Node] = {}
        for node in nodes_of(scope):
            kind = str(node.get("type"))
            if kind in _PASSING and kind not in object_info:
                node["type"] = _PASSING[kind]
                passing[str(node["id"])] = node
            elif kind not in known:
                node["widgets_values"] = []  # nobody knows which widgets these belong to
        if passing:
            _lead_past(scope, passing)


def name_packs(api: Api, page: UiGraph, object_info: dict[str, Any]) -> None:
    """Notes in nodes that the server lacks which pack they come from, where the file says so."""
    for node_id, node in api.items():
        if node["class_type"] not in object_info:
            properties = page.node(tuple(node_id.split(":"))).get("properties") or {}
            if pack := properties.get("cnr_id") or properties.get("aux_id"):
                node.setdefault("_meta", {})[PACK] = str(pack)


def missing(node_id: str, node: Node) -> str:
    """What to say of a node that the server lacks and the result needs."""
    meta = node.get("_meta")
    pack = meta.get(PACK) if isinstance(meta, dict) else None
    where = f"{node['class_type']} #{node_id}: the server has no such node"
    if pack == CORE:
        return f"{where}; it is ComfyUI's own: update ComfyUI there"
    return f"{where}; it comes from the pack {pack}: install that there" if pack else where


def _lead_past(scope: dict[str, Any], passing: dict[str, Node]) -> None:
    """Gives each link that begins at a passing node the origin of what is passed, or none where nothing is."""
    links = {read_link(raw).id: raw for raw in scope["links"]}
    setters: dict[str, Node] = {}
    for node in passing.values():
        if node["type"] == SET and (name := _name(node)):
            setters.setdefault(name, node)
    feeding = {
        (link.origin.node, link.origin.slot) for link in map(read_link, links.values()) if link.target == OUTPUT_SIDE
    }
    dead = set()
    for number, raw in links.items():
        link = read_link(raw)
        if str(link.origin.node) not in passing:
            continue
        origin = _passed(link.origin, passing, setters, links)
        if origin is None:
            dead.add(number)
            continue
        if link.target == OUTPUT_SIDE and (origin.node == INPUT_SIDE or (origin.node, origin.slot) in feeding):
            continue  # comfy-cli follows these itself, and no others that leave a subgraph so
        write_link(raw, "origin_id", origin.node)
        write_link(raw, "origin_slot", origin.slot)
        if origin.node == INPUT_SIDE:
            scope["inputs"][origin.slot].setdefault("linkIds", []).append(number)
    scope["links"] = [raw for number, raw in links.items() if number not in dead]


def _passed(origin: Origin, passing: dict[str, Node], setters: dict[str, Node], links: dict[int, Any]) -> Origin | None:
    """The output at the end of a chain of passing nodes; a Get without a Set of its own graph is left to comfy-cli.

    Returns:
        None where the chain is cut: nothing is wired, a node in it is muted, or it goes round.
    """
    for _ in range(len(passing) + 1):
        node = passing.get(str(origin.node))
        if node is None:
            return origin
        if node.get("mode") == MUTED or (node["type"] == GET and node.get("mode") == BYPASSED):
            return None
        fed = setters.get(_name(node)) if node["type"] == GET else node
        if fed is None:
            return origin
        entry = next(iter(_wired(fed)), None)
        if entry is None or entry not in links:
            return None
        origin = read_link(links[entry]).origin
    return None


def _wired(node: Node) -> Iterator[int]:
    return (one["link"] for one in node.get("inputs") or [] if one.get("link") is not None)


def _name(node: Node) -> str:
    """The name that a Set gives or a Get asks for."""
    values = node.get("widgets_values")
    values = list(values.values()) if isinstance(values, dict) else values
    return str(values[0]) if isinstance(values, list) and values and values[0] else ""
