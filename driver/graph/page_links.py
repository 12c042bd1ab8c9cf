"""Where a link comes from once muted and bypassed nodes are taken out, by the page's rule.

A bypassed node hands on an input only where its type fits the output and what takes it; else the link is gone, and the
input has its widget's value, if any (`ExecutableNodeDTO` of ComfyUI's frontend 1.47).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .saved import (
    BYPASSED,
    INPUT_SIDE,
    MUTED,
    OUTPUT_SIDE,
    Link,
    Node,
    Origin,
    nodes_of,
    read_link,
    scopes_of,
    write_link,
)
from .schemas import inputs_of, is_widget, kind_of, settings_of

_ANY = ("*", "", "0")


def follow_links(ui: dict[str, Any], object_info: dict[str, Any]) -> None:
    """Lets each link of the graph and its subgraphs, in place, begin where the page has it begin, or takes it away."""
    root, *subgraphs = scopes_of(ui)
    inner: dict[str, _Scope] = {}
    for graph in subgraphs:
        inner[str(graph["id"])] = _Scope(graph, inner, object_info)
    for scope in (_Scope(root, inner, object_info), *inner.values()):
        scope.follow()
    for scope in inner.values():
        scope.open_subgraphs()


@dataclass(frozen=True)
class _Slot:
    """An input as the open page has it."""

    kind: str
    link: Any


class _Scope:
    """The graph, or a subgraph, with what it takes to walk its links."""

    def __init__(self, graph: dict[str, Any], inner: dict[str, _Scope], object_info: dict[str, Any]):
        self._graph = graph
        self._inner = inner
        self._info = object_info
        self._nodes = {str(node.get("id")): node for node in nodes_of(graph)}
        self._links = {read_link(raw).id: raw for raw in graph.get("links") or ()}

    def follow(self) -> None:
        for link in [read_link(raw) for raw in self._links.values()]:
            target = self._nodes.get(str(link.target))
            if target is not None and target.get("mode") in (MUTED, BYPASSED) and target.get("type") not in self._inner:
                continue
            begin = self._begin(link, self._wanted(link, target))
            if begin is None or (target is None and begin.node == INPUT_SIDE):  # whoever takes that is led past
                self._cut(link, target)
            elif begin != link.origin:
                self._move(link, begin)

    def open_subgraphs(self) -> None:
        """Switches subgraphs on that stand in this one: the page leads links past them, and submits what is in them."""
        for node in self._nodes.values():
            if node.get("type") in self._inner:
                node["mode"] = 0

    def output(self, slot: int, wanted: str) -> Origin | None:
        """Where this subgraph's output comes from inside of it."""
        for raw in self._links.values():
            link = read_link(raw)
            if (link.target, link.target_slot) == (OUTPUT_SIDE, slot):
                return self._begin(link, wanted)
        return None

    def _begin(self, link: Link, wanted: str) -> Origin | None:
        """
        Args:
            wanted: the type of the input that the link serves in the end.
        """
        seen: set[int | str] = set()
        while link.id not in seen:
            seen.add(link.id)
            node = self._nodes.get(str(link.origin.node))
            if node is None or (node.get("type") not in self._inner and node.get("mode") not in (MUTED, BYPASSED)):
                return link.origin
            passed = self._passed(node, link.origin.slot, wanted)
            if passed is None:
                return None
            if isinstance(passed, Origin):
                return passed
            before = self._links.get(passed.link)
            if before is None:
                return None
            link, wanted = read_link(before), passed.kind
        return None

    def _passed(self, node: Node, slot: int, wanted: str) -> _Slot | Origin | None:
        """The input that a node hands on at an output; for a subgraph, what its output comes from if that is inside."""
        if node.get("mode") == MUTED:
            return None
        inputs = list(self._inputs(node))
        if node.get("mode") == BYPASSED:
            return _bypassed(inputs, slot, self._output_kind(node, slot), wanted)
        inner = self._inner[str(node["type"])]
        begin = inner.output(slot, wanted)
        if begin is None:
            return None
        if begin.node == INPUT_SIDE:
            return inputs[begin.slot] if begin.slot < len(inputs) else None
        # Of outputs that come from the same place comfy-cli knows the last one only.
        slots = range(len(inner._graph.get("outputs") or ()))
        same = [number for number in slots if inner.output(number, wanted) == begin]
        return Origin(node["id"], same[-1])

    def _inputs(self, node: Node) -> Iterator[_Slot]:
        """A node's inputs in the page's order: sockets, then widgets, then what only the file has."""
        saved = {one["name"]: one for one in node.get("inputs") or ()}
        for name, kind in self._declared(str(node.get("type")), saved):
            yield _Slot(kind, saved.pop(name, {}).get("link"))
        yield from (_Slot(str(one.get("type")), one.get("link")) for one in saved.values())

    def _declared(self, kind: str, saved: dict[str, Any]) -> Iterator[tuple[str, str]]:
        if kind in self._inner:
            yield from ((one["name"], str(one.get("type"))) for one in self._inner[kind]._graph.get("inputs") or ())
            return
        specs = list(inputs_of(self._info.get(kind, {})))
        for name, spec in specs:
            if kind_of(spec).startswith("COMFY_") and not is_widget(spec):
                grown = [one for one in saved if one == name or one.startswith(f"{name}.")]
                yield from ((one, str(saved[one].get("type"))) for one in grown)
            elif not is_widget(spec):
                yield name, str(spec[0])
        for name, spec in specs:
            if is_widget(spec) and not settings_of(spec).get("socketless"):
                yield name, "COMBO" if isinstance(spec[0], list) else str(spec[0])

    def _output_kind(self, node: Node, slot: int) -> str:
        declared = (
            self._inner[str(node["type"])]._graph.get("outputs")
            if node.get("type") in self._inner
            else node.get("outputs")
        )
        return str(declared[slot].get("type")) if declared and slot < len(declared) else "*"

    def _wanted(self, link: Link, target: Node | None) -> str:
        """The type of the input at a link's end."""
        slots = self._graph.get("outputs") if target is None else target.get("inputs")
        if not slots or link.target_slot >= len(slots):
            return link.kind
        slot = slots[link.target_slot]
        declared = {} if target is None else dict(self._declared(str(target.get("type")), {}))
        return declared.get(slot["name"], str(slot.get("type")))

    def _cut(self, link: Link, target: Node | None) -> None:
        self._graph["links"].remove(self._links.pop(link.id))
        for one in (target or {}).get("inputs") or ():
            if one.get("link") == link.id:
                one["link"] = None

    def _move(self, link: Link, begin: Origin) -> None:
        raw = self._links[link.id]
        if link.origin.node == INPUT_SIDE:
            self._graph["inputs"][link.origin.slot]["linkIds"].remove(link.id)
        write_link(raw, "origin_id", begin.node)
        write_link(raw, "origin_slot", begin.slot)
        if begin.node == INPUT_SIDE:
            self._graph["inputs"][begin.slot].setdefault("linkIds", []).append(link.id)


def _bypassed(inputs: list[_Slot], slot: int, given: str, wanted: str) -> _Slot | None:
    """The input that a bypassed node hands on."""
    opposite = inputs[slot] if slot < len(inputs) else None
    if wanted in _ANY:
        return opposite or (inputs[0] if inputs else None)
    if opposite and _fits(opposite.kind, given) and _fits(opposite.kind, wanted):
        return opposite
    exact = (one for one in inputs if one.kind == wanted)
    fitting = (one for one in inputs if _fits(one.kind, given) and _fits(one.kind, wanted))
    return next(exact, None) or next(fitting, None)


def _fits(one: str, other: str) -> bool:
    """Whether the page lets an output of one type be wired to an input of the other."""
    if one in _ANY or other in _ANY:
        return True
    return not {kind.strip().lower() for kind in one.split(",")}.isdisjoint(
        kind.strip().lower() for kind in other.split(",")
    )
