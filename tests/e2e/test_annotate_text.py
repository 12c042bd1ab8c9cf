"""Bare photos, words on them, no weights to fetch: found by annotate-text, erased by the graph that needs no model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from comfy_nodes.core.regions.annotation import parse_annotation
from tests.e2e import helpers
from tests.e2e.helpers import Driver

pytest.importorskip("rapidocr", reason="needs rapidocr: python install.py")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: python install.py")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A photo with words on it, and the same without."""
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = Image.open(Path(__file__).resolve().parents[2] / "samples" / "photos" / "rocket.jpg").convert("RGB")
    photo.save(folder / "bare.png")
    ImageDraw.Draw(photo).text((30, 60), "LAUNCH PAD", font=ImageFont.load_default(40), fill=(250, 240, 220))
    photo.save(folder / "sign.png")
    return folder


def test_without_weights_lettering_is_found_by_itself(driver: Driver, photos: Path, tmp_path: Path) -> None:
    """No profile, no region, no weights: what can be found is edited, and it is said what is not looked for."""
    output = tmp_path / "out"
    ended = driver.run("--input", photos, "--output", output, workflow="remove,style")
    assert "(annotate-text.json; it finds lettering alone, --profile open finds things)" in ended.stderr
    made = {(row["source_id"], row["task"]) for row in helpers.rows(output)}
    assert made == {("sign.png", "remove"), ("sign.png", "style"), ("bare.png", "style")}
    alone = tmp_path / "alone"
    driver.run("--input", photos, "--output", alone, workflow="remove")
    [skipped] = helpers.table(alone, "skipped")
    assert (
        skipped["error_type"] == "NoRegion"
        and "found no lettering, and without weights it looks for" in skipped["message"]
    )


def test_words_are_found_and_erased(driver: Driver, photos: Path, tmp_path: Path) -> None:
    words, output = tmp_path / "words", tmp_path / "out"
    driver.run("--input", photos, "--output", words, workflow="annotate-text", quick=False)
    bare, sign = (json.loads(line) for line in (words / "annotation.jsonl").read_text(encoding="utf-8").splitlines())
    assert bare["segmentation"]["object"] == [] and bare["path"] == "bare.png"
    [region] = parse_annotation(sign).regions
    assert region.class_name == 'text "LAUNCH PAD"' and region.mask is not None and region.score is not None
    assert region.eligibility is None or region.eligibility["remove"] is None
    assert 25 <= region.bbox[0] < region.bbox[2] < 330 and 55 <= region.bbox[1] < region.bbox[3] < 115

    driver.run("--input", words / "annotation.jsonl", "--image-root", photos, "--annotate", "never", "--output", output)
    [row] = helpers.rows(output)
    assert row["prompt"].startswith('Remove the text "LAUNCH PAD"')
    before, after = helpers.pixels_of(row["input_images"][0]), helpers.pixels_of(row["output_images"][0])
    bright = (before.min(axis=2) > 200) & (np.arange(before.shape[0])[:, None] < 115)
    assert bright.sum() > 500 and (after[bright].min(axis=1) > 200).mean() < 0.05
