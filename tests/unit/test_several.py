"""Which samplers of a graph get their latent repeated for `--at-once`, in both of ComfyUI's formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from driver.errors import RunError
from driver.graph.file import WorkflowFile
from driver.graph.several import REPEAT, first_samplers, with_several

LATENT = {"input": {"required": {"samples": ["LATENT"], "amount": ["INT", {"default": 1}]}}, "output": ["LATENT"]}
SAMPLER = {"input": {"required": {"model": ["MODEL"], "latent_image": ["LATENT"]}}, "output": ["LATENT"]}
INFO: dict[str, Any] = {
    REPEAT: LATENT | {"input_order": {"required": ["samples", "amount"]}, "output_name": ["LATENT"]},
    "KSampler": SAMPLER,
    "EmptyLatent": {"input": {"required": {}}, "output": ["LATENT"]},
    "Decode": {"input": {"required": {"samples": ["LATENT"]}}, "output": ["IMAGE"]},
    "Encode": {"input": {"required": {"pixels": ["IMAGE"]}}, "output": ["LATENT"]},
    "Upscale": {"input": {"required": {"latent_image": ["LATENT"]}}, "output": ["IMAGE"]},
}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def chain() -> dict[str, Any]:
    """A sampler, whose picture goes into another one, and a third beside them."""
    return {
        "1": node("EmptyLatent"),
        "2": node("KSampler", latent_image=["1", 0]),
        "3": node("Decode", samples=["2", 0]),
        "4": node("Encode", pixels=["3", 0]),
        "5": node("KSampler", latent_image=["4", 0]),
        "6": node("KSampler", latent_image=["1", 0]),
        "7": node("Upscale", latent_image=["5", 0]),
    }


def file_of(api: dict[str, Any]) -> WorkflowFile:
    return WorkflowFile(Path("theirs.json"), "", None, api)


def test_a_batch_is_not_repeated_again() -> None:
    """Behind a sampler stands a batch already; what takes a latent and gives none is no sampler."""
    assert sorted(first_samplers(chain(), INFO)) == ["2", "6"]


def test_each_first_sampler_begins_from_as_many() -> None:
    file = file_of(chain())
    api = with_several(file, 4, INFO).to_api(INFO)
    for sampler, origin in (("2", ["1", 0]), ("6", ["1", 0])):
        between, slot = api[sampler]["inputs"]["latent_image"]
        assert (api[between]["class_type"], slot) == (REPEAT, 0)
        assert api[between]["inputs"] == {"samples": origin, "amount": 4}
    assert api["5"]["inputs"]["latent_image"] == ["4", 0]
    assert file.to_api(INFO) == chain(), "the file stays as it is"


def test_a_graph_without_a_sampler_is_refused_by_name() -> None:
    api = {"1": node("EmptyLatent"), "3": node("Decode", samples=["1", 0])}
    with pytest.raises(RunError, match=r"--at-once: theirs\.json has no sampler"):
        with_several(file_of(api), 2, INFO)
