"""Dialogues through the model graphs on a real ComfyUI on CPU, with tiny random checkpoints: every turn begins with the state that
it names, runs its operation's branch and no other, and leaves alone what no turn was about.

Each kind is made by one of its two graphs, one of them in a batch; `tests/unit/test_dialogue_graphs.py` holds all branches against
those of the operations' graphs, which are the same.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comfy_nodes.core.branches import BRANCHES
from comfy_nodes.core.instructions.instructions import Step, Writing, annotation_line
from comfy_nodes.core.regions.annotation import Provenance, region_of_mask
from comfy_nodes.core.verdicts.rubrics import TABLE
from driver.graph.bound import BatchGraph
from driver.graph.file import WORKFLOWS, WorkflowFile
from driver.graph.packs import GATE, Filling, Packer, slotted
from tests.e2e import helpers
from tests.e2e.dialogues import Dialogue, plan, run, turn
from tests.e2e.full_graphs import CROP, Photo, bound, make_checkpoints, photo, region, tiny
from tests.e2e.helpers import Driver
from tests.e2e.test_verify import FOUND
from tests.vlm.endpoint import Endpoint, Say

DISC, BOX = region(40, 30, 61, 55), region(10, 12, 24, 29, "box")
MEMORY = plan(
    (DISC, BOX), turn("replace", 0), turn("alter", 1, 1, "a red box"), premise="Everything that changes becomes red."
)
UNDERSTANDING = (
    Step("add", "disc", 0, "Remove the disc.", "", "Add a disc.", 0),
    Step("replace", "disc", 0, "Replace the disc with a red ball.", "a red ball", "Now swap it for a red ball.", 1),
    Step("alter", "disc", 0, "Make the red ball blue.", "a blue ball", "Now make it blue.", 2),
)
BACK = plan((DISC,), turn("add", 0, target=""), turn("replace", 1), turn("remove", 1, target=""))
OTHER_MODEL = {"replaced": "CheckpointLoaderSimple", "erased": "CheckpointLoaderSimple", "altered": "UNETLoader"}
"""Loaders of the full graphs that a branch does without."""


class Studio:
    """A ComfyUI with the tiny checkpoints and a photo."""

    def __init__(self, url: str, models: Path) -> None:
        make_checkpoints(models)
        self.url, self.inputs = url, models.parent / "input"
        self.info: dict[str, Any] = helpers.get(url, "/object_info")
        self.photo: Photo = photo(self.inputs, "dialogue.png")

    def dialogue(self, task: str, writing: Writing) -> Dialogue:
        return Dialogue(self.url, self.inputs, self.photo, task, writing)


@pytest.fixture(scope="module")
def studio(comfy: Any) -> Studio:
    return Studio(comfy.url, comfy.models)


def ways_run(graph: BatchGraph, ran: frozenset[str], prefix: str = "") -> set[str]:
    """The branches of a graph whose pictures were made."""
    (chooser,) = [node for node in graph.api.values() if node["class_type"] == "EditPairsChooseOperation"]
    there = {way: chooser["inputs"][way][0] for way in BRANCHES.values() if way in chooser["inputs"]}
    return {way for way, stitch in there.items() if f"{prefix}{stitch}" in ran}


@pytest.mark.parametrize(
    ("name", "writing"),
    [("content_memory", MEMORY), ("version_backtracking", BACK)],
)
def test_each_turn_runs_its_branch_on_the_state_that_it_names(studio: Studio, name: str, writing: Writing) -> None:
    graph, dialogue = bound(name, studio.info), studio.dialogue(name, writing)
    for number, step in enumerate(writing.steps, 1):
        played = dialogue.play(graph)
        record, states = played.pair.record, dialogue.states()
        assert ways_run(graph, played.ran) == {BRANCHES[step.op]}
        assert (record["task"], record["turn"]["op"], record["turn"]["base"]) == (name, step.op, step.base)
        assert (record["prompt"], record["turn"]["premise"]) == (step.instruction, writing.premise)
        played.pair.assert_kept_outside()
        if step.op == "add":
            assert np.array_equal(played.pair.after, studio.photo.pixels), "the photo is the picture after"
        else:
            assert np.array_equal(played.pair.before, states[step.base]), "bit for bit"
        scores = {one["name"]: one["value"] for one in record["scores"]}
        assert scores["dialogue.outside_max"] == 0
        assert scores["dialogue.turns"] == (2 if number == 3 and step.base == 1 else number)
        assert record["verdict"] == "unscored" and record["reject_reason"].startswith("nobody looked")
        classes = {graph.api[one]["class_type"] for one in played.ran}
        assert OTHER_MODEL[BRANCHES[step.op]] not in classes, "another branch's model is not loaded"
    kept = ~np.any([one.pair.mask for one in dialogue.made], axis=0)
    assert all(np.array_equal(state[kept], dialogue.states()[0][kept]) for state in dialogue.states())


def test_nothing_is_made_of_a_turn_that_an_editor_cannot_be_told(studio: Studio) -> None:
    graph = bound("content_memory", studio.info)
    dialogue = studio.dialogue("content_memory", plan((DISC,), turn("alter", 0, target=""), turn("replace", 1)))
    values, _ = dialogue.values(1)
    outputs, ran = run(studio.url, graph.prompt(values, 5, f"dialogues/{uuid.uuid4().hex}"))
    (record,) = outputs[graph.sink]["editpairs"]
    assert record["failure"]["error_type"] == "NoCaption"
    assert ways_run(graph, ran) == set() and "KSampler" not in {graph.api[one]["class_type"] for one in ran}


def test_turns_of_several_operations_share_a_pack(studio: Studio) -> None:
    """Each runs its own branch, although gates stand between the models."""
    graph = bound("content_understanding-open", studio.info)
    added = studio.dialogue("content_understanding", plan((DISC,), *UNDERSTANDING))
    replaced = studio.dialogue("content_understanding", plan((DISC,), turn("replace", 0), turn("alter", 1)))
    files = {str(value): CROP for node in graph.api.values() for value in node["inputs"].values()}
    packer = Packer(graph, studio.info, {name: size for name, size in files.items() if "." in name}, memory=0)
    fillings = [
        Filling(dialogue.values(1)[0], 5, f"dialogues/{uuid.uuid4().hex}", op=op)
        for dialogue, op in ((added, "add"), (replaced, "replace"))
    ]
    prompt = packer.prompt(fillings)
    assert any(node["class_type"] == GATE for node in prompt.values())
    outputs, ran = run(studio.url, prompt)
    for slot, way in enumerate(("erased", "replaced")):
        assert ways_run(graph, ran, slotted(slot, "")) == {way}
        (record,) = outputs[slotted(slot, graph.sink)]["editpairs"]
        assert record["verdict"] == "unscored" and record["turn"]["number"] == 1


def test_a_written_dialogue_is_made_and_judged_as_a_whole(
    studio: Studio, comfy: Any, driver: Driver, tmp_path: Path
) -> None:
    """From a writer's line to a dialogue in the dataset; what its judge takes back at the third turn is a shorter one."""
    annotation = tmp_path / "instructions.jsonl"
    photo = helpers.make_photo(tmp_path / "photo.png")
    written = replace(plan((region_of_mask(helpers.disc_of(0), "disc"),), *UNDERSTANDING), model="a-writer")
    origin = Provenance(key="k", source_id=photo.name, source_path=photo.name, source_sha256="0" * 64)
    line = annotation_line(written, "content_understanding", "", "", (96, 96), origin)
    annotation.write_text(json.dumps(line), encoding="utf-8")
    scores = {"instruction_compliance": 5, "earlier_turns_kept": 5, "visual_naturalness": 5}
    for op in ("add", "replace", "alter"):
        scores |= {one.name: 5 for one in TABLE[op].criteria}
    deeds = {
        "was erased": [Say('{"new": []}')],
        "source_caption": [Say(json.dumps(FOUND))],
        "3. Now make it blue.*Score the edit": [Say(json.dumps({**scores, "earlier_turns_kept": 1}))],
        "Score the edit": [Say(json.dumps(scores))],
    }
    api = WorkflowFile.read(WORKFLOWS / "content_understanding-open.json").to_api(studio.info)
    settings = [word for one in tiny(api) for word in ("--set", one)]
    with Endpoint(deeds) as endpoint:
        comfy.profiles.write_text(f'[profiles.strict]\nbase_url = "{endpoint.url}"\nmodel = "tiny"\n')
        try:
            driver.run(
                "--input", annotation, "--output", tmp_path / "out", "--profile", "open", "--judge", "strict", *settings,
                workflow="content_understanding", quick=False,
            )  # fmt: skip
        finally:
            comfy.profiles.unlink()
    ((first, second),) = [dialogue["turns"] for dialogue in helpers.rows(tmp_path / "out")]
    ((third,),) = [dialogue["turns"] for dialogue in helpers.rows(tmp_path / "out", "rejected")]
    named = [{score["name"].partition(".")[0] for score in row["scores"]} for row in (first, second, third)]
    assert ["dialogue_judge" in names for names in named] == [False, True, True]
    assert all(names >= {"dialogue", "judge", "verify", "pixel"} for names in named)
    assert first["vouched_by"] == second["vouched_by"] == ["verifier", "judge"]
    assert third["reject_reason"] == "judge (multi_turn): earlier turns kept 1, at least 3 is wanted"
    assert (third["turn"]["op"], third["turn"]["of"]) == ("alter", 3)
