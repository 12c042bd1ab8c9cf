"""`--collect`: makes a dataset of pairs that were made by hand in ComfyUI, in the folder that `Save Edit Pair` wrote them to.

Called by the command; asks no server. Finds records, sees that their pictures are whole, and leaves a run's folder with
the parts that a run has. The same command again adds what is new; what was collected stays, whatever becomes of its files.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from pydantic import ValidationError

from comfy_nodes.core.annotation import Annotation
from comfy_nodes.core.keys import sample_key
from comfy_nodes.core.records import EditRecord, SampleFailure, SavedFile

from .columns import RunFacts
from .failures import RunError
from .harvest import Row
from .journal import Journal
from .output import OutputFolder
from .ownership import JOURNAL
from .report import Summary
from .sources import Sample, Unusable
from .version import VERSION

BY_HAND = "by hand"
"""What stands in the place of a workflow's name: the graphs differ from pair to pair, and their PNGs carry them."""

CLAIM = json.dumps([[f"pairs made {BY_HAND}", {}]])
"""What stands in the journal in the place of a graph, so that no run takes the folder for its own."""


class Damaged(Exception):
    """A pair that cannot be used; its words say why."""


@dataclass(frozen=True)
class Saved:
    """A record on disk."""

    path: Path
    record: EditRecord
    saved_at: float


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
    if not folder.is_dir():
        raise RunError(
            f"--collect {folder}: no such folder; name the one that Save Edit Pair writes to, output/editpairs"
        )
    if output.resolve().is_relative_to(folder.resolve()):
        raise RunError(f"--output {output}: lies in the folder that is collected; choose one outside of it")
    found, refused, others = _find(folder)
    if not found and not refused:
        raise RunError(f"--collect {folder}: holds no pair of Save Edit Pair's")
    newest = _newest(found)
    target = OutputFolder(output)
    try:
        if target.journal.get("graph") not in (None, CLAIM):
            raise RunError(f"--output {output}: holds the run of a workflow; choose another folder")
        known = {record.key: record for record in _known(target.journal)}
        kept = [one for one in newest if known.get(one.record.key) != one.record]
        bad = {one.record.key: failure for one in kept if (failure := _take(one, target, folder))}
        taken = [one for one in kept if one.record.key not in bad]
        records = {**known, **{one.record.key: one.record for one in taken}}
        _write_journal(target, records.values(), [*refused, *bad.values()])
        tasks = ", ".join(sorted({record.task for record in records.values()})) or BY_HAND
        facts = RunFacts(BY_HAND, "", "", "custom")
        summary = target.finish(facts, tasks, _environment(), layout)
    finally:
        target.close()
    lines = [f"{len(newest)} pairs in {folder}: {len(taken)} new, {len(newest) - len(kept)} collected before"]
    if len(found) > len(newest):
        lines.append(f"{len(found) - len(newest)} were saved again later under the same key: the newest counts")
    if summary.failed:
        lines.append(f"{summary.failed} refused: see failed.parquet")
    if others:
        lines.append(f"{others} other JSON files are no edit pairs and were passed over")
    return Collected(summary, tuple(lines))


def _find(folder: Path) -> tuple[list[Saved], list[Unusable], int]:
    """Records, what is no whole record, and how many files are about something else."""
    found, refused, others = [], [], 0
    for path in sorted(folder.rglob("*.json")):
        if path.name.endswith(".records.json") or path.name.startswith("."):
            continue  # what the sink told a driver, and what it had not finished writing
        try:
            item = json.loads(path.read_bytes())
            if not (isinstance(item, dict) and {"key", "input_images", "output_images"} <= item.keys()):
                others += 1
                continue
            found.append(Saved(path, EditRecord.model_validate(item), path.stat().st_mtime))
        except ValidationError as error:
            first = error.errors()[0]
            why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            refused.append(
                _unusable(path, folder, "RecordInvalid", f"{path.name} is no record of this version ({why})")
            )
        except (OSError, ValueError) as error:
            refused.append(_unusable(path, folder, "RecordDamaged", f"{path.name} cannot be read ({error})"))
    for path in sorted(folder.rglob("*-edited.png")):
        record = path.with_name(f"{path.name.removesuffix('-edited.png')}.json")
        if not record.exists():
            why = f"{path.name} has no record beside it: saving broke off, or {record.name} was moved away"
            refused.append(_unusable(path, folder, "RecordMissing", why))
    return found, refused, others


def _newest(found: Iterable[Saved]) -> list[Saved]:
    """Of each key what was saved last, in the order in which that was."""
    last: dict[str, Saved] = {}
    for one in sorted(found, key=lambda one: (one.saved_at, one.path)):
        last.pop(one.record.key, None)
        last[one.record.key] = one
    return list(last.values())


def _take(one: Saved, target: OutputFolder, folder: Path) -> Unusable | None:
    """Brings a pair's pictures into the spool, or says why not."""
    record = one.record
    try:
        before = [_picture(one.path, image) for image in record.input_images]
        after = [_picture(one.path, image) for image in record.output_images]
        if not before or not after:
            raise Damaged(f"{one.path.name} names no picture before, or none after the edit")
        for data in (before[0], *after):
            if (size := _size(data)) != (record.width, record.height):
                raise Damaged(
                    f"{one.path.name} says {record.width} x {record.height}, its picture is {size[0]} x {size[1]}: "
                    "before and after need one size"
                )
    except Damaged as error:
        return _unusable(one.path, folder, "PairDamaged", str(error))
    for role, images in (("input", before), ("output", after)):
        for number, data in enumerate(images):
            target.spool.put(record.key, role, number, data)
    return None


def _picture(record: Path, image: SavedFile) -> bytes:
    """A picture's bytes, from beside its record, as they were saved."""
    path = record.with_name(Path(image.filename).name)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read ({error.strerror})") from None
    if hashlib.sha256(data).hexdigest() != image.sha256:
        raise Damaged(f"{path.name} is not what was saved: its hash is another")
    return data


def _size(data: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.verify()
            return opened.size
    except (OSError, ValueError, SyntaxError) as error:
        raise Damaged(f"a picture is no whole PNG ({error})") from None


def _known(journal: Journal) -> Iterator[EditRecord]:
    """What earlier collections left."""
    for kept in (True, False):
        for text, _ in journal.records(kept):
            yield EditRecord.model_validate_json(text)


def _write_journal(target: OutputFolder, records: Iterable[EditRecord], refused: list[Unusable]) -> None:
    """Puts a journal of all records in the place of the folder's, whole or not at all."""
    fresh = target.work / "collected.sqlite"
    fresh.unlink(missing_ok=True)
    journal = Journal(fresh)
    every = list(records)
    journal.enrol([*(_sample(record) for record in every), *refused], None)
    for record in every:
        journal.done(record.key, [Row(record.key, record.verdict, record.model_dump_json())], 0.0)
    values = {"graph": CLAIM, "seed": "0", "run_id": target.journal.get("run_id") or uuid.uuid4().hex}
    for name, value in values.items():
        journal.set(name, value)
    journal.close()
    target.journal.close()
    fresh.replace(target.path / JOURNAL)
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
