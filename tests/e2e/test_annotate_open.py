"""The two graphs that find regions without YOLO-World, from bare photos to annotation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Annotation, parse_annotation
from tests.e2e import helpers
from tests.e2e.helpers import Driver


@pytest.fixture(scope="module")
def models(comfy: Any) -> Iterator[Path]:
    """The other checkpoints that the graphs name, tiny and random."""
    from tests.models import tiny, tiny_sam2, tiny_scorers

    folder: Path = comfy.models
    made = [
        tiny.grounding_dino(folder / "grounding" / "grounding-dino-tiny"),
        tiny_sam2.hub(folder / "sam2" / "sam2.1-hiera-large"),
        tiny_scorers.clip(folder / "text_encoders" / "clip-vit-large-patch14"),
    ]
    yield folder
    for path in (file for one in made for file in one.rglob("*") if file.is_file()):
        path.unlink()


def annotated(driver: Driver, name: str, folder: Path, finder: str, **values: float) -> list[Annotation]:
    """What a graph of `workflows/` finds in two photos without masks, with small models in the place of large ones.

    Args:
        finder: what its two nodes that find are called.
        values: theirs, other than in the graph.
    """
    helpers.make_photos(folder / "photos", 2)
    for mask in (folder / "photos").glob("*.mask.png"):
        mask.unlink()
    graph = json.loads((helpers.REPOSITORY / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    for node in graph["nodes"]:
        if node["type"] in helpers.SMALL:
            node.update(type=helpers.SMALL[node["type"]], widgets_values=[], inputs=[])
    path = folder / "graph.json"
    path.write_text(json.dumps(graph), encoding="utf-8")
    titles = (f"@{finder}: {kind}" for kind in ("things", "backgrounds"))
    told = [word for title in titles for one, value in values.items() for word in ("--set", f"{title}.{one}={value}")]
    driver.run("--input", folder / "photos", "--output", folder / "out", *told, workflow=path, quick=False)
    lines = (folder / "out" / "annotation.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    return [parse_annotation(json.loads(line)) for line in lines]


def names(graph: str, title: str) -> set[str]:
    """What a node of a graph looks for."""
    nodes = json.loads((helpers.REPOSITORY / "workflows" / f"{graph}.json").read_text(encoding="utf-8"))["nodes"]
    (text,) = [node["widgets_values"][0] for node in nodes if node.get("title") == title]
    return set(text.split(", "))


def test_open_weights_find_things_and_what_is_behind_the_subject(driver: Driver, models: Path, tmp_path: Path) -> None:
    few = {"score_threshold": 0.3, "max_boxes": 5}
    for one in annotated(driver, "annotate-open", tmp_path, "Detect Objects", **few):
        *found, ground = one.regions
        assert found, "the tiny detector finds something everywhere"
        assert all(region.score is not None and region.score > 0.3 for region in found)
        assert all(region.mask and region.sam_iou is not None and region.clip_score is not None for region in found)
        things = {region.class_name for region in found if region.kind == "object"}
        assert things <= names("annotate-open", "Detect Objects: things")
        assert (ground.class_name, ground.kind, ground.sam_iou) == ("background", "background", None)
        assert ground.score == pytest.approx(0.9) and ground.mask
        behind = np.arange(one.size[0]) >= one.size[0] // 2
        assert np.array_equal(rle.decode(ground.mask), np.broadcast_to(behind, one.size[::-1]))
        assert ground.eligibility["background"] is None


def test_sam3_finds_and_cuts_out_by_words(driver: Driver, models: Path, tmp_path: Path) -> None:
    few = {"score_threshold": 0.1, "max_boxes": 3}
    kinds = set()
    for one in annotated(driver, "annotate-sam3", tmp_path, "Segment Words (SAM3)", **few):
        for region in one.regions:
            kinds.add(region.kind)
            kind = "things" if region.kind == "object" else "backgrounds"
            assert region.class_name in names("annotate-sam3", f"Segment Words (SAM3): {kind}")
            assert region.score is not None and region.score > 0.1
            assert region.clip_score is not None and region.sam_iou is None
            assert region.mask and rle.decode(region.mask).any()
    assert kinds == {"object", "background"}
