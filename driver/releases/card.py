"""A release's dataset card, from the figures that runs' cards are made of."""

from __future__ import annotations

from ..report.page import template_named
from ..report.terms import Terms
from .manifest import SPLITS, Manifest
from .writing import Figures


def card_text(manifest: Manifest, figures: Figures, near: int) -> str:
    """
    Args:
        manifest: as far as it is known before the files are listed.
        near: in how many bits pictures may differ from a benchmark's.
    """
    pairs = [split for split in SPLITS if figures.splits[split] > figures.turns[split]]
    dialogues = [split for split in SPLITS if figures.turns[split]]
    configs = [("default", "", pairs)] if pairs else [("default", "dialogues-", dialogues)]
    if dialogues:
        configs.append(("dialogues", "dialogues-", dialogues))
    return template_named("release.md").render(
        manifest=manifest,
        configs=configs,
        splits=[split for split in SPLITS if figures.splits[split]],
        all_splits=SPLITS,
        terms=Terms.of(figures.rows.models, figures.rows.photos),
        near=near,
    )
