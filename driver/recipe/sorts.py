"""What sort of stage a workflow makes: told by its file alone, before a server is asked. `checks.py` asks here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import RunError
from ..graph.api import (
    ANNOTATION_SINK,
    CHOOSING_CLASS,
    EDIT_SINK,
    INSTRUCTION_SINK,
    SECOND_CLASS,
    SINK_CLASSES,
    SOURCE_CLASS,
    TURN_CLASS,
    is_link,
)
from ..graph.file import PROFILES, WorkflowFile, find_workflow
from ..graph.saved import BYPASSED, MUTED, nodes_of, scopes_of

Sort = Literal["annotate", "write", "edit", "verify"]

_BOXES = ("object_boxes", "background_boxes")


@dataclass(frozen=True)
class Work:
    """What a workflow does."""

    sort: Sort
    task: str
    """The one in its source node; "" where another node fills it in."""
    grounds: bool = False
    """Whether it finds regions."""
    chooses: bool = False
    """Whether its writer chooses among kinds of edit, and so takes photos without regions."""
    dialogues: bool = False
    """Whether it makes the turns of dialogues, one at a time."""


def work_of(name: str, profile: str) -> Work:
    """
    Args:
        name: as `--workflow` takes one.
        profile: the stage's, or `auto`: a workflow does the same in each.

    Raises:
        RunError: there is no such workflow of this profile, or it is none that can be batched.
    """
    file = _file(name, profile)
    nodes = list(_of_api(file.api) if file.api is not None else _of_ui(file.ui or {}))
    sinks = [node for node in nodes if node.kind in SINK_CLASSES]
    sources = [node for node in nodes if node.kind == SOURCE_CLASS]
    for found, called in (
        (sinks, "Save Edit Pair, Save Annotation or Save Instructions"),
        (sources, "Load Edit Sample"),
    ):
        if len(found) != 1:
            raise RunError(f"workflow {file.path.name}: has {len(found) or 'no'} {called} that runs; it needs one")
    (sink,), (source,) = sinks, sources
    task = str(source.values.get("task", ""))
    if sink.kind == ANNOTATION_SINK:
        return Work("annotate", task, grounds=not sink.wired.isdisjoint(_BOXES))
    if sink.kind == INSTRUCTION_SINK:
        return Work("write", task, chooses=any(node.kind == CHOOSING_CLASS for node in nodes))
    if sink.kind != EDIT_SINK:
        raise RunError(
            f"workflow {file.path.name}: paints photos; run it alone (--workflow) and give the recipe what it leaves as --input"
        )
    roles = {str(node.values.get("role")) for node in nodes if node.kind == SECOND_CLASS}
    return Work("verify" if "edited" in roles else "edit", task, dialogues=any(one.kind == TURN_CLASS for one in nodes))


def _file(name: str, profile: str) -> WorkflowFile:
    wanted = PROFILES if profile == "auto" else (profile,)
    for one in wanted[:-1]:
        try:
            return WorkflowFile.read(find_workflow(name, one)[0])
        except RunError:
            continue
    return WorkflowFile.read(find_workflow(name, wanted[-1])[0])


@dataclass(frozen=True)
class _Node:
    kind: str
    values: Mapping[str, Any]
    """Of the widgets that matter here, by name."""
    wired: frozenset[str]
    """Inputs with a wire."""


_WIDGETS = {SOURCE_CLASS: ("image", "task"), SECOND_CLASS: ("image", "role")}
"""The first widgets of our nodes, in the order in which a UI file lists their values."""


def _of_api(api: Mapping[str, Mapping[str, Any]]) -> Iterator[_Node]:
    for node in api.values():
        inputs = node["inputs"]
        yield _Node(node["class_type"], inputs, frozenset(name for name, value in inputs.items() if is_link(value)))


def _of_ui(ui: dict[str, Any]) -> Iterator[_Node]:
    """Nodes that run, subgraphs' among them."""
    for scope in scopes_of(ui):
        for node in nodes_of(scope):
            if node.get("mode") in (MUTED, BYPASSED):
                continue
            kind, told = str(node.get("type")), node.get("widgets_values")
            names = _WIDGETS.get(kind, ())
            values = told if isinstance(told, dict) else dict(zip(names, told or (), strict=False))
            inputs = [one for one in node.get("inputs") or () if isinstance(one, dict)]
            wired = frozenset(str(one.get("name")) for one in inputs if one.get("link") is not None)
            yield _Node(kind, {name: value for name, value in values.items() if name not in wired}, wired)
