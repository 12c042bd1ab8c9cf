"""Which weights and services a graph names, what their licences allow, and what to take instead.

Called before anything is queued. It goes by the names in loaders' widgets and the model table, and by what operators say
of services in their profiles; what a file really holds, and which model answers behind a service, it cannot know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from comfy_nodes.core.graph_names import weights_named
from comfy_nodes.core.ingredients import Ingredients
from comfy_nodes.core.models import NO_MODELS, Model, each_once, said_to_train, service_licence
from comfy_nodes.core.weights.records import Policy, Weights
from comfy_nodes.core.weights.table import find, permitted

from ..errors import RunError
from .api import SOURCE_CLASS, Api

SERVICE = "language model"
"""The role of what answers behind a VLM profile; what it wrote or judged is in the row's own columns."""

READER_CLASSES = frozenset({"EditPairsReadText", "EditPairsCheckText"})

READER = Model(
    role="text reader",
    name="PP-OCRv6 small (rapidocr)",
    licence=service_licence({"licence": "Apache-2.0", "outputs_may_train": "yes"}),
)
"""Whose weights no loader names, as they come in rapidocr's own package."""

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


def models_of(api: Api, behind: Ingredients) -> tuple[Model, ...]:
    """Weights and services that a graph asks, as entries of a row's `models`.

    Args:
        behind: what the server told of the names in the graph.
    """
    weights = [
        Model(
            role=one.role,
            name=one.choice,
            sha256=behind.weights.get(one.choice),
            revision=one.revision,
            licence=one.weights.licence.name if one.weights else None,
        )
        for one in named_in(api)
    ]
    services = [
        Model(role=SERVICE, name=fields["model"], licence=service_licence(behind.terms.get(name, {})))
        for name, fields in sorted(behind.profiles.items())
        if fields
    ]
    readers = [READER] if any(node["class_type"] in READER_CLASSES for node in api.values()) else []
    return (*weights, *readers, *services)


def rests_on(api: Api, behind: Ingredients) -> list[str]:
    """Licences that a graph rests on, a line each, with what is under them."""
    files: dict[str, list[str]] = {}
    for one in named_in(api):
        loader = f" (loaded by {code.name}, {code.licence})" if one.weights and (code := one.weights.code) else ""
        files.setdefault(one.weights.licence.name if one.weights else "unknown", []).append(one.choice + loader)
    services = [f"{_terms(name, behind)}: VLM profile {name}" for name in sorted(behind.profiles)]
    if READER in models_of(api, behind):
        files.setdefault("Apache-2.0", []).append(READER.name)
    return [f"{licence}: {', '.join(names)}" for licence, names in files.items()] + services


def check_licences(api: Api, policy: Policy) -> tuple[str, ...]:
    """Holds a graph's models against `--licence-policy`.

    Args:
        policy: `any`: nothing is refused. `commercial`: each model's licence must allow commercial use. `train`: each
            must allow other models to be trained on what it puts out.

    Returns:
        Lines to be said: with `any`, which models' outputs must not train others.

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
    return ()


def check_services(behind: Ingredients, paid: Sequence[str], policy: Policy) -> tuple[str, ...]:
    """Holds the services that a graph asks against `--licence-policy`, by what their profiles say of their terms.

    Args:
        behind: what the server told of the names in the graph.
        paid: nodes of ComfyUI's partners, of whose terms nothing is known here.
        policy: as of `check_licences`.

    Returns:
        Lines to be said, as of `check_licences`.

    Raises:
        RunError: with `train`, terms are unknown or forbid it; one line that says what to do.
    """
    bound = [name for name in sorted(behind.profiles) if _may_train(name, behind) == "no"]
    if policy == "any" and bound:
        listed = ", ".join(f"VLM profile {name} ({_terms(name, behind)})" for name in bound)
        return (f"LICENCE: what {listed} answers must not train other models, as its operator says",)
    if policy == "commercial" and (behind.profiles or paid):
        return ("--licence-policy commercial covers weights; read the terms of the services that it asks yourself",)
    if policy != "train":
        return ()
    refused = [
        f"VLM profile {name} ({_terms(name, behind)}): its outputs_may_train is no; ask another" for name in bound
    ]
    if unsaid := [name for name in sorted(behind.profiles) if _may_train(name, behind) is None]:
        refused.append(
            f"of VLM profile {', '.join(unsaid)} nobody has said whether its outputs may train other models; read its "
            f'terms, then write licence = "..." and outputs_may_train = "yes" or "no" into [profiles.{unsaid[0]}] where '
            "ComfyUI runs (docs/vlm.md)"
        )
    if paid:
        refused.append(f"{', '.join(paid)}: the terms of the service behind it are not known here; leave it out")
    if refused:
        raise RunError(f"--licence-policy train: {'; '.join(refused)}")
    return ()


def unfit(models: Iterable[Model], policy: Policy) -> str:
    """Why a policy rules out what stages before this one made with these models; empty where it allows it."""
    if policy == "any":
        return ""
    return next(
        (why for one in each_once(models) if (why := _unfit(one.role, one.name, one.licence or "", policy))), ""
    )


@lru_cache(4096)
def _unfit(role: str, name: str, licence: str, policy: Policy) -> str:
    said, row = said_to_train(licence), find(name)
    if name in NO_MODELS or (said == "yes" and policy == "train"):
        return ""
    if row and (said != "no" or policy != "train"):
        named = Named(name, role, row, None)
        return f"was made with {_listed([named], policy)}" if row.licence.forbids(policy) else ""
    if policy == "train":
        why = f"{licence or 'licence unknown'}; state its terms where it was asked, and run its stage again"
        return f"was made with {name} ({licence if said else why})"
    return ""


def _may_train(name: str, behind: Ingredients) -> str | None:
    return behind.terms.get(name, {}).get("outputs_may_train")


def _terms(name: str, behind: Ingredients) -> str:
    """What is said of a profile's licence, in words."""
    return behind.terms.get(name, {}).get("licence") or "licence not said"


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
