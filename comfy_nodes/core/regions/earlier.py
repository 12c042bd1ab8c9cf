"""Regions that a photo brings along when others are looked for in it: which of them stay.

Save Annotation asks. A person's word on a thing outlasts every detector's; what a detector found, the next one replaces.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from ..boxes import iou
from .annotation import Region, RegionKind
from .eligibility import is_hand_marked

Earlier = Literal["replace", "add"]
"""What becomes of regions that a detector found before: what is found now takes their place, or stands beside them."""

SAME_OVERLAP = 0.7
"""Boxes of one name with this IoU or more are one thing, found twice. Ours."""


def staying(known: Iterable[Region], looked_for: Collection[RegionKind], earlier: Earlier) -> list[Region]:
    """What stays of a photo's regions.

    Args:
        looked_for: of which kinds somebody looked now. Those of other kinds all stay, and so does what a person marked.
    """
    return [region for region in known if earlier == "add" or region.kind not in looked_for or is_hand_marked(region)]


def new(found: Iterable[Region], kept: Sequence[Region]) -> list[Region]:
    """What is found and not one of those that stay: no thing of the same kind and name in the same place."""
    return [region for region in found if not any(_same(region, one) for one in kept)]


def _same(one: Region, other: Region) -> bool:
    named = one.kind == other.kind and one.plain_name == other.plain_name
    return named and iou(one.bbox, other.bbox) >= SAME_OVERLAP
