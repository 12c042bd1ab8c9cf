"""Whether all stages of a recipe fit its servers: asked before anything is planned, and said for the whole recipe at once.

Weights, VLM profiles, nodes and settings are known where ComfyUI runs. The run asks here, and its dry run does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from comfy_nodes.core.taxonomy import EDITOR, GRAPHS

from ..comfyui.hosts import Host
from ..errors import RunError
from ..graph.file import AUTO
from ..inputs.quotas import wanted_kinds
from ..options import RunOptions
from ..pipeline.plan import check_kinds
from ..pipeline.workflow import Workflow, bound
from .file import Recipe, RecipeStage

_FETCHES = re.compile(r"; python install\.py --models (\S+) fetches what the model table knows")
"""What `graph.checks` says where weights lack that it knows."""


@dataclass(frozen=True)
class Fitting:
    """A stage that is to be held against servers."""

    stage: RecipeStage
    options: RunOptions
    """The stage's."""
    names: Sequence[str]
    """Of its workflows."""
    hosts: Sequence[Host]


def fit(stages: Sequence[Fitting]) -> list[list[Workflow]]:
    """The workflows of each stage on its servers.

    Raises:
        RunError: some do not fit. One line that names all stages, and one command that fetches what all of them lack.
    """
    found: list[list[Workflow]] = []
    faults: dict[str, list[str]] = {}
    words: dict[str, None] = {}
    for one in stages:
        try:
            found.append(bound(one.options, one.names, one.hosts))
            check_kinds(one.options, found[-1])
        except RunError as error:
            words.update(dict.fromkeys(word for listed in _FETCHES.findall(str(error)) for word in listed.split(",")))
            faults.setdefault(_FETCHES.sub("", str(error)), []).append(one.stage.name)
    if not faults:
        return found
    said = [
        f"{'stage' if len(names) == 1 else 'stages'} {', '.join(names)}: {fault}" for fault, names in faults.items()
    ]
    fetched = [f"python install.py --models {','.join(words)} fetches what the model table knows"] if words else []
    raise RunError("; ".join(said + fetched))


def workflow_names_of(recipe: Recipe, stage: RecipeStage) -> list[str]:
    """Names or paths of a stage's workflows; none where it is `auto` and no stage before it names kinds: then its input
    tells."""
    if stage.workflow != AUTO:
        return stage.workflow.split(",")
    before = recipe.stages[: recipe.stages.index(stage)]
    texts = [str(one.options["kinds"]) for one in before if "kinds" in one.options]
    graphs = {one.kind.graph for text in texts for one in wanted_kinds(text)}
    return [name for name in (*GRAPHS.values(), EDITOR) if name in graphs]
