"""`benchmarks/gpu.py` runs, on the CPU with tiny weights; and within a run no file of weights is read twice.

The figures say nothing here; that there are any does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu
from benchmarks.driver_command import drive
from benchmarks.driver_servers import ServerProcess
from driver.graph.file import WORKFLOWS, WorkflowFile
from tests.e2e.full_graphs import CHANGED, FOLDED, make_checkpoints, tiny


EDITING = ("EditPairsLoadSam2", "VAELoader", "DualCLIPLoader", "KSampler", "EditPairsCropAroundMask")
"""Nodes that both graphs have, with what a test changes in them."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    base = tmp_path_factory.mktemp("base")
    make_checkpoints(base / "models")
    (base / "custom_nodes").mkdir()  # ComfyUI looks there
    with gpu.watched(tmp_path_factory.mktemp("watched") / "server", False, "--base-directory", str(base)) as running:
        yield running


def tiny_settings(name: str, info: dict[str, Any]) -> list[str]:
    api = WorkflowFile.read(WORKFLOWS / f"{name}.json").to_api(info)
    return [word for one in tiny(api) for word in ("--set", one)]


def test_it_measures_a_route(server: ServerProcess, tmp_path: Path) -> None:
    settings = tiny_settings("remove", server.get("/object_info"))
    found = gpu.measure("remove", server, tmp_path, 3, settings)
    assert found.images == 3 and found.reloaded == {}
    assert 0 < found.share_of_floor < 1 and found.floor_images_per_s > found.images_per_s > 0
    assert found.vram_gb > 0 and found.computed_images_per_s is None, "a CPU is none of the cards"
    assert "none" in gpu.shown(found)


def test_encoder_and_autoencoder_are_read_once_for_all_workflows_of_a_run(
    server: ServerProcess, tmp_path: Path
) -> None:
    """Two tasks with the same models, prompts and packs of them: each file is read for the first sample and kept."""
    wanted = {name: value for name, (_file, value, _make) in FOLDED.items()}
    wanted |= {name: value for name, value in CHANGED.items() if name.split(".")[0] in EDITING}
    wanted["DualCLIPLoader.clip_name2"] = wanted["DualCLIPLoader.clip_name1"]
    settings = [
        word for name, value in wanted.items() if name.split(".")[0] in EDITING for word in ("--set", f"{name}={value}")
    ]
    before = server.get("/editpairs-watch")
    run = drive(
        tmp_path / "out", "--workflow", "remove,replace", "--profile", "full", "--server", server.url, "--input",
        gpu.written("replace", tmp_path / "in.jsonl", 3), "--samples-per-prompt", "2", "--max-failed", "0", *settings,
    )  # fmt: skip
    after = server.get("/editpairs-watch")
    assert run.samples == 6 and len(after["denoising"]) - len(before["denoising"]) == 6
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
