"""Rows that belong together as one stored record: the turns of a dialogue, or all edits of one photo.

Such a record holds each picture once, however many of its rows show it, and names it where a row does. Layouts write and
read these records; everybody else has to do with their rows alone. Nothing here knows of files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import pyarrow as pa

from .rows import IMAGES, PLAIN, Encoded, Pair, Row, image_column, key_stem, lists, plain_table, strings

STREAMS = {"dialogues": "turns", "photos": "rows"}
"""Streams of such records, and what each calls the rows in it."""

_NAMES = pa.list_(pa.string())
EDIT = pa.struct([("input_images", _NAMES), ("output_images", _NAMES), ("prompt", pa.string())])
"""A row as ImgEdit's dialogues have one, by the names of its pictures (ImgEdit's README)."""


def grouped(stream: str) -> str:
    """What the records of a layout's stream call their rows; "" of a stream whose rows stand alone."""
    return STREAMS.get(stream.partition("-")[0], "")


def schema_of(stream: str) -> pa.Schema:
    """The columns of a stream of `STREAMS`."""
    return pa.schema(
        [
            ("key", pa.string()), ("task", pa.string()), ("lang", pa.string()),
            *([("premise", pa.string())] if stream == "dialogues" else []),
            ("data", pa.list_(EDIT)), ("states", IMAGES), (STREAMS[stream], pa.list_(pa.struct(list(PLAIN)))),
        ]
    )  # fmt: skip


def gathered(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows as they come, those of a group with the number of pictures that their record will hold."""
    for group, together in groupby(rows, lambda row: row.group):
        if not group:
            yield from together
            continue
        held = list(together)
        states = len({one for row in held for one in (*row.inputs, *row.outputs)})
        yield from (replace(row, states=states) for row in held)


@dataclass(frozen=True)
class Group:
    """The rows of one record, with their pictures."""

    pairs: Sequence[Pair]

    @property
    def key(self) -> str:
        row = self.pairs[0].row
        return row.group or key_stem(row.key)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Each picture's place, by its hash: in the order in which rows show them."""
        shown = (one for pair in self.pairs for one in (*pair.row.inputs, *pair.row.outputs))
        return {one: number for number, one in enumerate(dict.fromkeys(shown))}

    def states(self) -> list[Encoded]:
        """Each picture once."""
        found: dict[str, Encoded] = {}
        for pair in self.pairs:
            found |= dict(zip(pair.row.inputs, pair.inputs, strict=True))
            found |= dict(zip(pair.row.outputs, pair.outputs, strict=True))
        return [found[one] for one in self._numbers]

    def numbers(self) -> list[tuple[list[int], list[int]]]:
        """Of each row the places of its pictures among the states, before and after."""
        return [
            ([self._numbers[one] for one in pair.row.inputs], [self._numbers[one] for one in pair.row.outputs])
            for pair in self.pairs
        ]

    def told(self) -> dict[str, str]:
        """What the record says of all its rows: nothing of what they do not share."""
        rows = [json.loads(pair.row.line) for pair in self.pairs]
        shared = {
            "task": {row["task"] for row in rows},
            "lang": {row["lang"] for row in rows},
            "premise": {(row["turn"] or {}).get("premise", "") for row in rows},
        }
        return {name: values.pop() if len(values) == 1 else "" for name, values in shared.items()}


def groups_of(pairs: Sequence[Pair]) -> list[Group]:
    """Rows that stand together, by their group; of rows that have none, those of a sample."""
    return [Group(list(together)) for _, together in groupby(pairs, lambda pair: pair.row.group or pair.row.sample)]


def state_name(key: str, number: int) -> str:
    """A picture's name in its record."""
    return f"{key}-state{number}.png"


def grouped_table(pairs: Sequence[Pair], stream: str) -> pa.Table:
    """Rows with their images as a table of `schema_of(stream)`."""
    schema, groups = schema_of(stream), groups_of(pairs)
    told = [group.told() for group in groups]
    sizes = [len(group.pairs) for group in groups]
    edits: dict[str, list[list[str]]] = {"input_images": [], "output_images": []}
    for group in groups:
        for ends in group.numbers():
            for names, numbers in zip(edits.values(), ends, strict=True):
                names.append([state_name(group.key, number) for number in numbers])
    named = [
        lists(strings([one for row in rows for one in row]), [len(row) for row in rows]) for rows in edits.values()
    ]
    prompts = strings([pair.row.prompt for pair in pairs])
    states = [group.states() for group in groups]
    names = [
        [state_name(group.key, number) for number in range(len(held))]
        for group, held in zip(groups, states, strict=True)
    ]
    rows = plain_table([pair.row.line for pair in pairs]).to_struct_array()
    columns = [
        strings([group.key for group in groups]),
        *(strings([one[name] for one in told]) for name in ("task", "lang", "premise") if name in schema.names),
        lists(pa.StructArray.from_arrays([*named, prompts], fields=list(EDIT)), sizes),
        image_column(names, states),
        lists(pa.concat_arrays(rows.chunks), sizes),
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=schema)


def pictures_of(edit: Mapping[str, Any], states: Mapping[str, bytes]) -> tuple[list[bytes], list[bytes]]:
    """A row's pictures, before and after.

    Args:
        edit: an object of `EDIT`.
        states: the record's pictures by their names.

    Raises:
        KeyError: the record lacks one.
    """
    before, after = ([states[name] for name in edit[end]] for end in ("input_images", "output_images"))
    return before, after
