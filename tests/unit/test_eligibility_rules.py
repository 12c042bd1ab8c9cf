"""ImgEdit's rule table, restated here in its own form, against ours on random regions; pairs; what is stored."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Region, RegionKind, parse_annotation, to_json
from comfy_nodes.core.regions.eligibility import (
    MIN_GAP,
    RULES,
    RegionRules,
    eligibility,
    pair_refusal,
    pairs,
    pick,
    refusal,
    refusals,
    region_refusals,
)
from comfy_nodes.core.regions.selection import select
from comfy_nodes.core.tasks import TASKS, task_named

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "annotation.jsonl"
REMOVE, BACKGROUND = task_named("remove"), task_named("background")


def reference_takes(kind: str, box_pixels: float, photo_pixels: int, score: float, clip: float) -> bool:
    """The reference's test of one candidate: box area in pixels, both scores known."""
    low, high, clip_from, area_from, score_from = {
        "object": (0.01, 0.6, 0.8, 0.08, 0.8),
        "background": (0.4, 0.7, 0.7, 0.4, 0.75),
    }[kind]
    in_range = not (box_pixels <= low * photo_pixels or box_pixels > high * photo_pixels)
    return in_range and (clip >= clip_from or (box_pixels >= area_from * photo_pixels and score >= score_from))


def reference_far_enough(first: tuple[float, ...], second: tuple[float, ...], least: float = 100) -> bool:
    """The reference's test of two boxes: apart, and by more than 100 pixels between their nearest points."""
    dx = max(second[0] - first[2], first[0] - second[2])
    dy = max(second[1] - first[3], first[1] - second[3])
    if dx <= 0 and dy <= 0:
        return False
    return math.sqrt(max(dx, 0) ** 2 + max(dy, 0) ** 2) > least


IMGEDITS: dict[RegionKind, RegionRules] = {
    "object": replace(RULES["object"], min_clip=0.8, sure_score=0.8),
    "background": replace(RULES["background"], min_clip=0.7, sure_score=0.75),
}
"""The reference's numbers in our table; what it calls a score stands for the detector's here."""


def random_box(rng: random.Random, width: int, height: int) -> tuple[float, float, float, float]:
    """A box of any size inside the photo; one in three has its border on a whole per cent of it."""
    share = rng.choice((rng.random(), rng.random() ** 3, rng.randrange(1, 100) / 100))
    across = rng.uniform(math.sqrt(share), 1) if share < 1 else 1.0
    box_width, box_height = across * width, share / across * height
    left, top = rng.uniform(0, width - box_width), rng.uniform(0, height - box_height)
    return left, top, left + box_width, top + box_height


def test_the_table_on_random_regions() -> None:
    rng = random.Random(4)
    taken = 0
    for _ in range(4000):
        width, height = rng.randrange(300, 3000), rng.randrange(300, 3000)
        kind: RegionKind = rng.choice(("object", "background"))
        box = random_box(rng, width, height)
        score = rng.choice((rng.random(), 0.75, 0.8))
        clip = rng.choice((rng.random(), 0.7, 0.8))
        pixels = (box[2] - box[0]) * (box[3] - box[1])
        region = Region(class_name="thing", kind=kind, bbox=box, score=score, clip_score=clip)
        expected = reference_takes(kind, pixels, width * height, score, clip)
        why = refusal(region, REMOVE if kind == "object" else BACKGROUND, width, height, IMGEDITS)
        assert (why is None) == expected, (region, width, height, why)
        taken += expected
    assert 400 < taken < 3600  # both answers are tried often


@pytest.mark.parametrize(
    ("share", "kind", "score", "clip", "fits"),
    [
        (0.01, "object", 0.9, 0.9, False), (0.0101, "object", 0.0, 0.6, True), (0.6, "object", 0.0, 0.6, True),
        (0.6001, "object", 1.0, 1.0, False), (0.0799, "object", 1.0, 0.59, False), (0.08, "object", 0.5, 0.0, True),
        (0.08, "object", 0.49, 0.59, False), (0.4, "background", 1.0, 1.0, False), (0.41, "background", 0.0, 0.55, True),
        (0.7, "background", 0.5, 0.0, True), (0.71, "background", 1.0, 1.0, False), (0.5, "background", 0.49, 0.54, False),
    ],
)  # fmt: skip
def test_the_borders_of_the_table(share: float, kind: RegionKind, score: float, clip: float, fits: bool) -> None:
    region = Region(class_name="thing", kind=kind, bbox=(0, 0, 10000, 10000 * share), score=score, clip_score=clip)
    assert (region_refusals([region], 10000, 10000) == [None]) == fits


def test_first_difference_on_purpose_the_area_is_the_masks() -> None:
    """A thin thing across the photo: its box covers 81 %, itself 9 %."""
    mask = np.zeros((100, 100), dtype=bool)
    mask[np.eye(100, dtype=bool)] = True
    mask[5:95, 45:55] = True
    region = Region(class_name="crane", bbox=(5, 5, 95, 95), mask=rle.encode(mask), score=0.9, clip_score=0.9)
    assert not reference_takes("object", 90 * 90, 100 * 100, 0.9, 0.9)
    assert refusal(region, REMOVE, 100, 100) is None
    assert "covers 81 %" in str(refusal(region.model_copy(update={"mask": None}), REMOVE, 100, 100))


def test_second_difference_on_purpose_the_gap_is_a_share_of_the_photo() -> None:
    """Equal on photos whose shorter side is 1280; the same picture at half the size keeps its pairs."""
    rng = random.Random(8)
    answers = set()
    for _ in range(1500):
        width, height = rng.choice(((1280, 1920), (1280, 1280), (2560, 1280)))
        first, second = random_box(rng, width // 2, height // 2), random_box(rng, width // 2, height // 2)
        away = (rng.uniform(0, width / 2), rng.uniform(0, height / 2)) * 2
        second = tuple(corner + shift for corner, shift in zip(second, away, strict=True))
        expected = reference_far_enough(first, second)
        cup, dog = Region(class_name="cup", bbox=first), Region(class_name="dog", bbox=second)
        assert (pair_refusal(cup, dog, width, height) is None) == expected
        half = [one.model_copy(update={"bbox": tuple(corner / 2 for corner in one.bbox)}) for one in (cup, dog)]
        assert (pair_refusal(*half, width // 2, height // 2) is None) == expected
        answers.add(expected)
    assert answers == {True, False}
    assert pytest.approx(100 / 1280) == MIN_GAP


def test_a_missing_score_proves_nothing_and_no_score_at_all_is_a_hand_mark() -> None:
    box = (0, 0, 30, 30)
    assert refusal(Region(class_name="cup", bbox=box), REMOVE, 100, 100) is None
    assert refusal(Region(class_name="cup", bbox=box, aes_score=5.0, sam_iou=0.9), REMOVE, 100, 100) is None
    assert refusal(Region(class_name="cup", bbox=box, score=0.9), REMOVE, 100, 100) is None
    assert "no CLIP score, detector score 0.40" in str(
        refusal(Region(class_name="cup", bbox=box, score=0.4), REMOVE, 100, 100)
    )
    assert "CLIP score 0.50, no detector score" in str(
        refusal(Region(class_name="cup", bbox=box, clip_score=0.5), REMOVE, 100, 100)
    )
    assert refusal(Region(class_name="cup", bbox=(0, 0, 1, 1)), REMOVE, 100, 100) is None
    assert "more than 60 %" in str(refusal(Region(class_name="cup", bbox=(0, 0, 90, 90)), REMOVE, 100, 100))


def test_sam_iou_is_not_taken_for_a_detectors_score() -> None:
    """The reference stored SAM's IoU under `score` (D9)."""
    region = Region(class_name="cup", bbox=(0, 0, 30, 30), score=0.1, sam_iou=0.99)
    assert refusal(region, REMOVE, 100, 100) is not None


def test_sams_iou_bounds_masks_and_not_names() -> None:
    """A mask that is cut out badly is not edited, however sure its name is; 0.8 is the reference's number."""
    region = Region(class_name="cup", bbox=(0, 0, 30, 30), score=0.9, clip_score=0.9, sam_iou=0.79)
    assert "cut out badly: SAM expects an IoU of 0.79, and it needs 0.8" in str(refusal(region, REMOVE, 100, 100))
    assert refusal(region.model_copy(update={"sam_iou": 0.8}), REMOVE, 100, 100) is None


def test_masks_that_mark_nothing_everything_or_cannot_be_read() -> None:
    blank, full = rle.encode(np.zeros((10, 10))), rle.encode(np.ones((10, 10)))
    broken = rle.Rle(size=(10, 10), counts="zzz")
    for scores in ({}, {"score": 1.0, "clip_score": 1.0}):
        region = Region(class_name="cup", bbox=(0, 0, 3, 3), **scores)
        assert "covers nothing" in str(refusal(region.model_copy(update={"mask": blank}), REMOVE, 10, 10))
        assert "covers 100 %" in str(refusal(region.model_copy(update={"mask": full}), REMOVE, 10, 10))
        assert "cannot be read" in str(refusal(region.model_copy(update={"mask": broken}), REMOVE, 10, 10))


def test_several_of_one_name_are_ambiguous() -> None:
    cups = [Region(class_name=name, bbox=(0, 0, 30, 30), clip_score=0.9) for name in ("cup", "Cup ", "dog")]
    weak = Region(class_name="dog", bbox=(50, 50, 80, 80), clip_score=0.1, score=0.01)
    reasons = refusals([*cups, weak], REMOVE, 100, 100)
    assert "one of 2 regions called cup" in str(reasons[0])
    assert "ambiguous" in str(reasons[1])
    assert reasons[2] is None  # the weak box does not count
    assert "may not be what its name says" in str(reasons[3])
    lenient = {kind: RegionRules(**{**vars(rules), "max_namesakes": 2}) for kind, rules in RULES.items()}
    assert refusals(cups, REMOVE, 100, 100, lenient) == [None, None, None]
    by_hand = [Region(class_name="star", bbox=(0, 0, 3, 3)) for _ in range(3)]
    assert refusals(by_hand, REMOVE, 100, 100) == [None, None, None]


def test_the_bundled_samples_stay_eligible() -> None:
    for line in SAMPLES.read_text(encoding="utf-8").splitlines():
        annotation = parse_annotation(json.loads(line))
        assert annotation.size is not None
        objects = [region for region in annotation.regions if region.kind == "object"]
        assert refusals(objects, REMOVE, *annotation.size) == [None] * len(objects)


def test_eligibility_by_task_is_stored_and_read_back() -> None:
    regions = [Region(class_name="cup", bbox=(0, 0, 30, 30), sam_iou=0.8), Region(class_name="x", bbox=(0, 0, 90, 90))]
    stored = eligibility(regions, 100, 100)
    assert set(stored[0]) == {name for name, task in TASKS.items() if task.region != "none"}
    assert stored[0]["remove"] is None
    assert stored[0]["background"] == "is object, and task background edits background regions"
    assert "more than 60 %" in str(stored[1]["replace"])
    item = {"path": "a.jpg", "resolution": {"width": 100, "height": 100}}
    item["segmentation"] = {
        "object": [
            {**region.model_dump(mode="json", exclude={"kind"}), "eligibility": reasons}
            for region, reasons in zip(regions, stored, strict=True)
        ]
    }
    read = parse_annotation(json.loads(json.dumps(item)))
    assert read.regions[0].eligibility == stored[0]
    assert read.regions[0].sam_iou == 0.8
    again = to_json(read)["segmentation"]["object"]
    assert again[0]["sam_iou"] == 0.8
    assert "sam_iou" not in again[1]


def test_pairs_have_two_names_and_a_gap() -> None:
    regions = [
        Region(class_name=name, bbox=box)
        for name, box in (
            ("cup", (0, 0, 20, 20)), ("cup", (60, 60, 80, 80)), ("dog", (25, 0, 40, 20)), ("hat", (50, 0, 60, 10)),
            (None, (90, 90, 95, 95)), (None, (0, 90, 5, 95)), ("fox", (10, 10, 30, 30)),
        )
    ]  # fmt: skip
    found = pairs(regions, 100, 100)
    assert (0, 3) in found
    assert (0, 1) not in found and "both are called cup" in str(pair_refusal(regions[0], regions[1], 100, 100))
    assert "apart; it has to be more" in str(pair_refusal(regions[0], regions[2], 100, 100))
    assert "overlap" in str(pair_refusal(regions[0], regions[6], 100, 100))
    assert "neither has a name" in str(pair_refusal(regions[4], regions[5], 100, 100))
    assert all(first < second for first, second in found)


def test_the_pick_depends_on_the_seed_alone() -> None:
    assert [pick(5, seed) for seed in range(8)] == [pick(5, seed) for seed in range(8)]
    assert {pick(5, seed) for seed in range(60)} == set(range(5))


@pytest.mark.parametrize("choose", ["all", "one", "pair"])
def test_select_keeps_what_it_says(choose: str) -> None:
    regions = [
        Region(class_name=name, bbox=(x, 0, x + 20, 20), clip_score=clip)
        for name, x, clip in (("cup", 0, 0.9), ("dog", 40, 0.9), ("hat", 80, 0.9), ("fox", 60, 0.1))
    ]
    seen = set()
    for seed in range(40):
        chosen = select(regions, 100, 100, choose, seed)
        assert chosen == select(regions, 100, 100, choose, seed)
        assert len(chosen.kept) == {"all": 3, "one": 1, "pair": 2}[choose]
        assert 3 not in chosen.kept
        assert all(chosen.reasons[number] for number in set(range(4)) - set(chosen.kept))
        seen.add(tuple(chosen.kept))
    assert len(seen) == {"all": 1, "one": 3, "pair": 3}[choose]


def test_select_says_why_there_is_no_pair() -> None:
    cup = Region(class_name="cup", bbox=(0, 0, 20, 20))
    assert select([cup], 100, 100, "pair").reasons == ("is the only eligible region, and a pair needs two",)
    near = Region(class_name="dog", bbox=(21, 0, 40, 20))
    assert "with dog, they are 1 % of the shorter side apart" in str(select([cup, near], 100, 100, "pair").reasons[0])
    assert select([], 100, 100, "pair").reasons == ()
