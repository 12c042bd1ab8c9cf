"""The profile `open` and `--licence-policy train` over every task and stage, on a ComfyUI that lists the table's weights.

A dry run loads no weights, so the files are empty: what is shown is that each graph fits, passes, and says what it rests on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.tasks import TASKS
from comfy_nodes.core.weights.routes import ROUTES
from comfy_nodes.core.weights.rows import TABLE
from tests.e2e.helpers import REPOSITORY, Driver

SAMPLES = REPOSITORY / "samples"
TRAIN = ("--licence-policy", "train", "--profile", "open", "--dry-run")
EDITS = (*TASKS, "instruct")
FREE = 'licence = "Apache-2.0"\noutputs_may_train = "yes"\n'


@pytest.fixture(scope="module")
def models(comfy: Any) -> Iterator[Path]:
    """Empty files in the session's ComfyUI under the names of the table; other tests have none."""
    made = []
    for weights in TABLE:
        for part in weights.parts:
            path: Path = comfy.models / weights.target(part)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(json.dumps({"model_type": "clip"}) if path.suffix == ".json" else "")
                made.append(path)
    yield comfy.models
    # The folders stay: ComfyUI's own loaders leave /object_info where one that they have listed is gone.
    for path in made:
        path.unlink()


@pytest.fixture
def says(comfy: Any) -> Iterator[Any]:
    """A function that writes the profile that the shipped graphs ask, with these further lines."""

    def write(terms: str) -> None:
        served = '[profiles.default]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "judge-8b"\n'
        comfy.profiles.write_text(served + terms)

    yield write
    comfy.profiles.unlink(missing_ok=True)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A pair that somebody made."""
    known = {"path": "coffee.png", "edited": "camera.png", "instruction": "Make it grey.", "task": "style"}
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(known))
    return path


def rests_on(shown: str, workflow: str) -> list[str]:
    """What a dry run says of a workflow's licences."""
    _, _, after = shown.partition(f"/{workflow}.json (profile ")
    own = after.partition("workflow: ")[0]
    return [line.split(": ", 1)[1] for line in own.splitlines() if line.strip().startswith("rests on: ")]


def test_every_edit_passes_and_says_what_it_rests_on(driver: Driver, models: Path, says: Any, tmp_path: Path) -> None:
    says(FREE)  # of motion, a language model writes
    files = ("--input", SAMPLES / "annotation.jsonl", "--output", tmp_path / "out", "--limit", 2)
    shown = driver.run(*files, *TRAIN, workflow=",".join(EDITS), quick=False).stdout
    for task in EDITS:
        assert f"{task}-open.json (profile open, task {task})" in shown
        lines = rests_on(shown, f"{task}-open")
        [route] = [one for one in ROUTES if one.workflow == f"{task}-open"]
        assert lines and all(any(one.name in line for line in lines) for one in route.weights), task
        assert {line.partition(":")[0] for line in lines} <= {"Apache-2.0", "MIT", "none"}
    assert not (tmp_path / "out").exists()


def test_regions_are_found_without_agpl(driver: Driver, models: Path, tmp_path: Path) -> None:
    files = ("--input", SAMPLES / "photos", "--output", tmp_path / "out")
    shown = driver.run(*files, *TRAIN, workflow="annotate", quick=False).stdout
    assert "annotate-open.json" in shown and "grounding-dino-tiny" in shown and "AGPL" not in shown


def test_a_dry_run_says_who_finds_regions_first(driver: Driver, models: Path, tmp_path: Path) -> None:
    """As the run does, whose finder's licences count, too; without its weights the photos fail."""
    files = ("--input", SAMPLES / "photos", "--output", tmp_path / "out")
    shown = driver.run(*files, *TRAIN, workflow="remove", quick=False).stdout
    assert "9 photos have none: annotate-open.json finds some first" in shown
    assert "0 to edit and those of 9 photos without regions, 0 skipped, 0 unusable" in shown
    assert "grounding-dino-tiny" in shown.partition("workflow: ")[0]
    never = driver.run(*files, *TRAIN, "--annotate", "never", workflow="remove", quick=False).stdout
    assert "0 to edit, 9 skipped, 0 unusable" in never and "finds some first" not in never
    (models / "background_removal" / "birefnet.safetensors").rename(models / "background_removal" / "elsewhere")
    try:
        lacking = driver.run(*files, *TRAIN, workflow="remove", quick=False).stdout
    finally:
        (models / "background_removal" / "elsewhere").rename(models / "background_removal" / "birefnet.safetensors")
    assert "0 to edit, 0 skipped, 9 unusable" in lacking and "python install.py --models annotate-open" in lacking


def test_writing_and_judging_pass_where_the_operator_says_so(
    driver: Driver, models: Path, says: Any, pair: Path, tmp_path: Path
) -> None:
    says(FREE)
    output = ("--output", tmp_path / "out")
    written = driver.run("--input", SAMPLES / "annotation.jsonl", *output, *TRAIN, workflow="write", quick=False)
    photos = ("--image-root", SAMPLES / "photos")
    judged = driver.run("--input", pair, *photos, *output, *TRAIN, workflow="verify", quick=False)
    for shown, workflow in ((written.stdout, "write"), (judged.stdout, "verify")):
        assert "Apache-2.0: VLM profile default" in rests_on(shown, workflow)


@pytest.mark.parametrize("terms", ["", 'outputs_may_train = "no"\n'], ids=["unsaid", "no"])
def test_terms_that_nobody_said_or_that_forbid_it_end_it_in_one_line(
    driver: Driver, models: Path, says: Any, pair: Path, tmp_path: Path, terms: str
) -> None:
    says(terms)
    files = ("--input", pair, "--image-root", SAMPLES / "photos", "--output", tmp_path / "out")
    line = driver.refused(*files, *TRAIN, workflow="verify", quick=False)
    assert "--licence-policy train: " in line and "VLM profile default" in line and "outputs_may_train" in line


def test_a_fault_in_the_operators_file_is_named(
    driver: Driver, models: Path, says: Any, pair: Path, tmp_path: Path
) -> None:
    says('outputs_may_train = "perhaps"\n')
    files = ("--input", pair, "--image-root", SAMPLES / "photos", "--output", tmp_path / "out")
    line = driver.refused(*files, *TRAIN, workflow="verify", quick=False)
    assert "vlm.toml, profile 'default': outputs_may_train" in line and "'yes' or 'no'" in line


def test_the_papers_models_are_refused_and_the_open_graph_is_named(
    driver: Driver, models: Path, tmp_path: Path
) -> None:
    files = ("--input", SAMPLES / "annotation.jsonl", "--output", tmp_path / "out", "--profile", "full")
    line = driver.refused(*files, "--licence-policy", "train", "--dry-run", workflow="remove", quick=False)
    assert "flux1-fill-dev.safetensors (FLUX.1 [dev]" in line and "free of that: --workflow remove-open" in line
