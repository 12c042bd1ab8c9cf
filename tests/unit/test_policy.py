"""Policies over scores, ranking, and what detectors testify."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from comfy_nodes.core.boxes import iou
from comfy_nodes.core.regions.people import about_people
from comfy_nodes.core.verdicts.thresholds import PolicyError, decide, parse, standing, table
from comfy_nodes.core.verdicts.verdicts import Scores
from comfy_nodes.core.verdicts.witnesses import (
    Find,
    Inquiry,
    bystanders,
    largest_change,
    scores,
    thing_of,
    weigh,
)

KEEP = Scores({"judge.overall": 4.0, "pixel.outside_max": 0.0}, "keep", restated="Do it.")


def decided(policy: str, *given: Scores, verdicts: bool = True) -> Scores:
    return decide(given, parse(policy), verdicts)[0]


def test_lines_are_thresholds() -> None:
    text = "# mine\n\njudge.overall >= 3.5  # at least\npixel.outside_max<=2\na > -1e-3\nb < .5\nc==1"
    assert [str(one) for one in parse(text)] == [
        "judge.overall >= 3.5", "pixel.outside_max <= 2", "a > -0.001", "b < 0.5", "c == 1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["judge.overall", "judge.overall => 3", "3 <= judge.overall", "a >= b", "a >= 3 b", "a != 3", "a >= nan", ".a > 1"],
)
def test_a_bad_line_is_named(line: str) -> None:
    with pytest.raises(
        PolicyError, match=r"^policy, line 2: .* is no threshold; write a score's name, .* such as judge"
    ):
        parse(f"# one\n{line}")


@pytest.mark.parametrize(
    ("policy", "verdict", "reason"),
    [
        ("judge.overall >= 4", "keep", ""),
        ("judge.overall > 4", "reject", "judge.overall > 4 does not hold (4)"),
        ("judge.overall == 4\npixel.outside_max <= 0", "keep", ""),
        ("judge.overall < 4\nwitness.after < 1", "reject", "judge.overall < 4 does not hold (4)"),
        ("witness.after < 1", "unscored", "witness.after < 1: there is no such score"),
        ("", "keep", ""),
    ],
)
def test_a_policy_decides(policy: str, verdict: str, reason: str) -> None:
    found = decided(policy, KEEP)
    said = {"keep": {"filter.keep": 1.0}, "reject": {"filter.keep": 0.0}}.get(verdict, {})
    assert (found.verdict, found.reason, found.values) == (verdict, reason, KEEP.values | said)
    assert found.restated == ("" if verdict == "reject" else "Do it.")


def test_verdicts_count_unless_switched_off() -> None:
    rejected = Scores({"pixel.keep": 0.0}, "reject", "nothing changed")
    unscored = Scores({}, "unscored", "VlmTimeout: late")
    policy = "judge.overall >= 4"
    assert decided(policy, KEEP, rejected).reason == "nothing changed"
    assert decided(policy, KEEP, unscored).verdict == "unscored"
    assert decided(policy, KEEP, rejected, unscored, verdicts=False).verdict == "keep"
    assert decided("x > 1", KEEP, rejected).verdict == "reject", "what is missing does not outweigh a rejection"
    assert decided("", KEEP, rejected).verdict == "reject"
    with pytest.raises(PolicyError, match="nothing decides: write a threshold"):
        decided("# none", KEEP, verdicts=False)


def test_nothing_wired_is_unscored() -> None:
    assert decided("").reason == "no verifier is wired to Filter Edit Pair"
    assert decided("a > 1").verdict == decided("a > 1", verdicts=False).verdict == "unscored"


def test_the_table_shows_every_threshold() -> None:
    _, rows = decide([KEEP], parse("judge.overall >= 4\njudge.overall > 4\nx.y < 1"), True)
    assert table(rows).splitlines()[2:] == [
        "| judge.overall >= 4 | 4 | ok |", "| judge.overall > 4 | 4 | failed |", "| x.y < 1 |  | missing |",
    ]  # fmt: skip
    assert table([]) == ""


def ranked(*given: Scores, by: str = "") -> int:
    return max(range(len(given)), key=lambda index: standing(given[index], by))


def test_the_best_is_kept_and_scored_highest() -> None:
    def of(verdict: Any, **values: float) -> Scores:
        return Scores({f"judge.{name}": value for name, value in values.items()}, verdict)

    assert ranked(of("reject", a=5), of("unscored"), of("keep", a=1)) == 2
    assert ranked(of("reject", a=5), of("unscored", a=1)) == 1
    assert ranked(of("keep", a=3, b=3), of("keep", a=4, b=3, overall=1, keep=0, raw_a=0), of("keep")) == 1
    assert ranked(of("keep", a=3), of("keep", a=3)) == 0
    assert ranked(of("keep", a=1), of("reject", a=5), of("keep"), by="judge.a") == 1
    assert ranked(of("reject"), of("keep"), by="judge.a") == 1, "without the score, the verdict"


CUP, VASE = (10.0, 10.0, 30.0, 30.0), (60.0, 10.0, 80.0, 40.0)


def seen(name: str, box: Any = CUP, score: float = 0.8) -> Find:
    return Find(name, box, score)


@pytest.mark.parametrize(
    ("op", "before", "after", "verdict", "why"),
    [
        ("remove", [seen("cup")], [], "keep", ""),
        ("remove", [seen("cup")], [seen("cup", VASE)], "keep", ""),
        ("remove", [seen("cup")], [seen("Cup", (11, 10, 31, 30), 0.4)], "reject", "cup is still found (0.40)"),
        ("remove", [], [], "unscored", "does not see cup in the photo before"),
        ("remove", [seen("cup", VASE)], [seen("cup")], "unscored", "does not see cup"),
        ("add", [], [seen("cup")], "keep", ""),
        ("add", [seen("cup", VASE)], [seen("cup")], "keep", ""),
        ("add", [], [seen("cup", VASE)], "reject", "cup is not found after it was added"),
        ("add", [seen("cup")], [seen("cup")], "reject", "cup is found before it was added (0.80)"),
        ("replace", [seen("cup")], [seen("bowl")], "keep", ""),
        ("replace", [seen("cup")], [], "reject", "bowl is not found in place of cup"),
        ("replace", [seen("cup")], [seen("cup"), seen("bowl")], "reject", "cup is still found (0.80)"),
        ("replace", [seen("bowl")], [seen("bowl")], "unscored", "does not see cup"),
    ],
)
def test_testimony(op: str, before: list[Find], after: list[Find], verdict: str, why: str) -> None:
    values, said, reason = weigh([Inquiry(op, "cup", "bowl" if op == "replace" else "", CUP)], before, after, 0.3)
    assert said == verdict and why in reason
    assert scores(values, said, reason, True).values.get("witness.keep") == {"keep": 1.0, "reject": 0.0}.get(verdict)
    assert set(values) >= {"witness.before", "witness.after"}
    assert ("witness.new_after" in values) == (op == "replace" and verdict != "unscored")


def test_each_operation_of_a_hybrid_testifies() -> None:
    asked = [Inquiry("remove", "cup", "", CUP), Inquiry("replace", "vase", "lamp", VASE)]
    values, said, reason = weigh(asked, [seen("cup"), seen("vase", VASE)], [seen("vase", VASE, 0.5)], 0.3)
    assert values == {
        "witness.before": 0.8, "witness.after": 0.0, "witness.before2": 0.8, "witness.after2": 0.5,
        "witness.new_before2": 0.0, "witness.new_after2": 0.0,
    }  # fmt: skip
    assert said == "reject" and reason == "vase is still found (0.50); lamp is not found in place of vase"


@pytest.mark.parametrize(
    ("target", "thing"),
    [
        ("a green glass bottle on the table, lit from the left", "green glass bottle"),
        ("An owl", "owl"),
        ("two kittens sitting in a basket", "two kittens"),
        ("the red sports car with open doors", "red sports car"),
        ("in the sky", "in the sky"),
    ],
)
def test_the_thing_of_a_target(target: str, thing: str) -> None:
    assert thing_of(target) == thing


def test_bystanders_are_people_apart_from_the_region() -> None:
    people = [seen("person", VASE), seen("person", (20, 20, 40, 40)), seen("cup", VASE)]
    assert bystanders(people, [CUP]) == [VASE]
    before = np.full((60, 90, 3), 100, np.uint8)
    after = before.copy()
    after[10:40, 60:80] = 140
    assert largest_change(before, after, [CUP, VASE]) == 40 and largest_change(before, after, []) == 0
    assert about_people(["the young woman's hat"]) and not about_people(["cup", "manhole cover"])


def test_overlap() -> None:
    assert iou(CUP, CUP) == 1 and iou(CUP, VASE) == 0
    assert iou(CUP, (10, 10, 30, 20)) == pytest.approx(0.5) and iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0


@pytest.mark.parametrize(
    ("policy", "name", "value", "verdict"),
    [
        ("judge.instruction_following >= 3", "judge.instruction_following", 2.9, "keep"),
        ("judge.instruction_following == 3", "judge.instruction_following", 2.51, "keep"),
        ("judge.instruction_following >= 3", "judge.instruction_following", 2.5, "reject"),
        ("judge.instruction_following >= 2.95", "judge.instruction_following", 2.9, "reject"),
        ("judge.overall >= 3", "judge.overall", 2.9, "reject"),
        ("pixel.drift <= 3", "pixel.drift", 3.4, "reject"),
    ],
)
def test_a_whole_threshold_compares_a_judges_rounded_score(policy: str, name: str, value: float, verdict: str) -> None:
    assert decided(policy, Scores({name: value}, "keep")).verdict == verdict
