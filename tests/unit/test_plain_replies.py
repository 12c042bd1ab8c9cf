"""Judges and verifiers that answer in plain words: what is certain is read, what is not leaves the edit unscored."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from comfy_nodes.core.instructions.checks import language_of
from comfy_nodes.core.verdicts.plain_verdicts import verdict_of
from comfy_nodes.core.verdicts.rubrics import TABLE
from comfy_nodes.core.verdicts.verdicts import Scores
from comfy_nodes.vlm.questions import judge, verifier
from comfy_nodes.vlm.questions.edited_pair import EditedPair
from tests.unit.insisting import Insisting

CORPUS: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    (Path(__file__).resolve().parents[1] / "vlm" / "plain_replies.yaml").read_text("utf-8")
)
PHOTO = np.zeros((8, 8, 3), np.uint8)
MOST_LOST = 11
"""Replies to judges that a person can read and the code does not."""


def pair(instruction: str) -> EditedPair:
    return EditedPair(PHOTO, PHOTO, instruction, language_of(instruction))


def scored(row: dict[str, Any], finished: bool = True) -> Scores:
    rubric = TABLE[row.get("rubric", "unicbench")]
    asked = tuple(one for one in rubric.criteria if one.name == row.get("asked", one.name))
    if len(asked) < len(rubric.criteria):
        rubric = replace(rubric, criteria=asked, least={})
    case = judge.Case(pair("Remove the cup."), rubric)
    (found,) = asyncio.run(judge.judge(Insisting(row["text"], finished), [case]))
    return found


def verified(row: dict[str, Any], finished: bool = True) -> verifier.Verified:
    (found,) = asyncio.run(verifier.verify(Insisting(row["text"], finished), [pair(row["edit"])]))
    return found


def numbers(found: Scores, row: dict[str, Any]) -> list[float] | None:
    rubric = TABLE[row.get("rubric", "unicbench")]
    names = [one.name for one in (*rubric.criteria, *rubric.flags) if one.name == row.get("asked", one.name)]
    if not found.values:
        assert found.verdict == "unscored"
        return None
    return [found.values.get(f"judge.raw_{name}", found.values[f"judge.{name}"]) for name in names]


def test_the_corpus_is_large_and_no_judges_words_are_read_wrong() -> None:
    assert len(CORPUS["judge"]) >= 60 and len(CORPUS["verifier"]) >= 60
    lost = []
    for row in CORPUS["judge"]:
        found = numbers(scored(row), row)
        assert found in (row["means"], None), row
        lost += [row["text"]] if found is None and row["means"] else []
        assert scored(row, finished=False).verdict == "unscored"
    assert len(lost) <= MOST_LOST, lost


UNREAD = {
    "No, the dog is still on the sofa.",
    "The dog is still there.",
    "The photo after the edit is identical to the photo before.",
    "is_changed: false",
    "Verdict: no edit",
}
"""What a person can read of the verifiers' words and the code does not."""


@pytest.mark.parametrize("row", CORPUS["verifier"], ids=lambda row: row["text"])
def test_a_verifiers_words(row: dict[str, Any]) -> None:
    found = verified(row)
    means = None if row["text"] in UNREAD else row["means"]
    assert found.scores.verdict == (means or "unscored")
    assert found.scores.judge.reply == row["text"]  # type: ignore[union-attr]
    assert found.instruction == (row["edit"] if means == "keep" else "") and not found.scores.restated
    assert bool(found.scores.voices) == (means is not None)
    assert verified(row, finished=False).scores.verdict == "unscored"


def test_words_that_were_cut_off_say_nothing() -> None:
    for row in CORPUS["verifier"]:
        for cut in range(len(row["text"])):
            words = row["text"][:cut].rstrip()
            if not words.endswith((".", "。")):  # what ends with a sentence is whole
                assert verdict_of(words, row["edit"], language_of(row["edit"])) is None, words
