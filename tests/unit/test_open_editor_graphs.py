"""The open graphs of end-to-end editors as files: settings as their makers have them, what the editor sees, how they lie."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.graphs import WORKFLOWS, Graph, check_layout, whole

KLEIN = ("instruct-open", "style-open", "visual-open")
QWEN_READERS = {"instruct-qwen": "index_timestep_zero", "instruct-longcat": "index"}
"""Editors whose text encoder sees the photo, and how they tell references apart."""
EDITORS = (*KLEIN, *QWEN_READERS)
GRAPHS = (*EDITORS, "extract-open", "motion-open")
LOADERS = ("UNETLoader", "CLIPLoader", "VAELoader", "LoraLoaderModelOnly")


def told_by(graph: Graph, node: dict[str, Any], name: str) -> list[str]:
    """Nodes from a conditioning back to the words, by class."""
    kinds = []
    while node["type"] not in ("CLIPTextEncode", "TextEncodeQwenImageEdit", "TextEncodeQwenImageEditPlus"):
        node = graph.before(node, name)[0]
        kinds.append(node["type"])
        name = "conditioning"
    return kinds


@pytest.mark.parametrize("name", KLEIN)
def test_klein_runs_as_its_makers_run_it(name: str) -> None:
    """As ComfyUI's template image_flux2_klein_image_edit_4b_distilled has it."""
    graph = Graph(name)
    references = 2 if name == "visual-open" else 1
    assert len(graph.all("SamplerCustomAdvanced")) == (2 if name == "instruct-open" else 1)
    for sampler in graph.all("SamplerCustomAdvanced"):
        guider, sigmas, euler = (graph.before(sampler, one)[0] for one in ("guider", "sigmas", "sampler"))
        assert (guider["type"], guider["widgets_values"]) == ("CFGGuider", [1])
        assert (sigmas["type"], sigmas["widgets_values"][0]) == ("Flux2Scheduler", 4)
        assert euler["widgets_values"] == ["euler"]
        assert told_by(graph, guider, "positive") == ["ReferenceLatent"] * references + ["CLIPTextEncode"]
        for side in ("width", "height"):
            measured, output = graph.before(sigmas, side)
            assert (measured["type"], output) == ("GetImageSize", side)


@pytest.mark.parametrize("name", EDITORS)
def test_the_photo_is_a_megapixel_and_one_size_everywhere(name: str) -> None:
    graph = Graph(name)
    (fit,) = graph.all("EditPairsFitSize")
    assert fit["widgets_values"][:2] == ["one megapixel", "16"]
    seen = [one for one in graph.all("VAEEncode") if graph.before(one, "pixels")[0] is fit]
    assert len(seen) == 1, "encoded once for both passes"
    for text in graph.all("TextEncodeQwenImageEdit") + graph.all("TextEncodeQwenImageEditPlus"):
        assert next(one["link"] for one in text["inputs"] if one["name"] == "vae") is None, "it would scale by itself"


@pytest.mark.parametrize("name", EDITORS)
def test_one_of_each_model_is_kept_for_all(name: str) -> None:
    graph = Graph(name)
    for loader in LOADERS[:3]:
        assert len(graph.all(loader)) == 1


@pytest.mark.parametrize(("name", "method"), QWEN_READERS.items())
def test_references_are_told_apart_as_the_model_was_trained(name: str, method: str) -> None:
    graph = Graph(name)
    for sampler in graph.all("KSampler"):
        assert sampler["widgets_values"][4:] == ["euler", "simple", 1]
        for side in ("positive", "negative"):
            assert told_by(graph, sampler, side)[:2] == ["FluxKontextMultiReferenceLatentMethod", "ReferenceLatent"]
    assert {one["widgets_values"][0] for one in graph.all("FluxKontextMultiReferenceLatentMethod")} == {method}


def test_longcat_takes_the_blueprints_steps() -> None:
    assert [one["widgets_values"][2:4] for one in Graph("instruct-longcat").all("KSampler")] == [[50, 4.5]] * 2


def test_one_switch_chooses_lora_steps_and_guidance() -> None:
    graph = Graph("instruct-qwen")
    (fast,) = [one for one in graph.all("PrimitiveBoolean") if one["title"] == "Fast"]
    assert fast["widgets_values"] == [False]
    (norm,) = graph.all("CFGNorm")
    assert graph.before(norm, "model")[0]["widgets_values"] == [3.1]
    for sampler in graph.all("KSampler"):
        chosen = {name: graph.before(sampler, name)[0] for name in ("model", "steps", "cfg")}
        assert all(graph.before(switch, "switch")[0] is fast for switch in chosen.values())
        either = {
            name: [graph.before(one, side)[0] for side in ("on_false", "on_true")] for name, one in chosen.items()
        }
        assert [one["type"] for one in either["model"]] == ["CFGNorm", "LoraLoaderModelOnly"]
        assert [one["widgets_values"][0] for name in ("steps", "cfg") for one in either[name]] == [40, 4, 4, 1]


def test_a_reference_comes_second_and_without_its_background() -> None:
    graph = Graph("visual-open")
    (guider,) = graph.all("CFGGuider")
    second, _ = graph.before(guider, "positive")
    first, _ = graph.before(second, "conditioning")
    kinds = [graph.before(graph.before(one, "latent")[0], "pixels")[0]["type"] for one in (first, second)]
    assert kinds == ["EditPairsFitSize", "EditPairsCutOutOnWhite"]
    saved, _ = graph.before(graph.all("EditPairsSavePair")[0], "sample")
    assert saved["type"] == "EditPairsCutOutOnWhite", "a reference without an object fails"


def test_a_reference_is_painted_in_its_mask_alone() -> None:
    graph = Graph("visual-open")
    (blend,), (kept,) = graph.all("EditPairsBlendEdit"), graph.all("SetLatentNoiseMask")
    assert blend["widgets_values"] == [0, 1, "the source"]
    wider, _ = graph.before(kept, "mask")
    assert wider["widgets_values"] == [0, 0, 2.3, 0, "as it is"]
    assert graph.before(wider, "mask")[0] is graph.before(blend, "mask")[0]
    assert graph.before(kept, "samples")[0]["title"] == "Image 1: the photo"


@pytest.mark.parametrize("name", ["extract-open", "motion-open"])
def test_what_is_true_without_a_model_is_not_painted(name: str) -> None:
    """The graph of the papers' path with the judges before its sink: same nodes, same wires."""
    assert wires(name) == wires(name.removesuffix("-open"))


def wires(name: str) -> list[tuple[str, ...]]:
    graph = whole(name)
    nodes = {node["id"]: node for node in graph["nodes"]}
    ends = [
        (nodes[origin], nodes[origin]["outputs"][out], nodes[target], nodes[target]["inputs"][into])
        for _, origin, out, target, into, _ in graph["links"]
    ]
    return sorted(
        (one["type"], output["name"], json.dumps(one["widgets_values"]), other["type"], into["name"])
        for one, output, other, into in ends
    )


@pytest.mark.parametrize("name", GRAPHS)
def test_nodes_lie_apart_and_wires_lead_to_the_right(name: str) -> None:
    check_layout(name)


@pytest.mark.parametrize("name", GRAPHS)
def test_its_notes_say_how_with_what_and_why(name: str) -> None:
    notes = {node["title"]: node["widgets_values"][0] for node in Graph(name).all("MarkdownNote")}
    assert list(notes) == ["How to use this graph", "Models", "Choices, and what differs from ImgEdit"]
    task, _, kind = name.partition("-")
    flow = f"--workflow {task} --profile open" if kind == "open" else f"--workflow {name}"
    assert f"batch.py {flow} --input" in notes["How to use this graph"]
    for loader in (one for kind in LOADERS for one in Graph(name).all(kind)):
        assert loader["widgets_values"][0] in notes["Models"]
    assert (WORKFLOWS / f"{name}.jpg").is_file()
