"""What ComfyUI's page does with a saved graph until it submits it, and comfy-cli's conversion does not do yet.

`file.py` calls it in the place of comfy-cli. All templates of comfyui-workflow-templates-json are compared with
ComfyUI's own page in tests/browser/test_templates.py. What is general stands as a patch in docs/upstream and goes from
here as soon as comfy-cli has it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .page_links import follow_links
from .saved import BYPASSED, INPUT_SIDE, MUTED, Node, nodes_of, read_link, scopes_of
from .schemas import (
    EDITORS,
    default_of,
    inputs_of,
    inputs_of_choice,
    is_saved,
    is_widget,
    kind_of,
    settings_of,
    with_inputs,
)

CUSTOM_COMBO = "CustomCombo"
"""Core's combo whose choices are widgets of its own: the server's list of them is empty."""

_BOX_FIELDS = ("x", "y", "width", "height")
"""Widgets of the page that are saved behind a BOUNDING_BOX and not submitted."""

_VIEWER = {"image": ["PREVIEW_3D", {}]}
_ADDED = {"SaveGLB": _VIEWER, "Preview3D": _VIEWER}
"""Inputs that the page gives to core's nodes."""

_LAST_MODEL = "Last Time Model File"
"""The property in which the page keeps what a Preview3D showed."""


@dataclass(frozen=True)
class _Whole:
    """A widget's value that is an object: comfy-cli takes a plain one for a row of a LoRA loader's list."""

    value: Any


def convert(ui: dict[str, Any], object_info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A graph in UI format as the API format that the page would submit.

    Raises:
        comfy_cli.workflow_to_api.WorkflowConversionError: comfy-cli cannot convert it; of a graph that no ComfyUI saved
            it raises what comes.
    """
    # Imported late: it takes longer than printing the help.
    from comfy_cli.workflow_to_api import convert_ui_to_api

    opened = copy.deepcopy(ui)
    follow_links(opened, object_info)
    for node in (node for scope in scopes_of(opened) for node in nodes_of(scope)):
        _open(node, object_info)
    switched = _switch_constants_on(opened, object_info)
    api: dict[str, dict[str, Any]] = convert_ui_to_api(opened, _node_list(opened, object_info))
    for node in api.values():
        _complete(node, object_info)
    _hand_constants(opened, api)
    return {node_id: node for node_id, node in api.items() if node_id.split(":")[-1] not in switched}


def with_unique_ids(ui: dict[str, Any]) -> dict[str, Any]:
    """The graph with ids as the page has them once it is open: no two nodes, in whatever subgraph, have the same.

    The page gives the later one the next free number; subgraphs go in their order in the file.
    """
    if len(scopes_of(ui)) == 1:
        return ui
    ui = copy.deepcopy(ui)
    root, *subgraphs = scopes_of(ui)
    used = {str(node["id"]) for node in nodes_of(root)}
    last = root.get("last_node_id") or (root.get("state") or {}).get("lastNodeId") or 0
    moved: dict[str, dict[str, int]] = {}
    for scope in subgraphs:
        fresh = moved[str(scope["id"])] = {}
        for node in nodes_of(scope):
            if str(node["id"]) in used:
                last = next(number for number in range(last + 1, last + len(used) + 2) if str(number) not in used)
                fresh[str(node["id"])] = node["id"] = last
            elif isinstance(node["id"], int):
                last = max(last, node["id"])
            used.add(str(node["id"]))
        for link in scope.get("links") or ():
            for end in ("origin_id", "target_id"):
                link[end] = fresh.get(str(link[end]), link[end])
    for node in (node for scope in scopes_of(ui) for node in nodes_of(scope)):
        for entry in (node.get("properties") or {}).get("proxyWidgets") or ():
            entry[0] = str(moved.get(str(node["type"]), {}).get(str(entry[0]), entry[0]))
    return ui


def choose(node: dict[str, Any], choice: str) -> None:
    """Sets the choice of a Custom Combo in API format, and the index that goes with it."""
    node["inputs"] |= {"choice": choice, "index": _index(choice, choices(node))}


def choices(node: dict[str, Any]) -> list[str]:
    """The choices of a Custom Combo in API format."""
    numbers = (name.removeprefix("option") for name in node["inputs"] if name.startswith("option"))
    return [node["inputs"][f"option{number}"] for number in sorted(filter(str.isdecimal, numbers), key=int)]


def unindexed(api: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A graph in API format without the indices of Custom Combos, which follow their choices."""
    kept = {**api}
    for node_id, node in api.items():
        if node["class_type"] == CUSTOM_COMBO:
            inputs = {name: value for name, value in node["inputs"].items() if name != "index"}
            kept[node_id] = {**node, "inputs": inputs}
    return kept


def _index(choice: Any, options: Sequence[Any]) -> int:
    return options.index(choice) if choice in options else -1


def _open(node: Node, object_info: dict[str, Any]) -> None:
    """Gives a node the values that it has once it is open, so that comfy-cli can place them."""
    values = node.get("widgets_values")
    if node.get("type") == CUSTOM_COMBO and isinstance(values, list):
        node["widgets_values"] = _combo_values(values)
    elif isinstance(values, list) and node.get("type") in object_info:
        node["widgets_values"] = [_Whole(value) if isinstance(value, dict) else value for value in values]
    shown = (node.get("properties") or {}).get(_LAST_MODEL)
    if node.get("type") == "Preview3D" and shown and isinstance(values, list):
        node["widgets_values"] = [shown, *node["widgets_values"][1:]]


def _combo_values(values: list[Any]) -> dict[str, Any]:
    """A Custom Combo's widgets by name. Its choices end at the first empty one, which the page always keeps."""
    choice, options = (values or [""])[0], [*values[2:], ""]
    options = options[: options.index("") + 1]
    named = {f"option{number}": option for number, option in enumerate(options, start=1)}
    return {"choice": choice, "index": _index(choice, options), **named}


def _node_list(ui: dict[str, Any], object_info: dict[str, Any]) -> dict[str, Any]:
    """The server's nodes with what makes comfy-cli give each of the page's widgets its value."""
    kinds = {str(node.get("type")) for scope in scopes_of(ui) for node in nodes_of(scope)}
    return {
        **object_info,
        **{kind: with_inputs(object_info[kind], _with_editors) for kind in kinds & object_info.keys()},
    }


def _with_editors(specs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """A group of inputs in which each editor is declared a widget, with those that are saved behind it."""
    for name, spec in specs.items():
        if not isinstance(spec, list) or kind_of(spec) not in EDITORS:
            yield name, spec
            continue
        if is_widget(spec) and not is_saved(spec):
            continue
        settings = settings_of(spec)
        yield name, [spec[0], {**settings, "widgetType": kind_of(spec)}]
        if kind_of(spec) == "BOUNDING_BOX" and is_widget(spec):
            yield from ((one, ["INT", {}]) for one in _box_fields(name))


def _box_fields(name: str) -> list[str]:
    return [f"{name} {field}" for field in _BOX_FIELDS]


def _complete(node: dict[str, Any], object_info: dict[str, Any]) -> None:
    """Gives a node in API format what its widgets hold that the file says nothing about, as in a fresh node."""
    inputs = node["inputs"]
    for name, value in inputs.items():
        if isinstance(value, _Whole):
            inputs[name] = value.value
    kind = node["class_type"]
    for name, spec in (*inputs_of(object_info.get(kind, {})), *_ADDED.get(kind, {}).items()):
        _complete_input(inputs, name, spec)


def _complete_input(inputs: dict[str, Any], name: str, spec: list[Any]) -> None:
    kind = kind_of(spec)
    if not is_widget(spec):
        if settings_of(spec).get("forceInput") and not isinstance(inputs.get(name), list):
            inputs.pop(name, None)  # a default of comfy-cli's; the page has a socket and no widget
        return
    if kind == "BOUNDING_BOX":
        for field in _box_fields(name):
            inputs.pop(field, None)
    held = copy.deepcopy(default_of(spec))
    if held is not None and kind != "COMFY_DYNAMICGROUP_V3" and _is_empty(inputs, name, kind):
        inputs[name] = {"__value__": held} if isinstance(held, list) else held
    for one, inner in inputs_of_choice(name, spec, inputs.get(name)):
        _complete_input(inputs, one, inner)


def _is_empty(inputs: dict[str, Any], name: str, kind: str) -> bool:
    """Whether a widget has no value yet; comfy-cli gives an editor null."""
    return name not in inputs or (kind in EDITORS and inputs[name] is None)


def _switch_constants_on(ui: dict[str, Any], object_info: dict[str, Any]) -> set[str]:
    """Lets muted and bypassed nodes run, in place, that hold the value of a subgraph's own widget: it feeds others too.

    Returns:
        Their ids, which no other nodes have; no link begins at them any more.
    """
    found = set()
    for scope in scopes_of(ui)[1:]:
        links = [read_link(raw) for raw in scope.get("links") or ()]
        fed = {link.target for link in links if link.origin.node == INPUT_SIDE}
        for node in nodes_of(scope):
            if node.get("mode") in (MUTED, BYPASSED) and node["id"] in fed and node.get("type") in object_info:
                node["mode"] = 0
                found.add(str(node["id"]))
    return found


def _hand_constants(ui: dict[str, Any], api: dict[str, dict[str, Any]]) -> None:
    """Lets a subgraph's own widget feed all that it is wired to, sockets too: comfy-cli keeps to widgets it meets."""
    inner = {str(one["id"]): one for one in scopes_of(ui)[1:]}
    waiting = [(ui, "")]
    while waiting:
        scope, prefix = waiting.pop()
        for node in nodes_of(scope):
            graph = inner.get(str(node.get("type")))
            if graph is None or node.get("mode") in (MUTED, BYPASSED):
                continue
            path = f"{prefix}{node['id']}:"
            waiting.append((graph, path))
            wired = {one["name"] for one in node.get("inputs") or () if one.get("link") is not None}
            for slot, one in enumerate(graph.get("inputs") or ()):
                if one["name"] not in wired:
                    _hand_constant(list(_fed(graph, slot, path, inner)), api)


def _hand_constant(ends: list[tuple[str, dict[str, Any]]], api: dict[str, dict[str, Any]]) -> None:
    """The first widget that a subgraph's input was wired to is what the subgraph shows, and all others follow it."""
    inputs = [(api[node_id]["inputs"], slot) for node_id, slot in ends if node_id in api]
    held = [one[slot["name"]] for one, slot in inputs if slot.get("widget") and slot["name"] in one]
    if held:
        for one, slot in inputs:
            one[slot["name"]] = held[0]


def _fed(
    graph: dict[str, Any], number: int, path: str, inner: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The inputs that a subgraph's input feeds, through subgraphs in it: node in API format, and socket."""
    nodes = {str(node["id"]): node for node in nodes_of(graph)}
    links = {link.id: link for link in map(read_link, graph.get("links") or ())}
    for link in (links[one] for one in graph["inputs"][number].get("linkIds") or () if one in links):
        target = nodes.get(str(link.target))
        if target is None:
            continue
        slot = target["inputs"][link.target_slot]
        deeper = inner.get(str(target.get("type")))
        if deeper is None:
            yield f"{path}{target['id']}", slot
            continue
        names = [one["name"] for one in deeper["inputs"]]
        if slot["name"] in names:
            yield from _fed(deeper, names.index(slot["name"]), f"{path}{target['id']}:", inner)
