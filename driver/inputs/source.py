"""Where samples come from: an input of any kind, turned into samples in a fixed order, or into failures with a reason.

Nothing is passed over without a word. What a kind of input looks like is the business of its reader, a module each; here
photos meet the task. Reads headers only; pixels are read when their turn comes, through `Source.read`.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from comfy_nodes.core import photos
from comfy_nodes.core.instructions.scenes import ROUTED
from comfy_nodes.core.keys import sample_key
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import SampleFailure
from comfy_nodes.core.regions.annotation import Annotation, AnnotationError, Region
from comfy_nodes.core.tasks import ANNOTATE, INSTRUCT, TASKS, Task
from comfy_nodes.core.taxonomy import EDITOR, GRAPHS, known_kind

from ..errors import RunError
from ..home import ROOT
from ..places import Locator, name_of
from ..samples import SECONDS, Aim, Grounding, Planned, Sample, Spare, Unusable, unusable
from . import alignment
from .annotation import AnnotationReader
from .find import Input, find_input
from .folder import FolderReader
from .parquet import ParquetReader
from .photo import Photo, Reader
from .quotas import Quotas, Wanted
from .row_labels import RowLabels
from .storage import LocalStorage
from .tar import WebdatasetReader

BUNDLED = ROOT / "samples" / "annotation.jsonl"

DISTANT_AHEAD = 32
"""How many photos behind URLs are looked at at the same time; their answers take tens of milliseconds each. Ours."""

Regions = Literal["all", "one"]


class Source:
    """An input of the driver."""

    def __init__(self, path: str | Path, image_root: str | Path | None = None):
        """
        Args:
            path: path or URL of a folder, of a file, or a pattern of files; docs/inputs.md lists what is read.
            image_root: path or URL of the folder that paths in the input are relative to; its own folder if None.

        Raises:
            RunError: missing, of an unknown kind, of several kinds, or behind a URL that cannot be reached.
        """
        self._input = find_input(path, image_root)
        self._reader = _reader(self._input)
        self._labels = RowLabels(self._input)

    def refuse_output(self, output: Path) -> None:
        """
        Raises:
            RunError: a run that writes there would find its own files in this input the next time.
        """
        self._input.refuse_output(output)

    @property
    def root(self) -> Path | None:
        """The folder that locators are paths below, where photos are files of this machine; else None."""
        files = isinstance(self._reader, (FolderReader, AnnotationReader))
        return self._input.photos.folder if files and isinstance(self._input.photos, LocalStorage) else None

    @property
    def names_files(self) -> bool:
        """Whether its photos are files of this machine beside those that it consists of."""
        return self._input.kind in ("json", "parquet") and not self._input.photos.remote

    def unmarked(self) -> Iterator[Planned]:
        """Photos that nobody marked a region in, as samples of the annotate stage. Files for a task have theirs."""
        unmarked = (photo for photo in self._reader.photos(ANNOTATE.name) if photo.unmarked)
        yield from self._each(unmarked, lambda photo: self._samples(photo, Aim(ANNOTATE), "all", 0))

    def plan(
        self, aims: Sequence[Aim], regions: Regions, seed: int, grounding: Grounding | None = None
    ) -> Iterator[Planned]:
        """Samples in the input's order; a folder's is by name. Memory does not grow with their number.

        Args:
            aims: what the run's graphs take. Of several, each that a photo suits gives samples, and only a photo that
                suits none is a failure.
            regions: `all`, a sample for each eligible region; `one`, one picked by the seed.
            seed: for picking.
            grounding: what the annotate stage found in photos without a region.

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
            found = [one for aim in aims for one in self._samples(grounded, aim, regions, seed)]
            if len(aims) == 1:
                return found
            # What one task cannot use is of no interest where another can; what is wrong with the photo is.
            kept = {one.key: one for one in found if not (isinstance(one, Unusable) and one.failure.skipped)}
            return list(kept.values()) or found[:1]

        named = aims[0].task.name if len(aims) == 1 else ANNOTATE.name
        edited = any("edited" in aim.seconds for aim in aims)
        found = self._reader.photos(named, edited)
        yield from self._once(self._each(map(self._labels.on, found) if edited else found, samples))

    def labels(self, aims: Sequence[Aim]) -> str:
        """What to say of hand labels that count where rows are judged again; empty where none do.

        Raises:
            RunError: they cannot be read.
        """
        return self._labels.line() if any("edited" in aim.seconds for aim in aims) else ""

    def graphs(self) -> list[str]:
        """The workflows that make what the input's records name, or its router accepted, in the task table's order;
        that for kinds which their task's own cannot make comes last."""
        found: set[str | None] = set()
        for photo in self._reader.photos(ANNOTATE.name):
            for task in photo.routed or ((photo.task,) if photo.task else ()):
                kind = known_kind(task, photo.subtask)
                found.add(kind.graph if kind else None)
        return [name for name in (*GRAPHS.values(), EDITOR) if name in found]

    def plan_kinds(self, quotas: Quotas, seed: int, grounding: Grounding | None = None) -> Iterator[Planned]:
        """Samples for several kinds of edit, as quotas and each region allow; they carry the photo's other regions.

        A photo that a router has looked at gets only what it accepted.

        Raises:
            RunError: as `plan`.
        """

        def samples(photo: Photo) -> list[Planned]:
            return self._samples_of_kinds(_grounded(photo, grounding) if grounding else photo, quotas, seed)

        yield from self._once(self._each(self._reader.photos(ANNOTATE.name), samples))

    def _once(self, found: Iterator[Planned]) -> Iterator[Planned]:
        """What comes up a second time is skipped."""
        with closing(_Seen()) as seen:
            for planned in found:
                if isinstance(planned, Spare):
                    yield planned
                    continue
                times = seen.add(planned.key)
                if times > 1:
                    source_id = planned.annotation.path if isinstance(planned, Sample) else planned.source_id
                    why = "the same photo and region stand in the input twice; only the first is edited"
                    yield _skipped(source_id, "DuplicateSample", why, f"{planned.key}#{times}")
                else:
                    yield planned
            if not seen.any:
                raise RunError(f"--input {self._input.given}: no photos in it; give one with photos (docs/inputs.md)")

    def _samples_of_kinds(self, photo: Photo, quotas: Quotas, seed: int) -> list[Planned]:
        by_region: dict[tuple[Region, ...], list[tuple[Wanted, Sample]]] = {}
        refused: list[Unusable] = []
        for one in quotas.wanted:
            if photo.routed is not None and one.task.name not in photo.routed:
                continue
            # Two kinds of one task are two samples of one region.
            named = replace(photo, subtask=one.subtask, slot=one.subtask or photo.slot)
            for planned in self._samples(named, Aim(one.task, context="names"), "all", seed):
                if isinstance(planned, Unusable):
                    refused.append(planned)
                elif isinstance(planned, Sample):
                    edit = planned.annotation.regions[: one.task.regions]
                    by_region.setdefault(edit, []).append((one, replace(planned, task=one.task.name)))
        if not by_region:
            return [*_worst(refused)] or [
                _skipped(photo.source_id, "NoKind", "its router accepted none of the kinds asked for")
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
        return alignment.read(file, self._reader)

    def stamp(self, pictures: Sequence[Locator]) -> str:
        """What changes when one of these pictures does, or the file that it lies in: size and time, or what a store has.
        Reads none of them.

        Args:
            pictures: a sample's.
        """
        return "\n".join(map(self._stamp, pictures))

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
        return self._input.fingerprint() + self._labels.stamp()

    def _each(self, found: Iterator[Photo], samples: Callable[[Photo], list[Planned]]) -> Iterator[Planned]:
        """The samples of all photos, in their order."""
        if not self._reader.distant:
            for photo in found:
                yield from samples(photo)
            return
        ahead: deque[Future[list[Planned]]] = deque()
        with ThreadPoolExecutor(DISTANT_AHEAD, "read-header") as readers:
            try:
                for photo in found:
                    ahead.append(readers.submit(samples, photo))
                    if len(ahead) > DISTANT_AHEAD:
                        yield from ahead.popleft().result()
                while ahead:
                    yield from ahead.popleft().result()
            finally:
                readers.shutdown(wait=False, cancel_futures=True)

    def _samples(self, photo: Photo, aim: Aim, regions: Regions, seed: int) -> list[Planned]:
        task = aim.task
        if refused := _refused(photo, aim):
            return [_skipped(photo.source_id, *refused)]
        photo = replace(
            photo,
            frame2=photo.frame2 if "frame2" in aim.seconds else "",
            edited=photo.edited if "edited" in aim.seconds else "",
        )
        try:
            if photo.problem:
                raise AnnotationError(photo.problem)
            # What the graph does not take is not looked at.
            annotation = alignment.aligned(photo, self._reader, aim.seconds)
        except (PhotoError, AnnotationError) as error:
            failure = SampleFailure("input", type(error).__name__, str(error))
            return [replace(unusable(photo.source_id, failure), unread=self._unread(photo))]
        told = False
        if aim.words is not None and not (_words(photo, task) or annotation.writing):
            if not aim.words:
                return [unusable(photo.source_id, SampleFailure("input", "NoWords", NO_WORDS))]
            photo, told = replace(photo, instruction=aim.words, words_for=""), True
        taken = [getattr(photo, role) for role in SECONDS if role in aim.seconds]
        pictures = (photo.file, *filter(None, taken))
        stamp = self.stamp(pictures)
        if task.region in ("none", "any"):
            edit = _meant(annotation, photo.task) if task.region == "any" else ()
            others = _others(annotation, edit, aim)
            # Two rows of one dataset may have one id, where each is an edit of one photo.
            source = str(photo.file) if "edited" in aim.seconds else photo.source_id
            key = sample_key(source, None, task.name, photo.slot)
            return [
                replace(
                    _sample(photo, key, annotation, edit, others, task),
                    pictures=pictures,
                    stamp=stamp,
                    words_of_graph=told,
                )
            ]
        eligible, reasons = alignment.edits(annotation, task, bool(photo.task))
        if not eligible:
            return [self._no_region(photo, reasons, bool(annotation.refusals))]
        planned: list[Planned] = [
            unusable(photo.source_id, SampleFailure("input", "AnnotationError", reason), f"{photo.source_id}#{reason}")
            for reason in annotation.refusals
        ]
        picked = random.Random(f"{seed}/{photo.source_id}").choice(eligible) if regions == "one" else None
        for edit in eligible:
            key = photo.source_id
            for region in edit:
                key = sample_key(key, region, task.name, photo.slot)
            if picked in (None, edit):
                found = _sample(photo, key, annotation, edit, _others(annotation, edit, aim), task)
                planned.append(replace(found, pictures=pictures, stamp=stamp, words_of_graph=told))
            else:
                planned.append(Spare(key))
        return planned

    def _no_region(self, photo: Photo, reasons: list[str], damaged: bool) -> Unusable:
        """
        Args:
            damaged: whether one of the reasons is that a region is none.
        """
        if reasons:
            why = "no usable region: " + "; ".join(reasons)
            return unusable(photo.source_id, SampleFailure("input", "NoRegion", why, skipped=not damaged))
        found = photo.ungrounded or ("the annotate stage found nothing" if photo.grounded else "")
        why = f"the photo has no region{'; ' if found else ''}{found}: {self._reader.remedy(photo)}"
        if photo.ungrounded:
            return replace(unusable(photo.source_id, SampleFailure("annotate", "NotAnnotated", why)), unread="photo")
        return _skipped(photo.source_id, "NoRegion", why)

    def _unread(self, photo: Photo) -> Literal["", "photo", "rest"]:
        """What nobody could look at, of a photo that cannot be used. One that is not there is known to be gone, and what
        was read beside it and cannot be used is known to be another."""
        if not photo.file:
            return "rest"
        if photo.unread:
            return "photo"
        try:
            self._reader.stamp(photo.file)
            alignment.header_of(photo, self._reader)
            for beside in (photo.mask, photo.reference, photo.frame2, photo.edited):
                if beside:
                    with self._reader.open(beside) as opened:
                        opened.read(1)
        except FileNotFoundError:
            return ""
        except (OSError, PhotoError):
            return "photo"
        return ""

    def _stamp(self, file: Locator) -> str:
        try:
            return self._reader.stamp(file)
        except OSError:
            return "not there"


def _refused(photo: Photo, aim: Aim) -> tuple[str, str] | None:
    """Why a photo's author did not mean it for this, as an error type and a message; None where nothing speaks against it."""
    task = aim.task
    if not task.open and photo.task not in ("", task.name) and task != ANNOTATE:
        why = f"its task file is for {photo.task}, and the workflow makes {task.name}; run a workflow for {photo.task}"
        return "OtherTask", why
    if photo.routed is not None and task.name in ROUTED and task.name not in photo.routed:
        return "NotRouted", f"its router did not accept {task.name}; the annotation's routes say why"
    if photo.problem:
        return None
    if aim.rest and not photo.task:
        return "OtherTask", f"it names no task, and beside other workflows {task.name} makes what those cannot"
    kind = known_kind(photo.task, photo.subtask)
    if kind and kind.unlike and aim.ours and kind.task == task.name:
        return "OtherGraph", f"{kind.id}: {kind.unlike}; run --workflow {EDITOR}, or auto"
    if kind and not kind.unlike and kind.task in aim.rest:
        return "OtherGraph", f"{kind.id} has its own workflow in this run"
    if kind and task == INSTRUCT:
        if TASKS[photo.task].turns > 1:
            return (
                "SeveralTurns",
                f"{photo.task} is an edit of several turns, and the workflow makes one picture of each",
            )
        if photo.task == "visual" and "reference" not in aim.seconds:
            return (
                "NoReference",
                "its new object is shown by a reference picture, which the workflow's editor does not see; run --workflow visual",
            )
    for role in sorted(aim.seconds):
        if not getattr(photo, role):
            return "NoSecondImage", f"the photo has no {_CALLED[role]} (docs/inputs.md says how to give one)"
    return None


def _meant(annotation: Annotation, task: str) -> tuple[Region, ...]:
    """The regions that an edit of any task is about: as many as its own task has. Of one without a task the only region,
    since of several nobody says which it is."""
    if task in TASKS:
        return annotation.regions[: TASKS[task].regions]
    return annotation.regions if len(annotation.regions) == 1 else ()


def _others(annotation: Annotation, edit: tuple[Region, ...], aim: Aim) -> tuple[Region, ...]:
    """What a sample carries of the regions that it does not edit."""
    if aim.context == "none":
        return ()
    found = tuple(one for one in annotation.regions if one not in edit)
    return found if aim.context == "masks" else tuple(one.model_copy(update={"mask": None}) for one in found)


def _words(photo: Photo, task: Task) -> str:
    """The instruction that a photo brings for a task; "" where it brings none."""
    return photo.instruction if photo.words_for in ("", task.name) or task.open else ""


NO_WORDS = (
    "the photo brings no words, and the workflow has none for it: write the instruction into a NAME.txt beside it, or into "
    "Load Edit Sample for all such photos"
)

_CALLED = {"frame2": "second frame", "edited": "picture after the edit", "reference": "reference picture"}


def _sample(
    photo: Photo,
    key: str,
    annotation: Annotation,
    edit: tuple[Region, ...],
    others: tuple[Region, ...],
    task: Task,
) -> Sample:
    return Sample(
        key=key,
        file=photo.file,
        annotation=replace(annotation, regions=edit + others, refusals=()),
        instruction=_words(photo, task),
        reference=photo.reference,
        frame2=photo.frame2,
        edited=photo.edited,
        task=task.name,
        own_task=(photo.task or INSTRUCT.name) if task.open else "",
        subtask=photo.subtask,
        slot=photo.slot,
    )


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
        return int(self._db.execute(count, (bytes.fromhex(key),)).fetchone()[0])

    def close(self) -> None:
        self._db.close()


def _reader(given: Input) -> Reader:
    if given.kind == "photos":
        return FolderReader(given.storage)
    kinds: dict[str, Callable[[Input], Reader]] = {
        "json": AnnotationReader,
        "parquet": ParquetReader,
        "tar": WebdatasetReader,
    }
    return kinds[given.kind](given)


def _grounded(photo: Photo, grounding: Grounding) -> Photo:
    """The photo with the regions that were found in it."""
    if not photo.unmarked:
        return photo
    found = grounding.annotation(photo.source_id)
    if found is None:
        return replace(photo, ungrounded=grounding.reason(photo.source_id))
    return replace(photo, annotation=found, grounded=True)


def _skipped(source_id: str, error_type: str, message: str, key_of: str | None = None) -> Unusable:
    """What the task cannot use, though nothing is wrong with it."""
    return unusable(source_id, SampleFailure("input", error_type, message, skipped=True), key_of)


def _worst(refused: list[Unusable]) -> list[Unusable]:
    """Why a photo gives nothing, in one: what is wrong with it, or else why it is not wanted."""
    return sorted(refused, key=lambda one: one.failure.skipped)[:1]


def digest(pictures: Iterable[bytes]) -> str:
    """Hash of what a sample's pictures hold, in their order."""
    return " ".join(hashlib.sha256(data).hexdigest() for data in pictures)
