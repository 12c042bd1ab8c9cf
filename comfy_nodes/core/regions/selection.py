"""Which of a photo's regions go on to an edit: the eligible ones, one of them, or a pair for a hybrid edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .annotation import Region, RegionKind
from .eligibility import MIN_GAP, RULES, RegionRules, pair_refusal, pairs, pick, region_refusals

Choose = Literal["all", "one", "pair"]
CHOICES: tuple[Choose, ...] = ("all", "one", "pair")


@dataclass(frozen=True)
class Selection:
    """What became of each region."""

    reasons: tuple[str | None, ...]
    """Why it was left out, a sentence without its subject; None where it was kept."""

    @property
    def kept(self) -> list[int]:
        """The numbers of the regions that were kept, in order."""
        return [number for number, reason in enumerate(self.reasons) if reason is None]


def select(
    regions: Sequence[Region],
    width: int,
    height: int,
    choose: Choose = "all",
    seed: int = 0,
    rules: Mapping[RegionKind, RegionRules] = RULES,
    min_gap: float = MIN_GAP,
) -> Selection:
    """Applies the rules to a width x height photo's regions.

    Args:
        choose: `all` that are eligible; `one` of them; a `pair` of them that a hybrid edit can take.
        seed: picks the one or the pair; the same seed, the same pick.
        min_gap: for pairs, as a share of the photo's shorter side.
    """
    reasons = list(region_refusals(regions, width, height, rules))
    eligible = [number for number, reason in enumerate(reasons) if reason is None]
    if choose == "one" and eligible:
        picked = {eligible[pick(len(eligible), seed)]}
    elif choose == "pair":
        found = pairs([regions[number] for number in eligible], width, height, min_gap)
        if not found:
            for number in eligible:
                reasons[number] = _without_partner(number, eligible, regions, width, height, min_gap)
            return Selection(tuple(reasons))
        picked = {eligible[number] for number in found[pick(len(found), seed)]}
    else:
        picked = set(eligible)
    for number in set(eligible) - picked:
        reasons[number] = "is eligible, but the seed picked another"
    return Selection(tuple(reasons))


def _without_partner(
    number: int, eligible: Sequence[int], regions: Sequence[Region], width: int, height: int, min_gap: float
) -> str:
    others = [other for other in eligible if other != number]
    if not others:
        return "is the only eligible region, and a pair needs two"
    why = pair_refusal(regions[number], regions[others[0]], width, height, min_gap)
    return f"has no partner for a pair; with {regions[others[0]].class_name or 'the next one'}, {why}"
