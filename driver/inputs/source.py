"""Where samples come from: an input of any kind, turned into samples in a fixed order, or into failures with a reason.

Nothing is passed over without a word. What a kind of input looks like is the business of its reader, a module each; here
photos meet the task. Reads headers only; pixels are read when their turn comes, through `Source.read`.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import count, islice, pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from comfy_nodes.core import photos
from comfy_nodes.core.instructions.routing import accepts
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Region
from comfy_nodes.core.tasks import ANNOTATE
from comfy_nodes.core.taxonomy import CHINESE_EDITOR, EDITOR, GRAPHS, TAXONOMY, known_kind

from ..dataset.by_input import MixedInput
from ..errors import RunError
from ..home import ROOT
from ..places import Locator, name_of
from ..samples import DUPLICATE, TWICE, Aim, Grounding, Planned, Sample, Spare, Unusable
from . import alignment
from .cutting import Cursor, KnownShard, Shard, borders, grown
from .mixture import Mixture
from .near import Looked, NearDuplicates
from .photo import Photo, Reader
from .quotas import Quotas, Wanted
from .sampling import LEFT_OUT, NEAR_DUPLICATE, OTHER_GRAPH, OTHER_TASK, Regions, Sampling, skipped
from .shares import InputShare

BUNDLED = ROOT / "samples" / "annotation.jsonl"

LOOKED_AT = 50_000
"""Photos whose tasks tell which workflows `auto` is, at most: some seconds. Ours."""

BARE = 1000
"""Photos at the beginning of an input that tell whether it brings regions. Ours."""

MEASURED_TOGETHER = 16
"""Photos whose masks are. Ours: with more, a smaller part of the time goes into calls, until they leave the cache."""

KEPT = 8 << 20
"""Bytes of a block that memory is kept for, which was freed. Ours: more than all that is made of masks measured together."""

HELD = 4
"""Shards whose photos are held from when they were cut until they are planned, where passing over them takes them apart:
more than a run has cut and not planned. Ours."""

EVERYTHING = 1 << 62
"""More items than any input has."""

MOST_GONE = 0.5
"""Of more than this share of its shards the first photo is gone: that is another input. Ours, as of a run's samples."""

DISTANT_AHEAD = 32
"""How many photos behind URLs are looked at at the same time; their answers take tens of milliseconds each. Ours."""


class Source:
    """An input of the driver."""

    def __init__(self, inputs: str | Path | Sequence[InputShare], image_root: str | Path | None = None):
        """
        Args:
            inputs: one or several; or of one path or URL of a folder, of a file, or a pattern of files. docs/inputs.md
                lists what is read.
            image_root: path or URL of the folder that paths in an input are relative to; its own folder if None.

        Raises:
            RunError: missing, of an unknown kind, of several kinds, or behind a URL that cannot be reached.
        """
        given = [InputShare(str(inputs))] if isinstance(inputs, str | Path) else inputs
        self._input = Mixture(given, image_root)
        self._cursors: dict[str, Cursor] = {}
        self._held: dict[int, list[Photo]] = {}
        """Photos of shards, by how many items stand before these."""
        self._read_with(self._input)

    def _read_with(self, reader: Reader) -> None:
        self.reader = reader
        self._sampling = Sampling(reader)
        self.places = reader.places
        self.near: NearDuplicates | None = None
        """Who tells photos that repeat an earlier one; None where nobody looks."""
        self.total: int | None = None
        """Items in the input, once its end was seen."""
        self.spread_over = 0
        """In a recipe: how many items its input has, over all of which quotas are spread; 0 where it has none."""

    def close(self) -> None:
        """Ends what it keeps open on a disk; it is not to be planned from any more."""
        if self.near:
            self.near.close()

    def release(self) -> None:
        """Nobody asks for further shards: who waits for one in another thread need not."""

    def refuse_output(self, output: Path) -> None:
        """
        Raises:
            RunError: a run that writes there would find its own files in this input the next time.
        """
        self._input.refuse_output(output)

    @property
    def root(self) -> Path | None:
        """The folder that locators are paths below, where photos are files of this machine; else None."""
        return self._input.root

    @property
    def names_files(self) -> bool:
        """Whether its photos are files of this machine beside those that it consists of."""
        return self._input.names_files

    @property
    def mixed(self) -> tuple[MixedInput, ...]:
        """Its inputs, where there are several."""
        return self._input.mixed

    def more_than(self, items: int, aims: Sequence[Aim]) -> bool:
        """Whether the input has more items; no more are read to see it."""
        cut = self._cursor("cut", *asked(aims), items)
        return cut.next is not None

    def check_any(self, aims: Sequence[Aim]) -> None:
        """
        Raises:
            RunError: there are no photos in it.
        """
        if not self.more_than(0, aims):
            raise self._empty()

    def count(self, aims: Sequence[Aim]) -> int:
        """Items in the input. Goes through it without taking it apart, but for a `.json`, which no one can otherwise."""
        if self.total is None:
            self.total = self._cursor("cut", *asked(aims), EVERYTHING).place
        return self.total

    def shards(
        self,
        size: int,
        aims: Sequence[Aim],
        known: Sequence[KnownShard] = (),
        share: tuple[int, int] = (0, 1),
        changed: bool = False,
        keep_stale: bool = False,
        first: int | None = None,
    ) -> Iterator[Shard]:
        """The input's items in its order, cut into shards. What is known is not read again; of others only where they
        end and which photo is their first.

        Args:
            size: items of a shard, at most; of an input that grew one that is known may have more.
            aims: the run's, as `plan` takes them.
            known: shards that were cut before.
            share: i and n: only shards whose index leaves i when divided by n.
            changed: whether the input's fingerprint is another than then. It is gone through once, and known shards begin
                where their first photos are now.
            keep_stale: goes on where most of these are gone.
            first: items of the first shard, where they grow up to `size`; None where all have as many.

        Raises:
            RunError: the input as a whole cannot be used, changed under a share, or is another one.
        """
        task, edited = asked(aims)
        known = sorted(known, key=lambda one: one.index)
        items = {one.index: one.items for one in known}
        firsts = {one.index: one.first for one in known}
        if changed and known:
            starts = self._starts(size, known, share, keep_stale, task, edited)
            items, firsts = {index: end - start for index, (start, end) in enumerate(pairwise(starts))}, {}
        start = 0
        for index in count():
            wanted = items.get(index, size if first is None else grown(first, start, size))
            if index % share[1] == share[0]:
                if index in firsts or not wanted:
                    found = firsts.get(index, "")
                    shard: Shard | None = Shard(index, start, wanted, found, task, edited, passed=start + wanted)
                else:
                    shard = self._cut(index, start, wanted, task, edited)
                if shard is None:
                    return
                yield shard
            start += wanted

    def _cut(self, index: int, start: int, items: int, task: str, edited: bool) -> Shard | None:
        """The shard that begins at a place in the input; None where that ends there."""
        cut = self._cursor("cut", task, edited, start)
        first = cut.next
        if first is None:
            self.total = cut.place
            return None
        if self._input.dear:
            self._held[start] = list(cut.take(items))
            if len(self._held) > HELD:
                del self._held[min(self._held)]
        end = min(cut.go(start + items), start + items)
        return Shard(index, start, end - start, first.source_id, task, edited, passed=end)

    def unmarked(self, shard: Shard | None = None) -> Iterator[Planned]:
        """Photos that nobody marked a region in, as samples of the annotate stage. Files for a task have theirs.

        Args:
            shard: only those in it; of the whole input if None.
        """

        def samples(photo: Photo) -> list[Planned]:
            return self._sampling.samples(photo, Aim(ANNOTATE), "all", 0) if photo.unmarked else []

        found = self._photos("unmarked", ANNOTATE.name, False, shard)
        if self.near is None:
            found = (photo for photo in found if photo.unmarked)
        for looked, repeats in self._looked(self._each(found, samples), True, shard):
            yield from () if repeats else looked.planned

    def plan(
        self,
        aims: Sequence[Aim],
        regions: Regions,
        seed: int,
        grounding: Grounding | None = None,
        shard: Shard | None = None,
    ) -> Iterator[Planned]:
        """Samples in the input's order; a folder's is by name. Memory does not grow with their number.

        Args:
            aims: what the run's graphs take. Of several, each that a photo suits gives samples, and only a photo that
                suits none is a failure.
            regions: `all`, a sample for each eligible region; `one`, one picked by the seed.
            seed: for picking.
            grounding: what the annotate stage found in photos without a region.
            shard: only those of its photos; of the whole input if None.

        Raises:
            RunError: the input as a whole cannot be used, or there are no photos in it.
        """

        named_tasks = frozenset(aim.task.name for aim in aims if not aim.task.open)
        aims = [replace(aim, rest=named_tasks) if aim.task.open else aim for aim in aims]

        def samples(photo: Photo) -> list[Planned]:
            grounded = _grounded(photo, grounding) if grounding else photo
            if len(aims) > 1 and not (photo.task or photo.words_for):
                # Nobody says which of the tasks the words are about.
                grounded = replace(grounded, instruction="")
            found = [one for aim in aims for one in self._sampling.samples(grounded, aim, regions, seed)]
            if len(aims) == 1:
                return found
            # What one task cannot use is of no interest where another can; what is wrong with the photo is.
            kept = {one.key: one for one in found if not (isinstance(one, Unusable) and _unwanted(one))}
            return list(kept.values()) or sorted(found, key=_meant_for_another)[:1]

        named, edited = asked(aims)
        found = self._photos("plan", named, edited, shard)
        yield from self._once(self._distinct(self._each(found, samples), grounding, shard), shard)

    def bare(self) -> bool:
        """Whether nobody marked a region in any of the photos at its beginning."""
        found = [photo.unmarked for photo in islice(self.reader.photos(ANNOTATE.name), BARE)]
        return bool(found) and all(found)

    def labels(self, aims: Sequence[Aim]) -> str:
        """What to say of hand labels that count where rows are judged again; empty where none do.

        Raises:
            RunError: they cannot be read.
        """
        return self._input.labels() if any("edited" in aim.seconds for aim in aims) else ""

    def graphs(self) -> list[str]:
        """The workflows that make what the input's records name, or its router accepted, in the task table's order;
        that for kinds which their task's own cannot make comes last. Of a large input its beginning tells."""
        found: set[str | None] = set()
        chinese: set[bool] = set()
        for photo in islice(self.reader.photos(ANNOTATE.name), LOOKED_AT):
            for task in (photo.task,) if photo.task else photo.routed or ():
                kind = TAXONOMY.get(task) or known_kind(task, photo.subtask)
                found.add(kind.graph if kind else None)
                if kind and kind.by_editor:
                    chinese.add(kind.rubric == "text" and _is_chinese(photo))
        editor = [CHINESE_EDITOR if chinese == {True} else EDITOR] if EDITOR in found else []
        return [name for name in GRAPHS.values() if name in found] + editor

    def plan_kinds(
        self, quotas: Quotas, seed: int, grounding: Grounding | None = None, shard: Shard | None = None
    ) -> Iterator[Planned]:
        """Samples for several kinds of edit, as quotas and each region allow; they carry the photo's other regions.

        A photo that a router has looked at gets only what it accepted.

        Args:
            quotas: of a shard its share, as `Quotas.of_shard` has it.

        Raises:
            RunError: as `plan`.
        """

        def samples(photo: Photo) -> list[Planned]:
            return self._samples_of_kinds(_grounded(photo, grounding) if grounding else photo, quotas, seed)

        found = self._each(self._photos("plan", ANNOTATE.name, False, shard), samples)
        yield from self._once(self._distinct(found, grounding, shard), shard)

    def plan_offers(self, quotas: Quotas, aim: Aim, seed: int, shard: Shard | None = None) -> Iterator[Planned]:
        """A sample for each photo, with the kinds of edit that it is offered: those furthest behind their quotas of what its
        regions allow, and a router. How many of them are written is the writer's choice.

        Args:
            aim: what the graph takes, whose writer chooses among kinds.

        Raises:
            RunError: as `plan`.
        """

        def samples(photo: Photo) -> list[Planned]:
            found = self._sampling.samples(photo, aim, "all", seed)
            return [quotas.offer(one, photo.routed) if isinstance(one, Sample) else one for one in found]

        found = self._each(self._photos("plan", ANNOTATE.name, False, shard), samples)
        yield from self._once(self._distinct(found, None, shard), shard)

    def _photos(self, use: str, task: str, edited: bool, shard: Shard | None) -> Iterator[Photo]:
        if shard is None:
            yield from self.reader.photos(task, edited)
            return
        held = self._held.pop(shard.start, None) if use == "plan" else self._held.get(shard.start)
        if held is not None:
            yield from held
            return
        cursor = self._cursor(use, shard.task, shard.edited, shard.start)
        del self._cursors[use]  # where it breaks, nobody goes on
        yield from cursor.take(shard.items)
        self._cursors[use] = cursor

    def _cursor(self, use: str, task: str, edited: bool, place: int) -> Cursor:
        """The cursor of one use, at a place in the input: shard behind shard it goes on, and begins anew to go back."""
        cursor = self._cursors.pop(use, None)
        if cursor is None or cursor.place > place:
            cursor = Cursor(partial(self.reader.photos, task, edited))
        cursor.go(place)
        self._cursors[use] = cursor
        return cursor

    def _starts(
        self, size: int, known: Sequence[KnownShard], share: tuple[int, int], keep_stale: bool, task: str, edited: bool
    ) -> list[int]:
        if share[1] > 1:
            raise RunError(
                f"--input {self._input.given}: is not what it was when this share began; shares are of one input. Use "
                "another --output, or the input as it was"
            )
        starts, gone = borders(self.reader.photos(task, edited), known, size)
        if gone > max(1, MOST_GONE * len(known)) and not keep_stale:
            raise RunError(
                f"--input {self._input.given}: the first photos of {gone} of the run's {len(known)} shards are not in it "
                "any more: is it this run's input, and whole? Use another --output for another input, or --keep-stale"
            )
        return starts

    def _once(self, found: Iterator[Planned], shard: Shard | None) -> Iterator[Planned]:
        """What comes up a second time is skipped; a shard may hold nothing, as its photos are gone."""
        with closing(_Seen()) as seen:
            for planned in found:
                if isinstance(planned, Spare):
                    yield planned
                    continue
                times = seen.add(planned.key)
                if times > 1:
                    source_id = planned.annotation.path if isinstance(planned, Sample) else planned.source_id
                    yield skipped(source_id, DUPLICATE, TWICE, f"{planned.key}#{times}")
                else:
                    yield planned
            if not seen.any and shard is None:
                raise self._empty()

    def _empty(self) -> RunError:
        return RunError(f"--input {self._input.given}: no photos in it; give one with photos (docs/inputs.md)")

    def _samples_of_kinds(self, photo: Photo, quotas: Quotas, seed: int) -> list[Planned]:
        by_region: dict[tuple[Any, ...], list[tuple[Wanted, Sample]]] = {}
        refused: list[Unusable] = []
        for one in quotas.wanted:
            if photo.routed is not None and not accepts(photo.routed, one.kind):
                continue
            # Two kinds of one task are two samples of one region.
            named = replace(photo, subtask=one.subtask, slot=one.subtask or photo.slot)
            # A page has a hundred lines of words; one of them stands for it.
            regions: Regions = "one" if one.kind.shape == "text" else "all"
            aim = Aim(one.task, frozenset(filter(None, [one.kind.second])), "names")
            for planned in self._sampling.samples(named, aim, regions, seed):
                if isinstance(planned, Unusable):
                    refused.append(planned)
                elif isinstance(planned, Sample):
                    edit = tuple(map(_told, planned.annotation.regions[: one.task.regions]))
                    by_region.setdefault(edit, []).append((one, replace(planned, task=one.task.name)))
        if not by_region:
            return [*_worst(refused)] or [
                skipped(photo.source_id, "NoKind", "its router accepted none of the kinds asked for")
            ]
        found: list[Planned] = []
        for suitable in by_region.values():
            chosen = quotas.choose([one for one, _ in suitable])
            found += [sample if one in chosen else Spare(sample.key) for one, sample in suitable]
        return found

    def read(self, file: Locator) -> bytes:
        """The bytes of a photo or reference picture. May be called by several threads; fastest in the input's order.

        Args:
            file: a sample's `file` or `reference`.

        Raises:
            PhotoError: missing or not readable; one line.
        """
        return alignment.read(file, self.reader)

    def stamp(self, pictures: Sequence[Locator]) -> str:
        """What changes when one of a sample's pictures does; reads none of them."""
        return self._sampling.stamp(pictures)

    def same(self, pictures: Sequence[Locator], before: str) -> bool:
        """Whether a sample's pictures, its photo first, hold what they did.

        Args:
            before: the `digest` of what they held.

        Raises:
            PhotoError: they cannot be read; or the photo is another, and damaged or cut off.
        """
        held = [self.read(file) for file in pictures]
        if digest(held) == before:
            return True
        photos.open_photo(held[0], photos.readable(name_of(pictures[0])))
        return False

    def suffix(self, file: Locator) -> str:
        """How a photo's file name ends, in lower case with its dot, such as `.jpg`."""
        return PurePosixPath(name_of(file)).suffix.lower()

    def fingerprint(self) -> str:
        """Text that changes with the input's files, hand labels beside them, and the planner. Cheap: no file is opened.

        Photos that an annotation or a parquet row names by path are not looked at: `names_files` says whether there may
        be some. Task, regions, seed and grounding are the caller's to add.

        Raises:
            RunError: a file is gone or cannot be looked at.
        """
        return self._input.fingerprint()

    def _distinct(
        self, found: Iterator[tuple[Photo, list[Planned]]], grounding: Grounding | None, shard: Shard | None
    ) -> Iterator[Planned]:
        """What photos give, in their order; those that repeat another are skipped."""
        for looked, repeats in self._looked(found, grounding is not None, shard):
            if repeats:
                yield skipped(looked.photo.source_id, NEAR_DUPLICATE, repeats)
            else:
                yield from looked.planned

    def _looked(
        self, found: Iterator[tuple[Photo, list[Planned]]], grounded: bool, shard: Shard | None
    ) -> Iterator[tuple[Looked, str]]:
        """Photos with what they give, each with which earlier one it repeats, where somebody looks.

        Args:
            grounded: whether those without a region get one first, so that each counts; else those do that give a sample.
        """
        looked = (
            Looked(
                photo,
                planned,
                not photo.problem and (grounded or not all(isinstance(one, Unusable) for one in planned)),
            )
            for photo, planned in found
        )
        if self.near is None:
            return ((one, "") for one in looked)
        return self.near.told(looked, shard.index if shard else 0, self.reader.read, self.reader.stamp)

    def _each(
        self, found: Iterator[Photo], samples: Callable[[Photo], list[Planned]]
    ) -> Iterator[tuple[Photo, list[Planned]]]:
        """All photos with their samples, in their order."""
        if not self.reader.distant:
            for photo in _measured(found):
                yield photo, samples(photo)
            return
        ahead: deque[tuple[Photo, Future[list[Planned]]]] = deque()
        with ThreadPoolExecutor(DISTANT_AHEAD, "read-header") as readers:
            try:
                for photo in found:
                    ahead.append((photo, readers.submit(samples, photo)))
                    if len(ahead) > DISTANT_AHEAD:
                        first, planned = ahead.popleft()
                        yield first, planned.result()
                while ahead:
                    first, planned = ahead.popleft()
                    yield first, planned.result()
            finally:
                readers.shutdown(wait=False, cancel_futures=True)


class _Seen:
    """How often each key came up, in a temporary database: exact, and flat in memory however many there are."""

    def __init__(self) -> None:
        # An unnamed database of SQLite's keeps a few pages in memory and the others in a file that goes with it.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE seen (key BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")
        self._db.execute("BEGIN")
        self.any = False

    def add(self, key: str) -> int:
        """Takes a key down; returns how often it has come up by now."""
        self.any = True
        count = "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times"
        return int(self._db.execute(count, (_packed(key),)).fetchone()[0])

    def close(self) -> None:
        self._db.close()


def _packed(key: str) -> bytes:
    """A key in half the bytes; of a turn what stands behind its dialogue's, too."""
    stem, _, turn = key.partition("~")
    return bytes.fromhex(stem) + turn.encode()


def _measured(found: Iterator[Photo]) -> Iterator[Photo]:
    """The photos, with their masks measured, those of several in one go."""
    # glibc gives freed memory back to the kernel until it has seen a large block come and go (mallopt(3), M_MMAP_THRESHOLD);
    # to get it page by page again takes twice as long as measuring.
    np.empty(KEPT, np.uint8)
    for first in found:
        if first.data is not None:  # these would all be held at the same time
            yield first
            continue
        several = [first, *islice(found, MEASURED_TOGETHER - 1)]
        regions = (region for photo in several if photo.annotation for region in photo.annotation.regions)
        rle.measure(region.mask for region in regions if region.mask)
        yield from several


def asked(aims: Sequence[Aim]) -> tuple[str, bool]:
    """Whose photos a run with these aims takes, as readers have it: of which task, and with finished edits or without."""
    task = aims[0].task.name if len(aims) == 1 else ANNOTATE.name
    return task, any("edited" in aim.seconds for aim in aims)


def _grounded(photo: Photo, grounding: Grounding) -> Photo:
    """The photo with the regions that were found in it."""
    if not photo.unmarked:
        return photo
    found = grounding.annotation(photo.source_id)
    if found is None:
        return replace(photo, ungrounded=grounding.reason(photo.source_id))
    return replace(photo, annotation=found, grounded=grounding.nothing)


def _unwanted(planned: Unusable) -> bool:
    """Whether one task cannot use it, which another can."""
    return planned.failure.skipped and planned.failure.error_type != LEFT_OUT


def _meant_for_another(planned: Planned) -> bool:
    """Whether it says no more than that another workflow is the photo's own."""
    return isinstance(planned, Unusable) and planned.failure.error_type in (OTHER_TASK, OTHER_GRAPH)


def _is_chinese(photo: Photo) -> bool:
    """Whether the write stage left a Chinese instruction."""
    writing = photo.annotation.writing if photo.annotation else None
    return isinstance(writing, dict) and writing.get("lang") == "zh"


def _told(region: Region) -> tuple[Any, ...]:
    """What tells a region from others; the annotate stage's word on tasks does not, and has no hash."""
    return tuple(value for name, value in region if name != "eligibility")


def _worst(refused: list[Unusable]) -> list[Unusable]:
    """Why a photo gives nothing, in one: what is wrong with it, or else why it is not wanted."""
    return sorted(refused, key=lambda one: one.failure.skipped)[:1]


def digest(pictures: Iterable[bytes]) -> str:
    """Hash of what a sample's pictures hold, in their order."""
    return " ".join(hashlib.sha256(data).hexdigest() for data in pictures)
