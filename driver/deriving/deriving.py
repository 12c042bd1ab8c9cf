"""A derivation from its start to its end: photo by photo, each draft looked at and written."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from comfy_nodes.core.instructions import inverting, rewording
from comfy_nodes.core.records import Score
from comfy_nodes.core.verdicts.verdicts import Scores

from ..bounded_json import loads
from ..dataset.dataset import dataset_digest, finished_parts, part_facts
from ..dataset.ownership import JOURNAL, refuse_links
from ..errors import RunError
from ..home import VERSION
from ..releases.index import SUMMARY
from ..releases.manifest import MANIFEST as RELEASE
from ..report.summary import Summary
from ..stopping import StopRequest
from .drafts import Asked, Draft, Drafts, LeftOut
from .journals import Journals
from .outcome import Done
from .photos import Photo, Photos
from .records import original_of, pair_of
from .telling import Told
from .vouching import verdict_of
from .writing import DERIVED, Claim, Folder, Writers, check_folder, leave_out

INSIDE = "derived"
"""The one folder in a run's own that may hold what is derived from it: a recipe's."""


@dataclass(frozen=True)
class DeriveOptions:
    """What a derivation is asked for."""

    run: Path
    output: Path
    asked: Asked
    originals: bool = False
    layout: str = ""
    """Empty for the run's own."""


def derive(options: DeriveOptions, dry_run: bool = False, stop: StopRequest | None = None) -> Done:
    """Makes the rows, or sees that they are there.

    Args:
        dry_run: looks at everything, counts what would be derived, and writes nothing.
        stop: looked at between photos, where no signal breaks in.

    Raises:
        RunError: the run is not finished or has nothing to derive from, the folder holds something else, or the disk is full.
    """
    check_place(options)
    run, claim = options.run, _claim(options)
    there = check_folder(options.output, claim)
    photos = Photos(run)
    done = Done(photos.rows, photos.photos, there)
    if there:
        return done
    if dry_run:
        with TemporaryDirectory(prefix="editpairs-") as scratch, closing(Journals()) as journals:
            for photo in photos.read(Path(scratch)):
                for draft, found, _ in _judged(photo, journals, options.asked, done, None):
                    done.kinds[draft.kind][found.verdict] += 1
        return done
    with closing(Folder(options.output, claim)) as folder:
        shutil.rmtree(folder.scratch, ignore_errors=True)
        folder.scratch.mkdir()
        left_out = folder.scratch / "left_out.jsonl"
        started = time.monotonic()
        with (
            folder.writing() as writers,
            closing(Journals()) as journals,
            left_out.open("w", encoding="utf-8") as notes,
        ):
            for photo in photos.read(folder.scratch / "pictures"):
                if stop and stop.level:
                    raise KeyboardInterrupt
                _write(photo, journals, options, writers, done, notes)
        if dataset_digest(run) != claim.dataset:
            raise RunError(f"{run}: its rows changed meanwhile; run the same command again when its run is done", 1)
        folder.conclude(_summary(options, done, time.monotonic() - started), left_out, _environment(run))
    return done


def check_place(options: DeriveOptions) -> None:
    """
    Raises:
        RunError: a folder is none of ours to read or to write to.
    """
    run, output = options.run, options.output
    if (run / DERIVED).exists():
        raise RunError(f"{run}: its rows are derived themselves; name the run that they were derived from")
    if not (run / JOURNAL).exists() and (run / RELEASE).exists():
        raise RunError(f"{run}: is a release; derive from the run that it was made of, and release both together")
    within = output.resolve().is_relative_to(run.resolve()) and output.resolve() != run.resolve() / INSIDE
    if within or run.resolve().is_relative_to(output.resolve()):
        raise RunError(
            f"--output {output}: is, or lies in, the run's folder, or the run in it; choose a folder beside it"
        )
    if (run / SUMMARY).exists() and (waiting := _told(run / SUMMARY).get("pending")):
        raise RunError(
            f"{run}: {waiting} of its samples are not done yet; run the command that makes it again, until all are"
        )
    if output.exists() and not output.is_dir():
        raise RunError(f"--output {output}: is no folder")
    if output.is_dir():
        refuse_links(output)


def _claim(options: DeriveOptions) -> Claim:
    asked = options.asked
    facts = part_facts(finished_parts(options.run)[0])
    return Claim(
        dataset=dataset_digest(options.run),
        kinds=asked.kinds,
        languages=asked.languages,
        siblings=asked.siblings,
        originals=options.originals,
        layout=options.layout or facts.layout,
    )


def _judged(
    photo: Photo, journals: Journals, asked: Asked, done: Done, notes: TextIO | None
) -> Iterator[tuple[Draft, Scores, tuple[Score, ...]]]:
    """A photo's drafts with what pixels say of them; what cannot be derived is counted."""
    told = Told(photo, journals.known(photo.rows))
    for one in Drafts(photo, told, asked).made():
        if isinstance(one, LeftOut):
            done.left_out[one.kind, one.reason] += 1
            if notes:
                leave_out(notes, one)
        else:
            found, scores = verdict_of(one, photo.pictures)
            if found.reason:
                done.reasons[re.split(r"[:(]", found.reason)[0].strip()] += 1
            yield one, found, scores


def _write(
    photo: Photo, journals: Journals, options: DeriveOptions, writers: Writers, done: Done, notes: TextIO
) -> None:
    if options.originals:
        for row in photo.rows:
            writers.add(original_of(row, photo.pictures, photo.key), "keep")
    for draft, found, scores in _judged(photo, journals, options.asked, done, notes):
        done.kinds[draft.kind][found.verdict] += 1
        writers.add(pair_of(draft, found, scores, photo.pictures, photo.key), found.verdict)


def _summary(options: DeriveOptions, done: Done, seconds: float) -> Summary:
    """The figures as a run has them. What could not be derived stands where a run has samples that it could not use."""
    run = _told(options.run / SUMMARY)
    counts = {verdict: done.count(verdict) for verdict in ("keep", "reject", "unscored")}
    counts["keep"] += done.rows if options.originals else 0
    made, skipped = sum(counts.values()), done.left_out.total()
    return Summary(
        workflow=str(run.get("workflow") or ""),
        profile=str(run.get("profile") or ""),
        task=f"derived from {run.get('task') or 'edits'}",
        samples=made + skipped,
        kept=counts["keep"],
        rejected=counts["reject"],
        unscored=counts["unscored"],
        failed=0,
        pending=0,
        failures={},
        reasons=dict(done.reasons.most_common()),
        seconds=round(seconds, 2),
        samples_per_second=round(made / seconds, 3) if seconds else 0.0,
        skipped=skipped,
        skips={f"{kind}: {reason}": number for (kind, reason), number in done.left_out.most_common()},
    )


def _environment(run: Path) -> dict[str, Any]:
    """What made the run's pictures, and what derived from them."""
    sentences = f"inverting {inverting.VERSION}, rewording {rewording.VERSION}"
    return _told(run / "environment.json") | {"derived_with": f"EditPairs {VERSION}, {sentences}"}


def _told(path: Path) -> dict[str, Any]:
    """
    Raises:
        RunError: a file that every finish leaves is missing or damaged.
    """
    try:
        told = loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        told = None
    if not isinstance(told, dict):
        raise RunError(f"{path}: is missing or damaged; run the command that made it again: it writes it anew")
    return told
