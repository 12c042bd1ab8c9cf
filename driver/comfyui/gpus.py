"""Which GPUs this machine offers, asked of the system: the driver never loads torch.

Called where servers of our own are counted and started. Knows nothing of ComfyUI but the form in which its
`--cuda-device` takes a device.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from ..errors import RunError

ANSWER_SECONDS = 30
"""How long nvidia-smi may take. Ours: without persistence mode it wakes every GPU, seconds each."""

_CUDA = ("CUDA_VISIBLE_DEVICES",)
_ROCM = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
_KFD_NODES = Path("/sys/class/kfd/kfd/topology/nodes")


def visible_gpus() -> int:
    """How many GPUs a ComfyUI started here could use.

    Raises:
        RunError: NVIDIA's driver does not answer.
    """
    return len(gpu_ids())


def has_gpu() -> bool:
    """Whether there is any."""
    return visible_gpus() > 0


def gpu_ids() -> list[str]:
    """What `--cuda-device` takes for each visible GPU: numbers, or names as CUDA_VISIBLE_DEVICES gives them.

    NVIDIA's, where there are none AMD's; on an Apple machine the one of the chip.

    Raises:
        RunError: as `visible_gpus`.
    """
    if platform.system() == "Darwin":
        return ["0"] if platform.machine() == "arm64" else []
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return []
    return _chosen(_nvidia(), _CUDA) or _chosen(_amd(), _ROCM)


def _chosen(devices: list[str], variables: tuple[str, ...]) -> list[str]:
    """The devices that the environment leaves visible, in its order; like CUDA, up to the first that is none."""
    named = next((os.environ[variable] for variable in variables if variable in os.environ), None)
    if named is None or not devices:
        return devices
    chosen: list[str] = []
    for entry in named.split(","):
        name = entry.strip()
        if not (name.startswith(("GPU-", "MIG-")) or (name.isdecimal() and int(name) < len(devices))):
            break
        chosen.append(name)
    return chosen


@cache
def _nvidia() -> list[str]:
    """Numbers of NVIDIA's GPUs; where some are cut into MIG instances, names of these and of the whole ones."""
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise RunError(
            f"nvidia-smi does not answer within {ANSWER_SECONDS} s: see to the GPU's driver, "
            "or set CUDA_VISIBLE_DEVICES= to run without a GPU"
        ) from None
    if listed.returncode:
        return []
    gpus = re.split(r"^GPU ", listed.stdout, flags=re.MULTILINE)[1:]
    parts = [re.findall(r"\(UUID: (MIG-[^)]+)\)", gpu) for gpu in gpus]
    if not any(parts):
        return [str(number) for number in range(len(gpus))]
    whole = [re.findall(r"\(UUID: (GPU-[^)]+)\)", gpu) for gpu in gpus]
    return [name for instances, itself in zip(parts, whole, strict=True) for name in instances or itself]


def _amd() -> list[str]:
    """Numbers of AMD's GPUs: the nodes of the kernel's compute driver that have vector units; CPUs have none."""
    nodes = [node.read_text(encoding="ascii") for node in sorted(_KFD_NODES.glob("*/properties"))]
    gpus = sum(1 for node in nodes if re.search(r"^simd_count [1-9]", node, re.MULTILINE))
    hidden = os.environ.get("ROCR_VISIBLE_DEVICES")
    return [str(number) for number in range(gpus if hidden is None else min(gpus, len(hidden.split(","))))]
