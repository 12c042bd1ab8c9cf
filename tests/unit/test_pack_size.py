"""How many samples share a prompt."""

from __future__ import annotations

import pytest

from driver.engine.pack_size import FIRST, MOST, QUICK_MOST, PackSize, Shares

PLENTY = 10**12
SMALL = 256 * 256


@pytest.mark.parametrize(("seconds", "most"), [(None, 2), (1.0, 1), (0.6, 1), (0.25, 4), (0.01, QUICK_MOST)])
def test_where_nobody_is_waited_for_only_quick_edits_share_a_prompt(seconds: float | None, most: int) -> None:
    size = PackSize(None, gains=False, free_memory=PLENTY)
    assert size.next(SMALL, 1000, Shares(1)) == 1, "nothing is known of them yet"
    for _ in range(4 if seconds else 1):
        taken = size.next(SMALL, 1000, Shares(1))
        size.went_well(taken, seconds and seconds * taken)
    assert size.next(SMALL, 1000, Shares(1)) == most


def test_it_grows_while_all_goes_well_and_halves_on_failure() -> None:
    size = PackSize(None, gains=True, free_memory=PLENTY)
    assert size.next(SMALL, 1000, Shares(1)) == FIRST
    size.went_well(FIRST, 1.0)
    assert size.next(SMALL, 1000, Shares(1)) == 2 * FIRST
    size.went_well(2 * FIRST, 1.0)
    size.went_well(4 * FIRST, 1.0)
    assert size.next(SMALL, 1000, Shares(1)) == MOST
    for _ in range(3):
        size.failed(size.next(SMALL, 1000, Shares(1)))
    assert size.next(SMALL, 1000, Shares(1)) <= MOST // 8


def test_packs_that_fail_for_ever_end_at_one() -> None:
    size = PackSize(64, gains=True, free_memory=PLENTY)
    for _ in range(10):
        size.failed(size.next(SMALL, 1000, Shares(1)))
    assert size.next(SMALL, 1000, Shares(1)) == 1


@pytest.mark.parametrize(
    ("pixels", "seconds", "memory", "most"),
    [
        (1024 * 1024, None, 2 * 10**9, 3),  # 151 MB a sample, a quarter of 2 GB
        (SMALL, 30.0, PLENTY, 4),  # 120 s of work
    ],
)
def test_memory_and_time_bound_it(pixels: int, seconds: float | None, memory: int, most: int) -> None:
    size = PackSize(None, gains=True, free_memory=memory)
    if seconds:
        size.went_well(1, seconds)
    assert size.next(pixels, 1000, Shares(1)) == most


def test_the_failure_rate_bounds_it() -> None:
    size = PackSize(None, gains=True, free_memory=PLENTY)
    for _ in range(50):
        size.failed(16)
        for _ in range(3):
            size.went_well(16, None)
    rate = 1 / 64
    assert size.next(SMALL, 1000, Shares(1)) * rate <= 0.25


@pytest.mark.parametrize(
    ("waiting", "servers", "packs"),
    [
        (70, 2, [35, 35]),
        (70, 1, [35, 35]),
        (200, 2, [50] * 4),
        (200, 1, [64, 64, 36, 36]),
        (20, 4, [5] * 4),
        (1, 4, [1]),
        (64, 1, [64]),
    ],
)
def test_the_last_packs_are_balanced(waiting: int, servers: int, packs: list[int]) -> None:
    size, shares = PackSize(64, gains=True, free_memory=PLENTY), Shares(servers)
    taken = []
    while waiting:
        taken.append(min(waiting, size.next(SMALL, waiting, shares)))
        waiting -= taken[-1]
    assert taken == packs


def test_what_comes_back_is_shared_anew() -> None:
    size, shares = PackSize(64, gains=True, free_memory=PLENTY), Shares(2)
    assert size.next(SMALL, 70, shares) == 35
    assert size.next(SMALL, 100, shares) == 50
    assert size.next(SMALL, 50, shares) == 50


def test_a_fixed_size_is_not_bounded_by_memory() -> None:
    assert PackSize(64, gains=False, free_memory=0).next(10**9, 64, Shares(1)) == 64
