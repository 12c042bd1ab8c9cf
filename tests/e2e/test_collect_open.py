"""Between artists and the driver: rows opened and made again, pairs made by hand collected, graphs of others batched."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driver.artists.adopt import adopt_file
from driver.artists.collect import collect
from driver.artists.open_row import Opened, find_row, make_again, open_row
from driver.comfyui.client import ComfyServer
from driver.graph.file import WorkflowFile, find_workflow
from driver.inputs.source import Source
from tests.e2e.helpers import REPOSITORY, Driver, comparable, get, make_photo, pixels_of, post, rows, until

INPAINT = "EditPairsClassicalInpaint"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    make_photo(tmp_path / "photos" / "photo.png", size=(101, 75))
    return tmp_path / "photos"


def run_by_hand(url: str, path: Path) -> dict[str, Any]:
    """Presses Run: posts a UI file as ComfyUI's page does; the record that Save Edit Pair shows."""
    file = WorkflowFile.read(path)
    prompt_id = str(uuid.uuid4())
    body = {"prompt": file.to_api(get(url, "/object_info")), "prompt_id": prompt_id,
            "extra_data": {"extra_pnginfo": {"workflow": file.ui}}}  # fmt: skip
    assert not post(url, "/prompt", body)["node_errors"]
    job = until(lambda: get(url, f"/history/{prompt_id}").get(prompt_id), "the prompt ends")
    assert job["status"]["status_str"] == "success", job["status"]["messages"][-1]
    (record,) = next(one["editpairs"] for one in job["outputs"].values() if "editpairs" in one)
    return dict(record)


def opened(output: Path, url: str, photos: Path | None) -> Opened:
    (row,) = rows(output) + rows(output, "rejected")
    return open_row(find_row(row["key"], output), ComfyServer(url), Source(photos) if photos else None, upload=True)


def test_a_row_is_opened_run_by_hand_and_collected(driver: Driver, photos: Path, comfy: Any, tmp_path: Path) -> None:
    driver.run("--input", photos, "--output", tmp_path / "out", "--seed", 3)
    (row,) = rows(tmp_path / "out")
    command = [
        sys.executable,
        "driver/open.py",
        tmp_path / "out",
        row["key"],
        "--again",
        "--server",
        comfy.url,
        "--json",
    ]
    for dry in (["--dry-run"], []):
        told = json.loads(subprocess.run([*command, *dry], capture_output=True, check=True, cwd=REPOSITORY).stdout)
        assert told["output"] == str(tmp_path / "out" / "open" / f"{row['key']}.json")
        assert Path(told["output"]).exists() is not told["dry_run"]
    assert told["again"] == {"difference": 0, "share": 0.0}
    for source in (photos, None):
        found = opened(tmp_path / "out", comfy.url, source)
        assert make_again(found, ComfyServer(comfy.url)).difference == 0

    record = run_by_hand(comfy.url, found.path)
    assert (record["key"], record["seed"], record["prompt"]) == (row["key"], row["seed"], row["prompt"])
    by_hand = tmp_path / "by hand"  # ComfyUI's own folder has what other tests saved, too
    by_hand.mkdir()
    for file in (comfy.models.parent / "output" / "editpairs").glob(f"{row['key']}*"):
        shutil.copy(file, by_hand)
    summary = collect(by_hand, tmp_path / "collected").summary
    assert (summary.kept, summary.failed) == (1, 0)
    compared = ("workflow", "workflow_sha256", "stage_sha256", "profile")
    assert comparable(tmp_path / "collected", compared) == comparable(tmp_path / "out", compared)

    # The picture that it left is a workflow, too: the graph that made it.
    (picture,) = by_hand.glob(f"{row['key']}-*-edited.png")
    driver.run("--input", photos, "--output", tmp_path / "again", "--seed", 3, workflow=picture)
    assert comparable(tmp_path / "again", compared) == comparable(tmp_path / "out", compared)


def test_another_result_is_seen(driver: Driver, photos: Path, comfy: Any, tmp_path: Path) -> None:
    driver.run("--input", photos, "--output", tmp_path / "out")
    found = opened(tmp_path / "out", comfy.url, photos)
    (node,) = (one for one in found.graph.api.values() if one["class_type"] == INPAINT)
    node["inputs"]["method"] = "navier-stokes"
    again = make_again(found, ComfyServer(comfy.url))
    assert again.difference and 0 < again.share < 1
    assert f"differs by up to {again.difference} of 255 levels" in again.line


def changed_by_an_artist(path: Path) -> dict[str, Any]:
    """The graph with a Reroute, a Set and a Get of KJNodes', a bypassed and a muted node, and the edit in a subgraph."""
    ui = json.loads(path.read_text())
    for node in ui["nodes"]:
        node["id"] += 100
    for link in ui["links"]:
        link[1] += 100
        link[3] += 100
    nodes = {node["type"]: node for node in ui["nodes"]}
    paint, load = nodes[INPAINT], nodes["EditPairsLoadSample"]
    photo, mask, *results = (
        next(link for link in ui["links"] if (link[3], link[4]) == (paint["id"], 0)),
        next(link for link in ui["links"] if (link[3], link[4]) == (paint["id"], 1)),
        *(link for link in ui["links"] if link[1] == paint["id"]),
    )

    def add(node_type: str, number: int, kinds: tuple[str, str], after: list[Any], **fields: Any) -> None:
        """Puts a node between a link's ends."""
        fresh = [900 + number, number, 0, after[3], after[4], kinds[1]]
        ui["nodes"].append(
            {"id": number, "type": node_type, "pos": [0, 0], "size": [9, 9], "mode": 0, "flags": {}, "order": 0,
             "inputs": [{"name": "image", "type": kinds[0], "link": after[0]}], "properties": {}, "widgets_values": [],
             "outputs": [{"name": "IMAGE", "type": kinds[1], "links": [fresh[0]]}], **fields}
        )  # fmt: skip
        target = next(node for node in ui["nodes"] if node["id"] == after[3])
        target["inputs"][after[4]]["link"] = fresh[0]
        after[3:5] = [number, 0]
        ui["links"].append(fresh)

    add("Reroute", 1, ("*", "IMAGE"), photo)
    add("ImageInvert", 2, ("IMAGE", "IMAGE"), next(link for link in ui["links"] if link[1] == 1), mode=4)
    ui["nodes"].append({"id": 3, "type": "ImageInvert", "mode": 2, "outputs": [], "inputs": [], "widgets_values": []})
    # Set and Get: the mask by name instead of by link.
    taken = copy.deepcopy(mask)
    ui["nodes"] += [
        {"id": 4, "type": "SetNode", "mode": 0, "widgets_values": ["region"], "outputs": [],
         "inputs": [{"name": "MASK", "type": "MASK", "link": mask[0]}]},
        {"id": 5, "type": "GetNode", "mode": 0, "widgets_values": ["region"], "inputs": [],
         "outputs": [{"name": "MASK", "type": "MASK", "links": [990]}]},
    ]  # fmt: skip
    mask[3:5] = [4, 0]
    ui["links"].append([990, 5, 0, taken[3], taken[4], "MASK"])
    paint["inputs"][1]["link"] = 990
    # The edit goes into a subgraph of its own.
    name = str(uuid.uuid4())
    ports = [("image", "IMAGE"), ("mask", "MASK")]
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    inner = copy.deepcopy(paint)
    inside = [(number + 1, -10, number, paint["id"], number, kind) for number, (_, kind) in enumerate(ports)]
    inside += [(number + 3, paint["id"], number, -20, number, kind) for number, (_, kind) in enumerate(ports)]
    for number in range(2):
        inner["inputs"][number]["link"] = number + 1
        inner["outputs"][number]["links"] = [number + 3]
    definition = {
        "id": name, "name": "Edit", "inputNode": {"id": -10}, "outputNode": {"id": -20}, "nodes": [inner],
        "inputs": [{"name": port, "type": kind, "linkIds": [one + 1]} for one, (port, kind) in enumerate(ports)],
        "outputs": [{"name": port, "type": kind, "linkIds": [one + 3]} for one, (port, kind) in enumerate(ports)],
        "links": [dict(zip(names, link, strict=True)) for link in inside],
    }  # fmt: skip
    paint.update(type=name, widgets_values=[])
    assert results and load
    return {**ui, "definitions": {"subgraphs": [definition]}}


def test_a_graph_that_an_artist_rebuilt_makes_the_same_pairs(driver: Driver, photos: Path, tmp_path: Path) -> None:
    path, _ = find_workflow("remove", "classical")
    (tmp_path / "mine.json").write_text(json.dumps(changed_by_an_artist(path)))
    driver.run("--input", photos, "--output", tmp_path / "out")
    driver.run("--input", photos, "--output", tmp_path / "mine", workflow=tmp_path / "mine.json")
    compared = ("workflow", "workflow_sha256", "profile")
    assert comparable(tmp_path / "mine", compared) == comparable(tmp_path / "out", compared)


def test_an_adopted_graph_makes_pairs(driver: Driver, photos: Path, comfy: Any, tmp_path: Path) -> None:
    """Load Image, scaled, inverted, Save Image: the pair is the scaled photo and the result."""
    scaled = {"id": 2, "type": "ImageScaleToTotalPixels", "widgets_values": ["area", 0.01, 1],
              "inputs": [{"name": "image", "type": "IMAGE", "link": 1}], "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [2]}]}  # fmt: skip
    inverted = {"id": 3, "type": "ImageInvert", "widgets_values": [], "inputs": [{"name": "image", "type": "IMAGE", "link": 2}],
                "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [3]}]}  # fmt: skip
    load = {"id": 1, "type": "LoadImage", "widgets_values": ["x.png", "image"], "inputs": [],
            "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}, {"name": "MASK", "type": "MASK", "links": None}]}  # fmt: skip
    save = {
        "id": 4,
        "type": "SaveImage",
        "widgets_values": ["x"],
        "inputs": [{"name": "images", "type": "IMAGE", "link": 3}],
        "outputs": [],
    }
    nodes = [{"mode": 0, "pos": [0, 0], "size": [9, 9], **one} for one in (load, scaled, inverted, save)]
    links = [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"], [3, 3, 0, 4, 0, "IMAGE"]]
    (tmp_path / "theirs.json").write_text(json.dumps({"nodes": nodes, "links": links, "version": 0.4}))
    adopted = adopt_file(tmp_path / "theirs.json", tmp_path / "ours.json", get(comfy.url, "/object_info"))
    assert adopted.missing == ""

    (photos / "photo.txt").write_text("Show it as a negative.")
    ended = driver.run("--input", photos, "--output", tmp_path / "out", workflow=tmp_path / "ours.json", quick=False)
    assert "ours.json: ALL ROWS WILL BE UNSCORED" in ended.stderr
    (row,) = rows(tmp_path / "out", "rejected")
    before, after = pixels_of(row["input_images"][0]), pixels_of(row["output_images"][0])
    assert before.shape != (75, 101, 3)
    assert np.abs(before.astype(int) + after - 255).max() <= 1
    assert (row["prompt"], row["task"], row["verdict"]) == ("Show it as a negative.", "instruct", "unscored")

    assert make_again(opened(tmp_path / "out", comfy.url, photos), ComfyServer(comfy.url)).difference == 0
    assert "scaled the photo from 101 x 75" in opened(tmp_path / "out", comfy.url, None).lines[1]
