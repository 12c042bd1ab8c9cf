"""verify.json with Check Consistency switched on: whose faces changed is rejected, and what has no face is not judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.core.verdicts.verdicts import UNVOUCHED
from driver.graph.judges import JUDGES
from tests.e2e import helpers
from tests.e2e.helpers import REPOSITORY, Driver
from tests.models import tiny_faces

LIKE = 0.98


@pytest.fixture
def weights(comfy: Any) -> Any:
    """Tiny ones under the graph's own names; other tests have none."""
    made = [
        tiny_faces.dinov2(comfy.models / "clip_vision" / "dinov2-base"),
        tiny_faces.landmarker(comfy.models / "detection" / "mediapipe_face_fp32.safetensors"),
    ]
    yield
    for path in made:
        for file in [*path.glob("*")] or [path]:
            file.unlink()


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    """The graph as an artist changes it: without language models, and with a threshold."""
    graph = json.loads((REPOSITORY / "workflows" / "verify.json").read_text(encoding="utf-8"))
    for node in graph["nodes"]:
        node["mode"] = 2 if node["type"] in JUDGES else 4 if node["type"] == "EditPairsAskEdit" else 0
        if node["type"] == "EditPairsConsistency":
            node["widgets_values"][0] = LIKE
    (path := tmp_path / "faces.json").write_text(json.dumps(graph), encoding="utf-8")
    return path


def snowed(picture: np.ndarray) -> np.ndarray:
    """The picture with another sky."""
    edited = picture.copy()
    edited[:64] = np.random.default_rng(1).integers(200, 255, (64, tiny_faces.LENGTH, 3))
    return edited


def test_faces_are_scored_and_rejected_in_rows_and_report(
    driver: Driver, weights: None, workflow: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "pairs"
    photos.mkdir()
    people, swapped, nobody = tiny_faces.drawn(left=1, right=2), tiny_faces.drawn(left=1, right=9), tiny_faces.drawn()
    pairs = {"other": (people, swapped), "same": (people, snowed(people)), "nobody": (nobody, snowed(nobody))}
    for name, (before, after) in pairs.items():
        Image.fromarray(before).save(photos / f"{name}.png")
        Image.fromarray(after).save(photos / f"{name}.edited.png")
        (photos / f"{name}.txt").write_text("Make it a winter day.")
    driver.run("--input", photos, "--output", tmp_path / "out", workflow=workflow, quick=False)
    rows = {Path(row["source_path"]).stem: row for row in helpers.rows(tmp_path / "out", "rejected")}
    scores = {name: {one["name"]: one["value"] for one in row["scores"]} for name, row in rows.items()}
    assert rows["other"]["verdict"] == "reject"
    assert rows["other"]["reject_reason"].startswith("consistency: the face is not the same (0.")
    assert scores["other"]["consistency.face"] < LIKE and scores["other"]["consistency.keep"] == 0.0
    assert (rows["same"]["verdict"], rows["same"]["reject_reason"]) == ("unscored", UNVOUCHED)
    assert scores["same"]["consistency.face"] == pytest.approx(1.0, abs=1e-3)
    assert (rows["nobody"]["verdict"], rows["nobody"]["reject_reason"]) == ("unscored", UNVOUCHED)
    assert not any(name.startswith("consistency") for name in scores["nobody"])
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["scores"]["consistency.face"]["count"] == 2
