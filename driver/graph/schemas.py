"""The one reader of a server's node lists (`/object_info`): inputs, widgets, choices and bounds of a node class."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .api import is_link


def flagged_seed(spec: Any) -> bool:
    return bool(settings_of(spec).get("control_after_generate"))


def inputs_by_name(schema: dict[str, Any]) -> dict[str, Any]:
    return {**required_of(schema), **(schema.get("input", {}).get("optional") or {})}


def required_of(schema: dict[str, Any]) -> dict[str, Any]:
    """Descriptions of the inputs that a prompt has to give."""
    return schema.get("input", {}).get("required") or {}


def outputs_of(schema: dict[str, Any]) -> list[str]:
    """Types of a class's outputs; a list of choices is a COMBO."""
    return [one if isinstance(one, str) else "COMBO" for one in schema.get("output", [])]


def output_names(schema: dict[str, Any]) -> list[str]:
    return [str(one) for one in schema.get("output_name") or outputs_of(schema)]


def output_of(schema: dict[str, Any], slot: int) -> str:
    """The type of one output; `*` where the server describes none."""
    outputs = outputs_of(schema)
    return outputs[slot] if slot < len(outputs) else "*"


def shows_results(schema: dict[str, Any]) -> bool:
    """Whether a class saves or shows something, for which ComfyUI runs a prompt."""
    return bool(schema.get("output_node"))


def costs_credits(schema: dict[str, Any]) -> bool:
    """Whether a class asks a paid service by ComfyUI's own account."""
    return bool(schema.get("api_node"))


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
    settings = settings_of(spec)
    if not _is_combo(spec) or (spec[0] == "COMBO" and (settings.get("remote") or settings.get("multiselect"))):
        return None
    return listed_in(spec)


def listed_in(spec: list[Any]) -> list[Any] | None:
    """All that a description lists, of whatever type it is."""
    return spec[0] if isinstance(spec[0], list) else settings_of(spec).get("options")


def may_be_left_out(spec: Any) -> bool:
    """Whether a required input is one of core's that stand for any number of others, or for none."""
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
        waiting = list(inputs_of_choice(name, spec, values.get(name))) + waiting


def inputs_of_choice(name: str, spec: list[Any], choice: Any) -> Iterator[tuple[str, list[Any]]]:
    """The inputs that come with what is chosen in an input, as `inputs_of`; none where it brings none."""
    if spec[0] == "COMFY_DYNAMICCOMBO_V3":
        for option in settings_of(spec).get("options", []):
            if option["key"] == choice:
                yield from ((f"{name}.{inner}", one) for inner, one in inputs_of({"input": option["inputs"]}))


def first_grown(name: str, spec: list[Any]) -> tuple[str, str] | None:
    """Name and type of the socket that an input which grows begins with; None of other inputs."""
    if spec[0] != "COMFY_AUTOGROW_V3":
        return None
    template = settings_of(spec)["template"]
    (kind,) = [one[0] for group in template["input"].values() for one in group.values()]
    return f"{name}.{template['prefix']}0", kind


def with_inputs(
    schema: dict[str, Any], changed: Callable[[dict[str, Any]], Iterable[tuple[str, Any]]]
) -> dict[str, Any]:
    """A schema with its inputs as `changed` gives them, a group at a time, in that order."""
    groups = {group: dict(changed(specs or {})) for group, specs in schema.get("input", {}).items()}
    return {**schema, "input": groups, "input_order": {group: list(specs) for group, specs in groups.items()}}


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
    uploads = (bool(value) and str(name).endswith("_upload") for name, value in settings_of(spec).items())
    return _is_combo(spec) and any(uploads)


def _is_combo(spec: Any) -> bool:
    return isinstance(spec, list) and bool(spec) and (isinstance(spec[0], list) or spec[0] == "COMBO")


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
    if options := listed_in(spec):
        return options[0]["key"] if isinstance(options[0], dict) else options[0]
    return _EMPTY.get(kind_of(spec))
