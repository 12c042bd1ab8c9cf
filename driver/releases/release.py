"""A release from its plan to its place: built beside it, its manifest last, then renamed, then brought into a store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from comfy_nodes.core.models import NO_MODELS
from comfy_nodes.core.whole_files import write_whole

from ..dataset.dataset import finished_parts, part_facts
from ..disk import disk_errors, make_durable
from ..errors import RunError
from ..home import VERSION
from ..report.page import CARD
from .card import card_text
from .manifest import MANIFEST, Asked, Counts, MadeOf, Manifest, Quota, ReleasedFile
from .photos import shown
from .plan import Plan
from .shelf import building, digest_of, forget, publish, put_in_place
from .tables import INDEX, LEFT_OUT, PHOTOS, write_index, write_left_out, write_photos
from .takedown import LIST, list_text
from .writing import Figures, named_file, write_rows

RECIPE = "recipe.json"
"""What a run of a recipe leaves of it."""


def release(plan: Plan) -> Manifest:
    """Makes the release.

    Raises:
        RunError: a run changed meanwhile or is damaged, the disk is full, or the store refused.
    """
    options = plan.options
    if options.publish_to:
        forget(options.output, plan.version)
    with building(options.output) as part, disk_errors(options.output):
        figures, files = write_rows(plan.index, plan.rows.splits, part)
        files += _tables(plan, part)
        manifest = _manifest(plan, figures, ())
        write_whole(part / CARD, card_text(manifest, figures, plan.benchmarks.near))
        write_whole(part / LIST, list_text(plan.takedown.entries))
        files += [_file(part, name) for name in (CARD, LIST)]
        manifest = manifest.model_copy(update={"files": tuple(sorted(files, key=lambda file: file.path))}).sealed()
        write_whole(part / MANIFEST, manifest.text())
        for folder in {(part / file.path).parent for file in files}:
            make_durable(folder)
        place = put_in_place(part, options.output, plan.version)
    if options.publish_to:
        publish(place, manifest, options.publish_to)
    return manifest


def _tables(plan: Plan, part: Path) -> list[ReleasedFile]:
    write_index(part / INDEX, plan.rows.released.values())
    write_left_out(part / LEFT_OUT, _left_out(plan))
    write_photos(part / PHOTOS, _splits(plan))
    return [named_file(part / name, part, f"{name}.parquet") for name in (INDEX, LEFT_OUT, PHOTOS)]


def _left_out(plan: Plan) -> Iterator[tuple[str, ...]]:
    """Rows of `left_out`: those of the folders, then those that only the release before had."""
    notes, runs = plan.index.notes, plan.index.runs
    for number, reason in plan.rows.left_out.items():
        note = notes[number]
        yield note.key, note.task, note.subtask, note.source_id, runs[note.run].resolve().name, reason
    if plan.earlier:
        met = {notes[number].key for number in plan.rows.left_out}
        for key, reason in plan.difference.gone.items():
            if key not in met:
                row = plan.earlier.rows[key]
                yield key, row.task, row.subtask, row.source_id, plan.earlier.version.folder, reason


def _splits(plan: Plan) -> dict[bytes, str]:
    """The splits of the photos and pictures of this release and those before it."""
    found = dict(plan.earlier.photos) if plan.earlier else {}
    for note, split in zip(plan.index.notes, plan.rows.splits, strict=True):
        if split:
            found.update(dict.fromkeys(shown(note), split))
    return found


def _manifest(plan: Plan, figures: Figures, files: tuple[ReleasedFile, ...]) -> Manifest:
    options, rows = plan.options, plan.rows
    return Manifest(
        version=str(plan.version),
        made_with=f"EditPairs {VERSION}",
        since=plan.earlier.manifest.named if plan.earlier else None,
        rows=len(rows.released),
        photos=plan.photos_released,
        content=rows.content,
        counts=_counts(figures),
        left_out=rows.reasons,
        quotas=tuple(Quota(name=name, asked=most, taken=rows.quotas[name]) for name, most in options.quotas.items()),
        changes=plan.difference.tasks,
        removed=plan.difference.reasons,
        asked=Asked(
            split=options.split,
            licence_policy=options.licence_policy,
            max_per_source=options.max_per_source,
            near=options.near,
            seed=options.seed,
            against=tuple(f"{one.name} ({one.pictures} pictures)" for one in plan.benchmarks.benchmarks),
        ),
        made_of=tuple(_made_of(plan, number) for number in range(len(plan.index.runs))),
        files=files,
    )


def _counts(figures: Figures) -> Counts:
    models = {
        f"{one.name} ({one.licence or 'licence unknown'})": rows
        for one, rows in figures.rows.models.items()
        if one.name not in NO_MODELS
    }
    return Counts(
        splits=_sorted(figures.splits),
        tasks=_sorted(figures.tasks),
        kinds=_sorted(figures.kinds),
        licences=_sorted(figures.rows.photos),
        models=_sorted(models),
        judges=_sorted(figures.judges),
        workflows=_sorted(figures.workflows),
    )


def _sorted(found: Mapping[str, int]) -> dict[str, int]:
    return {name: found[name] for name in sorted(found) if found[name]}


def _made_of(plan: Plan, number: int) -> MadeOf:
    run = plan.index.runs[number]
    taken = [
        note.stage
        for note, split in zip(plan.index.notes, plan.rows.splits, strict=True)
        if note.run == number and split
    ]
    try:
        recipe = (run / RECIPE).read_bytes()
        name = str(json.loads(recipe).get("name") or "")
    except FileNotFoundError:
        recipe, name = b"", ""
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(f"{run / RECIPE}: cannot be read ({error}); run the command that made it again") from None
    return MadeOf(
        folder=run.resolve().name,
        dataset=plan.index.datasets[number],
        kept=sum(part_facts(part).configs["data"].rows for part in finished_parts(run)),
        taken=len(taken),
        stages=hashlib.sha256("".join(sorted(taken)).encode()).hexdigest(),
        recipe=name,
        recipe_sha256=hashlib.sha256(recipe).hexdigest() if recipe else "",
    )


def _file(part: Path, name: str) -> ReleasedFile:
    return ReleasedFile(path=name, size=(part / name).stat().st_size, sha256=digest_of(part / name))
