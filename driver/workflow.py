"""A workflow file as something to submit: read, converted, addressed, bound to samples, checked.

Nodes are found by class, never by id, so an artist may rebuild the graph as they like. Conversion
from the UI format is comfy-cli's, which ComfyUI's makers keep.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import logging
import math
import stat
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from comfy_nodes.core.graph_names import ENDPOINT_LOADER
from comfy_nodes.core.model_table import fetch_command, missing_model

from . import bounded_json, dynamic_prompts, page_nodes, page_rules
from .failures import RunError
from .fresh_nodes import is_upload
from .left_values import schemas_as_they_stand, with_their_classes
from .ui_graph import UiGraph, without_shown_values

Api = dict[str, dict[str, Any]]
"""ComfyUI's API format: {node id: {class_type, inputs, _meta}}; an input is a value or [node id, output]."""

SOURCE_CLASS = "EditPairsLoadSample"
SECOND_CLASS = "EditPairsLoadSecondImage"
PROTECT_CLASS = "EditPairsProtectSubjects"
RESTATER = "EditPairsVerifyEdit"
"""The verifier whose words become the instruction."""
EDIT_SINK = "EditPairsSavePair"
ANNOTATION_SINK = "EditPairsSaveAnnotation"
INSTRUCTION_SINK = "EditPairsSaveInstructions"
SINK_CLASSES = frozenset({EDIT_SINK, ANNOTATION_SINK, INSTRUCTION_SINK})
AUTO = "auto"
"""In the place of workflows: those that make what the input names."""

WORKFLOWS = Path(__file__).resolve().parent.parent / "workflows"

MAX_NODES = 5000
"""The most nodes of a graph; the largest that people share have some hundred. Ours."""

MAX_BYTES = 64 << 20
"""The largest workflow file. Ours."""

SAMPLE_INPUTS = ("image", "annotation", "region_index", "class_name", "instruction", "seed")
"""What the driver fills into the source node for each sample."""

VLM_INPUTS = ("run", "budget_usd")
"""What the driver fills into nodes that ask a service: whose account a call is booked on, and what it may cost."""

_DRIVEN = {
    SOURCE_CLASS: SAMPLE_INPUTS,
    SECOND_CLASS: ("image",),
    ENDPOINT_LOADER: VLM_INPUTS,
    **{sink: ("folder",) for sink in SINK_CLASSES},
}


@dataclass(frozen=True)
class WorkflowFile:
    """A workflow as it lies on disk, in whichever of the three forms."""

    path: Path
    sha256: str
    ui: dict[str, Any] | None
    api: Api | None

    @classmethod
    def read(cls, path: Path) -> WorkflowFile:
        """
        Raises:
            RunError: missing, neither UI JSON, API JSON nor a PNG that ComfyUI wrote, or larger than any graph.
        """
        data = _bytes(path)
        text = _png_text(path) if data.startswith(b"\x89PNG") else data.decode("utf-8-sig", errors="replace")
        try:
            # Python writes NaN where a node's fingerprint was one; JSON has no such word.
            content = bounded_json.loads(text, parse_constant=lambda _word: None)
        except ValueError as error:
            raise RunError(f"{path}: not JSON ({error}); save the workflow from ComfyUI again") from None
        digest = hashlib.sha256(data).hexdigest()
        if isinstance(content, dict) and isinstance(content.get("nodes"), list):
            _check_number(path, _nodes_of(content, path))
            return cls(path=path, sha256=digest, ui=_with_unique_ids(content, path), api=None)
        if isinstance(content, dict) and content and all(_is_api_node(node) for node in content.values()):
            _check_number(path, len(content))
            return cls(path=path, sha256=digest, ui=None, api=content)
        raise RunError(f"{path}: not a ComfyUI workflow (neither nodes and links, nor class_type and inputs)")

    def to_api(self, object_info: dict[str, Any]) -> Api:
        """The graph in API format, without the page's own nodes, and past all that only pass on.

        Nodes that the server lacks are there with their wires alone; whether a sink needs them is for `BatchGraph.bind`.
        Text with alternatives stands as it was typed, and is drawn for each sample.

        Raises:
            RunError: comfy-cli cannot convert the graph.
        """
        if self.api is not None:
            return copy.deepcopy(self.api)
        assert self.ui is not None
        # Imported late: it takes longer than printing the help.
        from comfy_cli.workflow_to_api import WorkflowConversionError

        errors = _CollectedErrors()
        logger = logging.getLogger("comfy_cli.workflow_to_api")
        logger.addHandler(errors)
        logger.propagate = False
        try:
            ui = page_nodes.resolved(without_shown_values(self.ui, object_info), object_info)
            api = with_their_classes(page_rules.convert(ui, schemas_as_they_stand(ui, object_info)))
            page = UiGraph(ui)
            page_nodes.name_packs(api, page, object_info)
            dynamic_prompts.settle(api, page, object_info)
        except (WorkflowConversionError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            # Of a graph that no ComfyUI saved, comfy-cli raises what comes.
            raise RunError(f"{self.path}: cannot be converted ({error})") from None
        finally:
            logger.removeHandler(errors)
            logger.propagate = True
        if errors.lines:
            raise RunError(f"{self.path}: cannot be converted ({errors.lines[0]})")
        return api


def find_workflow(name: str, profile: str) -> tuple[Path, str]:
    """The file that `--workflow` means, and the profile that it is.

    A name is looked up in `workflows/`, for the classical profile with `-classical` behind it; anything
    with a folder in it, or any other existing file, is a path and taken as it is. Where a file here has a
    name of `workflows/`, nobody knows which one is meant.

    Args:
        profile: `full` or `classical`.

    Returns:
        The path, and `full`, `classical`, or `custom` for a path.

    Raises:
        RunError: there is no such workflow, or there are two.
    """
    given = Path(name)
    if given.name != name:
        return given, "custom"
    stem = name.removesuffix(".json")
    full, classical = WORKFLOWS / f"{stem}.json", WORKFLOWS / f"{stem}-classical.json"
    if _is_somebodys(given) and (full.is_file() or classical.is_file()):
        other = stem if stem != name else f"{stem}.json"
        raise RunError(
            f"--workflow {name}: a file here and a workflow of EditPairs have that name: --workflow ./{name} takes the file, "
            f"--workflow {other} that of EditPairs"
        )
    if profile == "classical" and classical.is_file():
        return classical, "classical"
    if full.is_file():
        return full, "classical" if stem.endswith("-classical") else "full"
    if given.is_file():
        return given, "custom"
    if classical.is_file():
        raise RunError(f"{stem} has no model graph yet: --profile classical takes {classical.name}, without weights")
    known = sorted({path.stem.removesuffix("-classical") for path in WORKFLOWS.glob("*.json")})
    raise RunError(f"no workflow called {name}{_guess(stem, known)}; there are: {', '.join(known)}, or give a path")


def passed_over(name: str, path: Path) -> str:
    """What is to be said where a name gave a workflow of ours and somebody's file here may have been meant, else nothing."""
    given = Path(f"{name}.json")
    if path.parent != WORKFLOWS or not _is_somebodys(given):
        return ""
    return f"--workflow {name} takes EditPairs' own {path.name}; the file here is --workflow ./{given}"


def _is_somebodys(given: Path) -> bool:
    """Whether a bare name is a file here, and here is not where our own are."""
    return given.is_file() and Path.cwd() != WORKFLOWS


@dataclass(frozen=True)
class BatchGraph:
    """A graph with one source and one sink, ready to take samples."""

    api: Api
    source: str
    sink: str
    seeds: tuple[str, ...]
    """Addresses of seed inputs elsewhere in the graph that get the sample's seed."""
    left_out: tuple[str, ...]
    """Nodes that no sink needs, as `Class #id`."""
    drawn: tuple[tuple[str, str], ...] = ()
    """Texts with alternatives, which are drawn for each sample, as node and input."""

    @classmethod
    def bind(cls, api: Api, object_info: dict[str, Any]) -> BatchGraph:
        """Finds the end nodes and keeps what the sink needs.

        Raises:
            RunError: not exactly one source and one sink, or they aren't connected.
        """
        sink = _only(api, SINK_CLASSES, "Save Edit Pair (or Save Annotation, or Save Instructions)")
        source = _only(api, frozenset({SOURCE_CLASS}), "Load Edit Sample")
        needed = ancestors(api, sink)
        if source not in needed:
            raise RunError(f"{api[sink]['class_type']} #{sink} does not depend on Load Edit Sample: wire them")
        kept = {node_id: node for node_id, node in api.items() if node_id in needed}
        left_out = tuple(f"{node['class_type']} #{node_id}" for node_id, node in api.items() if node_id not in needed)
        check(kept, object_info)
        seeds = tuple(f"#{node_id}.{name}" for node_id, name in seed_inputs(kept, object_info) if node_id != source)
        drawn = tuple((one, name) for one in _order(kept, sink) for name in dynamic_prompts.marks(kept[one]))
        return cls(kept, source, sink, seeds, left_out, drawn)

    @property
    def task(self) -> str:
        """The task that the source node names."""
        return str(self.api[self.source]["inputs"]["task"])

    @property
    def words(self) -> str | None:
        """The instruction in the source node, where no node between source and sink writes one; None where one may."""
        inputs = self.api[self.sink]["inputs"]
        given = self.api[self.source]["inputs"].get("instruction", "")
        origin = inputs.get("sample")
        while is_link(origin) and self.api[origin[0]]["class_type"] == SECOND_CLASS:
            origin = self.api[origin[0]]["inputs"].get("sample")
        straight = is_link(origin) and origin[0] == self.source and not inputs.get("instruction")
        return given.strip() if self.sink_class == EDIT_SINK and straight and isinstance(given, str) else None

    @property
    def sink_class(self) -> str:
        """`EDIT_SINK`, `ANNOTATION_SINK` or `INSTRUCTION_SINK`: what a finished prompt gives."""
        return str(self.api[self.sink]["class_type"])

    def seconds(self) -> dict[str, str]:
        """Nodes that load a picture which belongs to the photo: role by node id."""
        return {
            node_id: str(node["inputs"]["role"])
            for node_id, node in self.api.items()
            if node["class_type"] == SECOND_CLASS and not is_link(node["inputs"].get("image"))
        }

    @property
    def keeps_off(self) -> bool:
        """Whether it needs the masks of what is not edited."""
        return any(node["class_type"] == PROTECT_CLASS for node in self.api.values())

    def prompt(self, values: dict[str, Any], seed: int, folder: str, seconds: Mapping[str, str] | None = None) -> Api:
        """The graph for one sample.

        Args:
            values: the source node's inputs (`SAMPLE_INPUTS` but the seed); inputs that the artist wired stay wired.
            seed: goes into the source node and every free seed; alternatives are drawn with it.
            folder: where the sink saves.
            seconds: uploaded pictures that belong to the photo, by role.
        """
        filled = copy.deepcopy(self.api)
        inputs = filled[self.source]["inputs"]
        for name, value in {**values, "seed": seed}.items():
            if not is_link(inputs.get(name)):
                inputs[name] = value
        for node_id, role in self.seconds().items():
            if seconds and role in seconds:
                filled[node_id]["inputs"]["image"] = seconds[role]
        for address in self.seeds:
            node_id, name = address.removeprefix("#").split(".", 1)
            filled[node_id]["inputs"][name] = seed
        for (node_id, name), text in self._draw(seed):
            filled[node_id]["inputs"][name] = text
            filled[node_id]["_meta"].pop(dynamic_prompts.DRAWN, None)
        filled[self.sink]["inputs"]["folder"] = folder
        return filled

    def _draw(self, seed: int) -> Iterator[tuple[tuple[str, str], str]]:
        """What is drawn with a seed, by node and input. Ids play no part in it, as they play none in the stage hash."""
        met: Counter[str] = Counter()
        for node_id, name in self.drawn:
            text = self.api[node_id]["inputs"][name]
            yield (node_id, name), dynamic_prompts.draw(text, seed, met[text])
            met[text] += 1

    def booked(self, run: str, budget_usd: float | None) -> BatchGraph:
        """The graph with its calls to services booked on a run's account.

        Args:
            budget_usd: the most that they may cost together; None for no bound.
        """
        api = copy.deepcopy(self.api)
        for node in api.values():
            if node["class_type"] == ENDPOINT_LOADER:
                node["inputs"].update(run=run, budget_usd=budget_usd or 0.0)
        return replace(self, api=api)

    def profiles(self) -> dict[str, int]:
        """How many nodes ask each VLM profile about every sample."""
        asked: Counter[str] = Counter()
        for node in self.api.values():
            for value in node["inputs"].values():
                if is_link(value) and self.api[value[0]]["class_type"] == ENDPOINT_LOADER:
                    asked[str(self.api[value[0]]["inputs"].get("profile", ""))] += 1
        return dict(asked)

    def canonical(self) -> list[Any]:
        """The graph without ids, titles and what differs from sample to sample: what the stage hash is made of."""
        return _canonical(self.api, self.sink, self.seeds)

    def edit_sha256(self) -> str:
        """Hash of the part that decides pixels and words; other verifiers and their thresholds are not in it."""
        part = self.edit_part()
        others = [_canonical(part, node_id, self.seeds) for node_id in part if node_id in self._restaters()]
        return _digest([_canonical(part, self.sink, self.seeds), *sorted(others, key=_digest)])

    def edit_part(self) -> Api:
        """The nodes that decide pixels and words: what the sink's image and words depend on, and who restates these."""
        part = {**self.api, self.sink: _unscored(self.api[self.sink])}
        kept = ancestors(part, self.sink)
        for node_id in self._restaters():
            if node_id not in kept:
                part[node_id] = _unscored(part[node_id])
        kept = kept.union(*(ancestors(part, node_id) for node_id in self._restaters()))
        return {node_id: node for node_id, node in part.items() if node_id in kept}

    def _restaters(self) -> list[str]:
        return [node_id for node_id, node in self.api.items() if node["class_type"] == RESTATER]


def _unscored(node: dict[str, Any]) -> dict[str, Any]:
    """A node without what verifiers before it found."""
    return {**node, "inputs": {name: one for name, one in node["inputs"].items() if not name.startswith("scores")}}


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
        spec = _inputs_of(node["class_type"], object_info).get(name)
        if spec is None:
            known = sorted(_inputs_of(node["class_type"], object_info))
            raise RunError(f"--set {setting}: {node['class_type']} has no input {name}{_guess(name, known)}")
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


def check(api: Api, object_info: dict[str, Any]) -> None:
    """Compares a graph with the server's nodes: classes, required inputs, combo values, links.

    Raises:
        RunError: with every finding in one line.
    """
    findings: list[str] = []
    missing: list[str] = []
    for node_id, node in api.items():
        where = f"{node['class_type']} #{node_id}"
        if node["class_type"] not in object_info:
            findings.append(page_nodes.missing(node_id, node) + _guess(node["class_type"], list(object_info)))
            continue
        required = object_info[node["class_type"]].get("input", {}).get("required", {})
        for name, spec in required.items():
            if name not in node["inputs"]:
                if not _is_dynamic(spec):
                    findings.append(f"{where}: input {name} is missing")
                continue
            options = _choices(node, spec)
            value = node["inputs"][name]
            findings += [f"{where}: {name} {why}" for why in _out_of_range(value, spec)]
            elsewhere = is_upload(spec) or name in driven(node["class_type"]) or is_link(value)
            if options is not None and not elsewhere and value not in options:
                missing.append(str(value))
                guess = _guess(str(value), [str(o) for o in options])
                findings.append(f"{where}: {name} {value!r} is not there{guess}{missing_model(str(value))}")
        findings += [
            f"{where}: {name} is wired to node #{value[0]}, which is not there"
            for name, value in node["inputs"].items()
            if is_link(value) and value[0] not in api
        ]
    task = next((str(node["inputs"].get("task")) for node in api.values() if node["class_type"] == SOURCE_CLASS), "")
    if command := fetch_command(missing, task):
        findings.append(f"{command} fetches what the model table knows")
    if findings:
        raise RunError("the workflow does not fit the server: " + "; ".join(findings))


def ancestors(api: Api, node_id: str) -> set[str]:
    """The node and all that it depends on."""
    found: set[str] = set()
    waiting = [node_id]
    while waiting:
        current = waiting.pop()
        if current in found or current not in api:
            continue
        found.add(current)
        waiting += [value[0] for value in api[current]["inputs"].values() if is_link(value)]
    return found


def is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


class _CollectedErrors(logging.Handler):
    """comfy-cli logs a node that it cannot convert and leaves it out; a graph with a hole is not the user's graph."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _only(api: Api, classes: frozenset[str], display: str) -> str:
    found = [node_id for node_id, node in api.items() if node["class_type"] in classes]
    if len(found) == 1:
        return found[0]
    if not found:
        raise RunError(f"the workflow has no {display} node: a graph needs one to be batched")
    raise RunError(f"the workflow has {len(found)} {display} nodes (#{', #'.join(found)}): keep one of them")


def seed_inputs(api: Api, object_info: dict[str, Any]) -> list[tuple[str, str]]:
    """Unwired inputs that the server flags as changing by themselves and that are seeds, as node and input."""
    return [
        (node_id, name)
        for node_id, node in api.items()
        for name, spec in _inputs_of(node["class_type"], object_info).items()
        if _flagged_seed(spec) and name in node["inputs"] and not is_link(node["inputs"][name])
        if _is_seed(api, node_id, name)
    ]


def _is_seed(api: Api, node_id: str, name: str) -> bool:
    """Whether a number that may change by itself is a seed: it is called so, or is handed on to what is called so.
    Core's primitive numbers carry the same flag, whatever they count."""
    if "seed" in name:
        return True
    into = [
        one
        for other in api.values()
        for one, value in other["inputs"].items()
        if is_link(value) and value[0] == node_id
    ]
    return bool(into) and all("seed" in one for one in into)


def _flagged_seed(spec: Any) -> bool:
    return (
        isinstance(spec, list)
        and len(spec) > 1
        and isinstance(spec[1], dict)
        and bool(spec[1].get("control_after_generate"))
    )


def _inputs_of(class_type: str, object_info: dict[str, Any]) -> dict[str, Any]:
    groups = object_info[class_type].get("input", {}) if class_type in object_info else {}
    return {**groups.get("required", {}), **groups.get("optional", {})}


def _out_of_range(value: Any, spec: Any) -> list[str]:
    """What is wrong with a number, if anything."""
    if is_link(value) or not isinstance(spec, list) or spec[0] not in ("INT", "FLOAT") or len(spec) < 2:
        return []
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return [f"{value!r} is not a number"]
    least, most = spec[1].get("min", -math.inf), spec[1].get("max", math.inf)
    return [] if least <= value <= most else [f"{value} is not between {least} and {most}"]


def driven(class_type: str) -> tuple[str, ...]:
    """Inputs of a class that the driver fills in."""
    return _DRIVEN.get(class_type, ())


def _choices(node: dict[str, Any], spec: Any) -> list[Any] | None:
    """What a combo of this node may hold; None where that is open."""
    return (page_rules.choices(node) or None) if node["class_type"] == page_rules.CUSTOM_COMBO else options_of(spec)


def options_of(spec: Any) -> list[Any] | None:
    """A combo's choices; None for other inputs and for lists that the browser fetches by itself."""
    if not isinstance(spec, list) or not spec:
        return None
    if isinstance(spec[0], list):
        return spec[0]
    if spec[0] == "COMBO" and len(spec) > 1 and not spec[1].get("remote") and not spec[1].get("multiselect"):
        return cast("list[Any] | None", spec[1].get("options"))
    return None


def _is_dynamic(spec: Any) -> bool:
    return isinstance(spec, list) and bool(spec) and isinstance(spec[0], str) and spec[0].startswith("COMFY_")


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


def title_of(node: dict[str, Any]) -> str:
    """What the artist called the node; its class where the file does not say."""
    meta = node.get("_meta")
    return str((meta.get("title") if isinstance(meta, dict) else None) or node["class_type"])


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
        raise RunError(f"--set {setting}: {text!r} is not a choice{_guess(text, [str(o) for o in options])}")
    return text


def _canonical(api: Api, sink: str, seeds: tuple[str, ...]) -> list[Any]:
    """Nodes in the order in which they are reached from the sink, or another node, links as positions in that order.

    What the driver fills in is left out: sample inputs, the sink's folder, accounts of services, and free seeds.
    """
    order = _order(api, sink)
    nodes: list[Any] = [None] * len(order)
    for node_id, place in order.items():
        node = api[node_id]
        skipped = {address.split(".", 1)[1] for address in seeds if address.startswith(f"#{node_id}.")}
        skipped |= set(driven(node["class_type"]))
        nodes[place] = [
            node["class_type"],
            {
                name: ["link", order[value[0]], value[1]] if is_link(value) else _plain(value)
                for name, value in sorted(node["inputs"].items())
                if is_link(value) or name not in skipped
            },
        ]
    return nodes


def _order(api: Api, sink: str) -> dict[str, int]:
    """The sink's place among the nodes that it depends on, and theirs: a node stands behind what its inputs come from."""

    def origins(node_id: str) -> Iterator[str]:
        return (value[0] for _name, value in sorted(api[node_id]["inputs"].items()) if is_link(value))

    order: dict[str, int] = {}
    seen, path = {sink}, [(sink, origins(sink))]
    while path:
        node_id, rest = path[-1]
        if (origin := next(rest, None)) is None:
            path.pop()
            order[node_id] = len(order)
        elif origin not in seen:
            seen.add(origin)
            path.append((origin, origins(origin)))
    return order


def _plain(value: Any) -> Any:
    """A widget's value as ComfyUI takes it: it makes 1.0 of a FLOAT's 1, and both are the same graph."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        facts = path.stat()
        if stat.S_ISREG(facts.st_mode) and facts.st_size <= MAX_BYTES:
            return path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from None
    raise RunError(f"{path}: not a file of at most {MAX_BYTES >> 20} MB; give a workflow that ComfyUI has saved")


def _nodes_of(ui: dict[str, Any], path: Path) -> int:
    """How many nodes a graph has when its subgraphs are written out."""
    definitions = ui.get("definitions")
    subgraphs = _objects(definitions.get("subgraphs")) if isinstance(definitions, dict) else []
    graphs = {one["id"]: one for one in subgraphs if isinstance(one.get("id"), str)}
    known: dict[str, int] = {}

    def count(graph: dict[str, Any], within: tuple[str, ...]) -> int:
        total = 0
        for node in _objects(graph.get("nodes")):
            kind = node.get("type")
            if not isinstance(kind, str) or kind not in graphs:
                total += 1
                continue
            if kind in within or len(within) >= bounded_json.MAX_DEPTH:
                raise RunError(f"{path}: a subgraph holds itself, or is nested more than {bounded_json.MAX_DEPTH} deep")
            if kind not in known:
                known[kind] = count(graphs[kind], (*within, kind))
            total += known[kind]
        return total

    return count(ui, ())


def _with_unique_ids(ui: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        return page_rules.with_unique_ids(ui)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path}: cannot be converted ({error}); save the workflow from ComfyUI again") from None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _check_number(path: Path, nodes: int) -> None:
    if nodes > MAX_NODES:
        raise RunError(f"{path}: has more than {MAX_NODES} nodes, its subgraphs' among them; split it")


def _is_api_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _png_text(path: Path) -> str:
    from PIL import Image

    try:
        with Image.open(path) as image:
            text = getattr(image, "text", {})
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        raise RunError(f"{path}: a damaged PNG") from None
    if "prompt" not in text:
        raise RunError(f"{path}: this PNG carries no workflow; ComfyUI embeds one unless --disable-metadata is set")
    return str(text["prompt"])


def _guess(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
