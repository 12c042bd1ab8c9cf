"""Whose turn it is, where the photos of several inputs are mixed: by arithmetic alone, so that passing over a million is one step.

With shares every beginning of the mixture keeps them, to less than one photo of each input; without, one input follows the
other. Where an input has ended, the others go on by their own shares.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from math import gcd, lcm
from typing import NamedTuple

LONGEST = 10_000
"""Photos after which shares repeat, at most. Ours: four digits of a share."""


class Place(NamedTuple):
    """A place in the mixture."""

    counts: tuple[int, ...]
    """How many items of each input stand before it."""
    turn: int | None
    """The input whose item stands there; None where all have ended."""


class Interleaving:
    """The order in which inputs take turns."""

    def __init__(self, shares: Sequence[float | None]):
        """
        Args:
            shares: of each input a number above 0; None of all for one after the other.

        Raises:
            ValueError: some have a share and others none, one is not above 0, or they have too many digits.
        """
        said = [one for one in shares if one is not None]
        if said and len(said) < len(shares):
            raise ValueError("give a share to each input, or to none")
        if any(not 0 < one < float("inf") for one in said):
            raise ValueError("a share is a number above 0")
        exact = [Fraction(str(one)) for one in said]
        times = lcm(*(one.denominator for one in exact))
        whole = [int(one * times) for one in exact]
        self._weights = [one // gcd(*whole) for one in whole]
        self._inputs = len(shares)
        self._round = cache(self._round_of)
        if sum(self._weights) > LONGEST:
            raise ValueError("shares have four digits at most")

    def at(self, place: int, ends: Mapping[int, int]) -> Place:
        """What stands at a place of the mixture.

        Args:
            place: how many items stand before it.
            ends: how many items inputs have of which that is known. What is not known is taken to have no end.
        """
        counts, left = [0] * self._inputs, place
        going = tuple(one for one in range(self._inputs) if ends.get(one) != 0)
        while going:
            turns = self._round(going)
            steps = turns.until_end(counts, ends)
            taken = left if steps is None else min(left, steps)
            rounds, rest = divmod(taken, len(turns.order))
            for one, places in turns.places.items():
                counts[one] += rounds * len(places) + bisect_left(places, rest)
            left -= taken
            if steps is None or taken < steps:
                return Place(tuple(counts), turns.order[rest])
            going = tuple(one for one in going if counts[one] != ends.get(one))
        return Place(tuple(counts), None)

    def _round_of(self, going: tuple[int, ...]) -> _Round:
        """The order while these inputs go on."""
        if not self._weights:
            return _Round(going[:1])
        weights = {one: self._weights[one] // gcd(*(self._weights[other] for other in going)) for one in going}
        taken, whole = dict.fromkeys(going, 0), sum(weights.values())
        order = []
        for place in range(whole):
            # The quota method of Balinski and Young: whoever is due first, of those that are not ahead of their share.
            due = [one for one in going if taken[one] * whole < weights[one] * (place + 1)]
            order.append(min(due, key=lambda one: Fraction(taken[one] + 1, weights[one])))
            taken[order[-1]] += 1
        return _Round(order)


class _Round:
    """An order that repeats."""

    def __init__(self, order: Sequence[int]):
        self.order = order
        self.places: dict[int, list[int]] = {}
        """The places of each input in it."""
        for place, one in enumerate(order):
            self.places.setdefault(one, []).append(place)

    def until_end(self, counts: Sequence[int], ends: Mapping[int, int]) -> int | None:
        """After how many items an input is asked for one that it has not; None where none is known to end.

        Args:
            counts: how many items of each input stand before these.
        """
        found = []
        for one, places in self.places.items():
            if one in ends:
                rounds, rest = divmod(ends[one] - counts[one], len(places))
                found.append(rounds * len(self.order) + places[rest])
        return min(found, default=None)
