"""A photo's line on its way through stages: Save Annotation leaves what it is not given anew as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch, which ComfyUI brings, is not installed")

LINE = {
    "path": "cup.png",
    "resolution": {"width": 90, "height": 90},
    "segmentation": {
        "object": [{"class_name": "cup", "bbox": [40, 40, 70, 70], "mask": None, "score": 0.9}],
        "background": [{"class_name": "wall", "bbox": [0, 0, 90, 60], "mask": None, "score": 0.8}],
    },
    "weak": {"object": [], "background": []},
    "cap": ["A cup before a wall."],
    "tags": {"object": ["cup", "spoon"], "background": ["wall"]},
    "short_cap": "A cup.",
    "aesthetic": 5.25,
    "routes": {"accepted": {"remove": "Clear ground."}, "rejected": {}},
}
FOUND = {"x": 10, "y": 10, "width": 20, "height": 20, "label": "lamp", "score": 0.9, "metadata": {}}


@pytest.mark.parametrize(
    ("inputs", "objects", "tags"),
    [
        ({}, ["cup"], LINE["tags"]),
        ({"object_boxes": [[FOUND]]}, ["lamp"], {"object": ["lamp"], "background": ["wall"]}),
    ],
)
def test_what_is_not_found_anew_stays(
    inputs: dict[str, Any], objects: list[str], tags: object, pack: Any, folders: Path
) -> None:
    Image.new("RGB", (90, 90), (40, 90, 60)).save(folders / "input" / "cup.png")
    load = {"image": "cup.png", "task": "annotate", "region_index": 0, "seed": 0, "annotation": json.dumps(LINE)}
    sample = pack.call("EditPairsLoadSample", **load)[0]
    line = pack.call("EditPairsSaveAnnotation", sample=sample, **inputs).ui["editpairs"][0]["annotation"]
    regions = line["segmentation"]
    assert [one["class_name"] for one in regions["object"]] == objects
    assert [one["class_name"] for one in regions["background"]] == ["wall"]
    assert line["tags"] == tags
    assert {name: line[name] for name in ("cap", "short_cap", "aesthetic", "routes")} == {
        name: LINE[name] for name in ("cap", "short_cap", "aesthetic", "routes")
    }
