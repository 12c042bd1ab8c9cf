"""What will be in a release, decided before anything is written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from comfy_nodes.core.verdicts.verdicts import BY_HAND, DIVIDED, majority
from comfy_nodes.core.weights.records import Policy

from ..errors import RunError
from ..labels.labels import Labels
from .benchmarks import NEAR, Benchmarks
from .choice import choose
from .dialogues import Dialogues
from .difference import Difference, counted
from .index import Index, Note, look_through
from .manifest import MANIFEST, Version, content_of
from .photos import Photos, splits
from .shelf import Earlier, Place, check_folder
from .tables import Released
from .takedown import TakenDown, read_list_file

TWICE = "its key stands in several folders, of which the first counts"


@dataclass(frozen=True)
class ReleaseOptions:
    """What a release is asked for."""

    outputs: tuple[Path, ...]
    """Finished runs' folders; of rows with one key the first counts."""
    output: Path
    """The folder here that releases stand in, or are built in for a store."""
    publish_to: str | None = None
    """The place in a store that they stand in."""
    version: Version | None = None
    """None for the next one."""
    since: str | None = None
    """The release before; None for the newest that stands there."""
    split: tuple[float, ...] = (98, 1, 1)
    """Shares of train, validation and test, as far as given."""
    licence_policy: Policy = "any"
    quotas: Mapping[str, int] = field(default_factory=dict)
    max_per_source: int | None = None
    near: int | None = None
    """In how many of 64 bits perceptual hashes of one photo may differ; None: only equal photos are one, and `NEAR` against
    benchmarks."""
    seed: int = 0
    against: tuple[Path, ...] = ()
    """Folders of benchmarks."""
    without: Path | None = None
    """A takedown list."""


@dataclass(frozen=True)
class Rows:
    """Which rows of the runs are released."""

    splits: tuple[str, ...]
    """Of each row; empty for those that are left out."""
    left_out: dict[int, str]
    """Rows with the reason."""
    quotas: dict[str, int]
    """Rows that each quota got."""
    released: dict[str, Released]
    """The release's rows by their keys."""

    @property
    def reasons(self) -> dict[str, int]:
        """Rows that are left out, by reason."""
        return counted(self.left_out.values())

    @property
    def content(self) -> str:
        return content_of([(row.split, row.key, row.digest) for row in self.released.values()])


@dataclass(frozen=True)
class Plan:
    """What a release will be."""

    options: ReleaseOptions
    version: Version
    earlier: Earlier | None
    there: bool
    """Whether the release of that version has all this already, so that none is made."""
    index: Index
    photos: Photos
    rows: Rows
    difference: Difference
    takedown: TakenDown
    benchmarks: Benchmarks

    @property
    def photos_released(self) -> int:
        """Photos that count as one each."""
        return len({photo for photo, split in zip(self.photos.own, self.rows.splits, strict=True) if split})

    @property
    def photos_tied(self) -> int:
        """The most photos that are tied together, so that one split has them all; 1 where none are."""
        pairs = {
            (tied, own)
            for tied, own, split in zip(self.photos.tied, self.photos.own, self.rows.splits, strict=True)
            if split
        }
        return Counter(tied for tied, _ in pairs).most_common(1)[0][1]


def planned(options: ReleaseOptions) -> Plan:
    """
    Raises:
        RunError: something that was named cannot be used, or no row is left.
    """
    _check_folders(options)
    shelf = Place(options.publish_to or options.output, "--output")
    versions = shelf.versions()
    earlier = _earlier(options, shelf, versions)
    given = read_list_file(options.without) if options.without else set()
    carried = earlier.takedown if earlier else frozenset()
    for version in versions:
        carried |= shelf.takedown(shelf.manifest(version), f"{version.folder}/")
    benchmarks = Benchmarks.at(options.against, NEAR if options.near is None else options.near)
    index = look_through(options.outputs, options.licence_policy, bool(options.against) or options.near is not None)
    photos = Photos.of(index, options.near)
    takedown = TakenDown.of(index, given, carried, _known(earlier), options.near)
    rows = _rows(
        options, index, photos, earlier, [takedown.rows, _unfit(index), _labelled(index), benchmarks.rows(index)]
    )
    difference = Difference()
    if earlier:
        why = {index.notes[number].key: reason for number, reason in rows.left_out.items()}
        difference = Difference.of(earlier.rows, rows.released, why)
    version, there = _version(options, shelf, versions, earlier, rows, difference, takedown)
    return Plan(options, version, earlier, there, index, photos, rows, difference, takedown, benchmarks)


def _check_folders(options: ReleaseOptions) -> None:
    check_folder(options.output)
    if len({run.resolve() for run in options.outputs}) < len(options.outputs):
        raise RunError("a folder is given twice; give each once")
    for run in options.outputs:
        if options.output.resolve().is_relative_to(run.resolve()):
            raise RunError(f"--output {options.output}: is, or lies in, {run}; choose a folder beside it")


def _earlier(options: ReleaseOptions, shelf: Place, versions: list[Version]) -> Earlier | None:
    """The release before."""
    if options.since is not None:
        place = Place(options.since, "--since")
        below = place.versions() if place.text(MANIFEST) is None else []
        return place.release(below[-1] if below else None)
    older = [version for version in versions if options.version is None or version < options.version]
    return shelf.release(older[-1]) if older else None


def _known(earlier: Earlier | None) -> dict[str, set[str]]:
    """SHA-256 of the photos of an earlier release by their ids and URLs."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in earlier.rows.values() if earlier else ():
        for name in (row.source_id, row.source_url, row.source_sha256):
            if name:
                found[name].add(row.source_sha256)
    return found


def _unfit(index: Index) -> dict[int, str]:
    return {number: note.unfit for number, note in enumerate(index.notes) if note.unfit}


def _labelled(index: Index) -> dict[int, str]:
    """Rows that persons labelled as bad, or do not agree on, in runs that were not judged again since.

    Raises:
        RunError: labels cannot be read.
    """
    labels = [Labels(run) for run in index.runs]
    found = {}
    for number, note in enumerate(index.notes if any(one.given for one in labels) else ()):
        if (answers := labels[note.run].answers(note.key)) and (word := majority(answers)) != "keep":
            found[number] = BY_HAND if word else DIVIDED
    return found


def _rows(
    options: ReleaseOptions, index: Index, photos: Photos, earlier: Earlier | None, ruled_out: list[dict[int, str]]
) -> Rows:
    """
    Args:
        ruled_out: rows that must not be released, with the reason; the first counts.

    Raises:
        RunError: no row is left.
    """
    notes = index.notes
    split, tied = splits(index, photos, options.split, earlier.photos if earlier else {})
    left_out: dict[int, str] = {}
    for found in (*ruled_out, tied):
        left_out = found | left_out
    left_out |= _twice(index, left_out)
    dialogues = Dialogues(notes)
    left_out |= dialogues.torn(left_out)
    choice = choose(
        notes,
        photos.own,
        dialogues.counted(number for number in range(len(notes)) if number not in left_out),
        options.quotas,
        options.max_per_source,
        options.seed,
        earlier.rows.keys() if earlier else (),
    )
    left_out = dict(sorted((left_out | dialogues.with_others(choice.refused)).items()))
    chosen = tuple("" if number in left_out else name for number, name in enumerate(split))
    released = {note.key: _released(note, name) for note, name in zip(notes, chosen, strict=True) if name}
    if not released:
        why = ", ".join(f"{number} rows: {reason}" for reason, number in list(counted(left_out.values()).items())[:3])
        raise RunError(f"no row is left for a release ({why or 'the folders have no kept rows'})")
    return Rows(chosen, left_out, choice.taken, released)


def _twice(index: Index, left_out: Mapping[int, str]) -> dict[int, str]:
    """Rows whose key another row has, the first of which counts."""
    seen: set[str] = set()
    found = {}
    for number, note in enumerate(index.notes):
        if number not in left_out:
            if note.key in seen:
                found[number] = TWICE
            seen.add(note.key)
    return found


def _released(note: Note, split: str) -> Released:
    source = note.source_id, note.source_url, note.source.hex()
    return Released(note.key, note.task, note.subtask, split, *source, note.digest)


def _version(
    options: ReleaseOptions,
    shelf: Place,
    versions: list[Version],
    earlier: Earlier | None,
    rows: Rows,
    difference: Difference,
    takedown: TakenDown,
) -> tuple[Version, bool]:
    """The release's version, and whether it is there with the same rows and takedowns.

    Raises:
        RunError: it is there otherwise.
    """

    def has_it(there: Earlier) -> bool:
        return there.manifest.content == rows.content and there.takedown == takedown.entries

    if options.version is None and earlier and earlier.version in versions and has_it(shelf.release(earlier.version)):
        return earlier.version, True
    version = options.version or (difference.next_version(earlier.version) if earlier else Version(1, 0, 0))
    if version not in versions:
        return version, False
    if has_it(shelf.release(version)):
        return version, True
    raise RunError(
        f"--output {shelf.where}: holds release {version} with other rows or takedowns, and a release is never written to; "
        "choose another --version"
    )
