"""Replies of the kinds that models give to each prompt, written by hand, and what must come of each.

`tests/vlm/golden/<prompt>.yaml` holds a prompt's set: `good` is a whole reply (of writers, an edit); a row changes it
(`with`, by dotted name; null leaves a member out), puts words around it (`says`, `$REPLY` for the JSON), or says all of it.
A row ends in what comes out (`gives`), in a complaint that the model is told when it is asked again (`again`), or in why
nothing does (`fails`, `unscored`). The model insists on its words however often it is asked.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from comfy_nodes.core.instructions.checks import NothingToEdit
from comfy_nodes.core.instructions.instructions import Writing
from comfy_nodes.core.instructions.offering import KINDS, SCHEME
from comfy_nodes.core.instructions.scenes import Scene
from comfy_nodes.core.regions.annotation import Region
from comfy_nodes.core.taxonomy import TAXONOMY, kind_of
from comfy_nodes.core.verdicts.erasing import NEW_THINGS
from comfy_nodes.core.verdicts.own_question import Rule
from comfy_nodes.core.verdicts.rubrics import INSPECTED, TABLE, Rubric, rubric_for
from comfy_nodes.core.verdicts.verdicts import Scores
from comfy_nodes.vlm.asking import Failure, Question
from comfy_nodes.vlm.questions import judge, many_kinds, new_things, observer, own_question, verifier, writer
from comfy_nodes.vlm.questions.edited_pair import EditedPair
from comfy_nodes.vlm.questions.prompt_files import FOLDER, read
from tests.unit.insisting import Insisting

GOLDEN = Path(__file__).resolve().parents[1] / "vlm" / "golden"
LEAST = 12
PHOTO = np.zeros((480, 640, 3), np.uint8)
BOXES = ((20, 400, 60, 440), (400, 100, 520, 260), (30, 40, 130, 160))
MET_AS = {
    **{f"judge-scaleedit-{family}": "judge-scaleedit" for family in INSPECTED},
    **{f"write-{thing}-text": "write-text" for thing in ("poster", "interface", "object", "building")},
    "write-action": "write-zoom",
    "write-beautify": "write-portrait",
}
"""Prompts that are framed and answered as another one, whose replies stand for theirs."""

SETS: dict[str, dict[str, Any]] = {
    path.stem: {"prompt": path.stem, **yaml.safe_load(path.read_text("utf-8"))}
    for path in sorted(GOLDEN.glob("*.yaml"))
}


def rows(*begins: str, but: str = "") -> list[Any]:
    return [
        pytest.param(listed, row, id=f"{name}-{number}-{row['like']}")
        for name, listed in SETS.items()
        if name.startswith(begins) and name != but
        for number, row in enumerate(listed["rows"], 1)
    ]


def test_every_prompt_has_a_golden_set() -> None:
    """A file that only stands in others is met in theirs."""
    files = [read(path) for path in FOLDER.glob("*.md")]
    parts = {name for file in files for _role, name in file.parts}
    assert set(SETS) == {file.id for file in files} - parts - set(MET_AS)
    by_id = {file.id: file for file in files}
    for name, other in MET_AS.items():
        answered = [[part for part in by_id[one].parts if part[1] != "judge-scale-three"] for one in (name, other)]
        assert answered[0] == answered[1], f"{name} is answered otherwise than {other}"
    for name, listed in SETS.items():
        said = [json.dumps(row, sort_keys=True) for row in listed["rows"]]
        assert len(set(said)) == len(said) >= LEAST, name
        assert len({row["like"] for row in listed["rows"]}) >= 3 or name == "judge-answer-digit", name


def words(listed: dict[str, Any], row: dict[str, Any], wrap: bool) -> str:
    """A row's reply as the model spells it."""
    whole: Any = copy.deepcopy(listed["good"])
    for name, value in row.get("with", {}).items():
        *path, last = name.split(".")
        held = whole
        for part in path:
            held = held[int(part) if isinstance(held, list) else part]
        if value is None:
            del held[last]
        else:
            held[int(last) if isinstance(held, list) else last] = value
    told = json.dumps({"edits": [whole]} if wrap else whole, ensure_ascii=False)
    said: str = row.get("says", "$REPLY")
    return said.replace("$REPLY", told)


def scene(listed: dict[str, Any]) -> Scene:
    kind = "background" if listed.get("background") else "object"
    marked = [Region(class_name=name, bbox=box, kind=kind) for name, box in zip(listed.get("marked", ()), BOXES)]  # type: ignore[arg-type]  # noqa: B905
    return Scene(640, 480, tuple(marked))


def outcome(asking: Coroutine[Any, Any, Any], row: dict[str, Any], model: Insisting) -> Any:
    """What comes of a reply, after the checks that all prompts have in common; None where it was a failure, as it had to be."""
    found = asyncio.run(asking)
    if not isinstance(found, Failure):
        assert "gives" in row, found
        assert len(model.heard) == 1
        return found
    if "fails" in row:
        assert found.kind == row["fails"]
        assert len(model.heard) == 1
        return None
    assert "again" in row, found
    assert len(model.heard) > 1
    assert row["again"] in model.heard[1]
    return None


# Writers


@pytest.mark.parametrize(("listed", "row"), rows("write-", but=many_kinds.PROMPT))
def test_what_becomes_of_an_edit(listed: dict[str, Any], row: dict[str, Any]) -> None:
    own = re.sub("-(rounds|short)$", "", listed["prompt"])  # of other numbers of turns
    kind = next(one for one in TAXONOMY.values() if one.prompt == own)
    model = Insisting(words(listed, row, wrap=True), not row.get("cut"))
    assignment = writer.Assignment(
        kind,
        PHOTO,
        scene(listed),
        row.get("language", "en"),
        seed=listed.get("seed", 0),
        turns=listed.get("turns", 0),
        other_picture=PHOTO if kind.task in ("motion", "visual") else None,
    )
    if "nothing" in row:
        with pytest.raises(NothingToEdit):
            asyncio.run(writer.write(model, assignment))
        return
    found = outcome(writer.write(model, assignment), row, model)
    if found is not None:
        wanted = row["gives"] if isinstance(row["gives"], list) else [row["gives"]]
        assert [one.instruction for one in found] == wanted
        check_told(found, row)


@pytest.mark.parametrize(("listed", "row"), rows(many_kinds.PROMPT))
def test_what_becomes_of_edits_of_many_kinds(listed: dict[str, Any], row: dict[str, Any]) -> None:
    model = Insisting(words(listed, row, wrap=False), not row.get("cut"))
    choice = many_kinds.Choice(
        [KINDS[f"{SCHEME}/{name}"] for name in listed["offered"]],
        PHOTO,
        Scene(640, 480, (), scene(listed).regions),
        row.get("language", "en"),
    )
    found = outcome(many_kinds.write(model, choice), row, model)
    if found is not None:
        assert [one.instruction for one in found] == row["gives"]
        assert [one.other for one in found] == row.get("others", [one.other for one in found])


def check_told(found: Sequence[Writing], row: dict[str, Any]) -> None:
    for name in ("target", "editor_prompt"):
        if name in row:
            assert getattr(found[0], name) == row[name]


# Observers


@pytest.mark.parametrize(("listed", "row"), rows("caption-image"))
def test_what_becomes_of_a_caption(listed: dict[str, Any], row: dict[str, Any]) -> None:
    model = Insisting(words(listed, row, wrap=False), not row.get("cut"))
    found = outcome(observer.caption(model, PHOTO, row.get("language", "en"), 0), row, model)
    assert found is None or {"dense": found.dense, "short": found.short} == row["gives"]


@pytest.mark.parametrize(("listed", "row"), rows("tag-image"))
def test_what_becomes_of_nouns(listed: dict[str, Any], row: dict[str, Any]) -> None:
    model = Insisting(words(listed, row, wrap=False), not row.get("cut"))
    found = outcome(observer.nouns(model, PHOTO, listed["caption"], 0), row, model)
    assert found is None or [found.objects, found.backgrounds, found.dropped] == row["gives"]


@pytest.mark.parametrize(("listed", "row"), rows("route-task"))
def test_what_becomes_of_a_routing(listed: dict[str, Any], row: dict[str, Any]) -> None:
    model = Insisting(words(listed, row, wrap=False), not row.get("cut"))
    kinds = [kind_of(task) for task in listed["tasks"]]
    found = outcome(observer.route(model, PHOTO, scene(listed), kinds, "", 0), row, model)
    assert found is None or sorted(found.accepted) == sorted(row["gives"])
    assert found is None or {*found.accepted, *found.rejected} == {*listed["tasks"]}


@pytest.mark.parametrize(("listed", "row"), rows("rewrite-instruction"))
def test_what_becomes_of_a_command(listed: dict[str, Any], row: dict[str, Any]) -> None:
    model = Insisting(words(listed, row, wrap=False), not row.get("cut"))
    found = outcome(observer.plain_command(model, PHOTO, scene(listed), listed["wish"], "", 0), row, model)
    assert found is None or found.text == row["gives"]


@pytest.mark.parametrize(("listed", "row"), rows("describe-result"))
def test_what_becomes_of_a_description(listed: dict[str, Any], row: dict[str, Any]) -> None:
    model = Insisting(words(listed, row, wrap=False), not row.get("cut"))
    found = outcome(observer.result(model, PHOTO, scene(listed), listed["wish"], listed["gone"], 0), row, model)
    assert found is None or found == row["gives"]


@pytest.mark.parametrize(("listed", "row"), rows("ask-photo"))
def test_what_becomes_of_a_users_question_about_a_photo(listed: dict[str, Any], row: dict[str, Any]) -> None:
    model = Insisting(words(listed, row, wrap=False))
    rule = Rule(listed["question"], listed["drop_if"], "Face")
    found = asyncio.run(own_question.about_photo(model, rule, PHOTO, 0, "A #1"))
    assert not isinstance(found, Failure)
    assert (found and found.error_type) == row["gives"]
    assert found is None or found.skipped
    assert row.get("again", "") in model.heard[-1]
    assert (len(model.heard) > 1) == ("again" in row)


# Verifier and judges


def pair(listed: dict[str, Any], row: dict[str, Any]) -> EditedPair:
    words = row.get("edit", listed["edit"])
    return EditedPair(PHOTO, PHOTO, words, row.get("language", "en"), other=listed.get("other", ""))


@pytest.mark.parametrize(("listed", "row"), rows("verify-edit"))
def test_what_becomes_of_a_verification(listed: dict[str, Any], row: dict[str, Any]) -> None:
    model = Insisting(words(listed, row, wrap=False), not row.get("cut"))
    (found,) = asyncio.run(verifier.verify(model, [pair(listed, row)]))
    if "gives" in row:
        assert (found.scores.verdict, found.instruction) == (row["gives"], row.get("instruction", ""))
        assert found.scores.restated_other == row.get("others", "")
        return
    assert found.scores.verdict == "unscored"
    assert row.get("unscored", "") in found.scores.reason
    assert row.get("again", "") in model.heard[-1]
    assert (len(model.heard) > 1) == ("again" in row)


@pytest.mark.parametrize(("listed", "row"), rows("new-things"))
def test_what_becomes_of_a_look_for_new_things(listed: dict[str, Any], row: dict[str, Any]) -> None:
    model = Insisting(words(listed, row, wrap=False), not row.get("cut"))
    erasure = new_things.Erasure(pair(listed, row), row.get("erased", listed["erased"]))
    (found,) = asyncio.run(new_things.look(model, [erasure]))
    if "gives" in row:
        assert [found.verdict, found.values[NEW_THINGS]] == row["gives"], found.reason
        assert len(model.heard) == 1
        return
    assert (found.verdict, found.values) == ("unscored", {})
    assert row.get("unscored", "") in found.reason
    assert row.get("again", "") in model.heard[-1]
    assert (len(model.heard) > 1) == ("again" in row)


@pytest.mark.parametrize(("listed", "row"), rows("ask-edit"))
def test_what_becomes_of_a_users_question_about_an_edit(listed: dict[str, Any], row: dict[str, Any]) -> None:
    model = Insisting(words(listed, row, wrap=False))
    rule = Rule(listed["question"], listed["drop_if"], "New watermark")
    (found,) = asyncio.run(own_question.about_pairs(model, rule, [pair(listed, row)]))
    assert [found.verdict, found.values.get("asked.new_watermark")] == row["gives"], found.reason
    assert found.voices == (), "it vouches for nothing"
    assert found.judge and found.judge.prompt_version.startswith("ask-edit ")
    assert row.get("again", "") in model.heard[-1]
    assert (len(model.heard) > 1) == ("again" in row)


@pytest.mark.parametrize(("listed", "row"), rows("judge"))
def test_what_becomes_of_a_judgement(listed: dict[str, Any], row: dict[str, Any]) -> None:
    rubric = rubric_of(listed)
    found = weighed(rubric, listed, row) if "likely" in row else judged(rubric, listed, row)
    if "unscored" in row:
        assert (found.verdict, found.values) == ("unscored", {})
        assert row["unscored"] in found.reason
        return
    names = [one.name for one in (*rubric.criteria, *rubric.flags)]
    said, whose = found.values, rubric.scores
    assert [said.get(f"{whose}.raw_{one}", said.get(f"{whose}.{one}")) for one in names] == row["gives"], found.reason


def rubric_of(listed: dict[str, Any]) -> Rubric:
    """The rubric of a prompt; of those that stand in all of them, the set's own choice."""
    if listed["prompt"] == "judge-unicbench-reasoning":
        return rubric_for("unicbench", "replace", "unicedit/Spatial Reasoning Edits")
    return next(one for name, one in TABLE.items() if listed["prompt"] == one.prompt or listed.get("rubric") == name)


def judged(rubric: Rubric, listed: dict[str, Any], row: dict[str, Any]) -> Scores:
    case = judge.Case(pair(listed, row), rubric)
    said: Any = (
        words(listed, row, wrap=False)
        if not isinstance(row.get("says"), list)
        else dict(zip((f"`{one.name}`" for one in rubric.criteria), row["says"], strict=True))
    )
    (found,) = asyncio.run(judge.judge(Insisting(said, not row.get("cut")), [case]))
    return found


class Weighing(Insisting):
    """How likely each digit is, question by question."""

    def __init__(self, likely: Sequence[list[float]]):
        super().__init__("")
        self._likely = iter(likely)

    async def score(self, question: Question, choices: Sequence[str]) -> list[float]:
        found = next(self._likely)
        assert len(found) == len(choices)
        return found


def weighed(rubric: Rubric, listed: dict[str, Any], row: dict[str, Any]) -> Scores:
    case = judge.Case(pair(listed, row), rubric)
    (found,) = asyncio.run(judge.judge_expected(Weighing(row["likely"]), [case]))
    return found
