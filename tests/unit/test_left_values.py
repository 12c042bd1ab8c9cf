"""Values and nodes that stand in a saved graph as they are to be submitted, and stay so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from driver.graph.file import WorkflowFile

LISTED = ["a.png", "b.png"]
INFO = {
    name: {"input": {"required": {"image": spec}}, "input_order": {"required": ["image"]}, "output": ["IMAGE"],
           "output_name": ["IMAGE"]}
    for name, spec in (
        ("LoadImage", [LISTED, {"image_upload": True}]),
        ("LoadImageOutput", ["COMBO", {"image_upload": True, "image_folder": "output", "remote": {"route": "/files"}}]),
    )
}  # fmt: skip


@pytest.mark.parametrize("kind", INFO)
@pytest.mark.parametrize("name", ["b.png", "gone.png", "A.PNG", "sub/a.png", "a.png [output]", ""])
def test_a_picture_keeps_its_name(kind: str, name: str) -> None:
    node: dict[str, Any] = {
        "id": 1, "type": kind, "mode": 0, "inputs": [], "properties": {}, "widgets_values": [name, "image"],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": None}],
    }  # fmt: skip
    ui = {"nodes": [node], "links": [], "version": 0.4}
    api = WorkflowFile(Path("graph.json"), "0" * 64, ui, None).to_api(INFO)
    assert (api["1"]["class_type"], api["1"]["inputs"]) == (kind, {"image": name})
