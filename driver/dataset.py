"""What a run leaves of its rows: kept ones in `data/`, all others in `rejected/`, in the input's order.

Both folders are written beside their places and take them together, after `COMMIT` says that they are whole: whoever is
killed before that leaves the old dataset, and after that the new one. Rows of an earlier finish come out of its shards,
new ones out of the spool.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from .columns import Pair, Row, RunFacts
from .failures import RunError
from .journal import Journal
from .layouts import Layout, StoredRow, layout_named
from .shards import DatasetFacts, Former, make_durable, read_config, settings_digest, write_config
from .spool import Spool, disk_error

CONFIGS = {"data": True, "rejected": False}
"""Folder of each config of the dataset, and whether its rows are the kept ones."""

FACTS = "shards.json"
"""Lists what lies in the folders. The last file that a finish puts in place: while it is there, they are as it says."""

COMMIT = "shards.json.new"
"""The same, in the work folder: from when it is there, the new folders are the dataset."""


def write_dataset(
    journal: Journal, spool: Spool, output: Path, work: Path, facts: RunFacts, layout: str = "hf"
) -> DatasetFacts:
    """Writes all finished rows and empties the spool. May be called again, also while samples still wait.

    Args:
        output: the run's folder.
        work: a folder on the same disk for what isn't whole yet.
        layout: name of the layout; an earlier finish may have had another.

    Raises:
        RunError: the disk is full, or a row's images are nowhere.
    """
    restore(output, work)
    earlier = read_facts(output)
    chosen = layout_named(layout)
    settings = settings_digest(chosen)
    images = _Images(spool, output, earlier)
    try:
        configs = {}
        for folder, kept in CONFIGS.items():
            fresh = work / f"{folder}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            former = None
            if earlier is not None and earlier.settings == settings:
                former = Former.of(output / folder, earlier.configs[folder])
                with _rows(journal, kept, facts) as rows:
                    former.look_at(rows, chosen)
            with _rows(journal, kept, facts) as rows:
                configs[folder] = write_config(rows, images.fill, chosen, fresh, former)
            make_durable(fresh)
        written = DatasetFacts(layout=layout, settings=settings, configs=configs)
        _commit(written, work)
    except BaseException as error:
        if not unfinished(work):
            for folder in CONFIGS:  # what was written so far takes the room that the next try needs
                shutil.rmtree(work / f"{folder}.new", ignore_errors=True)
        if isinstance(error, OSError):
            raise disk_error(error, output) from None
        raise
    try:
        restore(output, work)
    except BaseException as error:
        restore(output, work)  # Ctrl-C between two renames; what stops it twice is put right by the next run
        if isinstance(error, OSError):
            raise disk_error(error, output) from None
        raise
    spool.clear()
    return written


def restore(output: Path, work: Path) -> None:
    """Ends what a finish began that was killed after its `COMMIT`; does nothing otherwise."""
    if not unfinished(work):
        return
    (output / FACTS).unlink(missing_ok=True)
    for folder in CONFIGS:
        fresh, place, old = work / f"{folder}.new", output / folder, work / f"{folder}.old"
        if fresh.exists():
            if place.exists():
                shutil.rmtree(old, ignore_errors=True)
                place.rename(old)
            fresh.rename(place)
    make_durable(output)
    (work / COMMIT).replace(output / FACTS)
    make_durable(output)
    for folder in CONFIGS:
        shutil.rmtree(work / f"{folder}.old", ignore_errors=True)


def unfinished(work: Path) -> bool:
    """Whether folders wait in the work folder for their place: whoever removes it loses rows."""
    return (work / COMMIT).exists()


def read_facts(output: Path) -> DatasetFacts | None:
    """What a run's folder holds; None where no finish came to its end yet.

    Raises:
        RunError: the list is damaged.
    """
    try:
        return DatasetFacts.model_validate_json((output / FACTS).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise RunError(f"{output / FACTS}: damaged; restore it from a copy, or use another folder", 1) from None


def finished_facts(output: Path) -> DatasetFacts:
    """What a finished run's folder holds.

    Raises:
        RunError: no finish came to its end there.
    """
    facts = read_facts(output)
    if facts is None:
        raise RunError(f"{output}: holds no finished dataset ({FACTS} is missing); finish the run first")
    return facts


def stored_rows(output: Path, config: str, images: bool = True) -> Iterator[StoredRow]:
    """The rows of a finished config, whatever its layout.

    Args:
        config: `data` or `rejected`.
        images: whether to read these, too.

    Raises:
        RunError: the folder holds no finished dataset.
    """
    facts = finished_facts(output)
    with _reading(output / config):
        yield from read_config(output / config, facts.configs[config], layout_named(facts.layout), images)


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Turns what is wrong with a config's shards into one line."""
    try:
        yield
    except FileNotFoundError as error:
        where = error.filename or folder
        raise RunError(f"{where}: a shard is missing that {FACTS} lists; restore it from a copy", 1) from None
    except (ValueError, tarfile.TarError) as error:
        raise RunError(f"{folder}: a shard is damaged ({error}); restore it from a copy", 1) from None


@contextmanager
def _rows(journal: Journal, kept: bool, facts: RunFacts) -> Iterator[Iterator[Row]]:
    """A config's rows; lets go of the journal at the end, also where an error breaks off."""
    with closing(Row.of(text, attempt, facts) for text, attempt in journal.records(kept)) as rows:
        yield rows


def _commit(facts: DatasetFacts, work: Path) -> None:
    part = work / f"{COMMIT}.part"
    part.write_text(facts.model_dump_json(indent=1) + "\n", "utf-8")
    make_durable(part)
    part.rename(work / COMMIT)
    make_durable(work)


class _Images:
    """Finds the images of rows: in the spool, else in the shards of an earlier finish."""

    def __init__(self, spool: Spool, output: Path, earlier: DatasetFacts | None):
        self._spool = spool
        self._output = output
        self._earlier = earlier
        self._places: _Places | None = None

    def fill(self, row: Row) -> Pair:
        """
        Raises:
            RunError: a row's images are in neither.
        """
        before = [self._spool.get(row.key, "input", number) for number in range(len(row.inputs))]
        after = [self._spool.get(row.key, "output", number) for number in range(len(row.outputs))]
        if None not in before and None not in after:
            return Pair(row, [one for one in before if one is not None], [one for one in after if one is not None])
        self._places = self._places or _Places(self._output, self._earlier)
        return Pair(row, *self._places.images(row.key))


class _Places:
    """Where rows lie in shards. About 35 bytes a row, as there may be millions."""

    def __init__(self, output: Path, facts: DatasetFacts | None):
        self._output = output
        self._layout: Layout | None = layout_named(facts.layout) if facts else None
        self._shards = [
            (config, shard) for config in CONFIGS for shard in (facts.configs[config].shards if facts else ())
        ]
        self._firsts = np.cumsum([0, *(shard.rows for _, shard in self._shards)])
        self._places = np.empty(self._firsts[-1], np.int64)
        self._order, self._keys = self._look()

    def _look(self) -> tuple[np.ndarray, np.ndarray]:
        """Notes all places; returns the rows in the order of their keys, and these."""
        parts = [np.array([], "S")]
        for first, (config, shard) in zip(self._firsts, self._shards, strict=False):
            assert self._layout is not None
            keys = []
            with _reading(self._output / config):
                for key, place in self._layout.index(self._output / config, shard):
                    keys.append(key.encode())
                    self._places[first + len(keys) - 1] = place
                if len(keys) != shard.rows:
                    raise ValueError(f"{shard.files[0]} has {len(keys)} rows, not {shard.rows}")
            parts.append(np.array(keys, "S"))
        joined = np.concatenate(parts)
        del parts
        order = np.argsort(joined).astype(np.int32)
        return order, joined[order]

    def images(self, key: str) -> tuple[list[bytes], list[bytes]]:
        at = int(np.searchsorted(self._keys, np.bytes_(key.encode())))
        if at == len(self._keys) or self._keys[at] != key.encode():
            raise RunError(f"the images of {key} are neither spooled nor in a shard: delete this output folder", 1)
        row = int(self._order[at])
        config, shard = self._shards[int(np.searchsorted(self._firsts, row, "right")) - 1]
        assert self._layout is not None
        return self._layout.images(self._output / config, shard, int(self._places[row]))
