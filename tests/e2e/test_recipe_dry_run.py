"""A recipe's dry run on the real ComfyUI: counts of the first stage, what is missing, and estimates once something was made."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.helpers import Driver

TWO = """
name = "two"
about = "a removal, and another one of a model that nobody has"
[[stage]]
name = "edit"
workflow = "remove-classical"
set = ["EditPairsClassicalInpaint.method=telea"]
"""


def test_estimates_follow_from_what_was_made(driver: Driver, photos: Path, tmp_path: Path) -> None:
    recipe, output = tmp_path / "two.toml", tmp_path / "out"
    recipe.write_text(TWO)
    words = ("--recipe", recipe, "--input", photos, "--output", output)

    def looked() -> dict[str, object]:
        shown = driver.run(*words, "--dry-run", "--json", workflow=None, quick=False)
        (line,) = shown.stdout.splitlines()
        assert ": a removal, and another one" in shown.stderr and "6 samples for stage edit" in shown.stderr
        assert "estimates" in shown.stderr and "remove-classical.json; set EditPairsClassicalInpaint" in shown.stderr
        (stage,) = json.loads(line)["stages"]
        assert (stage["name"], stage["samples"]) == ("edit", 6)
        return dict(stage)

    before = looked()
    assert (before["measured"], before["passed"], before["seconds"]) == (0, None, None)
    assert not output.exists()
    driver.run(*words, "--limit", 2, workflow=None, quick=False)
    after = looked()
    assert (after["measured"], after["passed"], after["calls"]) == (2, 6, 0)
    assert isinstance(after["seconds"], float) and after["seconds"] > 0


def test_what_any_stage_lacks_is_said_before_anything_starts(driver: Driver, photos: Path, tmp_path: Path) -> None:
    recipe, output = tmp_path / "two.toml", tmp_path / "out"
    stages = '[[stage]]\nname = "write"\nworkflow = "write"\n[[stage]]\nname = "more"\nworkflow = "instruct-open"\n'
    recipe.write_text(f'name = "lacking"\n{stages}')
    for more in ((), ("--dry-run",)):
        line = driver.refused(
            "--recipe", recipe, "--input", photos, "--output", output, *more, workflow=None, quick=False
        )
        assert "stage write: " in line and "there is no VLM profile 'default'" in line
        assert "stage more: " in line and ".safetensors' is not there (" in line
        assert line.endswith("python install.py --models instruct-open fetches what the model table knows")
