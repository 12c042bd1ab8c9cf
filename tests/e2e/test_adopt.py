"""Graphs that artists have, adopted against the real node list: they do by hand what Run did, and a batch has words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.adopting import differences, graphs, outcome
from driver.artists.adopt import adopt, read_answers
from driver.graph.api import SOURCE_CLASS, Api
from driver.graph.file import WorkflowFile
from tests.e2e.helpers import REPOSITORY, Driver, get, make_photo, rows
from tests.e2e.proxy import Proxy

CASES = REPOSITORY / "tests" / "cases"

TEMPLATES = {
    "flux_kontext_dev_basic": "adopted", "image_qwen_image_edit_2511": "adopted", "flux_fill_inpaint_example": "adopted",
    "utility_seedvr2_3b_int8_upscale_image": "adopted", "image_anima_lllite_image_inpainting": "adopted",
    "flux_redux_model_example": "asked", "image_qwen_image_layered": "adopted", "image_to_video_wan": "refused",
}  # fmt: skip
"""A few templates of each outcome; `python benchmarks/adopting.py` takes all."""


@pytest.fixture(scope="module")
def info(comfy: Any) -> dict[str, Any]:
    return dict(get(comfy.url, "/object_info"))


def adopted(path: Path, info: dict[str, Any], choices: str = "") -> tuple[Api, dict[str, Any], tuple[str, ...]]:
    """The adopted graph in API format, what Load Edit Sample holds, and what was said; equal to what Run submits."""
    file = WorkflowFile.read(path)
    found = adopt(file, info, read_answers(choices), None)
    api = WorkflowFile(path, file.sha256, found.ui, None).to_api(info)
    assert differences(file.to_api(info), api, info)[0] == []
    (held,) = [node["inputs"] for node in api.values() if node["class_type"] == SOURCE_CLASS]
    return api, held, found.lines


def test_words_in_a_node_of_the_page(info: dict[str, Any]) -> None:
    """The case `adopt-loses-the-words`: the node that held them does not lie about any more."""
    api, held, lines = adopted(CASES / "adopt-loses-the-words" / "graph.json", info)
    assert (held["image"], held["instruction"], held["seed"]) == ("photo.png", "make it night", 0)
    (load,) = [node_id for node_id, node in api.items() if node["class_type"] == SOURCE_CLASS]
    assert (api["2"]["inputs"]["text"], api["3"]["inputs"]["text"]) == ([load, 5], "blurry")
    assert "words: 'make it night' hold for photos that bring none" in lines
    ui = adopt(WorkflowFile.read(CASES / "adopt-loses-the-words" / "graph.json"), info, {}, None).ui
    assert "PrimitiveNode" not in [node["type"] for node in ui["nodes"]]


def test_words_of_another_name(info: dict[str, Any]) -> None:
    """The case `adopt-edit-instruction`; the node is one that is paid for."""
    paid = json.loads((CASES / "adopt-edit-instruction" / "nodes.json").read_text())
    api, held, lines = adopted(CASES / "adopt-edit-instruction" / "graph.json", {**info, **paid})
    assert held["instruction"] == "Make it snow."
    (load,) = [node_id for node_id, node in api.items() if node["class_type"] == SOURCE_CLASS]
    assert api["2"]["inputs"]["edit_instruction"] == [load, 5]
    assert any(line.startswith("paid nodes: ReveImageEditNode #2") for line in lines)


def test_a_painter_loads_no_photo(info: dict[str, Any]) -> None:
    """The case `adopt-painter`."""
    api, held, _ = adopted(CASES / "adopt-painter" / "graph.json", info)
    (load,) = [node_id for node_id, node in api.items() if node["class_type"] == SOURCE_CLASS]
    assert (api["8"]["inputs"]["pixels"], api["8"]["inputs"]["mask"]) == ([load, 1], [load, 2])
    assert (held["image"], held["task"]) == ("photo.png", "replace")
    assert "7" not in api


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_does_what_run_does(name: str, info: dict[str, Any]) -> None:
    (file,) = [one for one in graphs(None) if one.path.stem == name]
    found = outcome(file, info)
    assert (found.kind, found.differences) == (TEMPLATES[name], ())


def test_a_change_is_seen(info: dict[str, Any]) -> None:
    """The comparison of the two prompts can fail."""
    file = WorkflowFile.read(CASES / "adopt-loses-the-words" / "graph.json")
    api = WorkflowFile(file.path, "", adopt(file, info, {}, None).ui, None).to_api(info)
    for node_id, name, value in (("4", "steps", 21), ("2", "text", "x"), ("7", "pixels", ["5", 0])):
        changed = json.loads(json.dumps(api))
        changed[node_id]["inputs"][name] = value
        (line,) = differences(file.to_api(info), changed, info)[0]
        assert f"#{node_id}.{name}" in line


def command(*options: object) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "driver/adopt.py", *map(str, options)]
    return subprocess.run(
        arguments, cwd=REPOSITORY, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=os.environ
    )


def test_a_server_without_the_pack(driver: Driver, tmp_path: Path) -> None:
    graph = CASES / "adopt-without-the-pack" / "graph.json"
    with Proxy(driver.url, lambda route, _: "strip" if route == "GET /object_info" else None) as proxy:
        ended = command(graph, "--server", proxy.url, "--output", tmp_path / "out.json")
    said = f"adopt.py: {proxy.url} has no EditPairs nodes: install this pack there and restart it"
    assert (ended.returncode, ended.stdout, ended.stderr.strip()) == (2, "", said)
    assert not (tmp_path / "out.json").exists()


def test_photos_without_words(driver: Driver, tmp_path: Path) -> None:
    """None is edited where the graph has no words either; the graph's hold for them where it has some."""
    photos, graph, out = tmp_path / "photos", tmp_path / "ours.json", tmp_path / "out"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        make_photo(photos / name, size=(64, 48))
    (photos / "a.txt").write_text("Blur it.")
    (photos / "b.txt").unlink()
    theirs = CASES / "adopt-loses-the-words" / "no-model.json"
    looked = json.loads(command(theirs, "--server", driver.url, "--output", graph, "--dry-run", "--json").stdout)
    assert looked["output"] == str(graph) and "(task instruct)" in looked["changes"][0]
    assert not graph.exists()
    assert command(theirs, "--server", driver.url, "--output", graph).returncode == 0
    batch = {"workflow": graph, "quick": False}
    shown = driver.run("--input", photos, "--output", out, "--dry-run", **batch).stdout
    assert "1 to edit, 0 skipped, 1 unusable" in shown
    assert "the photo brings no words, and the workflow has none for it" in shown
    counted = json.loads(driver.run("--input", photos, "--output", out, "--dry-run", "--json", **batch).stdout)
    assert (counted["to_edit"], counted["skipped"], counted["unusable"]) == (1, 0, 1)

    ui = json.loads(graph.read_text())
    (load,) = [node for node in ui["nodes"] if node["type"] == SOURCE_CLASS]
    load["widgets_values"][load["widgets_values"].index("", 6)] = "Make it soft."  # behind the name of its class
    graph.write_text(json.dumps(ui))
    shown = driver.run("--input", photos, "--output", out, "--dry-run", **batch).stdout
    assert "1 bring none: they get the workflow's own, 'Make it soft.'" in shown
    told = json.loads(driver.run("--input", photos, "--output", out, "--json", **batch).stdout)
    assert (told["status"], told["output"], told["rejected"], told["failed"]) == (0, str(out), 2, 0)
    assert sorted(row["prompt"] for row in rows(out, "rejected")) == ["Blur it.", "Make it soft."]
