"""How a release's rows differ from those of the one before, with a reason for each row that is gone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .manifest import Changes, Version
from .tables import Released

GONE = "in none of the folders any more"


@dataclass(frozen=True)
class Difference:
    """Of two releases."""

    tasks: dict[str, Changes] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    """Keys of the rows that left, with the reason."""

    @classmethod
    def of(
        cls, earlier: Mapping[str, Released], later: Mapping[str, Released], left_out: Mapping[str, str]
    ) -> Difference:
        """
        Args:
            earlier, later: the rows of each release by their keys.
            left_out: why rows of the folders are not in the later one, by their keys.
        """
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for key, row in later.items():
            known = earlier.get(key)
            how = "added" if known is None else "same" if known.digest == row.digest else "changed"
            found[row.task][how] += 1
        gone = {key: left_out.get(key, GONE) for key in earlier if key not in later}
        for key in gone:
            found[earlier[key].task]["removed"] += 1
        return cls({task: Changes(**counts) for task, counts in sorted(found.items())}, gone)

    @property
    def reasons(self) -> dict[str, int]:
        """Rows that left, by reason without its figures and names."""
        return counted(self.gone.values())

    def total(self, how: str) -> int:
        return sum(getattr(one, how) for one in self.tasks.values())

    def next_version(self, earlier: Version) -> Version:
        """Larger by one in its first number where rows left or changed, in its second where they only came."""
        if self.total("removed") or self.total("changed"):
            return Version(earlier.major + 1, 0, 0)
        if self.total("added"):
            return Version(earlier.major, earlier.minor + 1, 0)
        return Version(earlier.major, earlier.minor, earlier.patch + 1)


def counted(reasons: Iterable[str]) -> dict[str, int]:
    """How often there is which reason, without what differs from row to row."""
    return dict(Counter(map(_kind_of, reasons)).most_common())


def _kind_of(reason: str) -> str:
    for begins in ("its photo is ", "shows the pixels of ", "looks like "):
        if reason.startswith(begins):
            return "a benchmark's picture"
    return reason
