"""What an edit changed: counted by hand on small images, and against a slow count on random ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from comfy_nodes.core.pixels import PixelChange, judge, measure

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


FINE = PixelChange(inside_changed=0.8, inside_mean=60.0, outside_max=0, outside_mean=0.0)


def test_a_fine_edit_is_kept_with_its_numbers() -> None:
    scores = judge(FINE)
    assert (scores.verdict, scores.reason) == ("keep", "")
    assert scores.values == {
        "pixel.inside_changed": 0.8, "pixel.inside_mean": 60.0, "pixel.outside_max": 0.0, "pixel.outside_mean": 0.0,
    }  # fmt: skip


@given(st.floats(0, 1), st.floats(0, 1))
def test_nothing_changed_is_rejected(share: float, least: float) -> None:
    scores = judge(PixelChange(share, 1.0, 0, 0.0), min_changed=least)
    assert (scores.verdict == "reject") == (share < least)
    assert scores.reason.startswith("no edit:") == (share < least)


@pytest.mark.parametrize(("outside", "allowed", "verdict"), [(1, 0, "reject"), (3, 3, "keep"), (4, 3, "reject")])
def test_a_change_outside_is_rejected(outside: int, allowed: int, verdict: str) -> None:
    scores = judge(PixelChange(0.8, 60.0, outside, 0.1), max_outside=allowed)
    assert scores.verdict == verdict
    assert (f"up to {outside} of 255 levels, {allowed} allowed" in scores.reason) == (verdict == "reject")
