"""The patch that is offered to comfy-cli applies to the release it was made for, and does what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import comfy_cli
import pytest

PATCH = Path(__file__).resolve().parents[2] / "docs" / "upstream" / "comfy-cli-1.23.0-as-the-page.patch"
CASE = PATCH.parents[2] / "tests" / "cases" / "custom-combo"
SCHEMA = {"CustomCombo": {"input": {"required": {"choice": ["COMBO", {"options": []}]}}, "output": ["STRING", "INT"]}}
CONVERT = "import json, sys; from comfy_cli.workflow_to_api import convert_ui_to_api as convert; print(json.dumps(convert(*json.load(sys.stdin))))"


@pytest.mark.skipif(version("comfy-cli") != "1.23.0", reason="the patch is for comfy-cli 1.23.0")
def test_the_patch_applies_and_converts_as_the_page_does(tmp_path: Path) -> None:
    installed = Path(comfy_cli.__file__).parent
    shutil.copytree(installed, tmp_path / "comfy_cli", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "apply", "--verbose", str(PATCH)], cwd=tmp_path, check=True, capture_output=True)
    graph = json.loads((CASE / "graph.json").read_text())
    page = json.loads((CASE / "page.json").read_text())
    (combo,) = [node_id for node_id, node in page.items() if node["class_type"] == "CustomCombo"]
    done = subprocess.run(
        [sys.executable, "-c", CONVERT], input=json.dumps([graph, SCHEMA]), env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(done.stdout)[combo]["inputs"] == page[combo]["inputs"]
