"""A finished run's rows in figures: how many passed each verifier, per task, by score, and how verifiers agree.

Made in one pass over the stored rows, images left out; of a run of many shards in a pass over each, kept beside its
commit, and put together: the same figures. Memory grows with the names of tasks, verifiers and scores, not with rows.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter

from comfy_nodes.core.verdicts.pixel_limits import MARGIN

from ..dataset.commits import statistics_of
from ..dataset.dataset import finished_parts, part_rows
from ..dataset.parts import Part
from ..dataset.shards import CONFIGS
from .agreement import TwoByTwo
from .scores import RowPlace, ScoreTally, TallyRecord
from .terms import TookPart

VERIFIERS = ("pixel", "verify", "judge", "witness", "filter")
"""The order in which edits meet verifiers; others follow by name."""

KEEP = ".keep"
"""Ends the name of the score that holds a verifier's own verdict: 1 keep, 0 reject."""

RANKING = {
    "judge.overall": "The mean of the judge's scores: the higher, the better.",
    MARGIN: "How far an edit's pixels are within the limits of their verdict: below 0 one is broken, 1 is far from all.",
}
"""The scores that worst and best pairs are chosen by, the first of them that tells rows apart. How much changed is none: it
says how large an edit is, not how good."""

MAX_SCORES = 100
"""Score names that are looked at, the first of the run. Ours."""

MAX_LICENCES = 200
"""Photos' licences that are told apart, the first of the run. Ours."""

OTHER_LICENCES = "other licences: see source_licence of each row"

MAX_REASONS = 200
"""Reasons that are told apart, the first of the run. Ours."""

OTHER_REASONS = "other reasons"

_TRY = re.compile(r"~try\d+$")


def is_try(key: str) -> bool:
    """Whether a row is a rejected try of a sample that was tried again."""
    return bool(_TRY.search(key))


def verdicts_in(scores: Iterable[dict[str, Any]]) -> dict[str, bool]:
    """What each verifier said of a row: whether it keeps it. Verifiers that said nothing are left out."""
    return {
        one["name"].removesuffix(KEEP): one["value"] == 1
        for one in scores
        if one["name"].endswith(KEEP) and one["value"] in (0, 1)
    }


class _Words(NamedTuple):
    """What was said of a row; rows of which the same was said are counted together."""

    task: str
    tried: bool
    verdict: str
    said: tuple[tuple[str, bool], ...]
    vouched_by: tuple[str, ...]


@dataclass(frozen=True)
class StageFigures:
    """A line of the stage table."""

    name: str
    count: int
    change: float | None
    """Against the stage before, in percent; None for the first, and after nothing."""
    rejected: int = 0
    """Rows that ended here as this verifier rejected them; of the last line, those that none of the verifiers named."""
    unscored: int = 0
    """Rows that ended here as it gave no verdict."""


def stage_table(lines: Sequence[tuple[str, int, int, int]]) -> list[StageFigures]:
    """
    Args:
        lines: name, count, rejected and unscored of each stage.
    """
    before = [0, *(count for _, count, _, _ in lines)]
    return [
        StageFigures(name, count, round(100 * (count - earlier) / earlier, 2) if earlier else None, rejected, unscored)
        for (name, count, rejected, unscored), earlier in zip(lines, before, strict=False)
    ]


@dataclass
class TaskFigures:
    """A task's rows, and its samples that have none."""

    kept: int = 0
    rejected: int = 0
    unscored: int = 0
    tries: int = 0
    """Rejected tries of samples that were tried again; in none of the other figures."""
    failed: int = 0
    skipped: int = 0
    vouched_by: dict[str, int] = field(default_factory=dict)
    """Kept rows by who vouches for them; a row of several is counted with each."""


@dataclass(frozen=True)
class Ranking:
    """What worst and best pairs are chosen by."""

    score: str
    meaning: str
    worst: list[tuple[float, RowPlace]]
    best: list[tuple[float, RowPlace]]


class StatisticsRecord(BaseModel):
    """The figures of a config of one part, as a file holds them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scores: dict[str, TallyRecord]
    reasons: dict[str, dict[str, int]]
    words: tuple[tuple[_Words, int], ...]
    """What was said, of how many rows."""
    models: tuple[tuple[TookPart, int], ...] = ()
    """What took part, in how many rows."""
    photos: dict[str, int] = {}
    """Rows by their photos' licences; empty where none is stated."""


_CONFIGS = TypeAdapter(dict[str, StatisticsRecord])


def statistics_text(part: Part) -> str:
    """The figures of a part's rows by config, as its file of statistics holds them; looks through the rows.

    Raises:
        ShardDamaged: they are damaged.
    """
    found = {config: RowStatistics.of_rows(part, config, every_name=True).record() for config in CONFIGS}
    return _CONFIGS.dump_json(found, indent=None).decode() + "\n"


@dataclass
class RowStatistics:
    """All figures that follow from rows."""

    scores: dict[str, ScoreTally] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    """Some of the score names that are not looked at, as there are too many."""
    reasons: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Rows by verdict, `reject` or `unscored`, and reason without its figures."""
    models: Counter[TookPart] = field(default_factory=Counter)
    photos: Counter[str] = field(default_factory=Counter)
    """Rows by their photos' licences; empty where none is stated."""
    every_name: bool = False
    """Whether no score and no reason is too many: of a part, as the first of the run are only known of the run."""
    _words: Counter[_Words] = field(default_factory=Counter)

    @classmethod
    def of_dataset(cls, output: Path) -> RowStatistics:
        """
        Raises:
            RunError: no finished dataset lies there, or it is damaged.
        """
        found = {config: cls() for config in CONFIGS}
        for part in finished_parts(output):
            for config, known in _of_part(part).items():
                found[config].merge(known)
        whole = cls()
        for known in found.values():  # as one pass meets them: all kept rows, then all others
            whole.merge(known)
        return whole

    @classmethod
    def of_rows(cls, part: Part, config: str, every_name: bool = False) -> RowStatistics:
        """Of a part's rows in a config.

        Raises:
            ShardDamaged: they are damaged.
        """
        found = cls(every_name=every_name)
        for number, row in enumerate(part_rows(part, config, images=False)):
            found.add(RowPlace(config, number, part.name), row.columns)
        return found

    @classmethod
    def of_record(cls, record: StatisticsRecord, config: str, part: str) -> RowStatistics:
        """
        Args:
            config, part: where the rows lie.
        """
        return cls(
            scores={name: ScoreTally.of_record(one, config, part) for name, one in record.scores.items()},
            reasons=defaultdict(Counter, {verdict: Counter(found) for verdict, found in record.reasons.items()}),
            models=Counter(dict(record.models)),
            photos=Counter(record.photos),
            _words=Counter(dict(record.words)),
        )

    def record(self) -> StatisticsRecord:
        return StatisticsRecord(
            scores={name: tally.record() for name, tally in self.scores.items()},
            reasons={verdict: dict(found) for verdict, found in self.reasons.items()},
            words=tuple(self._words.items()),
            models=tuple(self.models.items()),
            photos=dict(self.photos),
        )

    def merge(self, other: RowStatistics) -> None:
        """Takes in the figures of rows that follow those of this one."""
        self._words.update(other._words)
        self.models.update(other.models)
        for licence, number in other.photos.items():
            self._count_photo(licence, number)
        for name, tally in other.scores.items():
            if (known := self._tally(name)) is not None:
                known.merge(tally)
        for name in sorted(other.left_out):
            self._leave_out(name)
        for verdict, reasons in other.reasons.items():
            for why, number in reasons.items():
                self._count(verdict, why, number)

    def add(self, place: RowPlace, row: dict[str, Any]) -> None:
        """
        Args:
            row: its columns.
        """
        verdict, scores = row["verdict"], row["scores"] or []
        said = tuple(sorted(verdicts_in(scores).items()))
        vouched_by = tuple(row.get("vouched_by") or ())
        self._words[_Words(row["task"], is_try(row["key"]), verdict, said, vouched_by)] += 1
        self.models.update(list(dict.fromkeys(map(TookPart.of, row.get("models") or ()))))
        self._count_photo(row.get("source_licence") or "", 1)
        for one in scores:
            if (tally := self._tally(one["name"])) is not None:
                tally.add(one["value"], verdict == "keep", place)
        if verdict != "keep":
            self._count(verdict, (row["reject_reason"] or "").partition(":")[0], 1)

    def _tally(self, name: str) -> ScoreTally | None:
        """The tally of a score; None where there are too many."""
        if name not in self.scores:
            if len(self.scores) >= MAX_SCORES and not self.every_name:
                self._leave_out(name)
                return None
            self.scores[name] = ScoreTally()
        return self.scores[name]

    def _leave_out(self, name: str) -> None:
        if len(self.left_out) < MAX_SCORES:
            self.left_out.add(name)

    def _count_photo(self, licence: str, number: int) -> None:
        known = licence in self.photos or len(self.photos) < MAX_LICENCES or self.every_name
        self.photos[licence if known else OTHER_LICENCES] += number

    def _count(self, verdict: str, why: str, number: int) -> None:
        counted = self.reasons[verdict]
        known = why in counted or len(counted) < MAX_REASONS or self.every_name
        counted[why if known else OTHER_REASONS] += number

    @property
    def edits(self) -> int:
        """Rows without rejected tries."""
        return sum(number for words, number in self._words.items() if not words.tried)

    @property
    def tries(self) -> int:
        """Rejected tries of samples that were tried again."""
        return sum(number for words, number in self._words.items() if words.tried)

    @property
    def verifiers(self) -> list[str]:
        """Verifiers that said something, in the order in which edits meet them."""
        found = {name for words in self._words for name, _ in words.said}
        return [name for name in VERIFIERS if name in found] + sorted(found.difference(VERIFIERS))

    def stages(self, inputs: int, usable: int) -> list[StageFigures]:
        """The table of stages; tries are not in it.

        Args:
            inputs: what the run was given.
            usable: of these, what it had a sample for.
        """
        ended = self._ended()
        left = self.edits
        lines = [("inputs", inputs, 0, 0), ("usable samples", usable, 0, 0), ("edits made", left, 0, 0)]
        for name in [*self.verifiers, ""]:
            left -= ended[name, "reject"] + ended[name, "unscored"]
            lines.append((f"after {name}" if name else "kept", left, ended[name, "reject"], ended[name, "unscored"]))
        return stage_table(lines)

    def _ended(self) -> Counter[tuple[str, str]]:
        """Rows by where and how they ended; "" where no verifier said why."""
        order = self.verifiers
        asked: dict[str, set[str]] = defaultdict(set)
        for words in self._words:
            asked[words.task].update(name for name, _ in words.said)
        ended: Counter[tuple[str, str]] = Counter()
        for words, number in self._words.items():
            if words.tried or words.verdict == "keep":
                continue  # what was kept has passed, even where a policy overrode a verifier
            said = dict(words.said)
            where = "", words.verdict
            for name in order:
                if name in asked[words.task] and not said.get(name):
                    where = name, "reject" if name in said else "unscored"
                    break
            ended[where] += number
        return ended

    def tasks(self, failed: Counter[str], skipped: Counter[str]) -> dict[str, TaskFigures]:
        """Figures by task, by name.

        Args:
            failed: failed samples by task.
            skipped: skipped samples by task.
        """
        found: dict[str, TaskFigures] = defaultdict(TaskFigures)
        columns = {"keep": "kept", "reject": "rejected", "unscored": "unscored"}
        for words, number in self._words.items():
            figures = found[words.task]
            column = "tries" if words.tried else columns[words.verdict]
            setattr(figures, column, getattr(figures, column) + number)
            for name in words.vouched_by:
                figures.vouched_by[name] = figures.vouched_by.get(name, 0) + number
        for task, number in failed.items():
            found[task].failed = number
        for task, number in skipped.items():
            found[task].skipped = number
        return dict(sorted(found.items()))

    def agreement(self) -> dict[tuple[str, str], TwoByTwo]:
        """For each two verifiers, what they said of the rows that both judged, tries too."""
        found = {pair: TwoByTwo() for pair in combinations(self.verifiers, 2)}
        for words, number in self._words.items():
            said = dict(words.said)
            for (one, other), table in found.items():
                if one in said and other in said:
                    table.add(said[one], said[other], number)
        return {pair: table for pair, table in found.items() if table.total}

    def constants(self) -> dict[str, float]:
        """Scores that are the same in all rows that have them, by name; none where there is but one row."""
        if self.edits + self.tries < 2:
            return {}
        found = ((name, tally.constant) for name, tally in sorted(self.scores.items()))
        return {name: value for name, value in found if value is not None}

    def ranking(self) -> Ranking | None:
        """By the judge's score, else by the verdict's margin; None without one that tells rows apart."""
        for name, meaning in RANKING.items():
            tally = self.scores.get(name)
            if tally and tally.constant is None:
                most = tally.count // 2  # no row is among both
                return Ranking(name, meaning, tally.lowest[:most], tally.highest[:most])
        return None


def _of_part(part: Part) -> dict[str, RowStatistics]:
    """The figures of a part's rows by config: those beside its commit, or, of the one part, by a look through them."""
    if not part.name:
        return {config: RowStatistics.of_rows(part, config) for config in CONFIGS}
    records = _CONFIGS.validate_json(statistics_of(part))
    return {config: RowStatistics.of_record(record, config, part.name) for config, record in records.items()}
