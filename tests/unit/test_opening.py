"""A row as a workflow: every widget is set as the driver set it, wherever it stands, and what cannot be opened is said."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comfy_nodes.core.instructions.turns import turn_of
from driver.artists.open_row import _as_saved, _compared, find_row, open_row
from driver.dataset.dataset import stored_rows
from driver.errors import RunError
from driver.graph.api import Api
from driver.graph.file import WorkflowFile
from driver.graph.ui import UiGraph
from driver.inputs.source import Source
from driver.open import main
from driver.places import State
from tests.unit.test_running_turns import D, Servers, dialogue

Encode = Callable[..., bytes]


class Server:
    """Its node list, and what was put on it."""

    url = "http://127.0.0.1:8188"

    def __init__(self, info: dict[str, Any]):
        self._info = info
        self.uploaded: dict[str, bytes] = {}

    def object_info(self) -> dict[str, Any]:
        return self._info

    def upload(self, data: bytes, filename: str, subfolder: str, place: str = "temp") -> str:
        self.uploaded[filename] = data
        return f"{subfolder}/{filename} [{place}]"


def ui() -> dict[str, Any]:
    """Load, paint in a subgraph, save. The paint's seed is free."""
    load = {"id": 1, "type": "EditPairsLoadSample", "mode": 0, "inputs": [],
            "outputs": [{"name": "sample", "type": "EDITPAIRS_SAMPLE", "links": [1]}, {"name": "image", "type": "IMAGE", "links": [2]},
                        {"name": "mask", "type": "MASK", "links": [3]}],
            "widgets_values": ["editpairs-samples/rocket.jpg", "remove", 0, 5, "fixed", "", "", ""]}  # fmt: skip
    name = "11111111-2222-3333-4444-555555555555"
    paint = {"id": 2, "type": name, "mode": 0, "widgets_values": [],
             "inputs": [{"name": "image", "type": "IMAGE", "link": 2}, {"name": "mask", "type": "MASK", "link": 3}],
             "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [4]}]}  # fmt: skip
    save = {"id": 3, "type": "EditPairsSavePair", "mode": 0, "outputs": [], "widgets_values": ["Remove the cup.", "editpairs"],
            "inputs": [{"name": "sample", "type": "EDITPAIRS_SAMPLE", "link": 1}, {"name": "edited", "type": "IMAGE", "link": 4}]}  # fmt: skip
    inner = {"id": 9, "type": "Paint", "mode": 0, "widgets_values": [3, "fixed", "telea", 1.0, False, "", "brushes", 4],
             "inputs": [{"name": "image", "type": "IMAGE", "link": 1}, {"name": "mask", "type": "MASK", "link": 2}],
             "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [3]}]}  # fmt: skip
    links = [(1, -10, 0, 9, 0, "IMAGE"), (2, -10, 1, 9, 1, "MASK"), (3, 9, 0, -20, 0, "IMAGE")]
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    definition = {"id": name, "name": "Brush", "inputNode": {"id": -10}, "outputNode": {"id": -20}, "nodes": [inner],
                  "inputs": [{"name": "image", "type": "IMAGE", "linkIds": [1]}, {"name": "mask", "type": "MASK", "linkIds": [2]}],
                  "outputs": [{"name": "IMAGE", "type": "IMAGE", "linkIds": [3]}],
                  "links": [dict(zip(names, link, strict=True)) for link in links]}  # fmt: skip
    wires = [
        [1, 1, 0, 3, 0, "EDITPAIRS_SAMPLE"],
        [2, 1, 1, 2, 0, "IMAGE"],
        [3, 1, 2, 2, 1, "MASK"],
        [4, 2, 0, 3, 1, "IMAGE"],
    ]
    return {"nodes": [load, paint, save], "links": wires, "definitions": {"subgraphs": [definition]}, "version": 0.4}


def converted(graph: dict[str, Any], info: dict[str, Any]) -> Api:
    return WorkflowFile(Path("graph.json"), "0" * 64, graph, None).to_api(info)


@pytest.fixture
def finished(run: Any, object_info: dict[str, Any]) -> Path:
    """A run of one row, whose --set had chosen another method than the file."""
    run.add("a" * 20)
    run.finish()
    api = converted(ui(), object_info)
    api["2:9"]["inputs"]["method"] = "shift-map"
    (run.output / "workflow.json").write_text(json.dumps(ui()))
    (run.output / "workflow_api.json").write_text(json.dumps(api))
    return run.output


class TestOpening:
    def test_the_file_does_what_the_driver_did(self, finished: Path, object_info: dict[str, Any], run: Any) -> None:
        server = Server(object_info)
        opened = open_row(find_row("a" * 20, finished), server, None, upload=True)  # type: ignore[arg-type]
        api = converted(json.loads(opened.path.read_text()), object_info)
        load = api["1"]["inputs"]
        assert (load["image"], load["seed"]) == (f"editpairs-open/{'a' * 20}.png [input]", 7)
        assert json.loads(load["annotation"])["segmentation"]["object"][0]["class_name"] == "cup"
        assert json.loads(load["annotation"])["editpairs"]["key"] == "a" * 20
        assert (api["2:9"]["inputs"]["seed"], api["2:9"]["inputs"]["method"]) == (7, "shift-map")
        assert api["3"]["inputs"]["folder"] == "editpairs"
        assert server.uploaded == {f"{'a' * 20}.png": run.png("a" * 20, "input")}

    def test_without_an_upload_the_photo_lies_beside_it(
        self, finished: Path, object_info: dict[str, Any], run: Any
    ) -> None:
        server = Server(object_info)
        opened = open_row(find_row("a" * 20, finished), server, None, upload=False)  # type: ignore[arg-type]
        assert converted(json.loads(opened.path.read_text()), object_info)["1"]["inputs"]["image"] == f"{'a' * 20}.png"
        assert opened.pictures[0].read_bytes() == run.png("a" * 20, "input")
        assert (server.uploaded, "copy aaaaaaaaaaaaaaaaaaaa.png from" in opened.lines[0]) == ({}, True)

    def test_a_scaled_photo_is_said(self, finished: Path, object_info: dict[str, Any]) -> None:
        """The journal knows the photo's size, 10 x 6; the row's picture is 12 x 12."""
        opened = open_row(find_row("a" * 20, finished), Server(object_info), None, upload=False)  # type: ignore[arg-type]
        assert "scaled the photo from 10 x 6 to 12 x 12: give the run's --input" in opened.lines[1]

    def test_another_photo_in_the_input(
        self, finished: Path, object_info: dict[str, Any], tmp_path: Path, run: Any
    ) -> None:
        photos = tmp_path / "photos"
        photos.mkdir()
        (photos / f"{'a' * 20}.jpg").write_bytes(run.png("other", "input"))
        with pytest.raises(RunError, match="is another picture than the one"):
            open_row(find_row("a" * 20, finished), Server(object_info), Source(photos), upload=False)  # type: ignore[arg-type]

    def test_no_such_row(self, finished: Path, object_info: dict[str, Any]) -> None:
        with pytest.raises(RunError, match="has no row of this key"):
            open_row(find_row("b" * 20, finished), Server(object_info), None, upload=False)  # type: ignore[arg-type]

    def test_a_run_of_an_api_file(self, finished: Path, object_info: dict[str, Any]) -> None:
        (finished / "workflow.json").unlink()
        with pytest.raises(RunError, match=r"was run from a file in API format.*nothing to fill in"):
            open_row(find_row("a" * 20, finished), Server(object_info), None, upload=False)  # type: ignore[arg-type]


class TestTurns:
    @pytest.fixture
    def played(self, run: Any, object_info: dict[str, Any]) -> Path:
        """A run of one dialogue of three turns, the third of which goes back."""
        object_info["EditPairsLoadSample"]["input"]["required"]["task"][1]["options"].append("version_backtracking")
        Servers(run, dialogue(task="version_backtracking")).go_on()
        run.finish()
        (run.output / "workflow.json").write_text(json.dumps(ui()))
        (run.output / "workflow_api.json").write_text(json.dumps(converted(ui(), object_info)))
        output: Path = run.output
        return output

    def test_a_turn_opens_with_its_state_and_what_earlier_turns_left(
        self, played: Path, object_info: dict[str, Any], run: Any
    ) -> None:
        rows = {row.columns["key"]: row for row in stored_rows(played, "data")}
        server = Server(object_info)
        found = find_row(f"{D}~2", played)
        opened = open_row(found, server, None, upload=True)  # type: ignore[arg-type]
        base = found.sample.turn and found.sample.turn.base
        assert base == 1 and server.uploaded == {f"{D}~2.png": rows[f"{D}~0"].outputs[0]}
        load = converted(json.loads(opened.path.read_text()), object_info)["1"]["inputs"]
        assert (load["image"], load["task"]) == (f"editpairs-open/{D}~2.png [input]", "version_backtracking")
        told = json.loads(load["annotation"])
        turn = turn_of(told["turn"])
        assert (turn.number, turn.of, turn.base, [one.number for one in turn.earlier]) == (3, 3, 1, [1, 2])
        assert told["writing"]["steps"][0]["op"] == turn.op
        assert told["editpairs"]["key"] == f"{D}~2"
        assert found.states == {State(f"{D}~0", "output"): rows[f"{D}~0"].outputs[0],
                                State(f"{D}~0", "input"): rows[f"{D}~0"].inputs[0]}  # fmt: skip

    def test_a_dialogue_opens_its_first_turn_and_names_the_others(
        self, played: Path, object_info: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        opened = open_row(find_row(D, played), Server(object_info), None, upload=False)  # type: ignore[arg-type]
        assert opened.path.name == f"{D}~0.json"
        assert f"{D} is a dialogue: this is its first turn, the others are {D}~1 (" in opened.lines[-1]
        assert main([str(played), D, "--dry-run"]) == 0
        said = capsys.readouterr().out
        assert f"{D}~0.json: would be written" in said and f"; {D}~2 (" in said

    def test_a_turn_whose_state_is_gone(self, played: Path, run: Any) -> None:
        with run.journal._transaction():
            run.journal._db.execute("DELETE FROM records WHERE sample = ?", (f"{D}~0",))
        with pytest.raises(RunError, match="the turn before has no record any more"):
            find_row(f"{D}~1", played)


def test_of_an_addition_the_picture_after_is_the_photo(run: Any, object_info: dict[str, Any]) -> None:
    """The thing is taken out of the photo, which is what the edit leads to."""
    object_info["EditPairsLoadSample"]["input"]["required"]["task"][1]["options"].append("add")
    run.add("a" * 20, task="add")
    run.finish()
    graph = ui()
    graph["nodes"][0]["widgets_values"][1] = "add"
    (run.output / "workflow.json").write_text(json.dumps(graph))
    (run.output / "workflow_api.json").write_text(json.dumps(converted(graph, object_info)))
    opened = open_row(find_row("a" * 20, run.output), Server(object_info), None, upload=False)  # type: ignore[arg-type]
    assert opened.pictures[0].read_bytes() == run.png("a" * 20, "output")


class TestSettingWidgets:
    @pytest.mark.parametrize(
        ("path", "name", "value"),
        [(("1",), "annotation", "{}"), (("1",), "seed", 2**53 - 1), (("2", "9"), "seed", 8), (("2", "9"), "folder", "telea"),
         (("2", "9"), "tiled", True), (("3",), "folder", "mine")],
    )  # fmt: skip
    def test_one_widget_changes_and_nothing_else(
        self, path: tuple[str, ...], name: str, value: object, object_info: dict[str, Any]
    ) -> None:
        graph, wanted = UiGraph(ui()), converted(ui(), object_info)
        wanted[":".join(path)]["inputs"][name] = value
        graph.set(path, name, value, lambda changed: converted(changed, object_info))
        assert converted(graph.ui, object_info) == wanted

    def test_a_value_without_a_place(self, object_info: dict[str, Any]) -> None:
        """As in a file that was made by hand."""
        bare = copy.deepcopy(ui())
        bare["nodes"][0]["widgets_values"] = []
        with pytest.raises(RunError, match="has no place for its seed"):
            UiGraph(bare).set(("1",), "seed", 4, lambda changed: converted(changed, object_info))


class TestComparing:
    def test_equal(self, noise: np.ndarray, encode: Encode) -> None:
        again = _compared("k", (encode(noise),), [encode(noise)])
        assert (again.difference, again.share, again.line) == (0, 0.0, "k made again: no pixel differs")

    def test_one_pixel_down_by_three(self, noise: np.ndarray, encode: Encode) -> None:
        before, other = noise.copy(), noise.copy()
        before[2, 3, 1], other[2, 3, 1] = 253, 250
        again = _compared("k", (encode(before),), [encode(other)])
        assert (again.difference, again.share) == (3, 1 / 60)
        assert again.line == "k made again: differs by up to 3 of 255 levels in 1.67% of the pixels"

    def test_another_size(self, noise: np.ndarray, encode: Encode) -> None:
        again = _compared("k", (encode(noise),), [encode(noise[:5])])
        assert (again.difference, "10 x 6 and 10 x 5" in again.line) == (None, True)

    @pytest.mark.parametrize(("key", "saved"), [("k", "k"), ("k~1", "k~1"), ("k~try0", "k"), ("k~2~try1", "k~2")])
    def test_keys_of_rejected_tries(self, key: str, saved: str) -> None:
        assert _as_saved(key) == saved


def test_a_run_without_its_journal_is_not_given_an_empty_one(finished: Path) -> None:
    (finished / "run.sqlite").unlink()
    with pytest.raises(RunError, match=r"journal, run\.sqlite, is missing"):
        find_row("a" * 20, finished)
    assert not (finished / "run.sqlite").exists()


def test_a_row_of_a_shard_is_found_with_the_sample_in_the_journal_of_its_shard(
    finished: Path, shard: Callable[..., Any], tmp_path: Path
) -> None:
    output = tmp_path / "many"
    for index in range(2):
        part = shard(index, output)
        part.add(f"{index}" * 20)
        part.commit()
    for path in finished.glob("workflow*.json"):
        shutil.copy(path, output)
    found = find_row("1" * 20, output)
    assert (found.row.columns["key"], found.sample.key) == ("1" * 20, "1" * 20)
    with pytest.raises(RunError, match="has no row of this key"):
        find_row("2" * 20, output)
    part.part.journal.unlink()
    with pytest.raises(RunError, match=r"000001\.sqlite, is missing"):
        find_row("1" * 20, output)
