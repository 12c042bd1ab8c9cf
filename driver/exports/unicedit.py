"""Rows as UnicEdit-10M's readers know them: its parquet schema, column for column.

`forms` calls it with a run's kept rows. The schema is that of the released data set, xiaotanhua/UnicEdit-10M, as others
measured it: paths are null, a file has 15,000 rows in groups of 100, snappy. Its keys repeat; ours do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comfy_nodes.core.records import PROMPTS
from comfy_nodes.core.taxonomy import counterpart

from ..dataset.layouts.layout import StoredRow

ROWS_OF_FILE, ROWS_OF_GROUP = 15_000, 100

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("key", pa.string()), ("edit_task", pa.string()), ("edit_subtask", pa.string()), ("src_image", _IMAGE),
        ("edit_image", _IMAGE), ("prompt_cn", pa.string()), ("prompt_en", pa.string()),
    ]
)  # fmt: skip


def write(folder: Path, rows: Iterator[StoredRow], left_out: Counter[str]) -> int:
    """Writes `data/train-00000.parquet` and further files; returns how many rows they hold.

    Args:
        rows: with one picture after the edit each.
        left_out: counts rows that the schema has no place for, by what they are.
    """
    told = _told(rows, left_out)
    written = number = 0
    (folder / "data").mkdir(exist_ok=True)
    while (first := next(told, None)) is not None:
        path = folder / "data" / f"train-{number:05d}.parquet"
        path.unlink(missing_ok=True)  # of an export that broke off
        with pq.ParquetWriter(path, SCHEMA, compression="snappy") as writer:
            here = chain([first], islice(told, ROWS_OF_FILE - 1))
            while group := list(islice(here, ROWS_OF_GROUP)):
                writer.write_table(pa.Table.from_pylist(group, SCHEMA))
                written += len(group)
        number += 1
    return written


def _told(rows: Iterator[StoredRow], left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    for row in rows:
        found = row.columns
        kind = counterpart(found["task"], found["subtask"], "unicedit")
        words = {name: found[name] for name in PROMPTS.values()}
        if kind is None:
            left_out["of a kind that is none of UnicEdit's sub-tasks"] += 1
        elif len(row.inputs) != 1:
            left_out["with several pictures before the edit"] += 1
        elif not all(words.values()):
            left_out["whose instruction is not known in both English and Chinese, as write-unicedit writes it"] += 1
        else:
            yield {
                "key": found["key"],
                "edit_task": kind.group,
                "edit_subtask": kind.name,
                "src_image": {"bytes": row.inputs[0], "path": None},
                "edit_image": {"bytes": row.outputs[0], "path": None},
                **words,
            }
