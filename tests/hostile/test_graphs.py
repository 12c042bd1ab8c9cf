"""Workflow files that nobody meant well: each is refused in one line that names the file, and soon."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from driver.batch import main
from driver.errors import RunError
from driver.graph.bound import BatchGraph
from driver.graph.file import MAX_NODES, WorkflowFile

pytestmark = pytest.mark.timeout(30)

DEEP = "[" * 3000 + "]" * 3000
SAMPLE, PAIR = "EditPairsLoadSample", "EditPairsSavePair"


def node(*outputs: str, **inputs: Any) -> dict[str, Any]:
    return {
        "input": {"required": inputs, "optional": {}},
        "input_order": {"required": list(inputs), "optional": []},
        "output": list(outputs),
        "output_name": list(outputs),
    }


INFO = {
    SAMPLE: node("SAMPLE", "IMAGE", image=["COMBO", {"options": []}], task=["COMBO", {"options": ["remove"]}]),
    "Paint": node("IMAGE", image=["IMAGE"]),
    PAIR: node(sample=["SAMPLE"], edited=["IMAGE"]),
}
"""What a server says of its nodes."""


def chain(length: int) -> dict[str, Any]:
    """A graph in which one node paints over what the one before has painted."""
    api: dict[str, Any] = {"s": {"class_type": SAMPLE, "inputs": {"image": "a.png", "task": "remove"}}}
    for number in range(length):
        before = [str(number - 1), 0] if number else ["s", 1]
        api[str(number)] = {"class_type": "Paint", "inputs": {"image": before}}
    api["p"] = {"class_type": PAIR, "inputs": {"sample": ["s", 0], "edited": [str(length - 1), 0]}}
    return api


def ui(nodes: list[Any], subgraphs: Any = None, **more: Any) -> dict[str, Any]:
    return {"nodes": nodes, "links": [], "definitions": {"subgraphs": subgraphs}, "version": 0.4, **more}


def box(number: int, kind: Any) -> dict[str, Any]:
    return {"id": number, "type": kind, "inputs": [], "outputs": [], "widgets_values": []}


def doubled(levels: int, times: int = 2) -> dict[str, Any]:
    """Subgraphs that each hold the next one twice."""
    held = [
        {"id": f"g{level}", "nodes": [box(n, f"g{level + 1}") for n in range(times)], "links": [], "inputs": [], "outputs": []}
        for level in range(levels)
    ]  # fmt: skip
    last = {"id": f"g{levels}", "nodes": [box(1, "Paint")], "links": [], "inputs": [], "outputs": []}
    return ui([box(1, "g0")], [*held, last])


def png(**chunks: str) -> bytes:
    info, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    for name, text in chunks.items():
        info.add_text(name, text, zip=True)
    Image.new("RGB", (4, 4)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def with_inputs(**inputs: Any) -> dict[str, Any]:
    api = chain(1)
    api["0"]["inputs"] |= inputs
    return api


CASES: dict[str, tuple[Any, str]] = {
    "empty": ("", "not JSON"),
    "NULs": (bytes(1000), "not JSON"),
    "another format": (b"PK\x03\x04", "not JSON"),
    "another encoding": (json.dumps(chain(1)).encode("utf-16"), "not JSON"),
    "cut off": (json.dumps(chain(1))[:-2], "not JSON"),
    "a list": ([], "not a ComfyUI workflow"),
    "null": (None, "not a ComfyUI workflow"),
    "a number": ("1" * 5000, "not JSON"),
    "deep": (DEEP, "nested more than 100 deep"),
    "deep widgets": ('{"nodes": [], "extra": ' + DEEP + "}", "nested more than 100 deep"),
    "deep enough for Python": ('{"nodes": [], "extra": ' + "[" * 400 + "]" * 400 + "}", "nested more than 100 deep"),
    "deep inputs": (json.dumps(chain(1)).replace('"a.png"', "[" * 200 + "]" * 200), "nested more than 100 deep"),
    "brackets without end": ("[" * 1_000_000, "nested more than 100 deep"),
    "nodes that are an object": ('{"nodes": {}}', "not a ComfyUI workflow"),
    "nodes that are none": (ui([None, 5, "x", []]), "no Save Edit Pair"),
    "nodes without a type": (ui([{"id": 1}]), "no Save Edit Pair"),
    "a type that is a list": (ui([box(1, ["Paint"])]), "cannot be converted"),
    "links that are none": (ui([box(1, "Paint")], links=[None, [1], "x"]), ""),
    "a node of no pack": (ui([box(1, "Gone")]), "no Save Edit Pair"),
    "subgraphs that are a number": (ui([box(1, "Paint")], 5), ""),
    "subgraphs that are none": (ui([box(1, "g0")], [None, 5, {"id": []}]), "cannot be converted"),
    "a subgraph in itself": (ui([box(1, "g")], [{"id": "g", "nodes": [box(1, "g")]}]), "a subgraph holds itself"),
    "subgraphs in a circle": (
        ui([box(1, "a")], [{"id": "a", "nodes": [box(1, "b")]}, {"id": "b", "nodes": [box(1, "a")]}]),
        "a subgraph holds itself",
    ),
    "doubled 13 times": (doubled(13), f"more than {MAX_NODES} nodes"),
    "doubled 60 times": (doubled(60), f"more than {MAX_NODES} nodes"),
    "a hundred, 90 times": (doubled(90, 100), f"more than {MAX_NODES} nodes"),
    "nested 200 deep": (doubled(200, 1), "nested more than 100 deep"),
    "many nodes": (ui([box(number, "Paint") for number in range(MAX_NODES + 1)]), f"more than {MAX_NODES} nodes"),
    "many nodes of a prompt": (chain(MAX_NODES), f"more than {MAX_NODES} nodes"),
    "no source": ({"p": {"class_type": PAIR, "inputs": {}}}, "no Load Edit Sample node"),
    "two sinks": (chain(1) | {"q": chain(1)["p"]}, "2 Save Edit Pair"),
    "a link to nowhere": (with_inputs(image=["gone", 0]), "wired to node #gone"),
    "a class that is gone": (chain(1) | {"0": {"class_type": "Gone", "inputs": {"image": ["s", 1]}}}, "no such node"),
    "an input that is missing": (chain(1) | {"0": {"class_type": "Paint", "inputs": {}}}, "does not fit"),
    "a picture": (png(), "carries no workflow"),
    "a picture with no JSON": (png(prompt="{"), "not JSON"),
    "a picture with deep JSON": (png(prompt=DEEP), "nested more than 100 deep"),
    "a picture with a bomb of text": (png(prompt="[" * 100_000_000), "a damaged PNG"),
    "a picture cut off": (png(prompt=json.dumps(chain(1)))[:45], "PNG"),
}


def bound(path: Path) -> None:
    """All that is done with a workflow before samples are put in."""
    api = WorkflowFile.read(path).to_api(INFO)
    graph = BatchGraph.bind(api, INFO)
    graph.canonical()
    graph.edit_sha256()
    graph.prompt({"image": "b.png"}, 7, "folder")


def refused(path: Path, why: str) -> None:
    with pytest.raises(RunError) as caught:
        bound(path)
    line = str(caught.value)
    assert why in line
    assert "\n" not in line
    assert len(line) < 2000


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content, why = CASES[name]
    if not isinstance(content, bytes):
        content = (content if isinstance(content, str) else json.dumps(content)).encode()
    (tmp_path / "graph.json").write_bytes(content)
    refused(tmp_path / "graph.json", why)


def grown(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 32)


FILES: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "larger than any": grown,
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FILES[name](tmp_path / "graph.json")
    refused(tmp_path / "graph.json", "not a file of at most 64 MB")
    assert main(["--workflow", str(tmp_path / "graph.json"), "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_long_chain_is_bound(tmp_path: Path) -> None:
    """Longer than Python may call itself."""
    (tmp_path / "graph.json").write_text(json.dumps(chain(3000)))
    bound(tmp_path / "graph.json")
