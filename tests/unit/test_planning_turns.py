"""Photos into the turns of dialogues: keys, what waits for what, plans that were written, and what can give none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.instructions.instructions import Writing, annotation_line
from comfy_nodes.core.instructions.turns import plan_by_template
from comfy_nodes.core.keys import KEY_LENGTH
from comfy_nodes.core.regions.annotation import Annotation, Provenance, Region
from comfy_nodes.core.tasks import task_named
from driver.enrolling import sample_of, sample_text
from driver.errors import RunError
from driver.graph.bound import BatchGraph
from driver.graph.file import WorkflowFile
from driver.inputs.dialogues import whole_plan
from driver.inputs.source import Source
from driver.options import RunOptions
from driver.pipeline.dry_run import Scope, Tally, taken
from driver.pipeline.workflow import _give_turns, look_at
from driver.places import State
from driver.samples import Aim, Plans, Sample, Spare, Unusable
from tests.unit.graphs import WORKFLOWS
from tests.unit.source_making import Found, picture

MEMORY, UNDERSTANDING, BACK = map(task_named, ("content_memory", "content_understanding", "version_backtracking"))
SIZE = (120, 90)
CUP = Region(class_name="cup", bbox=(5, 5, 35, 35))
JUG = Region(class_name="jug", bbox=(70, 50, 105, 80))
BOWL = Region(class_name="bowl", bbox=(75, 5, 105, 35))


def line(name: str = "table.png", *regions: Region, **more: Any) -> dict[str, Any]:
    found = [{"class_name": one.class_name, "bbox": list(one.bbox)} for one in regions or (CUP, JUG)]
    size = {"width": SIZE[0], "height": SIZE[1]}
    return {"path": name, "resolution": size, "segmentation": {"object": found}, **more}


def source(folder: Path, *lines: dict[str, Any]) -> Source:
    for one in lines:
        (folder / one["path"]).write_bytes(picture(kind="PNG", size=SIZE))
    (folder / "annotation.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return Source(folder / "annotation.jsonl")


def planned(found: Source, task: Any = UNDERSTANDING, turns: int | None = None, regions: Any = "all") -> list[Any]:
    return list(found.plan([Aim(task, plans=Plans(turns))], regions, 0))


@pytest.mark.parametrize(("task", "turns", "dialogues"), [(MEMORY, 2, 1), (UNDERSTANDING, 3, 2), (BACK, 3, 2)])
def test_each_turn_is_a_sample_that_waits_for_the_one_before(
    tmp_path: Path, task: Any, turns: int, dialogues: int
) -> None:
    found = planned(source(tmp_path, line()), task)
    assert len(found) == turns * dialogues
    for first in range(0, len(found), turns):
        dialogue = found[first : first + turns]
        key = dialogue[0].turn.dialogue
        assert len(key) == KEY_LENGTH
        assert [one.key for one in dialogue] == [f"{key}~{number}" for number in range(turns)]
        assert [one.after for one in dialogue] == ["", *(one.key for one in dialogue[:-1])]
        assert (dialogue[0].file, dialogue[0].start) == ("table.png", "")
        for one in dialogue[1:]:
            base = one.turn.base
            assert one.file == State(f"{key}~{max(0, base - 1)}", "output" if base else "input")
            assert one.start == State(f"{key}~0", "input")
        assert all(one.task == task.name and one.plan and one.instruction for one in dialogue)


def test_the_journal_gives_a_turn_back_as_it_was_planned(tmp_path: Path) -> None:
    for task in (MEMORY, UNDERSTANDING, BACK):
        for one in planned(source(tmp_path, line()), task):
            assert sample_of(one.key, sample_text(one)) == replace(one, pictures=(), stamp="")
            step = one.plan.steps[one.turn.number - 1]
            assert whole_plan(one).regions[step.region].class_name == one.annotation.regions[0].class_name


def test_the_command_says_how_many_turns(tmp_path: Path) -> None:
    found = source(tmp_path, line("table.png", CUP, JUG, BOWL))
    assert {one.turn.of for one in planned(found, UNDERSTANDING, 5)} == {5}
    assert {one.turn.of for one in planned(found, MEMORY, 3)} == {3}


@pytest.mark.parametrize(
    ("task", "turns", "regions", "error_type", "why"),
    [
        (MEMORY, 3, (CUP, JUG), "Unfit", "takes 3 named things that lie apart, and 2 are known here"),
        (MEMORY, None, (CUP,), "NoRegion", "needs two regions apart from each other"),
        (UNDERSTANDING, None, (CUP.model_copy(update={"class_name": None}),), "Nameless", "name"),
    ],
)
def test_a_plan_that_cannot_be_made_is_skipped(
    tmp_path: Path, task: Any, turns: int | None, regions: Any, error_type: str, why: str
) -> None:
    (one,) = planned(source(tmp_path, line("table.png", *regions)), task, turns)
    assert isinstance(one, Unusable)
    assert (one.failure.error_type, one.failure.skipped) == (error_type, True)
    assert why in one.failure.message


def _written(task: str, plan: Writing, **more: Any) -> dict[str, Any]:
    """A line as Save Instructions leaves it."""
    origin = Provenance(key="k", source_id="table.png", source_path="table.png", source_sha256="0" * 64)
    return annotation_line(plan, task, "", "", SIZE, origin) | more


class TestWritten:
    plan = plan_by_template("content_memory", (CUP, JUG), (), SIZE, 3, 2)

    def test_what_was_written_is_the_plan(self, tmp_path: Path) -> None:
        first, second = planned(source(tmp_path, _written("content_memory", self.plan)), MEMORY)
        assert [one.instruction for one in (first, second)] == [one.instruction for one in self.plan.steps]
        assert first.turn.premise == self.plan.premise
        assert whole_plan(second).steps == self.plan.steps
        assert (whole_plan(second).premise, first.annotation.regions[0].class_name) == (self.plan.premise, "cup")

    def test_a_plan_that_cannot_be_carried_out_is_none(self, tmp_path: Path) -> None:
        backwards = replace(self.plan, steps=tuple(replace(one, base=1) for one in self.plan.steps))
        (one,) = planned(source(tmp_path, _written("content_memory", backwards)), MEMORY)
        assert (one.failure.error_type, one.failure.skipped) == ("Unfit", True)
        assert one.failure.message.startswith("turn 1: ")

    def test_only_the_regions_that_it_is_about_have_to_suit(self, tmp_path: Path) -> None:
        told = _written("content_memory", self.plan)
        whole_photo = {"class_name": "table", "bbox": [0, 0, *SIZE]}
        told["segmentation"]["object"].append(whole_photo)
        told["segmentation"]["background"] = [{"class_name": "sky", "bbox": [0, 0, 120, 40]}]
        found = planned(source(tmp_path, told), MEMORY)
        assert [one.annotation.regions[0].class_name for one in found] == ["cup", "jug"]
        told["segmentation"]["object"] = [whole_photo, *told["segmentation"]["object"][1:]]
        (one,) = planned(source(tmp_path, told), MEMORY)
        assert one.failure.message.startswith("no usable region: region 0 (table): covers 100 % of the photo")
        assert "sky" not in one.failure.message

    def test_regions_before_its_own_are_counted_though_nothing_is_about_them(self, tmp_path: Path) -> None:
        plan = plan_by_template(UNDERSTANDING.name, (JUG,), (), SIZE, 3, 3)
        told = _written(UNDERSTANDING.name, plan)
        told["segmentation"]["object"].insert(0, {"class_name": "table", "bbox": [0, 0, *SIZE]})
        for step in told["writing"]["steps"]:
            step["region"] = 1
        found = planned(source(tmp_path, told))
        assert [one.annotation.regions[0].class_name for one in found] == ["jug"] * 3
        assert all(whole_plan(sample_of(one.key, sample_text(one))).regions[1].class_name == "jug" for one in found)

    def test_of_several_workflows_its_own_says_why_it_is_none(self, tmp_path: Path) -> None:
        backwards = replace(self.plan, steps=tuple(replace(one, base=1) for one in self.plan.steps))
        aims = [Aim(task, plans=Plans()) for task in (UNDERSTANDING, MEMORY, BACK)]
        (one,) = source(tmp_path, _written("content_memory", backwards)).plan(aims, "all", 0)
        assert one.failure.message.startswith("turn 1: it begins with state 1")
        (one,) = source(tmp_path, _written("content_memory", backwards)).plan([aims[0], aims[2]], "all", 0)
        assert one.failure.error_type == "OtherTask"

    def test_a_photo_may_have_several_by_their_slots(self, tmp_path: Path) -> None:
        other = plan_by_template("content_memory", (CUP, JUG), (), SIZE, 4, 2)
        first, second = _written("content_memory", self.plan), _written("content_memory", other)
        assert first["instruction"] != second["instruction"]
        *_, one, other_one = planned(source(tmp_path, first, second), MEMORY)
        assert one.failure.error_type == other_one.failure.error_type == "DuplicateSample"
        assert "Give each line a `slot` of its own" in one.failure.message
        found = planned(source(tmp_path, first | {"slot": "1"}, second | {"slot": "2"}), MEMORY)
        assert len({one.turn.dialogue for one in found}) == 2
        assert [one.plan.instruction for one in found[::2]] == [first["instruction"], second["instruction"]]

    def test_each_that_is_refused_says_why(self, tmp_path: Path) -> None:
        told = [_written("content_memory", self.plan) for _ in range(3)]
        told[0]["writing"]["steps"][0]["base"], told[1]["writing"]["steps"][1]["base"] = 1, 2
        told[1]["instruction"] += "!"
        *refused, first, second = planned(source(tmp_path, *told), MEMORY)
        assert [one.failure.message[:28] for one in refused] == [f"turn {n}: it begins with state" for n in (1, 2)]
        assert isinstance(first, Sample) and isinstance(second, Sample)

    def test_a_plan_that_takes_a_model_is_refused_whole_where_the_graph_has_none(self, tmp_path: Path) -> None:
        first, second = self.plan.steps
        unmakeable = replace(self.plan, steps=(first, replace(second, target=f"{first.target} with a lid")))
        found = source(tmp_path, _written("content_memory", unmakeable))
        classical = Aim(MEMORY, plans=Plans(without_model=frozenset({"alter"})))
        (one,) = found.plan([classical], "all", 0)
        assert (one.failure.error_type, one.failure.skipped) == ("NotClassical", True)
        assert one.failure.message.startswith("turn 2: ")
        assert len(planned(found, MEMORY)) == 2

    def test_words_without_a_plan_are_not_passed_over(self, tmp_path: Path) -> None:
        told = line(task="content_memory", instruction="Make all of it red.")
        (one,) = planned(source(tmp_path, told), MEMORY)
        assert "brings words for content_memory, and no plan of its turns" in one.failure.message

    def test_auto_is_the_graph_of_its_kind(self, tmp_path: Path) -> None:
        assert source(tmp_path, _written("content_memory", self.plan)).graphs() == ["content_memory"]


def test_regions_that_an_earlier_stage_found_are_planned_with(tmp_path: Path) -> None:
    bare = source(tmp_path, line("table.png", CUP) | {"segmentation": {"object": []}})
    found = Found([Annotation(path="table.png", size=SIZE, regions=(CUP,))])
    turns = list(bare.plan([Aim(UNDERSTANDING, plans=Plans())], "all", 0, found))
    assert [one.turn.number for one in turns] == [1, 2, 3]


def test_of_one_region_all_other_dialogues_stay_as_they_are(tmp_path: Path) -> None:
    found = planned(source(tmp_path, line()), UNDERSTANDING, regions="one")
    assert len([one for one in found if isinstance(one, Sample)]) == 3
    assert {one.key[-2:] for one in found if isinstance(one, Spare)} == {"~0", "~1", "~2", "~3", "~4"}


def test_a_dialogue_that_stands_there_twice_is_made_once(tmp_path: Path) -> None:
    found = planned(source(tmp_path, line("table.png", CUP), line("table.png", CUP)))
    assert [isinstance(one, Sample) for one in found] == [True] * 3 + [False] * 3
    assert {one.failure.error_type for one in found if isinstance(one, Unusable)} == {"DuplicateSample"}


def test_a_dry_run_counts_a_dialogue_as_one(tmp_path: Path) -> None:
    found = planned(source(tmp_path, line()))
    assert len(list(taken(iter(found), 1))) == 3
    tally = Tally()
    for one in found:
        tally.add(one)
    assert (tally.edited(Scope()), tally.told(Scope())) == (6, " (turns of 2 dialogues)")
    limited = Scope(times=10, limit=5)
    assert (tally.edited(limited), tally.talks(limited)) == (15, 5)
    tally.add(Sample("a" * 20, "a.png", found[0].annotation, task="remove"))
    assert (tally.told(Scope()), tally.of("remove").told(Scope())) == (" (6 of them turns of 2 dialogues)", "")
    assert tally.of(UNDERSTANDING.name).edited(Scope()) == 6


class TestGraph:
    def api(self, **turn: Any) -> dict[str, Any]:
        return {
            "1": {"class_type": "EditPairsLoadSample", "inputs": {"image": "", "task": UNDERSTANDING.name, "seed": 0}},
            "2": {"class_type": "EditPairsTakeTurn", "inputs": {"sample": ["1", 0], "turn": 1, "turns": 0, **turn}},
            "3": {"class_type": "EditPairsSavePair", "inputs": {"sample": ["2", 0], "edited": ["2", 1]}},
        }

    def graph(self, **turn: Any) -> BatchGraph:
        return BatchGraph(self.api(**turn), "1", "3", (), ())

    def test_says_how_plans_are_made(self) -> None:
        assert self.graph().plans == Plans(None, "en")
        assert self.graph(turns=4, language="zh").plans == Plans(4, "zh")

    @pytest.mark.parametrize(("profile", "ops"), [("-classical", {"alter", "replace"}), ("-open", set()), ("", set())])
    def test_says_which_turns_it_makes_without_a_model(self, profile: str, ops: set[str]) -> None:
        drawn = json.loads((WORKFLOWS / f"version_backtracking{profile}.json").read_text("utf-8"))
        api = {str(one["id"]): {"class_type": one["type"], "inputs": {}} for one in drawn["nodes"]}
        plans = BatchGraph(api, "1", "3", (), ()).plans
        assert plans and plans.without_model == ops

    def test_what_counts_by_hand_alone_is_in_no_hash(self) -> None:
        assert self.graph(turn=2, turns=5, language="zh").edit_sha256() == self.graph().edit_sha256()

    def test_takes_the_commands_number(self) -> None:
        api, file = self.api(), WorkflowFile(Path("dialogue.json"), "0" * 64, ui=None, api=self.api())
        _give_turns(4, [api], [file])
        assert api["2"]["inputs"]["turns"] == 4
        del api["2"]
        with pytest.raises(RunError, match=r"^--turns: dialogue.json makes no dialogues, and writes none"):
            _give_turns(4, [api], [file])

    @pytest.mark.parametrize("names", [["remove"], ["remove", "replace"], ["remove", "content_memory"], ["write"]])
    def test_is_refused_before_a_server_starts_where_nothing_has_turns(self, names: list[str], tmp_path: Path) -> None:
        options = RunOptions(",".join(names), tmp_path, profile="full", turns=3)
        if {"content_memory", "write"} & {*names}:
            look_at(options, names)
            return
        with pytest.raises(
            RunError, match=r"^--turns: remove.json.* makes no dialogues, and writes none; leave it out"
        ):
            look_at(options, names)
