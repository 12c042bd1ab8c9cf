"""A filter that cannot judge aesthetics says so before it runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from driver.graph.aesthetics import unjudged
from driver.graph.file import WorkflowFile

FILE = cast(WorkflowFile, SimpleNamespace(path=Path("filter.json")))


def graph(wired: bool = True, least: float = 4.75, **chosen: str) -> dict[str, Any]:
    filtering: dict[str, Any] = {"above_aesthetic": least} | ({"aesthetic": ["2", 1]} if wired else {})
    return {
        "1": {"class_type": "EditPairsLoadRegionScorer", "inputs": {"clip": "vit", "aesthetic_head": "h.pth"} | chosen},
        "2": {"class_type": "EditPairsScoreRegions", "inputs": {"scorer": ["1", 0]}},
        "3": {"class_type": "EditPairsFilterPhoto", "inputs": filtering},
    }


@pytest.mark.parametrize("one", [graph(wired=False), graph(clip="none"), graph(aesthetic_head="none")])
def test_who_gets_no_scores_says_so(one: dict[str, Any]) -> None:
    said = unjudged(one, FILE)
    assert said.startswith("filter.json: AESTHETICS ARE NOT JUDGED")
    assert "--set EditPairsLoadRegionScorer.aesthetic_head=FILE" in said


@pytest.mark.parametrize("one", [graph(), graph(least=0, clip="none"), {}])
def test_who_judges_or_does_not_care_says_nothing(one: dict[str, Any]) -> None:
    assert unjudged(one, FILE) == ""


def test_another_packs_scores_are_scores() -> None:
    one = graph()
    one["2"]["class_type"] = "TheirAesthetics"
    assert unjudged(one, FILE) == ""
