"""`--at-once N` on a real ComfyUI with tiny checkpoints: one prompt, N noises, N rows, and what is kept or rejected of them
makes preference pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driver.exports.forms import export
from driver.graph.bound import BatchGraph
from driver.graph.checks import apply_settings
from driver.graph.file import WORKFLOWS, WorkflowFile
from driver.graph.several import REPEAT, with_several
from tests.e2e import helpers
from tests.e2e.full_graphs import Pair, finished, make_checkpoints, op, photo, region, tiny
from tests.e2e.helpers import Driver
from tests.e2e.test_verify import FOUND
from tests.vlm.endpoint import Endpoint, Say

GRAPHS = [one for one in ("hybrid", "instruct", "remove-open", "hybrid-open", "instruct-open")
          if (WORKFLOWS / f"{one}.json").is_file()]  # fmt: skip
"""Two samplers behind each other, two of which one runs, and of the open graphs those that are there."""


@pytest.fixture(scope="module")
def info(comfy: Any) -> dict[str, Any]:
    make_checkpoints(comfy.models)
    return helpers.get(comfy.url, "/object_info")


@pytest.mark.parametrize("name", GRAPHS)
def test_each_picture_of_the_batch_is_a_record(comfy: Any, info: dict[str, Any], name: str) -> None:
    """Also behind a second sampler, which gets a batch and is not repeated."""
    whole = photo(comfy.models.parent / "input", "several.png")
    api = with_several(WorkflowFile.read(WORKFLOWS / f"{name}.json"), 2, info).to_api(info)
    apply_settings(api, tiny(api), info)
    graph = BatchGraph.bind(api, info)
    for node in graph.api.values():
        if node["class_type"] == "EditPairsLoadSecondImage":
            node["inputs"]["image"] = whole.name
    steps = (op("replace", 0), op("add", 1)) if graph.task == "hybrid" else ()
    told = whole.annotation(region(40, 30, 61, 55), region(10, 12, 24, 29, "box"), steps=steps)
    given = {"image": whole.name, "region_index": 0, "class_name": "", "instruction": "Do it.", "annotation": told}
    entry = finished(comfy.url, graph.prompt(given, 5, f"several/{name}"))
    pairs = [Pair(comfy.url, record) for record in entry["outputs"][graph.sink]["editpairs"]]
    assert [pair.record["key"].rpartition("~")[2] for pair in pairs] == ["0", "1"]
    assert not np.array_equal(pairs[0].after, pairs[1].after), "each has its own noise"
    assert np.array_equal(pairs[0].before, pairs[1].before)


def test_a_run_keeps_what_is_good_of_them_and_sets_it_against_the_rest(
    comfy: Any, info: dict[str, Any], driver: Driver, photos: Path, tmp_path: Path
) -> None:
    api = WorkflowFile.read(WORKFLOWS / "remove.json").to_api(info)
    output, command = tmp_path / "out", ["--profile", "full", *(word for one in tiny(api) for word in ("--set", one))]
    command += ["--input", photos, "--limit", "1", "--output", output, "--judge", "strict", "--at-once", "3"]
    scores = {"prompt_compliance": 5, "visual_naturalness": 5, "physical_detail_integrity": 4}
    deeds = {
        "source_caption": [Say(json.dumps(FOUND))],
        "Score the edit": [Say(json.dumps(scores))],
        "was erased": [Say('{"new": ["a vase on the ground"]}'), Say('{"new": []}')],
    }
    with Endpoint(deeds) as endpoint:
        comfy.profiles.write_text(f'[profiles.strict]\nbase_url = "{endpoint.url}"\nmodel = "tiny"\n')
        try:
            before = helpers.prompts_so_far(comfy.url)
            ended = driver.run(*command, workflow="remove", quick=False)
            assert helpers.prompts_so_far(comfy.url) == before + 2, "one prompt, and the one that asking posts"
            assert "2 kept, 1 rejected" in ended.stdout
            again = driver.run(*command, workflow="remove", quick=False)
            assert helpers.prompts_so_far(comfy.url) == before + 3 and "2 kept, 1 rejected" in again.stdout
        finally:
            comfy.profiles.unlink()
    kept, (lost,) = helpers.rows(output), helpers.rows(output, "rejected")
    stems = {row["key"].partition("~")[0] for row in (*kept, lost)}
    assert len(stems) == 1 and len({row["key"] for row in (*kept, lost)}) == 3
    assert len({row["output_images"][0]["bytes"] for row in (*kept, lost)}) == 3
    ran = WorkflowFile.read(output / "workflow.json").to_api(info)
    assert [node["inputs"]["amount"] for node in ran.values() if node["class_type"] == REPEAT] == [3]

    export(output, "preference", tmp_path / "pairs", "copy")
    lines = [json.loads(line) for line in (tmp_path / "pairs" / "preference.jsonl").read_text().splitlines()]
    assert {(one["key"], one["rejected_key"]) for one in lines} == {(row["key"], lost["key"]) for row in kept}
