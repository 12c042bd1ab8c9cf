"""A graph as something to submit: bound to samples by class, checked, addressed by what an artist sees, hashed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from driver.errors import RunError
from driver.graph.api import Api, is_link
from driver.graph.bound import BatchGraph
from driver.graph.checks import apply_settings, check


def graph() -> Api:
    """Load, paint, verify and save, with a preview that no sink needs."""
    return {
        "1": {"class_type": "EditPairsLoadSample", "_meta": {"title": "Photo"},
              "inputs": {"image": "a.png", "task": "remove", "region_index": 0, "seed": 5, "class_name": ""}},
        "2": {"class_type": "Paint", "_meta": {"title": "Brush"},
              "inputs": {"image": ["1", 1], "mask": ["1", 2], "seed": 3, "method": "telea", "folder": "brushes"}},
        "3": {"class_type": "EditPairsVerifyPixels", "inputs":
              {"source": ["1", 1], "edited": ["2", 0], "edit_mask": ["2", 1], "min_changed": 0.05}},
        "4": {"class_type": "EditPairsSavePair", "inputs":
              {"sample": ["1", 0], "edited": ["2", 0], "instruction": "Remove it.", "scores.score0": ["3", 0]}},
        "5": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }  # fmt: skip


class TestBinding:
    def test_ends_and_seeds_are_found_by_class(self, object_info: dict[str, Any]) -> None:
        bound = BatchGraph.bind(graph(), object_info)
        assert (bound.source, bound.sink, bound.task) == ("1", "4", "remove")
        assert bound.seeds == ("#2.seed",)
        assert bound.left_out == ("PreviewImage #5",)
        assert set(bound.api) == {"1", "2", "3", "4"}

    def test_a_wired_seed_is_not_free(self, object_info: dict[str, Any]) -> None:
        api = graph()
        api["2"]["inputs"]["seed"] = ["1", 6]
        assert BatchGraph.bind(api, object_info).seeds == ()

    @pytest.mark.parametrize(("missing", "display"), [("1", "Load Edit Sample"), ("4", "Save Edit Pair")])
    def test_an_end_is_missing(self, missing: str, display: str, object_info: dict[str, Any]) -> None:
        api = {node_id: node for node_id, node in graph().items() if node_id != missing}
        with pytest.raises(RunError, match=f"has no {display}.* node"):
            BatchGraph.bind(api, object_info)

    @pytest.mark.parametrize(("twice", "display"), [("1", "Load Edit Sample"), ("4", "Save Edit Pair")])
    def test_an_end_stands_there_twice(self, twice: str, display: str, object_info: dict[str, Any]) -> None:
        api = {**graph(), "77": graph()[twice]}
        with pytest.raises(RunError, match=f"has 2 {display}.* nodes \\(#{twice}, #77\\): keep one"):
            BatchGraph.bind(api, object_info)

    def test_ends_that_are_not_connected(self, object_info: dict[str, Any]) -> None:
        api = graph()
        api["4"]["inputs"] = {"instruction": "x"}
        with pytest.raises(RunError, match="does not depend on Load Edit Sample"):
            BatchGraph.bind(api, object_info)

    def test_a_prompt_for_a_sample(self, object_info: dict[str, Any]) -> None:
        bound = BatchGraph.bind(graph(), object_info)
        before = copy.deepcopy(bound.api)
        prompt = bound.prompt({"image": "x.png", "annotation": "{}", "class_name": ""}, seed=99, folder="run/key")
        assert prompt["1"]["inputs"] | {"image": "x.png", "annotation": "{}", "seed": 99} == prompt["1"]["inputs"]
        assert (prompt["2"]["inputs"]["seed"], prompt["4"]["inputs"]["folder"]) == (99, "run/key")
        assert prompt["2"]["inputs"]["folder"] == "brushes"
        assert bound.api == before

    def test_inputs_that_the_artist_wired_stay_wired(self, object_info: dict[str, Any]) -> None:
        api = graph()
        api["1"]["inputs"]["instruction"] = ["8", 0]
        api["8"] = {"class_type": "Paint", "inputs": graph()["2"]["inputs"] | {"image": "x", "mask": "y"}}
        prompt = BatchGraph.bind(api, object_info).prompt({"instruction": "mine"}, seed=1, folder="f")
        assert prompt["1"]["inputs"]["instruction"] == ["8", 0]


class TestChecking:
    @pytest.mark.parametrize(
        ("node", "change", "why"),
        [
            ("2", {"class_type": "Pant"}, r"Pant #2: the server has no such node \(did you mean Paint\?\)"),
            ("2", {"inputs": {"image": ["1", 1], "mask": ["1", 2], "method": "telea"}}, "input seed is missing"),
            ("2", {"inputs": graph()["2"]["inputs"] | {"method": "tella"}}, r"method 'tella' .*did you mean telea"),
            ("3", {"inputs": graph()["3"]["inputs"] | {"source": ["44", 0]}}, "wired to node #44"),
        ],
    )
    def test_says_what_the_server_lacks(
        self, node: str, change: dict[str, Any], why: str, object_info: dict[str, Any]
    ) -> None:
        api = graph()
        api[node] |= change
        with pytest.raises(RunError, match=why):
            BatchGraph.bind(api, object_info)

    def test_every_finding_stands_in_the_line(self, object_info: dict[str, Any]) -> None:
        api = graph()
        api["2"]["class_type"] = "Nothing"
        del api["4"]["inputs"]["instruction"]
        with pytest.raises(RunError, match=r"Nothing #2.*; EditPairsSavePair #4: input instruction is missing"):
            check(api, object_info)

    def test_fits(self, object_info: dict[str, Any]) -> None:
        """An image that is not in the widget's list, and an Autogrow input without its own name, are fine."""
        check(graph(), object_info)

    def test_a_node_that_no_sink_needs_is_not_checked(self, object_info: dict[str, Any]) -> None:
        api = graph()
        api["5"]["class_type"] = "SomebodysPreview"
        assert BatchGraph.bind(api, object_info).left_out == ("SomebodysPreview #5",)


class TestSetting:
    @pytest.mark.parametrize("address", ["@Brush", "#2", "Paint"])
    @pytest.mark.parametrize(
        ("assignment", "value"),
        [
            ("seed=17", 17), ("strength=0.5", 0.5), ("strength=2", 2.0), ("tiled=true", True), ("tiled=FALSE", False),
            ("method=shift-map", "shift-map"), ("steps=8", 8), ("note=a = b. c", "a = b. c"), ("note=", ""),
        ],
    )  # fmt: skip
    def test_values_by_title_id_and_class(
        self, address: str, assignment: str, value: object, object_info: dict[str, Any]
    ) -> None:
        api = graph()
        apply_settings(api, [f"{address}.{assignment}"], object_info)
        found = api["2"]["inputs"][assignment.partition("=")[0]]
        assert found == value
        assert type(found) is type(value)

    def test_a_title_may_hold_dots_and_a_node_without_one_goes_by_class(self, object_info: dict[str, Any]) -> None:
        api = graph()
        api["2"]["_meta"]["title"] = "My v1.2 brush"
        api["1"]["_meta"] = None
        apply_settings(api, ["@My v1.2 brush.seed=4", "@EditPairsLoadSample.task=style"], object_info)
        assert (api["2"]["inputs"]["seed"], api["1"]["inputs"]["task"]) == (4, "style")

    @pytest.mark.parametrize(
        ("setting", "why"),
        [
            ("Paint.seed", "write it as"), ("seed=4", "write it as"), (".seed=4", "write it as"), ("#2.=4", "write it"),
            ("Brush.seed=4", "no node matches; candidates: #1 @Photo .EditPairsLoadSample., #2 @Brush"),
            ("#22.seed=4", "no node matches"), ("@brush.seed=4", "no node matches"),
            ("Paint.sed=4", r"Paint has no input sed \(did you mean seed\?\)"),
            ("Paint.image=4", "wired to another node"),
            ("Paint.seed=4.5", "'4.5' is not of type INT"), ("Paint.strength=much", "not of type FLOAT"),
            ("Paint.tiled=yes", "not of type BOOLEAN"), ("Paint.steps=5", "'5' is not a choice"),
            ("Paint.method=teleo", r"'teleo' is not a choice \(did you mean telea\?\)"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_set(self, setting: str, why: str, object_info: dict[str, Any]) -> None:
        api = graph()
        with pytest.raises(RunError, match=why) as error:
            apply_settings(api, [setting], object_info)
        assert f"--set {setting}:" in str(error.value)
        assert api == graph()

    @pytest.mark.parametrize("address", ["Paint", "@Brush"])
    def test_two_matches_are_listed(self, address: str, object_info: dict[str, Any]) -> None:
        api = {**graph(), "6": graph()["2"]}
        with pytest.raises(RunError, match=r"2 nodes match; candidates: #2 @Brush \(Paint\), #6 @Brush \(Paint\)$"):
            apply_settings(api, [f"{address}.seed=4"], object_info)


class TestHashing:
    def renumbered(self, api: Api) -> Api:
        """The same graph as another editor would save it: other ids, titles and order."""
        names = {"1": "40:7", "2": "3", "3": "1", "4": "2", "5": "x"}
        other: Api = {}
        for node_id in sorted(api, reverse=True):
            inputs = {
                name: [names[value[0]], value[1]] if is_link(value) else value
                for name, value in reversed(list(api[node_id]["inputs"].items()))
            }
            title = {"title": f"my {node_id}"}
            other[names[node_id]] = {"class_type": api[node_id]["class_type"], "inputs": inputs, "_meta": title}
        return other

    def test_ids_titles_and_order_do_not_count(self, object_info: dict[str, Any]) -> None:
        one = BatchGraph.bind(graph(), object_info)
        other = BatchGraph.bind(self.renumbered(graph()), object_info)
        assert one.canonical() == other.canonical()
        assert one.edit_sha256() == other.edit_sha256()

    @pytest.mark.parametrize(
        ("node", "name", "value"),
        [("1", "image", "b.png"), ("1", "seed", 6), ("1", "class_name", "cup"), ("1", "annotation", "{}"),
         ("4", "folder", "elsewhere"), ("2", "seed", 8)],
    )  # fmt: skip
    def test_what_the_driver_fills_in_does_not_count(
        self, node: str, name: str, value: object, object_info: dict[str, Any]
    ) -> None:
        api = graph()
        api[node]["inputs"][name] = value
        assert BatchGraph.bind(api, object_info).canonical() == BatchGraph.bind(graph(), object_info).canonical()

    @pytest.mark.parametrize(
        ("node", "name", "value"),
        [("1", "task", "style"), ("2", "method", "shift-map"), ("2", "folder", "other brushes"),
         ("2", "mask", ["2", 1]), ("4", "instruction", "Remove that."), ("4", "edit_mask", ["2", 1])],
    )  # fmt: skip
    def test_what_decides_pixels_and_words_counts(
        self, node: str, name: str, value: object, object_info: dict[str, Any]
    ) -> None:
        api = graph()
        api[node]["inputs"][name] = value
        one, other = BatchGraph.bind(graph(), object_info), BatchGraph.bind(api, object_info)
        assert one.canonical() != other.canonical()
        assert one.edit_sha256() != other.edit_sha256()

    def test_verifiers_count_for_the_run_but_not_for_the_edit(self, object_info: dict[str, Any]) -> None:
        api = graph()
        api["3"]["inputs"]["min_changed"] = 0.5
        one, other = BatchGraph.bind(graph(), object_info), BatchGraph.bind(api, object_info)
        assert one.canonical() != other.canonical()
        assert one.edit_sha256() == other.edit_sha256()
