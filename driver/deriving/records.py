"""A draft as a row of a dataset: a record like any other's, with what it was derived from."""

from __future__ import annotations

import hashlib
from typing import Any

from comfy_nodes.core.models import Model, each_once
from comfy_nodes.core.records import PROMPTS, Basis, EditRecord, RegionRecord, SavedFile, Score
from comfy_nodes.core.verdicts.verdicts import Scores

from ..dataset.rows import Pair, Row, RunFacts, image_name
from .drafts import Draft
from .photos import KeptRow, Pictures

CARRIED = (
    "source_id", "source_path", "source_sha256", "source_licence", "source_url", "crop", "seed", "width", "height",
)  # fmt: skip
"""Columns that a derived row shares with its first parent."""


def pair_of(draft: Draft, found: Scores, scores: tuple[Score, ...], pictures: Pictures, group: str) -> Pair:
    """A derived row with its pictures.

    Args:
        found: the verdict.
        group: key of its photo.
    """
    parent = draft.parents[0].columns
    row = Row.of(_record(draft, found, scores).model_dump_json(), parent["attempt"], _facts(parent), group)
    return Pair(row, [pictures.file(one) for one in draft.before], [pictures.file(draft.after)])


def original_of(row: KeptRow, pictures: Pictures, group: str) -> Pair:
    """A row that was derived from, as it is."""
    known = Row.stored(row.columns)
    kept = Row(
        known.key,
        group,
        known.task,
        known.prompt,
        row.inputs,
        row.outputs,
        known.line,
        group=group,
        grouped_as="photos",
    )
    return Pair(kept, list(map(pictures.file, row.inputs)), list(map(pictures.file, row.outputs)))


def _record(draft: Draft, found: Scores, scores: tuple[Score, ...]) -> EditRecord:
    parent = draft.parents[0].columns
    language, words = next(iter(draft.words.items()))
    both = {PROMPTS[one]: text for one, text in draft.words.items()} if draft.words.keys() == PROMPTS.keys() else {}
    upstream = hashlib.sha256("".join(one.columns["stage_sha256"] or one.key for one in draft.parents).encode())
    return EditRecord(
        key=draft.key,
        task=draft.task,
        lang=language,
        input_images=tuple(_file(draft.key, "input", at, one) for at, one in enumerate(draft.before)),
        output_images=(_file(draft.key, "output", 0, draft.after),),
        prompt=words,
        **both,
        verdict=found.verdict,
        reject_reason=found.reason,
        vouched_by=found.voices,
        scores=scores,
        regions=tuple(RegionRecord.of(op, region) for op, region in draft.regions),
        edit_mask=draft.edit_mask,
        models=_models(draft),
        derived_kind=draft.kind,
        derived_from=tuple(one.key for one in draft.parents),
        basis=Basis(upstream=upstream.hexdigest()),
        **draft.kept_slot,
        **{name: parent[name] for name in CARRIED},
    )


def _models(draft: Draft) -> tuple[Model, ...]:
    """What made its pictures, and whose sentences it has."""
    made = [Model(**one) for parent in draft.parents for one in parent.columns["models"] or ()]
    return each_once((*made, Model(role="writer", name="template", revision=draft.writer)))


def _facts(parent: dict[str, Any]) -> RunFacts:
    """The workflow that made the pictures."""
    return RunFacts(
        parent["workflow"] or "", parent["workflow_sha256"] or "", parent["stage_sha256"] or "", parent["profile"] or ""
    )


def _file(key: str, role: str, number: int, sha256: str) -> SavedFile:
    return SavedFile(filename=image_name(key, role, number), subfolder="", type="output", sha256=sha256)
