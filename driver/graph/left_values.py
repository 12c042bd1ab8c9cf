"""Values that comfy-cli would change and the page does not: it is shown schemas by which it leaves them as they stand.

It draws alternatives of dynamic prompts by chance, takes a listed file whose name differs only in case for one that is not
listed, and drops core's `LoadImageOutput`. `file.py` calls this when it converts a file.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from .dynamic_prompts import is_dynamic
from .saved import nodes_of, scopes_of
from .schemas import inputs_of, is_saved, is_upload, with_inputs

_DROPPED, _STANDS_FOR_IT = "LoadImageOutput", "LoadImageOutput (on the server)"
"""A class that comfy-cli takes for one of the page's own, and the name under which it is shown to comfy-cli."""


def without_shown_values(ui: dict[str, Any], object_info: dict[str, Any]) -> dict[str, Any]:
    """The graph without the texts that nodes without a widget showed when it was saved, such as `Get Image Size`'s.

    comfy-cli cannot place them, and the page shows others as soon as the node has run.
    """
    copied = copy.deepcopy(ui)
    for node in (node for scope in scopes_of(copied) for node in nodes_of(scope)):
        schema = object_info.get(str(node.get("type")))
        if schema and node.get("widgets_values") and not any(is_saved(spec) for _, spec in inputs_of(schema)):
            node["widgets_values"] = []
    return copied


def schemas_as_they_stand(ui: dict[str, Any], object_info: dict[str, Any]) -> dict[str, Any]:
    """The server's schemas, changed for the classes of a graph where that takes it; its nodes' classes, in place, too."""
    shown = dict(object_info)
    for node in (node for scope in scopes_of(ui) for node in nodes_of(scope)):
        kind = str(node.get("type"))
        if kind in object_info:
            node["type"] = _STANDS_FOR_IT if kind == _DROPPED else kind
            shown[node["type"]] = with_inputs(object_info[kind], _left)
    return shown


def with_their_classes(api: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A converted graph with its nodes' classes, in place, as the server has them."""
    for node in api.values():
        if node["class_type"] == _STANDS_FOR_IT:
            node["class_type"] = _DROPPED
    return api


def _left(specs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, _spec(spec)) for name, spec in specs.items())


def _spec(spec: Any) -> Any:
    if is_dynamic(spec):
        return [spec[0], {**spec[1], "dynamicPrompts": False}]
    if is_upload(spec) and isinstance(spec[0], list):
        return ["COMBO", {**spec[1], "options": spec[0]}]
    return spec
