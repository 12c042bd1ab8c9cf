"""What a run leaves of its rows: kept ones in `data/`, all others in `rejected/`, in the input's order.

Both folders are written beside their places and take them together, after `COMMIT` says that they are whole: whoever is
killed before that leaves the old dataset, and after that the new one. Rows of an earlier finish come out of its shards,
new ones out of the spool.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from comfy_nodes.core.keys import checked_key
from comfy_nodes.core.whole_files import move_whole, replace_folder, write_whole

from ..disk import disk_errors, make_durable
from ..errors import RunError
from ..journal import Journal
from .binding import png_size
from .commits import read_commit
from .layouts.layout import LAYOUTS, Layout, Shard, StoredRow, layout_named
from .ownership import keep_others
from .parts import FACTS, Part, parts
from .row_images import DAMAGE, Images, raise_if_unreadable
from .rows import Row, RunFacts
from .shards import CONFIGS, ConfigFacts, DatasetFacts, Former, settings_digest, write_config
from .spool import Spool

COMMIT = f"{FACTS}.new"
"""The list of what lies in the folders, in the work folder: from when it is there, the new folders are the dataset."""


@dataclass(frozen=True)
class Written:
    """What a finish found beside the rows that it wrote."""

    lost: tuple[str, ...] = ()
    """Samples whose pictures were gone, or not those of their record. They wait again."""
    rebuilt: bool = False
    """Whether the list of the earlier shards was missing or changed, so that these were looked through."""


def write_dataset(journal: Journal, spool: Spool, part: Part, facts: RunFacts, layout: str = "hf") -> Written:
    """Writes all finished rows and empties the spool. May be called again, also while samples still wait.

    Pictures are compared with the hashes in their records, whether they come from the spool or from an earlier shard.

    Args:
        part: of the dataset; of a shard the commit goes, and is to be written again when its rows are seen to be sound.
        layout: name of the layout; an earlier finish may have had another.

    Raises:
        RunError: the disk is full.
    """
    restore(part)
    listed = read_facts(part)
    earlier = listed or found_facts(part)
    images = Images(spool, part, earlier)
    lost: list[str] = []
    work = part.work
    with disk_errors(part.output):
        try:
            written = _write(journal, images, part, facts, layout, earlier)
            while images.lost:
                lost += journal.lost(images.lost)
                images.lost.clear()
                written = _write(journal, images, part, facts, layout, earlier)
            write_whole(work / COMMIT, written.model_dump_json(indent=1) + "\n")
            make_durable(work)
        except BaseException:
            if not unfinished(part):
                for folder in CONFIGS:  # what was written so far takes the room that the next try needs
                    shutil.rmtree(work / f"{folder}.new", ignore_errors=True)
            raise
        try:
            restore(part)
        except BaseException:
            restore(part)  # Ctrl-C between two renames; what stops it twice is put right by the next run
            raise
    spool.clear()
    return Written(tuple(lost), rebuilt=listed is None and earlier is not None)


def _write(
    journal: Journal, images: Images, part: Part, facts: RunFacts, layout: str, earlier: DatasetFacts | None
) -> DatasetFacts:
    """Writes both configs beside their places; rows whose pictures are lost are left out."""
    journal.judge_dialogues()
    chosen = layout_named(layout)
    settings = settings_digest(chosen)
    configs = {}
    for folder, kept in CONFIGS.items():
        fresh = part.work / f"{folder}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        former = None
        if earlier is not None and earlier.settings == settings:
            listed = part.listing.stat().st_mtime_ns
            former = Former.of(part.config(folder), earlier.configs[folder], listed)
            with _rows(journal, kept, facts) as rows:
                former.look_at(rows, chosen)
        with _rows(journal, kept, facts) as rows:
            configs[folder] = write_config(rows, images.fill, chosen, fresh, former)
        make_durable(fresh)
    return DatasetFacts(layout=chosen.name, settings=settings, configs=configs).sealed()


def restore(part: Part) -> None:
    """Ends what a finish began that was killed after its `COMMIT`; does nothing otherwise.

    What somebody else put into the folders stays in them.

    Raises:
        RunError: it cannot, as something of ours took its name.
    """
    if not unfinished(part):
        return
    for listing in part.listings:
        listing.unlink(missing_ok=True)
    ours = re.compile("|".join(f"(?:{layout_named(name).names()})" for name in LAYOUTS)).fullmatch
    for folder in CONFIGS:
        fresh, place, old = part.work / f"{folder}.new", part.config(folder), part.work / f"{folder}.old"
        place.parent.mkdir(exist_ok=True)
        if fresh.exists():
            if place.exists():
                shutil.rmtree(old, ignore_errors=True)
            replace_folder(fresh, place, old)
        if old.exists():
            keep_others(old, place, ours)
    for above in {part.output, *(part.config(folder).parent for folder in CONFIGS)}:
        make_durable(above)
    if part.name:
        part.elsewhere.unlink(missing_ok=True)
    place = part.listings[-1]
    move_whole(part.work / COMMIT, place)
    make_durable(place.parent)
    for folder in CONFIGS:
        shutil.rmtree(part.work / f"{folder}.old", ignore_errors=True)


def unfinished(part: Part) -> bool:
    """Whether folders wait in the work folder for their place: whoever removes it loses rows."""
    return (part.work / COMMIT).exists()


def read_facts(part: Part) -> DatasetFacts | None:
    """What a part holds, by its list; None where there is none, or where it was changed or damaged."""
    if part.name and part.listing == part.commit:
        commit = read_commit(part)
        return commit.dataset if commit else None
    try:
        return DatasetFacts.model_validate_json(part.listing.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def found_facts(part: Part) -> DatasetFacts | None:
    """What a part holds, by its shards; None where there are none. Enough to find pictures in them."""
    for name in LAYOUTS:
        layout = layout_named(name)
        shards = {
            config: tuple(
                Shard(stream=stream, number=number, files=files, rows=1, size=0, rows_digest="")
                for stream, number, files in layout.found(part.config(config))
            )
            for config in CONFIGS
        }
        if any(shards.values()):
            configs = {config: ConfigFacts(rows=0, size=0, tasks={}, shards=found) for config, found in shards.items()}
            return DatasetFacts(layout=layout.name, settings="", configs=configs)
    return None


def finished_parts(output: Path) -> list[Part]:
    """The parts of a finished run's dataset.

    Raises:
        RunError: no finish came to its end there, or the list of the one part was changed.
    """
    if not output.is_dir():
        raise RunError(f"{output}: no such folder; name the --output of a run")
    found = parts(output)
    if not found:
        raise RunError(
            f"{output}: holds no rows, as no shard of its run is made: a share of a run of fewer shards has none, and needs "
            "no export and no review; another run gets its first one when the command that makes it is run again"
        )
    if not found[0].name:
        part_facts(found[0])
    return found


def part_facts(part: Part) -> DatasetFacts:
    """What a part holds.

    Raises:
        RunError: no finish came to its end there, or its list was changed.
    """
    facts = read_facts(part)
    if facts is None and part.name and read_commit(part):
        raise RunError(f"{part.output}: holds no dataset, as its run makes no rows")
    if facts is None:
        listing = part.listing.relative_to(part.output).as_posix()
        raise RunError(
            f"{part.output}: holds no finished dataset ({listing} is missing, or was changed); run the command that makes "
            "it again: it finishes the run, or lists anew what lies there"
        )
    return facts


def dataset_digest(output: Path) -> str:
    """SHA-256 that changes with anything in a finished run's rows: of `shards.json`, or of what the shards' commits list.

    Raises: as `finished_parts`.
    """
    first, *others = (part_digest(part) for part in finished_parts(output))
    return hashlib.sha256("".join([first, *others]).encode()).hexdigest() if others else first


def part_digest(part: Part) -> str:
    """The same of one part.

    Raises: as `part_facts`.
    """
    facts = part_facts(part)
    return hashlib.sha256(facts.model_dump_json().encode() if part.name else part.listing.read_bytes()).hexdigest()


def stored_rows(output: Path, config: str, images: bool = True) -> Iterator[StoredRow]:
    """The rows of a finished config, whatever its layout.

    Args:
        config: `data` or `rejected`.
        images: whether to read these, too.

    Raises:
        ShardDamaged: a shard is missing, or damaged where it is read.
        RunError: the folder holds no finished dataset.
    """
    for part in finished_parts(output):
        yield from part_rows(part, config, images)


def part_rows(part: Part, config: str, images: bool = True) -> Iterator[StoredRow]:
    """The same of one part."""
    facts = part_facts(part)
    layout = layout_named(facts.layout)
    for shard in facts.configs[config].shards:
        with reading(part, config, shard):
            for row in layout.rows(part.config(config), shard, images) if shard.rows else ():
                yield _checked(row, images)


def chosen_rows(part: Part, config: str, chosen: set[int]) -> Iterator[tuple[int, StoredRow]]:
    """Rows of a part's config with their places in it. Reads the shards' keys, and of these rows the rest.

    Raises: as `stored_rows`.
    """
    facts = part_facts(part)
    layout = layout_named(facts.layout)
    first = 0
    for shard in facts.configs[config].shards:
        if wanted := [number for number in sorted(chosen) if first <= number < first + shard.rows]:
            with reading(part, config, shard):
                places = list(layout.index(part.config(config), shard))
                for number in wanted:
                    yield number, row_at(layout, part.config(config), shard, *places[number - first])
        first += shard.rows


def stored_row(part: Part, key: str) -> StoredRow | None:
    """The row of a key in a part; reads the shards' keys up to it, and of this row the rest.

    Raises: as `stored_rows`.
    """
    facts = part_facts(part)
    layout = layout_named(facts.layout)
    for config, held in facts.configs.items():
        for shard in held.shards:
            with reading(part, config, shard):
                for found, place in layout.index(part.config(config), shard) if shard.rows else ():
                    if found == key:
                        return row_at(layout, part.config(config), shard, key, place)
    return None


def row_at(layout: Layout, folder: Path, shard: Shard, key: str, place: int) -> StoredRow:
    """
    Raises:
        ValueError: another row lies there, or a picture of this one is not whole.
    """
    row = layout.row(folder, shard, place)
    if row.columns["key"] != key:
        raise ValueError(f"its row {key} says that it is {row.columns['key']!r:.80}")
    return _checked(row)


class ShardDamaged(RunError):
    """A shard is missing, or is not as it was written. The next finish looks through it."""

    def __init__(self, message: str, part: Part, config: str, files: tuple[str, ...]):
        super().__init__(message, 1)
        self.part = part
        self.place = part.name, config, files
        """Its part, its config, and its files there."""


@contextmanager
def reading(part: Part, config: str, shard: Shard) -> Iterator[None]:
    """Turns what is wrong with a shard into one line, and sees that the next finish does not keep it as it is.

    Raises:
        ShardDamaged: something is.
    """
    again = "run the command that made it again: it makes anew what is missing or damaged"
    first = part.config(config) / shard.files[0]
    try:
        yield
    except FileNotFoundError as error:
        if not part.here:
            where = part.elsewhere.read_text()
            raise RunError(
                f"{part.output}: the rows of shard {part.name} are only in {where}; read them there"
            ) from None
        what = f"{error.filename or first}: a shard is missing that {part.listing.name} lists"
        raise ShardDamaged(f"{what}; {again}", part, config, shard.files) from None
    except DAMAGE as error:
        raise_if_unreadable(error)
        later = part.listing.stat().st_mtime_ns + 1_000_000_000
        with suppress(OSError):  # not ours to write to; then this reader at least says so
            os.utime(first, ns=(later, later))
        raise ShardDamaged(f"{first}: is damaged ({error}); {again}", part, config, shard.files) from None


def _checked(row: StoredRow, images: bool = True) -> StoredRow:
    """
    Raises:
        ValueError: a row's key is none, or a picture, before or after the edit, is not whole; the message names the row.
    """
    key = checked_key(row.columns["key"])  # it names files
    try:
        if images and not (row.inputs and row.outputs):
            raise ValueError("it is missing")
        for data in (*row.inputs, *row.outputs):
            png_size(data)
    except ValueError as error:
        raise ValueError(f"a picture of row {key} is no whole PNG: {error}") from None
    return row


@contextmanager
def _rows(journal: Journal, kept: bool, facts: RunFacts) -> Iterator[Iterator[Row]]:
    """A config's rows; lets go of the journal at the end, also where an error breaks off."""
    with closing(Row.of(text, attempt, facts) for text, attempt in journal.records(kept)) as rows:
        yield rows
