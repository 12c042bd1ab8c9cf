"""From single edits' scores to a benchmark's figures, as the two published benchmarks do it.

For whoever compares rows with a published table; a run's own report does not use them. An edit without a score is not in
any mean; whoever reports says how many there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .rubrics import mean


def imgedit_case(scores: Sequence[float]) -> float:
    """One case of ImgEdit's benchmark: the mean of its scores to two decimals (repository, step1_get_avgscore.py)."""
    return mean(scores, "arithmetic")


def imgedit_category(cases: Sequence[float]) -> float:
    """One category: the mean of its cases to two decimals."""
    return round(sum(cases) / len(cases), 2)


def imgedit_overall(categories: Mapping[str, float]) -> float:
    """All categories: their unweighted mean to two decimals, however many cases each has. It gives the repository's
    leaderboard in nine of twelve rows; the other three are printed up to 0.04 lower."""
    return imgedit_category(list(categories.values()))


def unicbench_overall(samples: Sequence[Sequence[float]]) -> float:
    """UnicBench's overall figure: the geometric mean of each sample's three or four scores, then their arithmetic mean
    (repository, statistics code). It is not the geometric mean of the columns."""
    return sum(mean(one, "geometric") for one in samples) / len(samples)
