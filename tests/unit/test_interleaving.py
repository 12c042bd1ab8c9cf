"""Whose turn it is among several inputs: shares kept from the first photo on, and the rest going on where one ends."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from driver.inputs.interleaving import Interleaving


def walked(shares: Sequence[float | None], lengths: Sequence[int]) -> list[int]:
    """Whose item stands at each place, found one after the other, ends learnt when they are met."""
    turns, ends, order = Interleaving(shares), dict[int, int](), list[int]()
    while (turn := turns.at(len(order), ends).turn) is not None:
        if order.count(turn) == lengths[turn]:
            ends[turn] = lengths[turn]
        else:
            order.append(turn)
    return order


def test_every_beginning_keeps_the_shares() -> None:
    picked = random.Random(3)
    for _ in range(60):
        shares = [picked.choice((1, 2, 3, 7, 10, 0.5, 0.25)) for _ in range(picked.randint(2, 5))]
        turns = Interleaving(shares)
        for place in range(150):
            counts = turns.at(place, {}).counts
            assert sum(counts) == place
            for share, count in zip(shares, counts, strict=True):
                assert abs(count - place * share / sum(shares)) < 1


def test_a_place_is_reached_by_a_jump_as_by_steps() -> None:
    for shares, lengths in (
        ([70, 30], [20, 50]),
        ([0.7, 0.2, 0.1], [9, 40, 3]),
        ([None, None, None], [4, 0, 6]),
        ([1, 1], [0, 5]),
        ([3, 5, 7], [0, 0, 0]),
    ):
        order, ends = walked(shares, lengths), dict(enumerate(lengths))
        assert Counter(order) == Counter({one: number for one, number in ends.items() if number})
        for place in range(len(order) + 3):
            counts, turn = Interleaving(shares).at(place, ends)
            assert counts == tuple(order[:place].count(one) for one in ends)
            assert turn == (order[place] if place < len(order) else None)


def test_what_ends_leaves_its_turns_to_the_others_by_their_shares() -> None:
    order = walked([50, 30, 20], [10, 1000, 1000])
    behind = Counter(order[200:700])
    assert 0 not in behind and abs(behind[1] - 300) <= 1


def test_a_far_place_is_one_step() -> None:
    counts, turn = Interleaving([70, 30]).at(10**9, {1: 5})
    assert counts == (10**9 - 5, 5) and turn == 0


@pytest.mark.parametrize(
    ("shares", "why"),
    [
        ([1, None], "to each input, or to none"),
        ([1, 0], "above 0"),
        ([1, float("nan")], "above 0"),
        ([0.12345, 0.87655], "four digits"),
    ],
)
def test_shares_that_are_none(shares: list[float | None], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Interleaving(shares)
