"""Which weights a graph names, what their licences allow, and what to take instead.

Called once a graph is bound, before anything is queued. It goes by the names in loaders' widgets and the model table;
what a file really holds, and which model answers behind a service's profile, it cannot know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comfy_nodes.core.graph_names import ENDPOINT_LOADER, weights_named
from comfy_nodes.core.records import Model
from comfy_nodes.core.weights.records import Policy, Weights
from comfy_nodes.core.weights.table import find, permitted

from ..errors import RunError
from .api import SOURCE_CLASS, Api

SHOWN = 3
"""Models that a refusal names. Ours."""


@dataclass(frozen=True)
class Named:
    """What a loader's widget names."""

    choice: str
    """As it stands there."""
    role: str
    weights: Weights | None
    """None where the model table has no such row."""
    revision: str | None
    """The one that the node names, else the table's."""


def named_in(api: Api) -> list[Named]:
    """The weights that a graph's nodes name, each once, in the graph's order."""
    found: dict[str, Named] = {}
    for node in api.values():
        for name, choice in weights_named(node):
            row = find(choice)
            revision = str(node["inputs"].get("revision") or "") or (row.revision if row else None)
            found.setdefault(choice, Named(choice, row.role if row else name, row, revision))
    return list(found.values())


def models_of(api: Api, contents: Mapping[str, str | None]) -> tuple[Model, ...]:
    """The same as entries of a row's `models`.

    Args:
        contents: SHA-256 by name, as the server told them.
    """
    return tuple(
        Model(
            role=one.role,
            name=one.choice,
            sha256=contents.get(one.choice),
            revision=one.revision,
            licence=one.weights.licence.name if one.weights else None,
        )
        for one in named_in(api)
    )


def check_licences(api: Api, policy: Policy) -> tuple[str, ...]:
    """Holds a graph's models against `--licence-policy`.

    Args:
        policy: `any`: nothing is refused. `commercial`: each model's licence must allow commercial use. `train`: each
            must allow other models to be trained on what it puts out.

    Returns:
        Lines to be said: with `any`, which models' outputs must not train others; else, what could not be checked.

    Raises:
        RunError: the policy rules a model out, or the table does not know it; one line with file, licence, clause and
            what to take instead.
    """
    named, task = named_in(api), _task(api)
    if policy == "any":
        bound = [one for one in named if one.weights is not None and one.weights.licence.trains != "yes"]
        line = f"LICENCE: this run's edits are bound by {_listed(bound, 'train')}{_instead(task, 'train')}"
        return (line,) if bound else ()
    refused = [one for one in named if one.weights is None or one.weights.licence.forbids(policy)]
    if refused:
        raise RunError(f"--licence-policy {policy}: {_listed(refused, policy)}{_instead(task, policy)}")
    if any(node["class_type"] == ENDPOINT_LOADER for node in api.values()):
        return (
            f"--licence-policy {policy} covers weights; read the terms of the services behind your profiles yourself",
        )
    return ()


def _task(api: Api) -> str:
    """What the graph is for, for which an allowed workflow is looked up; it need not be bound yet."""
    return next((str(node["inputs"].get("task")) for node in api.values() if node["class_type"] == SOURCE_CLASS), "")


def _listed(models: Sequence[Named], policy: Policy) -> str:
    """Models of one licence together, with the clause that a policy is about."""
    by_reason: dict[str, list[str]] = {}
    for one in models:
        reason = "not in the model table, its licence is unknown"
        if one.weights is not None:
            licence = one.weights.licence
            reason = f"{licence.name}: {licence.weights if policy == 'commercial' else licence.outputs}"
        by_reason.setdefault(reason, []).append(one.choice)
    lines = [f"{', '.join(names[:SHOWN])}{_more(len(names))} ({reason})" for reason, names in by_reason.items()]
    return "; ".join(lines)


def _more(count: int) -> str:
    return f" and {count - SHOWN} more" if count > SHOWN else ""


def _instead(task: str, policy: Policy) -> str:
    ways = [f"--workflow {route.workflow}" for route in permitted(task, policy)]
    return f"; free of that: {' or '.join(ways)}" if ways else ""
