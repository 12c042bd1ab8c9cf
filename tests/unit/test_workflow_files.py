"""Workflow files: read in every form that ComfyUI writes, found by name or path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from driver.errors import RunError
from driver.graph import file as workflow
from driver.graph.api import Api
from driver.graph.bound import BatchGraph
from driver.graph.file import WorkflowFile, find_workflow, passed_over
from driver.options import RunOptions
from driver.pipeline import workflow as pipeline_workflow


def graph() -> Api:
    return {
        "1": {"class_type": "EditPairsLoadSample", "inputs": {"image": "a.png", "seed": 5}},
        "4": {"class_type": "EditPairsSavePair", "inputs": {"sample": ["1", 0], "instruction": "Remove it."}},
    }


def written(folder: Path, content: object, name: str = "graph.json", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding=encoding)
    return path


def png(folder: Path, **chunks: str) -> Path:
    info = PngImagePlugin.PngInfo()
    for name, text in chunks.items():
        info.add_text(name, text)
    Image.new("RGB", (4, 4)).save(folder / "picture.png", pnginfo=info)
    return folder / "picture.png"


UI = {
    "nodes": [
        {"id": 9, "type": "PreviewImage", "mode": 0, "inputs": [{"name": "images", "type": "IMAGE", "link": None}],
         "outputs": [], "widgets_values": []},
    ],
    "links": [],
    "version": 0.4,
}  # fmt: skip


class TestReading:
    def test_api_json(self, tmp_path: Path) -> None:
        file = WorkflowFile.read(written(tmp_path, graph()))
        assert (file.ui, file.api, len(file.sha256)) == (None, graph(), 64)
        api = file.to_api({})
        api["1"]["inputs"].clear()
        assert file.api == graph(), "what to_api gives out is a copy"

    def test_ui_json(self, tmp_path: Path, object_info: dict[str, Any]) -> None:
        file = WorkflowFile.read(written(tmp_path, UI))
        assert (file.ui, file.api) == (UI, None)
        assert file.to_api(object_info)["9"]["class_type"] == "PreviewImage"

    @pytest.mark.parametrize("encoding", ["utf-8-sig"])
    def test_a_byte_order_mark_is_no_harm(self, encoding: str, tmp_path: Path) -> None:
        assert WorkflowFile.read(written(tmp_path, graph(), encoding=encoding)).api == graph()

    def test_png(self, tmp_path: Path) -> None:
        file = WorkflowFile.read(png(tmp_path, prompt=json.dumps(graph()), workflow=json.dumps(UI)))
        assert (file.ui, file.api) == (None, graph())

    def test_png_with_words_that_json_lacks(self, tmp_path: Path) -> None:
        """Python writes NaN for a fingerprint that was one; the word may also stand in a prompt."""
        api = graph()
        api["1"]["is_changed"] = [float("nan")]
        api["4"]["inputs"]["instruction"] = "Write NaN on the bread."
        read = WorkflowFile.read(png(tmp_path, prompt=json.dumps(api))).api
        assert read is not None
        assert read["1"]["is_changed"] == [None]
        assert read["4"]["inputs"]["instruction"] == "Write NaN on the bread."

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "not JSON"), ("{", "not JSON"), ("[" * 100_000, "not JSON"), ("1" * 5000, "not JSON"),
            ("[]", "not a ComfyUI workflow"), ("{}", "not a ComfyUI workflow"), ("null", "not a ComfyUI workflow"),
            ('{"nodes": {}}', "not a ComfyUI workflow"), ('{"1": {"class_type": 5, "inputs": {}}}', "not a ComfyUI"),
            ('{"1": {"class_type": "A"}}', "not a ComfyUI"), ('{"1": {"class_type": "A", "inputs": []}}', "not a"),
        ],
    )  # fmt: skip
    def test_what_is_no_workflow(self, text: str, why: str, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=why) as error:
            WorkflowFile.read(written(tmp_path, text))
        assert error.value.status == 2
        assert "graph.json" in str(error.value)

    def test_the_option_that_named_the_file_is_told(self, tmp_path: Path, object_info: dict[str, Any]) -> None:
        begin = f"^--workflow {tmp_path / 'graph.json'}: "
        with pytest.raises(RunError, match=begin + "not JSON"):
            WorkflowFile.read(written(tmp_path, "{"), "--workflow")
        with pytest.raises(RunError, match=begin + "cannot be converted"):
            WorkflowFile.read(written(tmp_path, {**UI, "nodes": [{"id": 1, "type": []}]}), "--workflow").to_api(
                object_info
            )
        file = WorkflowFile.read(written(tmp_path, graph() | {"2": {"class_type": "Gone", "inputs": {}}}), "--workflow")
        with pytest.raises(RunError, match=begin + "the workflow (does not fit|has no)|does not depend"):
            BatchGraph.bind(file.to_api(object_info), object_info, file)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match="cannot be read"):
            WorkflowFile.read(tmp_path / "gone.json")

    def test_png_without_a_workflow(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match="carries no workflow"):
            WorkflowFile.read(png(tmp_path))

    @pytest.mark.parametrize("length", [10, 40, 60])
    def test_damaged_png(self, length: int, tmp_path: Path) -> None:
        whole = png(tmp_path, prompt=json.dumps(graph())).read_bytes()
        (tmp_path / "cut.png").write_bytes(whole[:length])
        with pytest.raises(RunError, match=r"cut\.png: (a damaged PNG|this PNG carries no workflow)"):
            WorkflowFile.read(tmp_path / "cut.png")

    @pytest.mark.parametrize("broken", [[1], ["x"], [{}], [None], [{"id": 1, "type": []}], [{"id": 1, "type": "Gone"}]])
    def test_a_graph_with_a_hole_is_not_the_users_graph(
        self, broken: list[Any], tmp_path: Path, object_info: dict[str, Any]
    ) -> None:
        file = WorkflowFile.read(written(tmp_path, {**UI, "nodes": broken}))
        with pytest.raises(RunError, match=r"cannot be converted|has no such node|has no Save Edit Pair"):
            BatchGraph.bind(file.to_api(object_info), object_info)

    @pytest.mark.parametrize(
        ("mode", "nested", "why"),
        [
            (2, "", "Mine #4 is muted"), (4, "", "Mine #4 is bypassed"),
            (2, "a", "Mine #1:4 stands in Box a #1, which is muted"), (4, "a", "Mine #1:4 stands in Box a #1, which is bypassed"),
            (2, "ab", "Mine #1:1:4 stands in Box a #1, which is muted"),
        ],
    )  # fmt: skip
    def test_an_end_that_is_switched_off_is_named(
        self, mode: int, nested: str, why: str, object_info: dict[str, Any]
    ) -> None:
        nodes = [{"id": 4, "type": "EditPairsSavePair", "title": "Mine", "mode": 0 if nested else mode}]
        boxes = []
        for name in reversed(nested):
            boxes.append({"id": name, "name": f"Box {name}", "nodes": nodes})
            nodes = [{"id": 1, "type": name, "mode": 0}]
        nodes[0]["mode"] = mode
        ui = {**UI, "nodes": nodes, "definitions": {"subgraphs": boxes}}
        with pytest.raises(
            RunError, match=rf"^--workflow graph\.json: .*has no Save Edit Pair.* that runs: {why}: switch it on"
        ):
            BatchGraph.bind({}, object_info, WorkflowFile(Path("graph.json"), "", ui, None, "--workflow"))

    def test_a_subgraph_in_a_subgraph_switches_nothing_off(self) -> None:
        """The page submits what is in it."""
        boxes = [
            {"id": "a", "nodes": [{"id": 1, "type": "b", "mode": 4}]},
            {"id": "b", "nodes": [{"id": 2, "type": "End"}]},
        ]
        ui = {"nodes": [{"id": 1, "type": "a"}], "definitions": {"subgraphs": boxes}}
        assert WorkflowFile(Path("graph.json"), "", ui, None).switched_off({"End"}) == []


class TestWhichProfile:
    """Where none is asked for: what may train, and without a GPU what needs no model."""

    @pytest.mark.parametrize(("gpu", "profile"), [(True, "open"), (False, "classical")])
    def test_by_this_machine(self, gpu: bool, profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pipeline_workflow, "has_gpu", lambda: gpu)
        assert pipeline_workflow._profile(RunOptions("remove", tmp_path)) == profile
        assert pipeline_workflow._profile(RunOptions("remove", tmp_path, profile="full")) == "full"
        assert pipeline_workflow._profile(RunOptions("remove", tmp_path, server="http://a")) is None

    def test_by_a_server(self) -> None:
        devices = [{"type": "cpu"}], [{"type": "cuda"}], [{"type": "mps"}]
        found = [pipeline_workflow._by_devices({"devices": one}) for one in devices]
        assert found == ["classical", "open", "open"]


class TestFinding:
    @pytest.fixture(autouse=True)
    def house(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder of workflows, and another one to be in."""
        (tmp_path / "workflows").mkdir()
        (tmp_path / "here").mkdir()
        for name in ("remove-classical", "style", "style-classical", "style-open", "write", "annotate", "annotate-open", "annotate-text",
                     "instruct-qwen"):  # fmt: skip
            (tmp_path / "workflows" / f"{name}.json").touch()
        monkeypatch.setattr(workflow, "WORKFLOWS", tmp_path / "workflows")
        monkeypatch.chdir(tmp_path / "here")
        return tmp_path

    @pytest.mark.parametrize(
        ("name", "profile", "file", "is_profile"),
        [
            ("remove.json", "classical", "remove-classical.json", "classical"),
            ("remove", "classical", "remove-classical.json", "classical"),
            ("style.json", "classical", "style-classical.json", "classical"),
            ("style", "full", "style.json", "full"),
            ("style-classical", "full", "style-classical.json", "classical"),
            ("style", "open", "style-open.json", "open"),
            ("style-open", "classical", "style-open.json", "open"),
            ("style-classical", "open", "style-classical.json", "classical"),
            ("write", "open", "write.json", "full"),
            ("write.json", "classical", "write.json", "full"),
            ("annotate", "classical", "annotate-text.json", "classical"),
            ("annotate-open", "classical", "annotate-open.json", "open"),
            ("annotate", "full", "annotate.json", "full"),
            ("instruct-qwen", "full", "instruct-qwen.json", "open"),
            ("instruct-qwen", "classical", "instruct-qwen.json", "open"),
        ],
    )
    def test_names(self, name: str, profile: str, file: str, is_profile: str, house: Path) -> None:
        assert find_workflow(name, profile) == (house / "workflows" / file, is_profile)

    @pytest.mark.parametrize(
        "path", ["./style.json", "sub/graph.json", "/elsewhere/graph.json", "../workflows/style.json"]
    )
    def test_paths_are_taken_as_they_are(self, path: str) -> None:
        assert find_workflow(path, "classical") == (Path(path), "custom")

    def test_a_file_here_that_is_no_name(self, house: Path) -> None:
        (house / "here" / "mine.json").touch()
        assert find_workflow("mine.json", "full") == (Path("mine.json"), "custom")

    @pytest.mark.parametrize("profile", ["full", "classical"])
    @pytest.mark.parametrize(
        ("name", "other"), [("remove.json", "remove"), ("style.json", "style"), ("style", "style.json")]
    )
    def test_a_file_here_with_a_name_of_ours_is_asked_about(
        self, name: str, other: str, profile: str, house: Path
    ) -> None:
        """Neither loses silently, and both ways to say it that the line names lead there."""
        (house / "here" / name).touch()
        with pytest.raises(
            RunError, match=rf"--workflow \./{name} takes the file, --workflow {other} that of EditPairs"
        ):
            find_workflow(name, profile)
        assert find_workflow(f"./{name}", profile) == (Path(name), "custom")
        ours, _ = find_workflow(other, "classical")
        assert ours.parent == house / "workflows"

    def test_a_name_that_passes_over_a_file_here_is_told(self, house: Path) -> None:
        ours, _ = find_workflow("style", "full")
        assert passed_over("style", ours) == ""
        (house / "here" / "style.json").touch()
        line = "--workflow style takes EditPairs' own style.json; the file here is --workflow ./style.json"
        assert passed_over("style", ours) == line
        assert passed_over("./style.json", Path("style.json")) == ""

    def test_in_the_folder_of_ours_nothing_is_asked(self, house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(house / "workflows")
        assert find_workflow("style.json", "full") == (house / "workflows" / "style.json", "full")
        assert passed_over("style", house / "workflows" / "style.json") == ""

    @pytest.mark.parametrize("profile", ["open", "full"])
    def test_a_task_without_a_graph_of_the_profile_names_the_others(self, profile: str) -> None:
        line = rf"remove has no graph of the profile {profile}: --profile classical takes remove-classical\.json$"
        with pytest.raises(RunError, match=line):
            find_workflow("remove.json", profile)

    def test_what_may_not_train_is_never_taken_for_what_may(self, house: Path) -> None:
        (house / "workflows" / "style-open.json").unlink()
        others = r"--profile full takes style\.json; --profile classical takes style-classical\.json"
        with pytest.raises(RunError, match=rf"style has no graph of the profile open: {others}"):
            find_workflow("style", "open")

    def test_an_unknown_name_gets_a_guess(self) -> None:
        with pytest.raises(RunError, match=r"no workflow called remov\.json \(did you mean remove\?\).*remove, style"):
            find_workflow("remov.json", "full")
