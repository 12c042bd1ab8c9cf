"""Who may import whom: the three rules that keep the house legible, seen in what a fresh interpreter loads."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

LOADED = """
import importlib, json, sys
sys.path.insert(0, {root!r})
{statement}
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""

HELP = """
import runpy
sys.argv = ["batch.py", "--help"]
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit as end:
    assert end.code == 0, end.code
"""


def modules_below(folder: str) -> list[str]:
    files = sorted((REPOSITORY / folder).rglob("*.py"))
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in files]
    return [name.removesuffix(".__init__") for name in names]


def loaded_by(statement: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has after the statement."""
    code = LOADED.format(root=str(REPOSITORY), statement=statement)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY.parent)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


COMFYUI = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "nodes", "execution", "server"}
TORCH = {"torch", "torchvision", "torchaudio", "transformers", "diffusers", "ultralytics"}


@pytest.mark.parametrize("name", modules_below("driver"))
def test_the_driver_loads_neither_torch_nor_comfyui(name: str) -> None:
    loaded = tops(loaded_by(f"importlib.import_module({name!r})"))
    assert not loaded & (TORCH | COMFYUI)


ACCOUNTS = {f"comfy_nodes.vlm{part}" for part in ("", ".places", ".profiles", ".budget")}
"""What the driver's estimates and sums of cost come from."""


def test_the_driver_knows_of_the_pack_only_its_core_and_its_accounts() -> None:
    imports = "\n".join(f"importlib.import_module({name!r})" for name in modules_below("driver"))
    pack = {name for name in loaded_by(imports) if name.startswith("comfy_nodes.")}
    assert pack
    assert all(name.startswith("comfy_nodes.core") for name in pack - ACCOUNTS)


def test_core_stands_alone() -> None:
    imports = "\n".join(f"importlib.import_module({name!r})" for name in modules_below("comfy_nodes/core"))
    loaded = loaded_by(imports)
    assert "comfy_nodes.core.regions.annotation" in loaded
    assert not tops(loaded) & (TORCH | COMFYUI | {"driver", "cv2"})


def test_no_folder_of_weights_brings_code_that_runs() -> None:
    """`trust_remote_code=False`, also where it is a library's default today."""
    shared = re.compile(r'FROM_FOLDER = \{.*"trust_remote_code": False\}')
    assert shared.search((REPOSITORY / "comfy_nodes/models/checkpoints.py").read_text(encoding="utf-8"))
    silent, calls = [], 0
    for file in (REPOSITORY / "comfy_nodes").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            loads = ("from_pretrained", "from_config", "download", "pipeline")
            if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") not in loads:
                continue
            calls += 1
            said = [ast.unparse(word.value) for word in node.keywords if word.arg in (None, "trust_remote_code")]
            if not any(word == "False" or word.endswith("FROM_FOLDER") for word in said):
                silent.append(f"{file.name}:{node.lineno}")
    assert calls >= 9 and not silent


def test_help_answers_before_anything_slow_is_loaded() -> None:
    """What takes long to import would be felt at every `--help`."""
    script = str(REPOSITORY / "driver" / "batch.py")
    loaded = tops(loaded_by(HELP.format(script=script)))
    assert "argparse" in loaded
    slow = {"pyarrow", "PIL", "numpy", "rich", "pydantic", "urllib3", "websocket", "jinja2", "comfy_cli", "filelock"}
    assert not loaded & (slow | TORCH | COMFYUI)
