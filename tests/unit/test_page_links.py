"""Muted and bypassed nodes: which link is handed on, and which is gone, by the page's rule."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from driver.graph.page_links import follow_links
from driver.graph.page_rules import convert

NOTHING: dict[str, Any] = {"input": {"required": {}}}


def schema(outputs: list[str], **inputs: str) -> dict[str, Any]:
    return {"input": {"required": {name: [kind, {}] for name, kind in inputs.items()}}, "output": outputs}


INFO = {
    "Photo": schema(["IMAGE", "MASK"]),
    "Verify": schema(["IMAGE", "SCORES"], image="IMAGE", words="STRING"),
    "Swap": schema(["IMAGE", "MASK"], mask="MASK", image="IMAGE"),
    "Either": schema(["IMAGE,MASK"], any="IMAGE,MASK"),
    "Save": schema([], image="IMAGE", scores="SCORES"),
    "Show": schema([], source="*"),
    "Blur": schema(["IMAGE"], image="IMAGE", radius="INT"),
    "Number": schema(["INT"]),
}


def node(number: int, kind: str, mode: int = 0, values: list[Any] | None = None, **links: int | None) -> dict[str, Any]:
    """A node as the file has it: an input for each of its class, wired by the link's number."""
    specs = INFO.get(kind, NOTHING)["input"]["required"]
    inputs = [{"name": name, "type": spec[0], "link": links.get(name)} for name, spec in specs.items()]
    outputs = [{"name": one, "type": one} for one in INFO.get(kind, {}).get("output", ())]
    return {
        "id": number,
        "type": kind,
        "mode": mode,
        "inputs": inputs,
        "outputs": outputs,
        "widgets_values": values or [],
    }


def inputs_of(ui: dict[str, Any], node_id: str) -> dict[str, Any]:
    before = copy.deepcopy(ui)
    inputs = convert(ui, INFO)[node_id]["inputs"]
    assert ui == before, "the file's graph was changed"
    return inputs


def test_a_bypassed_node_hands_on_what_fits_and_nothing_else() -> None:
    ui = {
        "nodes": [node(1, "Photo"), node(2, "Verify", 4, image=1), node(3, "Save", image=2, scores=3)],
        "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"], [3, 2, 1, 3, 1, "SCORES"]],
    }
    assert inputs_of(ui, "3") == {"image": ["1", 0]}


def test_the_input_at_the_same_place_goes_first_and_then_the_exact_type() -> None:
    ui = {
        "nodes": [node(1, "Photo"), node(2, "Swap", 4, mask=1, image=2), node(3, "Save", image=3)],
        "links": [[1, 1, 1, 2, 0, "MASK"], [2, 1, 0, 2, 1, "IMAGE"], [3, 2, 0, 3, 0, "IMAGE"]],
    }
    assert inputs_of(ui, "3") == {"image": ["1", 0]}


def test_an_input_of_several_types_fits_each_of_them() -> None:
    ui = {
        "nodes": [node(1, "Photo"), node(2, "Either", 4, any=1), node(3, "Save", image=2)],
        "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"]],
    }
    assert inputs_of(ui, "3") == {"image": ["1", 0]}


def test_what_takes_anything_gets_the_input_at_the_same_place() -> None:
    ui = {
        "nodes": [node(1, "Photo"), node(2, "Swap", 4, mask=1, image=2), node(3, "Show", source=3)],
        "links": [[1, 1, 1, 2, 0, "MASK"], [2, 1, 0, 2, 1, "IMAGE"], [3, 2, 0, 3, 0, "*"]],
    }
    assert inputs_of(ui, "3") == {"source": ["1", 1]}


def test_a_chain_of_bypassed_nodes() -> None:
    ui = {
        "nodes": [
            node(1, "Photo"),
            node(2, "Verify", 4, image=1),
            node(3, "Verify", 4, image=2),
            node(4, "Save", image=3),
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"], [3, 3, 0, 4, 0, "IMAGE"]],
    }
    assert inputs_of(ui, "4") == {"image": ["1", 0]}


def test_bypassed_nodes_in_a_circle_hand_on_nothing() -> None:
    ui = {
        "nodes": [node(1, "Verify", 4, image=2), node(2, "Verify", 4, image=1), node(3, "Save", image=3)],
        "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 1, 0, "IMAGE"], [3, 2, 0, 3, 0, "IMAGE"]],
    }
    assert inputs_of(ui, "3") == {}


def test_a_widget_whose_link_is_gone_has_its_own_value() -> None:
    for mode in (2, 4):
        ui = {
            "nodes": [node(1, "Number", mode), node(2, "Photo"), node(3, "Blur", 0, [7], image=2, radius=1)],
            "links": [[1, 1, 0, 3, 1, "INT"], [2, 2, 0, 3, 0, "IMAGE"]],
        }
        assert inputs_of(ui, "3") == {"image": ["2", 0], "radius": 7}, mode


BOX, INNER = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"


def boxed(mode: int, inner: list[dict[str, Any]], links: list[tuple[int, int, int, int, int]]) -> dict[str, Any]:
    """Photo 1, a subgraph 2 that takes an image and gives two, and a sink 3 for each of these."""
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
    into = [link[0] for link in links if link[1] == -10]
    out = [[link[0] for link in links if link[3:] == (-20, slot)] for slot in (0, 1)]
    graph = {
        "id": BOX,
        "nodes": inner,
        "links": [dict(zip(keys, link, strict=True)) | {"type": "IMAGE"} for link in links],
        "inputs": [{"name": "image", "type": "IMAGE", "linkIds": into}],
        "outputs": [{"name": f"out{slot}", "type": "IMAGE", "linkIds": numbers} for slot, numbers in enumerate(out)],
    }
    instance = {
        "id": 2,
        "type": BOX,
        "mode": mode,
        "inputs": [{"name": "image", "type": "IMAGE", "link": 1}],
        "outputs": [{"name": "out0", "type": "IMAGE"}, {"name": "out1", "type": "IMAGE"}],
    }
    return {
        "nodes": [node(1, "Photo"), instance, node(3, "Save", image=2), node(4, "Save", image=3)],
        "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"], [3, 2, 1, 4, 0, "IMAGE"]],
        "definitions": {"subgraphs": [graph]},
    }


def test_a_bypassed_subgraph_hands_on_its_own_input() -> None:
    ui = boxed(4, [node(5, "Blur", image=1)], [(1, -10, 0, 5, 0), (2, 5, 0, -20, 0), (3, 5, 0, -20, 1)])
    assert inputs_of(ui, "3") == inputs_of(ui, "4") == {"image": ["1", 0]}


def test_a_muted_subgraph_gives_nothing() -> None:
    ui = boxed(2, [node(5, "Blur", image=1)], [(1, -10, 0, 5, 0), (2, 5, 0, -20, 0), (3, 5, 0, -20, 1)])
    assert inputs_of(ui, "3") == inputs_of(ui, "4") == {}


def test_a_bypassed_node_in_a_subgraph_hands_on_what_comes_into_it() -> None:
    ui = boxed(0, [node(5, "Verify", 4, image=1)], [(1, -10, 0, 5, 0), (2, 5, 0, -20, 0)])
    assert inputs_of(ui, "3") == {"image": ["1", 0]}
    assert inputs_of(ui, "4") == {}


@pytest.mark.parametrize(("mode", "handed_on"), [(4, {"image": ["1", 0]}), (2, {})])
def test_what_is_in_a_switched_off_subgraph_of_a_subgraph_runs(mode: int, handed_on: dict[str, Any]) -> None:
    """As the page has it; what hangs on that subgraph gets what any switched-off node hands on."""
    ui = boxed(0, [], [(1, -10, 0, 5, 0), (2, 5, 0, -20, 0)])
    (outer,) = ui["definitions"]["subgraphs"]
    sockets = {
        "inputs": [{"name": "image", "type": "IMAGE", "link": 1}],
        "outputs": [{"name": "out0", "type": "IMAGE"}],
    }
    outer["nodes"] = [{"id": 5, "type": INNER, "mode": mode, **sockets}]
    links = [(1, -10, 0, 6, 0), (2, 6, 0, 7, 0), (3, 6, 0, -20, 0)]
    inner = boxed(0, [node(6, "Blur", 0, [1], image=1), node(7, "Show", source=2)], links)["definitions"]["subgraphs"][
        0
    ]
    ui["definitions"]["subgraphs"].append(inner | {"id": INNER})
    assert inputs_of(ui, "3") == handed_on
    assert inputs_of(ui, "2:5:6") == {"image": ["1", 0], "radius": 1}
    assert inputs_of(ui, "2:5:7") == {"source": ["2:5:6", 0]}


def test_two_outputs_of_a_subgraph_that_come_from_one_node() -> None:
    ui = boxed(
        0,
        [node(5, "Blur", 0, [1], image=1), node(6, "Verify", 4, image=4)],
        [(1, -10, 0, 5, 0), (2, 5, 0, -20, 0), (4, 5, 0, 6, 0), (3, 6, 0, -20, 1)],
    )
    assert inputs_of(ui, "3") == inputs_of(ui, "4") == {"image": ["2:5", 0]}


def test_a_muted_node_in_a_subgraph_gives_nothing() -> None:
    ui = boxed(0, [node(5, "Blur", 2, image=1)], [(1, -10, 0, 5, 0), (2, 5, 0, -20, 0), (3, 5, 0, -20, 1)])
    assert inputs_of(ui, "3") == inputs_of(ui, "4") == {}


def test_a_graph_without_switched_nodes_stays_as_it_is() -> None:
    ui = boxed(0, [node(5, "Blur", image=1)], [(1, -10, 0, 5, 0), (2, 5, 0, -20, 0)])
    ui["nodes"].pop()
    ui["links"].pop()
    before = copy.deepcopy(ui)
    follow_links(ui, INFO)
    assert ui == before
