"""Alternatives in prompts: drawn by the page's rule, per sample and from its seed; the graph stays one graph.

That the rule is the page's is seen in tests/browser.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from driver.graph import dynamic_prompts
from driver.graph.bound import BatchGraph
from driver.graph.checks import apply_settings
from driver.graph.file import WorkflowFile
from driver.graph.packs import Filling, Packer

CASE = Path(__file__).resolve().parent.parent / "cases" / "braces-in-a-prompt" / "graph.json"
TYPED = '{"subject": "a {red|green|blue} cup", "mood": "calm"}'
DRAWN = {f'"subject": "a {colour} cup", "mood": "calm"' for colour in ("red", "green", "blue")}


def info(object_info: dict[str, Any]) -> dict[str, Any]:
    """The nodes of the case's graph, as far as it takes."""

    def node(inputs: dict[str, Any], *outputs: str, api_node: bool = False) -> dict[str, Any]:
        return {"input": {"required": inputs}, "input_order": {"required": list(inputs)}, "output": list(outputs),
                "output_name": list(outputs), "api_node": api_node}  # fmt: skip

    prompt = ["STRING", {"multiline": True, "dynamicPrompts": True}]
    seed = ["INT", {"control_after_generate": True}]
    sampler = {"model": ["MODEL"], "seed": seed, "steps": ["INT", {}], "cfg": ["FLOAT", {}], "sampler_name": ["STRING", {}],
               "scheduler": ["STRING", {}], "positive": ["CONDITIONING"], "negative": ["CONDITIONING"],
               "latent_image": ["LATENT"], "denoise": ["FLOAT", {}]}  # fmt: skip
    return object_info | {
        "CheckpointLoaderSimple": node({"ckpt_name": ["STRING", {}]}, "MODEL", "CLIP", "VAE"),
        "CLIPTextEncode": node({"text": prompt, "clip": ["CLIP"]}, "CONDITIONING"),
        "VAEEncode": node({"pixels": ["IMAGE"], "vae": ["VAE"]}, "LATENT"),
        "VAEDecode": node({"samples": ["LATENT"], "vae": ["VAE"]}, "IMAGE"),
        "KSampler": node(sampler, "LATENT", api_node=True),
    }


@pytest.fixture
def nodes(object_info: dict[str, Any]) -> dict[str, Any]:
    return info(object_info)


def bound(nodes: dict[str, Any], change: Any = None) -> BatchGraph:
    ui = json.loads(CASE.read_text(encoding="utf-8"))
    if change:
        change(ui)
    return BatchGraph.bind(WorkflowFile(CASE, "0" * 64, ui, None).to_api(nodes), nodes)


def texts(graph: BatchGraph, seed: int) -> list[str]:
    prompt = graph.prompt({}, seed, "folder")
    return [node["inputs"]["text"] for node in prompt.values() if node["class_type"] == "CLIPTextEncode"]


def test_one_file_gives_one_graph_and_one_hash(nodes: dict[str, Any]) -> None:
    first, *others = (bound(nodes) for _ in range(10))
    assert first.drawn == (("2", "text"),)
    assert first.api["2"]["inputs"]["text"] == TYPED
    assert all((one.api, one.edit_sha256()) == (first.api, first.edit_sha256()) for one in others)


def test_each_sample_draws_from_its_seed(nodes: dict[str, Any]) -> None:
    graph = bound(nodes)
    found = [texts(graph, seed)[0] for seed in range(30)]
    assert set(found) == DRAWN
    assert [texts(bound(nodes), seed)[0] for seed in range(30)] == found
    assert "drawn" not in graph.prompt({}, 1, "folder")["2"]["_meta"], (
        "what is submitted is drawn, and says nothing else"
    )


def test_the_same_text_twice_is_drawn_twice_whatever_the_ids(nodes: dict[str, Any]) -> None:
    def twice(ui: dict[str, Any]) -> None:
        ui["nodes"][2]["widgets_values"] = [TYPED]

    def by_role(graph: BatchGraph, seed: int) -> tuple[str, ...]:
        prompt = graph.prompt({}, seed, "folder")
        return tuple(prompt[prompt["4"]["inputs"][role][0]]["inputs"]["text"] for role in ("positive", "negative"))

    graph = bound(nodes, twice)
    pairs = [by_role(graph, seed) for seed in range(30)]
    assert any(one != other for one, other in pairs) and any(one == other for one, other in pairs)
    renamed = json.loads(json.dumps(graph.api).replace('"2"', '"x"').replace('"3"', '"2"').replace('"x"', '"3"'))
    again = BatchGraph.bind(dict(reversed(renamed.items())), nodes)
    assert again.edit_sha256() == graph.edit_sha256()
    assert [by_role(again, seed) for seed in range(30)] == pairs


def test_a_pack_draws_for_each_of_its_samples(nodes: dict[str, Any]) -> None:
    graph = bound(nodes)
    packer = Packer(graph, nodes, {}, 1 << 40)
    prompt = packer.prompt([Filling({}, seed, f"folder{seed}") for seed in range(12)])
    found = [prompt[f"s{seed}/2"]["inputs"]["text"] for seed in range(12)]
    assert found == [texts(graph, seed)[0] for seed in range(12)]
    assert len(set(found)) > 1
    assert prompt["3"]["inputs"]["text"] == "blurry", "what is the same for all is there once"
    assert {prompt[f"s{seed}/4"]["inputs"]["positive"][0] for seed in range(12)} == {f"s{seed}/2" for seed in range(12)}


@pytest.mark.parametrize(
    ("typed", "submitted"),
    [
        ('{"subject": "cup"}', '"subject": "cup"'),
        (r'\{"subject": "cup"\}', '{"subject": "cup"}'),
        ("a cup // red", "a cup "),
        ("no braces | at all", "no braces | at all"),
    ],
)
def test_what_has_no_alternatives_is_settled_at_once(nodes: dict[str, Any], typed: str, submitted: str) -> None:
    def change(ui: dict[str, Any]) -> None:
        ui["nodes"][1]["widgets_values"] = [typed]

    graph = bound(nodes, change)
    assert graph.drawn == ()
    assert graph.api["2"]["inputs"]["text"] == submitted


def test_a_prompt_that_was_submitted_is_taken_as_it_is(nodes: dict[str, Any], tmp_path: Path) -> None:
    """A file in API format, and a picture's: what the page did is done."""
    api = bound(nodes).prompt({"task": "remove"}, 5, "folder")
    api["2"]["inputs"]["text"] = "a {literal|brace}"
    path = tmp_path / "api.json"
    path.write_text(json.dumps(api))
    again = BatchGraph.bind(WorkflowFile.read(path).to_api(nodes), nodes)
    assert (again.drawn, texts(again, 7)[0]) == ((), "a {literal|brace}")


def test_a_runs_own_copy_of_its_graph_is_drawn_as_the_run_drew(nodes: dict[str, Any], tmp_path: Path) -> None:
    graph = bound(nodes)
    path = tmp_path / "workflow_api.json"
    path.write_text(json.dumps(graph.api))
    again = BatchGraph.bind(WorkflowFile.read(path).to_api(nodes), nodes)
    assert [texts(again, seed) for seed in range(9)] == [texts(graph, seed) for seed in range(9)]


def test_a_setting_is_typed_into_the_widget(nodes: dict[str, Any]) -> None:
    api = copy.deepcopy(bound(nodes).api)
    apply_settings(api, ["#2.text={one}", "#3.text={dull|grey}"], nodes)
    graph = BatchGraph.bind(api, nodes)
    assert graph.drawn == (("3", "text"),)
    assert {tuple(texts(graph, seed)) for seed in range(20)} == {("one", "dull"), ("one", "grey")}


def test_a_text_that_shows_on_its_subgraphs_node_is_submitted_as_it_stands(nodes: dict[str, Any]) -> None:
    """The page draws in a node's own widgets, and not in those that a subgraph shows."""

    def inside(ui: dict[str, Any]) -> None:
        encoder, number = ui["nodes"][1], "00000000-0000-4000-8000-000000000001"
        encoder["inputs"] = [{"name": "clip", "type": "CLIP", "link": 1},
                             {"name": "text", "type": "STRING", "widget": {"name": "text"}, "link": 2}]  # fmt: skip
        encoder["outputs"][0]["links"] = [3]
        box = {"id": 2, "type": number, "mode": 0, "widgets_values": [TYPED], "properties": {},
               "inputs": [{"name": "clip", "type": "CLIP", "link": 1},
                          {"name": "text", "type": "STRING", "widget": {"name": "text"}, "link": None}],
               "outputs": [{"name": "CONDITIONING", "type": "CONDITIONING", "links": [8]}]}  # fmt: skip
        link = {"origin_id": -10, "target_id": 2, "type": "CLIP"}
        links = [link | {"id": 1, "origin_slot": 0, "target_slot": 0},
                 link | {"id": 2, "origin_slot": 1, "target_slot": 1, "type": "STRING"},
                 {"id": 3, "origin_id": 2, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "CONDITIONING"}]  # fmt: skip
        ends = {"inputs": [{"id": "a", "name": "clip", "type": "CLIP", "linkIds": [1]},
                           {"id": "b", "name": "text", "type": "STRING", "linkIds": [2]}],
                "outputs": [{"id": "c", "name": "CONDITIONING", "type": "CONDITIONING", "linkIds": [3]}]}  # fmt: skip
        ui["nodes"][1] = box
        ui["definitions"] = {"subgraphs": [{"id": number, "name": "Words", "nodes": [encoder], "links": links, **ends}]}

    graph = bound(nodes, inside)
    assert (graph.drawn, graph.api["2:2"]["inputs"]["text"]) == ((), TYPED)


@pytest.mark.parametrize("text", ['a {"b"} and {c', "{}", "plain", r"back\slash"])
def test_what_is_typed_for_a_text_gives_that_text(text: str) -> None:
    def first(options: Sequence[str]) -> str:
        return options[0]

    assert dynamic_prompts.processed(dynamic_prompts.as_typed(text), first) == text
