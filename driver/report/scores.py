"""One score over all rows: how many, mean, histogram, and where the lowest and highest rows lie.

Fed value by value in one pass by `figures.py`; memory stays the same for ten rows and for ten million. Tallies of parts
that follow one another come to the same as one over all of them, to the last bit. Knows nothing of rows but their place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

FINE_BINS = 4096
"""Bins that are counted in; where values need more, ten neighbours become one. Ours."""

SHOWN_BINS = 24
"""Bins of a histogram, at most. Ours."""

EXTREMES = 6
"""Lowest and highest rows that are remembered. Ours."""

_BATCH = 4096
_FINEST = -9
"""Values closer than ten to this power count as one."""

_LARGEST = 1e290
"""Values beyond this count as this in histograms."""

_DIGITS = 53
"""Bits of a float's digits."""

_UNIT = 1126
"""Two to the minus this divides every float: sums are whole numbers of it, so that their order does not count."""


class RowPlace(NamedTuple):
    """Where a row lies in a finished run."""

    config: str
    """`data` or `rejected`."""
    number: int
    """From 0, in the order of the config's shards in its part."""
    part: str = ""
    """The name of its part."""


@dataclass(frozen=True)
class Histogram:
    """Rows by score. A bin holds its lower edge, the last one both."""

    edges: tuple[float, ...]
    """One more than there are bins."""
    kept: tuple[int, ...]
    others: tuple[int, ...]

    @property
    def highest(self) -> int:
        """Rows in the fullest bin."""
        return max((kept + other for kept, other in zip(self.kept, self.others, strict=True)), default=0)


class TallyRecord(BaseModel):
    """One score over the rows of a config of one part, as a file holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exponent: int
    """Bins are so many powers of ten wide."""
    bins: tuple[float, ...]
    """Lower edges in these widths, whole numbers."""
    counts: tuple[tuple[int, int], ...]
    """Of each bin: kept rows and others."""
    sums: tuple[tuple[int, int], tuple[int, int]]
    """Of kept rows and of others: digits, and how many bits are to be put behind them to count in the smallest unit."""
    lowest: tuple[tuple[float, int], ...]
    """Values with their rows' numbers."""
    highest: tuple[tuple[float, int], ...]


class ScoreTally:
    """One score, value by value."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._kept: list[bool] = []
        self._places: list[RowPlace] = []
        self._exponent = _FINEST
        self._bins = np.empty(0)
        self._counts = np.empty((0, 2), np.int64)  # [bins, kept and others]
        self._sums = [0, 0]  # of kept rows and of others, in the smallest unit
        self._lowest: list[tuple[float, RowPlace]] = []
        self._highest: list[tuple[float, RowPlace]] = []

    def add(self, value: float, kept: bool, place: RowPlace) -> None:
        """
        Args:
            value: finite.
            kept: whether the row is.
        """
        self._values.append(value)
        self._kept.append(kept)
        self._places.append(place)
        if len(self._values) >= _BATCH:
            self._take_in()

    def merge(self, other: ScoreTally) -> None:
        """Takes in a tally of rows that follow those of this one."""
        self._take_in()
        other._take_in()
        self._sums = [one + more for one, more in zip(self._sums, other._sums, strict=True)]
        self._lowest = _first([*self._lowest, *other._lowest], 1)
        self._highest = _first([*self._highest, *other._highest], -1)
        theirs = _coarser(other._bins, self._exponent - other._exponent)
        if other._exponent > self._exponent:
            self._bins = _coarser(self._bins, other._exponent - self._exponent)
            self._exponent = other._exponent
        self._merge(np.concatenate([self._bins, theirs]), np.concatenate([self._counts, other._counts]))

    def record(self) -> TallyRecord:
        self._take_in()
        kept, others = ((total >> (zeros := _zeros(total)), zeros) for total in self._sums)
        lowest, highest = (
            tuple((value, place.number) for value, place in end) for end in (self._lowest, self._highest)
        )
        return TallyRecord(
            exponent=self._exponent,
            bins=tuple(self._bins.tolist()),
            counts=tuple((kept, others) for kept, others in self._counts.tolist()),
            sums=(kept, others),
            lowest=lowest,
            highest=highest,
        )

    @classmethod
    def of_record(cls, record: TallyRecord, config: str, part: str) -> ScoreTally:
        """
        Args:
            config, part: where its rows lie.
        """
        found = cls()
        found._exponent = record.exponent
        found._bins = np.array(record.bins, float)
        found._counts = np.array(record.counts, np.int64).reshape(-1, 2)
        found._sums = [digits << zeros for digits, zeros in record.sums]
        found._lowest = [(value, RowPlace(config, number, part)) for value, number in record.lowest]
        found._highest = [(value, RowPlace(config, number, part)) for value, number in record.highest]
        return found

    @property
    def count(self) -> int:
        self._take_in()
        return int(self._counts.sum())

    @property
    def mean(self) -> float | None:
        """None where there is no value."""
        self._take_in()
        return _mean(sum(self._sums), self.count)

    @property
    def kept_mean(self) -> float | None:
        """Mean of the kept rows."""
        self._take_in()
        return _mean(self._sums[0], int(self._counts[:, 0].sum()))

    @property
    def other_mean(self) -> float | None:
        """Mean of rows that are not kept."""
        self._take_in()
        return _mean(self._sums[1], int(self._counts[:, 1].sum()))

    @property
    def lowest(self) -> list[tuple[float, RowPlace]]:
        """The lowest rows with their values, the lowest first; of equal ones the first of the run."""
        self._take_in()
        return self._lowest

    @property
    def highest(self) -> list[tuple[float, RowPlace]]:
        """The highest, the highest first."""
        self._take_in()
        return self._highest

    @property
    def constant(self) -> float | None:
        """The value where all rows have the same; None where they differ, and where there is none."""
        if not self.lowest or self.lowest[0][0] != self.highest[0][0]:
            return None
        return self.lowest[0][0]

    def histogram(self) -> Histogram:
        """In steps of 1, 2 or 5 times a power of ten; whole numbers in whole steps."""
        self._take_in()
        if not len(self._bins):
            return Histogram((), (), ())
        width = 10.0**self._exponent
        values = self._bins * width if self._exponent >= 0 else self._bins / 10.0**-self._exponent
        low, high = float(values[0]), float(values[-1])
        whole = bool((values == np.rint(values)).all())
        step = max(_step((high - low) / (SHOWN_BINS - 1)), 1.0 if whole else 0.0)
        if not step:
            return Histogram((low, high), *((int(number),) for number in self._counts.sum(axis=0)))
        first = math.floor(low / step + 1e-6)
        bins = (np.floor(values / step + 1e-6) - first).astype(np.int64)
        counts = np.zeros((int(bins[-1]) + 1, 2), np.int64)
        np.add.at(counts, bins, self._counts)
        edges = tuple(float(f"{(first + number) * step:.12g}") for number in range(len(counts) + 1))
        return Histogram(edges, tuple(counts[:, 0].tolist()), tuple(counts[:, 1].tolist()))

    def _take_in(self) -> None:
        if not self._values:
            return
        values, kept = np.array(self._values), np.array(self._kept)
        for which, rows in enumerate((kept, ~kept)):
            self._sums[which] += _exact_sum(values[rows])
        self._lowest = self._ends(self._lowest, values, 1)
        self._highest = self._ends(self._highest, values, -1)
        # Powers of ten below 1 are no exact floats: scores such as 0.3 would fall beside their bin.
        fine = np.rint(np.clip(values, -_LARGEST, _LARGEST) * 10.0**-_FINEST)
        whole = _coarser(fine, self._exponent - _FINEST)
        self._merge(np.concatenate([self._bins, whole]), np.concatenate([self._counts, np.stack([kept, ~kept], 1)]))
        self._values, self._kept, self._places = [], [], []

    def _merge(self, bins: np.ndarray, counts: np.ndarray) -> None:
        while True:
            self._bins, places = np.unique(bins, return_inverse=True)
            self._counts = np.zeros((len(self._bins), 2), np.int64)
            np.add.at(self._counts, places, counts)
            if len(self._bins) <= FINE_BINS:
                return
            bins, counts = _coarser(self._bins, 1), self._counts
            self._exponent += 1

    def _ends(self, known: list[tuple[float, RowPlace]], values: np.ndarray, sign: int) -> list[tuple[float, RowPlace]]:
        order = np.argsort(sign * values, kind="stable")[:EXTREMES]
        found = [*known, *((float(values[number]), self._places[number]) for number in order)]
        return _first(found, sign)


def _first(found: list[tuple[float, RowPlace]], sign: int) -> list[tuple[float, RowPlace]]:
    return sorted(found, key=lambda one: sign * one[0])[:EXTREMES]


def _coarser(bins: np.ndarray, steps: int) -> np.ndarray:
    """Bins after so many times as ten neighbours became one; step by step, as then no order makes a difference."""
    for _ in range(steps):
        bins = np.floor(bins / 10)
    return bins


def _exact_sum(values: np.ndarray) -> int:
    """Sum of finite floats in the smallest unit."""
    fractions, exponents = np.frexp(values)
    digits = (fractions * 2.0**_DIGITS).astype(np.int64)
    total = 0
    for exponent in np.unique(exponents):
        found = digits[exponents == exponent]
        high, low = int((found >> 27).sum()), int((found & (2**27 - 1)).sum())  # together they would leave 64 bits
        total += ((high << 27) + low) << (int(exponent) - _DIGITS + _UNIT)
    return total


def _zeros(number: int) -> int:
    """How many of a number's last bits are 0."""
    return (number & -number).bit_length() - 1 if number else 0


def _step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is at least so large; 0 for 0."""
    if least <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= least * (1 - 1e-9))


def _mean(total: int, count: int) -> float | None:
    """
    Args:
        total: in the smallest unit.
    """
    return float(Fraction(total, count << _UNIT)) if count else None
