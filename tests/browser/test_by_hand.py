"""The same pairs made by hand in the page, collected, and made in a batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.core.keys import sample_seed
from comfy_nodes.core.regions import rle
from driver.artists.collect import BY_HAND, collect
from tests.browser.conftest import Frontend
from tests.e2e.helpers import Driver, disc_of, make_photo, pixels_of, rows

LOAD, SAVE = "EditPairsLoadSample", "EditPairsSavePair"
GRAPH = Path(__file__).resolve().parents[2] / "workflows" / "remove-classical.json"

HOW = ("workflow", "workflow_sha256", "stage_sha256", "profile")
"""Columns that say how a row was made: nobody knows the graph of one that was made by hand."""


@pytest.fixture
def driver(comfy: Any, tmp_path: Path) -> Iterator[Driver]:
    running = Driver(comfy.url, tmp_path)
    yield running
    running.close()


def photos(folder: Path) -> list[dict[str, Any]]:
    """Three photos with an annotation each, of which an edit of the last changes nothing."""
    folder.mkdir()
    lines = []
    for number in range(3):
        path, mask = folder / f"three-ways-{number}.png", disc_of(number)
        make_photo(path, number)
        if number == 2:
            Image.new("RGB", (96, 96), (90, 90, 90)).save(path)
        ys, xs = np.nonzero(mask)
        box = [int(edge) for edge in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)]
        thing = {"class_name": "disc", "bbox": box, "mask": rle.encode(mask).model_dump(mode="json")}
        segmentation = {"object": [thing], "background": []}
        lines.append({"path": path.name, "resolution": {"width": 96, "height": 96}, "segmentation": segmentation})
        path.with_suffix(".txt").unlink()
        path.with_suffix(".mask.png").unlink()
    (folder / "annotation.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return lines


def made(output: Path) -> dict[str, dict[str, Any]]:
    """Every row of a dataset by its photo, with pictures as pixels, and without how it was made."""
    found = {}
    for row in rows(output) + rows(output, "rejected"):
        for column in ("input_images", "output_images"):
            row[column] = [pixels_of(image).tolist() for image in row[column]]
        found[row["source_path"]] = {name: value for name, value in row.items() if name not in HOW}
    return found


def test_the_same_pairs_by_hand_collected_and_in_a_batch(
    frontend: Frontend, driver: Driver, comfy: Any, tmp_path: Path
) -> None:
    lines = photos(tmp_path / "photos")
    ended = driver.run("--input", tmp_path / "photos" / "annotation.jsonl", "--output", tmp_path / "batch", quick=False)
    assert ended.stdout.startswith(f"{tmp_path / 'batch'}: 2 kept, 1 rejected")
    batch = made(tmp_path / "batch")

    frontend.open(json.loads(GRAPH.read_text("utf-8")), "three ways")
    frontend.fill(SAVE, folder="editpairs/three ways")
    by_hand = {}
    for line in lines:
        name = line["path"]
        frontend.upload(name, (tmp_path / "photos" / name).read_bytes())
        seed = sample_seed(0, batch[name]["key"], 0)  # which a batch draws for each sample, and an artist types
        frontend.fill(LOAD, image=name, annotation=json.dumps(line), seed=seed)
        (by_hand[name],) = (one for output in frontend.run().values() for one in output.get("editpairs", ()))
    saved = Path(comfy.models.parent) / "output" / "editpairs" / "three ways"
    summary = collect(saved, tmp_path / "collected").summary
    assert (summary.kept, summary.rejected, summary.failed) == (2, 1, 0)

    collected = made(tmp_path / "collected")
    assert collected == batch and len(batch) == 3
    for name, record in by_hand.items():
        row = collected[name]
        for role in ("input_images", "output_images"):
            files = [Image.open(saved / file["filename"]) for file in record[role]]
            assert [np.asarray(file).tolist() for file in files] == row[role]
        told = ("key", "task", "prompt", "initial_prompt", "verdict", "reject_reason", "scores", "seed", "regions", "edit_mask",
                "source_sha256", "width", "height")  # fmt: skip
        assert {field: record[field] for field in told} == {field: row[field] for field in told}
    for output, workflow in (("collected", BY_HAND), ("batch", GRAPH.stem)):
        assert {row["workflow"] for row in rows(tmp_path / output)} == {workflow}
