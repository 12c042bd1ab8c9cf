"""What the page does with a saved graph, a kind at a time; tests/browser/test_templates.py asks the page itself."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from driver.errors import RunError
from driver.graph.checks import apply_settings, check
from driver.graph.file import WorkflowFile
from driver.graph.page_rules import convert, with_unique_ids

CURVE = {"points": [[0, 0], [0.4, 0.6], [1, 1]], "interpolation": "linear"}
CROP = {"x": 3, "y": 4, "width": 20, "height": 30}
SHOWN = {"before": "/api/view?filename=a.png", "after": "/api/view?filename=b.png"}
ENCODING = {"encoding": ["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "auto", "inputs": {}}]}]}
CODECS = [{"key": "none", "inputs": {}}, {"key": "h264", "inputs": {"required": {}, "optional": ENCODING}}]
SAMPLING = {"required": {"top": ["INT", {"default": 64}]}, "optional": {"penalty": ["FLOAT", {"default": 0.5}]}}


def schema(**inputs: list[Any]) -> dict[str, Any]:
    return {"input": {"required": inputs}, "input_order": {"required": list(inputs)}, "output": ["IMAGE"]}


INFO = {
    "Boxes": schema(size=["INT", {}], drawn=["BOUNDING_BOXES", {"socketless": False}], last=["BOUNDING_BOXES", {}]),
    "Curve": schema(curve=["CURVE", {"socketless": True}]),
    "Crop": schema(region=["BOUNDING_BOX", {"socketless": True}], amount=["INT", {}]),
    "ImageCompare": schema(compare_view=["IMAGECOMPARE", {"socketless": True}]),
    "Load": schema(image=[["a.png", "b.png"]]),
    "Palette": schema(colors=["COLORS", {}], tint=["COLOR", {"socketless": True}], words=["STRING", {}]),
    "Forced": schema(words=["STRING", {"forceInput": True, "default": "none"}]),
    "CustomCombo": schema(choice=["COMBO", {"options": []}]),
    "SaveGLB": schema(filename_prefix=["STRING", {}]),
    "Preview3D": schema(model_file=["STRING,FILE_3D", {"widgetType": "STRING"}]),
    "SaveVideo": schema(name=["STRING", {}], codec=["COMFY_DYNAMICCOMBO_V3", {"options": CODECS}]),
    "Text": schema(
        mode=["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "on", "inputs": SAMPLING}]}], think=["BOOLEAN", {}]
    ),
    "Number": schema(value=["INT", {}]),
    "Sum": schema(value=["INT", {}], other=["INT,FLOAT", {}]),
}


def submitted(kind: str, *values: Any, **more: Any) -> dict[str, Any]:
    """What one node submits that was saved with these values."""
    ui = {"nodes": [{"id": 1, "type": kind, "widgets_values": list(values), **more}], "links": []}
    return convert(ui, INFO)["1"]["inputs"]


@pytest.mark.parametrize(
    ("kind", "values", "inputs"),
    [
        ("Boxes", [9, [CROP], []], {"size": 9, "drawn": {"__value__": [CROP]}, "last": {"__value__": []}}),
        ("Curve", [CURVE], {"curve": CURVE}),
        ("Crop", [CROP, 3, 4, 20, 30, 7], {"region": CROP, "amount": 7}),
        ("Palette", [["#fff"], "#123", "x"], {"colors": {"__value__": ["#fff"]}, "tint": "#123", "words": "x"}),
        ("Load", ["b.png", {"name": "upload", "type": "button"}], {"image": "b.png"}),
    ],
)
def test_editors_keep_their_place(kind: str, values: list[Any], inputs: dict[str, Any]) -> None:
    assert submitted(kind, *values) == inputs


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("Boxes", {"size": 0, "drawn": {"__value__": []}, "last": {"__value__": []}}),
        ("Curve", {"curve": {"points": [[0, 0], [1, 1]], "interpolation": "monotone_cubic"}}),
        ("Crop", {"region": {"x": 0, "y": 0, "width": 512, "height": 512}, "amount": 0}),
        ("Palette", {"colors": {"__value__": []}, "tint": "#000000", "words": ""}),
        ("Load", {"image": "a.png"}),
        ("SaveVideo", {"name": "", "codec": "none"}),
        ("Forced", {}),
    ],
)
def test_what_the_file_says_nothing_about_is_as_in_a_fresh_node(kind: str, inputs: dict[str, Any]) -> None:
    assert submitted(kind) == inputs


def test_defaults_are_of_their_own() -> None:
    submitted("Boxes")["drawn"]["__value__"].append(CROP)
    submitted("Curve")["curve"]["points"].clear()
    assert submitted("Boxes")["drawn"] == {"__value__": []}
    assert submitted("Curve")["curve"]["points"] == [[0, 0], [1, 1]]


@pytest.mark.parametrize("saved", [[], [SHOWN], [["a.png", "b.png"]]])
def test_a_comparison_is_never_what_was_once_shown(saved: list[Any]) -> None:
    assert submitted("ImageCompare", *saved) == {"compare_view": {"__value__": ["", ""]}}


def test_viewers_that_the_page_adds() -> None:
    assert submitted("SaveGLB", "mesh", "") == {"filename_prefix": "mesh", "image": ""}
    assert submitted("Preview3D", "", "") == {"model_file": "", "image": ""}
    shown = {"properties": {"Last Time Model File": "a.glb"}}
    assert submitted("Preview3D", "", "", **shown) == {"model_file": "a.glb", "image": ""}


def test_dynamic_inputs_that_the_file_does_not_have_yet() -> None:
    assert submitted("SaveVideo", "v", "h264") == {"name": "v", "codec": "h264", "codec.encoding": "auto"}
    assert submitted("SaveVideo", "v", "none") == {"name": "v", "codec": "none"}
    assert submitted("Text", "on", 8) == {"mode": "on", "mode.top": 8, "mode.penalty": 0.5, "think": False}


class TestCustomCombo:
    INPUTS = {"choice": "a lot", "index": 1, "option1": "a little", "option2": "a lot", "option3": ""}  # noqa: RUF012

    def test_index_and_options_are_submitted(self) -> None:
        assert submitted("CustomCombo", "a lot", 1, "a little", "a lot", "") == self.INPUTS

    def test_the_index_follows_the_choice(self) -> None:
        assert submitted("CustomCombo", "a lot", 0, "a little", "a lot", "") == self.INPUTS
        assert submitted("CustomCombo", "more", 0, "a little", "")["index"] == -1

    def test_options_end_at_the_first_empty_one_which_is_always_there(self) -> None:
        assert submitted("CustomCombo", "a lot", 1, "a little", "a lot") == self.INPUTS
        assert submitted("CustomCombo", "a lot", 1, "a little", "a lot", "", "lost", "") == self.INPUTS

    def test_its_own_options_are_what_it_may_hold(self) -> None:
        api = {"1": {"class_type": "CustomCombo", "inputs": dict(self.INPUTS)}}
        check(api, INFO)
        api["1"]["inputs"]["choice"] = "a lott"
        with pytest.raises(RunError, match=r"choice 'a lott' is not there \(did you mean a lot\?\)"):
            check(api, INFO)

    def test_a_choice_that_is_set_takes_its_index_along(self) -> None:
        api = {"1": {"class_type": "CustomCombo", "inputs": dict(self.INPUTS)}}
        apply_settings(api, ["CustomCombo.choice=a little"], INFO)
        assert api["1"]["inputs"] == self.INPUTS | {"choice": "a little", "index": 0}
        with pytest.raises(RunError, match="is not a choice"):
            apply_settings(api, ["CustomCombo.choice=none"], INFO)


BOX, INNER = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))
KEYS = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")


def subgraph(one: str, nodes: list[dict[str, Any]], *links: tuple[Any, ...]) -> dict[str, Any]:
    """A subgraph with one input `n`, to which links lead from -10."""
    into = [link[0] for link in links if link[1] == -10]
    inputs = [{"name": "n", "type": "INT", "linkIds": into}]
    wired = [dict(zip(KEYS, link, strict=True)) for link in links]
    return {"id": one, "nodes": nodes, "links": wired, "inputs": inputs, "outputs": []}


def instance(number: int, kind: str, link: int | None = None, values: list[Any] | None = None) -> dict[str, Any]:
    inputs = [{"name": "n", "type": "INT", "link": link, "widget": {"name": "n"}}]
    return {"id": number, "type": kind, "inputs": inputs, "widgets_values": values or []}


def summed(number: int, value: int, *, widget: int | None, socket: int | None) -> dict[str, Any]:
    inputs = [
        {"name": "value", "type": "INT", "link": widget, "widget": {"name": "value"}},
        {"name": "other", "type": "INT,FLOAT", "link": socket},
    ]
    return {"id": number, "type": "Sum", "inputs": inputs, "widgets_values": [value]}


class TestConstants:
    """A subgraph's own widget feeds widgets and sockets alike."""

    GRAPH = subgraph(
        BOX,
        [summed(1, 5, widget=1, socket=None), summed(2, 6, widget=None, socket=2)],
        (1, -10, 0, 1, 0, "INT"),
        (2, -10, 0, 2, 1, "INT"),
    )

    @pytest.mark.parametrize(("values", "n"), [([], 5), ([8], 8)])
    def test_a_socket_gets_what_the_widget_holds(self, values: list[Any], n: int) -> None:
        ui = {"nodes": [instance(9, BOX, None, values)], "links": [], "definitions": {"subgraphs": [self.GRAPH]}}
        api = convert(ui, INFO)
        assert (api["9:1"]["inputs"]["value"], api["9:2"]["inputs"]) == (n, {"value": 6, "other": n})

    def test_through_a_subgraph_in_it(self) -> None:
        outer = subgraph(INNER, [instance(7, BOX, 1)], (1, -10, 0, 7, 0, "INT"))
        ui = {"nodes": [instance(9, INNER, None, [3])], "links": [], "definitions": {"subgraphs": [outer, self.GRAPH]}}
        assert convert(ui, INFO)["9:7:2"]["inputs"]["other"] == 3

    @pytest.mark.parametrize("mode", [2, 4])
    def test_it_stays_where_the_node_that_holds_it_is_switched_off(self, mode: int) -> None:
        graph = copy.deepcopy(self.GRAPH)
        graph["nodes"][0]["mode"] = mode
        for values, n in (([], 5), ([8], 8)):
            ui = {"nodes": [instance(9, BOX, None, values)], "links": [], "definitions": {"subgraphs": [graph]}}
            assert {one: node["inputs"] for one, node in convert(ui, INFO).items()} == {"9:2": {"value": 6, "other": n}}

    def test_a_second_widget_follows_the_first(self) -> None:
        graph = subgraph(
            BOX,
            [summed(1, 5, widget=1, socket=None), summed(2, 6, widget=2, socket=None)],
            (2, -10, 0, 2, 0, "INT"),
            (1, -10, 0, 1, 0, "INT"),
        )
        graph["inputs"][0]["linkIds"] = [1, 2]
        ui = {"nodes": [instance(9, BOX)], "links": [], "definitions": {"subgraphs": [graph]}}
        assert [node["inputs"]["value"] for node in convert(ui, INFO).values()] == [5, 5]

    def test_what_is_wired_outside_goes_first(self) -> None:
        number = {"id": 8, "type": "Number", "widgets_values": [1]}
        ui = {
            "nodes": [number, instance(9, BOX, 1, [3])],
            "links": [[1, 8, 0, 9, 0, "INT"]],
            "definitions": {"subgraphs": [self.GRAPH]},
        }
        api = convert(ui, INFO)
        assert api["9:1"]["inputs"]["value"] == api["9:2"]["inputs"]["other"] == ["8", 0]


class TestIds:
    def graph(self) -> dict[str, Any]:
        def copied(one: str) -> dict[str, Any]:
            number = {"id": 3, "type": "Number", "widgets_values": [1]}
            return subgraph(one, [number, summed(4, 5, widget=1, socket=None)], (1, 3, 0, 4, 0, "INT"))

        proxied = instance(2, INNER) | {"properties": {"proxyWidgets": [["4", "value"]]}}
        nodes = [instance(1, BOX), proxied, {"id": 6, "type": "Number", "widgets_values": [2]}]
        return {
            "nodes": nodes,
            "links": [],
            "last_node_id": 5,
            "definitions": {"subgraphs": [copied(BOX), copied(INNER)]},
        }

    def test_the_second_copy_gets_the_next_free_numbers(self) -> None:
        ui = with_unique_ids(self.graph())
        first, second = ui["definitions"]["subgraphs"]
        assert [node["id"] for node in first["nodes"]] == [3, 4]
        assert [node["id"] for node in second["nodes"]] == [7, 8]
        assert (second["links"][0]["origin_id"], second["links"][0]["target_id"]) == (7, 8)
        assert ui["nodes"][1]["properties"]["proxyWidgets"] == [["8", "value"]]
        assert sorted(convert(ui, INFO)) == ["1:3", "1:4", "2:7", "2:8", "6"]

    def test_the_file_is_read_so_and_its_content_stays(self, tmp_path: Path) -> None:
        graph = self.graph()
        assert with_unique_ids(graph) != graph == self.graph()
        path = tmp_path / "graph.json"
        path.write_text(json.dumps(graph))
        assert WorkflowFile.read(path).ui == with_unique_ids(graph)

    def test_ids_that_differ_stay(self) -> None:
        graph = with_unique_ids(self.graph())
        assert with_unique_ids(graph) == graph
