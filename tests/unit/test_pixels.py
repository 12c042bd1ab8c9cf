"""What an edit changed: counted by hand on small images, and against a slow count on random ones."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from comfy_nodes.core.verdicts.pixels import Landing, Limits, PixelChange, landing, measure, verify

SOURCE = np.full((4, 5, 3), 100, dtype=np.uint8)


def mask_of(*cells: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((4, 5), dtype=bool)
    for cell in cells:
        mask[cell] = True
    return mask


def edited(changes: dict[tuple[int, int], tuple[int, int, int]]) -> np.ndarray:
    pixels = SOURCE.copy()
    for cell, colour in changes.items():
        pixels[cell] = colour
    return pixels


def test_counts_inside_and_outside() -> None:
    after = edited({(0, 0): (100, 130, 100), (0, 1): (95, 100, 100), (3, 4): (100, 100, 60)})
    change = measure(SOURCE, after, mask_of((0, 0), (0, 1)))
    assert change == PixelChange(
        inside_changed=0.5, inside_mean=pytest.approx(17.5), outside_max=40, outside_mean=pytest.approx(40 / 18)
    )


def test_without_a_mask_everything_is_inside() -> None:
    change = measure(SOURCE, edited({(0, 0): (200, 100, 100)}), None)
    assert change == PixelChange(
        inside_changed=pytest.approx(1 / 20), inside_mean=pytest.approx(5.0), outside_max=0, outside_mean=0.0
    )


def test_an_empty_mask_and_a_full_one() -> None:
    after = edited({(1, 1): (0, 0, 0)})
    assert measure(SOURCE, after, mask_of()) == PixelChange(0.0, 0.0, 100, pytest.approx(5.0))
    assert measure(SOURCE, after, np.ones((4, 5), dtype=bool)).outside_max == 0


@pytest.mark.parametrize(("before", "after"), [(0, 255), (255, 0)])
def test_differences_do_not_wrap_around(before: int, after: int) -> None:
    change = measure(np.full((2, 2, 3), before, np.uint8), np.full((2, 2, 3), after, np.uint8), None)
    assert (change.inside_mean, change.inside_changed) == (255.0, 1.0)


@pytest.mark.parametrize(("levels", "share"), [(0, 1.0), (8, 0.5), (9, 0.0)])
def test_a_pixel_counts_above_the_level(levels: int, share: float) -> None:
    after = edited({(0, 0): (109, 100, 100), (0, 1): (100, 100, 92)})
    assert measure(SOURCE, after, mask_of((0, 0), (0, 1)), levels).inside_changed == share


IMAGES = arrays.arrays(np.uint8, (6, 7, 3))


@given(IMAGES, IMAGES, arrays.arrays(np.bool_, (6, 7)))
def test_equals_a_slow_count(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> None:
    change = measure(before, after, mask)
    worst = {
        cell: max(abs(int(a) - int(b)) for a, b in zip(before[cell], after[cell], strict=True))
        for cell in np.ndindex(6, 7)
    }
    inside = [worst[cell] for cell in worst if mask[cell]]
    outside = [worst[cell] for cell in worst if not mask[cell]]
    assert change.outside_max == max(outside, default=0)
    assert change.inside_mean == pytest.approx(sum(inside) / max(1, len(inside)))
    assert change.outside_mean == pytest.approx(sum(outside) / max(1, len(outside)))
    assert change.inside_changed == pytest.approx(sum(one > 8 for one in inside) / max(1, len(inside)))


@pytest.mark.parametrize(
    ("after", "mask", "why"),
    [
        (np.zeros((4, 6, 3), np.uint8), None, r"source \(4, 5\), edited \(4, 6\)"),
        (np.zeros((5, 4, 3), np.uint8), None, r"edited \(5, 4\)"),
        (SOURCE, np.zeros((5, 4), bool), r"mask \(5, 4\)"),
    ],
)
def test_sizes_must_agree(after: np.ndarray, mask: np.ndarray | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        measure(SOURCE, after, mask)


SIZE = (96, 128)


def photo() -> np.ndarray:
    """A picture with soft shapes and fine grain."""
    rng = np.random.default_rng(5)
    coarse = rng.uniform(40, 215, (12, 16, 3)).repeat(8, axis=0).repeat(8, axis=1)
    return np.rint(coarse + rng.normal(0, 3, coarse.shape)).clip(0, 255).astype(np.uint8)


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def painted(where: np.ndarray, by: int = 90) -> np.ndarray:
    """The photo with some of it brighter or darker by this many levels."""
    levels = photo().astype(int)
    return np.where(where[..., None], np.where(levels < 128, levels + by, levels - by), levels).astype(np.uint8)


MEANT = box(24, 32, 64, 80)


def test_a_fine_edit_is_kept_with_its_numbers() -> None:
    scores, changed = verify(photo(), painted(MEANT), edit_mask=MEANT)
    assert (scores.verdict, scores.reason) == ("keep", "")
    assert np.array_equal(changed, MEANT)
    assert scores.values == {
        "pixel.inside_changed": 1.0, "pixel.inside_mean": 90.0, "pixel.outside_max": 0.0, "pixel.outside_mean": 0.0,
        "pixel.changed": pytest.approx(MEANT.mean()), "pixel.spread": 0.1875, "pixel.covered": 1.0, "pixel.within": 1.0, "pixel.overlap": 1.0,
        "pixel.extra": 0.0, "pixel.shadow": 0.0, "pixel.shift_x": 0.0, "pixel.shift_y": 0.0, "pixel.zoom": 1.0,
        "pixel.turn": 0.0, "pixel.drift": 0.0, "pixel.mixing": 0.0, "pixel.noise": 0.0,
        "pixel.keep": 1.0, "pixel.margin": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "margin"),
    [(48, 2 / 3), (30, 30 / 48 / 0.6 - 1), (28, 28 / 48 / 0.6 - 1), (8, 8 / 48 / 0.6 - 1), (0, -1.0)],
)
def test_the_margin_is_the_distance_to_the_nearest_limit_and_below_0_where_it_is_broken(
    columns: int, margin: float
) -> None:
    """A region of 48 columns, of which some are repainted: at least 60 % of them have to be."""
    scores, _ = verify(photo(), painted(box(24, 32, 64, 32 + columns)), region=MEANT)
    assert scores.values["pixel.margin"] == pytest.approx(margin, abs=0.02)
    assert (scores.values["pixel.margin"] >= 0) == (scores.verdict == "keep")


def test_without_a_mask_there_are_no_numbers_of_place() -> None:
    scores, _ = verify(photo(), painted(MEANT))
    assert scores.verdict == "keep"
    assert not scores.values.keys() & {"pixel.covered", "pixel.within", "pixel.overlap", "pixel.extra"}


@pytest.mark.parametrize(
    ("given", "done", "why"),
    [
        ({"edit_mask": MEANT}, box(0, 0, 0, 0), r"no edit: 0.0% of the mask changed, under 5.0%"),
        ({"region": MEANT}, box(0, 0, 0, 0), r"no edit: 0.0% of the region changed, under 5.0%"),
        ({}, box(0, 0, 0, 0), "no edit: nothing but re-encoding"),
        ({"region": MEANT}, box(72, 96, 92, 120), r"edited in the wrong place: 0.0% of the region .* 3.9% of the"),
        ({"region": MEANT}, box(24, 32, 64, 52), r"half done: 4\d.\d% of the region changed, under 60.0%"),
        ({"region": MEANT}, MEANT | box(76, 100, 92, 120), r"changed outside the region: 2.\d\d% of the .* 0.20% allowed"),
        ({"edit_mask": MEANT}, MEANT | box(0, 0, 1, 1), r"changed outside the mask: by up to 90 of 255 levels, 0 allowed"),
    ],
)  # fmt: skip
def test_what_is_rejected_and_why(given: dict[str, np.ndarray], done: np.ndarray, why: str) -> None:
    scores, _ = verify(photo(), painted(done), **given)
    assert (scores.verdict, scores.values["pixel.keep"]) == ("reject", 0.0)
    assert scores.values["pixel.margin"] < 0
    assert re.match(why, scores.reason), scores.reason


@pytest.mark.parametrize(
    ("limits", "given", "done"),
    [
        (Limits(min_covered=0.3), {"region": MEANT}, box(24, 32, 64, 52)),
        (Limits(max_extra=0.05), {"region": MEANT}, MEANT | box(76, 100, 92, 120)),
        (Limits(max_outside=90), {"edit_mask": MEANT}, MEANT | box(0, 0, 1, 1)),
        (Limits(min_changed=0.0), {"edit_mask": MEANT}, box(0, 0, 0, 0)),
        (Limits(min_changed=0.0), {}, box(0, 0, 0, 0)),
        (Limits(min_total=0.15), {}, MEANT),
    ],
)
def test_a_limit_lets_pass(limits: Limits, given: dict[str, np.ndarray], done: np.ndarray) -> None:
    assert verify(photo(), painted(done), **given, limits=limits)[0].verdict == "keep"


@pytest.mark.parametrize(
    ("limits", "by"), [(Limits(min_total=0.2), 90), (Limits(levels=30), 20), (Limits(min_changed=1.0), 5)]
)
def test_a_limit_rejects(limits: Limits, by: int) -> None:
    assert verify(photo(), painted(MEANT, 20))[0].verdict == "keep"
    assert verify(photo(), painted(MEANT, by), limits=limits)[0].verdict == "reject"


@pytest.mark.parametrize("region", [None, MEANT])
def test_a_picture_drawn_anew_is_no_edit_of_one_thing(region: np.ndarray | None) -> None:
    """Of its colours as a whole nothing has changed, so that no tone tells."""
    rng = np.random.default_rng(7)
    anew = np.rint(photo() + rng.normal(0, 14, (12, 16, 3)).repeat(8, axis=0).repeat(8, axis=1)).clip(0, 255)
    after = np.where(MEANT[..., None], painted(MEANT), anew).astype(np.uint8)
    limits = Limits(max_spread=1.0) if region is not None else Limits(max_spread=0.999)
    assert verify(photo(), after, region=region, limits=limits)[0].reason.startswith("changed all over: most of the")
    assert verify(photo(), painted(MEANT), region=region, limits=limits)[0].verdict == "keep"


def test_an_empty_mask_is_rejected_and_a_full_one_is_not() -> None:
    empty, full = np.zeros(SIZE, dtype=bool), np.ones(SIZE, dtype=bool)
    assert verify(photo(), painted(MEANT), region=empty)[0].verdict == "reject"
    assert verify(photo(), painted(full), edit_mask=full)[0].values["pixel.covered"] == 1.0


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (33, 7)])
def test_tiny_pictures_are_judged_too(size: tuple[int, int]) -> None:
    dark, light = np.zeros((*size, 3), np.uint8), np.full((*size, 3), 200, np.uint8)
    assert verify(dark, light, region=np.ones(size, dtype=bool))[0].verdict == "keep"
    assert verify(dark, dark)[0].verdict == "reject"


def test_a_region_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"region \(4, 5\)"):
        verify(photo(), photo(), MEANT, np.ones((4, 5), dtype=bool))


@pytest.mark.parametrize(
    ("changed", "region", "found"),
    [
        (box(0, 0, 10, 10), box(0, 5, 10, 15), Landing(covered=0.5, within=0.5, overlap=pytest.approx(1 / 3))),
        (box(0, 0, 10, 10), box(0, 0, 10, 5), Landing(covered=1.0, within=0.5, overlap=0.5)),
        (box(0, 0, 10, 10), box(20, 20, 30, 30), Landing(0.0, 0.0, 0.0)),
        (box(0, 0, 0, 0), box(20, 20, 30, 30), Landing(0.0, 0.0, 0.0)),
        (box(0, 0, 10, 10), box(0, 0, 0, 0), Landing(0.0, 0.0, 0.0)),
    ],
)
def test_where_a_change_lies(changed: np.ndarray, region: np.ndarray, found: Landing) -> None:
    assert landing(changed, region) == found
