"""A workflow in ComfyUI's UI format, to be changed: nodes added and removed, inputs wired through subgraphs, values set.

`adopt.py` and `open_row.py` use it. It knows how a saved graph hangs together, and nothing of what its nodes do. A
node is addressed by its path: its id, behind the ids of the subgraph nodes that it stands in, as in the API format.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import RunError
from .saved import (
    INPUT_SIDE,
    LINK_KEYS,
    MUTED,
    OUTPUT_SIDE,
    VALUE_NODE,
    Link,
    Node,
    Origin,
    read_link,
    scopes_of,
    shown_title,
    write_link,
)
from .schemas import default_of, first_grown, inputs_of, is_widget, output_names, outputs_of, settings_of

NodePath = tuple[str, ...]


class UiGraph:
    """One workflow; `ui` is the JSON as it stands now."""

    def __init__(self, ui: dict[str, Any]):
        self.ui = copy.deepcopy(ui)
        self._definitions = {str(one["id"]): one for one in scopes_of(self.ui)[1:]}

    def node(self, path: NodePath) -> Node:
        """
        Raises:
            RunError: there is no such node.
        """
        found: Node | None = next((one for one in self._scope(path[:-1])["nodes"] if str(one["id"]) == path[-1]), None)
        if found is None:
            raise RunError(f"the workflow has no node #{':'.join(path)}")
        return found

    def title(self, path: NodePath) -> str:
        """What an artist sees on the node."""
        return shown_title(self.node(path), self._definitions)

    def corners(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of all nodes outside of subgraphs."""
        return _corners(self.ui["nodes"])

    def add(self, node: Node) -> int:
        """Puts a node outside of all subgraphs; returns the id that it gets."""
        number = self._number("node")
        order = max((one.get("order") or 0 for one in self.ui["nodes"]), default=0) + 1
        self.ui["nodes"].append({"id": number, "flags": {}, "order": order, "mode": 0, **copy.deepcopy(node)})
        return number

    def group(self, title: str, numbers: Sequence[int], colour: str) -> None:
        """Draws a labelled frame around nodes outside of all subgraphs."""
        left, top, right, bottom = _corners([node for node in self.ui["nodes"] if node["id"] in numbers])
        left, top = left - MARGIN, top - TITLE
        bounding = [left, top, right + MARGIN - left, bottom + MARGIN - top]
        groups = self.ui.setdefault("groups", [])
        number = max((one.get("id") or 0 for one in groups), default=0) + 1
        groups.append({"id": number, "title": title, "bounding": bounding, "color": colour, "flags": {}})

    def remove(self, path: NodePath) -> None:
        """Takes a node away, with its links and what its subgraph's node shows of it."""
        scope, node_id = self._scope(path[:-1]), self.node(path)["id"]
        for link in list(self._links(scope)):
            if node_id in (link.origin.node, link.target):
                self._cut(scope, link)
        scope["nodes"] = [node for node in scope["nodes"] if node["id"] != node_id]
        if len(path) > 1:
            properties = self.node(path[:-1]).get("properties") or {}
            if shown := properties.get("proxyWidgets"):
                properties["proxyWidgets"] = [one for one in shown if str(one[0]) != path[-1]]

    def separate(self, path: NodePath) -> None:
        """Gives the subgraphs that a node stands in to it alone, where other nodes of the graph are copies of them."""
        for length in range(1, len(path)):
            instance = self.node(path[:length])
            kind = str(instance["type"])
            if sum(str(node["type"]) == kind for scope in self._scopes() for node in scope["nodes"]) > 1:
                own = copy.deepcopy(self._definitions[kind]) | {"id": str(uuid.uuid4())}
                self.ui["definitions"]["subgraphs"].append(own)
                self._definitions[own["id"]] = own
                instance["type"] = own["id"]

    def replace(self, path: NodePath, slot: int, origin: Origin) -> None:
        """Lets all that hangs on an output of a node hang on one outside of all subgraphs."""
        self.separate(path)
        scope, start = self._scope(path[:-1]), Origin(self.node(path)["id"], slot)
        for link in [one for one in self._links(scope) if one.origin == start]:
            if link.target == OUTPUT_SIDE:
                self.replace(path[:-1], link.target_slot, origin)
                continue
            target = (*path[:-1], str(link.target))
            entry = self.node(target)["inputs"][link.target_slot]
            self.wire(origin, target, entry["name"], link.kind, "widget" in entry)

    def used(self, path: NodePath) -> list[int]:
        """Outputs of a node that something hangs on."""
        number = self.node(path)["id"]
        links = self._links(self._scope(path[:-1]))
        return sorted({link.origin.slot for link in links if link.origin.node == number})

    def brought_out(self, path: NodePath, slot: int, kind: str) -> Origin:
        """An output of a node as it is found outside of all subgraphs; an output of a subgraph's is made where none is."""
        self.separate(path)
        origin = Origin(self.node(path)["id"], slot)
        for length in range(len(path) - 1, 0, -1):
            inside, instance = self._scope(path[:length]), self.node(path[:length])
            origin = Origin(instance["id"], self._handed_out(inside, instance, origin, kind))
        return origin

    def _handed_out(self, inside: dict[str, Any], instance: Node, origin: Origin, kind: str) -> int:
        """Which output of a subgraph gives what an output in it does."""
        for link in self._links(inside):
            if link.origin == origin and link.target == OUTPUT_SIDE:
                return link.target_slot
        name = _free(kind, inside["outputs"])
        x, y = _pair(inside["outputNode"].get("bounding"))
        slot, number = len(inside["outputs"]), self._number("link")
        inside["outputs"].append(
            {"id": str(uuid.uuid4()), "name": name, "type": kind, "linkIds": [number], "pos": [x, y]}
        )
        instance.setdefault("outputs", []).append({"name": name, "type": kind, "links": None})
        values = (number, origin.node, origin.slot, OUTPUT_SIDE, slot, kind)
        inside["links"].append(dict(zip(LINK_KEYS, values, strict=True)))
        _hang_on(inside, origin, number)
        return slot

    def comes_through_subgraph(self, path: NodePath, name: str) -> bool:
        """Whether an input is fed by an input of the subgraph that its node stands in."""
        numbers = {one.get("link") for one in self.node(path).get("inputs") or [] if one["name"] == name}
        return any(
            link.id in numbers and link.origin.node == INPUT_SIDE for link in self._links(self._scope(path[:-1]))
        )

    def wire(self, origin: Origin, path: NodePath, name: str, kind: str, widget: bool) -> None:
        """Links an output outside of all subgraphs to an input anywhere, in the place of what was linked there.

        Into a subgraph the link goes through an input of the subgraph's, as when an artist drags it there.

        Args:
            kind: the input's type.
            widget: whether it is a widget by itself, which becomes a socket.
        """
        self.separate(path)
        while len(path) > 1:
            inside = self._scope(path[:-1])
            outer = self._promoted(inside, self.node(path), name, kind, widget)
            path, name = path[:-1], outer
            self._complete(self.node(path), inside)
        self._connect(self.ui, origin, self.node(path), name, kind, widget)

    def switch_on(self, classes: frozenset[str], fed_by: str) -> None:
        """Lets muted and bypassed nodes of these classes run, wherever they stand, and muted ones that feed them.

        Args:
            fed_by: the type of the links that are followed to those.
        """
        for scope in self._scopes():
            waiting = [node for node in scope["nodes"] if self._holds(node, classes, ())]
            for node in waiting:
                node["mode"] = 0
            while waiting:
                target = waiting.pop()["id"]
                fed = {link.origin.node for link in self._links(scope) if (link.target, link.kind) == (target, fed_by)}
                muted = [node for node in scope["nodes"] if node["id"] in fed and node.get("mode") == MUTED]
                for node in muted:
                    node["mode"] = 0
                waiting += muted

    def _holds(self, node: Node, classes: frozenset[str], within: tuple[str, ...]) -> bool:
        """Whether a node is of one of these classes, or a subgraph with one in it."""
        kind = str(node["type"])
        if kind not in self._definitions or kind in within:
            return kind in classes
        return any(self._holds(one, classes, (*within, kind)) for one in self._definitions[kind]["nodes"])

    def set(
        self,
        path: NodePath,
        name: str,
        value: Any,
        convert: Callable[[dict[str, Any]], dict[str, dict[str, Any]]],
        typed: Any = None,
    ) -> None:
        """Sets a widget.

        Which of a node's values belongs to which widget only the conversion to the API format knows, so it is asked:
        the place is right where the input changes and nothing else does. A subgraph's own widgets go before those inside.

        Args:
            convert: a graph in the UI format to the API format.
            typed: what a person types for this value, where that is something else.

        Raises:
            RunError: no place does it.
        """
        node_id = ":".join(path)
        wanted = convert(self.ui)
        if wanted[node_id]["inputs"].get(name) == value:
            return
        wanted[node_id]["inputs"][name] = value
        for length in range(len(path), 0, -1):
            written = value if typed is None else typed
            if self._set_in(self.node(path[:length]), name, written, lambda: convert(self.ui) == wanted):
                return
        raise RunError(
            f"{self.title(path)} #{node_id}: the file has no place for its {name}; save it from ComfyUI again"
        )

    def _set_in(self, node: Node, name: str, value: Any, right: Callable[[], bool]) -> bool:
        values: Any = node.get("widgets_values")
        places = [name] if isinstance(values, dict) else list(range(len(values or [])))
        for place in places:
            before = values.get(place) if isinstance(values, dict) else values[place]
            values[place] = value
            if right():
                return True
            values[place] = before
        return False

    def _scope(self, path: NodePath) -> dict[str, Any]:
        """The graph, or the definition of the subgraph, that the nodes behind this path stand in."""
        scope = self.ui
        for number in range(len(path)):
            scope = self._definitions[str(self.node(path[: number + 1])["type"])]
        return scope

    def _promoted(self, inside: dict[str, Any], target: Node, name: str, kind: str, widget: bool) -> str:
        """The input of a subgraph that feeds an input of a node in it; one is made where there is none."""
        slot = _slot(target, name, kind, widget)
        for link in self._links(inside):
            if (link.target, link.target_slot) != (target["id"], slot):
                continue
            if link.origin.node == INPUT_SIDE:
                return str(inside["inputs"][link.origin.slot]["name"])
            self._cut(inside, link)
        outer = _free(name, inside["inputs"])
        x, y = _pair(inside["inputNode"].get("bounding"))
        made = {"id": str(uuid.uuid4()), "name": outer, "type": kind, "linkIds": [], "pos": [x, y]}
        inside["inputs"].append(made)
        self._connect(inside, Origin(INPUT_SIDE, len(inside["inputs"]) - 1), target, name, kind, widget)
        return outer

    def _complete(self, instance: Node, definition: dict[str, Any]) -> None:
        """Gives a subgraph's node a slot for each of the subgraph's inputs, in their order."""
        had = instance.get("inputs") or []
        by_name = {one["name"]: one for one in had}
        inner = {str(node["id"]): node for node in definition["nodes"]}
        fresh = []
        for number, one in enumerate(definition["inputs"]):
            slot = by_name.get(one["name"]) or {"name": one["name"], "type": one["type"], "link": None}
            fed = [link for link in self._links(definition) if link.origin == Origin(INPUT_SIDE, number)]
            targets = (inner[str(link.target)]["inputs"][link.target_slot] for link in fed if str(link.target) in inner)
            if any("widget" in one for one in targets):
                slot.setdefault("widget", {"name": one["name"]})
            fresh.append(slot)
        places = {number: fresh.index(one) for number, one in enumerate(had) if one in fresh}
        instance["inputs"] = fresh
        for scope in self._scopes():
            if any(node is instance for node in scope["nodes"]):
                for raw in scope["links"]:
                    link = read_link(raw)
                    if link.target == instance["id"] and link.target_slot in places:
                        write_link(raw, "target_slot", places[link.target_slot])

    def _connect(self, scope: dict[str, Any], origin: Origin, target: Node, name: str, kind: str, widget: bool) -> None:
        slot = _slot(target, name, kind, widget)
        for link in list(self._links(scope)):
            if (link.target, link.target_slot) == (target["id"], slot):
                self._cut(scope, link)
        number = self._number("link")
        values = (number, origin.node, origin.slot, target["id"], slot, kind)
        plain = scope is self.ui and not any(isinstance(raw, dict) for raw in scope["links"]) and "state" not in scope
        scope["links"].append(list(values) if plain else dict(zip(LINK_KEYS, values, strict=True)))
        target["inputs"][slot]["link"] = number
        if origin.node == INPUT_SIDE:
            scope["inputs"][origin.slot].setdefault("linkIds", []).append(number)
            return
        _hang_on(scope, origin, number)

    def _cut(self, scope: dict[str, Any], link: Link) -> None:
        scope["links"] = [raw for raw in scope["links"] if read_link(raw).id != link.id]
        for node in scope["nodes"]:
            for one in node.get("inputs") or []:
                if one.get("link") == link.id:
                    one["link"] = None
            for one in node.get("outputs") or []:
                if link.id in (one.get("links") or []):
                    one["links"] = [number for number in one["links"] if number != link.id]
        for one in (*scope.get("inputs", ()), *scope.get("outputs", ())) if scope is not self.ui else ():
            if link.id in (one.get("linkIds") or []):
                one["linkIds"].remove(link.id)
        scope["nodes"] = [node for node in scope["nodes"] if node["id"] != link.origin.node or not _spent(node)]

    def _scopes(self) -> list[dict[str, Any]]:
        return [self.ui, *self._definitions.values()]

    def _links(self, scope: dict[str, Any]) -> Iterator[Link]:
        return (read_link(raw) for raw in scope["links"])

    def _number(self, what: str) -> int:
        """A number that no node, or no link, of the whole file has."""
        scopes = self._scopes()
        key, state = f"last_{what}_id", f"last{what.capitalize()}Id"
        if what == "link":
            taken = [link.id for scope in scopes for link in self._links(scope)]
        else:
            taken = [node["id"] for scope in scopes for node in scope["nodes"] if isinstance(node["id"], int)]
        counted = [scope.get(key) or 0 for scope in scopes]
        counted += [(scope.get("state") or {}).get(state) or 0 for scope in scopes]
        number = int(max([0, *taken, *counted])) + 1
        for scope in scopes:
            if isinstance(scope.get("state"), dict):
                scope["state"][state] = number
        if "state" not in self.ui:
            self.ui[key] = number
        return number


MARGIN, TITLE = 20, 90
"""Pixels of a group's frame around its nodes, and above them, where its title and the first node's stand. Ours."""


def _slot(node: Node, name: str, kind: str, widget: bool) -> int:
    """The place of an input among a node's sockets; a widget that is none yet becomes one."""
    inputs = node.setdefault("inputs", [])
    for number, one in enumerate(inputs):
        if one["name"] == name:
            return number
    made: dict[str, Any] = {"name": name, "type": kind, "link": None}
    inputs.append(made | {"widget": {"name": name}} if widget else made)
    return len(inputs) - 1


def _free(name: str, slots: Sequence[dict[str, Any]]) -> str:
    """A name that none of a subgraph's sockets has."""
    known = {one["name"] for one in slots}
    return next(one for one in (name, *(f"{name}_{number}" for number in range(1, 1000))) if one not in known)


def _hang_on(scope: dict[str, Any], origin: Origin, link: int) -> None:
    """Notes a link in the output that it begins at."""
    output = next(node for node in scope["nodes"] if node["id"] == origin.node)["outputs"][origin.slot]
    output["links"] = [*(output.get("links") or []), link]


def _spent(node: Node) -> bool:
    """Whether a node holds a value for nothing any more."""
    return node["type"] == VALUE_NODE and not any(one.get("links") for one in node.get("outputs") or [])


def _corners(nodes: Sequence[Node]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of all of them."""
    boxes = [(*_pair(node.get("pos")), *_pair(node.get("size"))) for node in nodes]
    ends = [(x, y, x + width, y + height) for x, y, width, height in boxes]
    lefts, tops, rights, bottoms = zip(*ends, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _pair(value: Any) -> tuple[float, float]:
    """The first two numbers of a position or size, however the page wrote it."""
    if isinstance(value, dict):
        value = [value.get("0"), value.get("1")]
    first, second = (*(value or ()), 0, 0)[:2]
    return float(first or 0), float(second or 0)


def fresh_node(
    class_type: str,
    object_info: dict[str, Any],
    at: tuple[float, float],
    size: tuple[float, float],
    title: str = "",
    **values: Any,
) -> dict[str, Any]:
    """A node in UI format, without an id.

    Args:
        at: its left upper corner on the canvas.
        values: of widgets; the others get their defaults.
    """
    schema = object_info[class_type]
    inputs, filled, uploads = [], [], []
    for name, spec in inputs_of(schema):
        if not is_widget(spec):
            socket, kind = first_grown(name, spec) or (name, spec[0])
            inputs.append({"name": socket, "type": kind, "link": None})
        else:
            settings = settings_of(spec)
            filled.append(values.get(name, default_of(spec)))
            filled += ["fixed"] if settings.get("control_after_generate") else []
            uploads += ["image"] if settings.get("image_upload") else []
    outputs = zip(output_names(schema), outputs_of(schema), strict=True)
    return {
        "type": class_type,
        "pos": list(at),
        "size": list(size),
        "inputs": inputs,
        "outputs": [{"name": name, "type": kind, "links": None} for name, kind in outputs],
        "properties": {"Node name for S&R": class_type},
        "widgets_values": [*filled, *uploads],
        **({"title": title} if title else {}),
    }
