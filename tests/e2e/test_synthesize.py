"""Photos from captions on a real ComfyUI with tiny weights, and a dataset that is made of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.e2e.helpers import Driver, rows, table
from tests.models import tiny_flux, tiny_zimage

CAPTIONS = (
    {"caption": "a shop front with a sign that says FRESH BREAD", "width": 96, "height": 64},
    {"prompt": "一只红色的杯子", "width": 64, "height": 96},
    {"caption": "a shop front with a sign that says FRESH BREAD", "width": 96, "height": 64},
    {"caption": "0 0.5 0.5 0.2 0.2"},
    {"size": 3},
)
TINY = (
    "VAELoader.vae_name=ae.pt", "CLIPLoader.clip_name=clip_l.pt", "CLIPLoader.type=sd3", "KSampler.steps=2",
    "EditPairsFitSize.size=crop to multiple",
)  # fmt: skip

LICENCE = "synthetic (Apache-2.0, licence unknown)"
"""Z-Image's, and that of the files that the model table does not know, as they are under names of tests."""


@pytest.fixture(scope="module")
def models(comfy: Any) -> Iterator[None]:
    """FLUX stands in for Z-Image, whose width is fixed in ComfyUI, and CLIP-L for its encoder (tests/e2e/full_graphs.py)."""
    made = [
        tiny_flux.kontext(comfy.models / "diffusion_models" / "z_image_turbo_bf16.safetensors"),
        tiny_flux.clip_l(comfy.models / "text_encoders" / "clip_l.pt"),
        tiny_flux.vae(comfy.models / "vae" / "ae.pt"),
    ]
    yield
    for path in made:
        path.unlink()


def painted(driver: Driver, captions: Path, output: Path, *options: object, **how: Any) -> Any:
    told = ["--shard-size", "2", "--at-once", "2", *(word for one in TINY for word in ("--set", one))]
    return driver.run(
        "--input", captions, "--output", output, *told, *options, workflow="synthesize", quick=False, **how
    )


def lines_of(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "photos.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_file_of_its_own_width_is_taken_for_z_image(tmp_path: Path) -> None:
    """Run by hand with this graph's sampler it paints, in 13 s and 4.4 GB: too much for a test."""
    state = torch.load(tiny_zimage.z_image(tmp_path / "z_image.pt"), weights_only=True, mmap=True)
    import comfy.model_detection

    assert type(comfy.model_detection.model_config_from_unet(state, "")).__name__ == "ZImage"


def test_captions_become_photos_and_these_a_dataset(driver: Driver, models: None, tmp_path: Path) -> None:
    captions, output = tmp_path / "captions.jsonl", tmp_path / "painted"
    captions.write_text("\n".join(map(json.dumps, CAPTIONS)), encoding="utf-8")
    ended = painted(driver, captions, output, expect=1)
    assert "4 kept" in ended.stdout and f"--input {output} takes them" in ended.stdout
    assert [one["error_type"] for one in table(output, "skipped")] == ["DuplicateSample"]
    assert ["line 4" in one["message"] or "line 5" in one["message"] for one in table(output, "failed")] == [True, True]
    first, other, second, _ = lines_of(output)
    assert first["synthetic"] == other["synthetic"] and first["source_sha256"] != other["source_sha256"]
    assert first["synthetic"]["prompt"] == CAPTIONS[0]["caption"] and second["synthetic"]["prompt"] == "一只红色的杯子"
    assert first["source_licence"] == LICENCE and "cap" not in first
    assert {"z_image_turbo_bf16.safetensors"} <= {one["name"] for one in first["upstream_models"]}
    for line, size in ((first, (96, 64)), (second, (64, 96))):
        data = (output / line["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == line["source_sha256"]
        with Image.open(output / line["path"]) as photo:
            assert photo.size == size and np.asarray(photo).std() > 0
    assert sorted((output / "photos").rglob("*.png")) == sorted(output / one["path"] for one in lines_of(output))
    assert first["path"].startswith("photos/000000/")

    # A photo that is gone is painted again, the same; another caption is painted beside them.
    before = (output / first["path"]).read_bytes()
    (output / first["path"]).unlink()
    captions.write_text("\n".join(map(json.dumps, (*CAPTIONS, {"caption": "a dog", "width": 64, "height": 64}))))
    again = painted(driver, captions, output, expect=1)
    assert "6 kept" in again.stdout and "1 photo is painted again" in again.stderr
    assert (output / first["path"]).read_bytes() == before

    edited = tmp_path / "edited"
    driver.run("--input", output, "--output", edited, workflow="style-classical", quick=False)
    found = [*rows(edited), *rows(edited, "rejected")]
    assert len(found) == 6 and {row["source_licence"] for row in found} == {LICENCE}
    assert {row["source_id"] for row in found} == {one["path"] for one in lines_of(output)}
    assert all("z_image_turbo_bf16.safetensors" in {one["name"] for one in row["models"]} for row in found)
