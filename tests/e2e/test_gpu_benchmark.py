"""`benchmarks/gpu.py` runs, on the CPU with tiny weights; and within a run no file of weights is read twice.

The figures say nothing here; that there are any does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.driver_command import drive
from benchmarks.driver_servers import ServerProcess
from tests.e2e.full_graphs import CROP, make_checkpoints, photo, region

TINY = (
    "VAELoader.vae_name=ae.pt",
    "DualCLIPLoader.clip_name1=clip_l.pt",
    "DualCLIPLoader.clip_name2=clip_l.pt",
    "DualCLIPLoader.type=sd3",
    "KSampler.steps=2",
    f"EditPairsCropAroundMask.size={CROP}",
)
"""What tiny weights change in graphs that edit with FLUX.1 Fill: CLIP-L stands for T5."""

SETTINGS = [word for one in TINY for word in ("--set", one)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    base = tmp_path_factory.mktemp("base")
    make_checkpoints(base / "models")
    (base / "custom_nodes").mkdir()  # ComfyUI looks there
    with gpu.watched(tmp_path_factory.mktemp("watched") / "server", False, base) as running:
        yield running


@pytest.fixture(autouse=True)
def small_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the bundled ones, whose crops take minutes here."""
    folder = tmp_path / "samples"
    lines = [photo(folder, f"{number}.png", number).annotation(region(40, 30, 61, 55)) for number in range(2)]
    (folder / "annotation.jsonl").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(gpu, "SAMPLES", folder)


def test_it_measures_a_route(server: ServerProcess, tmp_path: Path) -> None:
    found = gpu.measure("remove", server, tmp_path, 2, SETTINGS)
    assert found.images == 2 and found.reloaded == {}
    assert 0 < found.share_of_floor < 1 and found.floor_images_per_s > found.images_per_s > 0
    assert found.vram_gb > 0 and found.computed_images_per_s is None, "a CPU is none of the cards"
    assert "none" in gpu.shown(found)


def test_encoder_and_autoencoder_are_read_once_for_all_workflows_of_a_run(
    server: ServerProcess, tmp_path: Path
) -> None:
    """Two tasks with the same models, prompts and packs of them: each file is read for the first sample and kept."""
    before = server.get("/editpairs-watch")
    photos = ("--input", gpu.written("replace", tmp_path / "in.jsonl", 2), "--image-root", gpu.SAMPLES)
    tasks = ("--workflow", "remove,replace", "--profile", "full", "--samples-per-prompt", "2", *SETTINGS)
    run = drive(tmp_path / "out", *tasks, *photos, "--server", server.url)
    after = server.get("/editpairs-watch")
    assert run.samples == 4 and len(after["denoising"]) - len(before["denoising"]) == 4
    once = {"flux1-fill-dev.safetensors": 1, "ae.pt": 1, "clip_l.pt": 2}
    assert {name: after["read"].get(name) for name in once} == once, "CLIP-L stands for T5, too"


def test_missing_weights_name_the_command_that_fetches_them(server: ServerProcess, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"python install\.py --models remove"):
        gpu.measure("remove", server, tmp_path, 1, [])


def test_what_cannot_be_measured_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "has_gpu", lambda: False)
    for words, said in (
        (["--only", "extract"], "no route"),
        ([], "no GPU here"),
        (["--only", "remove"], "no GPU here"),
    ):
        monkeypatch.setattr(sys, "argv", ["gpu.py", *words])
        assert gpu.main() == 2
        assert said in capsys.readouterr().err
