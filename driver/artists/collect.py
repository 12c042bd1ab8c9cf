"""Makes a dataset of pairs that were made by hand in ComfyUI, in the folder that `Save Edit Pair` wrote them to.

Called by `driver/collect.py`; asks no server. Finds records, sees that their pictures are whole, and leaves a run's
folder with the parts that a run has. The same command again adds what is new; what was collected stays, whatever becomes
of its files.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count
from pathlib import Path

from PIL import Image
from pydantic import ValidationError

from comfy_nodes.core.keys import file_stem, sample_key
from comfy_nodes.core.records import EditRecord, SampleFailure, SavedFile
from comfy_nodes.core.regions.annotation import Annotation
from comfy_nodes.core.verdicts.verdicts import UNVOUCHED
from comfy_nodes.core.whole_files import move_whole

from ..dataset.binding import Damaged, Foreign, Unfit, invalid, pictures
from ..dataset.ownership import JOURNAL
from ..dataset.rows import RunFacts, known_record, sample_of
from ..errors import RunError
from ..home import VERSION
from ..journal import Journal
from ..pipeline.folder import OutputFolder
from ..report.summary import Summary
from ..samples import JournalRow, Sample, Unusable

BY_HAND = "by hand"
"""What stands in the place of a workflow's name: the graphs differ from pair to pair, and their PNGs carry them."""

PIXELS = "pixels"
"""Where in the journal hashes of pixels stand by those of files, so that a pair is known when its files are gone."""

CLAIM = json.dumps([[f"pairs made {BY_HAND}", {}]])
"""What stands in the journal in the place of a graph, so that no run takes the folder for its own."""


@dataclass(frozen=True)
class Saved:
    """A record on disk."""

    path: Path
    record: EditRecord
    saved_at: float
    pair: str = ""
    """What it shows and says, as a hash: the same for pairs that are equal."""


@dataclass(frozen=True)
class Found:
    """What lies in a folder."""

    pairs: list[Saved]
    """Some may show and say the same."""
    refused: list[Unusable]
    passed: tuple[str, ...]
    """What was passed over, a line each."""


@dataclass(frozen=True)
class Collected:
    """A dataset of pairs made by hand."""

    summary: Summary
    lines: tuple[str, ...]
    """What was found, a line each."""


def collect(folder: Path, output: Path, layout: str = "hf") -> Collected:
    """Gathers all pairs below a folder.

    Args:
        folder: ComfyUI's `output/editpairs`, or any folder that pairs were moved to; subfolders count.
        output: the dataset's folder, new or left by an earlier collection.
        layout: hf, imgedit or wds.

    Raises:
        RunError: there are no pairs, or the output folder is not to be had.
    """
    found = look(folder, output)
    target = OutputFolder(output)
    try:
        if target.journal.get("graph") not in (None, CLAIM):
            raise RunError(f"--output {output}: holds the run of a workflow; choose another folder")
        known = {record.key: record for record in _known(target.journal)}
        pixels = json.loads(target.journal.get(PIXELS) or "{}")
        read, damaged = _read_pixels(found.pairs, pixels, folder)
        read = _gone_on(read, known, pixels)
        named = _named(read, {_pair(record, pixels): key for key, record in known.items()})
        kept = [one for one in named if known.get(one.record.key) != one.record]
        places = {image.sha256: one.path for one in found.pairs for image in _images(one.record)}
        bad = {one.record.key: failure for one in kept if (failure := _take(one, target, folder, places))}
        taken = [one for one in kept if one.record.key not in bad]
        records = {**known, **{one.record.key: one.record for one in taken}}
        refused = [*found.refused, *damaged, *bad.values()]
        summary = _finish(target, records, pixels, refused, layout)
        if lost := set(target.found.lost):
            again = {one.record.key: _take(one, target, folder, places) for one in named if one.record.key in lost}
            back = {key for key, failure in again.items() if failure is None}
            gone = [_lost(records[key]) for key in sorted(lost - back)]
            records = {key: record for key, record in records.items() if key not in lost or key in back}
            summary = _finish(target, records, pixels, [*refused, *gone], layout)
    finally:
        target.close()
    new = sum(one.record.key not in known for one in taken)
    lines = [f"{len(named)} pairs in {folder}: {new} new, {len(named) - len(kept)} collected before"]
    if changed := len(taken) - new:
        lines.append(f"{changed} collected before were saved again since: their new verdicts count")
    if equal := len(read) - len(named):
        lines.append(f"{equal} more were saved that show and say the same as one of these: such count once")
    if variants := len(named) - len({sample_of(one.record) for one in named}):
        lines.append(f"{variants} are variants of another, under its key with ~1, ~2, ... behind it")
    if lost:
        lines.append(
            f"{len(lost)} were collected before and are gone or changed on disk: {len(back)} of them taken again"
        )
    if summary.failed:
        lines.append(f"{summary.failed} refused: see failed.parquet")
    return Collected(summary, (*lines, *found.passed))


def look(folder: Path, output: Path) -> Found:
    """What a folder holds, before anything is written. Arguments and errors as of `collect`."""
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; name the one that Save Edit Pair writes to, output/editpairs")
    if output.resolve().is_relative_to(folder.resolve()):
        raise RunError(f"--output {output}: lies in the folder that is collected; choose one outside of it")
    found, refused, others, runs = _find(folder)
    named = ", ".join(f"{run} ({number})" for run, number in sorted(runs.items()))
    if not found and not refused:
        only = f" made by hand, only those of batch runs: {named}" if runs else ""
        raise RunError(f"{folder}: holds no pair of Save Edit Pair's{only}")
    passed = []
    if runs:
        passed.append(f"{runs.total()} pairs of {len(runs)} batch runs were passed over: {named}")
    if others:
        passed.append(f"{others} other JSON files are no edit pairs and were passed over")
    return Found(found, refused, tuple(passed))


_OF_RUN = re.compile(r"/([0-9a-f]{32})/[^/]+-\d+/[^/]+\Z")
"""How the path of a file ends that a batch run had saved: `<run id>/<key>-<submission>/<name>`."""


def _find(folder: Path) -> tuple[list[Saved], list[Unusable], int, Counter[str]]:
    """Records, what is no whole record, how many files are about something else, and how many pairs are of which batch run."""
    found, refused, others, runs = [], [], 0, Counter[str]()
    for path in sorted(folder.rglob("*.json")):
        if path.name.endswith(".records.json") or path.name.startswith("."):
            continue  # what the sink told a driver, and what it had not finished writing
        try:
            item = json.loads(path.read_bytes())
            if not (isinstance(item, dict) and {"key", "input_images", "output_images"} <= item.keys()):
                others += 1
                continue
            if of_run := _OF_RUN.search(path.resolve().as_posix()):
                runs[of_run[1]] += 1
                continue
            one = Saved(path, _vouched(EditRecord.model_validate(item)), path.stat().st_mtime)
            _bind(one)  # before the newest of a key is chosen, which another's must not be
            found.append(one)
        except Foreign as error:
            refused.append(_unusable(path, folder, "RecordForeign", str(error)))
        except ValidationError as error:
            refused.append(_unusable(path, folder, "RecordInvalid", f"{path.name}: {invalid(error)}"))
        except (OSError, ValueError, RecursionError) as error:
            refused.append(_unusable(path, folder, "RecordDamaged", f"{path.name} cannot be read ({error})"))
    for path in sorted(folder.rglob("*-edited.png")):
        record = path.with_name(f"{path.name.removesuffix('-edited.png')}.json")
        if not record.exists() and not _OF_RUN.search(path.resolve().as_posix()):
            why = f"{path.name} has no record beside it: saving broke off, or {record.name} was moved away"
            refused.append(_unusable(path, folder, "RecordMissing", why))
    return found, refused, others, runs


def _vouched(record: EditRecord) -> EditRecord:
    """The record with the verdict that a row may have; one that says nobody vouches for it was saved before pairs said so."""
    if record.verdict != "keep" or record.vouched_by:
        return record
    return record.model_copy(update={"verdict": "unscored", "reject_reason": UNVOUCHED})


def _read_pixels(found: Iterable[Saved], pixels: dict[str, str], folder: Path) -> tuple[list[Saved], list[Unusable]]:
    """Pairs with what they show and say, and those whose pictures are not what was saved.

    Args:
        pixels: hashes of pictures' pixels by the SHA-256 of their files; what is not known yet is added.
    """
    read, refused = [], []
    for one in found:
        images = _images(one.record)
        try:
            if any(image.sha256 not in pixels for image in images):
                whole = pictures(one.record, partial(_read, one.path))
                pixels |= {image.sha256: _pixels(data) for _role, _number, image, data in whole}
            read.append(replace(one, pair=_pair(one.record, pixels)))
        except Unfit as error:
            refused.append(_unusable(one.path, folder, "PairDamaged", str(error)))
    return read, refused


def _pixels(png: bytes) -> str:
    """SHA-256 of a whole PNG's pixels: the graph, which lies in its file too, differs with each Run."""
    with Image.open(io.BytesIO(png)) as opened:
        return hashlib.sha256(f"{opened.size} {opened.mode} ".encode() + opened.tobytes()).hexdigest()


def _pair(record: EditRecord, pixels: dict[str, str]) -> str:
    """What a pair shows and says. Verdict and scores may change, and how it was made may differ: it is the same pair."""
    shown = [
        [pixels.get(one.sha256, one.sha256) for one in some] for some in (record.input_images, record.output_images)
    ]
    told = [sample_of(record), record.task, record.lang, record.prompt, *shown]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _gone_on(found: Sequence[Saved], known: Mapping[str, EditRecord], pixels: dict[str, str]) -> list[Saved]:
    """Pairs, of which turns of a dialogue begin with the very file of the state that they go on from: each has been saved with a
    graph of its own in it, and the same pixels.

    Args:
        known: what was collected before, by its keys.
    """
    states: dict[tuple[str, int], list[SavedFile]] = defaultdict(list)
    for record in (*(one.record for one in found), *known.values()):
        if record.turn:
            states[record.turn.dialogue, record.turn.number].append(record.output_images[0])
            if record.turn.number == 1:
                states[record.turn.dialogue, 0].append(record.input_images[0])

    def begun(one: Saved) -> Saved:
        turn, (own, *others) = one.record.turn, one.record.input_images
        if turn is None or turn.number == 1:
            return one
        shown = pixels.get(own.sha256)
        same = (image for image in states[turn.dialogue, turn.base] if pixels.get(image.sha256) == shown)
        record = one.record.model_copy(update={"input_images": (next(same, own), *others)})
        return replace(one, record=record)

    return [begun(one) for one in found]


def _named(found: Iterable[Saved], known: dict[str, str]) -> list[Saved]:
    """Of equal pairs what was saved last, each under a key of its own, in the order in which that was.

    Whatever times and paths a folder's files have: a variant that was collected keeps its key, the others go by seed and
    content. The first has the key that it was saved under, each further one the next `~n`.

    Args:
        known: keys of what was collected before, by what it shows and says.
    """
    last: dict[str, Saved] = {}
    for one in sorted(found, key=lambda one: (one.saved_at, one.path)):
        last.pop(one.pair, None)
        last[one.pair] = one
    keys, used = dict(known), set(known.values())
    for one in sorted(last.values(), key=lambda one: (one.record.seed, one.record.key, one.pair)):
        if one.pair not in keys:
            stem = sample_of(one.record)
            candidates = chain([one.record.key], (f"{stem}~{number}" for number in count(1)))
            keys[one.pair] = next(key for key in candidates if key not in used)
            used.add(keys[one.pair])
    return [replace(one, record=one.record.model_copy(update={"key": keys[pair]})) for pair, one in last.items()]


def _take(one: Saved, target: OutputFolder, folder: Path, places: Mapping[str, Path]) -> Unusable | None:
    """Brings a pair's pictures into the spool, or says why not.

    Args:
        places: records that have a picture beside them, by its SHA-256.
    """
    record = one.record
    try:
        found = list(pictures(record, lambda image: _read(_beside(one, image, places), image)))
    except Unfit as error:
        return _unusable(one.path, folder, "PairDamaged", str(error))
    for role, number, _image, data in found:
        target.spool.put(record.key, role, number, data)
    return None


def _bind(one: Saved) -> None:
    """
    Raises:
        Foreign: its pictures are another key's: Save Edit Pair names them after it.
    """
    prefix = re.compile(rf"{file_stem(one.record.key)}-[0-9a-f]{{12}}[-.]")
    for image in _images(one.record):
        if not prefix.match(image.filename):
            raise Foreign(f"{one.path.name} says that its key is {one.record.key}, and {image.filename} is another's")


def _images(record: EditRecord) -> tuple[SavedFile, ...]:
    return record.input_images + record.output_images


def _beside(one: Saved, image: SavedFile, places: Mapping[str, Path]) -> Path:
    """The record that a pair's picture lies beside: its own, or that of the turn which left it."""
    here = one.path.with_name(image.filename).exists()
    return one.path if here else places.get(image.sha256, one.path)


def _read(record: Path, image: SavedFile) -> bytes:
    """A picture's bytes, from beside its record."""
    path = record.with_name(image.filename)
    try:
        return path.read_bytes()
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read ({error.strerror})") from None


def _finish(
    target: OutputFolder,
    records: dict[str, EditRecord],
    pixels: dict[str, str],
    refused: list[Unusable],
    layout: str,
) -> Summary:
    files = {one.sha256 for record in records.values() for one in _images(record)}
    _write_journal(target, records.values(), {file: one for file, one in pixels.items() if file in files}, refused)
    tasks = ", ".join(sorted({record.task for record in records.values()})) or BY_HAND
    return target.finish(RunFacts(BY_HAND, "", "", "custom"), tasks, _environment(), layout)


def _lost(record: EditRecord) -> Unusable:
    why = "its pictures are gone from this folder and from the one that is collected: bring them back to the latter"
    return Unusable(record.key, record.source_id, SampleFailure("input", "PicturesLost", why))


def _known(journal: Journal) -> Iterator[EditRecord]:
    """What earlier collections left."""
    for text in journal.records_as_made():
        yield _vouched(known_record(text))


def _write_journal(
    target: OutputFolder, records: Iterable[EditRecord], pixels: dict[str, str], refused: list[Unusable]
) -> None:
    """Puts a journal of all records in the place of the folder's, whole or not at all."""
    fresh = target.work / "collected.sqlite"
    fresh.unlink(missing_ok=True)
    journal = Journal(fresh)
    every = list(records)
    journal.enrol([*(_sample(record) for record in every), *refused], None)
    for record in every:
        journal.done(record.key, [JournalRow(record.key, record.verdict, record.model_dump_json())], 0.0)
    values = {"graph": CLAIM, "seed": "0", "run_id": target.journal.get("run_id") or uuid.uuid4().hex}
    values[PIXELS] = json.dumps(pixels)
    for name, value in values.items():
        journal.set(name, value)
    journal.close()
    target.journal.close()
    move_whole(fresh, target.path / JOURNAL)
    target.journal = Journal(target.path / JOURNAL)


def _sample(record: EditRecord) -> Sample:
    annotation = Annotation(
        path=record.source_id,
        size=(record.width, record.height),
        regions=(),
        source_licence=record.source_licence,
        source_url=record.source_url,
    )
    return Sample(record.key, record.input_images[0].filename, annotation, record.prompt, task=record.task)


def _unusable(path: Path, folder: Path, error_type: str, message: str) -> Unusable:
    name = path.relative_to(folder).as_posix()
    return Unusable(sample_key(name, None, "collect"), name, SampleFailure("input", error_type, message))


def _environment() -> dict[str, str]:
    return {
        "editpairs": VERSION,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "workflow": BY_HAND,
    }
