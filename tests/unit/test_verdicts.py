"""Several verifiers' words as one: the sterner word wins, and no word is not a good one."""

from __future__ import annotations

import itertools

import pytest

from comfy_nodes.core.verdicts.verdicts import Scores, combine

KEEP = Scores({"a.one": 1.0}, "keep")
REJECT = Scores({"b.two": 2.0}, "reject", "too dark")
REJECT_AGAIN = Scores({"c.three": 3.0}, "reject", "too bright")
UNSCORED = Scores({"d.four": 4.0}, "unscored", "the judge did not answer")
STERNNESS = {"keep": 0, "unscored": 1, "reject": 2}


def test_nobodys_word_is_unscored() -> None:
    assert combine([]).verdict == "unscored"
    assert "no verifier" in combine(iter(())).reason


@pytest.mark.parametrize("given", list(itertools.product([KEEP, REJECT, REJECT_AGAIN, UNSCORED], repeat=3)))
def test_the_sternest_word_wins_in_any_order(given: tuple[Scores, ...]) -> None:
    combined = combine(given)
    assert combined.verdict == max((one.verdict for one in given), key=STERNNESS.__getitem__)
    assert combined.values == {name: value for one in given for name, value in one.values.items()}
    assert bool(combined.reason) == (combined.verdict != "keep")


def test_reasons_of_the_word_that_won_stand_together() -> None:
    assert combine([REJECT, UNSCORED, KEEP, REJECT_AGAIN]).reason == "too dark; too bright"
    assert combine([KEEP, UNSCORED]).reason == "the judge did not answer"


def test_a_rejection_without_a_reason_still_rejects() -> None:
    assert combine([Scores({}, "reject"), KEEP]) == Scores({"a.one": 1.0}, "reject", "")
