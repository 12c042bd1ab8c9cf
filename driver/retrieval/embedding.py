"""Vectors by `embed.json` on a server: of a whole pool, which is a run like others, and of what somebody looks for."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from comfy_nodes.core import photos
from comfy_nodes.core.embeddings import FIELD, decode
from comfy_nodes.core.tasks import EMBED

from ..dataset.ownership import JOURNAL
from ..dataset.parts import Part, shards_of
from ..errors import RunError
from ..inputs.shares import InputShare
from ..journal import Journal
from ..options import RunOptions
from ..pipeline.run import run
from ..report.summary import Summary
from ..stopping import StopRequest

WORDS = "EditPairsEmbedPhoto.embeds=words"
"""What is set in the graph for words."""


class Query(NamedTuple):
    """What is looked for."""

    told: str
    """The words, or the example's id."""
    vector: np.ndarray
    """float16 [D]."""


class Embedded(NamedTuple):
    """A photo's vector, as a journal has it."""

    key: str
    source_id: str
    sha256: str
    """Of its file."""
    vector: np.ndarray
    """float16 [D]."""


def embed_pool(options: RunOptions, stop: StopRequest) -> tuple[Summary, bool]:
    """Makes the vectors of a pool that its folder lacks, in a run of `embed.json`; returns and raises as `run`."""
    return run(replace(options, workflow=EMBED.name), stop)


def queries_of(
    words: Sequence[str], examples: Sequence[str], settings: Sequence[str], server: str, stop: StopRequest
) -> tuple[list[Query], dict[str, str | None]]:
    """The vectors of words and of example photos, and the content of the weights that made them.

    Args:
        words: each once.
        examples: inputs, each as `--input` takes it.
        settings: what is set in the graph.
        server: a running one.

    Raises:
        RunError: one has no vector, or there is no photo.
        KeyboardInterrupt: the user stopped it.
    """
    found: list[Query] = []
    weights: dict[str, str | None] = {}
    with tempfile.TemporaryDirectory(prefix="editpairs-") as scratch:
        place = Path(scratch)
        wanted: list[tuple[str, str | None, tuple[str, ...]]] = [
            (*_input(one, place / f"example{number}.jsonl"), ()) for number, one in enumerate(examples)
        ]
        if words:
            wanted.insert(0, (_lines(place / "words.jsonl", ({"caption": one} for one in words)), None, (WORDS,)))
        for number, (given, root, also) in enumerate(wanted):
            output = place / str(number)
            options = RunOptions(
                EMBED.name, output, input=(InputShare(given),), image_root=root, server=server, set=(*settings, *also)
            )
            _summary, stopped = run(options, stop)
            if stopped:
                raise KeyboardInterrupt
            weights |= weights_of(output)
            found += _queries(output)
    asked = [one._replace(told=told) for one, told in zip(found, words, strict=False)]
    return [*asked, *found[len(asked) :]], weights


def _queries(output: Path) -> Iterator[Query]:
    """All that a run embedded.

    Raises:
        RunError: something of it has no vector.
    """
    for _, journal in journals(output):
        for failure in (*journal.failures(), *journal.failures(skipped=True)):
            raise RunError(f"{failure['source_id']}: {failure['message']}")
        yield from (Query(one.source_id, one.vector) for one in embedded(journal))


def _input(example: str, lines: Path) -> tuple[str, str | None]:
    """An example as an input, and its image root: a single photo, which is none, in a file that names it."""
    path = Path(example)
    if path.suffix.lower() in photos.SUFFIXES and path.is_file():
        return _lines(lines, [{"path": path.name}]), str(path.parent)
    return example, None


def _lines(path: Path, items: Iterable[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(one) + "\n" for one in items), encoding="utf-8")
    return str(path)


def journals(folder: Path) -> Iterator[tuple[str, Journal]]:
    """The journals of a run's folder that have its vectors, and the shard that each is of, in the input's order."""
    for part in shards_of(folder) or [Part(folder)]:
        if part.journal.exists():
            with closing(Journal(part.journal)) as journal:
                yield part.name, journal


def embedded(journal: Journal) -> Iterator[Embedded]:
    """The vectors in a journal, in the input's order.

    Raises:
        RunError: a record has none, as another graph made it.
    """
    for text, _attempt in journal.records(kept=True):
        record: dict[str, Any] = json.loads(text)
        line = record["annotation"]
        try:
            vector = decode(line.get(FIELD))
        except ValueError as error:
            raise RunError(f"{line['path']}: its vector is {error}; use another --output", 1) from None
        yield Embedded(record["key"], line["path"], line["source_sha256"], vector)


def weights_of(folder: Path) -> dict[str, str | None]:
    """The content of the weights that a run's folder was claimed with, by the names in its graph."""
    with closing(Journal(folder / JOURNAL)) as journal:
        content: list[dict[str, Any]] = json.loads(journal.get("content") or "[]")
    return {name: sha256 for one in content for name, sha256 in one.get("weights", {}).items()}
