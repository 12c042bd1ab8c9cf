"""What came of a derivation: in figures, for programs, and in words."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..terminal import counted

SHOWN = 8
"""Reasons that are said at most. Ours."""


@dataclass
class Done:
    """What came of it."""

    rows: int = 0
    """Kept rows of the run."""
    photos: int = 0
    there: bool = False
    """Whether all was made before, so that nothing was done."""
    kinds: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Verdicts of each kind of derived row."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Of rows that pixels rejected, or nobody vouches for; without their figures."""
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and reason."""

    def count(self, verdict: str) -> int:
        return sum(found[verdict] for found in self.kinds.values())

    def told(self, output: Path) -> dict[str, Any]:
        """For programs."""
        made = {"output": output, "rows": self.rows, "photos": self.photos, "there": self.there}
        if self.there:
            return made
        verdicts = {"kept": "keep", "rejected": "reject", "unscored": "unscored"}
        left_out = {f"{kind}: {reason}": found for (kind, reason), found in self.left_out.most_common()}
        return (
            made
            | {name: self.count(one) for name, one in verdicts.items()}
            | {"kinds": self.kinds, "left_out": left_out}
        )

    def say(self, output: Path, dry_run: bool = False) -> None:
        """For people."""
        if self.there:
            print(f"{output}: has been derived from these {counted(self.rows, 'row')} already; nothing is done")
            return
        kept, rejected, unscored = (self.count(verdict) for verdict in ("keep", "reject", "unscored"))
        print(
            f"{output}: {'would have' if dry_run else 'has'} {kept} kept, {rejected} rejected, {unscored} unscored rows, derived "
            f"from {counted(self.rows, 'kept row')} of {counted(self.photos, 'photo')}"
        )
        for kind, verdicts in self.kinds.items():
            print(f"{kind}: {', '.join(f'{found} {verdict}' for verdict, found in verdicts.items())}")
        for (kind, reason), found in self.left_out.most_common(SHOWN):
            print(f"left out: {kind} of {counted(found, 'row')}, {reason}", file=sys.stderr)
        if len(self.left_out) > SHOWN:
            print(f"and {len(self.left_out) - SHOWN} more reasons; skipped.parquet has all", file=sys.stderr)
        if unscored and not dry_run:
            judged = f"--workflow verify --input {output / 'rejected'} --judge PROFILE"
            print(
                f"{unscored} unscored, as nobody looked at these pairs yet; {judged} has them judged", file=sys.stderr
            )
