"""A new node as ComfyUI's page would save it: its sockets and widgets, from the server's node list.

`adopting.py` puts such nodes into graphs. Nothing here knows what they are for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
"""Types of inputs that the page shows as widgets."""

EDITORS: dict[str, Any] = {
    "BOUNDING_BOX": {"x": 0, "y": 0, "width": 512, "height": 512},
    "BOUNDING_BOXES": [],
    "CHART": {},
    "COLOR": "#000000",
    "COLORS": [],
    "CURVE": {"points": [[0, 0], [1, 1]], "interpolation": "monotone_cubic"},
    "GALLERIA": [],
    "IMAGECOMPARE": ["", ""],
    "MARKDOWN": "",
    "PAINTER": "",
    "PREVIEW_3D": "",
    "RANGE": {"min": 0.0, "max": 1.0},
    "TEXTAREA": "",
}
"""Types that the page shows as an editor of its own, and what one holds that nobody touched (ComfyUI's frontend)."""

_EMPTY = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False, **EDITORS}


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
        if spec[0] == "COMFY_AUTOGROW_V3":
            template = spec[1]["template"]
            (kind,) = [one[0] for group in template["input"].values() for one in group.values()]
            inputs.append({"name": f"{name}.{template['prefix']}0", "type": kind, "link": None})
        elif not is_widget(spec):
            inputs.append({"name": name, "type": spec[0], "link": None})
        else:
            settings = spec[1] if len(spec) > 1 else {}
            filled.append(values.get(name, default_of(spec)))
            filled += ["fixed"] if settings.get("control_after_generate") else []
            uploads += ["image"] if settings.get("image_upload") else []
    names = schema.get("output_name") or schema["output"]
    return {
        "type": class_type,
        "pos": list(at),
        "size": list(size),
        "inputs": inputs,
        "outputs": [
            {"name": name, "type": kind, "links": None} for name, kind in zip(names, schema["output"], strict=True)
        ],
        "properties": {"Node name for S&R": class_type},
        "widgets_values": [*filled, *uploads],
        **({"title": title} if title else {}),
    }


def inputs_of(schema: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """A class's inputs as name and description, in the page's order."""
    for group in ("required", "optional"):
        for name, spec in (schema.get("input", {}).get(group) or {}).items():
            if isinstance(spec, list) and spec and (len(spec) < 2 or isinstance(spec[1], dict)):
                yield name, spec


def inputs_with(schema: dict[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """A node's inputs, those of its chosen options too, such as `model.prompt`.

    Args:
        values: what its inputs hold in the API format.
    """
    waiting = list(inputs_of(schema))
    while waiting:
        name, spec = waiting.pop(0)
        yield name, spec
        if spec[0] == "COMFY_DYNAMICCOMBO_V3":
            chosen = [one for one in spec[1].get("options", []) if one["key"] == values.get(name)]
            further = [(f"{name}.{inner}", one) for option in chosen for inner, one in inputs_of({"input": option["inputs"]})]
            waiting = further + waiting


def is_widget(spec: list[Any]) -> bool:
    """Whether an input shows as a widget, and not as a plain socket."""
    kind, settings = kind_of(spec), settings_of(spec)
    shown = kind in WIDGETS or kind in EDITORS or kind.startswith("COMFY_DYNAMIC") or bool(settings.get("socketless"))
    return shown and not settings.get("forceInput")


def is_saved(spec: list[Any]) -> bool:
    """Whether a file holds what the widget of an input holds; the page does not save its comparisons of pictures."""
    return is_widget(spec) and kind_of(spec) != "IMAGECOMPARE"


def is_upload(spec: Any) -> bool:
    """Whether an input is a list of files that the page can add to; a server may have others than it lists."""
    settings = spec[1] if isinstance(spec, list) and len(spec) > 1 and isinstance(spec[1], dict) else {}
    listed = isinstance(spec, list) and bool(spec) and (isinstance(spec[0], list) or spec[0] == "COMBO")
    return listed and any(bool(value) and str(name).endswith("_upload") for name, value in settings.items())


def kind_of(spec: list[Any]) -> str:
    """The type of an input as its widget has it: a list of choices is a COMBO."""
    return str(settings_of(spec).get("widgetType") or spec[0]) if isinstance(spec[0], str) else "COMBO"


def settings_of(spec: list[Any]) -> dict[str, Any]:
    """Default, range, choices and the like."""
    return spec[1] if len(spec) > 1 else {}


def default_of(spec: list[Any]) -> Any:
    """What a fresh widget holds; None where it has no choices."""
    settings = settings_of(spec)
    if "default" in settings:
        return settings["default"]
    options = spec[0] if isinstance(spec[0], list) else settings.get("options")
    if options:
        return options[0]["key"] if isinstance(options[0], dict) else options[0]
    return _EMPTY.get(kind_of(spec))
