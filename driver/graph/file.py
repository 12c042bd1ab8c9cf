"""A workflow file as something to submit: read, converted, addressed, bound to samples, checked.

Nodes are found by class, never by id, so an artist may rebuild the graph as they like. Conversion
from the UI format is comfy-cli's, which ComfyUI's makers keep.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import stat
import struct
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfy_nodes.core.weights.routes import ROUTES

from .. import bounded_json
from ..errors import RunError, about
from ..home import ROOT
from . import dynamic_prompts, page_nodes, page_rules
from .api import Api, guess
from .left_values import schemas_as_they_stand, with_their_classes, without_shown_values
from .saved import nodes_of, scopes_of, switched_off
from .ui import UiGraph

AUTO = "auto"
"""In the place of workflows: those that make what the input names."""

WORKFLOWS = ROOT / "workflows"

MAX_NODES = 5000
"""The most nodes of a graph; the largest that people share have some hundred. Ours."""

MAX_BYTES = 64 << 20
"""The largest workflow file. Ours."""


@dataclass(frozen=True)
class WorkflowFile:
    """A workflow as it lies on disk, in whichever of the three forms."""

    path: Path
    sha256: str
    ui: dict[str, Any] | None
    api: Api | None

    option: str = ""
    """The one that it was given by, such as `--workflow`; empty where it was given without any, or is a run's."""

    @classmethod
    def read(cls, path: Path, option: str = "") -> WorkflowFile:
        """
        Raises:
            RunError: missing, neither UI JSON, API JSON nor a PNG that ComfyUI wrote, or larger than any graph.
        """
        with about(f"{option} {path}".strip()):
            data = _bytes(path)
            ui, api = _forms(_content(path, data))
        return cls(path, hashlib.sha256(data).hexdigest(), ui, api, option)

    @property
    def named(self) -> str:
        """The file as it was given."""
        return f"{self.option} {self.path}".strip()

    def switched_off(self, classes: Set[str]) -> list[str]:
        """As of `saved.switched_off`; of a file in API format nothing is known."""
        return list(switched_off(self.ui, classes)) if self.ui else []

    def classes(self) -> frozenset[str]:
        """Classes of its nodes, subgraphs' too, whether they run or are switched off."""
        if self.api is not None:
            return frozenset(node["class_type"] for node in self.api.values())
        return frozenset(str(node.get("type")) for scope in scopes_of(self.ui or {}) for node in nodes_of(scope))

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
            ui = without_shown_values(self.ui, object_info)
            page_nodes.resolve(ui, object_info)
            api = with_their_classes(page_rules.convert(ui, schemas_as_they_stand(ui, object_info)))
            page = UiGraph(ui)
            page_nodes.name_packs(api, page, object_info)
            dynamic_prompts.settle(api, page, object_info)
        except (WorkflowConversionError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            # Of a graph that no ComfyUI saved, comfy-cli raises what comes.
            raise RunError(f"{self.named}: cannot be converted ({error})") from None
        finally:
            logger.removeHandler(errors)
            logger.propagate = True
        if errors.lines:
            raise RunError(f"{self.named}: cannot be converted ({errors.lines[0]})")
        return api


PROFILES = ("open", "full", "classical")
"""The most useful first. `open`: models whose outputs may train others; `full`: those of the papers; `classical`: none."""


def find_workflow(name: str, profile: str) -> tuple[Path, str]:
    """The file that `--workflow` means, and the profile that it is.

    A name is looked up in `workflows/`, for the profiles `open` and `classical` with `-open` or `-classical` behind it.
    What there is only once, such as `write`, is every profile's, and is told as `open` where its models may train others; the
    classical one is that which rests on no weights, as `annotate-text` finds regions, and what none can do is done by the open
    one. Anything with a folder in it, or any other existing
    file, is a path and taken as it is. Where a file here has a name of `workflows/`, nobody knows which one is meant.

    Args:
        profile: one of `PROFILES`.

    Returns:
        The path, and its profile, or `custom` for a path.

    Raises:
        RunError: there is no such workflow, none of this profile, or there are two.
    """
    given = Path(name)
    if given.name != name:
        return given, "custom"
    stem = name.removesuffix(".json")
    there = {one: path for one in PROFILES if (path := _of_profile(stem, one)).is_file()}
    if _is_somebodys(given) and there:
        other = stem if stem != name else f"{stem}.json"
        raise RunError(
            f"--workflow {name}: a file here and a workflow of EditPairs have that name: --workflow ./{name} takes the file, "
            f"--workflow {other} that of EditPairs"
        )
    if list(there) == ["full"]:
        return there["full"], _profile_named(stem) or ("open" if _may_train(stem) else "full")
    for one in (profile, "open", "full") if profile == "classical" else (profile,):
        if one in there:
            return there[one], one
    if given.is_file():
        return given, "custom"
    if there:
        takes = "; ".join(f"--profile {one} takes {path.name}" for one, path in there.items())
        raise RunError(f"--workflow {name}: {stem} has no graph of the profile {profile}: {takes}")
    known = sorted({path.stem.removesuffix("-classical").removesuffix("-open") for path in WORKFLOWS.glob("*.json")})
    raise RunError(
        f"--workflow {name}: no workflow called {name}{guess(stem, known)}; there are: {', '.join(known)}, or give a path"
    )


def _may_train(stem: str) -> bool:
    """Whether the graph of this very name rests on models, and other models may be trained on the outputs of all of them."""
    return any(one.workflow == stem and one.weights and one.allowed("train") for one in ROUTES)


def _of_profile(stem: str, profile: str) -> Path:
    if profile == "full":
        return WORKFLOWS / f"{stem}.json"
    named = WORKFLOWS / f"{stem}-{profile}.json"
    if profile != "classical" or named.is_file():
        return named
    # A stage's graph without weights may be called by what it does.
    others = (one.workflow for one in ROUTES if one.task == stem and not one.weights)
    return next((WORKFLOWS / f"{one}.json" for one in others), named)


def _profile_named(stem: str) -> str:
    """The profile that a file's own name says; empty where it says none."""
    ending = stem.rpartition("-")[2]
    return ending if ending in ("open", "classical") else ""


def passed_over(name: str, path: Path) -> str:
    """What is to be said where a name gave a workflow of ours and somebody's file here may have been meant, else nothing."""
    given = Path(f"{name}.json")
    if path.parent != WORKFLOWS or not _is_somebodys(given):
        return ""
    return f"--workflow {name} takes EditPairs' own {path.name}; the file here is --workflow ./{given}"


def _is_somebodys(given: Path) -> bool:
    """Whether a bare name is a file here, and here is not where our own are."""
    return given.is_file() and Path.cwd() != WORKFLOWS


class _CollectedErrors(logging.Handler):
    """comfy-cli logs a node that it cannot convert and leaves it out; a graph with a hole is not the user's graph."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _bytes(path: Path) -> bytes:
    try:
        facts = path.stat()
        if stat.S_ISREG(facts.st_mode) and facts.st_size <= MAX_BYTES:
            return path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot be read ({error.strerror})") from None
    raise RunError(f"not a file of at most {MAX_BYTES >> 20} MB; give a workflow that ComfyUI has saved")


def _content(path: Path, data: bytes) -> Any:
    text = _png_text(path) if data.startswith(b"\x89PNG") else data.decode("utf-8-sig", errors="replace")
    try:
        # Python writes NaN where a node's fingerprint was one; JSON has no such word.
        return bounded_json.loads(text, parse_constant=lambda _word: None)
    except ValueError as error:
        raise RunError(f"not JSON ({error}); save the workflow from ComfyUI again") from None


def _forms(content: Any) -> tuple[dict[str, Any] | None, Api | None]:
    """A file's content as the graph in UI format, or in API format."""
    if isinstance(content, dict) and isinstance(content.get("nodes"), list):
        _check_number(_nodes_of(content))
        return _with_unique_ids(content), None
    if isinstance(content, dict) and content and all(_is_api_node(node) for node in content.values()):
        _check_number(len(content))
        return None, content
    raise RunError("not a ComfyUI workflow (neither nodes and links, nor class_type and inputs)")


def _nodes_of(ui: dict[str, Any]) -> int:
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
                raise RunError(f"a subgraph holds itself, or is nested more than {bounded_json.MAX_DEPTH} deep")
            if kind not in known:
                known[kind] = count(graphs[kind], (*within, kind))
            total += known[kind]
        return total

    return count(ui, ())


def _with_unique_ids(ui: dict[str, Any]) -> dict[str, Any]:
    try:
        return page_rules.with_unique_ids(ui)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"cannot be converted ({error}); save the workflow from ComfyUI again") from None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _check_number(nodes: int) -> None:
    if nodes > MAX_NODES:
        raise RunError(f"has more than {MAX_NODES} nodes, its subgraphs' among them; split it")


def _is_api_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _png_text(path: Path) -> str:
    from PIL import Image

    try:
        with Image.open(path) as image:
            text = getattr(image, "text", {})
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        raise RunError("a damaged PNG") from None
    if "prompt" not in text:
        raise RunError("this PNG carries no workflow; ComfyUI embeds one unless --disable-metadata is set")
    return str(text["prompt"])
