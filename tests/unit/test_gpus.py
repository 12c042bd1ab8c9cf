"""Which GPUs a run sees: what the system lists, and what the environment leaves of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driver.comfyui import gpus
from driver.errors import RunError

Listing = Callable[[str], None]

TWO = "GPU 0: NVIDIA H100 (UUID: GPU-aaaa)\nGPU 1: NVIDIA H100 (UUID: GPU-bbbb)\n"


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listing]:
    """A function that makes the system list these GPUs; before it is called there is no nvidia-smi and no AMD GPU."""
    for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpus.platform, "system", lambda: "Linux")
    monkeypatch.setattr(gpus, "_KFD_NODES", tmp_path / "kfd")
    gpus._nvidia.cache_clear()

    def listing(script: str) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)

    yield listing
    gpus._nvidia.cache_clear()


def lists(text: str) -> str:
    return "echo '" + text.strip().replace("\n", "'; echo '") + "'"


def test_no_gpu(nvidia_smi: Listing) -> None:
    assert gpus.gpu_ids() == []
    assert not gpus.has_gpu()


def test_a_driver_that_does_not_run(nvidia_smi: Listing) -> None:
    nvidia_smi("echo 'NVIDIA-SMI has failed'; exit 9")
    assert gpus.visible_gpus() == 0


@pytest.mark.parametrize(
    ("visible", "ids"),
    [
        (None, ["0", "1"]),
        ("1", ["1"]),
        ("1, 0", ["1", "0"]),
        ("", []),
        ("-1", []),
        ("1,-1,0", ["1"]),
        ("0,2,1", ["0"]),
        ("GPU-bbbb", ["GPU-bbbb"]),
    ],
)
def test_the_environment_chooses_as_cuda_does(
    nvidia_smi: Listing, monkeypatch: pytest.MonkeyPatch, visible: str | None, ids: list[str]
) -> None:
    nvidia_smi(lists(TWO))
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.gpu_ids() == ids
    assert gpus.visible_gpus() == len(ids)


def test_instances_of_a_gpu_that_is_cut(nvidia_smi: Listing) -> None:
    cut = TWO + "  MIG 3g.40gb Device 0: (UUID: MIG-cccc)\n  MIG 3g.40gb Device 1: (UUID: MIG-dddd)\n"
    nvidia_smi(lists(cut))
    assert gpus.gpu_ids() == ["GPU-aaaa", "MIG-cccc", "MIG-dddd"]


def test_a_driver_that_hangs(nvidia_smi: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi("exec /bin/sleep 5")
    monkeypatch.setattr(gpus, "ANSWER_SECONDS", 0.2)
    with pytest.raises(RunError, match="nvidia-smi does not answer"):
        gpus.gpu_ids()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.gpu_ids() == []


def test_amd(nvidia_smi: Listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, units in enumerate((0, 304, 304, 304)):
        node = tmp_path / "kfd" / str(number)
        node.mkdir(parents=True)
        (node / "properties").write_text(f"cpu_cores_count {0 if units else 64}\nsimd_count {units}\n")
    assert gpus.gpu_ids() == ["0", "1", "2"]
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "2,0")
    assert gpus.gpu_ids() == ["2", "0"]
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "0,1")
    assert gpus.gpu_ids() == ["0"]
