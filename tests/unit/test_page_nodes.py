"""Nodes that only the page knows: left out where no sink needs them, resolved where they pass on, named where they are missed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driver.errors import RunError
from driver.graph.api import Api
from driver.graph.bound import BatchGraph
from driver.graph.file import WorkflowFile

Ui = dict[str, Any]
BOX = "00000000-0000-4000-8000-000000000002"
WIRE = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")


def node(number: int, kind: str, inputs: dict[str, Any], outputs: tuple[str, ...], **more: Any) -> Ui:
    return {
        "id": number, "type": kind, "mode": 0, "properties": {}, "widgets_values": [],
        "inputs": [{"name": name, "type": "IMAGE", "link": link} for name, link in inputs.items()],
        "outputs": [{"name": one, "type": one, "links": []} for one in outputs], **more,
    }  # fmt: skip


SOURCE = ("EDITPAIRS_SAMPLE", "IMAGE", "MASK")


def ui(*between: Ui, edited: tuple[int, int] = (1, 1), links: tuple[tuple[int, ...], ...] = ()) -> Ui:
    """Load Edit Sample and Save Edit Pair, and nodes between them.

    Args:
        edited: the output that is saved.
        links: further ones, as number, origin, output, target and input.
    """
    load = node(1, "EditPairsLoadSample", {}, SOURCE)
    load["widgets_values"] = ["a.png", "remove", 0, 0, "fixed", "", "", ""]
    save = node(9, "EditPairsSavePair", {"sample": 90, "edited": 91}, ())
    save["widgets_values"] = ["", ""]
    wires = [[90, 1, 0, 9, 0, "EDITPAIRS_SAMPLE"], [91, *edited, 9, 1, "IMAGE"], *([*link, "IMAGE"] for link in links)]
    return {"nodes": [load, *copy.deepcopy(between), save], "links": wires, "version": 0.4}


def convert(graph: Ui, object_info: dict[str, Any]) -> Api:
    return WorkflowFile(Path("graph.json"), "0" * 64, graph, None).to_api(object_info)


def bound(graph: Ui, object_info: dict[str, Any]) -> BatchGraph:
    return BatchGraph.bind(convert(graph, object_info), object_info)


def refused(graph: Ui, object_info: dict[str, Any]) -> str:
    with pytest.raises(RunError) as caught:
        bound(graph, object_info)
    assert "\n" not in str(caught.value)
    return str(caught.value)


BESIDE = {
    "a bookmark": node(2, "Bookmark (rgthree)", {}, (), widgets_values=["1", 1]),
    "a button": node(2, "Fast Actions Button (rgthree)", {"Load": 20}, ("*",), widgets_values=["Run", True, {"a": 1}]),
    "a note": node(2, "Label (rgthree)", {}, (), title="Step 1"),
    "a saver": node(2, "Image Save", {"images": 20}, (), widgets_values=["[time]", "x", 4]),
}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("mode", [0, 2, 4])
def test_what_no_sink_needs_is_left_out(name: str, mode: int, object_info: dict[str, Any]) -> None:
    beside = BESIDE[name] | {"mode": mode}
    wired = ((20, 1, 1, 2, 0),) if beside["inputs"] else ()
    graph = bound(ui(beside, links=wired), object_info)
    assert graph.api["9"]["inputs"]["edited"] == ["1", 1]
    assert graph.left_out == ((f"{beside['type']} #2",) if mode == 0 else ())


def within(*inner: Ui, links: list[tuple[int, ...]]) -> Ui:
    """Two copies of one subgraph in a row, with an image in and out."""
    link_ids = {end: [one[0] for one in links if one[1 if end == -10 else 3] == end] for end in (-10, -20)}
    definition = {
        "id": BOX, "name": "Box", "nodes": list(copy.deepcopy(inner)),
        "links": [dict(zip(WIRE, (*one, "IMAGE"), strict=True)) for one in links],
        "inputs": [{"id": "a", "name": "image", "type": "IMAGE", "linkIds": link_ids[-10]}],
        "outputs": [{"id": "b", "name": "IMAGE", "type": "IMAGE", "linkIds": link_ids[-20]}],
    }  # fmt: skip
    boxes = [node(number, BOX, {"image": link}, ("IMAGE",)) for number, link in ((5, 50), (6, 60))]
    graph = ui(*boxes, edited=(6, 0), links=((50, 1, 1, 5, 0), (60, 5, 0, 6, 0)))
    return graph | {"definitions": {"subgraphs": [definition]}}


PAINT = node(3, "Paint", {"image": 31, "mask": 32}, ("IMAGE", "MASK"), widgets_values=[0, "fixed", "telea"])


@pytest.mark.parametrize(
    ("setter", "getter"), [("SetNode", "GetNode"), ("easy setNode", "easy getNode"), ("SetNode", "easy getNode")]
)
def test_what_is_set_and_got_within_a_subgraph_is_each_copys_own(
    setter: str, getter: str, object_info: dict[str, Any]
) -> None:
    """Two copies of a subgraph have one name each for what is set: the second must not read the first one's."""
    inner = [
        node(1, setter, {"IMAGE": 10}, ("*",), widgets_values=["photo"]),
        node(2, getter, {}, ("IMAGE",), widgets_values=["photo"]),
        node(4, "Bookmark (rgthree)", {}, (), widgets_values=["1", 1]),
        PAINT,
    ]
    links = [(10, -10, 0, 1, 0), (31, 2, 0, 3, 0), (33, 3, 0, -20, 0)]
    graph = within(*inner, links=links)
    api = convert(graph, object_info)
    assert [api[f"{number}:3"]["inputs"]["image"] for number in (5, 6)] == [["1", 1], ["5:3", 0]]
    assert api["9"]["inputs"]["edited"] == ["6:3", 0]
    assert [key for key, one in api.items() if one["class_type"].startswith("Bookmark")] == ["5:4", "6:4"]


PASSING: dict[str, tuple[list[Ui], tuple[tuple[int, ...], ...]]] = {
    "a reroute": ([node(2, "Reroute", {"": 20}, ("",))], ((20, 1, 1, 2, 0),)),
    "rgthree's": ([node(2, "Reroute (rgthree)", {"": 20}, ("*",))], ((20, 1, 1, 2, 0),)),
    "behind a set": ([node(2, "SetNode", {"IMAGE": 20}, ("*",), widgets_values=["x"])], ((20, 1, 1, 2, 0),)),
    "a get of a reroute of a get": (
        [
            node(3, "SetNode", {"IMAGE": 30}, ("*",), widgets_values=["one"]),
            node(4, "GetNode", {}, ("IMAGE",), widgets_values=["one"]),
            node(5, "Reroute (rgthree)", {"": 50}, ("*",)),
            node(6, "SetNode", {"IMAGE": 60}, ("*",), widgets_values=["two"]),
            node(2, "GetNode", {}, ("IMAGE",), widgets_values=["two"]),
        ],
        ((30, 1, 1, 3, 0), (50, 4, 0, 5, 0), (60, 5, 0, 6, 0)),
    ),
    "a bypassed reroute": ([node(2, "Reroute", {"": 20}, ("",), mode=4)], ((20, 1, 1, 2, 0),)),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_on_is_resolved(name: str, object_info: dict[str, Any]) -> None:
    between, links = PASSING[name]
    graph = bound(ui(*between, edited=(2, 0), links=links), object_info)
    assert (graph.api["9"]["inputs"]["edited"], set(graph.api), graph.left_out) == (["1", 1], {"1", "9"}, ())


CUT: dict[str, Callable[[], Ui]] = {
    "a muted reroute": lambda: node(2, "Reroute", {"": 20}, ("",), mode=2),
    "a reroute that is not wired": lambda: node(2, "Reroute (rgthree)", {"": None}, ("*",)),
    "a get without its set": lambda: node(2, "GetNode", {}, ("IMAGE",), widgets_values=["gone"]),
}


@pytest.mark.parametrize("name", CUT)
def test_what_passes_nothing_on_gives_no_wire(name: str, object_info: dict[str, Any]) -> None:
    graph = ui(CUT[name](), edited=(2, 0), links=((20, 1, 1, 2, 0),))
    assert "edited" not in convert(graph, object_info)["9"]["inputs"]
    assert "input edited is missing" in refused(graph, object_info)


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"cnr_id": "comfyui-brushes"}, "it comes from the pack comfyui-brushes: install that there"),
        ({"aux_id": "somebody/brushes"}, "it comes from the pack somebody/brushes: install that there"),
        ({"cnr_id": "comfy-core"}, "it is ComfyUI's own: update ComfyUI there"),
    ],
)
def test_a_missing_node_on_the_way_is_named_with_its_pack(
    properties: dict[str, str], said: str, object_info: dict[str, Any]
) -> None:
    brush = node(2, "Brush", {"image": 20}, ("IMAGE",), properties=properties, widgets_values=[4, "soft", {"a": 1}])
    line = refused(ui(brush, edited=(2, 0), links=((20, 1, 1, 2, 0),)), object_info)
    assert f"Brush #2: the server has no such node; {said}" in line


def test_a_missing_node_inside_a_subgraph_is_named_with_its_pack(object_info: dict[str, Any]) -> None:
    brush = node(2, "Brush", {"image": 20}, ("IMAGE",), properties={"cnr_id": "brushes"}, widgets_values=[4])
    line = refused(within(brush, links=[(20, -10, 0, 2, 0), (21, 2, 0, -20, 0)]), object_info)
    assert "Brush #5:2: the server has no such node; it comes from the pack brushes" in line


def test_the_case_of_a_foreign_bookmark_has_nothing_missing(object_info: dict[str, Any]) -> None:
    graph = json.loads((Path(__file__).parent.parent / "cases" / "foreign-bookmark" / "graph.json").read_text("utf-8"))
    api = convert(graph, object_info)
    assert api["9"] == {"class_type": "Bookmark (rgthree)", "inputs": {}, "_meta": {"title": "Bookmark (rgthree)"}}
