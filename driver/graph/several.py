"""Several edits of a sample in one go: one latent, as many noises, and a record for each picture.

Text, reference and photo are encoded once for all of them. `pipeline/workflow.py` asks for it when a graph is opened; what
follows the sampler takes a batch by itself, down to `Save Edit Pair`. Samplers are found by what they take and give.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import RunError
from .api import Api, ancestors, is_link
from .file import WorkflowFile
from .saved import Origin
from .schemas import inputs_by_name, outputs_of
from .ui import UiGraph, fresh_node

LATENT, INPUT = "LATENT", "latent_image"
"""What a sampler gives, and the input with what it begins from: so it is in all of core's."""

REPEAT = "RepeatLatentBatch"
SIZE = (210, 58)
"""Of the node on the canvas, pixels."""


def with_several(file: WorkflowFile, count: int, object_info: dict[str, Any]) -> WorkflowFile:
    """The workflow with its first samplers' latent repeated; the file on disk stays as it is.

    Args:
        count: edits of each sample.

    Raises:
        RunError: it has no sampler that begins from a latent.
    """
    api = file.to_api(object_info)
    samplers = first_samplers(api, object_info)
    if not samplers:
        raise RunError(
            f"--at-once: {file.path.name} has no sampler that begins from a latent (such as KSampler), so it makes one "
            "edit of a sample at a time; leave it out, or use --attempts"
        )
    if file.ui is None:
        for sampler in samplers:
            repeated = f"{sampler}-repeated"
            inputs = {"samples": api[sampler]["inputs"][INPUT], "amount": count}
            api[repeated] = {"class_type": REPEAT, "inputs": inputs, "_meta": {"title": REPEAT}}
            api[sampler]["inputs"][INPUT] = [repeated, 0]
        return replace(file, api=api)
    graph = UiGraph(file.ui)
    for sampler in samplers:
        origin, slot = api[sampler]["inputs"][INPUT]
        left, _, _, bottom = graph.corners()
        number = graph.add(fresh_node(REPEAT, object_info, (left, bottom + SIZE[1]), SIZE, amount=count))
        graph.wire(graph.brought_out(_path(origin), slot, LATENT), (str(number),), "samples", LATENT, False)
        graph.wire(Origin(number, 0), _path(sampler), INPUT, LATENT, False)
    return replace(file, ui=graph.ui)


def first_samplers(api: Api, object_info: dict[str, Any]) -> list[str]:
    """Samplers that no other sampler stands before: what comes behind them is a batch already."""
    found = {node_id for node_id, node in api.items() if _samples(node, object_info)}
    return [one for one in api if one in found and not (ancestors(api, one) - {one}) & found]


def _samples(node: dict[str, Any], object_info: dict[str, Any]) -> bool:
    schema = object_info.get(node["class_type"], {})
    taken = inputs_by_name(schema).get(INPUT)
    return (
        taken is not None and taken[0] == LATENT and is_link(node["inputs"].get(INPUT)) and LATENT in outputs_of(schema)
    )


def _path(node_id: str) -> tuple[str, ...]:
    return tuple(node_id.split(":"))
