"""Photos of a pool that look like an example, or show what words say, in a folder that is an input."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from comfy_nodes.core import photos
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.regions.annotation import to_json
from comfy_nodes.core.whole_files import new_file, replace_folder, write_whole

from ..artists.one_server import one_server
from ..dataset.parts import Part
from ..disk import disk_errors
from ..errors import RunError
from ..inputs.find import PHOTOS_FILE
from ..inputs.source import Source
from ..journal import Journal
from ..samples import Sample
from ..stopping import StopRequest
from .embedding import Query, queries_of
from .index import Hit, Index, differing

MARK = ".pool.py"
"""In a folder that is being made: says that it may be removed."""


@dataclass(frozen=True)
class Wanted:
    """What is looked for, and where what is found goes."""

    words: tuple[str, ...]
    examples: tuple[str, ...]
    """Inputs, each as `--input` takes it."""
    count: int
    least: float
    """The least score."""
    output: Path


@dataclass(frozen=True)
class Found:
    """What was found."""

    photos: int
    best: float
    """The highest score, and the lowest."""
    last: float
    gone: int
    """Photos that are not what they were when the index was made, or not there."""


def check(folder: Path, output: Path) -> Index:
    """An index's folder, opened, and that what is found may go to another one.

    Raises:
        RunError: there is no index, or the output holds something.
    """
    index = Index.open(folder)
    for place in (output, _beside(output)):
        held = list(place.iterdir()) if place.is_dir() else [place] if place.exists() else []
        if held and not (place / MARK).exists():
            raise RunError(f"--output {place}: holds something already; choose a new or empty folder")
    return index


def find(folder: Path, wanted: Wanted, server: str | None, stop: StopRequest) -> Found:
    """Looks for photos, and puts those that fit best into a folder of their own.

    Args:
        folder: the index's.
        server: a running one, by address or name; None to start one for it.

    Raises:
        RunError: no index, the pool is gone, a query has no vector or one of other weights than the index, nothing is like
            it enough, or the disk is full.
        KeyboardInterrupt: the user stopped it.
    """
    index = check(folder, wanted.output)
    source = Source(index.facts.pool, index.facts.image_root)  # before a server is started for it
    with ExitStack() as ended:
        url = server or ended.enter_context(one_server(None)).url
        queries, weights = queries_of(wanted.words, wanted.examples, index.facts.settings, url, stop)
    if differs := differing(index.facts.weights, weights):
        raise RunError(
            f"{folder}: was built with other weights than this server's: {differs}; use those, or build it anew"
        )
    hits = index.find([one.vector for one in queries], wanted.count, wanted.least)
    if not hits:
        raise RunError(f"nothing in {folder} is so much like it (--least {wanted.least:g}); lower it", 1)
    with disk_errors(wanted.output):
        return _put(source, _photos_of(folder, index, hits), hits, queries, wanted.output)


def _photos_of(folder: Path, index: Index, hits: Sequence[Hit]) -> Iterator[tuple[Sample, str]]:
    """The hits' photos, and the hash of each as it was."""
    with ExitStack() as opened:
        journals: dict[str, Journal] = {}
        for hit in hits:
            shard, key = (text.decode() for text in index.keys[hit.place])
            if shard not in journals:
                journals[shard] = opened.enter_context(closing(Journal(Part(folder, shard).journal)))
            sample, record = journals[shard].sample(key), journals[shard].record(key)
            if sample is None or record is None:
                raise RunError(f"{folder}: its journals have changed since it was built; build it again", 1)
            yield sample, json.loads(record)["annotation"]["source_sha256"]


def _put(
    source: Source, found: Iterator[tuple[Sample, str]], hits: Sequence[Hit], queries: Sequence[Query], output: Path
) -> Found:
    """Copies photos and writes their lines, beside the folder; it takes its place at the end."""
    part = _beside(output)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write_whole(part / MARK, "Made by pool.py; may be removed.\n")
    lines, scores = [], []
    for hit, (sample, sha256) in zip(hits, found, strict=True):
        try:
            data = source.read(sample.file)
        except PhotoError:
            continue
        if hashlib.sha256(data).hexdigest() != sha256:
            continue
        path = _path(sample, source.suffix(sample.file))
        (part / path).parent.mkdir(parents=True, exist_ok=True)
        with new_file(part / path, durable=False) as file:
            file.write(data)
        lines.append(_line(sample, path, sha256, queries[hit.query].told, hit.score))
        scores.append(hit.score)
    if not lines:
        raise RunError("none of the photos that were found is still what it was; build the index again", 1)
    write_whole(part / PHOTOS_FILE, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines))
    (part / MARK).unlink()
    if output.exists():
        output.rmdir()  # it is empty
    replace_folder(part, output, part)
    return Found(len(lines), max(scores), min(scores), len(hits) - len(lines))


def _line(sample: Sample, path: str, sha256: str, query: str, score: float) -> dict[str, Any]:
    """The photo's annotation as the pool has it, at its new place."""
    item = to_json(sample.annotation)
    return {**item, "path": path, "source_sha256": sha256, "found": {"query": query, "score": round(score, 4)}}


def _path(sample: Sample, suffix: str) -> str:
    """Where a photo goes: its id in the pool, as far as that is a path that may be; so rows name it as the pool does."""
    path = PurePosixPath(sample.annotation.path)
    plain = not path.is_absolute() and all(part not in ("", ".", "..") and part.isprintable() for part in path.parts)
    if not path.parts or not plain or path.parts[0].startswith("."):
        return f"{sample.key}{suffix}"
    return str(path) if path.suffix.lower() in photos.SUFFIXES else f"{path}{suffix}"


def _beside(output: Path) -> Path:
    return output.absolute().with_name(f".{output.absolute().name}.part")
