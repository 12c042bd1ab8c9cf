"""How well two judges of the same edits agree, and how sure a share is: counts of two by two, kappa, Wilson's interval.

Plain arithmetic for the report and for hand labels; nothing here knows of rows or files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Z95 = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""


@dataclass
class TwoByTwo:
    """Edits by what two judges said of them: numbers, or weights where a sample stands for more."""

    both_keep: float = 0
    first_only: float = 0
    """Kept by the first and rejected by the second."""
    second_only: float = 0
    both_reject: float = 0

    def add(self, first: bool, second: bool, weight: float = 1) -> None:
        """
        Args:
            first, second: whether each keeps the edit.
        """
        name = ("both_keep" if second else "first_only") if first else ("second_only" if second else "both_reject")
        setattr(self, name, getattr(self, name) + weight)

    @property
    def total(self) -> float:
        return self.both_keep + self.first_only + self.second_only + self.both_reject

    @property
    def agreement(self) -> float | None:
        """Share of edits of which both say the same, 0 to 1; None where there are none."""
        return _ratio(self.both_keep + self.both_reject, self.total)

    @property
    def precision(self) -> float | None:
        """Of what the first keeps, the share that the second keeps too; None where the first keeps nothing."""
        return _ratio(self.both_keep, self.both_keep + self.first_only)

    @property
    def recall(self) -> float | None:
        """Of what the second keeps, the share that the first keeps too; None where the second keeps nothing."""
        return _ratio(self.both_keep, self.both_keep + self.second_only)

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa (Educational and Psychological Measurement 20, 1960), -1 to 1.

        None where chance alone makes both say the same of every edit, as there is nothing to compare with.
        """
        observed = self.agreement
        if observed is None:
            return None
        first = (self.both_keep + self.first_only) / self.total
        second = (self.both_keep + self.second_only) / self.total
        chance = first * second + (1 - first) * (1 - second)
        return None if chance >= 1 else (observed - chance) / (1 - chance)


def wilson(share: float, number: float) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share (Journal of the American Statistical Association 22, 1927).

    Args:
        share: of what was looked at, 0 to 1.
        number: how many were looked at, more than 0; the effective number where they have weights.
    """
    spread = Z95**2 / number
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(max(0.0, share * (1 - share) / number + spread / (4 * number))) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
