"""Whether a graph fits the server that is to run it, and settings (`--set`) that people give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_nodes.core.graph_names import weights_named
from comfy_nodes.core.weights.table import Lacking, fetch_command, missing_model

from ..errors import RunError
from . import dynamic_prompts, page_nodes, page_rules
from .api import SOURCE_CLASS, Api, driven, guess, is_link, title_of
from .schemas import inputs_by_name, is_upload, may_be_left_out, options_of, out_of_range, required_of


def apply_settings(api: Api, settings: list[str], object_info: dict[str, Any]) -> None:
    """Carries out `--set ADDRESS=VALUE` in place: `@Title.input`, `#id.input` or `Class.input`.

    A node inside a subgraph is addressed by its own title, or by its expanded id.

    Raises:
        RunError: malformed, no node or several match, no such input, or it is wired.
    """
    for setting in settings:
        address, equals, value = setting.partition("=")
        node_part, dot, name = address.rpartition(".")
        if not (equals and dot and node_part and name):
            raise RunError(f"--set {setting}: write it as @Title.input=value, #id.input=value or Class.input=value")
        node_id = _addressed(api, node_part, setting)
        node = api[node_id]
        specs = inputs_by_name(object_info.get(node["class_type"], {}))
        spec = specs.get(name)
        if spec is None:
            known = sorted(specs)
            raise RunError(f"--set {setting}: {node['class_type']} has no input {name}{guess(name, known)}")
        if is_link(node["inputs"].get(name)):
            raise RunError(f"--set {setting}: this input is wired to another node; unwire it or set it there")
        if name in driven(node["class_type"]):
            raise RunError(f"--set {setting}: the driver fills in {name} for each sample")
        if dynamic_prompts.is_dynamic(spec):
            dynamic_prompts.put(node, name, value)
        else:
            node["inputs"][name] = _typed(value, spec, _choices(node, spec), setting)
        if node["class_type"] == page_rules.CUSTOM_COMBO:
            page_rules.choose(node, node["inputs"][name])


def check(api: Api, object_info: dict[str, Any], together: Sequence[Api] = ()) -> None:
    """Compares a graph with the server's nodes: classes, required inputs, combo values, links.

    Args:
        together: all graphs of its run, so that one command fetches what they all lack.

    Raises:
        RunError: with every finding in one line.
    """
    findings: list[str] = []
    for node_id, node in api.items():
        where = f"{node['class_type']} #{node_id}"
        if node["class_type"] not in object_info:
            findings.append(page_nodes.missing(node_id, node) + guess(node["class_type"], list(object_info)))
            continue
        for name, spec in required_of(object_info[node["class_type"]]).items():
            if name not in node["inputs"]:
                if not may_be_left_out(spec):
                    findings.append(f"{where}: input {name} is missing")
                continue
            value = node["inputs"][name]
            findings += [f"{where}: {name} {why}" for why in out_of_range(value, spec)]
            if (options := _choices_without(node, name, spec)) is not None:
                close = guess(str(value), [str(o) for o in options])
                findings.append(f"{where}: {name} {value!r} is not there{close}{missing_model(str(value))}")
        findings += [
            f"{where}: {name} is wired to node #{value[0]}, which is not there"
            for name, value in node["inputs"].items()
            if is_link(value) and value[0] not in api
        ]
    if fetch_command([_lacking(api, object_info)]):
        command = fetch_command(_lacking(one, object_info) for one in together or (api,))
        findings.append(f"{command} fetches what the model table knows")
    if findings:
        raise RunError("the workflow does not fit the server: " + "; ".join(findings))


def _lacking(api: Api, object_info: dict[str, Any]) -> Lacking:
    files = [
        str(node["inputs"][name])
        for node in api.values()
        for name, spec in required_of(object_info.get(node["class_type"], {})).items()
        if name in node["inputs"] and _choices_without(node, name, spec) is not None
    ]
    task = next((str(node["inputs"].get("task")) for node in api.values() if node["class_type"] == SOURCE_CLASS), "")
    return Lacking(files, task, [choice for node in api.values() for _, choice in weights_named(node)])


def _choices_without(node: dict[str, Any], name: str, spec: Any) -> list[Any] | None:
    """The choices of a combo, where its value is none of them."""
    options, value = _choices(node, spec), node["inputs"][name]
    elsewhere = is_upload(spec) or name in driven(node["class_type"]) or is_link(value)
    return options if options is not None and not elsewhere and value not in options else None


def _choices(node: dict[str, Any], spec: Any) -> list[Any] | None:
    """What a combo of this node may hold; None where that is open."""
    return (page_rules.choices(node) or None) if node["class_type"] == page_rules.CUSTOM_COMBO else options_of(spec)


def _addressed(api: Api, node_part: str, setting: str) -> str:
    if node_part.startswith("#"):
        found = [node_id for node_id in api if node_id == node_part[1:]]
    elif node_part.startswith("@"):
        found = [node_id for node_id, node in api.items() if title_of(node) == node_part[1:]]
    else:
        found = [node_id for node_id, node in api.items() if node["class_type"] == node_part]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(
        f"#{node_id} @{title_of(node)} ({node['class_type']})"
        for node_id, node in api.items()
        if not found or node_id in found
    )
    how_many = "no node matches" if not found else f"{len(found)} nodes match"
    raise RunError(f"--set {setting}: {how_many}; candidates: {listed}")


def _typed(text: str, spec: Any, options: list[Any] | None, setting: str) -> Any:
    kind = spec[0] if isinstance(spec, list) and spec else None
    try:
        if kind == "INT":
            return int(text)
        if kind == "FLOAT":
            return float(text)
        if kind == "BOOLEAN":
            return {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError):
        raise RunError(f"--set {setting}: {text!r} is not of type {kind}") from None
    if options is not None:
        for option in options:
            if str(option) == text:
                return option
        raise RunError(f"--set {setting}: {text!r} is not a choice{guess(text, [str(o) for o in options])}")
    return text
