"""The way from two pictures to a verdict, over HTTP to a service that looks at them; `benchmarks/verify.py` measures on more."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks import told_pairs, verify
from benchmarks.told_pairs import KINDS, Told, changes


@pytest.fixture(scope="module")
def found() -> list[Told]:
    return told_pairs.all_told(each=4, seed=4)


def test_what_was_not_asked_for_is_never_kept_as_told(found: list[Told]) -> None:
    assert Counter(one.kind for one in found) == dict.fromkeys(KINDS, 4)
    wrong = [one for one in found if one.kind != "right edit"]
    assert {one.outcome for one in wrong} <= {"restated", "rejected"}, wrong
    assert any(one.outcome == "restated" for one in wrong)
    assert any(one.passed_pixels for one in wrong), "pixels cannot tell, so the service has to"


def test_right_edits_are_kept_in_their_words(found: list[Told]) -> None:
    assert [one.outcome for one in found if one.kind == "right edit"].count("as told") >= 3


def test_the_service_sees_the_pictures_and_nothing_else() -> None:
    for pair in told_pairs.pairs(2, 8):
        there = [told_pairs.command(old, new) for old, new in changes(pair.source, pair.edited)]
        assert there == [pair.truth] * bool(pair.truth), pair.kind
        assert changes(pair.source, pair.source) == []
        assert not np.array_equal(pair.source, pair.edited)


def test_recall_and_precision_count_kinds_alike() -> None:
    outcomes = [("right edit", "as told"), ("right edit", "rejected"), ("wrong object", "untrue"), *[
        (kind, "rejected") for kind in KINDS[2:]]]  # fmt: skip
    shares = verify.told_figures([Told(kind, True, outcome) for kind, outcome in outcomes])
    assert (shares["right edit"]["recall"], shares["wrong object"]["recall"]) == (0.5, 0.0)
    assert shares["right edit"]["precision"] == pytest.approx(0.5 / (0.5 + 1 / 3), abs=1e-4)
    assert shares["nothing new"]["precision"] == pytest.approx(1 / 1.5, abs=1e-4)
