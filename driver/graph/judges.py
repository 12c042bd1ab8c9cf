"""Who may vouch for a graph's rows: its own judges, switched on for one run, and whether there is anybody at all.

`stage.py` asks when a workflow is opened. Nodes are found by class, wherever they stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from comfy_nodes.core.graph_names import ENDPOINT_LOADER
from comfy_nodes.core.tasks import task_named
from comfy_nodes.core.taxonomy import TAXONOMY, Kind
from comfy_nodes.core.verdicts.erasing import erased_from
from comfy_nodes.core.verdicts.makers import making_of
from comfy_nodes.core.verdicts.witnesses import TESTIFYING

from ..errors import RunError
from .api import EDIT_SINK, Api, ancestors, is_link
from .bound import BatchGraph
from .file import WorkflowFile
from .ui import UiGraph

JUDGES = frozenset({"EditPairsVerifyEdit", "EditPairsJudgeEdit"})
"""Nodes that ask a language model about an edit."""

WRITER = "EditPairsWriteInstruction"
WRITERS = frozenset({WRITER, "EditPairsWriteMotionInstruction"})
"""Nodes that have a language model write about pictures."""

DESCRIBERS = frozenset({"EditPairsTakeStep"})
"""Nodes that ask only where nobody knows what is to be seen; they may ask the judges' model."""

REWRITER = "EditPairsRewriteInstruction"

DETECTOR, READER, PIXELS = "EditPairsWitness", "EditPairsCheckText", "EditPairsVerifyPixels"
VLM = "EDITPAIRS_VLM"


def with_judges(file: WorkflowFile, profile: str, object_info: dict[str, Any]) -> WorkflowFile:
    """The workflow with its judges on and asking a profile; the file on disk stays as it is.

    Raises:
        RunError: it has no judges, or they ask somebody else than a service, or share whom they ask.
    """
    if file.ui is None:
        api = file.to_api(object_info)
        for loader in _asked(api, file):
            api[loader]["inputs"]["profile"] = profile
        return replace(file, api=api)

    def convert(ui: dict[str, Any]) -> Api:
        return replace(file, ui=ui).to_api(object_info)

    graph = UiGraph(file.ui)
    graph.switch_on(JUDGES, VLM)
    for loader in _asked(convert(graph.ui), file):
        graph.set(tuple(loader.split(":")), "profile", profile, convert)
    return replace(file, ui=graph.ui)


def _asked(api: Api, file: WorkflowFile) -> list[str]:
    """The loaders whose models a graph's judges ask."""
    judges = [node_id for node_id, node in api.items() if node["class_type"] in JUDGES]
    if not judges:
        raise RunError(
            f"--judge: {file.path.name} has no Verify Edit or Judge Edit to switch on; leave it out and judge the rows "
            "afterwards (--workflow verify --input OUTPUT/rejected), or wire one"
        )
    found: list[str] = []
    for node_id in judges:
        value = api[node_id]["inputs"].get("vlm")
        loader = value[0] if is_link(value) else ""
        where = f"--judge: {file.path.name}: {api[node_id]['class_type']} #{node_id}"
        if loader not in api or api[loader]["class_type"] != ENDPOINT_LOADER:
            raise RunError(f"{where} does not ask a service; wire Load VLM (endpoint profile) to it")
        if others := [
            f"{node['class_type']} #{other}"
            for other, node in api.items()
            if node["class_type"] not in JUDGES | DESCRIBERS
            and any(is_link(one) and one[0] == loader for one in node["inputs"].values())
        ]:
            raise RunError(f"{where} shares its Load VLM with {others[0]}; give the judges one of their own")
        found.append(loader)
    return list(dict.fromkeys(found))


def unvouched(graph: BatchGraph, file: WorkflowFile) -> str:
    """What to say before a run whose rows nobody in the graph can vouch for; empty where somebody can."""
    if graph.sink_class != EDIT_SINK:
        return ""
    name, making = file.path.name, making_of(graph.api, graph.sink)
    classes = {node["class_type"] for node in graph.api.values()}
    may = {*([PIXELS] if making == "classical" else []), *_witnesses(graph.task)}
    if classes & (JUDGES | may) or _asks_others(graph.api) or (making == "frames" and not classes & WRITERS):
        return ""
    off = "; ".join(file.switched_off(may))
    blind = "WILL BE UNSCORED, as nobody in it looks at the edits"
    if making == "classical":
        return f"{name}: ALL ROWS {blind}: {f'{off}: switch it on' if off else 'wire Verify Pixels to Save Edit Pair'}"
    judged = "--judge PROFILE switches its judges on"
    if not file.switched_off(JUDGES):
        judged = "wire Verify Edit or Judge Edit to Save Edit Pair"
    todo = f"{f'{off}: switch it on; ' if off else ''}{judged}"
    if "edited" in graph.seconds().values():
        return f"{name}: ALL ROWS WITHOUT A HAND LABEL {blind}: {todo}, and review.py takes labels"
    rows = "ALL ROWS" if making == "model" else "ALL ROWS whose words a model writes"
    later = ", or judge them later with --workflow verify and rejected/ of this run's folder as --input"
    if task_named(graph.task).turns > 1:
        later = "; a dialogue goes on behind a turn that is kept, so each will end with its first"
    return f"{name}: {rows} {blind}: {todo}{later}"


def looks(graph: BatchGraph) -> Counter[str]:
    """How many questions beside one from each node every VLM profile gets about a sample: where an edit may erase, its
    judges ask whether something new stands there, and one that was told by another who looked does not ask again."""
    asked: Counter[str] = Counter()
    if not (erased_from(graph.task) or _makes_any(graph.task)):
        return asked
    judges = {node_id for node_id, node in graph.api.items() if node["class_type"] in JUDGES}
    for node_id in judges:
        loader = graph.api[graph.api[node_id]["inputs"]["vlm"][0]]
        if loader["class_type"] == ENDPOINT_LOADER and not (ancestors(graph.api, node_id) - {node_id}) & judges:
            asked[str(loader["inputs"].get("profile", ""))] += 1
    return asked


def unasked(graph: BatchGraph, kinds: Sequence[Kind]) -> Counter[str]:
    """How many nodes ask each VLM profile nothing about samples of these kinds: who puts into plain words only what has to
    be thought about.

    Args:
        kinds: none where the samples are of the graph's own.
    """
    idle: Counter[str] = Counter()
    chosen = {str(node["inputs"].get("kind")) for node in graph.api.values()}
    known = [*kinds, *(TAXONOMY[name] for name in chosen if name in TAXONOMY)]
    if any(one.rubric == "reasoning" for one in known):
        return idle
    for node in graph.api.values():
        vlm = node["inputs"].get("vlm")
        if node["class_type"] == REWRITER and node["inputs"].get("kinds") == "reasoning" and is_link(vlm):
            idle[str(graph.api[vlm[0]]["inputs"].get("profile", ""))] += 1
    return idle


def _asks_others(api: Api) -> bool:
    """Whether scores come from a node of another pack, which may know anything."""
    return any(
        name.startswith("scores") and is_link(value) and not api[value[0]]["class_type"].startswith("EditPairs")
        for node in api.values()
        for name, value in node["inputs"].items()
    )


def _witnesses(task: str) -> tuple[str, ...]:
    """The nodes without a language model that can say something of all that a task's edits do: where things come and
    go a detector, and a reader of words, which may change as well."""
    if task in TESTIFYING or _makes_any(task):
        return (DETECTOR, READER)
    return (READER,) if task == "alter" else ()


def _makes_any(task: str) -> bool:
    """Whether edits of a task may be of several operations, and so erase."""
    return task == "hybrid" or task_named(task).open or task_named(task).turns > 1
