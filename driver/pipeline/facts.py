"""What rows and reports say of the workflows that a run was made with."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..dataset.rows import RunFacts
from ..graph.licences import models_of
from ..home import VERSION
from .workflow import Workflow


def run_facts(workflows: Sequence[Workflow]) -> RunFacts:
    """What the rows of a run share, of several workflows for each task."""
    found = {workflow.graph.task: _facts(workflow) for workflow in workflows}
    first = next(iter(found.values()))
    if len(found) == 1:
        return first
    return replace(first, workflow=",".join(one.workflow for one in found.values()), others=found)


def _facts(workflow: Workflow) -> RunFacts:
    ingredients = workflow.agreement.ingredients
    return RunFacts(
        workflow.file.path.stem,
        workflow.file.sha256,
        workflow.graph.edit_sha256(),
        workflow.profile,
        ingredients.of(workflow.graph.edit_part()).sha256,
        models_of(workflow.graph.api, ingredients),
    )


def environment(workflows: Sequence[Workflow]) -> dict[str, Any]:
    """Versions that took part, for whoever wants to run it again."""
    first = workflows[0].agreement
    weights = {name: content for one in workflows for name, content in one.agreement.ingredients.weights.items()}
    return {
        "editpairs": VERSION,
        "comfyui": first.stats["system"]["comfyui_version"],
        "torch": first.stats["system"].get("pytorch_version", "unknown"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "devices": ", ".join(device["name"] for device in first.stats["devices"]),
        "workflow": ", ".join(one.file.path.name for one in workflows),
        "workflow_sha256": ", ".join(one.file.sha256 for one in workflows),
        "code_sha256": first.ingredients.code,
        "weights_sha256": ", ".join(f"{name} {content or 'unknown'}" for name, content in sorted(weights.items())),
        "graph_sha256": ", ".join(one.graph.edit_sha256() for one in workflows),
    }
