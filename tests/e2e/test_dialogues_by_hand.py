"""Dialogues played by hand on a real ComfyUI, turn by turn, by image processing: what a turn begins with is what one left."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest

from comfy_nodes.core.instructions.classical import colour_in
from comfy_nodes.core.instructions.instructions import annotation_line
from comfy_nodes.core.instructions.turns import plan_by_template
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Provenance, parse_annotation
from tests.e2e.test_classical_tasks import HEIGHT, WIDTH, WORKFLOWS, Studio

KINDS = {"content_memory": 2, "content_understanding": 3, "version_backtracking": 3}
Record = dict[str, Any]


class Table:
    """An artist's place: a kind's graph with a small photo in it, and an output folder."""

    def __init__(self, studio: Studio, task: str, output: Path):
        self.studio, self.task, self.folder = studio, task, f"editpairs/{uuid.uuid4().hex[:8]}"
        self.files = output / self.folder
        self.ui = json.loads((WORKFLOWS / f"{task}-classical.json").read_text("utf-8"))
        ball, block, wall = parse_annotation(studio.annotation()).regions
        regions, others = ((ball, block), (wall,)) if task == "content_memory" else ((ball,), (block, wall))
        for self.seed in count():
            plan = plan_by_template(task, regions, others, (WIDTH, HEIGHT), self.seed, None)
            if {colour_in(step.target) for step in plan.steps if step.op == "alter"} <= {"purple"}:
                break  # a colour that both things can be given

    def run(self, turn: int, **widgets: dict[str, Any]) -> tuple[list[Record], str]:
        """Presses Run: what the sink saved now, and what went wrong.

        Args:
            widgets: further values, by class.
        """
        api = self.studio.graph(self.task, seed=self.seed)
        values: dict[str, dict[str, Any]] = {
            "EditPairsTakeTurn": {"turn": turn, "folder": self.folder},
            "EditPairsSavePair": {"folder": self.folder},
            "EditPairsClassicalInpaint": {"method": "telea"},
            "EditPairsLoadSecondImage": {"image": "editpairs-samples/rocket.jpg"},  # which is not to be loaded
        }
        for node in api.values():
            node["inputs"].update(values.get(node["class_type"], {}) | widgets.get(node["class_type"], {}))
        number = str(uuid.uuid4())
        page = {"extra_pnginfo": {"workflow": {**self.ui, "turn": turn}}}
        self.studio.server.submit(api, number, "page", extra=page)  # type: ignore[arg-type]
        end = time.monotonic() + 60
        while not (job := self.studio.server.job(number)) or not job.finished:
            assert time.monotonic() < end
            time.sleep(0.03)
        with urlopen(f"{self.studio.url}/history/{number}", timeout=20) as answer:
            entry = json.load(answer)[number]
        sunk = [one for output in entry["outputs"].values() for one in output.get("editpairs", ())]
        return sunk, job.error.get("exception_message", "")

    def turn(self, number: int, **widgets: dict[str, Any]) -> Record:
        (record,), error = self.run(number, **widgets)
        assert not error and "failure" not in record, (error, record)
        return record

    def pictures(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
        return tuple(self.studio.picture(record[f"{role}_images"][0]) for role in ("input", "output"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def studio(comfy: Any) -> Studio:
    return Studio(comfy.url)


@pytest.fixture
def output(comfy: Any) -> Path:
    return Path(comfy.models).parent / "output"


@pytest.mark.parametrize("task", KINDS)
def test_a_dialogue_is_played_turn_by_turn(task: str, studio: Studio, output: Path) -> None:
    table = Table(studio, task, output)
    records = [table.turn(number) for number in range(1, KINDS[task] + 1)]
    first, last = table.pictures(records[0]), table.pictures(records[-1])
    states = [first[0]]
    changed = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for number, record in enumerate(records, 1):
        turn = record["turn"]
        assert (record["verdict"], record["reject_reason"], record["task"]) == ("keep", "", task)
        assert record["key"] == f"{turn['dialogue']}~{number - 1}"
        assert (turn["number"], turn["of"], turn["op"]) == (number, KINDS[task], record["regions"][0]["op"])
        before, after = table.pictures(record)
        assert np.array_equal(before, states[turn["base"]])
        mask = rle.decode(rle.Rle(**record["edit_mask"]))
        assert np.array_equal(before[~mask], after[~mask])
        assert {one["name"]: one["value"] for one in record["scores"]}["dialogue.outside_max"] == 0
        changed |= mask
        states.append(after)
    assert np.array_equal(first[0][~changed], last[1][~changed])
    assert len({record["turn"]["dialogue"] for record in records}) == 1
    assert all(("purple" in record["turn"]["premise"]) == (task == "content_memory") for record in records)
    bases = [record["turn"]["base"] for record in records]
    assert bases == ([0, 1, 1] if task == "version_backtracking" else list(range(KINDS[task])))


def test_a_turn_follows_the_pairs_that_lie_there(studio: Studio, output: Path) -> None:
    """The newest of each turn that was not rejected."""
    table = Table(studio, "content_understanding", output)
    assert "run turn 1 first" in table.run(2)[1]
    rejected = table.turn(1, EditPairsVerifyPixels={"min_changed": 1.0})
    assert rejected["verdict"] == "reject"
    assert "it was rejected" in table.run(2)[1]
    table.turn(1)
    second = table.turn(2)
    assert table.run(2)[0] == [second], "nothing has changed, so ComfyUI has it from its cache"
    for saved in table.files.glob("*-0-*[0-9a-f].json"):
        saved.touch()  # as if it were made anew, without a run that ComfyUI would forget the last one by
    assert table.turn(2) != second
    table.turn(3)
    table.seed += 1
    assert "run turn 1 first" in table.run(2)[1], "another seed is another dialogue"


def test_what_cannot_be_played_says_why(studio: Studio, output: Path) -> None:
    table = Table(studio, "version_backtracking", output)
    take, load = "EditPairsTakeTurn", "EditPairsLoadSample"
    assert "has 2 turns, and turn 3 is asked for" in table.run(1, **{take: {"turn": 3, "turns": 2}})[1]
    assert "task remove has no turns: choose one of content_memory" in table.run(1, **{load: {"task": "remove"}})[1]
    assert "'Paint it.' is no plan of turns" in table.run(1, **{load: {"instruction": "Paint it."}})[1]
    (failed,), _ = table.run(1, **{load: {"class_name": "", "annotation": json.dumps(_nameless(studio))}})
    assert (failed["failure"]["error_type"], failed["failure"]["skipped"]) == ("Nameless", True)


def test_a_line_of_the_write_stage_is_played(studio: Studio, output: Path) -> None:
    """Pasted into annotation: its own words, and as many turns and regions as it has."""
    table = Table(studio, "content_memory", output)
    ball, block, wall = parse_annotation(studio.annotation()).regions
    corner = ball.model_copy(update={"class_name": "corner", "bbox": (140.0, 90.0, 170.0, 120.0), "mask": None})
    plan = plan_by_template("content_memory", (ball, block, corner), (wall,), (WIDTH, HEIGHT), table.seed, 3)
    plan = replace(plan, premise=f"{plan.premise[:-1]}, please.", model="a-model")
    origin = Provenance(key="k", source_id="photo.png", source_path="photo.png", source_sha256="0" * 64)
    line = annotation_line(plan, "content_memory", "", "", (WIDTH, HEIGHT), origin)
    records = [table.turn(number, EditPairsLoadSample={"annotation": json.dumps(line)}) for number in (1, 2)]
    assert [one["turn"]["of"] for one in records] == [3, 3]
    assert {one["turn"]["premise"] for one in records} == {plan.premise}
    assert [one["regions"][0]["class_name"] for one in records] == ["ball", "block"]
    assert [one["name"] for one in records[1]["models"] if one["role"] == "writer"] == ["a-model"]


def _nameless(studio: Studio) -> dict[str, Any]:
    annotation = studio.annotation()
    for region in annotation["segmentation"]["object"]:
        region["class_name"] = None
    return annotation
