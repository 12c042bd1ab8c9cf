"""The one reader of a server's node lists (`/object_info`): inputs, widgets, choices and bounds of a node class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

from .api import is_link


def flagged_seed(spec: Any) -> bool:
    return bool(settings_of(spec).get("control_after_generate"))


def inputs_by_name(class_type: str, object_info: dict[str, Any]) -> dict[str, Any]:
    groups = object_info[class_type].get("input", {}) if class_type in object_info else {}
    return {**groups.get("required", {}), **groups.get("optional", {})}


def out_of_range(value: Any, spec: Any) -> list[str]:
    """What is wrong with a number, if anything."""
    if is_link(value) or not isinstance(spec, list) or spec[0] not in ("INT", "FLOAT") or len(spec) < 2:
        return []
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return [f"{value!r} is not a number"]
    least, most = spec[1].get("min", -math.inf), spec[1].get("max", math.inf)
    return [] if least <= value <= most else [f"{value} is not between {least} and {most}"]


def options_of(spec: Any) -> list[Any] | None:
    """A combo's choices; None for other inputs and for lists that the browser fetches by itself."""
    if not isinstance(spec, list) or not spec:
        return None
    if isinstance(spec[0], list):
        return spec[0]
    if spec[0] == "COMBO" and len(spec) > 1 and not spec[1].get("remote") and not spec[1].get("multiselect"):
        return cast("list[Any] | None", spec[1].get("options"))
    return None


def is_dynamic(spec: Any) -> bool:
    return isinstance(spec, list) and bool(spec) and isinstance(spec[0], str) and spec[0].startswith("COMFY_")


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
            further = [
                (f"{name}.{inner}", one) for option in chosen for inner, one in inputs_of({"input": option["inputs"]})
            ]
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
    listed = isinstance(spec, list) and bool(spec) and (isinstance(spec[0], list) or spec[0] == "COMBO")
    return listed and any(bool(value) and str(name).endswith("_upload") for name, value in settings_of(spec).items())


def kind_of(spec: list[Any]) -> str:
    """The type of an input as its widget has it: a list of choices is a COMBO."""
    return str(settings_of(spec).get("widgetType") or spec[0]) if isinstance(spec[0], str) else "COMBO"


def settings_of(spec: Any) -> dict[str, Any]:
    """Default, range, choices and the like; nothing where a server describes none."""
    return spec[1] if isinstance(spec, list) and len(spec) > 1 and isinstance(spec[1], dict) else {}


def default_of(spec: list[Any]) -> Any:
    """What a fresh widget holds; None where it has no choices."""
    settings = settings_of(spec)
    if "default" in settings:
        return settings["default"]
    options = spec[0] if isinstance(spec[0], list) else settings.get("options")
    if options:
        return options[0]["key"] if isinstance(options[0], dict) else options[0]
    return _EMPTY.get(kind_of(spec))
