"""Where the rows of a run lie: in one part, or, in a run of many shards, in one part for each of these.

Names only: what lies in a part is written and read by `dataset.py`, and what says that it is whole by `commits.py`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import RunError
from .ownership import JOURNAL, SHARDS, WORK

FACTS = "shards.json"
"""Lists what lies in a part's folders. The last file that a finish puts in place: while it is there, they are as it says."""

PHOTOS = "photos"
"""Where photos lie that a run made."""

NAME = re.compile("[0-9]{6}")
"""How the parts of a run of many shards are called."""

MAX_SHARDS = 10**6
"""Shards that a run may have, as their names have six digits. Ours."""


@dataclass(frozen=True)
class Part:
    """A part of a run's dataset."""

    output: Path
    """The run's folder."""
    name: str = ""
    """Six digits; empty for the one part of a run that is not cut into shards."""

    @classmethod
    def of_shard(cls, output: Path, index: int) -> Part:
        """
        Args:
            index: from 0.

        Raises:
            RunError: a run has fewer shards.
        """
        if index >= MAX_SHARDS:
            raise RunError(f"{output}: a run has at most {MAX_SHARDS:,} shards; choose a larger --shard-size")
        return cls(output, f"{index:06d}")

    def config(self, config: str) -> Path:
        """The folder of its rows in a config, `data` or `rejected`."""
        return self.output / config / self.name

    def below(self, config: str) -> str:
        """The folder of a config in the run's folder, as a glob that fits all parts."""
        return f"{config}/*" if self.name else config

    @property
    def here(self) -> bool:
        """Whether its rows lie in the run's folder, and not only in a store."""
        return not (self.name and self.elsewhere.exists())

    @property
    def work(self) -> Path:
        """For what isn't whole yet."""
        return self.output / WORK / SHARDS / self.name if self.name else self.output / WORK

    @property
    def journal(self) -> Path:
        return self._of_shard("sqlite") if self.name else self.output / JOURNAL

    @property
    def listings(self) -> tuple[Path, ...]:
        """Files that list what lies in its folders: the first that is there counts, the last is written first."""
        return (self.commit, self.work / FACTS) if self.name else (self.output / FACTS,)

    @property
    def listing(self) -> Path:
        """The one of these that counts; the last where none is there."""
        return next((path for path in self.listings if path.exists()), self.listings[-1])

    @property
    def commit(self) -> Path:
        """Of a shard: says that it is whole, and what it came to."""
        return self._of_shard("json")

    @property
    def keys(self) -> Path:
        """Of a shard: hashes of the keys of its samples."""
        return self._of_shard("keys")

    def table(self, name: str) -> Path:
        """Of a shard: its rows of one of the run's tables."""
        return self._of_shard(f"{name}.parquet")

    @property
    def elsewhere(self) -> Path:
        """Of a shard: says in which store its rows lie, where they are not here."""
        return self._of_shard("elsewhere")

    @property
    def lines(self) -> Path:
        """Of a shard of a stage whose records are lines, in a recipe: what the next stage reads."""
        return self._of_shard("lines.jsonl")

    @property
    def statistics(self) -> Path:
        """Of a shard: the figures of its rows."""
        return self._of_shard("statistics.json")

    def _of_shard(self, suffix: str) -> Path:
        assert self.name, "only shards have one"
        return self.output / SHARDS / f"{self.name}.{suffix}"


def shards_of(output: Path) -> list[Part]:
    """The shards of a run's folder that have a commit, in the order of the input; none where it is not cut into shards."""
    return [part for part in parts(output) if part.name]


def parts(output: Path) -> list[Part]:
    """The parts of a run's folder, in the order of the input: those of its shards that have a commit, or the one part."""
    if (output / FACTS).exists() or not (output / SHARDS).is_dir():
        return [Part(output)]
    with os.scandir(output / SHARDS) as entries:
        names = (name for name, dot, suffix in (entry.name.partition(".") for entry in entries) if suffix == "json")
        return [Part(output, name) for name in sorted(names) if NAME.fullmatch(name)]
