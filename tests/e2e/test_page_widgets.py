"""What an artist left in widgets: alternatives in a prompt, a picture that is gone, a node that only the page knows."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from driver.artists.open_row import find_row, make_again, open_row
from driver.comfyui.client import ComfyServer
from driver.graph.file import WorkflowFile
from driver.inputs.source import Source
from tests.e2e.helpers import REPOSITORY, Driver, make_photos, prompts_so_far, rows
from tests.models import tiny_flux

CASES = REPOSITORY / "tests" / "cases"
BRACES = CASES / "braces-in-a-prompt" / "graph.json"
DRAWN = {f'"subject": "a {colour} cup", "mood": "calm"' for colour in ("red", "green", "blue")}


def with_tiny_weights(path: Path) -> Path:
    """The case's graph with loaders of its own for model, text encoder and VAE, of which there are small ones."""
    graph = json.loads(BRACES.read_text(encoding="utf-8"))
    (checkpoint,) = (one for one in graph["nodes"] if one["type"] == "CheckpointLoaderSimple")
    loaders = {
        "MODEL": (1, "UNETLoader", ["drawn-flux.safetensors", "default"]),
        "CLIP": (11, "CLIPLoader", ["drawn-clip.pt", "sd3", "default"]),
        "VAE": (12, "VAELoader", ["drawn-vae.pt"]),
    }
    graph["nodes"].remove(checkpoint)
    for output in checkpoint["outputs"]:
        number, kind, values = loaders[output["name"]]
        graph["nodes"].append(checkpoint | {"id": number, "type": kind, "widgets_values": values, "outputs": [output],
                                            "properties": {}})  # fmt: skip
        for link in graph["links"]:
            if link[0] in output["links"]:
                link[1:3] = [number, 0]
    path.write_text(json.dumps(graph))
    return path


def test_alternatives_are_drawn_for_each_sample(driver: Driver, comfy: Any, tmp_path: Path) -> None:
    """One graph, one hash, and each sample's own words; the same at a second start, and in the file that opens a row."""
    tiny_flux.kontext(comfy.models / "diffusion_models" / "drawn-flux.safetensors")
    tiny_flux.clip_l(comfy.models / "text_encoders" / "drawn-clip.pt")
    tiny_flux.vae(comfy.models / "vae" / "drawn-vae.pt")
    photos, output = tmp_path / "photos", tmp_path / "out"
    make_photos(photos, 3, (64, 64))
    run = ("--input", photos, "--seed", 2, "--set", "KSampler.steps=1", "--output")
    how: dict[str, Any] = {"workflow": with_tiny_weights(tmp_path / "braces.json"), "quick": False}
    driver.run(*run, output, "--limit", 1, **how)
    driver.run(*run, output, **how)
    server, made = ComfyServer(comfy.url), rows(output, "rejected")
    assert len(made) == 3
    opened = [open_row(find_row(row["key"], output), server, Source(photos), upload=True) for row in made]
    info = server.object_info()
    nodes = [WorkflowFile.read(one.path).to_api(info)["2"] for one in opened]
    texts = [node["inputs"]["text"] for node in nodes]
    assert set(texts) == DRAWN, "each has another: that is so for this seed"
    assert not any("drawn" in node["_meta"] for node in nodes), "the file has what was drawn, and no alternatives"

    # What the files have is what ran: the same pixels come of it, and others of other words.
    assert make_again(opened[0], server).difference == 0
    other = next(one for one in sorted(DRAWN) if one != texts[0])
    changed = replace(opened[0].graph, api=copy.deepcopy(opened[0].graph.api), drawn=())
    changed.api["2"]["inputs"]["text"] = other
    assert make_again(replace(opened[0], graph=changed), server).difference


def test_a_picture_that_is_gone_is_named_before_anything_is_edited(
    driver: Driver, photos: Path, comfy: Any, tmp_path: Path
) -> None:
    """Also where the server has one whose name differs only in case."""
    graph = json.loads((REPOSITORY / "workflows" / "remove-classical.json").read_text(encoding="utf-8"))
    (save,) = (one for one in graph["nodes"] if one["type"] == "EditPairsSavePair")
    slot = next(number for number, one in enumerate(save["inputs"]) if one["name"] == "edited")
    wire = next(one for one in graph["links"] if one[0] == save["inputs"][slot]["link"])
    blend = {"id": 901, "type": "ImageBlend", "pos": [0, 0], "size": [9, 9], "flags": {}, "order": 0, "mode": 0,
             "inputs": [{"name": "image1", "type": "IMAGE", "link": 901}, {"name": "image2", "type": "IMAGE", "link": 902}],
             "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [wire[0]]}], "properties": {},
             "widgets_values": [0.0, "normal"]}  # fmt: skip
    load = {"id": 902, "type": "LoadImage", "title": "A texture", "pos": [0, 0], "size": [9, 9], "flags": {}, "order": 0,
            "mode": 0, "inputs": [], "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [902]}], "properties": {},
            "widgets_values": ["Texture.png", "image"]}  # fmt: skip
    graph["links"] += [[901, wire[1], wire[2], 901, 0, "IMAGE"], [902, 902, 0, 901, 1, "IMAGE"]]
    wire[1:3] = [901, 0]
    graph["nodes"] += [blend, load]
    path = tmp_path / "textured.json"

    inputs = comfy.models.parent / "input"
    make_photos(inputs, 1)
    (inputs / "photo000.png").rename(inputs / "texture.png")
    before = prompts_so_far(comfy.url)
    for name, folder in (("Texture.png", "input"), ("sub/deep.png [output]", "output"), ("texture.png [temp]", "temp")):
        load["widgets_values"] = [name, "image"]
        path.write_text(json.dumps(graph))
        line = driver.refused("--input", photos, "--output", tmp_path / "out", workflow=path)
        assert f"A texture #902: image {name!r} is not in the server's {folder} folder: upload it there" in line
    assert (prompts_so_far(comfy.url), (tmp_path / "out").exists()) == (before + 1, False)

    (inputs / "sub").mkdir(exist_ok=True)
    (inputs / "texture.png").rename(inputs / "sub" / "texture.png")
    load["widgets_values"] = ["sub/texture.png", "image"]
    path.write_text(json.dumps(graph))
    driver.run("--input", photos, "--output", tmp_path / "out", "--dry-run", workflow=path)


def test_a_bookmark_of_another_pack_is_left_out_and_named(driver: Driver, photos: Path, tmp_path: Path) -> None:
    case = CASES / "foreign-bookmark" / "graph.json"
    ended = driver.run("--input", photos, "--output", tmp_path / "out", "--dry-run", workflow=case)
    assert "left out: ImageCompare #7, Bookmark (rgthree) #9" in ended.stdout
