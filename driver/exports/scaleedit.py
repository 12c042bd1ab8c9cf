"""Rows as ScaleEdit-12M's readers know them: its parquet schema, column for column, files by task.

`forms` calls it with a run's kept rows. Schema, names of tasks and of files are the released data set's
(InternVL-U/ScaleEdit-12M); a file of it has 31 to 32 GB. It has no column for where a row came from: `id` counts the
export's rows in the run's order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comfy_nodes.core.taxonomy import counterpart
from comfy_nodes.core.verdicts.rubrics import TABLE, nearest

from ..dataset.layouts.layout import StoredRow

BYTES_OF_FILE = 31 << 30
"""Bytes of pictures from which on a task's next rows go into another file."""
BYTES_OF_GROUP = 16 << 20
"""Bytes of pictures from which on a row group is written; so much of each task is held in memory. Ours."""

SCORES = {f"{one.name}_score": f"judge.{one.name}" for one in TABLE["scaleedit"].criteria}
"""Its columns of scores, and what they are called here."""

SCHEMA = pa.schema(
    [
        ("id", pa.int64()), ("edit_task", pa.string()), ("edit_instruction", pa.string()), ("source_image", pa.binary()),
        ("edited_image", pa.binary()), ("source_image_width", pa.int64()), ("source_image_height", pa.int64()),
        ("edited_image_width", pa.int64()), ("edited_image_height", pa.int64()),
        *((name, pa.int64()) for name in SCORES),
    ]
)  # fmt: skip


class _Task:
    """The files of one task."""

    def __init__(self, folder: Path, name: str):
        self._folder, self._name = folder / name, name
        self._folder.mkdir(exist_ok=True)
        self._number = self._written = self._held_bytes = 0
        self._held: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, row: dict[str, Any]) -> None:
        if self._written + self._held_bytes >= BYTES_OF_FILE:
            self.close()
        self._held.append(row)
        self._held_bytes += len(row["source_image"]) + len(row["edited_image"])
        if self._held_bytes >= BYTES_OF_GROUP:
            self._flush()

    def close(self) -> None:
        """Ends the file; a further row begins another one."""
        self._flush()
        if self._writer:
            self._writer.close()
            self._writer, self._number, self._written = None, self._number + 1, 0

    def _flush(self) -> None:
        if not self._held:
            return
        if self._writer is None:
            path = self._folder / f"{self._name}_{self._number:04d}.parquet"
            path.unlink(missing_ok=True)  # of an export that broke off
            self._writer = pq.ParquetWriter(path, SCHEMA)
        self._writer.write_table(pa.Table.from_pylist(self._held, SCHEMA))
        self._written += self._held_bytes
        self._held, self._held_bytes = [], 0


def write(folder: Path, rows: Iterator[StoredRow], left_out: Counter[str]) -> int:
    """Writes `TASK/TASK_0000.parquet` and further files; returns how many rows they hold.

    Args:
        rows: with one picture after the edit each.
        left_out: counts rows that the schema has no place for, by what they are.
    """
    tasks: dict[str, _Task] = {}
    written = 0
    with ExitStack() as files:
        for row in _told(rows, left_out):
            name = row["edit_task"]
            if name not in tasks:
                tasks[name] = _Task(folder, name)
                files.callback(tasks[name].close)
            tasks[name].add({"id": written, **row})
            written += 1
    return written


def _told(rows: Iterator[StoredRow], left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    for row in rows:
        found = row.columns
        kind = counterpart(found["task"], found["subtask"], "scaleedit")
        scores = _scores(found)
        if kind is None:
            left_out["of a kind that is none of ScaleEdit's tasks, or may be several of them"] += 1
        elif len(row.inputs) != 1:
            left_out["with several pictures before the edit"] += 1
        elif scores is None:
            left_out["without ScaleEdit's three scores, as verify-scaleedit gives them"] += 1
        else:
            sizes = {"width": found["width"], "height": found["height"]}
            yield {
                "edit_task": kind.name,
                "edit_instruction": found["prompt"],
                "source_image": row.inputs[0],
                "edited_image": row.outputs[0],
                **{f"{which}_image_{side}": size for which in ("source", "edited") for side, size in sizes.items()},
                **scores,
            }


def _scores(row: Mapping[str, Any]) -> dict[str, int] | None:
    """The three scores, 1 to 3; None where nobody judged by this rubric."""
    known = {one["name"]: one["value"] for one in row["scores"] or ()}
    by_it = TABLE["scaleedit"].prompt in ((row["judge"] or {}).get("prompt_version") or "")
    if not by_it or not all(name in known for name in SCORES.values()):
        return None
    return {column: nearest(known[name]) for column, name in SCORES.items()}
