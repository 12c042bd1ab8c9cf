"""A journal in figures: how many samples came to what, why some have no row, and how each went.

Whatever tells of a run asks here, through `Journal`; nothing is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from .journal_file import JournalFile, in_turn, of_tasks
from .journal_tables import KindRow, kind_rows
from .samples import DUPLICATE


class JournalFigures(JournalFile):
    """What a journal's samples came to."""

    @in_turn
    def counts(self) -> Counter[str]:
        """Samples by state (pending, done, failed, skipped, retired) and records by verdict (keep, reject, unscored)."""
        states = self._db.execute("SELECT state, COUNT(*) FROM samples GROUP BY state")
        verdicts = self._db.execute(f"SELECT verdict, COUNT(*) FROM {self._judged} GROUP BY verdict")
        return Counter({name: number for rows in (states, verdicts) for name, number in rows})

    @in_turn
    def pending(self, tasks: Collection[str] | None = None) -> int:
        """How many samples have no end yet, of these tasks or of all."""
        which, names = of_tasks(tasks)
        count = f"SELECT COUNT(*) FROM samples WHERE state = 'pending'{which}"
        return int(self._db.execute(count, names).fetchone()[0])

    @in_turn
    def planned_kinds(self) -> Counter[str]:
        """How many samples of each kind of edit are in the plan, by the row of the taxonomy or by the task."""
        kind = "coalesce(json_extract(sample, '$.subtask'), json_extract(sample, '$.task'), '')"
        return self._grouped(
            f"SELECT {kind} AS kind, COUNT(*) FROM samples WHERE sample IS NOT NULL AND state != 'retired' GROUP BY kind"
        )

    @in_turn
    def refused_inputs(self) -> bool:
        """Whether an input gave no sample."""
        refused = "SELECT 1 FROM samples WHERE sample IS NULL OR (state = 'failed' AND stage = 'input') LIMIT 1"
        return self._db.execute(refused).fetchone() is not None

    @in_turn
    def retired(self) -> int:
        """How many rows have left the dataset as their input is not what it was."""
        return int(self._db.execute("SELECT COUNT(*) FROM retired").fetchone()[0])

    def keys(self) -> Iterator[str]:
        """The keys of all samples but those that left the plan or stand elsewhere too, and of inputs that gave none."""
        there = f"state != 'retired' AND (state != 'skipped' OR error_type != '{DUPLICATE}')"
        yield from (key for (key,) in self._db.execute(f"SELECT key FROM samples WHERE {there} ORDER BY key"))

    @in_turn
    def reject_reasons(self) -> Counter[str]:
        """How many records were rejected for each reason, by its words before the first colon."""
        return self._grouped(
            f"SELECT json_extract(record, '$.reject_reason') AS why, COUNT(*) FROM {self._judged} WHERE verdict = 'reject' "
            "GROUP BY why"
        )

    @in_turn
    def failure_types(self, skipped: bool = False) -> Counter[str]:
        """How many samples failed, or were skipped, with each error type."""
        query = "SELECT error_type, COUNT(*) FROM samples WHERE state = ? GROUP BY error_type"
        return self._grouped(query, "skipped" if skipped else "failed")

    @in_turn
    def kinds(self) -> list[KindRow]:
        """What came of samples that have an end, by kind of edit and verdict."""
        return list(kind_rows(self._db, self._judged))

    @in_turn
    def by_input(self, begins: Sequence[str]) -> list[tuple[int, str, str, int]]:
        """Of each input, by its place in `begins`: how many photos there are, samples of each state (with the error type of
        those that have one), and records of each verdict.

        Args:
            begins: what source ids of each begin with; the first's with anything else.
        """
        cases = " ".join(f"WHEN substr(source_id, 1, {len(one)}) = ? THEN {at}" for at, one in enumerate(begins) if at)
        which = f"CASE {cases} ELSE 0 END"
        there = "state != 'retired'"
        found = self._db.execute(
            f"SELECT {which}, 'photos', '', COUNT(DISTINCT source_id) FROM samples WHERE {there} GROUP BY 1 UNION ALL "
            f"SELECT {which}, state, coalesce(error_type, ''), COUNT(*) FROM samples WHERE {there} GROUP BY 1, 2, 3 UNION ALL "
            f"SELECT {which}, verdict, '', COUNT(*) FROM {self._judged} AS records JOIN samples ON samples.key = records.sample "
            "GROUP BY 1, 2",
            tuple(begins[1:]) * 3,
        )
        return found.fetchall()

    def _grouped(self, query: str, *values: str) -> Counter[str]:
        found: Counter[str] = Counter()
        for text, number in self._db.execute(query, values):
            found[str(text).partition(":")[0]] += number
        return found

    def failures(self, skipped: bool = False) -> Iterator[dict[str, object]]:
        """Failed samples, or skipped ones, in the input's order, as rows of `failed.parquet` and `skipped.parquet`."""
        names = (
            "key",
            "source_id",
            "json_extract(sample, '$.task') AS task",
            "stage",
            "node",
            "error_type",
            "message",
            "attempts",
        )
        return self._rows(names, "state = 'skipped'" if skipped else "state = 'failed'")

    def telemetry(self) -> Iterator[dict[str, object]]:
        """How each finished sample went, as rows of `telemetry.parquet`."""
        names = ("key", "state", "server", "attempts", "submissions", "faults", "deaths", "queued_at", "finished_at",
                 "execution_s", "transfer_s")  # fmt: skip
        return self._rows(names, "state NOT IN ('pending', 'retired')")

    def _rows(self, names: Sequence[str], which: str) -> Iterator[dict[str, object]]:
        rows = self._db.execute(f"SELECT {', '.join(names)} FROM samples WHERE {which} ORDER BY position, key")
        called = [column[0] for column in rows.description]
        return (dict(zip(called, row, strict=True)) for row in rows)
