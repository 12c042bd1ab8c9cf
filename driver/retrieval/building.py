"""An index of a pool: its vectors made, as far as they are not there, and written anew in one sweep."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..disk import disk_errors
from ..errors import RunError
from ..options import RunOptions
from ..report.summary import Summary
from ..stopping import StopRequest
from .embedding import embed_pool, embedded, journals, weights_of
from .index import KEY, Facts, IndexWriter


@dataclass(frozen=True)
class Built:
    """What a build came to."""

    summary: Summary
    """Of the run that made the vectors."""
    facts: Facts | None
    """Of the index; None where the user stopped before there was one."""


def build(options: RunOptions, stop: StopRequest) -> Built:
    """Makes an index of an input, or brings one up to date: only photos that are new or changed are embedded.

    Args:
        options: of the run that makes the vectors; `input` is the pool, `output` the index's folder.

    Raises:
        RunError: as of a run; or no photo has a vector.
    """
    summary, stopped = embed_pool(options, stop)
    return Built(summary, None if stopped else write_index(options))


def write_index(options: RunOptions) -> Facts:
    """Writes the index of a folder that has the vectors.

    Raises:
        RunError: no photo has one, they are of several models, or the disk is full.
    """
    folder = options.output
    firsts = _firsts(folder)
    if not len(firsts):
        raise RunError(
            f"{folder}: none of the pool's photos has a vector, so there is no index; its report says why", 1
        )
    keys, photos = np.zeros(int(firsts.sum()), KEY), 0
    with disk_errors(folder):
        writer = IndexWriter(folder)
        with writer.vectors() as file:
            place = 0
            for shard, journal in journals(folder):
                for one in embedded(journal):
                    if firsts[place]:
                        try:
                            file.add(one.vector)
                        except ValueError as error:
                            raise RunError(
                                f"{folder}: the vector of {one.source_id} {error}; use another --output", 1
                            ) from None
                        keys[photos] = (shard, one.key)
                        photos += 1
                    place += 1
        (pool,) = options.input
        facts = Facts(
            pool=_whole(pool.path),
            image_root=_whole(options.image_root) if options.image_root else None,
            settings=options.set,
            weights=weights_of(folder),
            photos=photos,
            dimensions=file.dimensions,
            duplicates=len(firsts) - photos,
        )
        writer.finish(keys, facts)
    return facts


def _firsts(folder: Path) -> np.ndarray:
    """Of each vector in the journals whether its photo is the first whose file has this content: bool [N]."""
    digests = array("Q")
    for _, journal in journals(folder):
        for one in embedded(journal):
            digests.frombytes(bytes.fromhex(one.sha256)[:16])
    found = np.frombuffer(digests, "S16")  # of each 16 bytes that two files do not share by chance
    first = np.zeros(len(found), bool)
    first[np.unique(found, return_index=True)[1]] = True
    return first


def _whole(given: str) -> str:
    """A place as it is found from any folder of this machine: patterns and URLs stay what they are."""
    return given if "://" in given else str(Path(given).absolute())
