"""The open graphs of masked tasks as files: what FLUX.2 klein is told and sees, that it is kept to its mask, and how they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.graphs import WORKFLOWS, Graph, check_layout, whole

MASKED = tuple(f"{task}-open" for task in ("add", "remove", "replace", "alter", "background", "hybrid"))
CONTEXT = {"add": 2.5, "remove": 2.5, "hybrid": 2, "replace": 1.5, "alter": 1.5, "background": 1.2}
MUTED = 2

every_graph = pytest.mark.parametrize("name", MASKED)


@every_graph
def test_the_editor_is_told_about_its_own_crop(name: str) -> None:
    graph = Graph(name)
    texts = graph.all("CLIPTextEncode")
    assert len(texts) == (2 if name == "hybrid-open" else 1)
    for text in texts:
        word, output = graph.before(text, "text")
        assert (word["type"], output) == ("EditPairsRewordForCrop", "prompt")
        crop, _ = graph.before(word, "place")
        (seen,) = [one for one in graph.all("ReferenceLatent") if graph.before(one, "conditioning")[0] is text]
        assert graph.before(graph.before(seen, "latent")[0], "pixels")[0] is crop
        assert crop["widgets_values"][0] == 1024 and crop["widgets_values"][4] == "16"
        assert crop["widgets_values"][1] >= CONTEXT[name.removesuffix("-open")]
    for step in graph.all("EditPairsTakeStep"):
        assert step["widgets_values"][1] == "follows commands"


@every_graph
def test_a_sample_that_cannot_be_told_is_not_painted(name: str) -> None:
    graph = Graph(name)
    words = graph.all("EditPairsRewordForCrop")
    last = max(words, key=lambda word: word["widgets_values"][0])
    sinks = [graph.all(kind)[0] for kind in ("EditPairsSavePair", "EditPairsVerifyEdit", "EditPairsJudgeEdit")]
    assert all(graph.before(sink, "sample")[0] is last for sink in sinks)
    if len(words) == 2:
        step, _ = graph.before(last, "sample")
        assert graph.before(step, "sample")[0] is words[0], "the first step's reason reaches the sink"


@every_graph
def test_what_is_around_the_mask_stays_the_photos_at_every_step(name: str) -> None:
    graph = Graph(name)
    for sampler in graph.all("SamplerCustomAdvanced"):
        kept, _ = graph.before(sampler, "latent_image")
        assert kept["type"] == "SetLatentNoiseMask"
        free, _ = graph.before(kept, "mask")
        assert free["type"] == "EditPairsRefineMask"
        assert free["widgets_values"] == [0, 0, 2.3, 0, "as it is"], "hard, and no latent is mixed of both"
        crop, output = graph.before(free, "mask")
        assert (crop["type"], output) == ("EditPairsCropAroundMask", "mask")
        assert graph.before(graph.before(kept, "samples")[0], "pixels") == (crop, "crop")


@every_graph
def test_it_runs_as_its_makers_run_it(name: str) -> None:
    """As ComfyUI's template image_flux2_klein_image_edit_4b_distilled has it."""
    graph = Graph(name)
    for sampler in graph.all("SamplerCustomAdvanced"):
        guider, sigmas, euler = (graph.before(sampler, one)[0] for one in ("guider", "sigmas", "sampler"))
        assert (guider["type"], guider["widgets_values"]) == ("CFGGuider", [1])
        assert (sigmas["type"], sigmas["widgets_values"][0]) == ("Flux2Scheduler", 4)
        assert euler["widgets_values"] == ["euler"]
        for side in ("width", "height"):
            measured, output = graph.before(sigmas, side)
            assert (measured["type"], output) == ("GetImageSize", side)
    for loader in ("UNETLoader", "CLIPLoader", "VAELoader"):
        assert len(graph.all(loader)) == 1, "one of each, kept for both steps"


@every_graph
def test_no_crop_is_stretched_back(name: str) -> None:
    (fit,) = Graph(name).all("EditPairsFitSize")
    assert fit["widgets_values"][0] == "room for one crop"


@every_graph
def test_nodes_lie_apart_and_wires_lead_to_the_right(name: str) -> None:
    check_layout(name)
    judges = {node["type"] for node in whole(name)["nodes"] if node["mode"] == MUTED}
    assert {"EditPairsVerifyEdit", "EditPairsJudgeEdit"} <= judges


@every_graph
def test_its_notes_say_how_with_what_and_why(name: str) -> None:
    notes = [node for node in whole(name)["nodes"] if node["type"] == "MarkdownNote"]
    assert [note["title"] for note in notes] == [
        "How to use this graph",
        "Models",
        "Choices, and what differs from ImgEdit",
    ]
    how, models, why = (note["widgets_values"][0] for note in notes)
    task = name.removesuffix("-open")
    assert f"--workflow {task} --profile open" in how and f"install.py --models {name}" in models
    assert "image_flux2_klein_image_edit_4b_distilled" in models and "Not as in ImgEdit's graph, and why" in why
    assert Path(WORKFLOWS / f"{name}.jpg").is_file()
    if task in ("add", "remove"):
        assert "How the route was chosen" in why
