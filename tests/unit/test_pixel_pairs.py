"""Verify Pixels on a small part of the labelled pairs; `benchmarks/verify.py` measures on all of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks import labelled_pairs
from benchmarks.labelled_pairs import HELD_OUT, KINDS, NOTHING, LabelledPair
from comfy_nodes.core.verdicts import pixel_limits, pixels


@pytest.fixture(scope="module")
def made() -> list[LabelledPair]:
    return list(labelled_pairs.pairs(HELD_OUT, each=9, seed=17))


def kept(pair: LabelledPair) -> bool:
    masks = {"edit_mask" if pair.put_back else "region": pair.region}
    limits = pixel_limits.Limits(min_total=0.2 if pair.task == "style" else 0.0)
    known = pixel_limits.for_kind(limits, pair.task, pair.subtask)
    return pixels.verify(pair.source, pair.edited, **masks, limits=known)[0].verdict == "keep"


def test_no_edit_is_seen_and_hardly_a_subtle_one_lost(made: list[LabelledPair]) -> None:
    wrong = Counter(pair.kind for pair in made if kept(pair) != pair.is_good)
    assert sum(wrong[kind] for kind in NOTHING) <= 0.02 * 9 * len(NOTHING)
    assert wrong["subtle edit"] <= 1, "of 36; the benchmark loses 2 of 300"
    assert all(wrong[kind] <= 1 for kind in KINDS), wrong


def test_labels_hold(made: list[LabelledPair]) -> None:
    assert Counter(pair.kind for pair in made) == {kind: 36 if kind == "subtle edit" else 9 for kind in KINDS}
    for pair in made:
        assert pair.source.shape == pair.edited.shape and pair.source.dtype == pair.edited.dtype == np.uint8
        differs = (pair.source != pair.edited).any(axis=2)
        assert differs.any() or pair.kind in NOTHING
        assert not pair.put_back or (pair.region is not None and not differs[~pair.region].any())


def test_the_same_seed_gives_the_same_pairs(made: list[LabelledPair]) -> None:
    again = next(labelled_pairs.pairs(HELD_OUT, each=9, seed=17))
    assert np.array_equal(again.edited, made[0].edited)
