"""The graphs of FLUX.1 Fill as files: what reaches the model is a description, on a photo that a crop fits, with ground in sight."""

from __future__ import annotations

import pytest

from tests.unit.graphs import Graph

FILL = ("add", "remove", "replace", "background", "hybrid", "visual")
TOLD = tuple(name for name in FILL if name != "visual")


@pytest.mark.parametrize("name", TOLD)
def test_the_model_is_told_what_is_to_be_seen(name: str) -> None:
    graph = Graph(name)
    for text in graph.all("CLIPTextEncode"):
        step, output = graph.before(text, "text")
        assert (step["type"], output) == ("EditPairsTakeStep", "target")
        assert step["widgets_values"][1] == "fills the region"
        assert graph.before(step, "vlm")[0]["type"] == "EditPairsLoadVlmEndpoint"
    last = max(graph.all("EditPairsTakeStep"), key=lambda step: step["widgets_values"][0])
    carries, _ = graph.before(graph.all("EditPairsSavePair")[0], "sample")
    while carries["type"] != "EditPairsTakeStep":
        carries, _ = graph.before(carries, "sample")
    assert carries is last, "a sample that the model cannot do is not painted"


@pytest.mark.parametrize("name", FILL)
def test_no_crop_is_stretched_back(name: str) -> None:
    graph = Graph(name)
    (fit,) = graph.all("EditPairsFitSize")
    (size,) = {crop["widgets_values"][0] for crop in graph.all("EditPairsCropAroundMask")}
    assert fit["widgets_values"][0] == {1024: "room for one crop", 768: "room for one crop of 768"}[size]
    photo = [
        link for link in graph.links.values() if link[1] == graph.all("EditPairsLoadSample")[0]["id"] and link[2] == 1
    ]
    assert [link[3] for link in photo] == [fit["id"]], "nothing but the fit sees the photo in its own size"


@pytest.mark.parametrize("name", FILL)
def test_it_runs_as_its_makers_run_it(name: str) -> None:
    graph = Graph(name)
    for sampler in graph.all("KSampler"):
        assert sampler["widgets_values"][2:] == [20, 1, "euler", "normal", 1]
        soft, _ = graph.before(sampler, "model")
        assert soft["type"] == "DifferentialDiffusion"
        assert graph.before(soft, "model")[0]["widgets_values"] == ["flux1-fill-dev.safetensors", "default"]


@pytest.mark.parametrize(("name", "least"), [("add", 2.5), ("remove", 2.5), ("hybrid", 2), ("replace", 1.5)])
def test_the_model_sees_the_ground_around_the_mask(name: str, least: float) -> None:
    for crop in Graph(name).all("EditPairsCropAroundMask"):
        assert crop["widgets_values"][1] >= least


def test_a_replacement_is_not_painted_into_the_old_outline() -> None:
    graph = Graph("replace")
    mask, _ = graph.before(graph.all("EditPairsCropAroundMask")[0], "mask")
    assert (mask["type"], mask["widgets_values"][-1]) == ("EditPairsRefineMask", "hull")


def test_redux_sees_the_reference_without_its_background() -> None:
    graph = Graph("visual")
    seen, _ = graph.before(graph.all("CLIPVisionEncode")[0], "image")
    assert seen["type"] == "EditPairsCutOutOnWhite"
    assert graph.before(graph.all("EditPairsSavePair")[0], "sample")[0] is seen, "one without an object fails"


def test_an_extracted_object_is_the_photos_own() -> None:
    graph = Graph("extract")
    assert graph.before(graph.all("EditPairsSavePair")[0], "edited")[0]["type"] == "EditPairsCutOutOnWhite"
    assert graph.all("KSampler") == []
