"""What says that a shard of a run is whole: its commit, `shards/000012.json`, and the files beside it.

The commit is the last file that is written of a shard. Whatever goes over a whole run reads commits: which shards there
are, what they came to, and, from `shards/000012.keys`, whether a sample stands in two of them.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, model_validator

from comfy_nodes.core.whole_files import write_whole

from ..disk import disk_errors, make_durable
from ..errors import RunError
from ..journal import Journal
from .by_input import InputTotals, joined, totals_by_input
from .parts import Part, parts, shards_of
from .shards import DatasetFacts, seal_of
from .tables import TABLES, journal_rows, read_table, write_table

ITEMS = "items"
"""In a shard's journal: of how many items of the input it is made."""

SETTLED = "settled"
"""In a run's journal: what was asked for when everything was done, as a hash."""

DIALOGUES = "dialogues."
"""Begins the names of counts of dialogues."""

_HASH = np.dtype("<u8")
"""A key's hash in a file of keys: 8 bytes, the lowest first."""


class Totals(BaseModel):
    """What a journal's samples came to, as counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    counts: dict[str, int] = {}
    """Samples by state, records by verdict, and dialogues by what became of them, as `DIALOGUES` names it."""
    failures: dict[str, int] = {}
    """Failed samples by error type."""
    skips: dict[str, int] = {}
    """Skipped ones."""
    reasons: dict[str, int] = {}
    """Rejected records by reason, without its figures."""
    retired: int = 0
    """Rows that left the dataset as their input changed or is gone."""
    seconds: float = 0.0
    """Spent editing."""
    inputs: dict[str, InputTotals] = {}
    """What each input came to, where there are several."""

    @property
    def dialogues(self) -> dict[str, int]:
        """As `Journal.dialogues` tells it; nothing where there are none."""
        return {
            name.removeprefix(DIALOGUES): number for name, number in self.counts.items() if name.startswith(DIALOGUES)
        }

    @property
    def samples(self) -> int:
        """Samples of the plan, and inputs that gave none."""
        return sum(self.counts.get(state, 0) for state in ("pending", "done", "failed", "skipped"))

    @classmethod
    def of_journal(cls, journal: Journal) -> Totals:
        return cls(
            counts=_sorted(journal.counts() + Counter({DIALOGUES + how: n for how, n in journal.dialogues().items()})),
            failures=_sorted(journal.failure_types()),
            skips=_sorted(journal.failure_types(skipped=True)),
            reasons=_sorted(journal.reject_reasons()),
            retired=journal.retired(),
            seconds=journal.edit_seconds(),
            inputs=totals_by_input(journal),
        )

    @classmethod
    def of_commits(cls, commits: Iterable[Commit]) -> Totals:
        return reduce(add, (one.totals for one in commits), cls())

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            counts=_sorted(Counter(self.counts) + Counter(other.counts)),
            failures=_sorted(Counter(self.failures) + Counter(other.failures)),
            skips=_sorted(Counter(self.skips) + Counter(other.skips)),
            reasons=_sorted(Counter(self.reasons) + Counter(other.reasons)),
            retired=self.retired + other.retired,
            seconds=self.seconds + other.seconds,
            inputs=joined(self.inputs, other.inputs),
        )


def _sorted(found: Counter[str]) -> dict[str, int]:
    return dict(sorted(found.items()))


class Cut(BaseModel):
    """What of the input a shard was made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: int
    """Photos or records of the input in it."""
    first: str
    """The source id of the first one, by which the shard is found again where the input has changed."""
    plan: str
    """Hash of what decides which samples the items give."""
    whole: bool
    """Whether each of its samples has an end; not after a stop."""


class Commit(BaseModel):
    """`shards/000012.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    """Which shard of the run it is, from 0."""
    cut: Cut
    totals: Totals
    dataset: DatasetFacts | None
    """What lies in its folders; None where the run makes no rows."""
    keys: str
    """SHA-256 of the file of its keys."""
    statistics: str
    """SHA-256 of the file of its rows' figures."""
    seal: str = ""
    """Hash of all else here, so that a commit that was changed is noticed."""

    @model_validator(mode="after")
    def _is_sealed(self) -> Commit:
        if self.seal not in ("", seal_of(self)):
            raise ValueError("changed after it was written")
        return self

    def sealed(self) -> Commit:
        return self.model_copy(update={"seal": seal_of(self)})


def write_commit(part: Part, journal: Journal, cut: Cut, dataset: DatasetFacts | None, statistics: str) -> Commit:
    """Says that a shard is as whole as `cut` says it. To be called when its rows lie in their place.

    Args:
        journal: the shard's.
        dataset: what lies in its folders, as `read_facts` tells; None where the run makes no rows.
        statistics: the figures of its rows, JSON.

    Raises:
        RunError: the disk is full.
    """
    keys = np.sort(_hashes(journal.keys())).tobytes()
    commit = Commit(
        index=int(part.name),
        cut=cut,
        totals=Totals.of_journal(journal),
        dataset=dataset.model_copy(update={"seal": ""}) if dataset else None,
        keys=hashlib.sha256(keys).hexdigest(),
        statistics=hashlib.sha256(statistics.encode()).hexdigest(),
    ).sealed()
    with disk_errors(part.output):
        part.commit.parent.mkdir(exist_ok=True)
        part.commit.unlink(missing_ok=True)  # while it is there, the files beside it are those that it names
        write_whole(part.keys, keys)
        write_whole(part.statistics, statistics)
        for name, schema in TABLES.items():
            write_table(part.table(name), journal_rows(journal, name), schema)
        _put(part, commit)
        make_durable(part.commit.parent)
    return commit


def reopen(part: Part) -> None:
    """Says that a shard is not whole any more, as samples of it are to be made; its rows stay where they are.

    Raises:
        RunError: the disk is full, or the commit is damaged.
    """
    commit = committed(part)
    if commit.cut.whole:
        cut = commit.cut.model_copy(update={"whole": False})
        with disk_errors(part.output):
            written = part.commit.stat().st_mtime_ns
            _put(part, commit.model_copy(update={"cut": cut}).sealed())
            os.utime(part.commit, ns=(written, written))  # files that were changed since then are looked through


def _put(part: Part, commit: Commit) -> None:
    write_whole(part.commit, commit.model_dump_json(indent=1) + "\n")


def read_commit(part: Part) -> Commit | None:
    """A shard's commit; None where there is none, or where it was changed or damaged."""
    try:
        commit = Commit.model_validate_json(part.commit.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return commit if commit.seal and commit.index == int(part.name) else None


def committed(part: Part) -> Commit:
    """The commit of a shard that has one.

    Raises:
        RunError: it is damaged.
    """
    commit = read_commit(part)
    if commit is None:
        raise RunError(
            f"{part.commit}: is missing, or was changed; run the command that made it again: it writes the shard anew"
        )
    return commit


def commits(output: Path) -> Iterator[Commit]:
    """All commits of a run of many shards, one after the other, in the order of the input.

    Raises:
        RunError: one is damaged.
    """
    return map(committed, shards_of(output))


def _hashes(keys: Iterable[str]) -> np.ndarray:
    """uint64 of each key."""
    found = b"".join(hashlib.blake2b(key.encode(), digest_size=_HASH.itemsize).digest() for key in keys)
    return np.frombuffer(found, _HASH)


def keys_of(part: Part) -> np.ndarray:
    """uint64 [samples], sorted: hashes of the keys of a shard's samples.

    Raises:
        RunError: the file is missing or damaged.
    """
    return np.frombuffer(_beside(part, part.keys, committed(part).keys), _HASH)


def statistics_of(part: Part) -> bytes:
    """The figures of a shard's rows, JSON.

    Raises:
        RunError: the file is missing or damaged.
    """
    return _beside(part, part.statistics, committed(part).statistics)


def _beside(part: Part, path: Path, sha256: str) -> bytes:
    """A file beside a commit that is as the commit says."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _damaged(part, path)
    return data


def beside_whole(part: Part) -> bool:
    """Whether the files beside a shard's commit are there; those that were written to since are looked through."""
    listed = part.commit.stat().st_mtime_ns
    try:
        found = [path.stat() for path in (part.keys, part.statistics, *map(part.table, TABLES))]
        if any(one.st_mtime_ns > listed for one in found):
            keys_of(part), statistics_of(part)
            for name in TABLES:
                deque(ended_tables([part], name), 0)
    except (FileNotFoundError, RunError):
        return False
    return True


def _damaged(part: Part, path: Path) -> RunError:
    return RunError(
        f"{path}: is missing or damaged; remove {part.commit.name} beside it and run the command that made it again: it "
        "writes the shard anew",
        1,
    )


def parts_with(output: Path, key: str) -> Iterator[Part]:
    """The parts of a run that may have a sample of this key: of many shards, hardly ever more than the one that has it."""
    wanted = _hashes([key])[0]
    for part in parts(output):
        if not part.name:
            yield part
            continue
        known = keys_of(part)
        at = int(np.searchsorted(known, wanted))
        if at < len(known) and known[at] == wanted:
            yield part


@dataclass(frozen=True)
class Twice:
    """A sample that stands in two shards of a run."""

    key: str
    first: Part
    later: Part


def ended_tables(found: Iterable[Part], table: str) -> Iterator[pa.Table]:
    """One of a run's tables, as those of its shards.

    Args:
        found: shards, in the order of the input.
        table: its name in `TABLES`.

    Raises:
        RunError: a shard's is missing or damaged.
    """
    for part in found:
        try:
            yield read_table(part.table(table))
        except (OSError, ValueError):
            raise _damaged(part, part.table(table)) from None


def duplicates(found: Iterable[Part]) -> Iterator[Twice]:
    """Samples that stand in more than one shard: the second time, the third time and so on, in the order of the shards.

    Holds 8 bytes for each sample. Hashes that are equal are looked into: only equal keys of samples that ended count.

    Args:
        found: shards, of one run or of several, in the order of the input.

    Raises:
        RunError: a file beside a commit is missing or damaged.
    """
    shards = list(found)
    suspects = _twice(shards)
    owners: dict[str, Part] = {}
    for part in shards if len(suspects) else ():
        if not np.isin(suspects, keys_of(part), assume_unique=True).any():
            continue
        names = [str(key) for rows in ended_tables([part], "telemetry") for key in rows["key"].to_pylist()]
        for key in np.array(names, object)[np.isin(_hashes(names), suspects)]:
            if key in owners:
                yield Twice(key, owners[key], part)
            else:
                owners[key] = part


def _twice(shards: Sequence[Part]) -> np.ndarray:
    """The hashes that are there more than once, each once."""
    joined, end = np.empty(sum(committed(part).totals.samples for part in shards), _HASH), 0
    for part in shards:
        found = keys_of(part)
        joined[end : end + len(found)] = found
        end += len(found)
    joined.sort()
    return np.unique(joined[1:][joined[1:] == joined[:-1]])
