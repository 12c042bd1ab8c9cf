"""A run as a user sees it: what it leaves, what the same command does again, what the options do."""

from __future__ import annotations

import hashlib
import json
import shutil
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from comfy_nodes.core.regions import rle
from tests.e2e import helpers
from tests.e2e.helpers import Driver

COLUMNS = [
    "key", "task", "subtask", "slot", "lang", "input_images", "output_images", "prompt", "initial_prompt",
    "restated_prompt", "editor_prompt", "prompt_en", "prompt_cn", "verdict", "reject_reason", "vouched_by", "scores", "judge", "class_name", "bbox",
    "mask", "regions", "edit_mask", "models", "source_id", "source_path", "source_sha256", "source_licence",
    "source_url", "crop", "workflow", "workflow_sha256", "stage_sha256", "profile", "seed", "attempt", "width",
    "height", "turn", "derived_kind", "derived_from", "schema_version",
]  # fmt: skip
"""A row's columns, in their order."""

OF_THE_FILE = ("workflow", "workflow_sha256", "profile")
"""Columns that name the workflow's file rather than what it does."""


@pytest.fixture(scope="module")
def finished(comfy: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `photos` (six) and `out`, a run over them. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("finished")
    helpers.make_photos(folder / "photos", 6)
    driver = Driver(comfy.url, folder)
    try:
        driver.run("--input", folder / "photos", "--output", folder / "out")
    finally:
        driver.close()
    return folder


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run's output folder, to go on with."""
    return Path(shutil.copytree(finished / "out", tmp_path / "again"))


def test_it_leaves_what_the_contract_lists(finished: Path) -> None:
    assert helpers.files_in(finished / "out") == helpers.LEFT
    summary = json.loads((finished / "out" / "summary.json").read_text())
    assert {name: summary[name] for name in ("samples", "kept", "rejected", "failed", "pending")} == {
        "samples": 6, "kept": 6, "rejected": 0, "failed": 0, "pending": 0,
    }  # fmt: skip
    assert summary["samples_per_second"] > 0


def test_the_columns_are_the_contracts(finished: Path) -> None:
    for config in ("data", "rejected"):
        schema = pq.read_schema(finished / "out" / config / "train-00000-of-00001.parquet")
        assert schema.names == COLUMNS
    row = helpers.rows(finished / "out")[0]
    assert (row["task"], row["verdict"], row["profile"], row["attempt"], row["lang"]) == (
        "remove", "keep", "classical", 1, "en",
    )  # fmt: skip
    assert row["workflow"] == "remove-classical"
    assert {score["name"] for score in row["scores"]} >= {"pixel.outside_max"}
    assert all(len(row[name]) == 64 for name in ("workflow_sha256", "stage_sha256", "source_sha256"))


def test_rows_stand_in_the_inputs_order(finished: Path) -> None:
    rows = helpers.rows(finished / "out")
    assert [row["source_path"] for row in rows] == [f"photo{number:03d}.png" for number in range(6)]
    assert len({row["key"] for row in rows}) == len({row["seed"] for row in rows}) == 6


def test_pixels_outside_the_edit_mask_are_the_photos_own(finished: Path) -> None:
    for number, row in enumerate(helpers.rows(finished / "out")):
        photo = finished / "photos" / row["source_path"]
        helpers.assert_whole(row, np.asarray(Image.open(photo).convert("RGB")))
        assert row["source_sha256"] == hashlib.sha256(photo.read_bytes()).hexdigest()
        disc = helpers.disc_of(number)
        assert np.array_equal(rle.decode(rle.Rle.model_validate(row["mask"])), disc)
        assert helpers.edit_mask(row)[disc].all()


def test_load_dataset_opens_it_with_decoded_images(finished: Path, tmp_path: Path) -> None:
    import datasets

    opened = datasets.load_dataset(str(finished / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert opened.column_names == COLUMNS
    assert opened["key"][:] == [row["key"] for row in helpers.rows(finished / "out")]
    for column in ("input_images", "output_images"):
        (picture,) = opened[5][column]
        assert isinstance(picture, Image.Image)
        assert picture.size == (96, 96)


def test_rejected_rows_are_a_second_config(finished: Path, driver: Driver, tmp_path: Path) -> None:
    import datasets

    setting = ("--set", "EditPairsVerifyPixels.min_changed=1")
    driver.run("--input", finished / "photos", "--output", tmp_path / "out", "--limit", 2, *setting)
    assert helpers.rows(tmp_path / "out") == []
    for row in helpers.rows(tmp_path / "out", "rejected"):
        assert row["verdict"] == "reject"
        assert row["reject_reason"]
        helpers.assert_whole(row)
    cache = str(tmp_path / "cache")
    opened = datasets.load_dataset(str(tmp_path / "out"), "rejected", split="train", cache_dir=cache)
    assert opened["verdict"][:] == ["reject", "reject"]


def test_every_form_of_a_workflow_gives_the_same_rows(finished: Path, driver: Driver, tmp_path: Path) -> None:
    ui, api = finished / "out" / "workflow.json", finished / "out" / "workflow_api.json"
    png = tmp_path / "saved by comfyui.png"
    png.write_bytes(_png_of_comfyui(driver.url, json.loads(api.read_text()), json.loads(ui.read_text())))
    expected = helpers.comparable(finished / "out", OF_THE_FILE)[:2]
    for path in (ui, api, png):
        output = tmp_path / path.stem
        # An API file is the graph as it was sent, with what --set changed.
        run = ("--input", finished / "photos", "--output", output, "--limit", 2)
        driver.run(*run, workflow=path, quick=path == ui)
        assert helpers.comparable(output, OF_THE_FILE) == expected, path.name
        assert {row["profile"] for row in helpers.rows(output)} == {"custom"}


def _png_of_comfyui(url: str, api: dict[str, Any], ui: dict[str, Any]) -> bytes:
    """A picture with the workflow in it, as ComfyUI saves it for its own page."""
    job = helpers.post(url, "/prompt", {"prompt": api, "extra_data": {"extra_pnginfo": {"workflow": ui}}})
    path = f"/api/jobs/{job['prompt_id']}"
    done = helpers.until(lambda: (got := helpers.get(url, path))["status"] == "completed" and got, "the prompt's end")
    image = next(node["images"][-1] for node in done["outputs"].values() if "editpairs" in node)
    with urllib.request.urlopen(f"{url}/view?{urllib.parse.urlencode(image)}") as response:
        return bytes(response.read())


def test_a_second_run_does_nothing(finished: Path, again: Path, driver: Driver) -> None:
    before, posted = helpers.comparable(again), helpers.prompts_so_far(driver.url)
    telemetry = helpers.table(again, "telemetry")
    driver.run("--input", finished / "photos", "--output", again)
    assert helpers.prompts_so_far(driver.url) == posted + 1
    assert helpers.comparable(again) == before
    assert helpers.table(again, "telemetry") == telemetry
    assert helpers.files_in(again) == helpers.LEFT


def test_limit_and_then_the_rest(finished: Path, driver: Driver, tmp_path: Path) -> None:
    posted = helpers.prompts_so_far(driver.url)
    driver.run("--input", finished / "photos", "--output", tmp_path / "out", "--limit", 2)
    assert helpers.comparable(tmp_path / "out") == helpers.comparable(finished / "out")[:2]
    driver.run("--input", finished / "photos", "--output", tmp_path / "out")
    assert helpers.comparable(tmp_path / "out") == helpers.comparable(finished / "out")
    assert helpers.prompts_so_far(driver.url) == posted + 1 + 6


def test_another_seed_gives_other_seeds(finished: Path, driver: Driver, tmp_path: Path) -> None:
    driver.run("--input", finished / "photos", "--output", tmp_path / "out", "--seed", 7, "--limit", 1)
    first, other = helpers.rows(finished / "out")[:1], helpers.rows(tmp_path / "out")
    assert [row["key"] for row in first] == [row["key"] for row in other]
    assert not {row["seed"] for row in first} & {row["seed"] for row in other}


def test_set_reaches_the_edit(finished: Path, driver: Driver, tmp_path: Path) -> None:
    setting = ("--set", "EditPairsClassicalInpaint.grow=0")
    driver.run("--input", finished / "photos", "--output", tmp_path / "out", "--limit", 1, *setting)
    row = helpers.rows(tmp_path / "out")[0]
    assert np.array_equal(helpers.edit_mask(row), helpers.disc_of(0))
    assert row["stage_sha256"] != helpers.rows(finished / "out")[0]["stage_sha256"]
    graph = json.loads((tmp_path / "out" / "workflow_api.json").read_text())
    assert [node["inputs"]["grow"] for node in graph.values() if "grow" in node["inputs"]] == [0]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("EditPairsClassicalInpainting.grow=0", "no node matches; candidates:"),
        ("EditPairsClassicalInpaint.growth=0", "did you mean grow?"),
        ("EditPairsClassicalInpaint.grow=much", "not of type FLOAT"),
        ("EditPairsClassicalInpaint.method=tela", "did you mean telea?"),
        ("grow=0", "write it as"),
    ],
)
def test_a_set_that_fits_nothing_is_refused(
    finished: Path, driver: Driver, tmp_path: Path, setting: str, said: str
) -> None:
    line = driver.refused("--input", finished / "photos", "--output", tmp_path / "out", "--set", setting, quick=False)
    assert f"--set {setting}: " in line
    assert said in line


def test_dry_run_leaves_nothing(finished: Path, driver: Driver, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    posted = helpers.prompts_so_far(driver.url)
    options = ("--input", finished / "photos", "--output", tmp_path / "out", "--dry-run", "--limit", 4)
    ended = driver.run(*options, env={"TMPDIR": str(temporary)})
    assert "4 to edit" in ended.stdout
    assert "EditPairsSavePair" in ended.stdout
    assert "ImageCompare" in ended.stdout, "what is left out is not listed"
    assert not (tmp_path / "out").exists()
    assert not list(temporary.iterdir())
    assert helpers.prompts_so_far(driver.url) == posted + 1


def test_another_seed_or_graph_may_not_go_into_the_same_folder(finished: Path, again: Path, driver: Driver) -> None:
    before = helpers.comparable(again)
    into = ("--input", finished / "photos", "--output", again)
    assert "seed (0 there, 5 now)" in driver.refused(*into, "--seed", 5)
    assert "seed (0 there, 5 now)" in driver.refused(*into, "--seed", 5, "--dry-run")
    line = driver.refused(*into, "--set", "EditPairsClassicalInpaint.grow=3")
    assert "EditPairsClassicalInpaint.grow: " in line
    assert "there, 3.0 now" in line or "there, 3 now" in line
    assert helpers.comparable(again) == before
    driver.run(*into)


def test_the_bundled_samples_are_the_default_input(driver: Driver, tmp_path: Path) -> None:
    driver.run("--output", tmp_path / "out", "--limit", 2, quick=False)
    for row in helpers.rows(tmp_path / "out"):
        helpers.assert_whole(row)
        assert row["source_licence"]
        assert row["class_name"] in row["prompt"]
