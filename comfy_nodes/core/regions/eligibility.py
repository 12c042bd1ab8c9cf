"""Which regions a task may use, and why one may not: ImgEdit's rule table, with a sentence for every refusal.

The table is that of ImgEdit's instruction stage (repository, `tools/5_generate_prompt.py`). Four things
differ on purpose: a region's area is its mask's where there is a mask (the reference always takes the box); the gap
between the two regions of a hybrid edit is a share of the photo (the reference's is 100 pixels in any photo); what the
reference calls `score` is SAM's IoU, which says how good a mask is and nothing of its name, so it bounds masks here and
the detector's score has a threshold of its own; and the CLIP scores are lower (`annotation.NAMED` says why).
What is too weak to be taken for a thing at all (`annotation.sift`) is not asked here.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from ..boxes import area
from ..tasks import TASKS, Task
from .annotation import NAMED, Region, RegionKind
from .lettering import words_of_name

MIN_GAP = 100 / 1280
"""Least distance between the two regions of a hybrid edit, as a share of the photo's shorter side. The reference's 100
pixels on the smallest photo that it admits (shorter side 1280, paper), where both rules say the same. Ours."""

MAX_NAMESAKES = 1
"""How many regions of a photo may bear one name before an instruction that names it is ambiguous. Ours; the reference
counts instances (`obj_count`) and never looks at the count."""


@dataclass(frozen=True)
class RegionRules:
    """What a region needs to be edited. Shares are of the photo's area, 0 to 1; scores are as `Region` names them."""

    above_share: float
    """The region covers more than this."""
    max_share: float
    """The region covers at most this."""
    min_clip: float
    """A CLIP score from here on shows that the region is what its name says."""
    sure_share: float
    """A region that covers at least this may show it by the detector's score alone."""
    sure_score: float
    """From here on the detector's score shows it."""
    min_iou: float
    """What SAM has to expect of its mask's IoU, where it was asked."""
    max_namesakes: int = MAX_NAMESAKES
    """How many regions with proven names may share one name; 0 means any number."""


SURE_SCORE = 0.5
"""A detector's score from here on is more often right than wrong on what it was trained for. Ours, not calibrated."""

OBJECT_RULES = RegionRules(
    above_share=0.01, max_share=0.60, min_clip=NAMED["object"], sure_share=0.08, sure_score=SURE_SCORE, min_iou=0.8
)
"""Objects. Areas and IoU: ImgEdit repository; the paper names the criteria, area and CLIP score, without numbers."""

BACKGROUND_RULES = RegionRules(
    above_share=0.40, max_share=0.70, min_clip=NAMED["background"], sure_share=0.40, sure_score=SURE_SCORE, min_iou=0.75
)
"""Backgrounds. Above 40 %: paper and ImgEdit repository; the other areas and IoU: repository."""

WORDS_SHARE, WORDS_SCORE = 0.001, 0.9
"""Words may be that small, since lines are thin, and whoever reads them that surely has proven the name. Ours: on the
bundled photos, which bear no words, the reader is never that sure of more than a row of zeros."""

RULES: dict[RegionKind, RegionRules] = {"object": OBJECT_RULES, "background": BACKGROUND_RULES}


def refusal(
    region: Region, task: Task, width: int, height: int, rules: Mapping[RegionKind, RegionRules] = RULES
) -> str | None:
    """Why `task` cannot use `region` of a width x height photo, looking at this region alone; None where it can.

    A region that neither a detector nor CLIP has scored is hand-marked: its author vouches for the name, and only the
    upper bound of the area applies. Otherwise a missing score proves nothing.

    Returns:
        A sentence without its subject, such as `covers 72 % of the photo, more than 60 %`.
    """
    return _wrong_kind(region, task) or _judge(region, _covered(region), width * height, _rules_of(region, rules))


def refusals(
    regions: Sequence[Region],
    task: Task,
    width: int,
    height: int,
    rules: Mapping[RegionKind, RegionRules] = RULES,
) -> list[str | None]:
    """`refusal` of each of a photo's regions, and of those whose name does not tell which one is meant.

    Counted are regions of one kind whose scores prove their names, whatever their area, so the many doubtful boxes of a
    detector don't make a clear one ambiguous. Hand-marked regions neither count nor are refused:
    their author chose them one by one.
    """
    broken = region_refusals(regions, width, height, rules)
    return [_wrong_kind(region, task) or why for region, why in zip(regions, broken, strict=True)]


def region_refusals(
    regions: Sequence[Region], width: int, height: int, rules: Mapping[RegionKind, RegionRules] = RULES
) -> list[str | None]:
    """`refusals` without a task: why each region breaks the rules of its own kind."""
    photo = width * height
    covered = [_covered(region) for region in regions]
    names = [
        (region.kind, region.plain_name)
        if region.plain_name and _proves_name(region, pixels or 0, photo, _rules_of(region, rules))
        else None
        for region, pixels in zip(regions, covered, strict=True)
    ]
    counts = Counter(names)
    reasons = []
    for region, pixels, name in zip(regions, covered, names, strict=True):
        reason = _judge(region, pixels, photo, _rules_of(region, rules))
        most = rules[region.kind].max_namesakes
        if reason is None and name and 0 < most < counts[name]:
            reason = f"is one of {counts[name]} regions called {region.class_name}, more than {most}: it is ambiguous"
        reasons.append(reason)
    return reasons


def eligibility(
    regions: Sequence[Region], width: int, height: int, rules: Mapping[RegionKind, RegionRules] = RULES
) -> list[dict[str, str | None]]:
    """For each of a photo's regions what `Region.eligibility` stores: by each task that edits regions, None where it may
    use this one, or why not."""
    broken = region_refusals(regions, width, height, rules)
    return [
        {name: _wrong_kind(region, task) or why for name, task in TASKS.items() if task.region != "none"}
        for region, why in zip(regions, broken, strict=True)
    ]


def pair_refusal(first: Region, second: Region, width: int, height: int, min_gap: float = MIN_GAP) -> str | None:
    """Why two regions of a width x height photo cannot be edited together (hybrid); None where they can.

    The gap is the shortest distance between the boxes, as in the reference.

    Args:
        min_gap: what the gap has to exceed, as a share of the photo's shorter side.
    """
    if first.plain_name == second.plain_name:
        return f"both are called {first.class_name}" if first.plain_name else "neither has a name"
    gap = _gap(first.bbox, second.bbox)
    if gap is None:
        return "their boxes overlap"
    share = gap / min(width, height)
    if share <= min_gap:
        return f"they are {_percent(share)} of the shorter side apart; it has to be more than {_percent(min_gap)}"
    return None


def pairs(regions: Sequence[Region], width: int, height: int, min_gap: float = MIN_GAP) -> list[tuple[int, int]]:
    """The numbers of all regions that a hybrid edit can take together, in the regions' order, smaller number first."""
    return [
        (first, second)
        for first, second in combinations(range(len(regions)), 2)
        if pair_refusal(regions[first], regions[second], width, height, min_gap) is None
    ]


def pick(count: int, seed: int) -> int:
    """One of `count` candidates, 0 to count - 1; the same seed picks the same one on every machine."""
    return random.Random(f"editpairs/{seed}").randrange(count)


def is_hand_marked(region: Region) -> bool:
    """Whether neither a detector nor CLIP has scored the region: SAM's IoU and aesthetics say nothing of its name."""
    return region.score is None and region.clip_score is None


def _rules_of(region: Region, rules: Mapping[RegionKind, RegionRules]) -> RegionRules:
    """The rules of the region's kind, with those for words where it is words."""
    own = rules[region.kind]
    if not words_of_name(region.class_name or ""):
        return own
    return replace(own, above_share=min(own.above_share, WORDS_SHARE), sure_share=0.0, sure_score=WORDS_SCORE)


def _proves_name(region: Region, covered: float, photo: int, rules: RegionRules) -> bool:
    """Whether the scores show that the region, `covered` of the photo's `photo` pixels, is what its name says."""
    if region.clip_score is not None and region.clip_score >= rules.min_clip:
        return True
    return covered >= rules.sure_share * photo and region.score is not None and region.score >= rules.sure_score


def _wrong_kind(region: Region, task: Task) -> str | None:
    if task.region == "none":
        return f"task {task.name} edits the whole photo and takes no region"
    if region.kind != task.region:
        return f"is {region.kind}, and task {task.name} edits {task.region} regions"
    return None


def _judge(region: Region, covered: float | None, photo: int, rules: RegionRules) -> str | None:
    """Why a region that covers `covered` of the photo's `photo` pixels breaks the rules."""
    if covered is None:
        return "has a mask that cannot be read"
    if covered <= 0:
        return "covers nothing of the photo"
    share = f"covers {_percent(covered / photo)} of the photo"
    if covered > rules.max_share * photo:
        return f"{share}, more than {_percent(rules.max_share)}: too little is left around it"
    if is_hand_marked(region):
        return None
    if covered <= rules.above_share * photo:
        return f"{share}; it has to cover more than {_percent(rules.above_share)}"
    if region.sam_iou is not None and region.sam_iou < rules.min_iou:
        return f"is cut out badly: SAM expects an IoU of {region.sam_iou:.2f}, and it needs {rules.min_iou:g}"
    if _proves_name(region, covered, photo, rules):
        return None
    needed = f"a CLIP score of {rules.min_clip:g}"
    if covered >= rules.sure_share * photo:
        needed += f" or a detector score of {rules.sure_score:g}"
    return f"may not be what its name says: {_known(region)}, and it needs {needed}"


def _covered(region: Region) -> float | None:
    """How many pixels the region covers: its mask's where there is a mask, else its box's. None: a broken mask."""
    if region.mask is None:
        return area(region.bbox)
    try:
        return float(region.mask.area)
    except ValueError:
        return None


def _gap(first: tuple[float, ...], second: tuple[float, ...]) -> float | None:
    """Pixels between two boxes (x1, y1, x2, y2), None where they overlap; boxes that touch have a gap of 0."""
    right = max(first[0] - second[2], second[0] - first[2])
    down = max(first[1] - second[3], second[1] - first[3])
    if right < 0 and down < 0:
        return None
    return math.hypot(max(right, 0.0), max(down, 0.0))


def _known(region: Region) -> str:
    clip = "no CLIP score" if region.clip_score is None else f"CLIP score {region.clip_score:.2f}"
    return clip + (", no detector score" if region.score is None else f", detector score {region.score:.2f}")


def _percent(share: float) -> str:
    """`60 %`, `0.4 %`: three significant digits, so that a share just beyond a limit does not read as the limit."""
    return f"{share * 100:.3g} %"
