"""The index of a pool: the vectors of its photos, each photo's key, and whose vectors they are.

It lies in the folder of the run that made the vectors, whose journals have all else of the photos. `vectors.npy` is a plain
array that numpy and every vector library reads; it is searched as it lies on disk, exactly, by usearch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from usearch.compiled import MetricKind
from usearch.index import search

from comfy_nodes.core.embeddings import STORED
from comfy_nodes.core.keys import KEY_LENGTH
from comfy_nodes.core.whole_files import move_whole, new_file, write_whole

from ..errors import RunError

INDEX = "pool.json"
"""Says that the index is whole, and of what."""

VECTORS, KEYS = "vectors.npy", "keys.npy"

KEY = np.dtype([("shard", "S6"), ("key", f"S{KEY_LENGTH}")])
"""A photo's key, and the shard of the run whose journal has it; "" of a run that is not cut into shards."""


class Facts(BaseModel):
    """`pool.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pool: str
    """The pool as `--input` takes it; of this machine, from its root."""
    image_root: str | None
    settings: tuple[str, ...]
    """What was set in the graph."""
    weights: dict[str, str | None]
    """The content of the weights that made the vectors, by the names in the graph."""
    photos: int
    dimensions: int
    duplicates: int
    """Photos that are no second time in it, as their files are the same."""


class Hit(NamedTuple):
    """A photo that was found."""

    place: int
    """Which of the index's."""
    query: int
    """Which of the queries it was found for."""
    score: float
    """The cosine of the two vectors, -1 to 1."""


@dataclass(frozen=True)
class Index:
    """An index on disk."""

    facts: Facts
    vectors: np.ndarray
    """float16 [photos, D], as they lie on disk."""
    keys: np.ndarray
    """KEY [photos]."""

    @classmethod
    def open(cls, folder: Path) -> Index:
        """
        Raises:
            RunError: there is none, or it is damaged.
        """
        try:
            facts = Facts.model_validate_json((folder / INDEX).read_bytes())
        except FileNotFoundError:
            raise RunError(
                f"{folder}: holds no whole index; python driver/pool.py build POOL --output {folder} makes it"
            ) from None
        except (OSError, ValidationError) as error:
            raise _damaged(folder, error) from None
        try:
            vectors, keys = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in (VECTORS, KEYS))
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(folder, error) from None
        if (
            vectors.shape != (facts.photos, facts.dimensions)
            or vectors.dtype != STORED
            or keys.shape != (facts.photos,)
        ):
            raise _damaged(folder, "its files are not of one build")
        return cls(facts, vectors, keys)

    def find(self, queries: Sequence[np.ndarray], count: int, least: float) -> list[Hit]:
        """The photos that are most like the queries, each once: the best of each query, then the second best of each, and
        so on, as scores of words and of photos are not on one scale.

        Args:
            queries: float16 [D] each, of length 1.
            count: photos, at most.
            least: the least score.
        """
        if not queries or not self.facts.photos:
            return []
        wanted = min(count, self.facts.photos)
        lists = []
        for number, query in enumerate(queries):
            matches = search(self.vectors, query, wanted, MetricKind.Cos, exact=True)
            scores = 1 - np.asarray(matches.distances, np.float64)
            lists.append([Hit(int(key), number, float(score)) for key, score in zip(matches.keys, scores, strict=True)])
        found: dict[int, Hit] = {}
        for ranked in zip(*lists, strict=True):
            for hit in ranked:
                if hit.score >= least and len(found) < count:
                    found.setdefault(hit.place, hit)
        return list(found.values())


class IndexWriter:
    """Writes an index anew; what was there counts until it is whole."""

    def __init__(self, folder: Path):
        self._folder = folder

    @contextmanager
    def vectors(self) -> Iterator[VectorFile]:
        """A file of vectors that takes its place when the block ends well. The index is none from then until `finish`."""
        part = self._part(VECTORS)
        with new_file(part) as file:
            found = VectorFile(file)
            yield found
            found.close()
        (self._folder / INDEX).unlink(missing_ok=True)
        move_whole(part, self._folder / VECTORS)

    def finish(self, keys: np.ndarray, facts: Facts) -> None:
        """
        Args:
            keys: KEY [N].
        """
        part = self._part(KEYS)
        with new_file(part) as file:
            np.save(file, keys)
        move_whole(part, self._folder / KEYS)
        write_whole(self._folder / INDEX, facts.model_dump_json(indent=1) + "\n")

    def _part(self, name: str) -> Path:
        part = self._folder / f".{name}.part"
        part.unlink(missing_ok=True)
        return part


class VectorFile:
    """A `.npy` of vectors that grows: its header has room for any number of rows, as numpy writes it."""

    def __init__(self, file: BinaryIO):
        self._file, self._rows, self._dimensions = file, 0, 0

    @property
    def dimensions(self) -> int:
        """Of its vectors; 0 before the first."""
        return self._dimensions

    def add(self, vector: np.ndarray) -> None:
        """
        Args:
            vector: float16 [D].

        Raises:
            ValueError: of another length than those before.
        """
        if not self._rows:
            self._dimensions = len(vector)
            self._write_header()
        if len(vector) != self._dimensions:
            raise ValueError(f"has {len(vector)} numbers, others {self._dimensions}")
        self._file.write(vector.astype(STORED).tobytes())
        self._rows += 1

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.seek(0, 2)

    def _write_header(self) -> None:
        header = {"descr": STORED.str, "fortran_order": False, "shape": (self._rows, self._dimensions)}
        np.lib.format.write_array_header_1_0(self._file, header)


def differing(there: Mapping[str, str | None], here: Mapping[str, str | None]) -> str:
    """Which weights differ, in words; empty where none do."""
    names = [name for name in {**there, **here} if there.get(name) != here.get(name) or name not in there]
    return ", ".join(f"{name} ({_short(there, name)} there, {_short(here, name)} here)" for name in names)


def _short(weights: Mapping[str, str | None], name: str) -> str:
    return (weights[name] or "unknown")[:8] if name in weights else "not"


def _damaged(folder: Path, why: object) -> RunError:
    first = str(why).partition("\n")[0]
    return RunError(f"{folder}: its index cannot be read ({first}); build it again, which embeds nothing twice", 1)
