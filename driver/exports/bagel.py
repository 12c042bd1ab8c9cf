"""Rows as BAGEL's training reads them: sequences of pictures with an instruction between each two.

`forms` calls it with a run's kept rows. Facts of its code (ByteDance-Seed/Bagel, `data/interleave_datasets`): a row is
`image_list`, n encoded pictures, and `instruction_list`, n - 1 lists of wordings of one instruction. It begins at any of the
pictures, by chance, and takes two or three of them. Row groups are its unit of work; how many there are it takes from a JSON
file, in which a parquet file stands under the path by which it is opened.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from comfy_nodes.core.whole_files import write_whole

from ..dataset.layouts.layout import StoredRow
from .turns import WORDLESS, standing_alone

BYTES_OF_FILE = 1 << 30
"""Bytes of pictures from which on the next rows go into another file. Ours."""
BYTES_OF_GROUP, ROWS_OF_GROUP = 16 << 20, 16
"""Bytes of pictures, or sequences, from which on a row group is written; so much is held in memory. Small, as BAGEL wants more row
groups than it has workers on all GPUs. Ours."""

INFO = "parquet_info.json"
README = "README.md"

SPLIT = "turns go back to an earlier version: a new sequence begins there with that version"

SCHEMA = pa.schema([("image_list", pa.list_(pa.binary())), ("instruction_list", pa.list_(pa.list_(pa.string())))])


def write(folder: Path, place: Path, rows: Iterator[StoredRow], left_out: Counter[str], noted: Counter[str]) -> int:
    """Writes `data/train-00000.parquet` and further files, `parquet_info.json` and `README.md`; returns how many sequences
    they hold.

    Args:
        folder: to write into.
        place: where it will lie.
        rows: with one picture after the edit each; those of a dialogue follow one another in their order.
        left_out: counts rows that a sequence has no place for, by what they are.
        noted: counts what is otherwise than in the run.
    """
    (folder / "data").mkdir(exist_ok=True)
    groups: dict[str, int] = {}
    written = steps = 0
    found = _groups(sequences(rows, left_out, noted))
    while first := next(found, None):
        name = f"data/train-{len(groups):05d}.parquet"
        (folder / name).unlink(missing_ok=True)  # of an export that broke off
        groups[name] = size = 0
        with pq.ParquetWriter(folder / name, SCHEMA) as file:
            for held in chain([first], found):
                file.write_table(pa.Table.from_pylist(held, SCHEMA))
                written += len(held)
                steps += sum(len(one["instruction_list"]) for one in held)
                groups[name] += 1
                size += sum(map(_size, held))
                if size >= BYTES_OF_FILE:
                    break
    told = {str(place / name): {"num_row_groups": number} for name, number in groups.items()}
    write_whole(folder / INFO, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    write_whole(folder / README, _readme(place, groups, written, steps, left_out, noted))
    return written


def sequences(rows: Iterator[StoredRow], left_out: Counter[str], noted: Counter[str]) -> Iterator[dict[str, Any]]:
    """Rows of `SCHEMA`: a dialogue's states along its path, or a pair. Arguments as of `write`."""
    for _, group in groupby(rows, lambda row: (row.columns["turn"] or {}).get("dialogue") or row.columns["key"]):
        pictures: list[bytes] = []
        words: list[list[str]] = []
        state = -1
        for row in group:
            if len(row.inputs) != 1:
                left_out["with several pictures before the edit"] += 1
                continue
            turn = row.columns["turn"] or {"base": 0, "number": 1}
            prompt = standing_alone(row.columns, noted) if row.columns["turn"] else row.columns["prompt"]
            if prompt is None:
                left_out[WORDLESS] += 1
                continue
            if turn["base"] != state:
                if turn["base"] < turn["number"] - 1:
                    noted[SPLIT] += 1
                if words:
                    yield {"image_list": pictures, "instruction_list": words}
                pictures, words = [*row.inputs], []
            pictures.append(row.outputs[0])
            words.append([prompt])
            state = turn["number"]
        if words:
            yield {"image_list": pictures, "instruction_list": words}


def _groups(found: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Sequences in row groups."""
    held: list[dict[str, Any]] = []
    for one in found:
        held.append(one)
        if len(held) >= ROWS_OF_GROUP or sum(map(_size, held)) >= BYTES_OF_GROUP:
            yield held
            held = []
    if held:
        yield held


def _size(sequence: dict[str, Any]) -> int:
    return sum(map(len, sequence["image_list"]))


def _readme(
    place: Path, groups: dict[str, int], sequences: int, steps: int, left_out: Counter[str], noted: Counter[str]
) -> str:
    """What the folder holds, for whoever trains on it."""
    entry = json.dumps(
        {
            "data_dir": str(place / "data"),
            "num_files": len(groups),
            "num_total_samples": sequences,
            "parquet_info_path": str(place / INFO),
        },
        indent=4,
        ensure_ascii=False,
    )
    said = [f"{number} {what}" for what, number in noted.items()]
    said += [f"left out: {number} rows {what}" for what, number in left_out.items()]
    return _README.format(
        sequences=sequences,
        steps=steps,
        entry=entry,
        groups=sum(groups.values()),
        info=INFO,
        said="".join(f"\n- {line}" for line in said) or "\n- nothing",
    )


_README = """\
# Sequences for BAGEL

{sequences} sequences with {steps} edits in `data/`, in {groups} row groups: `image_list` holds the pictures, `instruction_list` the words that lead from
each to the next. An edit that is no dialogue's turn is a sequence of two pictures.

For `DATASET_INFO["unified_edit"]` in BAGEL's `data/dataset_info.py`, under a name of yours:

```python
{entry}
```

`{info}` names the files by where they lie, as BAGEL asks for it: make the export anew where the folder is moved. Row groups are
shared out among BAGEL's workers, so there have to be more than GPUs times workers.

BAGEL begins at any picture of a sequence. So every instruction stands alone: it names what it is about, and a premise stands
before each one. A sequence can only go on: a turn that goes back to an earlier version begins a sequence of its own with that
version, and no edit is in two sequences.

Otherwise than in the run:
{said}
"""
